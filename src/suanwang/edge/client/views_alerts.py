"""What surveillance tells of the market."""

from __future__ import annotations

from typing import TypedDict

from suanwang.edge.client.views_contracts import Contract
from suanwang.edge.client.views_market import Order, Trade


class Alert(TypedDict):
    id: str
    kind: str
    unit_class: str
    zone: str
    organisations: list[str]
    evidence: list[str]
    """Ids of contracts or orders."""
    detail: str
    found_at: str | None
    closed_at: str | None
    note: str


class SeenOrder(Order):
    """With its owner and its end."""

    organisation_id: str
    ended_at: str | None


class SeenTrade(Trade):
    """With its parties."""

    contract_id: str
    buyer_organisation_id: str
    seller_organisation_id: str


class AlertDetail(Alert):
    orders: list[SeenOrder]
    """Spoofing: those that were taken back."""
    trades: list[SeenTrade]
    """Spoofing: what their owner traded meanwhile on the other side."""
    contracts: list[Contract]
