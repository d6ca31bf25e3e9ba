"""Better choices of blocks in a thin book, where it matters which blocks fit together.

Blocks that are *offered* may be served in any part up to the one they are held at. A choice has
supporting prices at which none of its blocks loses exactly if, all of it offered and nothing else,
it is best to serve all of it. So a choice that has none is brought down to one that has by dropping
what is not served whole when it is offered; and of two that have, the greater one is no worse.

    1. The relaxation's choice is brought down, and filled up one block at a time.
    2. Some blocks near each other are free, the rest stands; the best fit is found (see `fitting`),
       brought down and filled up. If it is better, it is what stands from then on; if prices do
       not support the fit, it is cut off and the next best is found.

Neighbourhoods are taken in turn, those of blocks first that are left out though within the prices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from suanwang.engines.matching.fitting import Fitting
from suanwang.engines.matching.model import WHOLE
from suanwang.engines.matching.prices import Flags, Ints
from suanwang.engines.matching.program import Floats, Program
from suanwang.engines.matching.search import Search, State

NEARLY = 1e-6
GOLDEN = 2_654_435_761


@dataclass(frozen=True, slots=True)
class Offered:
    """What is best if so much of each option is offered."""

    parts: Ints
    values: Floats
    gains: Floats
    """Of each option at these prices, not exact."""
    welfare: float

    @property
    def short(self) -> Ints:
        """Options of which not all is served that is offered."""
        return np.flatnonzero(self.values * WHOLE < self.parts - NEARLY * WHOLE)


class ThinSearch:
    def __init__(self, search: Search) -> None:
        self._search = search
        book = search.book
        self._program = Program(book, bundled=False)
        self._fitting = Fitting(search.program)
        self._block_of = search.block_of
        names = [block.group or block.block_id for block in book.blocks]
        """What an option excludes: others of its block, or of its group."""
        number = {name: at for at, name in enumerate(dict.fromkeys(names))}
        self._set_of = np.array([number[names[at]] for at in self._block_of], dtype=np.int64)
        columns = search.program.columns
        owners = self._block_of[columns.profile_option]
        pairs = np.unique(np.stack([owners, columns.profile_product]), axis=1)
        self._pair_block, self._pair_product = pairs[0], pairs[1]
        self.solved = 0

    def improve(self, values: Floats, best: State, fits: int, cuts: int, size: int) -> State:
        """From the relaxation's values of the options, by so many fits."""
        for least in (NEARLY, 0.5):
            best = self._better(self._filled(self._brought_down(self._chosen(values, least))), best)
        offered = self._offer(best.parts)
        tries = np.zeros(len(self._search.book.blocks), dtype=np.int64)
        for turn in range(fits):
            seed = self._seed(offered, tries)
            better = self._refitted(best, self._near(seed, size, turn), cuts << int(tries[seed]))
            tries[seed] += 1
            if better is not best:
                best, offered = better, self._offer(better.parts)
        return best

    def _refitted(self, best: State, free: Flags, cuts: int) -> State:
        """The best clearing that is found with only those options changed that are free."""
        parts = best.parts
        for _ in range(cuts):
            fit = self._fitting.best(parts, free)
            if fit is None or fit[1] <= best.welfare + 1:
                break
            down = self._brought_down(fit[0])
            supported = bool((down.parts == fit[0]).all())
            best = self._better(self._filled(down, free), best)
            if supported:
                break
            self._fitting.cut(fit[0], free)
        self._fitting.uncut()
        return best

    def _better(self, offered: Offered, best: State) -> State:
        """Exactly, and with prices in whole micro-yuan."""
        if offered.welfare <= best.welfare:
            return best
        state = self._search.state(offered.parts, thorough=True)
        good = state.feasible and not state.losing.any() and state.welfare > best.welfare
        return state if good else best

    def _offer(self, parts: Ints) -> Offered:
        self.solved += 1
        self._program.offer(parts)
        solution = self._program.solve()
        layout = self._program.layout
        values = solution.value[layout.options : layout.links]
        return Offered(parts, values, self._search.gains_near(solution.price), -solution.cost)

    def _chosen(self, values: Floats, least: float) -> Ints:
        """The best option of each block or group that is served in at least such a part."""
        parts = np.zeros(len(values), dtype=np.int64)
        total = np.bincount(self._set_of, weights=values, minlength=1)
        order = np.lexsort((np.arange(len(values)), -values))
        _, first = np.unique(self._set_of[order], return_index=True)
        best = order[first]
        parts[best[total[self._set_of[best]] >= least]] = WHOLE
        return self._search.orphans_dropped(parts)

    def _brought_down(self, parts: Ints) -> Offered:
        """Blocks are dropped until all is served that is offered."""
        while True:
            offered = self._offer(parts)
            short = offered.short
            if not len(short):
                return offered
            parts = parts.copy()
            none = short[offered.values[short] < NEARLY]
            if len(none):
                parts[none] = 0
            else:
                worst = int(short[np.argmin(offered.values[short])])
                part = self._search.part(worst, float(offered.values[worst]))
                parts[worst] = part if part < parts[worst] else 0
            parts = self._search.orphans_dropped(parts)

    def _filled(self, offered: Offered, among: Flags | None = None) -> Offered:
        """Blocks are added as long as all stays served that is offered."""
        tried = np.zeros(len(offered.parts), dtype=np.bool_)
        while True:
            taken = np.zeros(int(self._set_of.max(initial=-1)) + 1, dtype=np.bool_)
            taken[self._set_of[offered.parts > 0]] = True
            open_to = (offered.gains > 0) & ~tried & ~taken[self._set_of]
            if among is not None:
                open_to &= among
            at = np.flatnonzero(open_to)
            if not len(at):
                return offered
            option = int(at[np.argmax(offered.gains[at])])
            tried[option] = True
            parts = offered.parts.copy()
            parts[option] = WHOLE
            parts = self._search.orphans_dropped(parts)
            if parts[option]:
                more = self._offer(parts)
                if not len(more.short):
                    offered = more

    def _seed(self, offered: Offered, tries: Ints) -> int:
        """The block that was tried least, and of those the one that gains most and is left out."""
        most = np.full(len(tries), -np.inf)
        np.maximum.at(most, self._block_of, np.where(offered.parts > 0, 0.0, offered.gains))
        return int(np.lexsort((np.arange(len(tries)), -most, tries))[0])

    def _near(self, seed: int, size: int, turn: int) -> Flags:
        """Options of the blocks that share most products with it, or are linked; a little of it is
        turned from one turn to the next."""
        book = self._search.book
        own = np.zeros(book.products, dtype=np.bool_)
        own[self._pair_product[self._pair_block == seed]] = True
        wide = own.copy()
        for link in book.links:
            if own[link.source]:
                wide[link.target] = True
        blocks = np.arange(len(book.blocks))
        shared = np.bincount(
            self._pair_block, weights=wide[self._pair_product], minlength=len(blocks)
        )
        turned = ((blocks + 1) * GOLDEN + turn * 40_503) % (1 << 20) / (1 << 20)
        score = shared + 3 * turned
        score[seed] = np.inf
        near = np.zeros(len(blocks), dtype=np.bool_)
        near[np.argsort(-score, kind="stable")[:size]] = True
        free: Flags = near[self._block_of]
        return free
