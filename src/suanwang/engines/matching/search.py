"""Choices of blocks: what follows from one, and better ones, many blocks at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from math import gcd

import numpy as np

from suanwang.engines.matching import prices as lattice
from suanwang.engines.matching.model import WHOLE, Book
from suanwang.engines.matching.prices import Ints
from suanwang.engines.matching.pricing import without_losers
from suanwang.engines.matching.program import Floats, Program, Solution, option_places
from suanwang.engines.matching.support import support_of

NEARLY = 1e-6


@dataclass(frozen=True, slots=True)
class State:
    """A choice of blocks with what follows from it."""

    parts: Ints
    served: Ints
    moved: Ints
    prices: Ints
    gains: Ints
    """Of each option at these prices, whole: micro-yuan it is better off than at its limit."""
    welfare: int
    feasible: bool
    """The blocks that are held fit together: nothing was short and nothing left over, and prices
    within the book's bounds support it."""

    @property
    def losing(self) -> lattice.Flags:
        """[option] whether it is held though it loses."""
        return (self.parts > 0) & (self.gains < 0)


class Search:
    def __init__(self, book: Book) -> None:
        self.book = book
        self.program = Program(book)
        columns = self.program.columns
        self._places = option_places(book.blocks)
        self.profiles = [option.profile for block in book.blocks for option in block.options]
        self.block_of = columns.option_block
        self._children: dict[str, list[str]] = {}
        for block in book.blocks:
            if block.parent is not None:
                self._children.setdefault(block.parent, []).append(block.block_id)

    def relaxation(self) -> tuple[int, Floats]:
        """(the bound, in whole micro-yuan from above; the part of each option)"""
        self.program.relax()
        solution = self.program.solve()
        layout = self.program.layout
        values = solution.value[layout.options : layout.links]
        bound = int(np.ceil(-solution.cost * (1 + 1e-9) + 1))
        return max(0, bound), values

    def rounded(self, values: Floats) -> Ints:
        parts = np.zeros(len(values), dtype=np.int64)
        taken: set[str] = set()
        for block in self.book.blocks:
            place = self._places[block.block_id]
            if not place or block.group in taken:
                continue
            at = max(place, key=lambda option: (values[option], -option))
            part = self.part(at, float(values[at]))
            if part:
                parts[at] = part
                if block.group is not None:
                    taken.add(block.group)
        return self.orphans_dropped(parts)

    def part(self, option: int, value: float) -> int:
        """The nearest part that leaves whole lots, and is no less than what the block takes."""
        block = self.book.blocks[int(self.block_of[option])]
        if block.least >= WHOLE:
            return WHOLE if value >= 0.5 else 0
        common = 0
        for _, lots in self.profiles[option]:
            common = gcd(common, lots)
        grain = WHOLE // gcd(WHOLE, common)
        part = int(value * WHOLE + 1e-6) // grain * grain
        least = -(-block.least // grain) * grain
        return part if part >= least else (least if part * 2 >= least else 0)

    def orphans_dropped(self, parts: Ints) -> Ints:
        """No block without its parent, nor to a greater part."""
        changed = True
        while changed:
            changed = False
            for parent, children in self._children.items():
                above = int(parts[self.slice_of(parent)].max(initial=0))
                for child in children:
                    own = parts[self.slice_of(child)]
                    if own.max(initial=0) > above:
                        own[:] = 0
                        changed = True
        return parts

    def slice_of(self, block_id: str) -> slice:
        place = self._places[block_id]
        return slice(place.start, place.stop)

    def improve(
        self, first: Ints, most_rounds: int, patience: int, *, at_once: int | None = None
    ) -> tuple[State, int]:
        """The best choice found, and in how many rounds; `at_once` bounds the options that are
        dropped or tried in one of them."""
        best = self.state(np.zeros_like(first))
        parts, tried, since = first, np.zeros(len(first), dtype=np.int64), 0
        rounds = 1
        while rounds < most_rounds and since < patience:
            state = self.state(parts)
            rounds += 1
            losing = list(islice(self._losers(state), at_once))
            if losing:
                parts = self._without(state.parts, losing)
                continue
            if state.feasible and state.welfare > best.welfare:
                best, since = state, 0
            else:
                since += 1
            added = list(islice(self._worth_trying(best, tried), at_once))
            if not added:
                break
            parts = self._with(best.parts, added)
            tried[added] += 1
        return best, rounds

    def keeps_bundles(self, parts: Ints) -> bool:
        served = {block for block, place in self._places.items() if parts[place].any()}
        groups = [b.group for b in self.book.blocks if b.block_id in served and b.group]
        parents = {b.parent for b in self.book.blocks if b.block_id in served and b.parent}
        return len(groups) == len(set(groups)) and parents <= served

    def state(self, parts: Ints, *, thorough: bool = False) -> State:
        """`thorough`: prices at which no block loses are looked for everywhere in the lattice."""
        book, program = self.book, self.program
        columns, layout = program.columns, program.layout
        program.hold(parts)
        solution = program.solve()
        served = _whole(solution.value[: layout.options])
        moved = _whole(solution.value[layout.links : layout.slack])
        slack = solution.value[layout.slack :]
        found = (
            self._prices(parts, served, moved, thorough=thorough) if (slack < 0.5).all() else None
        )
        feasible = found is not None
        prices = np.rint(solution.price).astype(np.int64) if found is None else found
        gains = self.gains(prices)
        welfare = int(np.dot(served * columns.choice_sign, columns.choice_limit))
        welfare += sum(
            int(sign) * (int(limit) * int(part) // WHOLE)
            for sign, limit, part in zip(
                columns.option_sign, columns.option_limit, parts, strict=True
            )
            if part
        )
        welfare -= sum(link.cost * int(lots) for link, lots in zip(book.links, moved, strict=True))
        return State(parts, served, moved, prices, gains, welfare, feasible)

    def _prices(self, parts: Ints, served: Ints, moved: Ints, *, thorough: bool) -> Ints | None:
        book, columns = self.book, self.program.columns
        support = support_of(book, columns, served, moved)
        try:
            low, high = lattice.lowest(support), lattice.highest(support)
        except lattice.NotSupported:
            return None
        held = np.flatnonzero(parts > 0)
        found = [lattice.between(low, high, part, 2)[: book.products] for part in (1, 0, 2)]
        best = min(found, key=lambda prices: self._losers_at(prices, held))
        if thorough and self._losers_at(best, held):
            other = without_losers(support, low, high, columns, held, book.products)
            if other is not None and not self._losers_at(other[: book.products], held):
                return other[: book.products]
        return best

    def spilling(self, solution: Solution) -> Ints:
        """Options that are served of what is left over, or take what is short, though offered."""
        columns, layout = self.program.columns, self.program.layout
        short, left = solution.value[layout.slack :].reshape(2, -1) > NEARLY
        buys = columns.option_sign[columns.profile_option] > 0
        wrong = np.where(buys, short[columns.profile_product], left[columns.profile_product])
        served = solution.value[layout.options : layout.links] > NEARLY
        return np.unique(columns.profile_option[wrong & served[columns.profile_option]])

    def gains_near(self, prices: Floats) -> Floats:
        """Of each option, at the solver's prices."""
        columns = self.program.columns
        worth = columns.profile_lots * prices[columns.profile_product]
        count = len(columns.option_block)
        paid = np.bincount(columns.profile_option, weights=worth, minlength=count)
        gains: Floats = columns.option_sign * (columns.option_limit - paid)
        return gains

    def _losers_at(self, prices: Ints, held: Ints) -> int:
        return int((self.gains(prices)[held] < 0).sum())

    def gains(self, prices: Ints) -> Ints:
        columns = self.program.columns
        worth = columns.profile_lots * prices[columns.profile_product]
        paid = np.zeros(len(columns.option_block), dtype=np.int64)
        np.add.at(paid, columns.profile_option, worth)
        gains: Ints = columns.option_sign * (columns.option_limit - paid)
        return gains

    def _losers(self, state: State) -> Iterator[int]:
        losing = np.flatnonzero(state.losing).tolist()
        return self._apart(sorted(losing, key=lambda at: (int(state.gains[at]), at)))

    def _worth_trying(self, state: State, tried: Ints) -> Iterator[int]:
        held = {int(self.block_of[at]) for at in np.flatnonzero(state.parts)}
        taken = {
            block.group for at, block in enumerate(self.book.blocks) if at in held and block.group
        }
        open_to = [
            int(at)
            for at in np.flatnonzero((state.gains > 0) & (tried == 0))
            if int(self.block_of[at]) not in held
            and self.book.blocks[int(self.block_of[at])].group not in taken
        ]
        return self._apart(sorted(open_to, key=lambda at: (-int(state.gains[at]), at)))

    def _apart(self, options: list[int]) -> Iterator[int]:
        """The first of them, and those that share no product, block or group with any before."""
        taken: set[int | str] = set()
        for option in options:
            block = self.book.blocks[int(self.block_of[option])]
            own: set[int | str] = {product for product, _ in self.profiles[option]}
            own.add(block.group or block.block_id)
            if not own & taken:
                taken |= own
                yield option

    def _without(self, parts: Ints, options: list[int]) -> Ints:
        left = parts.copy()
        left[options] = 0
        return self.orphans_dropped(left)

    def _with(self, parts: Ints, options: list[int]) -> Ints:
        more = parts.copy()
        for option in options:
            block = self.book.blocks[int(self.block_of[option])]
            own = more[self.slice_of(block.block_id)]
            if not own.any():
                more[option] = WHOLE
        return self.orphans_dropped(more)


def _whole(values: Floats) -> Ints:
    """The solver's vertex of a network has whole lots; what differs from them is its rounding."""
    rounded = np.rint(values)
    assert np.abs(values - rounded).max(initial=0.0) < 1e-3, "the flows are not whole lots"
    lots: Ints = rounded.astype(np.int64)
    return lots
