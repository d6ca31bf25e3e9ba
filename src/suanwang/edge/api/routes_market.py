"""The continuous market over HTTP: books and tapes for everybody, orders for those who trade."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from sqlalchemy.engine import Connection
from starlette.responses import Response

from suanwang.edge.api import views_market as views
from suanwang.edge.api.auth import require_scope
from suanwang.edge.api.context import Context
from suanwang.edge.api.paging import Page, Paging
from suanwang.edge.api.routes_jobs import context_of
from suanwang.edge.api.views import json_response
from suanwang.kernel.errors import NotFound, SuanwangError
from suanwang.platform.database import Tx
from suanwang.tenancy import model as tenancy_model
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.audit import audit
from suanwang.tenancy.model import Action, Principal, Scope
from suanwang.tenancy.rules import require_may
from suanwang.trade.contracts.model import Party
from suanwang.trade.market import instruments as naming
from suanwang.trade.market import reading
from suanwang.trade.market.amending import amend
from suanwang.trade.market.model import Answer, Order, OrderState
from suanwang.trade.market.supply import pools_of

router = APIRouter(prefix="/v1/market", tags=["market"])

Ctx = Annotated[Context, Depends(context_of)]
Reader = Annotated[Principal, Depends(require_scope(Scope.MARKET_READ))]
Trader = Annotated[Principal, Depends(require_scope(Scope.MARKET_WRITE))]
Identity = Annotated[str, Path(max_length=140)]
Word = Annotated[str | None, Query(max_length=60)]
Project = Annotated[str | None, Query(max_length=128, description="The caller's, if absent.")]


class OrderRefused(SuanwangError):
    """The one order of a request was not taken; its reason is the book's."""

    status = 409


def party_of(conn: Connection, principal: Principal, project: str | None) -> Party:
    """The caller as one who commits money or capacity of a project."""
    found = _project(conn, principal, project, Action.TRADE)
    return Party(found.organisation_id, found.id, principal.user_id)


def _project(
    conn: Connection, principal: Principal, project: str | None, action: Action
) -> tenancy_model.Project:
    try:
        return tenancy.project_of(conn, principal, project, action)
    except NotFound as error:
        error.field = "project" if project is not None else None
        raise


def projects_read(conn: Connection, principal: Principal, project: str | None) -> Sequence[str]:
    """The projects whose orders and contracts he asks for: one that he names, else all of his."""
    if project is not None:
        return [_project(conn, principal, project, Action.READ_MARKET).id]
    return principal.readable_projects


@router.get("/products")
async def list_products(context: Ctx) -> views.ProductsView:
    """What may be traded: classes in zones, and the standard periods. No account is needed."""
    now_ms = context.clock.now_ms()
    found = await context.database.read(pools_of)
    return views.ProductsView.of(found, naming.standard_periods(now_ms))


@router.get("/instruments")
async def list_instruments(
    context: Ctx,
    unit_class: Word = None,
    zone: Word = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 200,
) -> list[views.QuotedView]:
    """What is traded now, the nearest delivery first. No account is needed."""
    found = await context.database.read(
        lambda conn: reading.board(conn, unit_class=unit_class, zone=zone, limit=limit)
    )
    return [views.QuotedView.of(one) for one in found]


@router.get("/books/{instrument}")
async def get_book(
    instrument: Identity, context: Ctx, levels: Annotated[int, Query(ge=1, le=200)] = 20
) -> views.BookView:
    """Depth of one instrument. No account is needed."""
    wanted = naming.parse(instrument)
    return views.BookView.of(
        await context.database.read(lambda conn: reading.depth(conn, wanted, levels))
    )


@router.get("/trades")
async def list_trades(
    context: Ctx,
    page: Paging,
    instrument: Annotated[str | None, Query(max_length=140)] = None,
) -> Page[views.TradeView]:
    """The tape, the latest first. No account is needed, and no names are on it."""
    of = naming.parse(instrument) if instrument is not None else None
    rows = await context.database.read(
        lambda conn: reading.trades(conn, instrument=of, before=page.after, limit=page.fetch)
    )
    return page.of(rows, lambda one: one.id, views.TradeView.of)


async def _place(
    context: Ctx, principal: Principal, project: str | None, orders: Sequence[views.OrderBody]
) -> list[Answer]:
    given = [(naming.parse(one.instrument), one.given()) for one in orders]

    def use_case(tx: Tx) -> list[Answer]:
        return context.books.place(tx, party_of(tx.conn, principal, project), given)

    return await context.database.write(use_case)


@router.post("/orders", status_code=201)
async def place_order(
    body: views.OrderRequest, principal: Trader, context: Ctx
) -> views.AnswerView:
    """One order. A refusal by the book is a problem with its named reason."""
    (answer,) = await _place(context, principal, body.project, [body])
    if answer.order is None:
        raise OrderRefused(
            answer.reason or "Refused",
            answer.detail,
            hint="Change the order and send it again.",
            field=answer.field,
        )
    return views.AnswerView.of(answer)


@router.post("/orders/batch", response_model=list[views.AnswerView])
async def place_orders(body: views.BatchRequest, principal: Trader, context: Ctx) -> Response:
    """Many orders of one project in their order; each is answered for itself."""
    answers = await _place(context, principal, body.project, body.orders)
    return json_response([views.answer_fields(one) for one in answers])


@router.get("/orders")
async def list_orders(
    principal: Reader,
    context: Ctx,
    page: Paging,
    project: Project = None,
    state: OrderState | None = None,
) -> Page[views.OrderView]:
    """One's own orders, the latest first."""

    def query(conn: Connection) -> Page[views.OrderView]:
        rows = reading.orders(
            conn,
            projects_read(conn, principal, project),
            state=state,
            before=page.after,
            limit=page.fetch,
        )
        return page.of(rows, lambda one: one.id, views.OrderView.of)

    return await context.database.read(query)


def order_for(conn: Connection, principal: Principal, order_id: str, action: Action) -> Order:
    found = reading.order(conn, order_id)
    require_may(
        principal,
        action,
        found.party.organisation_id,
        found.party.project_id,
        kind="order",
        identity=order_id,
    )
    return found


@router.get("/orders/{order}")
async def get_order(order: Identity, principal: Reader, context: Ctx) -> views.OrderView:
    def query(conn: Connection) -> views.OrderView:
        return views.OrderView.of(order_for(conn, principal, order, Action.READ_MARKET))

    return await context.database.read(query)


@router.patch("/orders/{order}")
async def amend_order(
    order: Identity, body: views.AmendRequest, principal: Trader, context: Ctx
) -> views.AmendedView:
    """Change an order at rest. Fewer lots keep its place; another price or more lots make a new
    order behind the others, in one step: refused, the old one stands as it was."""
    limit = body.price.amount("price") if body.price is not None else None

    def use_case(tx: Tx) -> views.AmendedView:
        found = order_for(tx.conn, principal, order, Action.TRADE)
        party = party_of(tx.conn, principal, found.party.project_id)
        made = amend(tx, context.books, party, found, body.lots, limit, key=body.key)
        return views.AmendedView(
            **views.AnswerView.of(made.answer).model_dump(),
            kept_place=made.kept_place,
            replaces=None if made.kept_place else order,
        )

    return await context.database.write(use_case)


@router.post("/orders/{order}/cancel")
async def cancel_order(order: Identity, principal: Trader, context: Ctx) -> views.OrderView:
    """Take what is left of it out of the book."""

    def use_case(tx: Tx) -> views.OrderView:
        found = order_for(tx.conn, principal, order, Action.TRADE)
        return views.OrderView.of(context.books.cancel(tx, found))

    return await context.database.write(use_case)


@router.post("/books/{instrument}/steer")
async def steer_book(
    instrument: Identity, body: views.HaltRequest, principal: Trader, context: Ctx
) -> views.BookView:
    """Halt a book or let it go on, set its band. For the operator."""
    require_may(principal, Action.STEER_MARKET, principal.organisation_id)
    wanted = naming.parse(instrument)
    given = body.model_fields_set
    band = {
        name: bound.amount(name) if bound is not None else None
        for name, bound in (("low", body.low), ("high", body.high))
        if name in given
    }

    def use_case(tx: Tx) -> views.BookView:
        context.books.steer(tx, wanted, halted=body.halted, band=band)
        detail = {"halted": body.halted, **band, "reason": body.reason}
        audit(tx, principal, "book.steer", "instrument", instrument, detail)
        return views.BookView.of(reading.depth(tx.conn, wanted))

    return await context.database.write(use_case)
