"""What looks like abuse, named and with its evidence. Pure; people decide what it was.

RoundTrip   two organisations sold one another the same product, there and back: the price is
            made, nothing was bought (wash trades through a friend; with oneself the book
            refuses)
Spoofing    large orders taken back within a minute, untraded, while their owner traded on the
            other side: they were to be seen, not to be filled
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from suanwang.engines.matching.model import Side
from suanwang.kernel.time import MS_PER_MINUTE
from suanwang.trade.catalogue.model import Product
from suanwang.trade.contracts.model import Contract, ContractState, Origin
from suanwang.trade.market.model import Instrument, Order, Trade

BACK_PERCENT = 50
"""So much of the one way came back the other."""
TIMES_LARGER = 5
"""A spoof is so many times what its owner traded meanwhile."""
AT_LEAST = 3
"""So many of them make a pattern."""
SHORT_MS = MS_PER_MINUTE
TAKEN_BACK = ("Cancelled", "Amended")
"""By its owner. What the market ended, or never stood in the book, was no bait."""


class AlertKind(StrEnum):
    ROUND_TRIP = "RoundTrip"
    SPOOFING = "Spoofing"


@dataclass(frozen=True, slots=True)
class Alert:
    """`key` names what it is about: the same one found again is the same alert."""

    kind: AlertKind
    key: str
    product: Product
    organisations: tuple[str, ...]
    evidence: tuple[str, ...]
    """Ids of contracts or orders."""
    detail: str


@dataclass(frozen=True, slots=True)
class KnownAlert:
    id: str
    alert: Alert
    found_at_ms: int
    closed_at_ms: int | None
    note: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which alerts; None: of any."""

    only_open: bool = True
    kind: AlertKind | None = None
    unit_class: str | None = None
    zone: str | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an alert rests on, in the order of time; what was cleared away since is left out."""

    orders: tuple[Order, ...] = ()
    trades: tuple[Trade, ...] = ()
    """Of a spoof: what the owner of the orders traded meanwhile on the other side."""
    contracts: tuple[Contract, ...] = ()
    """Of a spoof: what these trades became; they name both parties."""


def round_trips(contracts: Iterable[Contract], day: str) -> list[Alert]:
    """Of one span of time, which `day` names. Sold-on contracts count: that is how it comes back.

    A deal that both agreed on openly (bilateral) is no evidence: it makes no market price.
    """
    ways: dict[tuple[Product, str, str], list[Contract]] = {}
    for one in contracts:
        if one.origin is not Origin.BILATERAL and one.state is not ContractState.CANCELLED:
            key = one.product, one.seller.organisation_id, one.buyer.organisation_id
            ways.setdefault(key, []).append(one)
    found = []
    for (product, seller, buyer), there in sorted(ways.items(), key=lambda item: item[0]):
        back = ways.get((product, buyer, seller), [])
        if seller > buyer or not back:
            continue
        volumes = sorted(_volume(way) for way in (there, back))
        if volumes[0] * 100 < volumes[1] * BACK_PERCENT:
            continue
        evidence = tuple(sorted(one.id for one in (*there, *back)))
        found.append(
            Alert(
                kind=AlertKind.ROUND_TRIP,
                key=f"{AlertKind.ROUND_TRIP}:{product}:{seller}:{buyer}:{day}",
                product=product,
                organisations=(seller, buyer),
                evidence=evidence[:100],
                detail=f"{_volume(there)} lot-hours one way, {_volume(back)} the other.",
            )
        )
    return found


def _volume(way: Sequence[Contract]) -> int:
    return sum(one.lots * one.period.hours for one in way)


def span_of(order: Order) -> tuple[int, int]:
    """From when until when (ms) what its owner traded on the other side tells of it."""
    until_ms = order.placed_at_ms if order.ended_at_ms is None else order.ended_at_ms
    return order.placed_at_ms - SHORT_MS, until_ms + SHORT_MS


def spoofs(
    cancelled: Iterable[Order], trades: Iterable[Trade], owners: dict[str, str], day: str
) -> list[Alert]:
    """`owners`: project → organisation."""
    traded: dict[tuple[Instrument, str, Side], list[Trade]] = {}
    for trade in trades:
        for side, project in (
            (Side.BUY, trade.buyer_project_id),
            (Side.SELL, trade.seller_project_id),
        ):
            owner = owners.get(project, project)
            traded.setdefault((trade.instrument, owner, side), []).append(trade)
    suspects: dict[tuple[Product, str], list[Order]] = {}
    for order in cancelled:
        if order.why not in TAKEN_BACK:
            continue
        if order.traded * 10 > order.lots or order.ended_at_ms is None:
            continue
        if order.ended_at_ms - order.placed_at_ms > SHORT_MS:
            continue
        begin_ms, end_ms = span_of(order)
        meanwhile = [
            one
            for one in traded.get(
                (order.instrument, order.party.organisation_id, order.side.other), ()
            )
            if begin_ms <= one.at_ms <= end_ms
        ]
        lots = sum(one.lots for one in meanwhile)
        if lots and order.lots >= TIMES_LARGER * lots:
            key = order.instrument.product, order.party.organisation_id
            suspects.setdefault(key, []).append(order)
    return [
        Alert(
            kind=AlertKind.SPOOFING,
            key=f"{AlertKind.SPOOFING}:{product}:{owner}:{day}",
            product=product,
            organisations=(owner,),
            evidence=tuple(sorted(one.id for one in orders))[:100],
            detail=f"{len(orders)} orders of {sum(one.lots for one in orders)} lots taken back "
            "within a minute while trading on the other side.",
        )
        for (product, owner), orders in sorted(suspects.items(), key=lambda item: item[0])
        if len(orders) >= AT_LEAST
    ]
