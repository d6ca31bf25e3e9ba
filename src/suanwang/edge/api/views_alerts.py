"""What alerts of the surveillance and their evidence look like over HTTP."""

from __future__ import annotations

from pydantic import BaseModel, Field

from suanwang.edge.api.views import instant
from suanwang.edge.api.views_contracts import ContractView
from suanwang.edge.api.views_market import OrderView, Strict, TradeView
from suanwang.trade.market.model import Order
from suanwang.trade.market.surveillance import Evidence, KnownAlert


class AlertView(BaseModel):
    id: str
    kind: str
    unit_class: str
    zone: str
    organisations: list[str]
    evidence: list[str] = Field(description="Ids of contracts or orders.")
    detail: str
    found_at: str | None
    closed_at: str | None
    note: str

    @classmethod
    def of(cls, one: KnownAlert) -> AlertView:
        return cls(
            id=one.id,
            kind=one.alert.kind.value,
            unit_class=one.alert.product.unit_class,
            zone=one.alert.product.zone,
            organisations=list(one.alert.organisations),
            evidence=list(one.alert.evidence),
            detail=one.alert.detail,
            found_at=instant(one.found_at_ms),
            closed_at=instant(one.closed_at_ms),
            note=one.note,
        )


class SeenOrder(OrderView):
    """An order with its owner and its end."""

    organisation_id: str
    ended_at: str | None

    @classmethod
    def of(cls, one: Order) -> SeenOrder:
        return cls(
            **OrderView.of(one).model_dump(),
            organisation_id=one.party.organisation_id,
            ended_at=instant(one.ended_at_ms),
        )


class SeenTrade(TradeView):
    """A trade with its parties."""

    contract_id: str
    buyer_organisation_id: str
    seller_organisation_id: str


class AlertDetail(AlertView):
    """With what it rests on, in the order of time."""

    orders: list[SeenOrder] = Field(description="Spoofing: the orders that were taken back.")
    trades: list[SeenTrade] = Field(
        description="Spoofing: what their owner traded meanwhile on the other side."
    )
    contracts: list[ContractView] = Field(
        description="RoundTrip: there and back. Spoofing: what the trades became."
    )

    @classmethod
    def with_evidence(cls, one: KnownAlert, found: Evidence, now_ms: int) -> AlertDetail:
        made = {contract.id: contract for contract in found.contracts}
        return cls(
            **AlertView.of(one).model_dump(),
            orders=[SeenOrder.of(order) for order in found.orders],
            trades=[
                SeenTrade(
                    **TradeView.of(trade).model_dump(),
                    contract_id=trade.contract_id,
                    buyer_organisation_id=made[trade.contract_id].buyer.organisation_id,
                    seller_organisation_id=made[trade.contract_id].seller.organisation_id,
                )
                for trade in found.trades
            ],
            contracts=[ContractView.of(contract, now_ms) for contract in found.contracts],
        )


class NoteRequest(Strict):
    note: str = Field(min_length=1, max_length=500, description="What it was found to be.")
