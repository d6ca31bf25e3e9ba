"""What contracts look like over HTTP: the agreement, its hours, what leaving it cost."""

from __future__ import annotations

from pydantic import BaseModel, Field

from suanwang.edge.api.money import Money
from suanwang.edge.api.views import instant
from suanwang.edge.api.views_market import HourLeft, TermsView
from suanwang.kernel.time import MS_PER_HOUR
from suanwang.trade.contracts.model import Contract, Hour
from suanwang.trade.contracts.rules import phase


class ContractView(BaseModel):
    id: str
    origin: str
    reference: str
    buyer_organisation_id: str
    buyer_project_id: str
    seller_organisation_id: str
    seller_project_id: str
    site_id: str
    pool_id: str
    unit_class: str
    zone: str
    starts_at: str | None
    ends_at: str | None
    hours: int
    lots: int
    price: Money
    worth: Money
    rent: Money = Field(
        description="For a lot and hour beside the price, where the capacity comes from a cheaper "
        "zone; owed for what is delivered."
    )
    terms: TermsView
    phase: str
    signed_at: str | None
    ended_at: str | None
    settled_hours: int
    held: Money = Field(description="Still set aside on the buyer's project.")
    deposit: Money = Field(description="Still set aside on the seller's project.")
    backing_id: str | None

    @classmethod
    def of(cls, one: Contract, now_ms: int) -> ContractView:
        return cls(
            id=one.id,
            origin=one.origin.value,
            reference=one.reference,
            buyer_organisation_id=one.buyer.organisation_id,
            buyer_project_id=one.buyer.project_id,
            seller_organisation_id=one.seller.organisation_id,
            seller_project_id=one.seller.project_id,
            site_id=one.site_id,
            pool_id=one.pool_id,
            unit_class=one.product.unit_class,
            zone=one.product.zone,
            starts_at=instant(one.period.from_ms),
            ends_at=instant(one.period.until_ms),
            hours=one.period.hours,
            lots=one.lots,
            price=Money.of(one.price),
            worth=Money.of(one.hourly * one.period.hours),
            rent=Money.of(one.rent),
            terms=TermsView.of(one.terms),
            phase=phase(one, now_ms).value,
            signed_at=instant(one.signed_at_ms),
            ended_at=instant(one.ended_at_ms),
            settled_hours=one.settled_hours,
            held=Money.of(one.buyer_held + one.rent_held),
            deposit=Money.of(one.seller_held),
            backing_id=one.backing_id,
        )


class HourView(BaseModel):
    at: str | None
    samples: int
    delivered_percent: int | None = Field(description="Null: nobody looked.")
    charged: Money
    credited: Money
    rent: Money
    settled: bool

    @classmethod
    def of(cls, one: Hour, lots: int) -> HourView:
        promised = one.samples * lots
        return cls(
            at=instant(one.hour * MS_PER_HOUR),
            samples=one.samples,
            delivered_percent=one.delivered * 100 // promised if promised else None,
            charged=Money.of(one.charged),
            credited=Money.of(one.credited),
            rent=Money.of(one.rent),
            settled=one.settled_at_ms > 0,
        )


class ContractDetail(ContractView):
    hours_measured: list[HourView]
    resold: list[HourLeft] = Field(description="Lots offered again or sold on, by hour.")


class EndedView(BaseModel):
    contract: ContractView
    paid: Money = Field(description="What the leaving cost.")
