"""What the routes of the call auction take and give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from suanwang.edge.api.money import Money, MoneyGiven
from suanwang.edge.api.views import instant
from suanwang.edge.api.views_market import Plain, Strict
from suanwang.engines.matching.model import Side
from suanwang.kernel.time import MS_PER_HOUR
from suanwang.trade.market.auction_bids import document_of
from suanwang.trade.market.auction_clearing import Replayed
from suanwang.trade.market.auction_model import (
    Cleared,
    PartResult,
    PriceRow,
    Result,
    Round,
    Standing,
    ZoneLink,
)

DETAILS = {
    "accepted": "Accepted whole.",
    "partly": "Accepted in part: at its limit, and there was not enough for all.",
    "price": "The price went beyond the limit.",
    "tie": "At its limit exactly, and there was not enough for all who were.",
    "paradox": "The price is within the limit, but served whole it would have moved the price "
    "beyond that of somebody who is served.",
    "group": "Another block of its group was accepted.",
    "parent": "The block that it depends on was not accepted, or to a smaller part.",
    "alone": "Nobody on the other side of this product and hour was served.",
}
EXAMPLE: dict[str, Any] = {
    "side": "buy",
    "curve": [{"product": "a100-80g@henan", "hours": [8, 20], "lots": 4, "price": "12.5"}],
    "blocks": [
        {"name": "night", "product": "a100-80g@henan", "any": 8, "lots": 2, "price": "9"},
    ],
}
Lots = Annotated[int, Field(strict=True, ge=0, le=1 << 31)]


class LinkView(BaseModel):
    """So many lots of each class may be delivered from another zone in any hour."""

    source: str
    target: str
    lots: int
    cost: Money

    @classmethod
    def of(cls, one: ZoneLink) -> LinkView:
        return cls(source=one.source, target=one.target, lots=one.lots, cost=Money.of(one.cost))


class LinkGiven(Strict):
    source: str = Field(min_length=1, max_length=60)
    target: str = Field(min_length=1, max_length=60)
    lots: Lots
    cost: MoneyGiven | None = Field(default=None, description="For a lot and hour.")

    def link(self, field: str) -> ZoneLink:
        cost = self.cost.amount(f"{field}.cost") if self.cost is not None else 0
        return ZoneLink(self.source, self.target, self.lots, cost)


class LinksRequest(Strict):
    links: list[LinkGiven] = Field(max_length=500)

    def given(self) -> list[ZoneLink]:
        return [one.link(f"links[{at}]") for at, one in enumerate(self.links)]


class OpenRequest(Strict):
    day: str = Field(max_length=10, examples=["2026-12-03"], description="In Asia/Shanghai.")


class VoidRequest(Strict):
    reason: str = Field(min_length=1, max_length=200)


class BidRequest(Plain):
    """A bid as its document, and beside it the project and a key.

    What may stand in it: docs/mechanisms/day-ahead.md.
    """

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [EXAMPLE]})

    project: str | None = Field(default=None, max_length=128)
    key: str | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        pattern=r"^[!-~]+$",
        description="The same key of a project is the same order.",
    )

    @property
    def document(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class ClearedView(BaseModel):
    """How it was cleared. `bound`: no clearing of these orders has a greater welfare."""

    welfare: Money
    bound: Money
    gap: float
    rent: Money
    traded: int = Field(description="Lot-hours.")
    book_digest: str
    outcome_digest: str
    engine: str
    effort: dict[str, int]
    took_ms: int

    @classmethod
    def of(cls, one: Cleared) -> ClearedView:
        return cls(
            welfare=Money.of(one.welfare),
            bound=Money.of(one.bound),
            gap=one.gap,
            rent=Money.of(one.rent),
            traded=one.traded,
            book_digest=one.book_digest,
            outcome_digest=one.outcome_digest,
            engine=one.engine,
            effort=dict(one.effort),
            took_ms=one.took_ms,
        )


class RoundView(BaseModel):
    id: str
    day: str
    starts_at: str | None
    state: str
    opened_at: str | None
    closes_at: str | None
    ended_at: str | None
    why: str
    orders: int = Field(description="That stood when it closed.")
    links: list[LinkView]
    cleared: ClearedView | None

    @classmethod
    def of(cls, one: Round) -> RoundView:
        return cls(
            id=one.id,
            day=one.day,
            starts_at=instant(one.period.from_ms),
            state=one.state.value,
            opened_at=instant(one.opened_at_ms),
            closes_at=instant(one.closes_at_ms),
            ended_at=instant(one.ended_at_ms),
            why=one.why,
            orders=one.orders,
            links=[LinkView.of(link) for link in one.links],
            cleared=ClearedView.of(one.cleared) if one.cleared is not None else None,
        )


class PriceView(BaseModel):
    product: str
    hour: int = Field(description="Of the day in Asia/Shanghai, 0 to 23.")
    starts_at: str | None
    price: Money | None = Field(description="For a lot and hour; null where nothing was traded.")
    lots: int

    @classmethod
    def of(cls, one: PriceRow, round_: Round) -> PriceView:
        return cls(**_row(one, round_))


class PointView(BaseModel):
    price: Money
    lots: int


class CurveView(PriceView):
    """Aggregated curves without blocks; lots that may be served by another product are in both."""

    demand: list[PointView]
    supply: list[PointView]

    @classmethod
    def of(cls, one: PriceRow, round_: Round) -> CurveView:
        return cls(**_row(one, round_), demand=_points(one.demand), supply=_points(one.supply))


def _row(one: PriceRow, round_: Round) -> dict[str, Any]:
    return {
        "product": str(one.product),
        "hour": one.hour,
        "starts_at": instant((round_.first_hour + one.hour) * MS_PER_HOUR),
        "price": None if one.price is None else Money.of(one.price),
        "lots": one.lots,
    }


def _points(points: Sequence[tuple[int, int]]) -> list[PointView]:
    return [PointView(price=Money.of(price), lots=lots) for price, lots in points]


class ServedView(BaseModel):
    product: str
    hour: int
    lots: int


class PartView(BaseModel):
    """What a step in one hour, or a block, got, and why not more."""

    part: str
    hour: int | None
    outcome: str
    detail: str
    asked: int = Field(description="Lot-hours.")
    lots: list[ServedView]
    amount: Money
    winning: Money | None = Field(description="The price for a lot and hour that would have won.")

    @classmethod
    def of(cls, one: PartResult) -> PartView:
        return cls(
            part=one.part,
            hour=one.hour,
            outcome=one.outcome,
            detail=DETAILS.get(one.outcome, ""),
            asked=one.asked,
            lots=[ServedView(product=p, hour=h, lots=n) for p, h, n in one.lots],
            amount=Money.of(one.amount),
            winning=None if one.winning is None else Money.of(one.winning),
        )


class ResultView(BaseModel):
    outcome: str = Field(description="accepted, partly or none")
    amount: Money = Field(description="Paid by a buyer, rent included; to be paid to a seller.")
    rent: Money = Field(
        description="For lots from other zones: their contracts are for the seller's pool there."
    )
    own: int = Field(description="Lot-hours that met the own organisation's: no contract.")
    contracts: list[str]
    parts: list[PartView]

    @classmethod
    def of(cls, one: Result) -> ResultView:
        return cls(
            outcome=one.outcome,
            amount=Money.of(one.amount),
            rent=Money.of(one.rent),
            own=one.own,
            contracts=list(one.contracts),
            parts=[PartView.of(part) for part in one.parts],
        )


class OrderView(BaseModel):
    id: str
    round_id: str
    project_id: str
    state: str
    side: Side
    version: int
    bid: dict[str, Any]
    held: Money
    placed_at: str | None
    changed_at: str | None
    key: str | None
    result: ResultView | None
    repeated: bool = Field(default=False, description="The key had been used.")

    @classmethod
    def of(cls, one: Standing, *, repeated: bool = False) -> OrderView:
        return cls(
            id=one.id,
            round_id=one.round_id,
            project_id=one.party.project_id,
            state=one.state.value,
            side=one.bid.side,
            version=one.version,
            bid=document_of(one.bid),
            held=Money.of(one.held),
            placed_at=instant(one.placed_at_ms),
            changed_at=instant(one.changed_at_ms),
            key=one.key,
            result=ResultView.of(one.result) if one.result is not None else None,
            repeated=repeated,
        )


class ReplayView(BaseModel):
    """The round done again beside what is written of it."""

    same: bool
    same_book: bool
    same_outcome: bool
    same_engine: bool = Field(description="By this very version of the programs.")
    welfare: Money
    bound: Money

    @classmethod
    def of(cls, one: Replayed) -> ReplayView:
        return cls(
            same=one.same,
            same_book=one.same_book,
            same_outcome=one.same_outcome,
            same_engine=one.same_engine,
            welfare=Money.of(one.welfare),
            bound=Money.of(one.bound),
        )
