"""Bilateral deals: what was offered to us, what we proposed, one deal with its history."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from sqlalchemy.engine import Connection
from starlette.responses import Response

from suanwang.edge.api import routes_deals as api
from suanwang.edge.api import views_talks as views
from suanwang.edge.api.paging import PageRequest, decode_cursor
from suanwang.edge.portal import choices, form_fields, reasons
from suanwang.edge.portal.errors import PortalRoute
from suanwang.edge.portal.rendering import Page, SignedIn
from suanwang.edge.portal.routes_admin import answered
from suanwang.edge.portal.routes_quotations import PAGE
from suanwang.edge.portal.trading import words
from suanwang.trade.catalogue.model import Product
from suanwang.trade.market.deals_model import DealState

router = APIRouter(route_class=PortalRoute, prefix="/deals")


def _ids(found: list[views.DealView]) -> list[str]:
    return [of for one in found for of in (one.organisation_id, one.other_organisation_id)]


async def _list(
    page: Page,
    box: api.Box = api.Box.EITHER,
    state: DealState | None = None,
    cursor: str = "",
    problem: reasons.Problem | None = None,
    form: dict[str, str] | None = None,
) -> Response:
    wanted = PageRequest(decode_cursor(cursor) if cursor else None, PAGE)
    found = await api.list_deals(page.principal, page.context, wanted, box, None, state)

    def query(conn: Connection) -> dict[str, Any]:
        return {
            "choices": choices.choices_for(conn, page),
            "names": choices.names_of(conn, _ids(found.items)),
        }

    return page.render(
        "deals.html",
        problem.status if problem else 200,
        deals=found.items,
        next_cursor=found.next_cursor,
        cursor=cursor,
        box=box.value,
        boxes=[one.value for one in (api.Box.EITHER, api.Box.IN, api.Box.OUT)],
        me=page.principal.organisation_id,
        local=form_fields.local,
        problem=problem,
        form=form or {},
        **words(page),
        **await page.context.database.read(query),
    )


@router.get("")
async def deals(
    page: SignedIn,
    box: api.Box = api.Box.EITHER,
    state: DealState | None = None,
    cursor: Annotated[str, Query(max_length=400)] = "",
) -> Response:
    return await _list(page, box, state, cursor)


def _proposal(form: dict[str, str], side: str) -> dict[str, Any]:
    wanted = form.get("product", "")
    return {
        "project": form.get("project") or None,
        "product": form_fields.product(wanted) if side == "buy" and wanted else None,
        "source": (form.get("source") or None) if side == "sell" else None,
        "lots": form_fields.whole(form.get("lots", "")),
        "starts_at": form_fields.moment(form.get("starts_at", "")),
        "hours": form_fields.whole(form.get("hours", "")),
        "price": form_fields.yuan(form.get("price", "")),
        "valid_until": form_fields.moment(form.get("valid_until", "")),
        "note": form.get("note", "").strip(),
    }


@router.post("")
async def propose(page: SignedIn) -> Response:
    made: list[str] = []

    async def change(form: dict[str, str]) -> None:
        side = form.get("side", "buy")
        to = form.get("to", "").strip()
        body = views.DealRequest.model_validate({**_proposal(form, side), "side": side, "to": to})
        made.append((await api.propose(body, page.principal, page.context)).id)

    async def show(problem: reasons.Problem, form: dict[str, str]) -> Response:
        return await _list(page, problem=problem, form=form)

    answer = await answered(page, change, "/deals?done=deal_proposed", show)
    return page.redirect(f"/deals/{made[0]}?done=deal_proposed") if made else answer


async def _show(
    page: Page,
    deal: str,
    problem: reasons.Problem | None = None,
    form: dict[str, str] | None = None,
) -> Response:
    found = await api.get_deal(deal, page.principal, page.context)
    me = page.principal.organisation_id
    wanted = Product(found.last.unit_class, found.last.zone)

    def query(conn: Connection) -> dict[str, Any]:
        his = choices.choices_for(conn, page)
        return {
            "projects": his.projects,
            "products": his.products,
            "sources": [one for one in his.sources if one.product == wanted],
            "names": choices.names_of(conn, _ids([found])),
        }

    began = found.organisation_id == me
    sells = began == (found.side.value == "sell")
    return page.render(
        "deal.html",
        problem.status if problem else 200,
        one=found,
        me=me,
        sells=sells,
        my_project=found.project_id if began else found.other_project_id,
        may_withdraw=found.state == "open" and found.last.organisation_id == me,
        local=form_fields.local,
        problem=problem,
        form=form or {},
        **words(page),
        **await page.context.database.read(query),
    )


@router.get("/{deal}")
async def deal_page(page: SignedIn, deal: str) -> Response:
    return await _show(page, deal)


@router.post("/{deal}/accept")
async def accept(page: SignedIn, deal: str) -> Response:
    async def change(form: dict[str, str]) -> None:
        body = views.AcceptRequest.model_validate({**_answer(form), "source": form.get("source")})
        await api.accept_deal(deal, body, page.principal, page.context)

    to = f"/deals/{deal}?done=accepted"
    return await answered(page, change, to, lambda p, f: _show(page, deal, p, f))


@router.post("/{deal}/counter")
async def counter(page: SignedIn, deal: str) -> Response:
    async def change(form: dict[str, str]) -> None:
        side = form.get("side", "buy")
        body = views.CounterRequest.model_validate({**_proposal(form, side), **_answer(form)})
        await api.counter_deal(deal, body, page.principal, page.context)

    to = f"/deals/{deal}?done=countered"
    return await answered(page, change, to, lambda p, f: _show(page, deal, p, f))


@router.post("/{deal}/reject")
async def reject(page: SignedIn, deal: str) -> Response:
    async def change(form: dict[str, str]) -> None:
        body = views.AnswerRequest.model_validate(_answer(form))
        await api.reject_deal(deal, body, page.principal, page.context)

    to = f"/deals/{deal}?done=rejected"
    return await answered(page, change, to, lambda p, f: _show(page, deal, p, f))


@router.post("/{deal}/withdraw")
async def withdraw(page: SignedIn, deal: str) -> Response:
    async def change(form: dict[str, str]) -> None:
        body = views.WithdrawRequest(project=form.get("project") or None)
        await api.withdraw_deal(deal, body, page.principal, page.context)

    to = f"/deals/{deal}?done=withdrawn"
    return await answered(page, change, to, lambda p, f: _show(page, deal, p, f))


def _answer(form: dict[str, str]) -> dict[str, Any]:
    return {
        "number": form_fields.whole(form.get("number", "")),
        "project": form.get("project") or None,
    }
