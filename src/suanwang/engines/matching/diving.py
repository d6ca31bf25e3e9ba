"""Dives: offers are withdrawn one at a time, until all that is served is served whole.

All blocks are offered in any part, and the linear program serves some of them in part. Of those the
one that is served least is withdrawn, and it is solved again from where it stands, until none is
cut, nor anything short or left over. The prices of the last program support what it serves, and
none of it loses. Who is offered and not served stays offered: when a rival is withdrawn, it takes
its place.

From there it goes on in small steps. Some blocks that are near each other are offered anew, a few
that are served are withdrawn, and it dives from there. Where that costs next to nothing, it goes on
from the new place: that is how it leaves a choice that no single step makes better.

Effort is counted in programs solved.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from suanwang.engines.matching.model import WHOLE
from suanwang.engines.matching.neighbours import Neighbours, scattered
from suanwang.engines.matching.prices import Flags, Ints
from suanwang.engines.matching.program import Floats
from suanwang.engines.matching.search import NEARLY, Search

SIZES = (3, 6, 12, 24)
"""Blocks that are offered anew in a step."""
WITHDRAWN = (0.0, 0.2, 0.5)
"""Of those of them that are served, so many."""
DICE = (0.1, 0.5, 1.0)
"""Of a part served: by so much it is left to chance which cut block is withdrawn."""
SLACK = 5e-4
"""Of the welfare, which a step may cost."""


@dataclass(frozen=True, slots=True)
class Dive:
    offered: Flags
    parts: Ints
    welfare: float
    """In micro-yuan, the solver's."""


class Diving:
    def __init__(self, search: Search, neighbours: Neighbours) -> None:
        self._search = search
        self._neighbours = neighbours
        least = np.array([block.least for block in search.book.blocks], dtype=np.int64)
        self._least = least[search.block_of] / WHOLE
        self.solved = 0

    def first(self) -> Dive:
        """From all blocks."""
        found = self._down(np.ones(len(self._least), dtype=np.bool_), 0.0, 0, -np.inf)
        assert found is not None
        return found

    def improved(self, start: Dive, most_solved: int) -> Dive:
        """The best that is found before so many programs are solved in all."""
        here = best = start
        blocks, turn = len(self._search.book.blocks), 0
        while blocks and self.solved < most_solved:
            turn += 1
            chance = scattered(4 + len(self._least), 2 * turn)
            seed, size, part, dice = (
                int(chance[at] * count)
                for at, count in enumerate((blocks, len(SIZES), len(WITHDRAWN), len(DICE)))
            )
            free = self._neighbours.near(seed, SIZES[size], turn)
            withdrawn = free & (here.parts > 0) & (chance[4:] < WITHDRAWN[part])
            offered = (here.offered | free) & ~withdrawn
            found = self._down(offered, DICE[dice], turn, here.welfare * (1 - SLACK))
            if found is not None:
                here = found
                best = max(best, found, key=lambda dive: dive.welfare)
        return best

    def _down(self, offered: Flags, dice: float, turn: int, least: float) -> Dive | None:
        """None where it falls below the least welfare: withdrawing more never adds to it."""
        program, offered = self._search.program, offered.copy()
        layout = program.layout
        chance = dice * scattered(len(offered), 2 * turn + 1)
        while True:
            program.offer(np.where(offered, WHOLE, 0))
            self.solved += 1
            solution = program.solve()
            if -solution.cost < least:
                return None
            values = solution.value[layout.options : layout.links]
            cut = np.flatnonzero(self._cut(values))
            if len(cut):
                offered[cut[np.argmin(values[cut] + chance[cut])]] = False
                continue
            spilling = self._search.spilling(solution)
            if not len(spilling):
                return Dive(offered, self._parts(values), -solution.cost)
            gains = self._search.gains_near(solution.price)[spilling]
            offered[spilling[np.argmin(gains)]] = False

    def _cut(self, values: Floats) -> Flags:
        """Served in a part that its block does not take."""
        below = np.minimum(self._least, 1 - NEARLY)
        found: Flags = (values > NEARLY) & (values < below)
        return found

    def _parts(self, values: Floats) -> Ints:
        parts = np.where(values >= 1 - NEARLY, WHOLE, 0)
        for option in np.flatnonzero((values > NEARLY) & (values < 1 - NEARLY)).tolist():
            parts[option] = self._search.part(option, float(values[option]))
        return self._search.orphans_dropped(parts)
