"""What market data look like over HTTP."""

from __future__ import annotations

from pydantic import BaseModel, Field

from suanwang.edge.api.money import Money
from suanwang.edge.api.views import instant
from suanwang.trade.contracts.model import Reputation
from suanwang.trade.market.figures import Candle, Glance, IndexPoint


class CandleView(BaseModel):
    at: str | None
    opened: Money
    highest: Money
    lowest: Money
    closed: Money
    lots: int
    trades: int

    @classmethod
    def of(cls, one: Candle) -> CandleView:
        return cls(
            at=instant(one.from_ms),
            opened=Money.of(one.opened),
            highest=Money.of(one.highest),
            lowest=Money.of(one.lowest),
            closed=Money.of(one.closed),
            lots=one.lots,
            trades=one.trades,
        )


class IndexView(BaseModel):
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

    @classmethod
    def of(cls, one: IndexPoint) -> IndexView:
        return cls(
            unit_class=one.product.unit_class,
            zone=one.product.zone,
            at=instant(one.from_ms),
            price=Money.of(one.price),
            lowest=Money.of(one.lowest),
            highest=Money.of(one.highest),
            lot_hours=one.lot_hours,
            contracts=one.contracts,
            is_thin=one.is_thin,
            standing=None if one.standing is None else Money.of(one.standing),
        )


class GlanceView(BaseModel):
    unit_class: str
    zone: str
    price: Money
    change_percent: float | None = Field(description="Against the 24 hours before.")
    lot_hours: int

    @classmethod
    def of(cls, one: Glance) -> GlanceView:
        change = one.change_percent_milli
        return cls(
            unit_class=one.product.unit_class,
            zone=one.product.zone,
            price=Money.of(one.price),
            change_percent=None if change is None else change / 1_000,
            lot_hours=one.lot_hours,
        )


class SellerView(BaseModel):
    organisation_id: str
    hours: int = Field(description="Of contracts, settled.")
    delivered_percent: float | None = Field(description="Null: nobody looked.")

    @classmethod
    def of(cls, one: Reputation) -> SellerView:
        milli = one.delivered_milli
        return cls(
            organisation_id=one.organisation_id,
            hours=one.hours,
            delivered_percent=None if milli is None else milli / 10,
        )
