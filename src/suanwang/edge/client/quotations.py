"""Requests for quotation: ask sellers for sealed prices, quote, see the award."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from suanwang.edge.client.amounts import Amount, money
from suanwang.edge.client.http import segment
from suanwang.edge.client.nouns import Instant, Noun, given, key_of

if TYPE_CHECKING:
    from suanwang.edge.client.views_talks import CancelledEnquiry, Enquiry, EnquiryDetail, Quote

QUOTATIONS = "/v1/quotations"
Which = Literal["asked", "open_to_me"]
EnquiryState = Literal["open", "awarded", "failed", "cancelled"]
Rule = Literal["lowest_price", "lowest_per_unit"]


def product_of(text: str) -> dict[str, str]:
    """Of CLASS:ZONE or CLASS@ZONE, as instruments and auctions write it. What is no product, the
    server refuses by the name of the field."""
    unit_class, _, zone = text.replace("@", ":", 1).partition(":")
    return {"unit_class": unit_class, "zone": zone}


class Quotations(Noun):
    """`client.quotations`"""

    def search(
        self,
        *,
        which: Which = "open_to_me",
        state: EnquiryState | None = None,
        project: str | None = None,
        most: int | None = None,
    ) -> Iterator[Enquiry]:
        """The latest first: those that one's organisation may answer, or one's own projects asked;
        `project` narrows the latter."""
        query = {"which": which, "state": state, "project": project}
        yield from self._api.pages(QUOTATIONS, query, most=most)

    def show(self, enquiry: str) -> EnquiryDetail:
        """With one's own quotes; after the deadline, with those that were opened."""
        found: EnquiryDetail = self._api.get(f"{QUOTATIONS}/{segment(enquiry)}")
        return found

    def ask(
        self,
        products: Sequence[str],
        *,
        starts_at: Instant,
        hours: int,
        lots: int,
        deadline: Instant,
        ceiling: Amount | None = None,
        ceiling_public: bool = True,
        expected: Amount | None = None,
        bond: Amount | None = None,
        rule: Rule = "lowest_price",
        divisible: bool = False,
        min_lots: int | None = None,
        invited: Sequence[str] = (),
        title: str = "",
        terms: Mapping[str, int] | None = None,
        project: str | None = None,
        key: str | None = None,
    ) -> EnquiryDetail:
        """Any of the products (`a100-80g:henan`) would do. What it may cost is set aside until
        the deadline; then the best quote wins and is a contract.

        Prices are for a lot and hour: a ceiling, or without one what is `expected`. `bond` is what
        a quote sets aside. `invited` names organisations; empty, everybody may quote.
        """
        body = given(
            products=[product_of(one) for one in products],
            starts_at=starts_at,
            hours=hours,
            lots=lots,
            deadline=deadline,
            ceiling=money(ceiling),
            ceiling_public=ceiling_public,
            expected=money(expected),
            bond=money(bond),
            rule=rule,
            divisible=divisible,
            min_lots=min_lots,
            invited=list(invited),
            title=title,
            terms=terms,
            project=project or self._project,
            key=key_of(key),
        )
        found: EnquiryDetail = self._api.post(QUOTATIONS, body, repeat=True)
        return found

    def quote(
        self,
        enquiry: str,
        source: str,
        price: Amount,
        *,
        lots: int | None = None,
        project: str | None = None,
        key: str | None = None,
    ) -> Quote:
        """Under seal; capacity and bond are set aside. Again from the same source: replaced."""
        body = given(
            source=source,
            price=money(price),
            lots=lots,
            project=project or self._project,
            key=key_of(key),
        )
        path = f"{QUOTATIONS}/{segment(enquiry)}/quotes"
        found: Quote = self._api.post(path, body, repeat=True)
        return found

    def withdraw(self, enquiry: str, quote: str) -> Quote:
        """Take a quote back before the deadline; what was set aside for it is free at once."""
        path = f"{QUOTATIONS}/{segment(enquiry)}/quotes/{segment(quote)}/withdraw"
        found: Quote = self._api.post(path, repeat=True)
        return found

    def cancel(self, enquiry: str) -> CancelledEnquiry:
        """Step back before the deadline; a small fee goes to those who have quoted already."""
        path = f"{QUOTATIONS}/{segment(enquiry)}/cancel"
        found: CancelledEnquiry = self._api.post(path, repeat=True)
        return found
