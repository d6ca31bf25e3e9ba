"""Prices under which everybody who can be served in parts gets what is best for him.

For a fixed acceptance of blocks the rest of a book is a network. Prices support its optimal flows
exactly if they keep a set of inequalities `price[b] - price[a] <= weight` (complementary
slackness), so they form a lattice: there are a highest and a lowest vector of prices (Murota,
Discrete Convex Analysis, 2003, on L-natural-convex sets), found by shortest paths in integers.
Every mean of the two, rounded down, supports the flows as well: a price is a whole number of
micro-yuan, and the same for every order of the same book, whatever the solver did on its way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
UNBOUNDED = 1 << 60


class NotSupported(ArithmeticError):
    """No prices support these flows: they are not optimal."""


@dataclass(frozen=True, slots=True)
class Support:
    """price[nodes] within [low, high], and price[head] - price[tail] <= weight for each arc."""

    low: Ints
    high: Ints
    tail: Ints
    head: Ints
    weight: Ints


def highest(support: Support) -> Ints:
    """The greatest prices, node by node; raises NotSupported."""
    prices = _descend(support.high, support.tail, support.head, support.weight)
    if (prices < support.low).any():
        raise NotSupported
    return prices


def lowest(support: Support) -> Ints:
    """The least prices, node by node; raises NotSupported."""
    prices = -_descend(-support.low, support.head, support.tail, support.weight)
    if (prices > support.high).any():
        raise NotSupported
    return prices


def below(support: Support, prices: Ints) -> Ints | None:
    """The greatest prices that are nowhere above these; None if there are none."""
    start = np.minimum(support.high, prices)
    found = _descend(start, support.tail, support.head, support.weight)
    return None if (found < support.low).any() else found


def between(low: Ints, high: Ints, numerator: int, denominator: int) -> Ints:
    """The lowest prices and a part of the way to the highest, rounded down."""
    return low + ((high - low) * numerator) // denominator


def _descend(start: Ints, tail: Ints, head: Ints, weight: Ints) -> Ints:
    """Bellman and Ford's shortest paths, all arcs at once, from `start` down."""
    prices = start.copy()
    for _ in range(len(start) + 1):
        before = prices.copy()
        np.minimum.at(prices, head, prices[tail] + weight)
        if (prices == before).all():
            return prices
    raise NotSupported
