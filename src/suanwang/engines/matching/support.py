"""Which prices support what is served: read off the flows of lines and links."""

from __future__ import annotations

import numpy as np

from suanwang.engines.matching.model import Book, Side
from suanwang.engines.matching.prices import UNBOUNDED, Ints, Support
from suanwang.engines.matching.program import Columns


def support_of(book: Book, columns: Columns, served: Ints, moved: Ints) -> Support:
    """`served` lots of each choice, `moved` lots of each link.

    Nodes are the products, then every line with several choices: for a seller what a lot earns him
    above his limit, for a buyer the same below 0, so that all inequalities are of differences.
    """
    found = _Gathering(book)
    of_line = np.bincount(columns.choice_line, weights=served, minlength=len(book.lines))
    first = 0
    for at, line in enumerate(book.lines):
        count = len(line.choices)
        full = int(of_line[at]) == line.quantity
        lots = served[first : first + count]
        if count == 1:
            choice = line.choices[0]
            found.single(line.side, choice.product, choice.limit, int(lots[0]) > 0, full)
        else:
            found.several(
                line.side,
                [
                    (one.product, one.limit, int(n) > 0)
                    for one, n in zip(line.choices, lots, strict=True)
                ],
                full,
            )
        first += count
    for link, lots_moved in zip(book.links, moved, strict=True):
        if lots_moved < link.capacity:
            found.arc(link.source, link.target, link.cost)
        if lots_moved > 0:
            found.arc(link.target, link.source, -link.cost)
    return found.support()


class _Gathering:
    def __init__(self, book: Book) -> None:
        self._low = [book.floor] * book.products
        self._high = [book.ceiling] * book.products
        self._arcs: list[tuple[int, int, int]] = []

    def arc(self, tail: int, head: int, weight: int) -> None:
        self._arcs.append((tail, head, weight))

    def single(self, side: Side, product: int, limit: int, served: bool, full: bool) -> None:
        """Who is served wants no worse than his limit; who is not served whole, no better."""
        if served if side is Side.BUY else not full:
            self._high[product] = min(self._high[product], limit)
        if not full if side is Side.BUY else served:
            self._low[product] = max(self._low[product], limit)

    def several(self, side: Side, choices: list[tuple[int, int, bool]], full: bool) -> None:
        node = len(self._low)
        sign = side.sign
        self._low.append(0 if side is Side.SELL or not full else -UNBOUNDED)
        self._high.append(0 if side is Side.BUY or not full else UNBOUNDED)
        for product, limit, served in choices:
            inward, outward = (product, node), (node, product)
            better, equal = (inward, outward) if side is Side.BUY else (outward, inward)
            self.arc(*better, -sign * limit)
            if served:
                self.arc(*equal, sign * limit)

    def support(self) -> Support:
        arcs = np.array(self._arcs, dtype=np.int64).reshape(len(self._arcs), 3)
        return Support(
            np.array(self._low, dtype=np.int64),
            np.array(self._high, dtype=np.int64),
            arcs[:, 0].copy(),
            arcs[:, 1].copy(),
            arcs[:, 2].copy(),
        )
