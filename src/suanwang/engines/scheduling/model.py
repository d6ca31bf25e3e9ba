"""What a scheduling round sees (`Snapshot`) and what it answers (`Plan`). Frozen, integer, sorted.

A round plans *classes*: equal demands of one owner are one `QueueGroup` with a count, so that a
hundred thousand queued tasks cost as much as their few hundred classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from suanwang.kernel.resources import Resources


class RefusalReason(StrEnum):
    """Why a demand is not placed (on a pool, or at all). The value is what a user reads."""

    NO_SITES = "NoSites"
    """No pool is enrolled, or none that this organisation may use."""
    SITE_UNREACHABLE = "SiteUnreachable"
    SITE_DRAINING = "SiteDraining"
    REGION_NOT_ALLOWED = "RegionNotAllowed"
    SITE_KIND_NOT_ALLOWED = "SiteKindNotAllowed"
    SITE_NOT_ALLOWED = "SiteNotAllowed"
    UNDER_CONTRACT = "UnderContract"
    """Another project's; nobody else is told of it."""
    NOT_ON_CONTRACT = "NotOnContract"
    """The demand names a contract, or wants none, and this capacity is not of that kind."""
    DATA_RESIDENCY = "DataResidency"
    ARCHITECTURE = "ArchitectureMismatch"
    ACCELERATOR_MODEL = "AcceleratorModelMissing"
    ACCELERATOR_TOO_SMALL = "AcceleratorTooSmall"
    TOO_BIG_FOR_NODE = "TooBigForAnyNode"
    TOO_BIG_FOR_POOL = "TooBigForPool"
    RUNTIME_OVER_LIMIT = "RuntimeOverPoolLimit"
    OVER_PRICE_CAP = "OverPriceCap"
    CONTRACT_NOT_BEGUN = "ContractNotBegun"
    RUNS_INTO_CONTRACT = "RunsIntoContract"
    """Free until a contract begins (or, of a contract's own capacity, ends); the work would not
    be over by then."""
    PAST_DEADLINE = "CannotMeetDeadline"
    INSUFFICIENT_FUNDS = "InsufficientFunds"
    QUOTA_EXCEEDED = "QuotaExceeded"
    NO_FREE_CAPACITY = "NoFreeCapacityNow"
    FREE_SHARES_SPLIT = "FreeSharesSplit"
    """There is enough in all, but it lies on several cards."""
    RESERVED_FOR_EARLIER = "ReservedForEarlierDemand"
    BEHIND_IN_FAIR_SHARE = "BehindInFairShare"


PERMANENT_REASONS = frozenset(
    {
        RefusalReason.NO_SITES,
        RefusalReason.REGION_NOT_ALLOWED,
        RefusalReason.SITE_KIND_NOT_ALLOWED,
        RefusalReason.SITE_NOT_ALLOWED,
        RefusalReason.UNDER_CONTRACT,
        RefusalReason.NOT_ON_CONTRACT,
        RefusalReason.DATA_RESIDENCY,
        RefusalReason.ARCHITECTURE,
        RefusalReason.ACCELERATOR_MODEL,
        RefusalReason.ACCELERATOR_TOO_SMALL,
        RefusalReason.TOO_BIG_FOR_NODE,
        RefusalReason.TOO_BIG_FOR_POOL,
        RefusalReason.RUNTIME_OVER_LIMIT,
        RefusalReason.OVER_PRICE_CAP,
    }
)
"""Waiting alone does not cure these: the grid or the demand must change."""


@dataclass(frozen=True, slots=True)
class Request:
    """One alternative of a demand's `any_of`, for ONE member of the gang."""

    resources: Resources
    accelerator_models: tuple[str, ...] = ()
    """Acceptable models, any if empty. Only read when resources.accelerator_milli > 0."""
    min_accelerator_memory_mib: int = 0
    min_fp16_gflops: int = 0


@dataclass(frozen=True, slots=True)
class Input:
    """A data set that must be where the work runs. `at_sites` hold it already (sorted)."""

    size_mib: int
    at_sites: tuple[str, ...] = ()
    residency_regions: tuple[str, ...] = ()
    """Regions the data may not leave; empty = anywhere."""


NO_CONTRACT = "none"


@dataclass(frozen=True, slots=True)
class DemandClass:
    """Everything about a demand that planning looks at; equal demands share one class."""

    class_id: str
    alternatives: tuple[Request, ...]
    members: int = 1
    """Gang size: all members start together, in one pool, or none does."""
    max_runtime_s: int = 3600
    expected_runtime_s: int = 3600
    """Estimate used for money and waiting; never above max_runtime_s."""
    max_rate_micro_yuan_per_hour: int | None = None
    """Cap on the price of the whole gang per hour; None = no cap."""
    deadline_ms: int | None = None
    regions: tuple[str, ...] = ()
    site_kinds: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    """Allowed site ids, any if empty."""
    excluded_sites: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    """Allowed pool ids, any if empty."""
    preemptible: bool = False
    inputs: tuple[Input, ...] = ()
    contract: str = ""
    """Only on this contract; NO_CONTRACT: on none."""


@dataclass(frozen=True, slots=True)
class QueueGroup:
    """`count` equal tasks of one user waiting at one priority, oldest first."""

    organisation_id: str
    project_id: str
    user_id: str
    class_id: str
    priority: int
    count: int
    oldest_submitted_at_ms: int

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        return (
            self.organisation_id,
            self.project_id,
            self.user_id,
            self.class_id,
            self.priority,
        )


@dataclass(frozen=True, slots=True)
class AcceleratorSpec:
    """Of one card. Figures are dense FP16 per card."""

    model: str
    memory_mib: int
    fp16_gflops: int


@dataclass(frozen=True, slots=True)
class Prices:
    """A pool's price list, micro-yuan per hour of each whole unit (core, GiB, card)."""

    core_hour: int = 0
    memory_gib_hour: int = 0
    accelerator_hour: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """Capacity, what is free of it now, and whether new work may start on it."""

    node_id: str
    capacity: Resources
    free: Resources
    schedulable: bool = True
    cards: tuple[int, ...] = ()
    """Milli free of each card, their sum is that of `free`; empty: only the total is known."""


@dataclass(frozen=True, slots=True)
class Part:
    """Why some capacity of a pool stands apart as a pool of its own: a contract has it now, or
    needs it from some instant on."""

    of: str
    """The pool's id; the part has its node ids."""
    contract_id: str = ""
    """Whose hours pay for it; empty: free for everybody until it closes."""
    project_id: str = ""
    """The only one that may use it; empty: all."""
    opens_at_ms: int | None = None
    """Nothing starts there before."""
    closes_at_ms: int | None = None
    """What starts there must be over by then."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Alike nodes of one site under one price list. Nodes are sorted by id."""

    pool_id: str
    site_id: str
    region: str
    site_kind: str
    architecture: str
    nodes: tuple[Node, ...]
    prices: Prices
    accelerator: AcceleratorSpec | None = None
    reachable: bool = True
    draining: bool = False
    max_runtime_s: int | None = None
    backlog_s: int = 0
    """Expected wait in the site's own queue beyond what we dispatched (Slurm users of its own)."""
    part: Part | None = None


def whole_of(pool: Pool) -> str:
    """The id of the pool that it is, or is a part of."""
    return pool.part.of if pool.part is not None else pool.pool_id


@dataclass(frozen=True, slots=True)
class Link:
    """Cost of moving data between two sites. Directed; absent: `Snapshot.default_link`."""

    from_site: str
    to_site: str
    micro_yuan_per_gib: int
    ms_per_gib: int


@dataclass(frozen=True, slots=True)
class Running:
    """A lease that occupies capacity already (its `free` is reduced by it)."""

    lease_id: str
    organisation_id: str
    project_id: str
    user_id: str
    class_id: str
    pool_id: str
    priority: int
    preemptible: bool
    node_members: tuple[tuple[str, int], ...]
    """(node id, members on it), sorted."""
    member_resources: Resources
    started_at_ms: int
    ends_by_ms: int
    """Declared end: start + max runtime."""
    expected_end_ms: int
    protected_until_ms: int
    """Guaranteed minimum run: not preempted before."""
    stopping: bool = False
    """Already told to stop: nobody preempts more while this is on its way out."""
    cards: tuple[tuple[int, ...], ...] = ()
    """Per entry of `node_members`: the cards (positions in `Node.cards`) that its members hold."""


@dataclass(frozen=True, slots=True)
class Share:
    """A node of the tree organisation → project → user. Roots have no parent; ids are unique.

    `usage` is decayed past use plus what runs now, in milli-share-seconds of the dominant
    resource (see docs/mechanisms/fair-share.md); `weight` is positive.
    """

    share_id: str
    parent_id: str | None
    weight: int
    usage: int = 0
    usage_by_kind: tuple[int, int, int, int] = (0, 0, 0, 0)
    """The same, kept apart by resource (cpu, memory, disk, accelerator): the dominant one is
    taken when shares are compared. A caller fills this or `usage`; if both, they add up."""


@dataclass(frozen=True, slots=True)
class Quota:
    """At most this much at once for a share (organisation or project), over the whole grid."""

    share_id: str
    limit: Resources
    used: Resources


@dataclass(frozen=True, slots=True)
class Funds:
    """What a project may still commit: balance + credit limit − holds. None of it for arrears."""

    project_id: str
    available_micro_yuan: int


@dataclass(frozen=True, slots=True)
class Promise:
    """Leases were preempted for this group in this pool: one task of it is tried first on the very
    nodes, if they are known, then elsewhere in the pool."""

    group: tuple[str, str, str, str, int]
    pool_id: str
    alternative: int = 0
    node_members: tuple[tuple[str, int], ...] = ()


def promise_order(
    promise: Promise,
) -> tuple[tuple[str, str, str, str, int], str, int, tuple[tuple[str, int], ...]]:
    return promise.group, promise.pool_id, promise.alternative, promise.node_members


@dataclass(frozen=True, slots=True)
class Weights:
    """How an organisation weighs the parts of the score, all brought to micro-yuan."""

    money_percent: int = 100
    wait_micro_yuan_per_hour: int = 1_000_000
    transfer_percent: int = 100


@dataclass(frozen=True, slots=True)
class Policy:
    """Switches of a round."""

    max_placements: int = 100_000
    preemption: bool = True
    backfill: bool = True
    reservations_per_pool: int = 1
    """Blocked demands per pool that get a start-time reservation which backfill respects."""
    fragmentation_aware: bool = True
    runtime_hold_percent: int = 100
    """Share of max_runtime_s that must be funded before a start."""
    turn_share_ppm: int = 1_000
    """A turn starts tasks worth at most this part of the grid's dominant resource (at least one
    task): the grain of fairness within a round."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All of it sorted by id; every id that is referred to is present."""

    pools: tuple[Pool, ...] = ()
    classes: tuple[DemandClass, ...] = ()
    queue: tuple[QueueGroup, ...] = ()
    running: tuple[Running, ...] = ()
    shares: tuple[Share, ...] = ()
    quotas: tuple[Quota, ...] = ()
    funds: tuple[Funds, ...] = ()
    """A project that is not listed has no money limit."""
    links: tuple[Link, ...] = ()
    promises: tuple[Promise, ...] = ()
    """Preemptions of earlier rounds whose capacity has not been used yet."""
    weights: tuple[tuple[str, Weights], ...] = ()
    """(organisation id, weights), sorted; absent = Weights()."""
    default_link: Link = Link("", "", 500_000, 80_000)
    policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True, slots=True)
class Score:
    """The parts of a candidate's cost for one task, in micro-yuan; `total` orders candidates."""

    total: int
    money: int
    wait: int
    transfer: int
    rate_micro_yuan_per_hour: int
    """Price of the whole gang per hour at this pool."""
    expected_wait_s: int


@dataclass(frozen=True, slots=True)
class Placement:
    """One task starts now: which group it comes from, where, on which nodes, at what price."""

    group: tuple[str, str, str, str, int]
    pool_id: str
    alternative: int
    node_members: tuple[tuple[str, int], ...]
    score: Score
    cards: tuple[tuple[int, ...], ...] = ()
    """As `Running.cards`. Empty: any cards that are free do, or the nodes' are not known."""


@dataclass(frozen=True, slots=True)
class PoolVerdict:
    """A pool as a candidate for a class: a score, or the reason why not, with a figure."""

    pool_id: str
    alternative: int
    score: Score | None
    reason: RefusalReason | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """`count` tasks of a group stay queued. `reason` is the headline; `verdicts` name the most
    hopeful few pools (`candidates` gives all of them)."""

    group: tuple[str, str, str, str, int]
    count: int
    reason: RefusalReason
    detail: str
    verdicts: tuple[PoolVerdict, ...] = ()


@dataclass(frozen=True, slots=True)
class Preemption:
    """Stop this preemptible lease so that the group's demand can start in a following round."""

    lease_id: str
    for_group: tuple[str, str, str, str, int]
    alternative: int = 0
    node_members: tuple[tuple[str, int], ...] = ()
    """Where the demand shall start."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """The blocked demand at the head of a pool's queue starts by then (declared run times)."""

    group: tuple[str, str, str, str, int]
    pool_id: str
    start_at_ms: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The answer of a round, in a total order."""

    placements: tuple[Placement, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    preemptions: tuple[Preemption, ...] = ()
    reservations: tuple[Reservation, ...] = ()
