"""The call auction's pages: rounds; one round with its prices, curves, one's orders and bids."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import yaml
from fastapi import APIRouter, Query
from sqlalchemy.engine import Connection
from starlette.responses import Response

from suanwang.edge.api import routes_auctions as api
from suanwang.edge.api import views_auctions as views
from suanwang.edge.portal import reasons
from suanwang.edge.portal.bid_parts import part_text, place_text, summary
from suanwang.edge.portal.errors import PortalRoute
from suanwang.edge.portal.rendering import Page, SignedIn, owners_of
from suanwang.edge.portal.routes_admin import answered, given
from suanwang.edge.portal.trading import SourceRow, place_names, sources, words
from suanwang.edge.spec_yaml import SpecLoader
from suanwang.kernel.errors import InvalidInput
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.model import Action
from suanwang.trade.catalogue.model import Product
from suanwang.trade.market import auctions
from suanwang.trade.market.auction_bids import document_of
from suanwang.trade.market.auction_model import PriceRow, Round, RoundState, Standing
from suanwang.trade.market.supply import products

router = APIRouter(route_class=PortalRoute)
MOST = 200
MOST_PARTS = 480
"""Of an order; the API tells all of them."""
MICRO = 1_000_000
MAX_DOCUMENT = 200_000
FORM = {"hours": "until"}
"""A bid's field → the form's."""
EXAMPLES = {
    "curve": """side: buy
curve:
  - product: {product}
    hours: [8, 20]
    lots: 4
    price: 12.5
    instead:
      - {{product: {other}, price: 18}}
  - {{product: {product}, hours: [8, 20], lots: 8, price: 9}}
""",
    "flexible": """side: buy
blocks:
  - {{name: train, product: {product}, hours: [0, 24], any: 8, lots: 2, price: 9}}
""",
    "groups": """side: buy
blocks:
  - {{name: day, product: {product}, hours: [9, 17], lots: 4, price: 8, group: either}}
  - {{name: night, product: {product}, hours: [0, 8], lots: 4, price: 9, group: either}}
  - {{name: more, parent: night, product: {product}, hours: [0, 8], lots: 2, price: 7,
     least: 500}}
""",
    "sell": """side: sell
source: POOL
curve:
  - {{hours: [8, 24], lots: 8, price: 10}}
  - {{hours: [0, 8], lots: 8, price: 6}}
""",
}
"""Of bids; braces are doubled but for the products."""


# --- rounds --------------------------------------------------------------------------------------


async def _rounds(
    page: Page, problem: reasons.Problem | None = None, form: dict[str, str] | None = None
) -> Response:
    found = await page.context.database.read(lambda conn: auctions.rounds(conn, limit=MOST))
    return page.render(
        "auctions.html",
        problem.status if problem else 200,
        rounds=found,
        steers=page.may(Action.STEER_MARKET, page.principal.organisation_id),
        problem=problem,
        form=form or {},
    )


@router.get("/auctions")
async def show_rounds(page: SignedIn) -> Response:
    return await _rounds(page)


@router.post("/auctions")
async def open_round(page: SignedIn) -> Response:
    async def change(form: dict[str, str]) -> None:
        body = views.OpenRequest(day=form.get("day", "").strip()[:10])
        await api.open_round(body, page.principal, page.context)

    async def show(problem: reasons.Problem, form: dict[str, str]) -> Response:
        return await _rounds(page, problem, form)

    return await answered(page, change, "/auctions?done=round_open", show)


# --- one round -----------------------------------------------------------------------------------


def _read(conn: Connection, page: Page, name: str) -> dict[str, Any]:
    found = auctions.round_of(conn, name)
    known = products(conn)
    projects = tenancy.projects(conn, page.principal, limit=MOST)
    mine = page.principal.organisation_id
    own = [one for one in projects if one.organisation_id == mine]
    return {
        "round": found,
        "rows": auctions.prices(conn, found) if found.state is RoundState.CLEARED else [],
        "orders": auctions.orders(
            conn, page.principal.readable_projects, round_id=found.id, limit=MOST
        ),
        "products": known,
        "sources": sources(conn, own, place_names(conn), page.now_ms),
        "projects": projects,
        "owners": owners_of(conn, page.principal),
    }


async def _round(
    page: Page,
    name: str,
    product: str = "",
    hour: int | None = None,
    edit: str = "",
    problem: reasons.Problem | None = None,
    form: dict[str, str] | None = None,
) -> Response:
    shown = await page.context.database.read(lambda conn: _read(conn, page, name))
    rows: list[PriceRow] = shown["rows"]
    named = sorted({str(row.product) for row in rows})
    chosen = product if product in named else _busiest(rows)
    of_product = [row for row in rows if str(row.product) == chosen]
    at = hour if hour is not None else _busiest_hour(of_product)
    row = next((one for one in of_product if one.hour == at), None)
    return page.render(
        "auction.html",
        problem.status if problem else 200,
        **shown,
        takes_orders=_takes_orders(shown["round"], page.now_ms),
        chosen=chosen,
        named=named,
        of_product=of_product,
        row=row,
        price_chart=_price_chart(page, of_product),
        curve_chart=_curve_chart(page, row) if row is not None else None,
        examples=_examples(shown["products"], shown["sources"]),
        edited=_edited(shown["orders"], edit),
        steers=page.may(Action.STEER_MARKET, page.principal.organisation_id),
        problem=problem,
        form=form or {},
        most_parts=MOST_PARTS,
        **words(page),
        documents={one.id: document_of(one.bid) for one in shown["orders"]},
        part_text=partial(part_text, page.language),
        summary=partial(summary, page.language),
    )


def _takes_orders(found: Round, now_ms: int) -> bool:
    return found.state is RoundState.OPEN and now_ms < found.closes_at_ms


def _busiest(rows: list[PriceRow]) -> str:
    sums: dict[str, int] = {}
    for row in rows:
        sums[str(row.product)] = sums.get(str(row.product), 0) + row.lots
    return max(sorted(sums), key=lambda name: sums[name], default="")


def _busiest_hour(rows: list[PriceRow]) -> int:
    return max(rows, key=lambda row: (row.lots, -row.hour)).hour if rows else 0


def _price_chart(page: Page, rows: list[PriceRow]) -> dict[str, Any]:
    """What the script draws: yuan and lots by hour."""
    return {
        "hours": [f"{row.hour:02d}:00" for row in rows],
        "prices": [None if row.price is None else row.price / MICRO for row in rows],
        "lots": [row.lots for row in rows],
        "names": {"price": page.say("auction.price"), "lots": page.say("auction.lots")},
    }


def _curve_chart(page: Page, row: PriceRow) -> dict[str, Any]:
    return {
        "demand": _steps(row.demand),
        "supply": _steps(row.supply),
        "price": None if row.price is None else row.price / MICRO,
        "names": {
            name: page.say(f"auction.{name}")
            for name in ("demand", "supply", "cleared_price", "lots", "price")
        },
    }


def _steps(points: tuple[tuple[int, int], ...]) -> list[tuple[float, float]]:
    """(lots, yuan) along the stairs."""
    stairs: list[tuple[float, float]] = []
    before = 0
    for price, lots in points:
        stairs += [(before, price / MICRO), (lots, price / MICRO)]
        before = lots
    return stairs


def _examples(products: list[Product], sources: list[SourceRow]) -> dict[str, str]:
    known = [str(one) for one in products]
    first = known[0] if known else "a100-80g@henan"
    other = next((one for one in known if one != first), "h100-80g@henan")
    made = {
        name: text.format(product=first, other=other).rstrip() for name, text in EXAMPLES.items()
    }
    if sources:
        made["sell"] = made["sell"].replace("POOL", sources[0].id)
    return made


def _edited(orders: list[Standing], edit: str) -> tuple[str, str] | None:
    """(id, its document) of the order that is changed."""
    found = next((one for one in orders if one.id == edit), None)
    if found is None:
        return None
    text = yaml.safe_dump(document_of(found.bid), sort_keys=False, allow_unicode=True)
    return found.id, text


@router.get("/auctions/{name}")
async def show_round(
    page: SignedIn,
    name: str,
    product: Annotated[str, Query(max_length=125)] = "",
    hour: Annotated[int | None, Query(ge=0, le=23)] = None,
    edit: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    return await _round(page, name, product, hour, edit)


# --- changes -------------------------------------------------------------------------------------


@router.post("/auctions/{name}/orders")
async def place(page: SignedIn, name: str) -> Response:
    replaced = bool((await page.form()).get("replace"))

    async def change(form: dict[str, str]) -> None:
        document = _document(form)
        body = views.BidRequest.model_validate({**document, **given(form, "project")})
        principal, context = page.principal, page.context
        if replaced:
            await api.replace_order(name, form["replace"], body, principal, context)
        else:
            await api.place_order(name, body, principal, context)

    async def show(problem: reasons.Problem, form: dict[str, str]) -> Response:
        problem = _at_its_field(page.language, problem, form)
        return await _round(page, name, edit=form.get("replace", ""), problem=problem, form=form)

    done = "bid_replaced" if replaced else "bid_placed"
    return await answered(page, change, f"/auctions/{name}?done={done}", show)


def _at_its_field(language: str, problem: reasons.Problem, form: dict[str, str]) -> reasons.Problem:
    """A bid's fields are `curve[0].lots`; the form has `lots`, or the whole document."""
    if "document" not in form:
        told = {name.rpartition(".")[2]: text for name, text in problem.fields.items()}
        return replace(problem, fields={FORM.get(name, name): text for name, text in told.items()})
    try:
        document = _yaml(form["document"])
    except InvalidInput:
        document = {}
    colon = ": " if language == "en" else "："
    texts = [
        text if name == "document" else place_text(language, name, document) + colon + text
        for name, text in problem.fields.items()
    ]
    return replace(problem, fields={"document": "; ".join(texts)} if texts else {})


def _document(form: dict[str, str]) -> dict[str, Any]:
    if "document" in form:
        return _yaml(form["document"])
    part: dict[str, Any] = {
        "lots": _number(form, "lots"),
        "price": form.get("price", "").strip(),
        "hours": [_number(form, "from"), _number(form, "until")],
    }
    if form.get("kind") == "flexible":
        part["any"] = _number(form, "any")
    kind = "curve" if form.get("kind", "curve") == "curve" else "blocks"
    if form.get("side") == "sell":
        return {"side": "sell", "source": form.get("source", "").strip(), kind: [part]}
    return {"side": "buy", kind: [{**part, "product": form.get("product", "")}]}


def _yaml(text: str) -> dict[str, Any]:
    problem = "too long" if len(text) > MAX_DOCUMENT else ""
    try:
        document = yaml.load(text, Loader=SpecLoader) if not problem else None
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or "unreadable"
    if problem or not isinstance(document, dict):
        raise InvalidInput(
            "InvalidBid",
            f"That is no YAML of a bid: {problem or 'it is a mapping of fields'}.",
            hint="See the examples.",
            field="document",
        )
    return {str(name): value for name, value in document.items()}


def _number(form: dict[str, str], name: str) -> int:
    text = form.get(name, "").strip()
    if not text.isdecimal() or len(text) > 9:
        raise InvalidInput(
            "InvalidBid", "That is not a whole number.", hint="Correct the field.", field=name
        )
    return int(text)


@router.post("/auctions/{name}/orders/{order}/withdraw")
async def withdraw(page: SignedIn, name: str, order: str) -> Response:
    await api.withdraw_order(name, order, page.principal, page.context)
    return page.redirect(f"/auctions/{name}?done=bid_withdrawn")


@router.post("/auctions/{name}/close")
async def close(page: SignedIn, name: str) -> Response:
    await api.close_round(name, page.principal, page.context)
    return page.redirect(f"/auctions/{name}?done=round_close")


@router.post("/auctions/{name}/clear")
async def clear(page: SignedIn, name: str) -> Response:
    await api.clear_round(name, page.principal, page.context)
    return page.redirect(f"/auctions/{name}?done=round_clear")


@router.post("/auctions/{name}/void")
async def void(page: SignedIn, name: str) -> Response:
    form = await page.form()
    body = views.VoidRequest.model_validate({"reason": form.get("reason", "").strip()})
    await api.void_round(name, body, page.principal, page.context)
    return page.redirect(f"/auctions/{name}?done=round_void")
