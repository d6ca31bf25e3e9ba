"""Shapes of the day-ahead auction: rounds, prices, curves, bids and what came of them."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from suanwang.edge.client.views import Money


class ZoneLink(TypedDict):
    """So many lots of each class may be delivered from another zone in any hour."""

    source: str
    target: str
    lots: int
    cost: Money


class Cleared(TypedDict):
    """How it was cleared. `bound`: no clearing of these orders has a greater welfare."""

    welfare: Money
    bound: Money
    gap: float
    rent: Money
    traded: int
    """Lot-hours."""
    book_digest: str
    outcome_digest: str
    engine: str
    effort: dict[str, int]
    took_ms: int


class Round(TypedDict):
    id: str
    day: str
    starts_at: str | None
    state: str
    opened_at: str | None
    closes_at: str | None
    ended_at: str | None
    why: str
    orders: int
    """That stood when it closed."""
    links: list[ZoneLink]
    cleared: Cleared | None


class HourPrice(TypedDict):
    product: str
    hour: int
    """Of the day in Asia/Shanghai, 0 to 23."""
    starts_at: str | None
    price: Money | None
    """For a lot and hour; null where nothing was traded."""
    lots: int


class CurvePoint(TypedDict):
    price: Money
    lots: int


class Curve(HourPrice):
    """Aggregated curves without blocks; lots that may be served by another product are in both."""

    demand: list[CurvePoint]
    supply: list[CurvePoint]


class Served(TypedDict):
    product: str
    hour: int
    lots: int


class PartResult(TypedDict):
    """What a step in one hour, or a block, got, and why not more."""

    part: str
    hour: int | None
    outcome: str
    detail: str
    asked: int
    """Lot-hours."""
    lots: list[Served]
    amount: Money
    winning: Money | None
    """The price for a lot and hour that would have won."""


class BidResult(TypedDict):
    outcome: str
    """accepted, partly or none"""
    amount: Money
    """Paid by a buyer, rent included; to be paid to a seller."""
    rent: Money
    """For lots from other zones: their contracts are for the seller's pool there."""
    own: int
    """Lot-hours that met the own organisation's: no contract."""
    contracts: list[str]
    parts: list[PartResult]


class Bid(TypedDict):
    id: str
    round_id: str
    project_id: str
    state: str
    side: Literal["buy", "sell"]
    version: int
    bid: dict[str, Any]
    held: Money
    placed_at: str | None
    changed_at: str | None
    key: str | None
    result: BidResult | None
    repeated: bool
    """The key had been used."""


class Replayed(TypedDict):
    """The round done again beside what is written of it."""

    same: bool
    same_book: bool
    same_outcome: bool
    same_engine: bool
    """By this very version of the programs."""
    welfare: Money
    bound: Money
