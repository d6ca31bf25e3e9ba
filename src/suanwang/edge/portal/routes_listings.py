"""Listings: capacity at posted prices, looked through, bought from, put up and taken back."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from pydantic import ValidationError
from sqlalchemy.engine import Connection
from starlette.responses import Response

from suanwang.edge.api import routes_listings as api
from suanwang.edge.api import views_market as views
from suanwang.edge.api.paging import decode_cursor, encode_cursor
from suanwang.edge.portal import reasons
from suanwang.edge.portal.errors import PortalRoute
from suanwang.edge.portal.form_fields import field_time, moment, whole
from suanwang.edge.portal.rendering import AnyPage, Page, SignedIn
from suanwang.edge.portal.routes_admin import answered, given
from suanwang.edge.portal.trading import (
    Seat,
    bars,
    place_names,
    seat,
    sources,
    words,
)
from suanwang.kernel.errors import InvalidInput, SuanwangError
from suanwang.kernel.time import hour_of
from suanwang.platform.entropy import nonce_text
from suanwang.tenancy.model import Action
from suanwang.trade.catalogue.model import Period
from suanwang.trade.contracts import service as contracts
from suanwang.trade.contracts.model import Party, Reputation
from suanwang.trade.market import listings
from suanwang.trade.market.model import (
    STANDARD,
    Listing,
    ListingSearch,
    ListingSort,
    ListingState,
    Term,
)
from suanwang.trade.market.supply import products

router = APIRouter(route_class=PortalRoute, prefix="/market/listings")
PAGE = 50
SORTS = [one.value for one in ListingSort]
BARS, SMALL_BARS = 168, 24
Project = Annotated[str, Query(alias="project", max_length=128)]
Word = Annotated[str, Query(max_length=60)]


@dataclass(frozen=True)
class ListingRow:
    """A listing with what is left of it from the next hour on."""

    listing: Listing
    site: str
    left: list[tuple[int, int]]
    """(hour, lots)."""
    delivered_milli: int | None
    """Of what its seller promised in ninety days."""

    @property
    def most(self) -> int:
        return max((lots for _, lots in self.left), default=0)

    @property
    def small(self) -> list[tuple[int, int, int]]:
        return bars(self.left, SMALL_BARS)


def _delivered(seller: Reputation | None) -> int | None:
    return seller.delivered_milli if seller is not None else None


def _rows(conn: Connection, page: Page, found: list[Listing]) -> list[ListingRow]:
    names = place_names(conn) if page.known is not None else {}
    left = listings.unsold(conn, found)
    known = contracts.reputations(conn, page.now_ms)
    now = hour_of(page.now_ms)
    return [
        ListingRow(
            one,
            names.get(one.site_id, ""),
            [(hour, lots) for hour, lots in left[one.id] if hour > now],
            _delivered(known.get(one.seller.organisation_id)),
        )
        for one in found
    ]


@router.get("")
async def list_listings(
    page: AnyPage,
    q: Annotated[str, Query(max_length=120)] = "",
    unit_class: Word = "",
    zone: Word = "",
    sort: Annotated[str, Query(max_length=20)] = "",
    mine: Annotated[str, Query(max_length=5)] = "",
    cursor: Annotated[str, Query(max_length=400)] = "",
) -> Response:
    """No account is needed, as the API needs none; the sites' names are for those signed in."""
    own = page.principal.organisation_id if mine == "yes" and page.known is not None else None
    by = ListingSort(sort) if sort in SORTS else ListingSort.NEWEST

    def query(conn: Connection) -> dict[str, Any]:
        names = place_names(conn) if page.known is not None else {}
        search = ListingSearch(
            organisation_id=own,
            state=None if own else ListingState.OPEN,
            unit_class=unit_class or None,
            zone=zone or None,
            terms=tuple(Term(word, _places(names, word)) for word in api.words_of(q)),
            sort=by,
        )
        after = decode_cursor(cursor) if cursor else None
        found = listings.page(conn, search, after=after, limit=PAGE + 1)
        known = sorted({*products(conn), *listings.cheapest(conn)})
        more = listings.place_of(found[PAGE - 1], by) if len(found) > PAGE else None
        return {
            "rows": _rows(conn, page, found[:PAGE]),
            "next_cursor": encode_cursor(more) if more else None,
            "classes": sorted({one.unit_class for one in known}),
            "zones": sorted({one.zone for one in known}),
        }

    return page.render(
        "listings.html",
        listing_search=q,
        unit_class=unit_class,
        zone=zone,
        sort=by.value,
        sorts=SORTS,
        mine=mine,
        cursor=cursor,
        is_narrowed=bool(q.strip() or unit_class or zone or own),
        **words(page),
        **await page.context.database.read(query),
    )


def _places(names: dict[str, str], word: str) -> tuple[str, ...]:
    """Sites and pools whose names have the word."""
    return tuple(id_ for id_, name in names.items() if word.casefold() in name.casefold())


# --- put one up --------------------------------------------------------------------------------

_TERMS = ("credit_percent", "deposit_percent", "cancel_hours", "cancel_percent")


async def _new(
    page: Page,
    project: str = "",
    problem: reasons.Problem | None = None,
    form: dict[str, str] | None = None,
) -> Response:
    def query(conn: Connection) -> dict[str, Any]:
        found = seat(conn, page, project)
        if found is None:
            return {"seat": None, "sources": []}
        names = place_names(conn)
        return {"seat": found, "sources": sources(conn, [found.project], names, page.now_ms)}

    start = {
        "starts_at": field_time(hour_of(page.now_ms) + 2),
        "hours": "24",
        "min_lots": "1",
        "min_hours": "1",
        "source": page.request.query_params.get("source", "")[:40],
        **{name: str(getattr(STANDARD, name)) for name in _TERMS},
    }
    return page.render(
        "listing_new.html",
        problem.status if problem else 200,
        problem=problem,
        form=form if form is not None else start,
        **words(page),
        **await page.context.database.read(query),
    )


@router.get("/new")
async def listing_form(page: SignedIn, project: Project = "") -> Response:
    return await _new(page, project)


@router.post("/new")
async def post_listing(page: SignedIn) -> Response:
    form = await page.form()
    try:
        body = views.ListingRequest.model_validate(_listing_of(form))
        made = await api.post_listing(body, page.principal, page.context)
    except ValidationError as error:
        problem = reasons.invalid(page.language, list(error.errors()))
        return await _new(page, form.get("project", ""), problem, form)
    except SuanwangError as error:
        return await _new(page, form.get("project", ""), page.problem(error), form)
    return page.redirect(f"/market/listings/{made.id}?done=listed")


def _listing_of(form: dict[str, str]) -> dict[str, Any]:
    numbers = {
        name: whole(form[name])
        for name in ("hours", "lots", "min_lots", "min_hours", "max_hours")
        if form.get(name, "").strip()
    }
    return {
        **given(form, "project", "source", "title"),
        **numbers,
        "starts_at": moment(form.get("starts_at", "")),
        "price": {"yuan": form.get("price", "").strip()},
        "terms": {name: whole(form[name]) for name in _TERMS if form.get(name, "").strip()},
    }


# --- one listing -------------------------------------------------------------------------------


async def _page(
    page: Page,
    listing: str,
    project: str = "",
    problem: reasons.Problem | None = None,
    form: dict[str, str] | None = None,
) -> Response:
    def query(conn: Connection) -> dict[str, Any]:
        found = listings.get(conn, listing)
        (row,) = _rows(conn, page, [found])
        owner = found.seller
        mine = page.principal.readable_projects if page.known is not None else []
        return {
            "row": row,
            "signed": bool(mine)
            and contracts.page(conn, buyers=mine, sellers=mine, reference=found.id, limit=1),
            "seat": seat(conn, page, project),
            "own": page.may(Action.TRADE, owner.organisation_id, owner.project_id),
        }

    shown = await page.context.database.read(query)
    row: ListingRow = shown["row"]
    first = next((hour for hour, lots in row.left if lots), hour_of(page.now_ms) + 1)
    one = row.listing
    start = {
        "starts_at": field_time(first),
        "hours": str(one.min_hours),
        "lots": str(one.min_lots),
    }
    return page.render(
        "listing.html",
        problem.status if problem else 200,
        problem=problem,
        form=form if form is not None else start,
        key=nonce_text(),
        bars=bars(row.left, BARS),
        **words(page),
        **shown,
    )


@router.get("/{listing}")
async def show_listing(page: AnyPage, listing: str, project: Project = "") -> Response:
    return await _page(page, listing, project)


@router.get("/{listing}/total")
async def say_total(page: SignedIn, listing: str) -> Response:
    """Called as one fills the form in: what the purchase comes to, or why it cannot be made."""
    form = dict(page.request.query_params)

    def query(conn: Connection) -> tuple[ListingRow, Seat | None]:
        (row,) = _rows(conn, page, [listings.get(conn, listing)])
        return row, seat(conn, page, form.get("project", ""))

    row, found = await page.context.database.read(query)
    problem, body = None, None
    try:
        body = views.PurchaseRequest.model_validate(_purchase_of(form))
        period = body.period()
        if found is not None:
            buyer = Party(found.project.organisation_id, found.project.id)
            listings.check_purchase(row.listing, buyer, period, body.lots, page.now_ms)
        _require_left(row, period, body.lots)
    except ValidationError as error:
        problem = reasons.invalid(page.language, list(error.errors()))
    except SuanwangError as error:
        problem = page.problem(error)
    return page.render(
        "listing_total.html",
        problem=problem,
        lots=body.lots if body else 0,
        hours=body.hours if body else 0,
        worth=body.lots * body.hours * row.listing.price if body else 0,
        price=row.listing.price,
        available=found.available if found else 0,
    )


def _require_left(row: ListingRow, period: Period, lots: int) -> None:
    left = dict(row.left)
    if any(left.get(hour, 0) < lots for hour in range(period.first_hour, period.end_hour)):
        raise InvalidInput(
            "SoldOut", "So many lots are not left in all of these hours.", hint="", field="lots"
        )


def _purchase_of(form: dict[str, str]) -> dict[str, Any]:
    return {
        "starts_at": moment(form.get("starts_at", "")),
        "hours": whole(form.get("hours", "")),
        "lots": whole(form.get("lots", "")),
        **given(form, "project"),
    }


@router.post("/{listing}/buy")
async def buy(page: SignedIn, listing: str) -> Response:
    """A form sent twice is one purchase: its key is made of the page and what it says."""
    form = await page.form()
    try:
        wanted = _purchase_of(form)
        digest = hashlib.sha256(msgspec.json.encode([listing, wanted])).hexdigest()
        key = f"portal-{form.get('key', '')[:24]}-{digest[:24]}"
        body = views.PurchaseRequest.model_validate({**wanted, "key": key})
        made = await api.buy_listing(listing, body, page.principal, page.context)
    except ValidationError as error:
        problem = reasons.invalid(page.language, list(error.errors()))
        return await _page(page, listing, form.get("project", ""), problem, form)
    except SuanwangError as error:
        return await _page(page, listing, form.get("project", ""), page.problem(error), form)
    return page.redirect(f"/contracts/{made.id}?done=bought")


@router.post("/{listing}/close")
async def close(page: SignedIn, listing: str) -> Response:
    async def change(_: dict[str, str]) -> None:
        await api.close_listing(listing, page.principal, page.context)

    async def show(problem: reasons.Problem, _: dict[str, str]) -> Response:
        return await _page(page, listing, "", problem)

    return await answered(page, change, f"/market/listings/{listing}?done=listing_closed", show)
