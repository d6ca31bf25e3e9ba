"""The call auction over HTTP: rounds and prices for everybody, orders for those who trade."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy.engine import Connection

from suanwang.edge.api import views_auctions as views
from suanwang.edge.api.paging import Page, Paging
from suanwang.edge.api.routes_market import (
    Ctx,
    Identity,
    Project,
    Reader,
    Trader,
    party_of,
    projects_read,
)
from suanwang.platform.database import Tx
from suanwang.tenancy.audit import audit
from suanwang.tenancy.model import Action, Principal
from suanwang.tenancy.rules import not_found, require_may
from suanwang.trade.market import auction_clearing as clearing
from suanwang.trade.market import auctions
from suanwang.trade.market.auction_bids import parse, product_of
from suanwang.trade.market.auction_model import PriceRow, Round, Standing

router = APIRouter(prefix="/v1/auctions", tags=["market"])
ProductName = Annotated[
    str | None, Query(max_length=125, alias="product", examples=["a100-80g@henan"])
]


# --- rounds and what is published ----------------------------------------------------------------


@router.get("")
async def list_rounds(context: Ctx, page: Paging) -> Page[views.RoundView]:
    """Rounds, the latest day first. No account is needed."""
    rows = await context.database.read(
        lambda conn: auctions.rounds(conn, before=page.after, limit=page.fetch)
    )
    return page.of(rows, lambda one: one.day, views.RoundView.of)


@router.get("/links")
async def list_links(context: Ctx) -> list[views.LinkView]:
    """Links between zones with which rounds open. No account is needed."""
    return [views.LinkView.of(one) for one in await context.database.read(auctions.links)]


@router.get("/{round}")
async def get_round(round: Identity, context: Ctx) -> views.RoundView:
    """By id or by day. No account is needed."""
    found = await context.database.read(lambda conn: auctions.round_of(conn, round))
    return views.RoundView.of(found)


async def _rows(context: Ctx, name: str, product: str | None) -> tuple[Round, list[PriceRow]]:
    of = product_of(product) if product is not None else None

    def query(conn: Connection) -> tuple[Round, list[PriceRow]]:
        found = auctions.round_of(conn, name)
        return found, auctions.prices(conn, found, of)

    return await context.database.read(query)


@router.get("/{round}/prices")
async def list_prices(
    round: Identity, context: Ctx, product: ProductName = None
) -> list[views.PriceView]:
    """The prices of a cleared round, by product and hour. No account is needed."""
    found, rows = await _rows(context, round, product)
    return [views.PriceView.of(one, found) for one in rows]


@router.get("/{round}/curves")
async def list_curves(
    round: Identity,
    context: Ctx,
    product: ProductName = None,
    hour: Annotated[int | None, Query(ge=0, le=23)] = None,
) -> list[views.CurveView]:
    """Demand and supply by product and hour, once it is cleared. No account is needed."""
    found, rows = await _rows(context, round, product)
    return [views.CurveView.of(one, found) for one in rows if hour in (None, one.hour)]


# --- the operator --------------------------------------------------------------------------------


@router.post("", status_code=201)
async def open_round(body: views.OpenRequest, principal: Trader, context: Ctx) -> views.RoundView:
    """Open the round of a day by hand. For the operator."""
    timetable = context.auctioneer.timetable
    return await _steered(
        context, principal, "open", lambda tx: auctions.open_round(tx, body.day, timetable)
    )


@router.post("/links")
async def set_links(
    body: views.LinksRequest, principal: Trader, context: Ctx
) -> list[views.LinkView]:
    """Links between zones for rounds that open from now on. For the operator."""
    require_may(principal, Action.STEER_MARKET, principal.organisation_id)

    def use_case(tx: Tx) -> list[views.LinkView]:
        made = auctions.set_links(tx, body.given())
        detail = {"links": [f"{one.source}>{one.target}:{one.lots}" for one in made]}
        audit(tx, principal, "auction.links", "auction", "links", detail)
        return [views.LinkView.of(one) for one in made]

    return await context.database.write(use_case)


@router.post("/{round}/links")
async def set_round_links(
    round: Identity, body: views.LinksRequest, principal: Trader, context: Ctx
) -> views.RoundView:
    """Links between zones of one open round. For the operator."""

    def use_case(tx: Tx) -> Round:
        auctions.set_links(tx, body.given(), round)
        return auctions.round_of(tx.conn, round)

    return await _steered(context, principal, "links", use_case)


@router.post("/{round}/close")
async def close_round(round: Identity, principal: Trader, context: Ctx) -> views.RoundView:
    """No order is taken any more. For the operator."""
    return await _steered(context, principal, "close", lambda tx: auctions.close(tx, round))


@router.post("/{round}/void")
async def void_round(
    round: Identity, body: views.VoidRequest, principal: Trader, context: Ctx
) -> views.RoundView:
    """Give everything back; the day has no auction. For the operator."""
    return await _steered(
        context, principal, "void", lambda tx: auctions.void(tx, round, body.reason)
    )


@router.post("/{round}/clear")
async def clear_round(round: Identity, principal: Trader, context: Ctx) -> views.RoundView:
    """Clear a closed round now. For the operator."""
    require_may(principal, Action.STEER_MARKET, principal.organisation_id)

    def noted(tx: Tx) -> None:
        audit(tx, principal, "auction.clear", "auction", round, {})

    return views.RoundView.of(await context.auctioneer.clear(round, guard=noted))


async def _steered(
    context: Ctx, principal: Principal, what: str, use_case: Callable[[Tx], Round]
) -> views.RoundView:
    require_may(principal, Action.STEER_MARKET, principal.organisation_id)

    def whole(tx: Tx) -> views.RoundView:
        found = use_case(tx)
        audit(tx, principal, f"auction.{what}", "auction", found.id, {"why": found.why})
        return views.RoundView.of(found)

    return await context.database.write(whole)


@router.post("/{round}/replay")
async def replay_round(round: Identity, principal: Reader, context: Ctx) -> views.ReplayView:
    """Clear it again and compare with what is written. For the operator."""
    require_may(principal, Action.STEER_MARKET, principal.organisation_id)
    found, orders = await context.database.read(lambda conn: clearing.cleared_orders(conn, round))
    engine = clearing.engine_digest()
    made = await asyncio.to_thread(clearing.replay, found, orders, engine)
    return views.ReplayView.of(made)


# --- orders --------------------------------------------------------------------------------------


@router.post("/{round}/orders", status_code=201)
async def place_order(
    round: Identity, body: views.BidRequest, principal: Trader, context: Ctx
) -> views.OrderView:
    """Place a bid in an open round; money and capacity are set aside."""
    bid = parse(body.document)

    def use_case(tx: Tx) -> views.OrderView:
        party = party_of(tx.conn, principal, body.project)
        made, repeated = auctions.place(tx, party, round, bid, key=body.key)
        return views.OrderView.of(made, repeated=repeated)

    return await context.database.write(use_case)


@router.get("/{round}/orders")
async def list_orders(
    round: Identity, principal: Reader, context: Ctx, page: Paging, project: Project = None
) -> Page[views.OrderView]:
    """One's own orders of a round, the latest first, with what came of them."""

    def query(conn: Connection) -> Page[views.OrderView]:
        rows = auctions.orders(
            conn,
            projects_read(conn, principal, project),
            round_id=auctions.round_of(conn, round).id,
            before=page.after,
            limit=page.fetch,
        )
        return page.of(rows, lambda one: one.id, views.OrderView.of)

    return await context.database.read(query)


def order_for(
    conn: Connection, principal: Principal, name: str, order_id: str, action: Action
) -> Standing:
    found = auctions.order(conn, order_id)
    party = found.party
    require_may(
        principal, action, party.organisation_id, party.project_id, kind="order", identity=order_id
    )
    if auctions.round_of(conn, name).id != found.round_id:
        raise not_found("order", order_id)
    return found


@router.get("/{round}/orders/{order}")
async def get_order(
    round: Identity, order: Identity, principal: Reader, context: Ctx
) -> views.OrderView:
    """An order and, once the round is cleared, what came of each part of it."""
    found = await context.database.read(
        lambda conn: order_for(conn, principal, round, order, Action.READ_MARKET)
    )
    return views.OrderView.of(found)


@router.post("/{round}/orders/{order}/replace")
async def replace_order(
    round: Identity, order: Identity, body: views.BidRequest, principal: Trader, context: Ctx
) -> views.OrderView:
    """Another bid in the place of the old one; what it set aside is reckoned anew."""
    bid = parse(body.document)

    def use_case(tx: Tx) -> views.OrderView:
        found = order_for(tx.conn, principal, round, order, Action.TRADE)
        return views.OrderView.of(auctions.replace_order(tx, found, bid))

    return await context.database.write(use_case)


@router.post("/{round}/orders/{order}/withdraw")
async def withdraw_order(
    round: Identity, order: Identity, principal: Trader, context: Ctx
) -> views.OrderView:
    """Take it out of an open round; everything is given back."""

    def use_case(tx: Tx) -> views.OrderView:
        found = order_for(tx.conn, principal, round, order, Action.TRADE)
        return views.OrderView.of(auctions.withdraw(tx, found))

    return await context.database.write(use_case)
