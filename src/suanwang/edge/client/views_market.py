"""Shapes of market answers: products, books, tapes, orders, listings, market data."""

from __future__ import annotations

from typing import Literal, TypedDict

from suanwang.edge.client.views import Money


class Product(TypedDict):
    """`lots`: what all pools of it have."""

    unit_class: str
    zone: str
    lots: int
    pools: int


class Period(TypedDict):
    """`suffix` after `class:zone:` names the instrument."""

    starts_at: str | None
    hours: int
    suffix: str


class Products(TypedDict):
    products: list[Product]
    periods: list[Period]


class Quoted(TypedDict):
    instrument: str
    unit_class: str
    zone: str
    starts_at: str | None
    hours: int
    bid: Money | None
    ask: Money | None
    last_price: Money | None
    halted: bool


class BookLevel(TypedDict):
    price: Money
    lots: int
    orders: int


class Book(TypedDict):
    instrument: str
    bids: list[BookLevel]
    asks: list[BookLevel]
    last_price: Money | None
    low: Money
    high: Money
    halted: bool
    closed: bool


class Trade(TypedDict):
    """`buyer` and `seller` are told to nobody: a trade's parties see it in their contract."""

    id: str
    instrument: str
    price: Money
    lots: int
    aggressor: Literal["buy", "sell"]
    at: str | None


class Order(TypedDict):
    id: str
    project_id: str
    instrument: str
    side: Literal["buy", "sell"]
    price: Money | None
    lots: int
    left: int
    traded: int
    stay: Literal["rest", "immediate", "whole", "maker"]
    state: str
    why: str
    source: str | None
    held: Money
    placed_at: str | None
    key: str | None


class Fill(TypedDict):
    trade_id: str
    contract_id: str
    price: Money
    lots: int


class OrderAnswer(TypedDict):
    """What came of an order: the order and what it traded, or `reason` why there is none."""

    order: Order | None
    fills: list[Fill]
    reason: str | None
    detail: str
    field: str | None
    repeated: bool


class Amended(OrderAnswer):
    """`kept_place`: it stands where it stood; else `order` stands in the place of `replaces`."""

    kept_place: bool
    replaces: str | None


class Candle(TypedDict):
    at: str | None
    opened: Money
    highest: Money
    lowest: Money
    closed: Money
    lots: int
    trades: int


class IndexPoint(TypedDict):
    """`standing`: the last price that enough contracts made; of a thin span, an earlier one."""

    unit_class: str
    zone: str
    at: str | None
    price: Money
    lowest: Money
    highest: Money
    lot_hours: int
    contracts: int
    is_thin: bool
    standing: Money | None


class Glance(TypedDict):
    unit_class: str
    zone: str
    price: Money
    change_percent: float | None
    """Against the 24 hours before."""
    lot_hours: int


class Seller(TypedDict):
    organisation_id: str
    hours: int
    """Of contracts, settled."""
    delivered_percent: float | None
    """Null: nobody looked."""


class Terms(TypedDict):
    """What happens when it does not go as agreed; percents of the price."""

    credit_percent: int
    deposit_percent: int
    cancel_hours: int
    cancel_percent: int


class HourLeft(TypedDict):
    at: str | None
    lots: int


class Listing(TypedDict):
    """`most_lots`: what could be bought for the shortest time anywhere in the window."""

    id: str
    organisation_id: str
    site_id: str
    pool_id: str
    source: str
    unit_class: str
    zone: str
    title: str
    starts_at: str | None
    hours: int
    lots: int
    min_lots: int
    min_hours: int
    max_hours: int
    price: Money
    terms: Terms
    state: str
    listed_at: str | None
    most_lots: int
    delivered_percent: float | None
    """Of what its seller promised in ninety days; null: not measured."""


class ListingDetail(Listing):
    unsold: list[HourLeft]
