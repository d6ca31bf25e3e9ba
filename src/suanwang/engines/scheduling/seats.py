"""Nodes while claims are cut out of them: what is free of each now, and by an instant to come.

The instant only moves forward, and a node is looked at again only when something on it changes:
work or a slice ends there, or a slice is cut. So thousands of claims on thousands of nodes cost
what their slices cost. The tests hold it to the plain reckoning, claim by claim and node by node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from suanwang.engines.scheduling.lots import Lot, Vector, added, at_least_zero, lots_in
from suanwang.engines.scheduling.model import Node, Running


@dataclass(slots=True)
class Slice:
    """A claim on one node."""

    lots: int
    until_ms: int
    claimed: Vector
    """All of its lots there."""
    guarded: Vector
    """Of them, what is free now."""


@dataclass(slots=True)
class Seat:
    """A node: what is free of it for everybody now, its work, and the slices cut from it."""

    node: Node
    free: Vector
    leases: list[tuple[Running, Vector]] = field(default_factory=list)
    slices: dict[str, Slice] = field(default_factory=dict)
    """By part of a claim."""
    ended: Vector | None = None
    """What work and slices that end by the instant give back; None: nothing does."""
    lasting: list[tuple[Running, Vector]] = field(default_factory=list)
    """Leases that do not end by then."""
    counting: list[str] = field(default_factory=list)
    """Parts whose slices do not end by then."""
    back: Vector | None = None
    """What of the node comes free by the instant, less what slices count on; None: no change."""

    @property
    def room(self) -> Vector:
        """Free by the instant, if nothing more starts."""
        return self.free if self.back is None else added(self.free, self.back)

    def look(self, at_ms: int, held: Mapping[str, str]) -> None:
        """Reckon anew what comes back by then."""
        ended = [amount for lease, amount in self.lasting if lease.ends_by_ms <= at_ms]
        ended += [
            self.slices[part].guarded
            for part in self.counting
            if self.slices[part].until_ms <= at_ms
        ]
        if ended:
            self.ended = added(self.ended or [0] * len(self.free), *ended)
            self.lasting = [one for one in self.lasting if one[0].ends_by_ms > at_ms]
            self.counting = [one for one in self.counting if self.slices[one].until_ms > at_ms]
        counted_on = [self._counted_on(part, held) for part in self.counting]
        if counted_on or self.ended is not None:
            self.back = added(self.ended or [0] * len(self.free), *counted_on, sign=-1)

    def _counted_on(self, part_id: str, held: Mapping[str, str]) -> Vector:
        """What a slice has then beside what is free of it now and what its own work holds."""
        cut = self.slices[part_id]
        stays = [amount for lease, amount in self.lasting if held.get(lease.lease_id) == part_id]
        return at_least_zero(added(cut.claimed, cut.guarded, *stays, sign=-1))


class Seats:
    """The nodes of a pool, the roomiest first. Until `move_to`, room is what is free now."""

    def __init__(
        self,
        seats: Sequence[Seat],
        lots: Mapping[bool, Sequence[Lot | None]],
        held: Mapping[str, str],
    ) -> None:
        """`lots`: whether by core → the lot of each seat; `held`: leases on contracts → part."""
        self._seats = seats
        self._lots = lots
        self._held = held
        self._at_ms: int | None = None
        self._changes: list[tuple[int, int]] = []
        self._fits: dict[bool, list[int]] = {}
        self._ranks: dict[bool, list[tuple[int, int]]] = {}
        self._of_part: dict[str, list[int]] = {}

    def of_part(self, part_id: str) -> list[int]:
        """The seats with a slice of it, in order."""
        return sorted(self._of_part.get(part_id, ()))

    def move_to(self, at_ms: int) -> None:
        """From now on room is what there is by then."""
        if self._at_ms is None:
            self._begin()
        self._at_ms = at_ms
        moved = set()
        while self._changes and self._changes[0][0] <= at_ms:
            moved.add(heappop(self._changes)[1])
        for at in sorted(moved):
            self._look(at)

    def roomiest(self, by_core: bool, most: int) -> list[tuple[int, Lot, int]]:
        """(seat, its lot, how many lots): as few seats as can be. Each has to be cut then."""
        if by_core not in self._ranks:
            self._fits[by_core] = [self._fit(at, by_core) for at in range(len(self._seats))]
            self._ranks[by_core] = [(-f, at) for at, f in enumerate(self._fits[by_core]) if f > 0]
            heapify(self._ranks[by_core])
        ranks, fits, lots = self._ranks[by_core], self._fits[by_core], self._lots[by_core]
        out: dict[int, tuple[int, Lot, int]] = {}
        while ranks and most > 0:
            fit, at = heappop(ranks)
            lot = lots[at]
            # a seat is ranked again whenever it changes: older ranks of it mean nothing
            if -fit == fits[at] and at not in out and lot is not None:
                out[at] = at, lot, min(-fit, most)
                most += fit
        return list(out.values())

    def cut(self, at: int, part_id: str, cut: Slice) -> None:
        seat = self._seats[at]
        seat.free = added(seat.free, cut.guarded, sign=-1)
        known = seat.slices.get(part_id)
        if known is None:
            self._of_part.setdefault(part_id, []).append(at)
        else:
            cut = Slice(
                known.lots + cut.lots,
                cut.until_ms,
                added(known.claimed, cut.claimed),
                added(known.guarded, cut.guarded),
            )
        seat.slices[part_id] = cut
        if self._at_ms is not None:
            seat.counting.append(part_id)
            heappush(self._changes, (cut.until_ms, at))
        self._look(at)

    def _begin(self) -> None:
        """So far only what is free now has counted."""
        for at, seat in enumerate(self._seats):
            seat.lasting, seat.counting = list(seat.leases), list(seat.slices)
            if seat.lasting or seat.counting:
                # at once: what slices count on is nobody else's, whether something ends or not
                self._changes.append((0, at))
                self._changes += [(lease.ends_by_ms, at) for lease, _ in seat.lasting]
                self._changes += [(cut.until_ms, at) for cut in seat.slices.values()]
        heapify(self._changes)

    def _look(self, at: int) -> None:
        if self._at_ms is not None:
            self._seats[at].look(self._at_ms, self._held)
        for by_core, fits in self._fits.items():
            fit = fits[at] = self._fit(at, by_core)
            if fit > 0:
                heappush(self._ranks[by_core], (-fit, at))

    def _fit(self, at: int, by_core: bool) -> int:
        lot, seat = self._lots[by_core][at], self._seats[at]
        return lots_in(seat.room, lot) if lot is not None and seat.node.schedulable else 0
