"""The call auction's book, and what a clearing says of it.

A *product* is a class of capacity in a zone for one hour of delivery; the book numbers them.
Quantities are whole lots, prices integer micro-yuan for a lot. Everything that can be traded is
written with two kinds of order, so that the bulk of a book is a network and clears exactly:

    line    so many lots, any part of them, of one product or of several in its place, each with
            a limit of its own (a step of a curve; "this accelerator or that, this zone or that")
    block   all of a profile over several products or nothing of it (or no less than a stated
            part); with several options, one of them at most ("any eight hours before Friday")
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

WHOLE = 1_000
"""Of a block: what its accepted part is counted in."""
MAX_PRICE = 1_000_000 * 1_000_000
"""A million yuan for a lot, either way: sums of a whole book stay exact in the solver."""


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """Of what the order takes out of the market."""
        return 1 if self is Side.BUY else -1

    @property
    def other(self) -> Side:
        return Side.SELL if self is Side.BUY else Side.BUY


@dataclass(frozen=True, slots=True)
class Choice:
    """A product that a line may be served with; the limit is the most paid or the least taken."""

    product: int
    limit: int


@dataclass(frozen=True, slots=True)
class Line:
    """`quantity` lots at most over all its choices together."""

    line_id: str
    side: Side
    quantity: int
    choices: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class Option:
    """One way to serve a block: lots by product, and the limit for all of them together."""

    profile: tuple[tuple[int, int], ...]
    limit: int
    """Micro-yuan for the whole profile: the most paid or the least taken."""


@dataclass(frozen=True, slots=True)
class Block:
    """One option at most is accepted, whole or at least `least` thousandths of it."""

    block_id: str
    side: Side
    options: tuple[Option, ...]
    least: int = WHOLE
    parent: str | None = None
    """A block that must be accepted to at least the same part."""
    group: str | None = None
    """Of all blocks of a group one at most is accepted."""


@dataclass(frozen=True, slots=True)
class Link:
    """Lots that may be moved from one product to another, at a cost for each (data that moves)."""

    link_id: str
    source: int
    target: int
    capacity: int
    cost: int = 0


@dataclass(frozen=True, slots=True)
class Book:
    """Everything that takes part in one round; sorted by id, so that two equal books clear alike.

    `products` is their number; `floor` and `ceiling` bound the price of each.
    """

    products: int
    lines: tuple[Line, ...] = ()
    blocks: tuple[Block, ...] = ()
    links: tuple[Link, ...] = ()
    floor: int = -MAX_PRICE
    ceiling: int = MAX_PRICE


class Outcome(StrEnum):
    ACCEPTED = "accepted"
    PARTLY = "partly"
    PRICE = "price"
    """The cleared price is beyond its limit."""
    TIE = "tie"
    """At its limit exactly, and there was not enough for all who were."""
    PARADOX = "paradox"
    """The price is within its limit, but served whole it would have moved the price beyond that of
    somebody who is served."""
    GROUP = "group"
    """Another of its group was accepted."""
    PARENT = "parent"
    """The block that it depends on was not accepted, or to a smaller part."""


@dataclass(frozen=True, slots=True)
class Award:
    """What an order got: lots by product, in the order of the products."""

    outcome: Outcome
    lots: Mapping[int, int] = field(default_factory=dict)
    amount: int = 0
    """Micro-yuan it pays (a buyer) or is paid (a seller): never beyond its limit."""
    option: int | None = None
    """Which of a block's options was accepted."""
    part: int = 0
    """Thousandths of it."""
    winning: int | None = None
    """For what was not served: the limit (of the first choice or option) that would have been
    in the money at these prices."""


@dataclass(frozen=True, slots=True)
class Clearing:
    """A round's outcome. `welfare` is exact; `bound` is what no clearing of this book exceeds."""

    prices: tuple[int, ...]
    awards: Mapping[str, Award]
    flows: Mapping[str, int]
    """Lots moved by each link."""
    welfare: int
    bound: int
    rent: int
    """Micro-yuan that buyers pay more than sellers get: differences of prices between zones. What
    moving costs is part of it."""
    rounds: int
    """How many times the blocks' acceptance was revised."""

    @property
    def gap(self) -> float:
        """How far the welfare may be from the best possible, as a part of the bound."""
        return (self.bound - self.welfare) / self.bound if self.bound > 0 else 0.0
