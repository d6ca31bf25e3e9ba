"""Which preemptible leases leave because a contract needs their place and nothing else is free.

Lot by lot: on every node the leases that have run least are added up until one lot more is free;
the node where that costs the least lost work gives the lot. What is stopping already is waited for.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from suanwang.engines.scheduling.lots import Lot, Vector, added, lots_in, lots_needed
from suanwang.engines.scheduling.model import Running


@dataclass(slots=True)
class Bed:
    """A node: room that no contract has, and who runs there on none."""

    room: Vector
    lot: Lot
    leases: list[tuple[Running, Vector]]

    def lost(self, lease: Running, amount: Vector, now_ms: int) -> int:
        return max(0, now_ms - lease.started_at_ms) * max(1, lots_needed(amount, self.lot))


def choose_leavers(
    beds: Sequence[Bed], missing: int, at_ms: int, now_ms: int, leaving: Collection[str]
) -> list[str]:
    """Ids of leases to stop so that up to so many lots come free. What ends by `at_ms` anyway is
    part of the beds' room."""
    steps: list[list[tuple[int, Running, Vector]]] = []
    for bed in beds:
        later = [one for one in bed.leases if one[0].ends_by_ms > at_ms or at_ms <= now_ms]
        may_stop = []
        for lease, amount in later:
            if lease.stopping or lease.lease_id in leaving:
                bed.room = added(bed.room, amount)
            elif lease.preemptible and lease.protected_until_ms <= now_ms:
                may_stop.append((bed.lost(lease, amount, now_ms), lease, amount))
        missing -= lots_in(bed.room, bed.lot)
        steps.append(sorted(may_stop, key=lambda one: (one[0], one[1].lease_id)))
    out: list[str] = []
    while missing > 0:
        found = [
            (cost, at, count)
            for at, bed in enumerate(beds)
            if (step := _step(bed, steps[at])) is not None
            for cost, count in (step,)
        ]
        if not found:
            break
        _, at, count = min(found)
        before = lots_in(beds[at].room, beds[at].lot)
        for _, lease, amount in steps[at][:count]:
            beds[at].room = added(beds[at].room, amount)
            out.append(lease.lease_id)
        steps[at] = steps[at][count:]
        missing -= lots_in(beds[at].room, beds[at].lot) - before
    return out


def _step(bed: Bed, may_stop: Sequence[tuple[int, Running, Vector]]) -> tuple[int, int] | None:
    """(lost work, how many of them must leave) for one lot more; None: not even all of them do."""
    room, before, lost = bed.room, lots_in(bed.room, bed.lot), 0
    for count, (cost, _, amount) in enumerate(may_stop, start=1):
        room, lost = added(room, amount), lost + cost
        if lots_in(room, bed.lot) > before:
            return lost, count
    return None
