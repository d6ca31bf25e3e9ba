"""The board of the continuous market, one's own orders, and the way to any book."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from sqlalchemy.engine import Connection
from starlette.responses import Response, StreamingResponse

from suanwang.edge.api.paging import decode_cursor, encode_cursor
from suanwang.edge.portal.errors import PortalRoute
from suanwang.edge.portal.rendering import AnyPage, SignedIn
from suanwang.edge.portal.routes_admin import given
from suanwang.edge.portal.routes_overview import changes
from suanwang.edge.portal.trading import filled_in, supplied, url_of, words
from suanwang.tenancy.model import Action
from suanwang.trade.catalogue.model import Product
from suanwang.trade.market import figures, reading
from suanwang.trade.market import instruments as naming
from suanwang.trade.market.model import Instrument, Order, OrderState

router = APIRouter(route_class=PortalRoute)
BOARD, TAPE, MINE = 400, 20, 100
LEVELS = 200
"""Of a book that a reader follows."""

Word = Annotated[str, Query(max_length=60)]


@dataclass(frozen=True)
class Shelf:
    """A product: what there is of it, what of it is traded, and where one could begin."""

    product: Product
    lots: int
    lately: figures.Glance | None
    rows: list[reading.Quoted]
    starts: list[Instrument]


def _shelves(
    conn: Connection, now_ms: int, unit_class: str, zone: str, hours: int | None
) -> list[Shelf]:
    lots = supplied(conn)
    lately = {one.product: one for one in figures.glances(conn, now_ms)}
    quoted = reading.board(conn, unit_class=unit_class or None, zone=zone or None, limit=BOARD)
    rows: dict[Product, list[reading.Quoted]] = {}
    for one in quoted:
        if hours is None or one.instrument.period.hours == hours:
            rows.setdefault(one.instrument.product, []).append(one)
    wanted = [
        product
        for product in sorted({*lots, *rows})
        if unit_class in ("", product.unit_class) and zone in ("", product.zone)
    ]
    periods = naming.standard_periods(now_ms)
    first = {one.hours: one for one in reversed(periods)}
    return [
        Shelf(
            product,
            lots.get(product, 0),
            lately.get(product),
            rows.get(product, []),
            [Instrument(product, first[size]) for size in naming.HOURS],
        )
        for product in wanted
    ]


@router.get("/market")
async def board(
    page: AnyPage, unit_class: Word = "", zone: Word = "", hours: Word = ""
) -> Response:
    """No account is needed, as the API needs none."""
    size = int(hours) if hours.isdigit() and int(hours) in naming.HOURS else None

    def query(conn: Connection) -> dict[str, Any]:
        products = sorted(supplied(conn))
        return {
            "shelves": _shelves(conn, page.now_ms, unit_class, zone, size),
            "tape": reading.trades(conn, limit=TAPE),
            "products": products,
            "classes": sorted({one.unit_class for one in products}),
            "zones": sorted({one.zone for one in products}),
        }

    return page.render(
        "market_board_parts.html" if page.is_fragment else "market.html",
        unit_class=unit_class,
        zone=zone,
        hours=hours if size else "",
        sizes=naming.HOURS,
        periods=naming.standard_periods(page.now_ms),
        suffix_of=naming.suffix_of,
        **words(page),
        **await page.context.database.read(query),
    )


@router.get("/market/orders")
async def my_orders(
    page: SignedIn,
    state: Annotated[str, Query(max_length=5)] = "",
    cursor: Annotated[str, Query(max_length=400)] = "",
) -> Response:
    """One's own, of every instrument."""
    wanted = OrderState.OPEN if state == "open" else None

    def query(conn: Connection) -> list[Order]:
        mine = page.principal.readable_projects
        before = decode_cursor(cursor) if cursor else None
        return reading.orders(conn, mine, state=wanted, before=before, limit=MINE + 1)

    found = await page.context.database.read(query)
    return page.render(
        "orders_live.html" if page.is_fragment else "orders.html",
        orders=found[:MINE],
        next_cursor=encode_cursor(found[MINE - 1].id) if len(found) > MINE else None,
        cursor=cursor,
        state=state,
        may_trade={
            one.id: page.may(Action.TRADE, one.party.organisation_id, one.party.project_id)
            for one in found
            if one.state is OrderState.OPEN
        },
        **words(page),
    )


@router.get("/market/go")
async def go(
    page: AnyPage,
    product: Annotated[str, Query(max_length=122)] = "",
    period: Annotated[str, Query(max_length=20)] = "",
) -> Response:
    """Of the picker: any standard period of any product, traded before or not; what the ticket is
    to say goes along."""
    there = url_of(naming.parse(f"{product}:{period}"))
    kept = {**filled_in(page), **given(dict(page.request.query_params), "project")}
    return page.redirect(f"{there}?{urlencode(kept)}" if kept else there)


@router.get("/market/events")
async def events(
    page: SignedIn, instrument: Annotated[str, Query(max_length=140)] = ""
) -> Response:
    """Server-sent: `changed` when a book has, or the board if none is named."""
    wanted = naming.parse(instrument) if instrument else None

    def picture(conn: Connection) -> tuple[Any, ...]:
        last = reading.trades(conn, instrument=wanted, limit=1)
        if wanted is None:
            return (*reading.board(conn, limit=BOARD), *last)
        return (reading.depth(conn, wanted, LEVELS), *last)

    return StreamingResponse(
        changes(page, picture),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store"},
    )
