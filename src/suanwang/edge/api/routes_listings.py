"""Listings over HTTP: capacity at a posted price, bought at once."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy.engine import Connection

from suanwang.edge.api import views_market as views
from suanwang.edge.api.money import Money
from suanwang.edge.api.paging import Page, Paging
from suanwang.edge.api.routes_market import Ctx, Identity, Trader, Word, party_of
from suanwang.edge.api.views import instant
from suanwang.edge.api.views_contracts import ContractView
from suanwang.kernel.time import MS_PER_HOUR
from suanwang.platform.database import Tx
from suanwang.tenancy.audit import audit
from suanwang.tenancy.model import Action
from suanwang.tenancy.rules import require_may
from suanwang.trade.contracts import service as contracts
from suanwang.trade.market import listings
from suanwang.trade.market.listings import MAX_HOURS, ListingGiven
from suanwang.trade.market.model import Listing, ListingSearch, ListingSort, ListingState, Term

router = APIRouter(prefix="/v1/market/listings", tags=["market"])
Organisation = Annotated[str | None, Query(max_length=40, description="Id of the seller.")]
Query_ = Annotated[
    str, Query(max_length=120, description="Words of title, class, zone or id; all are met.")
]


class Shown(StrEnum):
    """Of listings: those in a state, or all of them."""

    OPEN = "open"
    CLOSED = "closed"
    ENDED = "ended"
    GONE = "gone"
    ANY = "any"

    @property
    def state(self) -> ListingState | None:
        return None if self is Shown.ANY else ListingState(self.value)


@router.get("")
async def list_listings(
    context: Ctx,
    page: Paging,
    organisation: Organisation = None,
    state: Shown = Shown.OPEN,
    q: Query_ = "",
    unit_class: Word = None,
    zone: Word = None,
    sort: ListingSort = ListingSort.NEWEST,
) -> Page[views.ListingView]:
    """What is listed. No account is needed."""
    terms = tuple(map(Term, words_of(q)))
    search = ListingSearch(organisation, state.state, unit_class, zone, terms, sort)

    def query(conn: Connection) -> Page[views.ListingView]:
        rows = listings.page(conn, search, after=page.after, limit=page.fetch)
        left = listings.unsold(conn, rows)
        known = contracts.reputations(conn, context.clock.now_ms())

        def view(one: Listing) -> views.ListingView:
            return views.ListingView.of(one, left[one.id], known.get(one.seller.organisation_id))

        return page.of(rows, lambda one: listings.place_of(one, sort), view)

    return await context.database.read(query)


def words_of(text: str) -> list[str]:
    """Of a search; more than eight tell nothing more."""
    return text.split()[:8]


@router.get("/{listing}")
async def get_listing(listing: Identity, context: Ctx) -> views.ListingDetail:
    """One listing, and what is left of it in each hour. No account is needed."""
    now_ms = context.clock.now_ms()
    return await context.database.read(
        lambda conn: detail(conn, listings.get(conn, listing), now_ms)
    )


def detail(conn: Connection, found: Listing, now_ms: int) -> views.ListingDetail:
    left = listings.unsold(conn, [found])[found.id]
    seller = contracts.reputations(conn, now_ms).get(found.seller.organisation_id)
    return views.ListingDetail(
        **views.ListingView.of(found, left, seller).model_dump(),
        unsold=[views.HourLeft(at=instant(hour * MS_PER_HOUR), lots=lots) for hour, lots in left],
    )


@router.post("", status_code=201)
async def post_listing(
    body: views.ListingRequest, principal: Trader, context: Ctx
) -> views.ListingDetail:
    """List capacity. It is set aside from now on, so that whoever buys gets it."""
    given = ListingGiven(
        source_id=body.source,
        window=body.period(),
        lots=body.lots,
        price=body.price.amount("price"),
        title=body.title,
        min_lots=body.min_lots,
        min_hours=body.min_hours,
        max_hours=body.max_hours or MAX_HOURS,
        terms=body.terms.terms(),
    )

    def use_case(tx: Tx) -> views.ListingDetail:
        seller = party_of(tx.conn, principal, body.project)
        made = listings.post(tx, seller, given)
        audit(tx, principal, "listing.post", "listing", made.id, {"lots": made.lots})
        return detail(tx.conn, made, tx.now_ms)

    return await context.database.write(use_case)


@router.post("/{listing}/buy", status_code=201)
async def buy_listing(
    listing: Identity, body: views.PurchaseRequest, principal: Trader, context: Ctx
) -> ContractView:
    """Buy some of its lots for some of its hours. The same key is the same purchase."""
    period = body.period()

    def use_case(tx: Tx) -> ContractView:
        buyer = party_of(tx.conn, principal, body.project)
        made = listings.buy(tx, buyer, listing, period, body.lots, key=body.key)
        contract = contracts.get(tx.conn, made)
        worth = Money.of(contract.hourly * contract.period.hours).yuan
        audit(tx, principal, "listing.buy", "contract", made, {"listing": listing, "yuan": worth})
        return ContractView.of(contract, tx.now_ms)

    return await context.database.write(use_case)


@router.post("/{listing}/close")
async def close_listing(listing: Identity, principal: Trader, context: Ctx) -> views.ListingDetail:
    """Take it back. What was bought stays bought."""

    def use_case(tx: Tx) -> views.ListingDetail:
        found = listings.get(tx.conn, listing)
        require_may(
            principal,
            Action.TRADE,
            found.seller.organisation_id,
            found.seller.project_id,
            kind="listing",
            identity=listing,
        )
        listings.close(tx, listing)
        audit(tx, principal, "listing.close", "listing", listing, {})
        return detail(tx.conn, listings.get(tx.conn, listing), tx.now_ms)

    return await context.database.write(use_case)
