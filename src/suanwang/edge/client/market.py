"""The continuous market: what may be traded, books and tapes, prices, one's own orders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Literal, Required, TypedDict

from suanwang.edge.client.amounts import Amount, money
from suanwang.edge.client.http import segment
from suanwang.edge.client.nouns import Noun, given, key_of

if TYPE_CHECKING:
    from suanwang.edge.client.views_alerts import Alert, AlertDetail
    from suanwang.edge.client.views_market import (
        Amended,
        Book,
        Candle,
        Glance,
        IndexPoint,
        Order,
        OrderAnswer,
        Products,
        Quoted,
        Seller,
        Trade,
    )

MARKET = "/v1/market"
BOOKS = f"{MARKET}/books"
ORDERS = f"{MARKET}/orders"
ALERTS = f"{MARKET}/alerts"
Side = Literal["buy", "sell"]
Stay = Literal["rest", "immediate", "whole", "maker"]
OrderState = Literal["open", "filled", "cancelled", "expired"]
Span = Literal["hour", "day"]
AlertKind = Literal["RoundTrip", "Spoofing"]


class OrderGiven(TypedDict, total=False):
    """An order of a batch; a seller's names its source, a pool or a contract."""

    instrument: Required[str]
    side: Required[Side]
    lots: Required[int]
    price: Amount | None
    """For a lot and hour; without it, whatever the band allows."""
    stay: Stay
    source: str | None
    key: str | None


class Market(Noun):
    """`client.market`"""

    # --- what is traded ----------------------------------------------------------------------

    def products(self) -> Products:
        """Classes in zones, and the standard periods: `class:zone:suffix` is an instrument."""
        found: Products = self._api.get(f"{MARKET}/products")
        return found

    def instruments(
        self, *, unit_class: str | None = None, zone: str | None = None, most: int = 200
    ) -> list[Quoted]:
        """What is traded now with its best prices, the nearest delivery first."""
        query = {"unit_class": unit_class, "zone": zone, "limit": most}
        found: list[Quoted] = self._api.get(f"{MARKET}/instruments", query)
        return found

    def book(self, instrument: str, *, levels: int = 20) -> Book:
        """Its depth, the last price, and between which limits orders are accepted."""
        found: Book = self._api.get(f"{BOOKS}/{segment(instrument)}", {"levels": levels})
        return found

    def trades(self, *, instrument: str | None = None, most: int | None = None) -> Iterator[Trade]:
        """The tape, the latest first."""
        yield from self._api.pages(f"{MARKET}/trades", {"instrument": instrument}, most=most)

    # --- prices ------------------------------------------------------------------------------

    def candles(self, instrument: str, *, days: int = 14, span: Span = "hour") -> list[Candle]:
        """Prices of one instrument by the hour or day."""
        query = {"instrument": instrument, "days": days, "span": span}
        found: list[Candle] = self._api.get(f"{MARKET}/history", query)
        return found

    def reference_prices(
        self,
        *,
        unit_class: str | None = None,
        zone: str | None = None,
        days: int = 30,
        span: Span = "day",
    ) -> list[IndexPoint]:
        """Of each product: the mean of what strangers agreed, weighed by lots and hours."""
        query = {"unit_class": unit_class, "zone": zone, "days": days, "span": span}
        found: list[IndexPoint] = self._api.get(f"{MARKET}/index", query)
        return found

    def glance(self) -> list[Glance]:
        """The last 24 hours of each product against those before."""
        found: list[Glance] = self._api.get(f"{MARKET}/glance")
        return found

    def sellers(self) -> list[Seller]:
        """What sellers delivered of what they promised in ninety days, as it was measured."""
        found: list[Seller] = self._api.get(f"{MARKET}/sellers")
        return found

    # --- orders ------------------------------------------------------------------------------

    def buy(
        self,
        instrument: str,
        lots: int,
        price: Amount | None = None,
        *,
        stay: Stay | None = None,
        project: str | None = None,
        key: str | None = None,
    ) -> OrderAnswer:
        """At most `price` for a lot and hour; what does not trade at once rests in the book.

        Without a price it trades at once as the band allows, and does not rest. Its money is set
        aside. Raises Conflict or InvalidInput with the book's reason.
        """
        return self._place("buy", instrument, lots, price, stay, None, project, key)

    def sell(
        self,
        instrument: str,
        lots: int,
        price: Amount | None = None,
        *,
        source: str,
        stay: Stay | None = None,
        project: str | None = None,
        key: str | None = None,
    ) -> OrderAnswer:
        """`source` is the id of a pool, or of a contract that is sold on."""
        return self._place("sell", instrument, lots, price, stay, source, project, key)

    def _place(
        self,
        side: Side,
        instrument: str,
        lots: int,
        price: Amount | None,
        stay: Stay | None,
        source: str | None,
        project: str | None,
        key: str | None,
    ) -> OrderAnswer:
        body = given(
            instrument=instrument,
            side=side,
            lots=lots,
            price=money(price),
            stay=stay or ("immediate" if price is None else "rest"),
            source=source,
            project=project or self._project,
            key=key_of(key),
        )
        answer: OrderAnswer = self._api.post(ORDERS, body, repeat=True)
        return answer

    def place_all(
        self, orders: Sequence[OrderGiven], *, project: str | None = None
    ) -> list[OrderAnswer]:
        """Up to 5,000 of one project in their order. Each is answered for itself: where `order`
        is None, `reason` says why. Repeated after trouble only if each has a key."""
        told = [given(**{**one, "price": money(one.get("price"))}) for one in orders]
        body = given(orders=told, project=project or self._project)
        repeat = all("key" in one for one in told)
        answers: list[OrderAnswer] = self._api.post(f"{ORDERS}/batch", body, repeat=repeat)
        return answers

    def orders(
        self,
        *,
        project: str | None = None,
        state: OrderState | None = None,
        most: int | None = None,
    ) -> Iterator[Order]:
        """One's own, the latest first."""
        yield from self._api.pages(ORDERS, {"project": project, "state": state}, most=most)

    def order(self, order: str) -> Order:
        found: Order = self._api.get(f"{ORDERS}/{segment(order)}")
        return found

    def amend(
        self,
        order: str,
        *,
        lots: int | None = None,
        price: Amount | None = None,
        key: str | None = None,
    ) -> Amended:
        """Change an order at rest. `lots` are all of it, those traded included: fewer keep its
        place, more or another price make a new order behind the others. The same key again is the
        same change."""
        body = given(lots=lots, price=money(price), key=key_of(key))
        found: Amended = self._api.patch(f"{ORDERS}/{segment(order)}", body)
        return found

    def cancel(self, order: str) -> Order:
        """Take what is left of it out of the book."""
        found: Order = self._api.post(f"{ORDERS}/{segment(order)}/cancel", {})
        return found

    # --- for the operator --------------------------------------------------------------------

    def steer(
        self,
        instrument: str,
        *,
        reason: str,
        halted: bool | None = None,
        low: Amount | EllipsisType | None = ...,
        high: Amount | EllipsisType | None = ...,
    ) -> Book:
        """Halt a book or let it go on; None takes a bound of its band away."""
        bounds: dict[str, Any] = {
            name: money(bound)
            for name, bound in (("low", low), ("high", high))
            if not isinstance(bound, EllipsisType)
        }
        body = {**given(reason=reason, halted=halted), **bounds}
        found: Book = self._api.post(f"{BOOKS}/{segment(instrument)}/steer", body)
        return found

    def alerts(
        self,
        *,
        kind: AlertKind | None = None,
        unit_class: str | None = None,
        zone: str | None = None,
        closed: bool = False,
        most: int | None = None,
    ) -> Iterator[Alert]:
        """What looks like abuse, the latest first."""
        query = {"kind": kind, "unit_class": unit_class, "zone": zone, "closed": closed}
        yield from self._api.pages(ALERTS, query, most=most)

    def alert(self, alert: str) -> AlertDetail:
        """With the orders, trades and contracts that it rests on."""
        found: AlertDetail = self._api.get(f"{ALERTS}/{segment(alert)}")
        return found

    def close_alert(self, alert: str, note: str) -> None:
        """Say what it was found to be."""
        self._api.post(f"{ALERTS}/{segment(alert)}/close", {"note": note})
