"""Where could this demand run, and at what price? The table that a person sees before submitting.

Every (pool, alternative) is a row. First those that could start it now, by score; then those that
are only busy, by a score that includes the wait until expected ends free enough room; then those
that refuse it, the most hopeful first. Quotas and funds, which belong to a project, are not looked
at.
"""

from __future__ import annotations

from dataclasses import replace

from suanwang.engines.scheduling.capacity import GridRoom
from suanwang.engines.scheduling.filters import CHAIN, CODE, Filters
from suanwang.engines.scheduling.model import (
    DemandClass,
    PoolVerdict,
    RefusalReason,
    Score,
    Snapshot,
    Weights,
)
from suanwang.engines.scheduling.pools import pool_columns, vector
from suanwang.engines.scheduling.scoring import Ranking, rank
from suanwang.engines.scheduling.wording import detail, duration
from suanwang.kernel.money import scale
from suanwang.kernel.time import MS_PER_SECOND

_Row = tuple[tuple[int, int, int, str], PoolVerdict]


def candidates(
    snapshot: Snapshot,
    demand: DemandClass,
    organisation_id: str,
    now_ms: int,
    project_id: str = "",
) -> tuple[PoolVerdict, ...]:
    """`demand` need not be among the snapshot's classes; without a project, those contracts'
    capacity is left out that only projects may use."""
    known = (*snapshot.classes, demand)
    data_sites = sorted({s for c in known for i in c.inputs for s in i.at_sites})
    columns = pool_columns(snapshot.pools, snapshot.links, snapshot.default_link, data_sites)
    filters = Filters(columns)
    weights = dict(snapshot.weights).get(organisation_id, Weights())
    hold_percent = snapshot.policy.runtime_hold_percent
    (ranking,) = rank(filters, [(demand, weights, project_id)], hold_percent, now_ms)
    expected = [replace(r, ends_by_ms=r.expected_end_ms) for r in snapshot.running]
    asked = [request.resources for request in demand.alternatives]
    room = GridRoom(columns.pools, expected, 0, now_ms, asked)
    rows: list[_Row] = []
    for alternative, request in enumerate(demand.alternatives):
        need = vector(request.resources)
        fits = room.room_in(room.free, need, demand.members)
        for pool in range(len(columns.pools)):
            code = int(ranking.codes[alternative, pool])
            score = ranking.score(alternative * len(columns.pools) + pool)
            if code == CODE[RefusalReason.UNDER_CONTRACT]:
                continue
            if code:
                rows.append(_refused(filters, ranking, alternative, pool, code, score, now_ms))
            elif fits[pool]:
                key = (0, score.total, alternative, columns.pools[pool].pool_id)
                rows.append((key, PoolVerdict(columns.pools[pool].pool_id, alternative, score)))
            else:
                free_at_ms = room.pools[pool].earliest(need, demand.members)
                rows.append(
                    _busy(
                        columns.pools[pool].pool_id, alternative, score, weights, free_at_ms, now_ms
                    )
                )
    return tuple(verdict for _, verdict in sorted(rows, key=lambda row: row[0]))


def _refused(
    filters: Filters,
    ranking: Ranking,
    alternative: int,
    pool: int,
    code: int,
    score: Score,
    now_ms: int,
) -> _Row:
    reason = CHAIN[code - 1]
    pool_id = filters.columns.pools[pool].pool_id
    text = detail(filters, ranking, alternative, pool, reason, now_ms)
    key = (2 + len(CHAIN) - code, score.total, alternative, pool_id)
    return key, PoolVerdict(pool_id, alternative, score, reason, text)


def _busy(
    pool_id: str,
    alternative: int,
    score: Score,
    weights: Weights,
    free_at_ms: int | None,
    now_ms: int,
) -> _Row:
    reason = RefusalReason.NO_FREE_CAPACITY
    if free_at_ms is None:
        key = (2 + len(CHAIN) - CODE[reason], score.total, alternative, pool_id)
        return key, PoolVerdict(pool_id, alternative, score, reason, "no free room in sight")
    queue_s = -(-max(0, free_at_ms - now_ms) // MS_PER_SECOND)
    wait_s = score.expected_wait_s + queue_s
    wait = scale(weights.wait_micro_yuan_per_hour, wait_s, 3_600)
    longer = replace(
        score,
        total=score.total - score.wait + wait,
        wait=wait,
        expected_wait_s=wait_s,
    )
    text = f"busy; room is expected in about {duration(queue_s)}"
    key = (1, longer.total, alternative, pool_id)
    return key, PoolVerdict(pool_id, alternative, longer, reason, text)
