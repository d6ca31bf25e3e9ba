"""Letting a program in: its user types or opens the code that the terminal shows, and decides."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from suanwang.edge.api.auth import address_of, gate_of
from suanwang.edge.portal.errors import PortalRoute
from suanwang.edge.portal.rendering import Page, SignedIn
from suanwang.kernel.errors import SuanwangError
from suanwang.tenancy import login_requests
from suanwang.tenancy.model import LoginRequest, Scope

router = APIRouter(route_class=PortalRoute, prefix="/device")
OUTCOMES = ("confirmed", "refused")


@router.get("")
async def device(
    request: Request,
    page: SignedIn,
    code: Annotated[str, Query(max_length=40)] = "",
    outcome: Annotated[str, Query(max_length=20)] = "",
) -> Response:
    if outcome in OUTCOMES:
        return page.render("device.html", asked=None, outcome=outcome, code="")
    if not code.strip():
        return page.render("device.html", asked=None, outcome="", code="")
    gate_of(request).count_guess(page.principal.user_id)
    try:
        found = await page.context.database.read(
            lambda conn: login_requests.asked(conn, code, page.now_ms)
        )
    except SuanwangError as error:
        return page.render(
            "device.html",
            error.status,
            asked=None,
            outcome="",
            code=code,
            problem=page.problem(error),
        )
    return _question(request, page, found)


def _question(request: Request, page: Page, found: LoginRequest) -> Response:
    wanted = page.principal.scopes if found.scopes is None else found.scopes
    return page.render(
        "device.html",
        asked=found,
        outcome="",
        code=login_requests.spoken(found.user_code),
        scopes=[one.value for one in Scope if one in wanted & page.principal.scopes],
        every_scope=wanted >= frozenset(Scope),
        elsewhere=found.address != address_of(request),
        address_here=address_of(request),
    )


@router.post("")
async def decide(request: Request, page: SignedIn) -> Response:
    form = await page.form()
    gate_of(request).count_guess(page.principal.user_id)
    confirmed = form.get("decision") == "confirm"
    principal, code = page.principal, form.get("code", "")
    await page.context.database.write(
        lambda tx: login_requests.decide(tx, principal, code, confirmed=confirmed)
    )
    return page.redirect(f"/device?outcome={OUTCOMES[0] if confirmed else OUTCOMES[1]}")
