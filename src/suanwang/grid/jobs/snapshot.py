"""Gather the frozen, sorted snapshot that a scheduling round plans on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import msgspec
from sqlalchemy.engine import Connection

from suanwang.engines.scheduling.cards import Cards
from suanwang.engines.scheduling.carving import Carved, carve
from suanwang.engines.scheduling.fairness import decayed, share_seconds
from suanwang.engines.scheduling.model import (
    NO_CONTRACT,
    AcceleratorSpec,
    DemandClass,
    Funds,
    Link,
    Node,
    Part,
    Policy,
    Pool,
    Prices,
    Promise,
    QueueGroup,
    Quota,
    Running,
    Share,
    Snapshot,
    Weights,
)
from suanwang.grid.data import service as data
from suanwang.grid.jobs import leases_store, store
from suanwang.grid.jobs.cards import Holder, holders_by_node, standing
from suanwang.grid.jobs.contracted import Contracted, contracted
from suanwang.grid.jobs.model import Lease, OpenLease
from suanwang.grid.sites import service as sites
from suanwang.grid.sites.model import PoolRow, Site, SiteState, is_reachable
from suanwang.kernel.resources import ZERO, Resources
from suanwang.kernel.time import MS_PER_SECOND
from suanwang.protocol.messages import NodeReport, Quantity
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.model import user_share_id
from suanwang.trade.billing import service as billing
from suanwang.trade.ledger import service as ledger

MILLI = 1_000
HALF_LIFE_S = 7 * 86_400
"""Past use counts half as much after a week."""


@dataclass(slots=True)
class Gathered:
    """The snapshot, and what applying its plan needs beside it."""

    snapshot: Snapshot
    sites: dict[str, Site] = field(default_factory=dict)
    pools: dict[str, PoolRow] = field(default_factory=dict)
    """Parts of pools too, by their own ids, each with the row of the pool that it is a part of."""
    classes: dict[str, DemandClass] = field(default_factory=dict)
    contracted: Contracted = field(default_factory=Contracted)
    there: dict[str, tuple[tuple[str, int], ...]] = field(default_factory=dict)
    """Part of a contract → (node, lots that are there for it, or will be)."""
    leave: tuple[str, ...] = ()
    """Preemptible leases that stand in a contract's way."""
    now_ms: int = 0


def resources_of(quantity: Quantity) -> Resources:
    return Resources(
        quantity.cpu_milli,
        quantity.memory_mib,
        quantity.disk_mib,
        quantity.accelerator_milli,
    )


def member_of(lease: Lease | OpenLease) -> Resources:
    return Resources(lease.cpu_milli, lease.memory_mib, lease.disk_mib, lease.accelerator_milli)


@lru_cache(maxsize=4_096)
def class_from(class_id: str, body: bytes) -> DemandClass:
    """Kept by what it is made from: the same classes wait round after round."""
    return msgspec.convert({**msgspec.msgpack.decode(body), "class_id": class_id}, DemandClass)


def used_by_node(leases: Iterable[OpenLease]) -> dict[tuple[str, str], Resources]:
    """(pool, node) → what our open leases occupy there."""
    sums: dict[tuple[str, str], list[int]] = {}
    for lease in leases:
        for node, members in lease.node_members:
            at = sums.setdefault((lease.pool_id, node), [0, 0, 0, 0])
            at[0] += lease.cpu_milli * members
            at[1] += lease.memory_mib * members
            at[2] += lease.disk_mib * members
            at[3] += lease.accelerator_milli * members
    return {place: Resources(*kinds) for place, kinds in sums.items()}


@dataclass(slots=True)
class Occupied:
    """What open leases take of the nodes; fills in which cards they are taken to hold."""

    used: Mapping[tuple[str, str], Resources]
    holders: Mapping[tuple[str, str], list[Holder]]
    nominal: dict[tuple[str, str], dict[str, tuple[int, ...]]] = field(default_factory=dict)

    @classmethod
    def by(cls, leases: Sequence[OpenLease]) -> Occupied:
        return cls(used_by_node(leases), holders_by_node(leases))

    def cards(self, pool_id: str, report: NodeReport) -> tuple[int, ...]:
        """What is free of each; nothing for a node without."""
        if not report.capacity.accelerator_milli:
            return ()
        place = (pool_id, report.name)
        now = standing(report, self.holders.get(place, ()))
        if now.nominal:
            self.nominal[place] = now.nominal
        return now.free

    def held(self, lease: OpenLease) -> Cards:
        """Per node of the lease; after `cards` of all pools."""
        if not lease.accelerator_milli:
            return ()
        if lease.cards:
            return tuple(lease.cards)
        return tuple(
            self.nominal.get((lease.pool_id, node), {}).get(lease.lease_id, ())
            for node, _ in lease.node_members
        )


def pool_of(
    site: Site,
    row: PoolRow,
    prices: Prices,
    occupied: Occupied,
    now_ms: int,
) -> Pool:
    cordoned, used = set(row.cordoned), occupied.used
    nodes = []
    for report in row.nodes:
        capacity = resources_of(report.capacity)
        taken = used.get((row.pool_id, report.name), ZERO) + resources_of(report.foreign)
        cards = occupied.cards(row.pool_id, report)
        milli = capacity.accelerator_milli - taken.accelerator_milli
        free = Resources(
            max(0, capacity.cpu_milli - taken.cpu_milli),
            max(0, capacity.memory_mib - taken.memory_mib),
            max(0, capacity.disk_mib - taken.disk_mib),
            max(0, min(milli, sum(cards)) if cards else milli),
        )
        schedulable = report.up and report.name not in cordoned
        nodes.append(Node(report.name, capacity, free, schedulable, cards))
    card = row.accelerator
    return Pool(
        pool_id=row.pool_id,
        site_id=site.site_id,
        region=site.region,
        site_kind=row.kind or site.kind,
        architecture=row.architecture,
        nodes=tuple(nodes),
        prices=prices,
        accelerator=AcceleratorSpec(card.model, card.memory_mib, card.fp16_gflops)
        if card
        else None,
        reachable=is_reachable(site, now_ms),
        draining=site.state is SiteState.DRAINING,
        max_runtime_s=row.max_runtime_s,
        backlog_s=row.backlog_s,
    )


def running_of(lease: OpenLease, cards: Cards, member: Resources, now_ms: int) -> Running:
    return Running(
        lease_id=lease.lease_id,
        organisation_id=lease.organisation_id,
        project_id=lease.project_id,
        user_id=lease.user_id,
        class_id=lease.class_id,
        pool_id=lease.pool_id,
        priority=lease.priority,
        preemptible=lease.preemptible,
        stopping=bool(lease.stop),
        node_members=tuple(lease.node_members),
        member_resources=member,
        started_at_ms=lease.started_at_ms or lease.granted_at_ms,
        ends_by_ms=max(lease.ends_by_ms, now_ms),
        expected_end_ms=max(min(lease.expected_end_ms, lease.ends_by_ms), now_ms),
        protected_until_ms=lease.protected_until_ms,
        cards=cards,
    )


def running_of_all(
    leases: Sequence[OpenLease], occupied: Occupied, now_ms: int
) -> tuple[Running, ...]:
    """Leases of one size share its vector."""
    sizes: dict[tuple[int, int, int, int], Resources] = {}
    out = []
    for lease in leases:
        size = (lease.cpu_milli, lease.memory_mib, lease.disk_mib, lease.accelerator_milli)
        member = sizes.get(size)
        if member is None:
            member = sizes[size] = Resources(*size)
        out.append(running_of(lease, occupied.held(lease), member, now_ms))
    return tuple(out)


def totals_of(pools: Iterable[Pool]) -> Resources:
    whole = [node.capacity for pool in pools if pool.part is None for node in pool.nodes]
    return Resources(
        sum([one.cpu_milli for one in whole]),
        sum([one.memory_mib for one in whole]),
        sum([one.disk_mib for one in whole]),
        sum([one.accelerator_milli for one in whole]),
    )


def capacity(conn: Connection) -> Resources:
    """Of all pools that sites report."""
    total = ZERO
    for row in sites.pools(conn):
        for report in row.nodes:
            total = total + resources_of(report.capacity)
    return total


def _shares(
    conn: Connection,
    groups: Iterable[QueueGroup],
    leases: Iterable[OpenLease],
    totals: Resources,
    now_ms: int,
) -> tuple[Share, ...]:
    pairs = {(group.project_id, group.user_id) for group in groups}
    pairs |= {(lease.project_id, lease.user_id) for lease in leases}
    usage = {
        share: decayed(value, now_ms - at_ms, HALF_LIFE_S)
        for share, (value, at_ms) in leases_store.usage_of_shares(conn).items()
    }
    for (organisation_id, project_id, user_id), amount in _used_so_far(leases, totals, now_ms):
        for share in (organisation_id, project_id, user_share_id(project_id, user_id)):
            usage[share] = usage.get(share, 0) + amount
    return tuple(
        Share(row.share_id, row.parent_id, row.weight, usage.get(row.share_id, 0))
        for row in sorted(tenancy.shares(conn, sorted(pairs)), key=lambda row: row.share_id)
    )


def _used_so_far(
    leases: Iterable[OpenLease], totals: Resources, now_ms: int
) -> Iterable[tuple[tuple[str, str, str], int]]:
    """Per owner the sum of `share_amounts`: with tens of thousands of leases the same sums without
    a vector for each."""
    a, b = max(1, totals.cpu_milli), max(1, totals.memory_mib)
    c, d = max(1, totals.disk_mib), max(1, totals.accelerator_milli)
    sums: dict[tuple[str, str, str], int] = defaultdict(int)
    for lease in leases:
        if lease.contract_id:
            continue
        elapsed_ms = now_ms - (lease.started_at_ms or lease.granted_at_ms)
        if elapsed_ms >= MS_PER_SECOND:
            held = elapsed_ms // MS_PER_SECOND * MILLI * lease.members
            sums[(lease.organisation_id, lease.project_id, lease.user_id)] += max(
                lease.cpu_milli * held // a,
                lease.memory_mib * held // b,
                lease.disk_mib * held // c,
                lease.accelerator_milli * held // d,
            )
    return sums.items()


def share_amounts(lease: Lease | OpenLease, totals: Resources, until_ms: int) -> dict[str, int]:
    """Milli-share-seconds that this lease has used so far, for each of its three shares: nothing
    on a contract, whose capacity nobody else could have used."""
    if lease.contract_id:
        return {}
    seconds = max(0, until_ms - (lease.started_at_ms or lease.granted_at_ms)) // MS_PER_SECOND
    amount = max(share_seconds(member_of(lease) * lease.members, seconds, totals))
    user = user_share_id(lease.project_id, lease.user_id)
    return {lease.organisation_id: amount, lease.project_id: amount, user: amount}


def _quotas(conn: Connection, leases: Iterable[OpenLease]) -> tuple[Quota, ...]:
    limits = tenancy.quotas(conn)
    if not limits:
        return ()
    used: dict[str, Resources] = defaultdict(lambda: ZERO)
    for lease in leases:
        need = member_of(lease) * lease.members
        for share in (lease.organisation_id, lease.project_id):
            used[share] = used[share] + need
    return tuple(Quota(share, limits[share], used[share]) for share in sorted(limits))


@dataclass(slots=True)
class CutOut:
    """All pools and what runs in them, contracts' parts apart."""

    pools: tuple[Pool, ...]
    running: tuple[Running, ...]
    there: dict[str, tuple[tuple[str, int], ...]] = field(default_factory=dict)
    leave: tuple[str, ...] = ()


def cut_out(
    pools: tuple[Pool, ...], running: tuple[Running, ...], bound: Contracted, now_ms: int
) -> CutOut:
    if not bound.claims:
        return CutOut(pools, running)
    of_pool: dict[str, list[Running]] = defaultdict(list)
    for lease in running:
        if lease.pool_id in bound.claims:
            of_pool[lease.pool_id].append(lease)
    carved: list[Carved] = [
        carve(pool, bound.claims[pool.pool_id], of_pool[pool.pool_id], bound.held, now_ms)
        for pool in pools
        if pool.pool_id in bound.claims
    ]
    moved = {lease: part for one in carved for lease, part in one.moved.items()}
    cut = [pool for one in carved for pool in one.pools]
    cut += [pool for pool in pools if pool.pool_id not in bound.claims]
    return CutOut(
        tuple(sorted(cut, key=lambda pool: pool.pool_id)),
        tuple(
            replace(lease, pool_id=moved[lease.lease_id]) if lease.lease_id in moved else lease
            for lease in running
        ),
        {part: where for one in carved for part, where in one.there.items()},
        tuple(sorted(lease for one in carved for lease in one.leave)),
    )


def part_row(part: Part, rows: Mapping[str, PoolRow]) -> PoolRow:
    """The row of the pool, under a name that says whose the capacity is."""
    row = rows[part.of]
    if not part.contract_id:
        return row
    return msgspec.structs.replace(row, name=f"{row.name}#{part.contract_id}")


def gather(
    conn: Connection, now_ms: int, policy: Policy, promises: tuple[Promise, ...] = ()
) -> Gathered:
    """Read everything that a round looks at, within one read transaction."""
    all_sites = {site.site_id: site for site in sites.sites(conn)}
    rows = [row for row in sites.pools(conn) if row.site_id in all_sites]
    leases = leases_store.occupying(conn)
    groups = store.queue_groups(conn, now_ms)
    prices = billing.prices(conn, sorted({row.price_list_id for row in rows}))
    occupied = Occupied.by(leases)
    pools = tuple(
        pool_of(
            all_sites[row.site_id],
            row,
            Prices(
                prices[row.price_list_id].core_hour,
                prices[row.price_list_id].memory_gib_hour,
                prices[row.price_list_id].accelerator_hour,
            ),
            occupied,
            now_ms,
        )
        for row in rows
    )
    class_ids = {group.class_id for group in groups} | {lease.class_id for lease in leases}
    bodies = store.class_bodies(conn, class_ids)
    classes = {class_id: class_from(class_id, bodies[class_id]) for class_id in sorted(bodies)}
    asked = {classes[g.class_id].contract for g in groups if g.class_id in classes}
    bound = contracted(conn, leases, now_ms, asked - {"", NO_CONTRACT})
    running = running_of_all(leases, occupied, now_ms)
    cut = cut_out(pools, running, bound, now_ms)
    projects = sorted({group.project_id for group in groups})
    funds = ledger.funds(conn, projects)
    waiting = {group.key for group in groups}
    snapshot = Snapshot(
        pools=cut.pools,
        classes=tuple(classes[class_id] for class_id in sorted(classes)),
        queue=tuple(groups),
        running=cut.running,
        shares=_shares(conn, groups, leases, totals_of(pools), now_ms),
        quotas=_quotas(conn, leases),
        funds=tuple(Funds(project, funds[project]) for project in projects),
        links=tuple(
            Link(link.from_site, link.to_site, link.micro_yuan_per_gib, link.ms_per_gib)
            for link in data.links(conn, list(all_sites.values()))
        ),
        weights=tuple(
            (
                organisation_id,
                Weights(
                    weights.money_percent,
                    weights.wait_micro_yuan_per_hour,
                    weights.transfer_percent,
                ),
            )
            for organisation_id, weights in sorted(tenancy.weights_by_organisation(conn).items())
        ),
        policy=policy,
        promises=tuple(p for p in promises if p.group in waiting),
    )
    leave = cut.leave if policy.preemption else ()
    by_id = {row.pool_id: row for row in rows}
    by_id |= {p.pool_id: part_row(p.part, by_id) for p in cut.pools if p.part is not None}
    return Gathered(snapshot, all_sites, by_id, classes, bound, cut.there, leave, now_ms)


def somebody_waits(conn: Connection, now_ms: int) -> bool:
    """Is a round worth its while? Also when only old refusals are left to take back."""
    return store.has_queued(conn, now_ms) or store.has_refusals(conn)
