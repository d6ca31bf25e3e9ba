"""One instrument: its book, charts, tape and ticket, one's own orders and contracts of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from fastapi import APIRouter, Query
from pydantic import ValidationError
from sqlalchemy.engine import Connection
from starlette.responses import Response

from suanwang.edge.api import routes_market as api
from suanwang.edge.api import views_market as views
from suanwang.edge.api.money import exact_yuan
from suanwang.edge.portal import formats, reasons, ticket
from suanwang.edge.portal.errors import PortalRoute
from suanwang.edge.portal.rendering import AnyPage, Page, SignedIn
from suanwang.edge.portal.routes_admin import answered
from suanwang.edge.portal.trading import (
    Seat,
    filled_in,
    place_names,
    seat,
    sources,
    url_of,
    words,
)
from suanwang.engines.matching.order_book import Stay
from suanwang.kernel.errors import InvalidInput, SuanwangError
from suanwang.platform.entropy import nonce_text
from suanwang.tenancy.model import Action
from suanwang.trade.contracts import service as contracts
from suanwang.trade.market import figures, reading, rules
from suanwang.trade.market import instruments as naming
from suanwang.trade.market.model import Instrument, OrderState, Trade

router = APIRouter(route_class=PortalRoute, prefix="/market/{instrument}")
TAPE, ORDERS, LEVELS = 40, 20, 12
DEEP = 200
"""Levels that a ticket is weighed against."""
DAY_MS, HISTORY_DAYS = 86_400_000, 14

Project = Annotated[str, Query(alias="project", max_length=128)]


@dataclass(frozen=True)
class Asked:
    """Of an instrument's page: which one, for which project, after which order."""

    instrument: Instrument
    project: str = ""
    order: str = ""


def _mine(conn: Connection, page: Page, wanted: Instrument) -> dict[str, Any]:
    """The reader's own orders and contracts of the instrument."""
    if page.known is None:
        return {"orders": [], "contracts": []}
    projects = page.principal.readable_projects
    found = reading.orders(conn, projects, instrument=wanted, limit=ORDERS)
    standing = reading.orders(conn, projects, instrument=wanted, state=OrderState.OPEN, limit=DEEP)
    ended = [one for one in found if one.state is not OrderState.OPEN]
    signed = contracts.page(conn, buyers=projects, sellers=projects, limit=DEEP)
    return {
        "orders": [*standing, *ended],
        "contracts": [
            one for one in signed if one.product == wanted.product and one.period == wanted.period
        ],
        "may_trade": {
            one.id: page.may(Action.TRADE, one.party.organisation_id, one.party.project_id)
            for one in standing
        },
        "buys": lambda one: one.buyer.project_id in projects,
    }


@dataclass(frozen=True)
class History:
    """What was traded of an instrument by the hour, and what its product is worth of late."""

    candles: list[figures.Candle]
    reference: int | None


def _history(conn: Connection, wanted: Instrument, now_ms: int) -> History:
    product, since_ms = wanted.product, now_ms - HISTORY_DAYS * DAY_MS
    points = figures.index(
        conn, since_ms, now_ms + 1, unit_class=product.unit_class, zone=product.zone
    )
    return History(figures.history(conn, wanted, since_ms), points[-1].standing if points else None)


def _charts(page: Page, depth: reading.Depth, tape: list[Trade], history: History) -> str:
    """What the scripts draw, in yuan and lots; words come along, scripts have none."""

    def steps(levels: tuple[reading.Level, ...]) -> list[tuple[float, int]]:
        total, found = 0, []
        for level in levels:
            total += level.lots
            found.append((level.price / 1_000_000, total))
        return found

    words_of = ("bids", "asks", "price", "lots", "reference", "range")
    reference = history.reference
    return msgspec.json.encode(
        {
            "bids": steps(depth.bids),
            "asks": steps(depth.asks),
            "trades": [
                (formats.short_instant(one.at_ms, page.now_ms), one.price / 1_000_000, one.lots)
                for one in reversed(tape)
            ],
            "candles": [
                (
                    _hour_text(one.from_ms, page.now_ms),
                    *(
                        price / 1_000_000
                        for price in (one.opened, one.highest, one.lowest, one.closed)
                    ),
                    one.lots,
                )
                for one in history.candles
            ],
            "reference": None if reference is None else reference / 1_000_000,
            "words": {name: page.say(f"market.{name}") for name in words_of},
        }
    ).decode()


def _hour_text(at_ms: int, now_ms: int) -> str:
    """'07:00' of today, else '12-02 07:00': seconds tell nothing of an hour."""
    text = formats.short_instant(at_ms, now_ms)
    return text[:5] if len(text) == len("07:00:00") else text


def _came_of(conn: Connection, page: Page, order_id: str, wanted: Instrument) -> dict[str, Any]:
    """The order just placed, as it is now, with the contracts that it made."""
    if not order_id or page.known is None:
        return {"placed": None, "fills": []}
    order = api.order_for(conn, page.principal, order_id, Action.READ_MARKET)
    tape = reading.trades(conn, instrument=wanted, limit=DEEP)
    fills = [one for one in tape if order_id in (one.buy_order_id, one.sell_order_id)]
    return {"placed": order, "fills": fills}


async def _live(page: Page, asked: Asked) -> dict[str, Any]:
    wanted = asked.instrument

    def query(conn: Connection) -> dict[str, Any]:
        depth = reading.depth(conn, wanted, DEEP)
        tape = reading.trades(conn, instrument=wanted, limit=DEEP)
        mine = _mine(conn, page, wanted)
        history = _history(conn, wanted, page.now_ms)
        standing = frozenset(
            (one.side, one.limit)
            for one in mine["orders"]
            if one.state is OrderState.OPEN and one.limit is not None
        )
        shown = replace(depth, bids=depth.bids[:LEVELS], asks=depth.asks[:LEVELS])
        bids, asks = ticket.ladder(shown, standing)
        return {
            "depth": depth,
            "bids": bids,
            "asks": asks,
            "tape": tape[:TAPE],
            "volume": sum(one.lots for one in tape if one.at_ms > page.now_ms - DAY_MS),
            "charts": _charts(page, depth, tape, history),
            "reference": history.reference,
            **mine,
            **_came_of(conn, page, asked.order, wanted),
        }

    return {
        "instrument": wanted,
        "name": naming.name_of(wanted),
        "project": asked.project,
        **words(page),
        **await page.context.database.read(query),
    }


async def _page(
    page: Page,
    asked: Asked,
    problem: reasons.Problem | None = None,
    form: dict[str, str] | None = None,
) -> Response:
    wanted = asked.instrument

    def query(conn: Connection) -> dict[str, Any]:
        found = seat(conn, page, asked.project)
        if found is None:
            return {"seat": None, "sources": []}
        return {
            "seat": found,
            "sources": sources(
                conn,
                [found.project],
                place_names(conn),
                page.now_ms,
                product=wanted.product,
                period=wanted.period,
            ),
        }

    more = await page.context.database.read(query)
    shown = await _live(page, asked)
    start = {"side": "buy", "lots": "1", "stay": Stay.REST.value, **filled_in(page)}
    start.setdefault("price", _first_price(shown["depth"], start["side"]))
    return page.render(
        "instrument.html",
        problem.status if problem else 200,
        problem=problem,
        form=form if form is not None else start,
        key=nonce_text(),
        stays=[one.value for one in Stay],
        periods=naming.standard_periods(page.now_ms),
        suffix_of=naming.suffix_of,
        why_shut=_why_shut(page, wanted, shown["depth"]),
        may_steer=page.known is not None
        and page.may(Action.STEER_MARKET, page.principal.organisation_id),
        **more,
        **shown,
    )


def _first_price(depth: reading.Depth, side: str) -> str:
    """What the ticket starts from: the best of the other side, else the last one."""
    other = depth.bids if side == "sell" else depth.asks
    price = other[0].price if other else depth.last_price
    return "" if price is None else exact_yuan(price)


def _why_shut(page: Page, wanted: Instrument, depth: reading.Depth) -> str:
    """Why no order would be taken, in the reader's words; empty: it would."""
    if depth.halted:
        return page.say("market.halted_text")
    try:
        naming.require_tradable(wanted, page.now_ms)
    except SuanwangError as error:
        return page.problem(error).title
    return ""


@router.get("")
async def show_instrument(
    page: AnyPage,
    instrument: str,
    project: Project = "",
    order: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    asked = Asked(naming.parse(instrument), project, order)
    if page.is_fragment:
        return page.render("instrument_parts.html", **await _live(page, asked))
    return await _page(page, asked)


@router.get("/ticket")
async def say_ticket(page: SignedIn, instrument: str) -> Response:
    """Called as one fills the ticket in: what it sets aside, what would be traded at once."""
    wanted = naming.parse(instrument)
    form = dict(page.request.query_params)
    problem, weighed = None, None

    def query(conn: Connection) -> tuple[reading.Depth, Seat | None]:
        return reading.depth(conn, wanted, DEEP), seat(conn, page, form.get("project", ""))

    depth, found = await page.context.database.read(query)
    try:
        given = views.OrderBody.model_validate(ticket.body_of(instrument, form)).given()
        fault = rules.fault_of(given, wanted.period.hours)
        if fault is not None:
            hint = "Change the order."
            raise InvalidInput(fault.reason, fault.detail, hint=hint, field=fault.field)
        weighed = ticket.weigh(given, depth)
    except ValidationError as error:
        problem = reasons.invalid(page.language, list(error.errors()))
    except SuanwangError as error:
        problem = page.problem(error)
    return page.render(
        "ticket.html",
        problem=problem,
        weighed=weighed,
        is_blank=not form.get("price"),
        side=form.get("side", ""),
        stay=form.get("stay", ""),
        available=found.available if found else 0,
    )


@router.post("")
async def place(page: SignedIn, instrument: str) -> Response:
    """A form sent twice is one order: its key is made of the page and what it says."""
    form = await page.form()
    wanted = naming.parse(instrument)
    project = form.get("project", "")
    body = ticket.body_of(instrument, form)
    digest = hashlib.sha256(msgspec.json.encode(body)).hexdigest()
    key = f"portal-{form.get('key', '')[:24]}-{digest[:24]}"
    try:
        order = views.OrderRequest.model_validate({**body, "key": key, "project": project or None})
        answer = await api.place_order(order, page.principal, page.context)
    except ValidationError as error:
        problem = reasons.invalid(page.language, list(error.errors()))
        return await _page(page, Asked(wanted, project), problem, form)
    except SuanwangError as error:
        return await _page(page, Asked(wanted, project), page.problem(error), form)
    placed = answer.order.id if answer.order is not None else ""
    return page.redirect(f"{url_of(wanted)}?{urlencode({'project': project, 'order': placed})}")


@router.post("/orders/{order}/cancel")
async def cancel_order(page: SignedIn, instrument: str, order: str) -> Response:
    await api.cancel_order(order, page.principal, page.context)
    there = (
        "/market/orders" if (await page.form()).get("back") else url_of(naming.parse(instrument))
    )
    return page.redirect(f"{there}?done=order_cancelled")


@router.post("/steer")
async def steer(page: SignedIn, instrument: str) -> Response:
    wanted = naming.parse(instrument)

    async def change(form: dict[str, str]) -> None:
        bounds = {
            name: {"yuan": text} if (text := form.get(name, "").strip()) else None
            for name in ("low", "high")
        }
        body = views.HaltRequest.model_validate(
            {"halted": bool(form.get("halted")), "reason": form.get("reason", ""), **bounds}
        )
        await api.steer_book(instrument, body, page.principal, page.context)

    show = partial(_page, page, Asked(wanted))
    return await answered(page, change, f"{url_of(wanted)}?done=steered", show)
