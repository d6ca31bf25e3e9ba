"""Listings: capacity at a posted price, bought at once.

What a listing offers is pledged when it is listed, so that a purchase never fails for lack of
capacity. What it has sold, hour by hour, is pledged of the listing itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from suanwang.kernel.errors import Conflict, InvalidInput, LimitExceeded, NotFound, require
from suanwang.kernel.money import MAX_AMOUNT
from suanwang.kernel.time import hour_of
from suanwang.platform.database import Tx
from suanwang.trade.catalogue.model import Period, Product
from suanwang.trade.contracts import service as contracts
from suanwang.trade.contracts.model import Draft, Origin, Party, Terms
from suanwang.trade.contracts.rules import deposit_of
from suanwang.trade.contracts.service import Source
from suanwang.trade.market import listings_store as store
from suanwang.trade.market import money
from suanwang.trade.market.model import (
    MAX_LOTS,
    STANDARD,
    TICK,
    Listing,
    ListingSearch,
    ListingSort,
    ListingState,
    Supply,
)
from suanwang.trade.market.parties import capacity_gone, key_reused, no_capacity, standing_of
from suanwang.trade.market.rules import MAX_PRICE
from suanwang.trade.market.supply import require_covers, source_of, supply

MAX_HOURS = 366 * 24
FARTHEST_HOURS = 3 * MAX_HOURS
"""Nothing is traded that begins later."""


@dataclass(frozen=True, slots=True)
class ListingGiven:
    """What a seller says of his listing."""

    source_id: str
    window: Period
    lots: int
    price: int
    """Micro-yuan for a lot and hour."""
    title: str = ""
    min_lots: int = 1
    min_hours: int = 1
    max_hours: int = MAX_HOURS
    terms: Terms = STANDARD


def post(tx: Tx, seller: Party, given: ListingGiven) -> Listing:
    """Offer capacity; it is pledged from now on. Raises InvalidInput, LimitExceeded."""
    check(given, tx.now_ms)
    found = supply(tx.conn, seller, given.source_id)
    require_covers(found, found.product, given.window)
    contracts.pledge(tx, source_of(found), given.window, given.lots)
    made = _listing(tx.ids.new("lst"), seller, found, given, tx.now_ms)
    store.insert(tx.conn, made)
    return made


def _listing(id_: str, seller: Party, found: Supply, given: ListingGiven, now_ms: int) -> Listing:
    return Listing(
        id=id_,
        seller=seller,
        source_id=found.source_id,
        site_id=found.site_id,
        pool_id=found.pool_id,
        product=found.product,
        title=given.title,
        window=given.window,
        lots=given.lots,
        min_lots=given.min_lots,
        min_hours=given.min_hours,
        max_hours=min(given.max_hours, given.window.hours),
        price=given.price,
        terms=given.terms,
        state=ListingState.OPEN,
        listed_at_ms=now_ms,
    )


def check(given: ListingGiven, now_ms: int) -> None:
    """Raises InvalidInput, naming the field."""
    faults = (
        (1 <= given.lots <= MAX_LOTS, "lots", f"A listing is of 1 to {MAX_LOTS} lots."),
        (1 <= given.min_lots <= given.lots, "min_lots", "The least is between one lot and all."),
        (
            1 <= given.window.hours <= MAX_HOURS,
            "hours",
            f"A window is of 1 to {MAX_HOURS} hours.",
        ),
        (
            1 <= given.min_hours <= min(given.max_hours, given.window.hours),
            "min_hours",
            "The shortest purchase is at least an hour and fits the longest and the window.",
        ),
        (
            given.window.first_hour > hour_of(now_ms),
            "starts_at",
            "The window begins with a full hour to come.",
        ),
        (
            given.window.first_hour <= hour_of(now_ms) + FARTHEST_HOURS,
            "starts_at",
            "The window begins within three years.",
        ),
        (
            TICK <= given.price <= MAX_PRICE and given.price % TICK == 0,
            "price",
            "A price is between 0.001 and 10,000 yuan, with three decimals at most.",
        ),
        (
            given.price * given.lots * given.window.hours <= MAX_AMOUNT,
            "lots",
            "The listing is worth more than can be booked.",
        ),
    )
    for good, field, message in faults:
        if not good:
            raise InvalidInput("InvalidListing", message, hint="Correct the field.", field=field)
    check_terms(given.terms)


def check_terms(terms: Terms) -> None:
    """Raises InvalidInput, naming the field."""
    percents = {
        "credit_percent": terms.credit_percent,
        "deposit_percent": terms.deposit_percent,
        "cancel_percent": terms.cancel_percent,
    }
    for name, percent in percents.items():
        if not 0 <= percent <= 100:
            raise InvalidInput(
                "InvalidTerms", "A percentage is between 0 and 100.", hint="Correct it.", field=name
            )
    if not 0 <= terms.cancel_hours <= MAX_HOURS:
        raise InvalidInput(
            "InvalidTerms", "A window for cancelling is 0 or more hours.", field="cancel_hours"
        )


def buy(
    tx: Tx, buyer: Party, listing_id: str, period: Period, lots: int, *, key: str | None = None
) -> str:
    """The id of the contract. The same key again gives the same contract.

    Raises NotFound, InvalidInput, LimitExceeded (money or capacity).
    """
    if key is not None:
        tx.serialise(f"purchase:{buyer.project_id}:{key}")
        earlier = store.contract_of_key(tx.conn, buyer.project_id, key)
        if earlier is not None:
            if contracts.get(tx.conn, earlier).reference != listing_id:
                raise key_reused("another listing")
            return earlier
    listing = _locked(tx, listing_id)
    check_purchase(listing, buyer, period, lots, tx.now_ms)
    _require_seller(tx.conn, listing, period)
    if contracts.try_pledge(tx, Source(listing.id, listing.lots), period, lots):
        raise LimitExceeded(
            "SoldOut",
            "So many lots are not left in all of these hours.",
            hint="Take fewer lots, other hours, or another listing.",
            field="lots",
        )
    worth = lots * listing.price * period.hours
    deposit = deposit_of(listing.terms, worth)
    money.set_aside(tx, buyer.project_id, worth)
    if not money.try_set_aside(tx, listing.seller.project_id, deposit):
        raise Conflict(
            "SellerWithoutDeposit",
            "The seller cannot set the deposit aside at present.",
            hint="Buy from another, or try again later.",
        )
    draft = Draft(
        origin=Origin.LISTING,
        reference=listing.id,
        buyer=buyer,
        seller=listing.seller,
        site_id=listing.site_id,
        pool_id=listing.pool_id,
        product=listing.product,
        period=period,
        lots=lots,
        price=listing.price,
        terms=listing.terms,
        deposit=deposit,
        backing_id=listing.backing_id,
    )
    contract_id = contracts.sign(tx, [draft])[0]
    if key is not None:
        store.insert_purchase(tx.conn, buyer.project_id, key, contract_id)
    return contract_id


def check_purchase(listing: Listing, buyer: Party, period: Period, lots: int, now_ms: int) -> None:
    """Raises Conflict or InvalidInput, naming the field. What is left is looked at later."""
    if listing.state is not ListingState.OPEN:
        raise Conflict(
            "ListingClosed", "This listing is not open any more.", hint="Choose another one."
        )
    if buyer.organisation_id == listing.seller.organisation_id:
        raise InvalidInput(
            "OwnListing", "It is your own organisation's.", hint="Use the capacity as it is."
        )
    faults = (
        (
            listing.min_lots <= lots <= listing.lots,
            "lots",
            f"It is sold in {listing.min_lots} to {listing.lots} lots.",
        ),
        (
            listing.min_hours <= period.hours <= listing.max_hours,
            "hours",
            f"It is sold for {listing.min_hours} to {listing.max_hours} hours.",
        ),
        (
            listing.window.covers(period),
            "starts_at",
            "These hours are not within the listing's window.",
        ),
        (
            period.first_hour > hour_of(now_ms),
            "starts_at",
            "A purchase begins with a full hour to come.",
        ),
    )
    for good, field, message in faults:
        if not good:
            raise InvalidInput("OutsideListing", message, hint="See the listing.", field=field)


def _require_seller(conn: Connection, listing: Listing, period: Period) -> None:
    """Raises Conflict where he cannot keep his word."""
    suspended, closed = standing_of(conn, listing.seller)
    if suspended or closed:
        raise Conflict(
            "SellerSuspended" if suspended else "SellerProjectClosed",
            "The seller may not trade at present.",
            hint="Buy from another.",
        )
    if capacity_gone(conn, listing.source_id, listing.product, period):
        raise no_capacity()


def _locked(tx: Tx, listing_id: str) -> Listing:
    found = store.by_id(tx.conn, listing_id, lock=True)
    if found is None:
        raise _missing(listing_id)
    return found


def _missing(listing_id: str) -> NotFound:
    return NotFound("NoSuchListing", f"There is no listing {listing_id}.", hint="See the listings.")


def get(conn: Connection, listing_id: str) -> Listing:
    found = store.by_id(conn, listing_id)
    if found is None:
        raise _missing(listing_id)
    return found


def page(
    conn: Connection,
    search: ListingSearch = ListingSearch(),  # noqa: B008 it is frozen
    *,
    after: str | None = None,
    limit: int = 100,
) -> list[Listing]:
    """`after`: `place_of` the last one that the caller has. Raises InvalidInput."""
    return store.found(conn, search, after=_place(after, search.sort), limit=limit)


def cheapest(conn: Connection) -> dict[Product, int]:
    """The lowest price of each product among open listings."""
    return store.cheapest(conn)


def place_of(listing: Listing, sort: ListingSort) -> str:
    """Where a listing stands in a sorted list: 'price:9000000:lst_…'."""
    value = {
        ListingSort.NEWEST: listing.listed_at_ms,
        ListingSort.PRICE: listing.price,
        ListingSort.STARTS: listing.window.first_hour,
        ListingSort.LOTS: listing.lots,
    }[sort]
    return f"{sort.value}:{value}:{listing.id}"


_PLACE = re.compile(r"(\w+):(\d{1,18}):(\w{1,40})")


def _place(text: str | None, sort: ListingSort) -> tuple[int, str] | None:
    if text is None:
        return None
    found = _PLACE.fullmatch(text)
    if found is None or found[1] != sort.value:
        raise InvalidInput(
            "InvalidCursor",
            "This cursor is not one of this list, sorted so.",
            hint="Begin at the first page, or keep the sort of the page before.",
            field="cursor",
        )
    return int(found[2]), found[3]


def unsold(conn: Connection, found: Sequence[Listing]) -> dict[str, list[tuple[int, int]]]:
    """Listing → (hour, lots left) of every hour of its window."""
    if not found:
        return {}
    first = min(one.window.first_hour for one in found)
    end = max(one.window.end_hour for one in found)
    sold = contracts.pledged(conn, [one.id for one in found], Period(first, end - first))
    return {
        one.id: [
            (hour, one.lots - sold.get((one.id, hour), 0))
            for hour in range(one.window.first_hour, one.window.end_hour)
        ]
        for one in found
    }


def close(tx: Tx, listing_id: str, state: ListingState = ListingState.CLOSED) -> Listing:
    """Take it back; what it has not sold may be sold otherwise. Again, it changes nothing."""
    listing = _locked(tx, listing_id)
    if listing.state is not ListingState.OPEN:
        return listing
    left = unsold(tx.conn, [listing])[listing.id]
    for hour, lots in left:
        require(lots >= 0, "ListingOversold", f"{listing_id} at hour {hour}")
        if lots:
            contracts.give_back(tx, listing.source_id, Period(hour, 1), lots)
    store.close(tx.conn, listing_id, state)
    return listing


def has_ended(conn: Connection, now_ms: int) -> bool:
    """Whether there are open ones whose window is over."""
    return bool(store.ended(conn, hour_of(now_ms)))


def expire(tx: Tx) -> None:
    """End listings whose window is over."""
    for listing_id in store.ended(tx.conn, hour_of(tx.now_ms)):
        store.close(tx.conn, listing_id, ListingState.ENDED)
