"""The day-ahead call auction: the greatest welfare at one price for each product.

    1. The book is relaxed (blocks may be cut anywhere): the bound, and a first choice of blocks.
    2. With that choice held, the rest is a network: flows in whole lots, and the lattice of prices
       that support them (see `prices`).
    3. Blocks that lose at every such price are dropped, those that are far within the prices
       though left out are tried, and it is cleared again; the best choice without losers is kept
       (see `search`).
    4. Where blocks are not so many that one more or less is nothing, it is found out which of them
       fit together (see `thin`); where they are few, every choice of them is tried.

A block that is left out though the price is within its limit is *paradoxically rejected*, as in
power exchanges: served whole, it would have made somebody who is served lose. Blocks that lose are
never served. What is measured in `effort` is steps, not time, so that a round can be replayed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product as combinations
from math import prod

import numpy as np

from suanwang.engines.matching.awards import awards_of
from suanwang.engines.matching.model import WHOLE, Book, Clearing
from suanwang.engines.matching.search import Search, State
from suanwang.engines.matching.thin import ThinEffort, ThinSearch


@dataclass(frozen=True, slots=True)
class Effort:
    rounds: int = 200
    """At most so many times is the acceptance of blocks revised, many blocks at once."""
    patience: int = 25
    """Rounds without a better clearing after which it is left at that."""
    solves: int = 10_000
    """Programs solved in dives."""
    solve_work: int = 24_000_000
    """Programs solved in dives times their columns."""
    dive_columns: int = 10_000
    """Books with more columns are not dived: one block more or less is nothing there."""
    fits: int = 16
    """Neighbourhoods of blocks that are fitted anew, one after another."""
    fit_work: int = 60_000
    """Fits times options."""
    cuts: int = 5
    """Fits that prices do not support, before the neighbourhood is left; twice as many each time
    that it comes up again."""
    size: int = 12
    """Blocks of a neighbourhood."""
    whole: int = 160
    """Up to so many options, all blocks are one neighbourhood too."""
    whole_cuts: int = 12
    choices: int = 512
    """Up to so many choices of blocks are all tried."""

    def of(self, search: Search) -> ThinEffort:
        """What one book of this size is worth."""
        columns, options = search.program.layout.end, len(search.profiles)
        small = options > 0 and columns <= self.dive_columns
        return ThinEffort(
            solves=min(self.solves, self.solve_work // columns) if small else 0,
            fits=min(self.fits, self.fit_work // max(1, options)),
            cuts=self.cuts,
            size=self.size,
            whole=self.whole,
            whole_cuts=self.whole_cuts,
        )


def clear(book: Book, effort: Effort | None = None) -> Clearing:
    """One round. The same book gives the same clearing."""
    effort = effort or Effort()
    search = Search(book)
    bound, values = search.relaxation()
    best, rounds = search.improve(search.rounded(values), effort.rounds, effort.patience)
    tried = exhaust(search, best, effort.choices)
    if tried is not None:
        best, more = tried
    else:
        thin, more = effort.of(search), 0
        if thin.fits or thin.solves:
            searched = ThinSearch(search)
            best = searched.improve(values, best, thin)
            more = searched.solved
    return awards_of(book, search.program.columns, best, bound, rounds + more)


def exhaust(search: Search, best: State, most: int) -> tuple[State, int] | None:
    """Every choice of whole blocks, if there are no more than that."""
    blocks = search.book.blocks
    counts = [len(block.options) + 1 for block in blocks]
    if len(counts) > 16 or prod(counts) > most:
        return None
    rounds = 0
    for chosen in combinations(*(range(count) for count in counts)):
        parts = np.zeros(len(search.profiles), dtype=np.int64)
        for block, option in zip(blocks, chosen, strict=True):
            if option:
                parts[search.slice_of(block.block_id).start + option - 1] = WHOLE
        if not search.keeps_bundles(parts):
            continue
        state = search.state(parts, thorough=True)
        rounds += 1
        if state.feasible and state.welfare > best.welfare and not state.losing.any():
            best = state
    return best, rounds
