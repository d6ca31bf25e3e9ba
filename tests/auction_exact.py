"""The plain version of the call auction: choices of blocks and prices in one program.

What is served and what it is served at are two linear programs, each the other's dual. Both stand
in one model, with a row that says that the first is worth no less than the second costs, so that
prices support what is served (Madani and Van Vyve, European Journal of Operational Research, 2015).
What a block gains counts in the second where it is served, and is then no less than 0; where it is
not, it may be anything: one factor, large enough, for each block. Blocks are served whole or not.

It shares nothing with the search but the program's columns, and is slow: seconds to a minute for
fifty blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np

from suanwang.engines.matching.model import WHOLE, Book
from suanwang.engines.matching.program import Program, Solver
from suanwang.kernel.money import MICRO_PER_YUAN


@dataclass(frozen=True)
class Exact:
    """In micro-yuan: the best clearing that prices support, and what none exceeds."""

    welfare: float
    bound: float


class _Exact:
    def __init__(self, book: Book) -> None:
        assert all(block.least == WHOLE for block in book.blocks)
        self.book, self.program = book, Program(book)
        layout, columns = self.program.layout, self.program.columns
        self.solver: Any = Solver()  # type: ignore[no-untyped-call]
        model = self.program.model()
        upper = np.array(model.col_upper_)
        upper[layout.slack :] = 0.0
        model.col_upper_ = upper
        kinds = [highspy.HighsVarType.kContinuous] * layout.end
        for at in range(layout.options, layout.links):
            kinds[at] = highspy.HighsVarType.kInteger
        model.integrality_ = kinds
        self.cost = np.array(model.col_cost_)[: layout.slack]
        self.solver.passModel(model)
        self.low, self.high = book.floor / MICRO_PER_YUAN, book.ceiling / MICRO_PER_YUAN
        self.price = self._columns(book.products, self.low, self.high)
        self.of_line = self._columns(len(book.lines), 0.0, math.inf)
        self.of_link = self._columns(len(book.links), 0.0, math.inf)
        self.of_option = self._columns(len(columns.option_block), 0.0, math.inf)

    def _columns(self, count: int, low: float, high: float) -> int:
        first: int = self.solver.getNumCol()
        for _ in range(count):
            self.solver.addVar(low, high)
        return first

    def _row(self, low: float, high: float, terms: list[tuple[int, float]]) -> None:
        at = np.array([column for column, _ in terms], dtype=np.int32)
        self.solver.addRow(low, high, len(terms), at, np.array([one for _, one in terms]))

    def lines_and_links(self) -> None:
        """What a lot earns is no less than it would at any choice."""
        columns = self.program.columns
        for line, product, limit, sign in zip(
            columns.choice_line,
            columns.choice_product,
            columns.choice_limit / MICRO_PER_YUAN,
            columns.choice_sign.astype(float),
            strict=True,
        ):
            terms = [(self.of_line + int(line), 1.0), (self.price + int(product), sign)]
            self._row(sign * limit, math.inf, terms)
        for at, link in enumerate(self.book.links):
            self._row(
                -link.cost / MICRO_PER_YUAN,
                math.inf,
                [
                    (self.of_link + at, 1.0),
                    (self.price + link.target, -1.0),
                    (self.price + link.source, 1.0),
                ],
            )

    def options(self) -> None:
        options = [option for block in self.book.blocks for option in block.options]
        for at, option in enumerate(options):
            sign = float(self.program.columns.option_sign[at])
            limit = option.limit / MICRO_PER_YUAN
            lots = sum(n for _, n in option.profile)
            worst, best = sorted(sign * (limit - lots * end) for end in (self.low, self.high))
            served, gain = self.program.layout.options + at, self.of_option + at
            paid = [(self.price + product, sign * n) for product, n in option.profile]
            most, least = max(best, 0.0), max(-worst, 0.0)
            self._row(sign * limit - most, math.inf, [(gain, 1.0), *paid, (served, -most)])
            self._row(-math.inf, sign * limit + least, [*paid, (served, least)])
            self._row(-math.inf, 0.0, [(gain, 1.0), (served, -most)])

    def duality(self) -> None:
        book, count = self.book, len(self.program.columns.option_block)
        terms = [(int(at), float(self.cost[at])) for at in np.flatnonzero(self.cost)]
        terms += [(self.of_line + at, float(one.quantity)) for at, one in enumerate(book.lines)]
        terms += [(self.of_link + at, float(one.capacity)) for at, one in enumerate(book.links)]
        terms += [(self.of_option + at, 1.0) for at in range(count)]
        self._row(-math.inf, 1e-6, terms)


def exact(book: Book, seconds: float = math.inf) -> Exact:
    """Of whole blocks, to a part in ten thousand unless time runs out."""
    made = _Exact(book)
    made.lines_and_links()
    made.options()
    made.duality()
    made.solver.setOptionValue("mip_rel_gap", 1e-4)
    made.solver.setOptionValue("time_limit", seconds)
    made.solver.run()
    assert made.solver.getModelStatus() != highspy.HighsModelStatus.kNotset
    info = made.solver.getInfo()
    return Exact(
        -info.objective_function_value * MICRO_PER_YUAN, -info.mip_dual_bound * MICRO_PER_YUAN
    )
