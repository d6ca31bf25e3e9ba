"""What the routes of quotations and deals take and give."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from suanwang.edge.api.money import Money, MoneyGiven
from suanwang.edge.api.views import instant
from suanwang.edge.api.views_market import Lots, SpanGiven, Strict, TermsView
from suanwang.engines.matching.model import Side
from suanwang.kernel.errors import InvalidInput
from suanwang.trade.catalogue.model import Product
from suanwang.trade.market.deals_model import Deal, Proposal, ProposalGiven
from suanwang.trade.market.quotations_model import (
    Enquiry,
    EnquiryGiven,
    Quote,
    QuoteGiven,
    Rule,
)

Project = Annotated[str | None, Field(max_length=128)]
Key = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=64,
        pattern=r"^[!-~]+$",
        description="The same key of a project is the same thing again.",
    ),
]
Number = Annotated[int, Field(strict=True, ge=1, le=1_000)]


def _maybe(amount: int | None) -> Money | None:
    return None if amount is None else Money.of(amount)


def at_ms(moment: datetime, field: str) -> int:
    """Raises InvalidInput unless it says its time zone."""
    if moment.tzinfo is None or moment.year < 1971:
        raise InvalidInput(
            "InvalidInstant",
            "An instant says its time zone.",
            hint="Write it such as 2026-12-01T08:30:00Z.",
            field=field,
        )
    return int(moment.timestamp() * 1_000)


class ProductGiven(Strict):
    unit_class: str = Field(min_length=1, max_length=60, examples=["a100-80g"])
    zone: str = Field(min_length=1, max_length=60, examples=["henan"])

    def product(self) -> Product:
        return Product(self.unit_class, self.zone)


class EnquiryRequest(SpanGiven):
    """Prices are for a lot and hour. Give a ceiling, or what you expect to pay."""

    project: Project = None
    title: str = Field(default="", max_length=200)
    products: list[ProductGiven] = Field(max_length=100, description="Any of them would do.")
    lots: Lots
    min_lots: Lots | None = Field(default=None, description="Of a divisible one; else all.")
    divisible: bool = False
    ceiling: MoneyGiven | None = None
    ceiling_public: bool = True
    expected: MoneyGiven | None = None
    bond: MoneyGiven | None = Field(
        default=None, description="What a quote sets aside for a lot and hour, whatever its price."
    )
    rule: Rule = Rule.LOWEST_PRICE
    invited: list[Annotated[str, Field(max_length=128)]] = Field(
        default_factory=list, max_length=500, description="Organisations; empty: everybody."
    )
    deadline: datetime
    terms: TermsView = TermsView()
    key: Key = None

    def given(self) -> EnquiryGiven:
        return EnquiryGiven(
            products=tuple(one.product() for one in self.products),
            lots=self.lots,
            period=self.period(),
            deadline_ms=at_ms(self.deadline, "deadline"),
            ceiling=self.ceiling.amount("ceiling") if self.ceiling else None,
            ceiling_public=self.ceiling_public,
            expected=self.expected.amount("expected") if self.expected else None,
            bond=self.bond.amount("bond") if self.bond else None,
            rule=self.rule,
            divisible=self.divisible,
            min_lots=self.min_lots,
            invited=tuple(self.invited),
            title=self.title,
            terms=self.terms.terms(),
        )


class QuoteRequest(Strict):
    project: Project = None
    source: str = Field(max_length=40, description="A pool of yours, or a contract that you hold.")
    price: MoneyGiven = Field(description="For a lot and hour. Nobody reads it before the opening.")
    lots: Lots | None = None
    key: Key = None

    def given(self) -> QuoteGiven:
        return QuoteGiven(self.source, self.price.amount("price"), self.lots, self.key)


class QuoteView(BaseModel):
    """`price` is null until the quotes are opened, for everybody. Of others' quotes a seller
    learns what won, not whose it was."""

    id: str
    seller_organisation_id: str | None
    seller_project_id: str | None
    source: str | None
    unit_class: str
    zone: str
    lots: int
    price: Money | None
    held: Money | None
    state: str
    why: str
    won_lots: int
    contract_id: str | None
    quoted_at: str | None

    @classmethod
    def of(cls, one: Quote, *, named: bool = True, own: bool = False) -> QuoteView:
        return cls(
            id=one.id,
            seller_organisation_id=one.seller.organisation_id if named else None,
            seller_project_id=one.seller.project_id if named else None,
            source=one.source_id if own else None,
            unit_class=one.product.unit_class,
            zone=one.product.zone,
            lots=one.lots,
            price=_maybe(one.price),
            held=Money.of(one.held) if own else None,
            state=one.state.value,
            why=one.why,
            won_lots=one.won_lots,
            contract_id=one.contract_id if named else None,
            quoted_at=instant(one.quoted_at_ms),
        )


class AlternativeView(BaseModel):
    unit_class: str
    zone: str
    figure: int = Field(description="Normalised units in a lot; 0 where the rule needs none.")


class BuyersView(BaseModel):
    """What only those who read the buyer's project are told."""

    ceiling: Money | None
    expected: Money | None
    held: Money
    invited: list[str]
    quotes: int = Field(description="How many stand, while they are sealed.")


class EnquiryView(BaseModel):
    id: str
    title: str
    buyer_organisation_id: str
    products: list[AlternativeView]
    lots: int
    min_lots: int
    divisible: bool
    starts_at: str | None
    hours: int
    ceiling: Money | None = Field(description="Null: there is none, or it is secret.")
    bond: Money
    rule: Rule
    for_everybody: bool
    cancel_fee_percent: int
    terms: TermsView
    deadline: str | None
    state: str
    why: str
    asked_at: str | None
    ended_at: str | None
    buyers: BuyersView | None

    @classmethod
    def of(cls, one: Enquiry, *, sealed: int | None) -> EnquiryView:
        """`sealed`: how many quotes stand, for the buyer; None for everybody else."""
        return cls(
            id=one.id,
            title=one.title,
            buyer_organisation_id=one.buyer.organisation_id,
            products=[
                AlternativeView(
                    unit_class=of.product.unit_class, zone=of.product.zone, figure=of.figure
                )
                for of in one.alternatives
            ],
            lots=one.lots,
            min_lots=one.min_lots,
            divisible=one.divisible,
            starts_at=instant(one.period.from_ms),
            hours=one.period.hours,
            ceiling=_maybe(one.ceiling if one.ceiling_public else None),
            bond=Money.of(one.bond),
            rule=one.rule,
            for_everybody=not one.invited,
            cancel_fee_percent=one.house.cancel_fee_percent,
            terms=TermsView.of(one.terms),
            deadline=instant(one.deadline_ms),
            state=one.state.value,
            why=one.why,
            asked_at=instant(one.asked_at_ms),
            ended_at=instant(one.ended_at_ms),
            buyers=None
            if sealed is None
            else BuyersView(
                ceiling=_maybe(one.ceiling),
                expected=_maybe(one.expected),
                held=Money.of(one.held),
                invited=list(one.invited),
                quotes=sealed,
            ),
        )


class EnquiryDetail(EnquiryView):
    mine: list[QuoteView] = Field(description="The caller's own quotes.")
    opened: list[QuoteView] = Field(
        description="For the buyer all that were opened, for who has quoted those that won."
    )


class CancelledView(BaseModel):
    enquiry: EnquiryView
    paid: Money = Field(description="To those who had quoted.")


class ProposalBody(SpanGiven):
    """A buyer names the product, a seller the source. The price is for a lot and hour."""

    product: ProductGiven | None = None
    source: str | None = Field(default=None, max_length=40)
    lots: Lots
    price: MoneyGiven
    valid_until: datetime
    note: str = Field(default="", max_length=500)
    terms: TermsView = TermsView()
    project: Project = None

    def given(self) -> ProposalGiven:
        return ProposalGiven(
            lots=self.lots,
            period=self.period(),
            price=self.price.amount("price"),
            valid_until_ms=at_ms(self.valid_until, "valid_until"),
            product=self.product.product() if self.product else None,
            source_id=self.source,
            terms=self.terms.terms(),
            note=self.note,
        )


class DealRequest(ProposalBody):
    side: Side
    to: str = Field(max_length=128, description="An organisation, by name or id.")
    to_project: Project = Field(default=None, description="Id; null: whichever answers.")
    key: Key = None


class CounterRequest(ProposalBody):
    number: Number = Field(description="Of the proposal that this answers.")


class AnswerRequest(Strict):
    number: Number = Field(description="Of the proposal that this answers.")
    project: Project = None


class AcceptRequest(AnswerRequest):
    source: str | None = Field(
        default=None, max_length=40, description="Of a seller; null: as he proposed before."
    )


class WithdrawRequest(Strict):
    project: Project = None


class ProposalView(BaseModel):
    number: int
    organisation_id: str
    side: Side
    unit_class: str
    zone: str
    source: str | None
    lots: int
    starts_at: str | None
    hours: int
    price: Money
    worth: Money
    terms: TermsView
    note: str
    valid_until: str | None
    state: str
    at: str | None

    @classmethod
    def of(cls, one: Proposal) -> ProposalView:
        return cls(
            number=one.number,
            organisation_id=one.by.organisation_id,
            side=one.side,
            unit_class=one.product.unit_class,
            zone=one.product.zone,
            source=one.source_id,
            lots=one.lots,
            starts_at=instant(one.period.from_ms),
            hours=one.period.hours,
            price=Money.of(one.price),
            worth=Money.of(one.worth),
            terms=TermsView.of(one.terms),
            note=one.note,
            valid_until=instant(one.valid_until_ms),
            state=one.state.value,
            at=instant(one.at_ms),
        )


class DealView(BaseModel):
    """`side` is of who began. `your_turn`: an answer is yours to give."""

    id: str
    organisation_id: str
    project_id: str
    side: Side
    other_organisation_id: str
    other_project_id: str | None
    state: str
    number: int
    your_turn: bool
    contract_id: str | None
    opened_at: str | None
    ended_at: str | None
    last: ProposalView

    @classmethod
    def of(cls, one: Deal, last: Proposal, organisation_id: str) -> DealView:
        concerned = organisation_id in (one.first.organisation_id, one.other.organisation_id)
        return cls(
            id=one.id,
            organisation_id=one.first.organisation_id,
            project_id=one.first.project_id,
            side=one.first_side,
            other_organisation_id=one.other.organisation_id,
            other_project_id=one.other.project_id,
            state=one.state.value,
            number=one.number,
            your_turn=one.state.value == "open"
            and concerned
            and last.by.organisation_id != organisation_id,
            contract_id=one.contract_id,
            opened_at=instant(one.opened_at_ms),
            ended_at=instant(one.ended_at_ms),
            last=ProposalView.of(last),
        )


class DealDetail(DealView):
    history: list[ProposalView] = Field(description="From the first proposal to the last.")

    @classmethod
    def with_history(
        cls, one: Deal, history: Sequence[Proposal], organisation_id: str
    ) -> DealDetail:
        view = DealView.of(one, history[-1], organisation_id)
        return cls(**view.model_dump(), history=[ProposalView.of(of) for of in history])
