"""Requests for quotation: what we asked, what is open to us, one enquiry with its seal."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Query
from sqlalchemy.engine import Connection
from starlette.responses import Response

from suanwang.edge.api import routes_quotations as api
from suanwang.edge.api import views_talks as views
from suanwang.edge.api.paging import PageRequest, decode_cursor
from suanwang.edge.portal import choices, form_fields, formats, reasons
from suanwang.edge.portal.errors import PortalRoute
from suanwang.edge.portal.rendering import Page, SignedIn
from suanwang.edge.portal.routes_admin import answered
from suanwang.edge.portal.trading import words
from suanwang.trade.catalogue.model import Product
from suanwang.trade.market.quotations_model import EnquiryState, Rule

router = APIRouter(route_class=PortalRoute, prefix="/quotations")
PAGE = 50
_COMMAS = re.compile(r"[,，;；\s]+")


async def _list(
    page: Page,
    which: api.Which,
    state: EnquiryState | None = None,
    cursor: str = "",
    problem: reasons.Problem | None = None,
    form: dict[str, str] | None = None,
) -> Response:
    wanted = PageRequest(decode_cursor(cursor) if cursor else None, PAGE)
    context, principal = page.context, page.principal
    found = await api.list_enquiries(principal, context, wanted, which, None, state)

    def query(conn: Connection) -> dict[str, Any]:
        return {
            "choices": choices.choices_for(conn, page),
            "names": choices.names_of(conn, [one.buyer_organisation_id for one in found.items]),
        }

    return page.render(
        "quotations.html",
        problem.status if problem else 200,
        enquiries=found.items,
        next_cursor=found.next_cursor,
        cursor=cursor,
        which=which.value,
        whiches=[one.value for one in api.Which],
        rules=[one.value for one in Rule],
        problem=problem,
        form=form or {},
        **words(page),
        **await context.database.read(query),
    )


@router.get("")
async def quotations(
    page: SignedIn,
    which: api.Which = api.Which.OPEN_TO_ME,
    state: EnquiryState | None = None,
    cursor: Annotated[str, Query(max_length=400)] = "",
) -> Response:
    return await _list(page, which, state, cursor)


@router.post("")
async def ask(page: SignedIn) -> Response:
    made: list[str] = []

    async def change(form: dict[str, str]) -> None:
        least = form_fields.whole(form.get("min_lots", ""))
        body = views.EnquiryRequest.model_validate(
            {
                "project": form.get("project") or None,
                "title": form.get("title", "").strip(),
                "products": [
                    form_fields.product(one) for one in form.get("products", "").split(",") if one
                ],
                "lots": form_fields.whole(form.get("lots", "")),
                "min_lots": least,
                "divisible": least is not None,
                "starts_at": form_fields.moment(form.get("starts_at", "")),
                "hours": form_fields.whole(form.get("hours", "")),
                "ceiling": form_fields.yuan(form.get("ceiling", "")),
                "ceiling_public": not form.get("secret"),
                "expected": form_fields.yuan(form.get("expected", "")),
                "bond": form_fields.yuan(form.get("bond", "")),
                "rule": form.get("rule", Rule.LOWEST_PRICE.value),
                "invited": [one for one in _COMMAS.split(form.get("invited", "")) if one],
                "deadline": form_fields.moment(form.get("deadline", "")),
                "key": form.get("key") or None,
            }
        )
        made.append((await api.ask(body, page.principal, page.context)).id)

    async def show(problem: reasons.Problem, form: dict[str, str]) -> Response:
        return await _list(page, api.Which.ASKED, problem=problem, form=form)

    answer = await answered(page, change, "/quotations?which=asked&done=asked", show)
    return page.redirect(f"/quotations/{made[0]}?done=asked") if made else answer


async def _show(
    page: Page,
    enquiry: str,
    problem: reasons.Problem | None = None,
    form: dict[str, str] | None = None,
) -> Response:
    found = await api.get_enquiry(enquiry, page.principal, page.context)
    wanted = [Product(one.unit_class, one.zone) for one in found.products]

    def query(conn: Connection) -> dict[str, Any]:
        his = choices.choices_for(conn, page)
        ids = [one.seller_organisation_id for one in (*found.mine, *found.opened)]
        ids += [found.buyer_organisation_id, *(found.buyers.invited if found.buyers else ())]
        return {
            "projects": his.projects,
            "sources": [one for one in his.sources if one.product in wanted],
            "source_names": {one.id: one.name for one in his.sources},
            "names": choices.names_of(conn, ids),
        }

    return page.render(
        "quotation.html",
        problem.status if problem else 200,
        one=found,
        ours=found.buyer_organisation_id == page.principal.organisation_id,
        open=found.state == "open" and (formats.at_ms(found.deadline) or 0) > page.now_ms,
        ordered=sorted(found.opened, key=_place),
        problem=problem,
        form=form or {},
        **words(page),
        **await page.context.database.read(query),
    )


def _place(one: views.QuoteView) -> tuple[bool, int, str]:
    price = one.price.micro_yuan if one.price else 1 << 62
    return one.state != "won", price, one.id


@router.get("/{enquiry}")
async def quotation(page: SignedIn, enquiry: str) -> Response:
    return await _show(page, enquiry)


@router.post("/{enquiry}/quotes")
async def quote(page: SignedIn, enquiry: str) -> Response:
    async def change(form: dict[str, str]) -> None:
        body = views.QuoteRequest.model_validate(
            {
                "project": form.get("project") or None,
                "source": form.get("source", ""),
                "price": form_fields.yuan(form.get("price", "")),
                "lots": form_fields.whole(form.get("lots", "")),
            }
        )
        await api.quote(enquiry, body, page.principal, page.context)

    to = f"/quotations/{enquiry}?done=quoted"
    return await answered(page, change, to, lambda p, f: _show(page, enquiry, p, f))


@router.post("/{enquiry}/quotes/{quote}/withdraw")
async def withdraw(page: SignedIn, enquiry: str, quote: str) -> Response:
    await api.withdraw_quote(enquiry, quote, page.principal, page.context)
    return page.redirect(f"/quotations/{enquiry}?done=quote_withdrawn")


@router.post("/{enquiry}/cancel")
async def cancel(page: SignedIn, enquiry: str) -> Response:
    await api.cancel_enquiry(enquiry, page.principal, page.context)
    return page.redirect(f"/quotations/{enquiry}?done=enquiry_cancelled")
