"""Which candidates of a class may still have room? Asked in every turn, so it must cost little.

Room only shrinks within a round: a pool that is full for a gang of some size stays full for every
gang of that size, and leaves the lists of all their classes. Where one was tried in vain, the most
that any node there has left tells the larger ones without trying.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from suanwang.engines.scheduling.capacity import Gang, GridRoom
from suanwang.engines.scheduling.pools import vector
from suanwang.engines.scheduling.scoring import Ranking, declared_end_ms

_TRIED_IN_VAIN = 4
"""After so many tries of one list, and twice as many again, all pools are looked at together."""


@dataclass(slots=True)
class Shortlist:
    """The candidates of a ranking that are not known to be full, best first."""

    flats: list[int]
    gangs: tuple[Gang, ...]
    """Per alternative: what decides whether there is room for a task."""
    full: tuple[bytearray, ...]
    """Per alternative, [pool]: known to be full; one for all classes with such a gang."""
    scan_after: int = _TRIED_IN_VAIN
    failures: int = 0


class Openings:
    """The shortlists of a round."""

    def __init__(self, room: GridRoom, now_ms: int) -> None:
        self._room = room
        self._now_ms = now_ms
        self._lists: dict[int, Shortlist] = {}
        self._full: dict[Gang, bytearray] = {}

    def shortlist(self, ranking: Ranking) -> Shortlist:
        found = self._lists.get(id(ranking))
        if found is None:
            demand = ranking.demand
            end_ms = declared_end_ms(demand, self._now_ms)
            gangs = tuple(
                Gang(vector(r.resources), demand.members, end_ms) for r in demand.alternatives
            )
            full = tuple(self._known_full(gang) for gang in gangs)
            closed = np.frombuffer(b"".join(full), dtype=np.uint8)[ranking.order]
            found = Shortlist(ranking.order[closed == 0].tolist(), gangs, full)
            self._lists[id(ranking)] = found
        return found

    def _known_full(self, gang: Gang) -> bytearray:
        found = self._full.get(gang)
        if found is None:
            found = self._full[gang] = bytearray(len(self._room.pools))
        return found

    def is_full(self, shortlist: Shortlist, alternative: int, pool: int) -> bool:
        """Whether it is sure, without trying, that nothing more starts there."""
        if self._room.pools[pool].may_hold(shortlist.gangs[alternative]):
            return False
        shortlist.full[alternative][pool] = 1
        return True

    def note_full(self, shortlist: Shortlist, alternative: int, pool: int) -> None:
        """A try has shown that nothing more starts there."""
        shortlist.full[alternative][pool] = 1
        self._room.pools[pool].look()
        shortlist.failures += 1
        if shortlist.failures == shortlist.scan_after:
            shortlist.scan_after *= 2
            for gang, full in zip(shortlist.gangs, shortlist.full, strict=True):
                open_now = self._room.room_now(gang)
                for other in (~open_now).nonzero()[0].tolist():
                    full[other] = 1
