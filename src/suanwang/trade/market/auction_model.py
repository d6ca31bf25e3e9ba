"""The words of the day-ahead call auction: rounds, bids, orders, and what came of them.

    open ──▶ closed ──▶ cleared
      └────────┴──────▶ void       with a reason; everything is given back

An order is one document (`Bid`) of one project: a curve and blocks, all to buy or all to sell.
Hours are those of the round's day, 0 to 23 in Asia/Shanghai.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from suanwang.engines.matching.model import Side
from suanwang.trade.catalogue.model import Period, Product
from suanwang.trade.contracts.model import Party

HOURS = 24
SHANGHAI_HOURS = 8


class RoundState(StrEnum):
    OPEN = "open"
    CLOSED = "closed"
    CLEARED = "cleared"
    VOID = "void"


MOVES: Mapping[RoundState, tuple[RoundState, ...]] = {
    RoundState.OPEN: (RoundState.CLOSED, RoundState.VOID),
    RoundState.CLOSED: (RoundState.CLEARED, RoundState.VOID),
    RoundState.CLEARED: (),
    RoundState.VOID: (),
}


class ZoneLink(msgspec.Struct, frozen=True, order=True):
    """So many lots of each class may be delivered from another zone in any hour."""

    source: str
    target: str
    lots: int
    cost: int
    """Micro-yuan for a lot and hour: the data that moves."""


@dataclass(frozen=True, slots=True)
class Cleared:
    """How a round was cleared, so that anybody can do it again."""

    book_digest: str
    outcome_digest: str
    engine: str
    """Digest of the program that cleared it."""
    effort: Mapping[str, int]
    welfare: int
    bound: int
    """No clearing of this book has a greater welfare."""
    rent: int
    """What buyers pay more than sellers get: prices that differ between zones."""
    traded: int
    """Lot-hours."""
    took_ms: int

    @property
    def gap(self) -> float:
        return (self.bound - self.welfare) / self.bound if self.bound > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Round:
    """The auction of one day of delivery."""

    id: str
    day: str
    """2026-12-03, in Asia/Shanghai."""
    first_hour: int
    state: RoundState
    opened_at_ms: int
    closes_at_ms: int
    ended_at_ms: int | None
    why: str
    """Why it is void."""
    links: tuple[ZoneLink, ...]
    orders: int
    """That stood when it was cleared."""
    cleared: Cleared | None = None

    @property
    def period(self) -> Period:
        return Period(self.first_hour, HOURS)


class Instead(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A product that serves as well, at a price of its own."""

    product: str
    price: int


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """So many lots, any part of them, in each of the hours [from, until)."""

    product: str
    hours: tuple[int, int]
    lots: int
    price: int
    """Micro-yuan for a lot and hour: the most that is paid, or the least that is taken."""
    instead: tuple[Instead, ...] = ()


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Of a block's profile."""

    product: str
    hours: tuple[int, int]
    lots: int


class BidBlock(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """All of a profile or nothing (or no less than `least` thousandths of it)."""

    name: str
    profile: tuple[Part, ...]
    price: int
    """Micro-yuan for a lot and hour, on average over the profile."""
    any: int = 0
    """Of a flexible block: so many consecutive hours of those of its one part."""
    instead: tuple[Instead, ...] = ()
    least: int = 1_000
    parent: str = ""
    group: str = ""


class Bid(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an order says; `parse` in `auction_bids` makes it out of a document."""

    side: Side
    source: str = ""
    """Of a seller: the pool or contract that it is sold from."""
    curve: tuple[Step, ...] = ()
    blocks: tuple[BidBlock, ...] = ()


class BidState(StrEnum):
    STANDING = "standing"
    WITHDRAWN = "withdrawn"
    CLEARED = "cleared"
    RETURNED = "returned"
    """The round was void."""
    GONE = "gone"
    """What it was sold from is: everything was given back."""


class PartResult(msgspec.Struct, frozen=True):
    """What one step in one hour, or one block, got."""

    part: str
    """`curve[0]`, or a block's name."""
    hour: int | None
    """Of a step: 0 to 23."""
    outcome: str
    """One of the engine's words, or `alone`: nobody traded this product in this hour."""
    asked: int
    """Lot-hours; of a block those of its smallest option."""
    lots: tuple[tuple[str, int, int], ...] = ()
    """(product, hour, lots)."""
    amount: int = 0
    winning: int | None = None
    """Micro-yuan for a lot and hour (of a block: on average) that would have won."""


class Result(msgspec.Struct, frozen=True):
    """What came of an order."""

    outcome: str
    """accepted, partly or none."""
    parts: tuple[PartResult, ...]
    amount: int
    """Micro-yuan that it pays (a buyer, rent included) or is to be paid (a seller)."""
    rent: int = 0
    """Of a buyer's: paid at once for what comes from other zones."""
    own: int = 0
    """Lot-hours that met his own organisation's: no contract, nothing paid."""
    contracts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """An order of a round."""

    id: str
    round_id: str
    party: Party
    bid: Bid
    state: BidState
    version: int
    held: int
    """Micro-yuan set aside: the most that it may pay, or the deposit of the most it may sell."""
    pool_id: str | None
    site_id: str | None
    placed_at_ms: int
    changed_at_ms: int
    key: str | None
    result: Result | None = None

    @property
    def source_id(self) -> str | None:
        return self.bid.source or None


@dataclass(frozen=True, slots=True)
class PriceRow:
    """One product in one hour of a cleared round, as it is published."""

    product: Product
    hour: int
    """0 to 23."""
    price: int | None
    """None: nothing was traded."""
    lots: int
    """Bought, wherever they come from."""
    demand: tuple[tuple[int, int], ...]
    """(price, lots wanted at that price or more), from the highest; curves only, no blocks."""
    supply: tuple[tuple[int, int], ...]
    """(price, lots offered at that price or less), from the lowest."""
