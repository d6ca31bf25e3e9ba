"""What the market's routes take and give."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from suanwang.edge.api.money import Money, MoneyGiven, money_fields
from suanwang.edge.api.views import instant
from suanwang.engines.matching.model import Side
from suanwang.engines.matching.order_book import Stay
from suanwang.kernel.errors import InvalidInput
from suanwang.kernel.time import MS_PER_HOUR
from suanwang.trade.catalogue.model import Period, Product
from suanwang.trade.contracts.model import Reputation, Terms
from suanwang.trade.market import instruments as naming
from suanwang.trade.market.model import (
    Answer,
    Listing,
    Order,
    OrderGiven,
    Supply,
    Trade,
)
from suanwang.trade.market.reading import Depth, Level, Quoted

Name = Annotated[str, Field(max_length=140, examples=["a100-80g:henan:2026120108:24"])]
Lots = Annotated[int, Field(strict=True, ge=-(1 << 31), le=1 << 31, examples=[4])]


Key = Annotated[str | None, Field(min_length=1, max_length=64, pattern=r"^[!-~]+$")]


class Plain(BaseModel):
    """Its texts can be stored: PostgreSQL takes no NUL, and half a character is none."""

    @field_validator("*")
    @classmethod
    def _stored(cls, value: Any) -> Any:
        texts = value if isinstance(value, list) else (value,)
        for text in texts:
            if isinstance(text, str) and not is_plain(text):
                raise ValueError("a character of it cannot be stored")
        return value


UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def is_plain(text: str) -> bool:
    return UNSTORABLE.search(text) is None


class Strict(Plain):
    model_config = ConfigDict(extra="forbid")


class OrderBody(Strict):
    """An order. `price` is for a lot and hour; without it, whatever the band allows."""

    instrument: Name
    side: Side
    lots: Lots
    price: MoneyGiven | None = None
    stay: Stay = Stay.REST
    source: str | None = Field(default=None, max_length=40, description="What a seller sells from.")
    key: Key = Field(default=None, description="The same key of a project is the same order.")

    def given(self) -> OrderGiven:
        limit = self.price.amount("price") if self.price is not None else None
        return OrderGiven(self.side, self.lots, limit, self.stay, self.source, self.key)


class OrderRequest(OrderBody):
    project: str | None = Field(default=None, max_length=128)


class BatchRequest(Strict):
    project: str | None = Field(default=None, max_length=128)
    orders: list[OrderBody] = Field(min_length=1, max_length=5_000)


class TradeView(BaseModel):
    """`buyer` and `seller` are told to nobody: a trade's parties see it in their contract."""

    id: str
    instrument: str
    price: Money
    lots: int
    aggressor: Side
    at: str | None

    @classmethod
    def of(cls, one: Trade) -> TradeView:
        return cls(
            id=one.id,
            instrument=naming.name_of(one.instrument),
            price=Money.of(one.price),
            lots=one.lots,
            aggressor=one.aggressor,
            at=instant(one.at_ms),
        )


class OrderView(BaseModel):
    id: str
    project_id: str
    instrument: str
    side: Side
    price: Money | None
    lots: int
    left: int
    traded: int
    stay: Stay
    state: str
    why: str
    source: str | None
    held: Money
    placed_at: str | None
    key: str | None

    @classmethod
    def of(cls, one: Order) -> OrderView:
        return cls(**order_fields(one))


class FillView(BaseModel):
    trade_id: str
    contract_id: str
    price: Money
    lots: int


class AnswerView(BaseModel):
    """What came of an order: the order and what it traded, or `reason` why there is none."""

    order: OrderView | None
    fills: list[FillView]
    reason: str | None
    detail: str
    field: str | None
    repeated: bool

    @classmethod
    def of(cls, one: Answer) -> AnswerView:
        return cls(**answer_fields(one))


def order_fields(one: Order) -> dict[str, Any]:
    """An `OrderView`, not checked."""
    return {
        "id": one.id,
        "project_id": one.party.project_id,
        "instrument": naming.name_of(one.instrument),
        "side": one.side,
        "price": None if one.limit is None else money_fields(one.limit),
        "lots": one.lots,
        "left": one.left,
        "traded": one.traded,
        "stay": one.stay,
        "state": one.state.value,
        "why": one.why,
        "source": one.source_id,
        "held": money_fields(one.held),
        "placed_at": instant(one.placed_at_ms),
        "key": one.key,
    }


def answer_fields(one: Answer) -> dict[str, Any]:
    """An `AnswerView`, not checked: of a thousand, checks take as long as their orders did."""
    return {
        "order": None if one.order is None else order_fields(one.order),
        "fills": [
            {
                "trade_id": trade.id,
                "contract_id": trade.contract_id,
                "price": money_fields(trade.price),
                "lots": trade.lots,
            }
            for trade in one.trades
        ],
        "reason": one.reason,
        "detail": one.detail,
        "field": one.field,
        "repeated": one.repeated,
    }


class AmendRequest(Strict):
    """What is left out stays. `lots` are all of the order, those traded included."""

    lots: Lots | None = None
    price: MoneyGiven | None = None
    key: Key = Field(
        default=None, description="Of the new order, if it makes one; again: the same change."
    )


class AmendedView(AnswerView):
    kept_place: bool = Field(
        description="True: it stands where it stood. False: it is a new order, `order`, behind the "
        "others at its price, in the place of `replaces`."
    )
    replaces: str | None


class LevelView(BaseModel):
    price: Money
    lots: int
    orders: int

    @classmethod
    def of(cls, one: Level) -> LevelView:
        return cls(price=Money.of(one.price), lots=one.lots, orders=one.orders)


class BookView(BaseModel):
    instrument: str
    bids: list[LevelView]
    asks: list[LevelView]
    last_price: Money | None
    low: Money
    high: Money
    halted: bool
    closed: bool

    @classmethod
    def of(cls, one: Depth) -> BookView:
        return cls(
            instrument=naming.name_of(one.instrument),
            bids=[LevelView.of(level) for level in one.bids],
            asks=[LevelView.of(level) for level in one.asks],
            last_price=_maybe(one.last_price),
            low=Money.of(one.low),
            high=Money.of(one.high),
            halted=one.halted,
            closed=one.closed,
        )


class ProductView(BaseModel):
    """`lots`: what all pools of it have."""

    unit_class: str
    zone: str
    lots: int
    pools: int


class PeriodView(BaseModel):
    """`suffix` after `class:zone:` names the instrument."""

    starts_at: str | None
    hours: int
    suffix: str


class ProductsView(BaseModel):
    products: list[ProductView]
    periods: list[PeriodView]

    @classmethod
    def of(cls, found: Sequence[Supply], periods: Sequence[Period]) -> ProductsView:
        pools: dict[Product, list[Supply]] = {}
        for one in found:
            if one.lots:
                pools.setdefault(one.product, []).append(one)
        return cls(
            products=[
                ProductView(
                    unit_class=product.unit_class,
                    zone=product.zone,
                    lots=sum(one.lots for one in pools[product]),
                    pools=len(pools[product]),
                )
                for product in sorted(pools)
            ],
            periods=[
                PeriodView(
                    starts_at=instant(period.from_ms),
                    hours=period.hours,
                    suffix=naming.suffix_of(period),
                )
                for period in periods
            ],
        )


class QuotedView(BaseModel):
    instrument: str
    unit_class: str
    zone: str
    starts_at: str | None
    hours: int
    bid: Money | None
    ask: Money | None
    last_price: Money | None
    halted: bool

    @classmethod
    def of(cls, one: Quoted) -> QuotedView:
        period = one.instrument.period
        return cls(
            instrument=naming.name_of(one.instrument),
            unit_class=one.instrument.product.unit_class,
            zone=one.instrument.product.zone,
            starts_at=instant(period.from_ms),
            hours=period.hours,
            bid=_maybe(one.bid),
            ask=_maybe(one.ask),
            last_price=_maybe(one.last_price),
            halted=one.halted,
        )


def _maybe(amount: int | None) -> Money | None:
    return None if amount is None else Money.of(amount)


class HaltRequest(Strict):
    """What is left out stays as it is; null takes a bound of the band away."""

    halted: bool | None = None
    low: MoneyGiven | None = None
    high: MoneyGiven | None = None
    reason: str = Field(min_length=1, max_length=500)


class SpanGiven(Strict):
    """Whole hours."""

    starts_at: datetime = Field(examples=["2026-12-01T08:00:00Z"])
    hours: Annotated[int, Field(strict=True, ge=1, le=9_000)]

    def period(self) -> Period:
        return period_of(self.starts_at, self.hours)


def period_of(starts_at: datetime, hours: int) -> Period:
    """Raises InvalidInput unless it begins with a full hour that says its time zone."""
    aware = starts_at.tzinfo is not None
    at_ms = int(starts_at.timestamp() * 1_000) if aware and starts_at.year >= 1971 else -1
    if at_ms < 0 or at_ms % MS_PER_HOUR:
        raise InvalidInput(
            "InvalidHour",
            "A period begins with a full hour.",
            hint="Write it with its time zone, such as 2026-12-01T08:00:00Z.",
            field="starts_at",
        )
    return Period(at_ms // MS_PER_HOUR, hours)


class TermsView(Strict):
    """What happens when it does not go as agreed; percents of the price."""

    credit_percent: Annotated[int, Field(strict=True, ge=0, le=100)] = 20
    deposit_percent: Annotated[int, Field(strict=True, ge=0, le=100)] = 10
    cancel_hours: Annotated[int, Field(strict=True, ge=0, le=9_000)] = 24
    cancel_percent: Annotated[int, Field(strict=True, ge=0, le=100)] = 5

    def terms(self) -> Terms:
        return Terms(
            self.credit_percent, self.deposit_percent, self.cancel_hours, self.cancel_percent
        )

    @classmethod
    def of(cls, one: Terms) -> TermsView:
        return cls(
            credit_percent=one.credit_percent,
            deposit_percent=one.deposit_percent,
            cancel_hours=one.cancel_hours,
            cancel_percent=one.cancel_percent,
        )


class ListingRequest(SpanGiven):
    project: str | None = Field(default=None, max_length=128)
    source: str = Field(max_length=40, description="A pool of yours, or a contract that you hold.")
    lots: Lots
    price: MoneyGiven
    title: str = Field(default="", max_length=200)
    min_lots: Lots = 1
    min_hours: Annotated[int, Field(strict=True, ge=1, le=9_000)] = 1
    max_hours: Annotated[int, Field(strict=True, ge=1, le=9_000)] | None = None
    terms: TermsView = TermsView()


class ListingView(BaseModel):
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
    terms: TermsView
    state: str
    listed_at: str | None
    most_lots: int
    delivered_percent: float | None = Field(
        default=None, description="Of what its seller promised in ninety days; null: not measured."
    )

    @classmethod
    def of(
        cls, one: Listing, unsold: list[tuple[int, int]], seller: Reputation | None = None
    ) -> ListingView:
        milli = seller.delivered_milli if seller is not None else None
        return cls(
            id=one.id,
            organisation_id=one.seller.organisation_id,
            site_id=one.site_id,
            pool_id=one.pool_id,
            source=one.source_id,
            unit_class=one.product.unit_class,
            zone=one.product.zone,
            title=one.title,
            starts_at=instant(one.window.from_ms),
            hours=one.window.hours,
            lots=one.lots,
            min_lots=one.min_lots,
            min_hours=one.min_hours,
            max_hours=one.max_hours,
            price=Money.of(one.price),
            terms=TermsView.of(one.terms),
            state=one.state.value,
            listed_at=instant(one.listed_at_ms),
            most_lots=max((lots for _, lots in unsold), default=0),
            delivered_percent=None if milli is None else milli / 10,
        )


class HourLeft(BaseModel):
    at: str | None
    lots: int


class ListingDetail(ListingView):
    unsold: list[HourLeft]


class PurchaseRequest(SpanGiven):
    project: str | None = Field(default=None, max_length=128)
    lots: Lots
    key: Key = None
