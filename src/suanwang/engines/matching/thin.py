"""Better choices of blocks in a thin book, where it matters which blocks fit together.

Blocks that are *offered* may be served in any part up to the one they are held at. A choice has
supporting prices at which none of its blocks loses exactly if, all of it offered and nothing else,
it is best to serve all of it. So a choice that has none is brought down to one that has by dropping
what is not served whole when it is offered; and of two that have, the greater one is no worse.

    1. The relaxation's choice is brought down, and filled up one block at a time.
    2. It is dived from all blocks (see `diving`).
    3. If blocks are few, all are free: the best fit is found (see `fitting`), brought down and
       filled up. If it is better, it is what stands from then on; if prices do not support the
       fit, it is cut off and the next best is found. Often that ends with the best there is.
    4. It is dived on from there in small steps.
    5. Some blocks near each other are free, the rest stands; and so on as in 3.

Neighbourhoods are taken in turn, those of blocks first that are left out though within the prices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from suanwang.engines.matching.diving import Dive, Diving
from suanwang.engines.matching.fitting import Fit, Fitting
from suanwang.engines.matching.model import WHOLE
from suanwang.engines.matching.neighbours import Neighbours
from suanwang.engines.matching.prices import Flags, Ints
from suanwang.engines.matching.program import Floats, Program
from suanwang.engines.matching.search import NEARLY, Search, State


@dataclass(frozen=True, slots=True)
class ThinEffort:
    solves: int
    """Programs solved in dives."""
    fits: int
    """Neighbourhoods of blocks that are fitted anew, one after another."""
    cuts: int
    """Fits that prices do not support, before the neighbourhood is left; twice as many each time
    that it comes up again."""
    size: int
    """Blocks of a neighbourhood."""
    whole: int
    """Up to so many options, all blocks are one neighbourhood too."""
    whole_cuts: int


@dataclass(frozen=True, slots=True)
class Offered:
    """What is best if so much of each option is offered."""

    parts: Ints
    values: Floats
    gains: Floats
    """Of each option at these prices, not exact."""
    welfare: float
    spilling: Ints
    """Options that are served of what is left over, or take what is short."""

    @property
    def short(self) -> Ints:
        """Options of which not all is served that is offered."""
        return np.flatnonzero(self.values * WHOLE < self.parts - NEARLY * WHOLE)

    @property
    def whole(self) -> bool:
        """Prices support the parts, and no block loses."""
        return not len(self.short) and not len(self.spilling)


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
        self._near = Neighbours(book, search.program.columns)
        self._diving = Diving(search, self._near)
        self.solved = 0

    def improve(self, values: Floats, best: State, effort: ThinEffort) -> State:
        """From the relaxation's values of the options."""
        for least in (NEARLY, 0.5):
            best = self._better(self._filled(self._brought_down(self._chosen(values, least))), best)
        if effort.solves:
            first = self._diving.first()
            best = self._taken(first, best)
        if len(values) <= effort.whole:
            everything = np.ones(len(values), dtype=np.bool_)
            best, done = self._refitted(best, everything, effort.whole_cuts)
            if done:
                return best
        if effort.solves:
            best = self._taken(self._diving.improved(first, effort.solves), best)
            self.solved += self._diving.solved
        offered = self._offer(best.parts)
        tries = np.zeros(len(self._search.book.blocks), dtype=np.int64)
        for turn in range(effort.fits):
            seed = self._seed(offered, tries)
            free = self._near.near(seed, effort.size, turn)
            better, _ = self._refitted(best, free, effort.cuts << int(tries[seed]))
            tries[seed] += 1
            if better is not best:
                best, offered = better, self._offer(better.parts)
        return best

    def _taken(self, dive: Dive, best: State) -> State:
        return self._better(self._filled(self._brought_down(dive.parts)), best)

    def _refitted(self, best: State, free: Flags, cuts: int) -> tuple[State, bool]:
        """(the best clearing that is found with only those options changed that are free, whether
        it is known that there is none better)"""
        parts, done = best.parts, False
        for _ in range(cuts):
            fit = self._fitting.best(parts, free, best.welfare)
            if fit is None:
                done = self._fitting.certain
                break
            down = self._brought_down(fit.parts)
            supported = bool((down.parts == fit.parts).all())
            before = best
            best = self._better(self._filled(down, free), best)
            if supported:
                done = self._fitting.certain and best is not before
                break
            self._fitting.cut(self._too_much(fit, free))
        self._fitting.uncut()
        return best, done

    def _too_much(self, fit: Fit, free: Flags) -> Flags:
        """Of the free options of a fit that prices do not support, as few as are worth more,
        offered with those that stand, than any choice is that they could be part of."""
        kept = self._offer(fit.parts)
        if kept.welfare <= fit.most * (1 + NEARLY):
            return (fit.parts > 0) & free
        named = (fit.parts > 0) & free & (kept.values > NEARLY)
        for option in np.flatnonzero(named).tolist():
            if named[option]:
                fewer = named.copy()
                fewer[option] = False
                offered = self._offer(np.where(fewer | ~free, fit.parts, 0))
                if offered.welfare > fit.most * (1 + NEARLY):
                    named = fewer & (offered.values > NEARLY)
        return named

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
        gains = self._search.gains_near(solution.price)
        spilling = self._search.spilling(solution)
        return Offered(parts, values, gains, -solution.cost, spilling)

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
            if offered.whole:
                return offered
            short, parts = offered.short, parts.copy()
            none = short[offered.values[short] < NEARLY]
            if not len(short):
                spilling = offered.spilling
                parts[spilling[np.argmin(offered.gains[spilling])]] = 0
            elif len(none):
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
                if more.whole:
                    offered = more

    def _seed(self, offered: Offered, tries: Ints) -> int:
        """The block that was tried least, and of those the one that gains most and is left out."""
        most = np.full(len(tries), -np.inf)
        np.maximum.at(most, self._block_of, np.where(offered.parts > 0, 0.0, offered.gains))
        return int(np.lexsort((np.arange(len(tries)), -most, tries))[0])
