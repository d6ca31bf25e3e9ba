"""Why does my work wait, until when, and what would help? (docs/mechanisms/explain.md)"""

from __future__ import annotations

from dataclasses import dataclass, replace

from suanwang.engines.scheduling.forecast_queue import Key, Play
from suanwang.engines.scheduling.model import (
    PERMANENT_REASONS,
    Placement,
    Plan,
    PoolVerdict,
    RefusalReason,
    Snapshot,
)
from suanwang.engines.scheduling.plan import Round
from suanwang.engines.scheduling.refusals import RefusalBook
from suanwang.engines.scheduling.remedies import Remedies, Remedy
from suanwang.kernel.errors import NotFound

PLAYS = 9
"""With nine plays the real start falls behind the last of them in one case of ten."""

CONFIDENCE_PERCENT = 90
NODES_PLAYED = 300
"""Above this many nodes only the pools that the group could use are played."""

GROUPS_PLAYED = 60
"""Of the groups that compete for them, so many, in the order of the round."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """When the group's next task starts: as likely before as after `expected_start_ms`, and with
    `confidence_percent` not after `latest_start_ms`, if nobody overtakes it who is not here yet."""

    earliest_start_ms: int
    expected_start_ms: int
    latest_start_ms: int | None
    """None: further away than was looked."""
    confidence_percent: int = CONFIDENCE_PERCENT


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that is known about a group's wait."""

    group: Key
    waiting: int
    reason: RefusalReason | None
    """None: nothing of it waits any more."""
    detail: str
    verdicts: tuple[PoolVerdict, ...]
    """Every pool and alternative, the most hopeful first."""
    reserved_start_ms: int | None
    """Its reservation in this round, by declared run times: it starts by then."""
    estimate: Estimate | None
    remedies: tuple[Remedy, ...]


def explain(snapshot: Snapshot, plan: Plan, group: Key, now_ms: int) -> Explanation:
    """`plan` must have been made of this very snapshot. NotFound if the group is not in it."""
    round_ = Round(snapshot, now_ms, 0)
    waiting = round_.waiting.get(group)
    if waiting is None:
        raise NotFound("UnknownGroup", f"There is no group {group} in this snapshot.")
    round_.replay(plan)
    refusal = next((r for r in plan.refusals if r.group == group), None)
    if refusal is None:
        return Explanation(group, 0, None, "everything of it starts now", (), None, None, ())
    columns = round_.filters.columns
    book = RefusalBook(round_.standing())
    started = refusal.count < waiting.group.count
    most = max(1, len(columns.pools) * len(waiting.ranking.demand.alternatives))
    verdicts = (
        book.verdicts(waiting.group, waiting.ranking, started=started, most=most)
        if columns.pools
        else ()
    )
    reserved = next((r.start_at_ms for r in plan.reservations if r.group == group), None)
    return Explanation(
        group,
        refusal.count,
        refusal.reason,
        refusal.detail,
        verdicts,
        reserved,
        estimate(snapshot, plan, group, now_ms),
        Remedies(round_, waiting.group).all(),
    )


def estimate(snapshot: Snapshot, plan: Plan, group: Key, now_ms: int) -> Estimate | None:
    """Play the queue forward a few times. None if the group starts in no play."""
    scene, placements = _scene(snapshot, plan, group, now_ms)
    starts = [Play(scene, placements, now_ms, i).first_start(group) for i in range(PLAYS)]
    known = sorted(s for s in starts if s is not None)
    if len(known) <= PLAYS // 2:
        return None
    latest = known[-1] if len(known) == PLAYS else None
    return Estimate(known[0], known[PLAYS // 2], latest)


def _scene(
    snapshot: Snapshot, plan: Plan, group: Key, now_ms: int
) -> tuple[Snapshot, tuple[Placement, ...]]:
    """The part of a big grid that matters to the group: its pools, and who competes for them."""
    if sum(len(p.nodes) for p in snapshot.pools) <= NODES_PLAYED:
        return snapshot, plan.placements
    mine = next(g for g in snapshot.queue if g.key == group)
    round_ = Round(replace(snapshot, queue=(mine,)), now_ms, 0)
    columns, ranking = round_.filters.columns, round_.waiting[group].ranking
    kept: list[str] = []
    nodes = 0
    for flat in ranking.order.tolist():
        pool = columns.pools[ranking.at(flat)[1]]
        if pool.pool_id not in kept and (not kept or nodes + len(pool.nodes) <= NODES_PLAYED):
            kept.append(pool.pool_id)
            nodes += len(pool.nodes)
    rivals = [
        r.group
        for r in plan.refusals
        if r.group == group or any(v.pool_id in kept for v in r.verdicts if _competes(v))
    ]
    chosen = {*rivals[: GROUPS_PLAYED - 1], group}
    placements = tuple(p for p in plan.placements if p.pool_id in kept)
    counts: dict[Key, int] = {r.group: r.count for r in plan.refusals if r.group in chosen}
    for placed in placements:
        counts[placed.group] = counts.get(placed.group, 0) + 1
    queue = tuple(replace(g, count=counts[g.key]) for g in snapshot.queue if g.key in counts)
    pools = tuple(p for p in snapshot.pools if p.pool_id in kept)
    running = tuple(r for r in snapshot.running if r.pool_id in kept)
    return replace(snapshot, pools=pools, queue=queue, running=running), placements


def _competes(verdict: PoolVerdict) -> bool:
    return verdict.reason not in PERMANENT_REASONS
