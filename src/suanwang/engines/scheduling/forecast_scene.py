"""The part of a grid and its queue that a forecast plays: all of it, if that is not much.

Of many nodes: the best of the pools that the group could use. Of many rivals there: the first in
the order of the round, one by one, and a sample of those behind. Shares are fought out within an
organisation first, so the group's own is sampled more closely, and every other one by itself: as
many owners as possible stay in the play. A rival is drawn as often as its work is a part of all the
work it is drawn from, and stands for one such part; one that could also run elsewhere counts by the
part of its capacity that is played. So the load is kept, and with it how long the queue takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from suanwang.engines.scheduling.forecast_pace import CLOSE, WIDE
from suanwang.engines.scheduling.forecast_queue import Key, Scene, played_policy
from suanwang.engines.scheduling.model import (
    PERMANENT_REASONS,
    Plan,
    PoolVerdict,
    QueueGroup,
    Refusal,
    Snapshot,
)
from suanwang.engines.scheduling.plan import Judgement, Round
from suanwang.engines.scheduling.scoring import Ranking

NODES_PLAYED = 300
"""Above this many nodes only the pools that the group could use are played."""

POOLS_PLAYED = 12
FIRST_PLAYED = 100
"""Rivals, in the order of the round, that are played one by one."""

AT_HOME = 200
"""Of the group's own organisation so many behind them, which stand for all there."""

ABROAD = 300
"""Of all others so many, each organisation by itself where there are not more."""

CLOSE_NODES = 16
CLOSE_GROUPS = 40
"""Up to this size, in both, a play looks closely."""


@dataclass(frozen=True, slots=True)
class Rival:
    """A group that waits for what is played."""

    group: QueueGroup
    waiting: int


def scene(round_: Round, plan: Plan, group: Key) -> Scene:
    """`round_` is of the snapshot of which `plan` was made, and has room for `group` in it."""
    snapshot = round_.snapshot
    groups = {g.key: g for g in snapshot.queue}
    kept = _pools(round_, round_.waiting[group].ranking)
    placements = tuple(p for p in plan.placements if kept is None or p.pool_id in kept)
    refused = [
        r
        for r in plan.refusals
        if r.group == group or kept is None or any(_competes(v, kept) for v in r.verdicts)
    ]
    counts = _counts(round_, refused, groups, group, kept)
    nodes = sum(len(p.nodes) for p in snapshot.pools if kept is None or p.pool_id in kept)
    close = nodes <= CLOSE_NODES and len(counts) <= CLOSE_GROUPS
    for placed in placements:
        counts[placed.group] = counts.get(placed.group, 0) + 1
    queue = tuple(replace(groups[key], count=counts[key]) for key in sorted(counts))
    part = _part(snapshot, queue, kept)
    judgement = Judgement(part)
    # rankings of the whole queue, worked out once
    Round(replace(part, running=(), policy=played_policy(part.policy)), round_.now_ms, 0, judgement)
    return Scene(part, placements, round_.now_ms, CLOSE if close else WIDE, judgement)


def _pools(round_: Round, ranking: Ranking) -> set[str] | None:
    """None: all of them."""
    pools = round_.filters.columns.pools
    if len(pools) <= POOLS_PLAYED and sum(len(p.nodes) for p in pools) <= NODES_PLAYED:
        return None
    kept: dict[str, int] = {}
    for flat in ranking.order.tolist():
        pool = pools[ranking.at(flat)[1]]
        fits = len(kept) < POOLS_PLAYED and sum(kept.values()) + len(pool.nodes) <= NODES_PLAYED
        if pool.pool_id not in kept and (not kept or fits):
            kept[pool.pool_id] = len(pool.nodes)
    return set(kept)


def _counts(
    round_: Round,
    refused: Sequence[Refusal],
    groups: dict[Key, QueueGroup],
    group: Key,
    kept: set[str] | None,
) -> dict[Key, int]:
    """How many tasks of which groups wait in the plays."""
    rivals = [Rival(groups[r.group], r.count) for r in refused]
    if len(rivals) <= FIRST_PLAYED + AT_HOME + ABROAD:
        chosen = {r.group.key: float(r.waiting) for r in rivals}
    else:
        chosen = {r.group.key: float(r.waiting) for r in rivals[:FIRST_PLAYED]}
        tail = [r for r in rivals[FIRST_PLAYED:] if r.group.key != group]
        home = [r for r in tail if r.group.organisation_id == group[0]]
        abroad = [r for r in tail if r.group.organisation_id != group[0]]
        work = _work_of_task(round_)
        chosen.update(sampled(home, AT_HOME, work))
        by_owner: dict[str, list[Rival]] = {}
        for rival in abroad:
            by_owner.setdefault(rival.group.organisation_id, []).append(rival)
        if len(by_owner) <= ABROAD:
            for theirs in by_owner.values():
                chosen.update(sampled(theirs, ABROAD // len(by_owner), work))
        else:
            chosen.update(sampled(abroad, ABROAD, work))
    own = next((r.count for r in refused if r.group == group), 0)
    counts = {
        key: max(1, round(count * _played_part(round_, groups[key], kept)))
        for key, count in chosen.items()
    }
    counts[group] = own
    return counts


def sampled(
    tail: Sequence[Rival], many: int, work_of_task: Callable[[QueueGroup], float]
) -> dict[Key, float]:
    """At most so many of them with counts that make up the work of all (systematic sampling)."""
    if len(tail) <= many:
        return {r.group.key: float(r.waiting) for r in tail}
    ordered = sorted(tail, key=lambda r: r.group.key)
    works = np.array([r.waiting * work_of_task(r.group) for r in ordered])
    part = float(works.sum()) / many
    drawn = np.searchsorted(works.cumsum(), (np.arange(many) + 0.5) * part)
    out: dict[Key, float] = {}
    for index in drawn.clip(0, len(ordered) - 1).tolist():
        rival = ordered[index]
        tasks = part / work_of_task(rival.group)
        out[rival.group.key] = out.get(rival.group.key, 0.0) + tasks
    return out


def _size_of_task(round_: Round) -> Callable[[QueueGroup], float]:
    """Part of the grid that one task takes."""
    totals = round_.totals

    def size(group: QueueGroup) -> float:
        demand = round_.classes[group.class_id]
        need = demand.alternatives[0].resources
        part = max(
            need.cpu_milli / totals.cpu_milli,
            need.memory_mib / totals.memory_mib,
            need.accelerator_milli / totals.accelerator_milli,
            1e-12,
        )
        return part * demand.members

    return size


def _work_of_task(round_: Round) -> Callable[[QueueGroup], float]:
    """That times the seconds it runs."""
    size = _size_of_task(round_)
    return lambda group: size(group) * max(1, round_.classes[group.class_id].expected_runtime_s)


def _played_part(round_: Round, group: QueueGroup, kept: set[str] | None) -> float:
    """Of the nodes that a rival could use, the part that is played."""
    if kept is None:
        return 1.0
    ranking = round_.ranking(round_.classes[group.class_id], group)
    pools = round_.filters.columns.pools
    usable = {ranking.at(flat)[1] for flat in ranking.order.tolist()}
    there = sum(len(pools[i].nodes) for i in usable if pools[i].pool_id in kept)
    return there / max(1, sum(len(pools[i].nodes) for i in usable))


def _part(snapshot: Snapshot, queue: tuple[QueueGroup, ...], kept: set[str] | None) -> Snapshot:
    """The snapshot with what is played alone."""
    used = {g.class_id for g in queue}
    owners: set[tuple[str | None, str]] = {(None, g.organisation_id) for g in queue}
    owners |= {(g.organisation_id, g.project_id) for g in queue}
    owners |= {(g.project_id, g.user_id) for g in queue}
    if kept is None:
        pools, running = snapshot.pools, snapshot.running
    else:
        pools = tuple(p for p in snapshot.pools if p.pool_id in kept)
        running = tuple(r for r in snapshot.running if r.pool_id in kept)
    return replace(
        snapshot,
        pools=pools,
        classes=tuple(c for c in snapshot.classes if c.class_id in used),
        queue=queue,
        running=running,
        shares=tuple(s for s in snapshot.shares if (s.parent_id, s.share_id) in owners),
    )


def _competes(verdict: PoolVerdict, kept: set[str]) -> bool:
    return verdict.pool_id in kept and verdict.reason not in PERMANENT_REASONS
