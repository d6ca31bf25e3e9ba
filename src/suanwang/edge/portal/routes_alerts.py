"""Surveillance: alerts, and one with what it rests on, what it means and what to do next."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Query
from sqlalchemy.engine import Connection
from starlette.responses import Response

from suanwang.edge.api import routes_alerts as api
from suanwang.edge.api import views_alerts as views
from suanwang.edge.api.paging import PageRequest, decode_cursor
from suanwang.edge.portal import choices, form_fields, reasons
from suanwang.edge.portal.errors import PortalRoute
from suanwang.edge.portal.rendering import Page, SignedIn
from suanwang.edge.portal.routes_admin import answered
from suanwang.edge.portal.trading import words
from suanwang.trade.catalogue.model import Product
from suanwang.trade.market import instruments as naming
from suanwang.trade.market import watch
from suanwang.trade.market.model import Instrument
from suanwang.trade.market.surveillance import AlertKind

router = APIRouter(route_class=PortalRoute, prefix="/market/alerts")
PAGE = 50
STEPS = 3
"""Texts of what to do next, by kind."""


@router.get("")
async def list_alerts(
    page: SignedIn,
    kind: Annotated[str, Query(max_length=20)] = "",
    product: Annotated[str, Query(max_length=125)] = "",
    state: Annotated[str, Query(max_length=10)] = "",
    cursor: Annotated[str, Query(max_length=400)] = "",
) -> Response:
    wanted = PageRequest(decode_cursor(cursor) if cursor else None, PAGE)
    kinds = [one.value for one in AlertKind]
    chosen = form_fields.product(product) if product else {}
    found = await api.list_alerts(
        page.principal,
        page.context,
        wanted,
        state == "all",
        AlertKind(kind) if kind in kinds else None,
        **chosen,
    )

    def query(conn: Connection) -> dict[str, Any]:
        about = [of for one in found.items for of in one.organisations]
        return {"names": choices.names_of(conn, about), "products": watch.products(conn)}

    return page.render(
        "alerts.html",
        alerts=[(one, Product(one.unit_class, one.zone)) for one in found.items],
        next_cursor=found.next_cursor,
        cursor=cursor,
        kind=kind,
        kinds=kinds,
        product=product,
        state=state,
        **words(page),
        **await page.context.database.read(query),
    )


async def _show(
    page: Page,
    alert: str,
    problem: reasons.Problem | None = None,
    form: dict[str, str] | None = None,
) -> Response:
    found = await api.get_alert(alert, page.principal, page.context)
    return page.render(
        "alert.html",
        problem.status if problem else 200,
        one=found,
        product=Product(found.unit_class, found.zone),
        books=_books(found),
        instrument_of=naming.parse,
        steps=range(1, STEPS + 1),
        names=await page.context.database.read(
            lambda conn: choices.names_of(conn, _organisations(found))
        ),
        problem=problem,
        form=form or {},
        **words(page),
    )


def _organisations(found: views.AlertDetail) -> Iterable[str]:
    yield from found.organisations
    for one in found.contracts:
        yield from (one.buyer_organisation_id, one.seller_organisation_id)


def _books(found: views.AlertDetail) -> list[Instrument]:
    """Those that the operator may want to halt."""
    return [naming.parse(name) for name in sorted({one.instrument for one in found.orders})]


@router.get("/{alert}")
async def show_alert(page: SignedIn, alert: str) -> Response:
    return await _show(page, alert)


@router.post("/{alert}/close")
async def close(page: SignedIn, alert: str) -> Response:
    async def change(form: dict[str, str]) -> None:
        body = views.NoteRequest(note=form.get("note", "").strip())
        await api.close_alert(alert, body, page.principal, page.context)

    async def show(problem: reasons.Problem, form: dict[str, str]) -> Response:
        return await _show(page, alert, problem, form)

    return await answered(page, change, f"/market/alerts/{alert}?done=alert_closed", show)
