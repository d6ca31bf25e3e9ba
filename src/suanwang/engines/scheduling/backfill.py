"""Reservations: the first blocked demands get a start time that later ones may not push back.

EASY backfill, node by node. A blocked group's next task is given the earliest instant at which, by
the declared ends of everything that runs, its gang fits in one pool; later demand may start there
only if it ends before that instant or leaves what the gang needs. Declared ends are upper bounds
and the kept room is only ever released early, so a reserved start never moves back.
Looked at: the group's best-scoring pools that still have a reservation to give, a few of them.
"""

from __future__ import annotations

from collections.abc import Callable

from suanwang.engines.scheduling.capacity import GridRoom
from suanwang.engines.scheduling.model import Policy, QueueGroup, Reservation
from suanwang.engines.scheduling.pools import PoolColumns, vector
from suanwang.engines.scheduling.scoring import Ranking

POOLS_CONSIDERED = 4


def reserve_for(
    columns: PoolColumns,
    room: GridRoom,
    policy: Policy,
    group: QueueGroup,
    ranking: Ranking,
    allowed: Callable[[int], bool],
    now_ms: int,
) -> Reservation | None:
    """Reserve the earliest start, or without backfill close every pool that the group could use.

    `allowed` says of a candidate whether quotas and funds would let one task start.
    """
    if policy.backfill and room.open_reservations() == 0:
        return None
    demand = ranking.demand
    best: tuple[int, int] | None = None
    considered = 0
    closing: list[int] = []
    for order, flat in enumerate(ranking.order.tolist()):
        alternative, pool = divmod(flat, len(columns.pools))
        if not room.takes_reservation(pool) or not allowed(flat):
            continue
        if pool not in closing:
            closing.append(pool)
        if considered == POOLS_CONSIDERED:
            if policy.backfill:
                break
            continue
        need = vector(demand.alternatives[alternative].resources)
        found = room.pools[pool].earliest(need, demand.members)
        if found is not None:
            considered += 1
            if best is None or (found, order) < best:
                best = (found, order)
    reservation = None
    if best is not None:
        start_ms, order = best
        alternative, pool = divmod(int(ranking.order[order]), len(columns.pools))
        if policy.backfill:
            need = vector(demand.alternatives[alternative].resources)
            room.pools[pool].reserve(start_ms, need, demand.members, group.key)
        reservation = Reservation(group.key, columns.pools[pool].pool_id, max(now_ms, start_ms))
    if not policy.backfill:
        for pool in closing:
            room.pools[pool].close()
    return reservation
