"""The linear program of a book: columns for what may be accepted, a row for each product.

Columns, in this order: choices of lines (lots), options of blocks (a part of 1), links (lots),
shortage and surplus of each product. The last two cost more than any limit while blocks are held:
they are only used where those do not fit together, and tell which price is too high or too low.
Where blocks are offered they cost the ceiling and the floor, which no price is beyond.
Rows: the balance of each product, then the lines with several choices (`quantity` for all of
them), then blocks and groups (one of them), then children (no more than their parent).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import highspy
import numpy as np
import numpy.typing as npt

from suanwang.engines.matching.model import WHOLE, Block, Book
from suanwang.kernel.money import MICRO_PER_YUAN

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the columns of a kind begin; counts are differences."""

    options: int
    links: int
    slack: int
    end: int


@dataclass(frozen=True, slots=True)
class Columns:
    """What the columns stand for, as arrays; of choices first, then of options."""

    choice_line: Ints
    choice_product: Ints
    choice_limit: Ints
    choice_sign: Ints
    option_block: Ints
    option_limit: Ints
    option_sign: Ints
    profile_option: Ints
    profile_product: Ints
    profile_lots: Ints


@dataclass(frozen=True, slots=True)
class Solution:
    """`value` of each column, `price` of each product in micro-yuan (the solver's, not exact)."""

    value: Floats
    price: Floats
    cost: float
    """In micro-yuan: what welfare is, negated."""


class Solver(highspy.Highs):
    """One thread, the same way each time, and silent: a solver greets on standard output as soon as
    it is made, unless it is told not to before its constructor is through."""

    def enableCallbacks(self) -> None:
        self.setOptionValue("output_flag", False)
        super().enableCallbacks()  # type: ignore[no-untyped-call]
        self.setOptionValue("threads", 1)
        self.setOptionValue("random_seed", 0)


class Program:
    """One model, solved again and again from where it stands.

    `bundled` False leaves out what binds blocks to each other (options, groups, parents)."""

    def __init__(self, book: Book, *, bundled: bool = True) -> None:
        self.book = book
        self.bundled = bundled
        self.columns = columns_of(book)
        choices, options = len(self.columns.choice_line), len(self.columns.option_block)
        links = options + choices + len(book.links)
        self.layout = Layout(choices, choices + options, links, links + 2 * book.products)
        self._missing = (math.inf, True)
        self._solver: Any = Solver()  # type: ignore[no-untyped-call]
        for name, value in (
            ("presolve", "off"),
            ("dual_feasibility_tolerance", 1e-9),
            ("primal_feasibility_tolerance", 1e-9),
        ):
            self._solver.setOptionValue(name, value)
        self._solver.passModel(self.model())

    def hold(self, parts: Ints) -> None:
        """Every option at the part (in thousandths) that is given for it."""
        self._may_miss(math.inf, beyond=True)
        self.bound(parts / WHOLE, parts / WHOLE)

    def relax(self) -> None:
        """Every option anywhere from nothing to whole."""
        count = self.layout.links - self.layout.options
        self._may_miss(0.0, beyond=True)
        self.bound(np.zeros(count), np.ones(count))

    def offer(self, parts: Ints) -> None:
        """Every option anywhere up to the part (in thousandths) that is given for it. Lots that are
        short are had at the ceiling, and left over at the floor: so prices keep within them."""
        self._may_miss(math.inf, beyond=False)
        self.bound(np.zeros(len(parts)), parts / WHOLE)

    def solve(self) -> Solution:
        self._solver.run()
        status = self._solver.getModelStatus()
        assert status == highspy.HighsModelStatus.kOptimal, status
        found = self._solver.getSolution()
        return Solution(
            np.array(found.col_value),
            -np.array(found.row_dual[: self.book.products]) * MICRO_PER_YUAN,
            self._solver.getInfo().objective_function_value * MICRO_PER_YUAN,
        )

    def _may_miss(self, most: float, *, beyond: bool) -> None:
        """So many lots at most may be short or left over, of each product; `beyond` what is worth
        anything to anybody."""
        if (most, beyond) == self._missing:
            return
        first, count = self.layout.slack, self.layout.end - self.layout.slack
        at = np.arange(first, first + count, dtype=np.int32)
        self._solver.changeColsBounds(count, at, np.zeros(count), np.full(count, most))
        if beyond != self._missing[1]:
            cost = self._slack_costs(beyond=beyond) / MICRO_PER_YUAN
            self._solver.changeColsCost(count, at, cost)
        self._missing = (most, beyond)

    def bound(self, low: Floats, high: Floats) -> None:
        """Every option between two parts of 1."""
        first, end = self.layout.options, self.layout.links
        if end > first:
            at = np.arange(first, end, dtype=np.int32)
            self._solver.changeColsBounds(end - first, at, low, high)

    def model(self) -> highspy.HighsLp:
        rows, columns, values, low, high = self._matrix()
        model = highspy.HighsLp()
        model.num_col_ = self.layout.end
        model.num_row_ = len(low)
        model.col_cost_ = self._costs() / MICRO_PER_YUAN
        model.col_lower_ = np.zeros(self.layout.end)
        model.col_upper_ = self._uppers()
        model.row_lower_, model.row_upper_ = low, high
        order = np.lexsort((rows, columns))
        starts = np.searchsorted(columns[order], np.arange(self.layout.end + 1))
        model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        model.a_matrix_.start_ = starts.astype(np.int32)
        model.a_matrix_.index_ = rows[order].astype(np.int32)
        model.a_matrix_.value_ = values[order].astype(np.float64)
        return model

    def _costs(self) -> Floats:
        book, found = self.book, self.columns
        return np.concatenate(
            [
                -found.choice_sign * found.choice_limit,
                -found.option_sign * found.option_limit,
                [link.cost for link in book.links],
                self._slack_costs(beyond=True),
            ]
        ).astype(np.float64)

    def _slack_costs(self, *, beyond: bool) -> Floats:
        book = self.book
        more = float(book.ceiling - book.floor + 1) if beyond else 0.0
        short, left = np.full(book.products, book.ceiling), np.full(book.products, -book.floor)
        costs: Floats = np.concatenate([short, left]) + more
        return costs

    def _uppers(self) -> Floats:
        book, found = self.book, self.columns
        quantities = np.array([line.quantity for line in book.lines], dtype=np.float64)
        return np.concatenate(
            [
                quantities[found.choice_line] if len(found.choice_line) else np.zeros(0),
                np.ones(len(found.option_block)),
                [float(link.capacity) for link in book.links],
                np.full(2 * book.products, np.inf),
            ]
        )

    def _matrix(self) -> tuple[Ints, Ints, Ints, Floats, Floats]:
        """(row, column, value) of what is not 0, and the rows' bounds."""
        book, found, layout = self.book, self.columns, self.layout
        at = np.arange(book.products)
        links = np.arange(len(book.links)) + layout.links
        rows = [
            found.choice_product,
            found.profile_product,
            np.array([link.source for link in book.links], dtype=np.int64),
            np.array([link.target for link in book.links], dtype=np.int64),
            at,
            at,
        ]
        columns = [
            np.arange(len(found.choice_line)),
            found.profile_option + layout.options,
            links,
            links,
            at + layout.slack,
            at + layout.slack + book.products,
        ]
        values = [
            found.choice_sign,
            found.profile_lots * found.option_sign[found.profile_option],
            np.ones(len(links), dtype=np.int64),
            -np.ones(len(links), dtype=np.int64),
            -np.ones(book.products, dtype=np.int64),
            np.ones(book.products, dtype=np.int64),
        ]
        low, high = [0.0] * book.products, [0.0] * book.products
        for members, signs, most in self._bundles():
            rows.append(np.full(len(members), len(low)))
            columns.append(members)
            values.append(signs)
            low.append(-np.inf)
            high.append(most)
        joined = [np.concatenate(parts).astype(np.int64) for parts in (rows, columns, values)]
        return joined[0], joined[1], joined[2], np.array(low), np.array(high)

    def _bundles(self) -> list[tuple[Ints, Ints, float]]:
        """Columns that are bounded together: (columns, factors, at most)."""
        book, layout = self.book, self.layout
        made: list[tuple[Ints, Ints, float]] = []
        first = 0
        for line in book.lines:
            count = len(line.choices)
            if count > 1:
                at = np.arange(first, first + count)
                made.append((at, np.ones_like(at), float(line.quantity)))
            first += count
        if not self.bundled:
            return made
        places = option_places(book.blocks)
        sets = [list(places[block.block_id]) for block in book.blocks if block.group is None]
        groups: dict[str, list[int]] = {}
        for block in book.blocks:
            if block.group is not None:
                groups.setdefault(block.group, []).extend(places[block.block_id])
        for members in chain(sets, groups.values()):
            if len(members) > 1:
                at = np.array(members) + layout.options
                made.append((at, np.ones_like(at), 1.0))
        for block in book.blocks:
            if block.parent is not None:
                own, above = places[block.block_id], places[block.parent]
                at = np.array([*own, *above]) + layout.options
                made.append((at, np.array([1] * len(own) + [-1] * len(above)), 0.0))
        return made


def option_places(blocks: Sequence[Block]) -> dict[str, range]:
    """Each block's options among all options."""
    found: dict[str, range] = {}
    first = 0
    for block in blocks:
        found[block.block_id] = range(first, first + len(block.options))
        first += len(block.options)
    return found


def columns_of(book: Book) -> Columns:
    choices = [
        (at, choice.product, choice.limit, line.side.sign)
        for at, line in enumerate(book.lines)
        for choice in line.choices
    ]
    options = [
        (at, option.limit, block.side.sign)
        for at, block in enumerate(book.blocks)
        for option in block.options
    ]
    profiles = [
        (at, product, lots)
        for at, option in enumerate(chain.from_iterable(one.options for one in book.blocks))
        for product, lots in option.profile
    ]
    return Columns(*_across(choices, 4), *_across(options, 3), *_across(profiles, 3))


def _across(rows: Sequence[tuple[int, ...]], width: int) -> list[Ints]:
    table = np.array(rows, dtype=np.int64).reshape(len(rows), width)
    return [np.ascontiguousarray(table[:, at]) for at in range(width)]
