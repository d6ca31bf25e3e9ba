"""The words of the market: instruments, orders, trades, listings, and who stands behind them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from suanwang.engines.matching.model import Side
from suanwang.engines.matching.order_book import Stay
from suanwang.trade.catalogue.model import Period, Product
from suanwang.trade.contracts.model import Party, Terms

TICK = 1_000
"""Prices are whole thousandths of a yuan for a lot and hour."""
MAX_LOTS = 1_000_000
STANDARD = Terms()
"""Of everything traded without talking: on books and in auctions."""


@dataclass(frozen=True, slots=True)
class Supply:
    """Capacity that may be sold: a pool of the seller's, or a contract that he holds."""

    source_id: str
    organisation_id: str
    site_id: str
    pool_id: str
    product: Product
    lots: int
    """Of it in any hour."""
    period: Period | None = None
    """Of a contract: only so long."""

    @property
    def backing_id(self) -> str | None:
        return self.source_id if self.source_id != self.pool_id else None


@dataclass(frozen=True, slots=True, order=True)
class Instrument:
    """A product for a period; the continuous market has a book for each."""

    product: Product
    period: Period


class OrderState(StrEnum):
    OPEN = "open"
    FILLED = "filled"
    CANCELLED = "cancelled"
    """By its owner, to prevent self-trade, or what did not trade at once; `why` says which."""
    EXPIRED = "expired"
    """The delivery began."""


@dataclass(frozen=True, slots=True)
class OrderGiven:
    """An order as it comes. `limit` None: at any price within the band."""

    side: Side
    lots: int
    limit: int | None = None
    stay: Stay = Stay.REST
    source_id: str | None = None
    """Of a seller: what he sells from."""
    key: str | None = None
    """Of the caller; the same one is the same order."""


@dataclass(slots=True)
class Order:
    """An order of an instrument's book."""

    id: str
    instrument: Instrument
    party: Party
    side: Side
    limit: int | None
    lots: int
    left: int
    """Still to be traded; 0 once it ended."""
    traded: int
    stay: Stay
    state: OrderState
    why: str
    """Why what was not traded is not in the book."""
    source_id: str | None
    pool_id: str | None
    site_id: str | None
    held_per_lot: int
    """Micro-yuan set aside for each lot left: the price at the limit, or the deposit."""
    sequence: int
    placed_at_ms: int
    ended_at_ms: int | None
    key: str | None

    @property
    def held(self) -> int:
        return self.left * self.held_per_lot


@dataclass(frozen=True, slots=True)
class Trade:
    """Two orders met. `aggressor` is the side of the one that came later."""

    id: str
    instrument: Instrument
    sequence: int
    price: int
    lots: int
    aggressor: Side
    buy_order_id: str
    sell_order_id: str
    buyer_project_id: str
    seller_project_id: str
    contract_id: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an order given: the order, or the named reason why there is none."""

    order: Order | None
    trades: tuple[Trade, ...] = ()
    reason: str | None = None
    detail: str = ""
    field: str | None = None
    """Of the order, if one is at fault."""
    repeated: bool = False
    """The key had been used: this is the order of then, as it is now."""


@dataclass(frozen=True, slots=True)
class Amended:
    """What came of a change to an order at rest."""

    answer: Answer
    kept_place: bool
    """It stands where it stood; else it is a new order, behind the others at its price."""


class ListingState(StrEnum):
    OPEN = "open"
    CLOSED = "closed"
    """Taken back by its seller; what was sold stays sold."""
    ENDED = "ended"
    """Its window is over."""
    GONE = "gone"
    """What it was sold from is."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Capacity at a posted price, bought at once: so many lots in any hour of a window."""

    id: str
    seller: Party
    source_id: str
    site_id: str
    pool_id: str
    product: Product
    title: str
    window: Period
    lots: int
    min_lots: int
    min_hours: int
    max_hours: int
    price: int
    terms: Terms
    state: ListingState
    listed_at_ms: int

    @property
    def backing_id(self) -> str | None:
        return self.source_id if self.source_id != self.pool_id else None


class ListingSort(StrEnum):
    NEWEST = "newest"
    PRICE = "price"
    """The cheapest lot and hour first."""
    STARTS = "starts"
    LOTS = "lots"
    """The largest first, by what was listed."""


@dataclass(frozen=True, slots=True)
class Term:
    """A word that a listing has in its title, class, zone or id, or one of these sites."""

    text: str
    site_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ListingSearch:
    """Which listings, in which order; None: of any. Every term must be met."""

    organisation_id: str | None = None
    state: ListingState | None = ListingState.OPEN
    unit_class: str | None = None
    zone: str | None = None
    terms: tuple[Term, ...] = ()
    sort: ListingSort = ListingSort.NEWEST
