"""The operator's books and links: trial balance, entries and corrections; costs between sites."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from suanwang.edge.api import routes_ledger, routes_links
from suanwang.edge.api.paging import PageRequest, decode_cursor
from suanwang.edge.portal import choices, formats, reasons
from suanwang.edge.portal.entries import about
from suanwang.edge.portal.errors import PortalRoute
from suanwang.edge.portal.rendering import Page, SignedIn, owners_of
from suanwang.edge.portal.routes_admin import answered, given
from suanwang.grid.sites import service as sites
from suanwang.grid.sites.model import SiteState
from suanwang.kernel.errors import InvalidInput
from suanwang.tenancy import service as tenancy
from suanwang.trade.billing import rules

router = APIRouter(route_class=PortalRoute, prefix="/admin")
PAGE = 100
MOST = 500

Project = Annotated[str, Query(alias="project", max_length=128)]
Month = Annotated[str, Query(max_length=7)]


# --- the ledger --------------------------------------------------------------------------------


async def _ledger(
    page: Page,
    project: str = "",
    month: str = "",
    cursor: str = "",
    verify: bool = False,
    problem: reasons.Problem | None = None,
    form: dict[str, str] | None = None,
) -> Response:
    principal, context = page.principal, page.context
    trial = await routes_ledger.trial_balance(principal, context, verify)
    projects, owners, names, titles = await context.database.read(
        lambda conn: (
            tenancy.projects(conn, principal, limit=MOST),
            owners_of(conn, principal),
            sites.names(conn),
            choices.titles_of(conn, page.language),
        )
    )
    chosen = project or (projects[0].id if projects else "")
    month = month or rules.month_of(page.now_ms)
    wanted = PageRequest(decode_cursor(cursor) if cursor else None, PAGE)
    entries = (
        await routes_ledger.list_entries(chosen, principal, context, wanted, month)
        if chosen
        else None
    )
    return page.render(
        "ledger.html",
        problem.status if problem else 200,
        trial=trial,
        verified=verify,
        trial_decimals=formats.exact_decimals([one.balance.micro_yuan for one in trial.lines]),
        decimals=formats.exact_decimals(
            [one.amount.micro_yuan for one in entries.items] if entries else []
        ),
        projects=projects,
        owners=owners,
        project=chosen,
        month=month,
        entries=[(one, _at_ms(one.at)) for one in entries.items] if entries else [],
        currency_text=partial(choices.currency_text, titles),
        about=lambda key: about(page.language, key, names),
        next_cursor=entries.next_cursor if entries else None,
        cursor=cursor,
        problem=problem,
        form=form or {},
    )


def _at_ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


@router.get("/ledger")
async def ledger(
    page: SignedIn,
    project: Project = "",
    month: Month = "",
    cursor: Annotated[str, Query(max_length=400)] = "",
    verify: bool = False,
) -> Response:
    return await _ledger(page, project, month, cursor, verify)


@router.post("/ledger/reverse")
async def reverse(page: SignedIn) -> Response:
    async def change(form: dict[str, str]) -> None:
        body = routes_ledger.ReversalRequest.model_validate(given(form, "reason"))
        await routes_ledger.reverse_entry(
            form.get("entry", "").strip(), body, page.principal, page.context
        )

    async def show(problem: reasons.Problem, form: dict[str, str]) -> Response:
        return await _ledger(
            page, form.get("project", ""), form.get("month", ""), problem=problem, form=form
        )

    return await answered(page, change, await _back(page, "reversed"), show)


@router.post("/ledger/adjust")
async def adjust(page: SignedIn) -> Response:
    async def change(form: dict[str, str]) -> None:
        body = routes_ledger.AdjustmentRequest.model_validate(
            {
                "amount": {"yuan": form.get("amount", "").strip()},
                **given(form, "reference", "reason"),
            }
        )
        await routes_ledger.adjust_project(
            form.get("project", ""), body, page.principal, page.context
        )

    async def show(problem: reasons.Problem, form: dict[str, str]) -> Response:
        return await _ledger(page, form.get("project", ""), problem=problem, form=form)

    return await answered(page, change, await _back(page, "adjusted"), show)


async def _back(page: Page, done: str) -> str:
    """To the entries that one came from."""
    kept = given(await page.form(), "project", "month")
    return "/admin/ledger?" + urlencode({**kept, "done": done})


# --- links -------------------------------------------------------------------------------------


async def _links(
    request: Request,
    page: Page,
    from_site: str = "",
    problem: reasons.Problem | None = None,
    form: dict[str, str] | None = None,
) -> Response:
    routes_ledger.for_operators(page.principal)
    found = await routes_links.list_links(request, page.principal, from_site or None)
    known = await page.context.database.read(sites.sites)
    return page.render(
        "links.html",
        problem.status if problem else 200,
        links=found.items,
        sites=sorted(
            (one for one in known if one.state is not SiteState.REMOVED), key=lambda one: one.name
        ),
        from_site=from_site,
        problem=problem,
        form=form or {},
    )


@router.get("/links")
async def links(
    request: Request,
    page: SignedIn,
    from_site: Annotated[str, Query(alias="from", max_length=128)] = "",
) -> Response:
    return await _links(request, page, from_site)


@router.post("/links")
async def state_link(request: Request, page: SignedIn) -> Response:
    async def change(form: dict[str, str]) -> None:
        here, there = form.get("from_site", ""), form.get("to_site", "")
        body = routes_links.LinkRequest.model_validate(
            {
                "price_per_gib": {"yuan": form.get("price", "").strip()},
                "ms_per_gib": _milliseconds(form.get("seconds", "")),
            }
        )
        for a, b in [(here, there), (there, here)] if form.get("both") else [(here, there)]:
            await routes_links.state_link(request, a, b, page.principal, body)

    async def show(problem: reasons.Problem, form: dict[str, str]) -> Response:
        return await _links(request, page, "", problem, form)

    return await answered(page, change, "/admin/links?done=saved", show)


def _milliseconds(text: str) -> int:
    try:
        return round(float(text.strip()) * 1000)
    except (ValueError, OverflowError):
        raise InvalidInput(
            "InvalidLinkTime", "That is not a time.", hint="Give seconds.", field="ms_per_gib"
        ) from None


@router.post("/links/clear")
async def clear_link(request: Request, page: SignedIn) -> Response:
    form: dict[str, Any] = await page.form()
    await routes_links.clear_link(
        request, form.get("from_site", ""), form.get("to_site", ""), page.principal
    )
    return page.redirect("/admin/links?done=saved")
