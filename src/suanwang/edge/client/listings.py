"""Listings: capacity at a posted price, bought at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal

from suanwang.edge.client.amounts import Amount, money
from suanwang.edge.client.http import segment
from suanwang.edge.client.nouns import Instant, Noun, given, key_of

if TYPE_CHECKING:
    from suanwang.edge.client.views_contracts import Contract
    from suanwang.edge.client.views_market import Listing, ListingDetail

LISTINGS = "/v1/market/listings"
ListingState = Literal["open", "closed", "ended", "gone", "any"]
ListingSort = Literal["newest", "price", "starts", "lots"]


class Listings(Noun):
    """`client.listings`"""

    def search(
        self,
        words: str = "",
        *,
        organisation: str | None = None,
        state: ListingState = "open",
        unit_class: str | None = None,
        zone: str | None = None,
        sort: ListingSort = "newest",
        most: int | None = None,
    ) -> Iterator[Listing]:
        """`words` of title, class, zone or id; `organisation` is the id of a seller."""
        query = {
            "q": words or None,
            "organisation": organisation,
            "state": state,
            "unit_class": unit_class,
            "zone": zone,
            "sort": sort,
        }
        yield from self._api.pages(LISTINGS, query, most=most)

    def show(self, listing: str) -> ListingDetail:
        """With what is left of it in each hour."""
        found: ListingDetail = self._api.get(f"{LISTINGS}/{segment(listing)}")
        return found

    def post(
        self,
        source: str,
        *,
        starts_at: Instant,
        hours: int,
        lots: int,
        price: Amount,
        title: str = "",
        min_lots: int = 1,
        min_hours: int = 1,
        max_hours: int | None = None,
        terms: Mapping[str, int] | None = None,
        project: str | None = None,
    ) -> ListingDetail:
        """List lots of a pool, or of a contract that is sold on; they are set aside from now on.

        `price` is for a lot and hour; `terms` are those of Terms that differ from the usual.
        """
        body = given(
            source=source,
            starts_at=starts_at,
            hours=hours,
            lots=lots,
            price=money(price),
            title=title,
            min_lots=min_lots,
            min_hours=min_hours,
            max_hours=max_hours,
            terms=terms,
            project=project or self._project,
        )
        found: ListingDetail = self._api.post(LISTINGS, body)
        return found

    def buy(
        self,
        listing: str,
        *,
        starts_at: Instant,
        hours: int,
        lots: int,
        project: str | None = None,
        key: str | None = None,
    ) -> Contract:
        """Some of its lots for some of its hours. The same key is the same purchase."""
        body = given(
            starts_at=starts_at,
            hours=hours,
            lots=lots,
            project=project or self._project,
            key=key_of(key),
        )
        path = f"{LISTINGS}/{segment(listing)}/buy"
        found: Contract = self._api.post(path, body, repeat=True)
        return found

    def close(self, listing: str) -> ListingDetail:
        """Take it back. What was bought stays bought."""
        found: ListingDetail = self._api.post(f"{LISTINGS}/{segment(listing)}/close", {})
        return found
