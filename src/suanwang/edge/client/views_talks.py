"""Shapes of quotations and deals."""

from __future__ import annotations

from typing import Literal, TypedDict

from suanwang.edge.client.views import Money
from suanwang.edge.client.views_market import Terms


class Quote(TypedDict):
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


class Alternative(TypedDict):
    unit_class: str
    zone: str
    figure: int
    """Normalised units in a lot; 0 where the rule needs none."""


class Buyers(TypedDict):
    """What only those who read the buyer's project are told."""

    ceiling: Money | None
    expected: Money | None
    held: Money
    invited: list[str]
    quotes: int
    """How many stand, while they are sealed."""


class Enquiry(TypedDict):
    id: str
    title: str
    buyer_organisation_id: str
    products: list[Alternative]
    lots: int
    min_lots: int
    divisible: bool
    starts_at: str | None
    hours: int
    ceiling: Money | None
    """Null: there is none, or it is secret."""
    bond: Money
    rule: Literal["lowest_price", "lowest_per_unit"]
    for_everybody: bool
    cancel_fee_percent: int
    terms: Terms
    deadline: str | None
    state: str
    why: str
    asked_at: str | None
    ended_at: str | None
    buyers: Buyers | None


class EnquiryDetail(Enquiry):
    mine: list[Quote]
    """The caller's own quotes."""
    opened: list[Quote]
    """For the buyer all that were opened, for who has quoted those that won."""


class CancelledEnquiry(TypedDict):
    enquiry: Enquiry
    paid: Money
    """To those who had quoted."""


class Proposal(TypedDict):
    number: int
    organisation_id: str
    side: Literal["buy", "sell"]
    unit_class: str
    zone: str
    source: str | None
    lots: int
    starts_at: str | None
    hours: int
    price: Money
    worth: Money
    terms: Terms
    note: str
    valid_until: str | None
    state: str
    at: str | None


class Deal(TypedDict):
    """`side` is of who began. `your_turn`: an answer is yours to give."""

    id: str
    organisation_id: str
    project_id: str
    side: Literal["buy", "sell"]
    other_organisation_id: str
    other_project_id: str | None
    state: str
    number: int
    your_turn: bool
    contract_id: str | None
    opened_at: str | None
    ended_at: str | None
    last: Proposal


class DealDetail(Deal):
    history: list[Proposal]
    """From the first proposal to the last."""
