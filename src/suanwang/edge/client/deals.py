"""Deals between two: propose to a named side, answer by yes, no or another proposal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from suanwang.edge.client.amounts import Amount, money
from suanwang.edge.client.http import segment
from suanwang.edge.client.nouns import Instant, Noun, given, key_of
from suanwang.edge.client.quotations import product_of

if TYPE_CHECKING:
    from suanwang.edge.client.views_talks import Deal, DealDetail

DEALS = "/v1/deals"
Side = Literal["buy", "sell"]
Box = Literal["in", "out", "either"]
DealState = Literal["open", "accepted", "rejected", "withdrawn", "expired"]


def _proposal(
    starts_at: Instant,
    hours: int,
    lots: int,
    price: Amount,
    valid_until: Instant,
    product: str | None,
    source: str | None,
    note: str,
    terms: Mapping[str, int] | None,
) -> dict[str, Any]:
    return given(
        starts_at=starts_at,
        hours=hours,
        lots=lots,
        price=money(price),
        valid_until=valid_until,
        product=None if product is None else product_of(product),
        source=source,
        note=note,
        terms=terms,
    )


class Deals(Noun):
    """`client.deals`. A buyer names the product (`a100-80g:henan`), a seller the source: the id
    of a pool, or of a contract that is sold on. Prices are for a lot and hour."""

    def search(
        self,
        *,
        box: Box = "either",
        state: DealState | None = None,
        project: str | None = None,
        most: int | None = None,
    ) -> Iterator[Deal]:
        """One's own, the latest first: offered to one (in), begun by one (out), or either."""
        query = {"box": box, "state": state, "project": project}
        yield from self._api.pages(DEALS, query, most=most)

    def show(self, deal: str) -> DealDetail:
        """With all its proposals."""
        found: DealDetail = self._api.get(f"{DEALS}/{segment(deal)}")
        return found

    def propose(
        self,
        side: Side,
        to: str,
        *,
        starts_at: Instant,
        hours: int,
        lots: int,
        price: Amount,
        valid_until: Instant,
        product: str | None = None,
        source: str | None = None,
        note: str = "",
        terms: Mapping[str, int] | None = None,
        to_project: str | None = None,
        project: str | None = None,
        key: str | None = None,
    ) -> DealDetail:
        """To an organisation by name or id. One's own part is set aside until it is answered."""
        body = _proposal(starts_at, hours, lots, price, valid_until, product, source, note, terms)
        body |= given(
            side=side,
            to=to,
            to_project=to_project,
            project=project or self._project,
            key=key_of(key),
        )
        found: DealDetail = self._api.post(DEALS, body, repeat=True)
        return found

    def counter(
        self,
        deal: str,
        number: int,
        *,
        starts_at: Instant,
        hours: int,
        lots: int,
        price: Amount,
        valid_until: Instant,
        product: str | None = None,
        source: str | None = None,
        note: str = "",
        terms: Mapping[str, int] | None = None,
        project: str | None = None,
    ) -> DealDetail:
        """Answer the proposal of that number by another one; now it is the other side's turn."""
        body = _proposal(starts_at, hours, lots, price, valid_until, product, source, note, terms)
        return self._answer(deal, "counter", {**body, **given(number=number, project=project)})

    def accept(
        self, deal: str, number: int, *, source: str | None = None, project: str | None = None
    ) -> DealDetail:
        """Agree to the proposal of that number, and to no other that came meanwhile: it becomes a
        contract. Who was asked to sell names his source."""
        return self._answer(deal, "accept", given(number=number, source=source, project=project))

    def reject(self, deal: str, number: int, *, project: str | None = None) -> DealDetail:
        """No to the proposal of that number; the deal ends."""
        return self._answer(deal, "reject", given(number=number, project=project))

    def withdraw(self, deal: str, *, project: str | None = None) -> DealDetail:
        """Take one's own last proposal back; the deal ends."""
        return self._answer(deal, "withdraw", given(project=project))

    def _answer(self, deal: str, verb: str, body: dict[str, Any]) -> DealDetail:
        found: DealDetail = self._api.post(f"{DEALS}/{segment(deal)}/{verb}", body, repeat=True)
        return found
