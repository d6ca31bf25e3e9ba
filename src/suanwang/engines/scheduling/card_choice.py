"""Where cards are shared, a node is chosen so that the least of them becomes unusable.

Best fit is enough while everybody takes whole cards. As soon as some class of the queue asks for a
part of a card, single tasks on pools with accelerators go where `packing.NodePacker` says, as long
as that node is open to them beside the reservations; gangs and everything past the bound stay with
best fit.
"""

from __future__ import annotations

from collections.abc import Iterable

from suanwang.engines.scheduling.capacity import PoolRoom, Taken
from suanwang.engines.scheduling.model import Pool, Request
from suanwang.engines.scheduling.packing import NodePacker
from suanwang.engines.scheduling.packing_model import CARD, DemandMix, Need, PackNode, Spot
from suanwang.engines.scheduling.pools import vector
from suanwang.kernel.resources import Resources

PACKED_PER_ROUND = 2_000
"""A choice costs about a tenth of a millisecond; a round must stay within a second."""


class CardChoice:
    """The packers of a round, one per pool, made when first needed."""

    def __init__(self, pools: tuple[Pool, ...], usual: Iterable[tuple[Request, int]]) -> None:
        """`usual`: what the queue asks for, with counts."""
        counted = [(r, count) for r, count in usual if _packable(r)]
        self._shared = any(r.resources.accelerator_milli % CARD for r, _ in counted)
        self._mix = DemandMix.of((Need.of(r), count) for r, count in counted)
        self._pools = pools
        self._packers: dict[int, tuple[int, NodePacker]] = {}
        self._left = PACKED_PER_ROUND

    def applies(self, pool: int, request: Request, members: int) -> bool:
        return (
            self._shared
            and members == 1
            and self._left > 0
            and self._pools[pool].accelerator is not None
            and _packable(request)
        )

    def take(self, room: PoolRoom, request: Request, limit: int, end_ms: int) -> list[Taken]:
        """Start up to `limit` single tasks."""
        need, amount = Need.of(request), vector(request.resources)
        packer = self._packer(room)
        fit = room.counts(room.available(end_ms), amount)
        out: list[Taken] = []
        for _ in range(min(limit, self._left)):
            spots = packer.choose(need)
            if spots is None:
                break
            node = room.positions(((spots[0].node_id, 1),))[0][0]
            if fit[node] < 1:
                break
            where = ((spots[0].node_id, 1),)
            cards = room.put(where, amount, end_ms, (spots[0].cards,))
            packer.place(need, Spot(spots[0].node_id, cards[0]) if any(cards) else spots[0])
            fit[node] -= 1
            out.append(Taken(((node, 1),), 1, cards))
        self._left -= len(out)
        self._packers[room.index] = (room.changes, packer)
        return out + room.take(amount, 1, limit - len(out), end_ms) if len(out) < limit else out

    def _packer(self, room: PoolRoom) -> NodePacker:
        known = self._packers.get(room.index)
        if known is not None and known[0] == room.changes:
            return known[1]
        pool = self._pools[room.index]
        model = pool.accelerator.model if pool.accelerator else ""
        nodes = [
            PackNode.of(room.now(position, node), model)
            for position, node in enumerate(pool.nodes)
            if node.schedulable
        ]
        return NodePacker(nodes, self._mix)


def _packable(request: Request) -> bool:
    resources: Resources = request.resources
    milli = resources.accelerator_milli
    return milli < CARD or milli % CARD == 0
