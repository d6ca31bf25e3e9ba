"""The day-ahead auction: rounds, bids, what came of them, prices and curves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Required, TypedDict

from suanwang.edge.client.amounts import Amount, money, yuan
from suanwang.edge.client.http import segment
from suanwang.edge.client.nouns import Day, Noun, given, key_of

if TYPE_CHECKING:
    from suanwang.edge.client.views_auctions import (
        Bid,
        Curve,
        HourPrice,
        Replayed,
        Round,
        ZoneLink,
    )

ROUNDS = "/v1/auctions"
Side = Literal["buy", "sell"]


class LinkGiven(TypedDict, total=False):
    """So many lots of each class may be delivered from another zone in any hour."""

    source: Required[str]
    target: Required[str]
    lots: Required[int]
    cost: Amount | None
    """For a lot and hour."""


def document_of(
    side: Side,
    *,
    curve: Sequence[Mapping[str, Any]] = (),
    blocks: Sequence[Mapping[str, Any]] = (),
    source: str | None = None,
) -> dict[str, Any]:
    """A bid as it is written in a file, of steps and blocks whose `price` (and those of what they
    take `instead`) are amounts. What may stand in it: docs/mechanisms/day-ahead.md."""
    document: dict[str, Any] = {"side": side, **given(source=source)}
    for name, parts in (("curve", curve), ("blocks", blocks)):
        if parts:
            document[name] = [_in_yuan(one) for one in parts]
    return document


def _in_yuan(part: Mapping[str, Any]) -> dict[str, Any]:
    told = {**part, "price": yuan(part["price"])}
    if part.get("instead"):
        told["instead"] = [{**one, "price": yuan(one["price"])} for one in part["instead"]]
    return told


def _links(links: Sequence[LinkGiven]) -> dict[str, Any]:
    return {"links": [given(**{**one, "cost": money(one.get("cost"))}) for one in links]}


class Auctions(Noun):
    """`client.auctions`. A round is named by its day of delivery (2026-12-03) or its id."""

    def rounds(self, *, most: int | None = None) -> Iterator[Round]:
        """The latest day first."""
        yield from self._api.pages(ROUNDS, most=most)

    def show(self, day: str) -> Round:
        found: Round = self._api.get(_path(day))
        return found

    def prices(self, day: str, *, product: str | None = None) -> list[HourPrice]:
        """Of a cleared round by product (`a100-80g@henan`) and hour."""
        found: list[HourPrice] = self._api.get(_path(day, "prices"), {"product": product})
        return found

    def curves(
        self, day: str, *, product: str | None = None, hour: int | None = None
    ) -> list[Curve]:
        """Demand and supply of a cleared round."""
        query = {"product": product, "hour": hour}
        found: list[Curve] = self._api.get(_path(day, "curves"), query)
        return found

    def links(self) -> list[ZoneLink]:
        """Between zones, with which rounds open."""
        found: list[ZoneLink] = self._api.get(f"{ROUNDS}/links")
        return found

    # --- bids --------------------------------------------------------------------------------

    def bid(
        self,
        day: str,
        document: Mapping[str, Any],
        *,
        project: str | None = None,
        key: str | None = None,
    ) -> Bid:
        """`document` as `document_of` makes it, or as a file has it, with prices in yuan. Money
        and capacity are set aside. `repeated` says that the key had been used."""
        body = {**document, **given(project=project or self._project, key=key_of(key))}
        found: Bid = self._api.post(_path(day, "orders"), body, repeat=True)
        return found

    def bids(
        self, day: str, *, project: str | None = None, most: int | None = None
    ) -> Iterator[Bid]:
        """One's own, the latest first; of a cleared round with their results."""
        yield from self._api.pages(_path(day, "orders"), {"project": project}, most=most)

    def outcome(self, day: str, bid: str) -> Bid:
        """A bid and, once the round is cleared, what each part of it got, and why not more."""
        found: Bid = self._api.get(_path(day, "orders", bid))
        return found

    def replace(self, day: str, bid: str, document: Mapping[str, Any]) -> Bid:
        """Another bid in its place; what it sets aside is reckoned anew."""
        found: Bid = self._api.post(_path(day, "orders", bid, "replace"), dict(document))
        return found

    def withdraw(self, day: str, bid: str) -> Bid:
        """Out of an open round; everything is given back."""
        found: Bid = self._api.post(_path(day, "orders", bid, "withdraw"), {})
        return found

    # --- for the operator --------------------------------------------------------------------

    def open(self, day: Day) -> Round:
        """The round of a day by hand."""
        found: Round = self._api.post(ROUNDS, {"day": str(day)})
        return found

    def close(self, day: str) -> Round:
        """No bid is taken any more."""
        found: Round = self._api.post(_path(day, "close"), {}, repeat=True)
        return found

    def clear(self, day: str) -> Round:
        """A closed round, now."""
        found: Round = self._api.post(_path(day, "clear"), {})
        return found

    def void(self, day: str, reason: str) -> Round:
        """Give everything back; the day has no auction."""
        found: Round = self._api.post(_path(day, "void"), {"reason": reason})
        return found

    def replay(self, day: str) -> Replayed:
        """Clear it again and compare with what is written."""
        found: Replayed = self._api.post(_path(day, "replay"), {}, repeat=True)
        return found

    def set_links(self, links: Sequence[LinkGiven]) -> list[ZoneLink]:
        """For rounds that open from now on."""
        found: list[ZoneLink] = self._api.post(f"{ROUNDS}/links", _links(links), repeat=True)
        return found

    def set_round_links(self, day: str, links: Sequence[LinkGiven]) -> Round:
        """Of one open round."""
        found: Round = self._api.post(_path(day, "links"), _links(links), repeat=True)
        return found


def _path(day: str, *more: str) -> str:
    return "/".join([ROUNDS, segment(day), *map(segment, more)])
