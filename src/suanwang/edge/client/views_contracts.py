"""Shapes of contracts: the agreement, its hours, what leaving it cost."""

from __future__ import annotations

from typing import TypedDict

from suanwang.edge.client.views import Money
from suanwang.edge.client.views_market import HourLeft, Terms


class Contract(TypedDict):
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
    rent: Money
    """For a lot and hour beside the price, owed for what is delivered."""
    terms: Terms
    phase: str
    signed_at: str | None
    ended_at: str | None
    settled_hours: int
    held: Money
    """Still set aside on the buyer's project."""
    deposit: Money
    """Still set aside on the seller's project."""
    backing_id: str | None


class DeliveryHour(TypedDict):
    at: str | None
    samples: int
    delivered_percent: int | None
    """Null: nobody looked."""
    charged: Money
    credited: Money
    rent: Money
    settled: bool


class ContractDetail(Contract):
    hours_measured: list[DeliveryHour]
    resold: list[HourLeft]
    """Lots offered again or sold on, by hour."""


class Ended(TypedDict):
    contract: Contract
    paid: Money
    """What the leaving cost."""
