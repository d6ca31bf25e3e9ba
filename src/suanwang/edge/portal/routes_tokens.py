"""One's own tokens: made with the secret shown once, revoked with one click."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import ValidationError
from sqlalchemy.engine import Connection
from starlette.responses import Response

from suanwang.edge.api import routes_tenancy
from suanwang.edge.api.tenancy_models import TokenRequest
from suanwang.edge.portal import reasons
from suanwang.edge.portal.errors import PortalRoute
from suanwang.edge.portal.rendering import Page, SignedIn
from suanwang.kernel.errors import SuanwangError
from suanwang.tenancy import access
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.model import Scope, Token

router = APIRouter(route_class=PortalRoute, prefix="/admin/tokens")
MOST = 500
DAYS = (7, 30, 90, 365)


def state_of(token: Token, now_ms: int) -> str:
    if token.revoked_at_ms is not None:
        return "revoked"
    return "expired" if token.expires_at_ms <= now_ms else "active"


async def _page(page: Page, status: int = 200, **more: Any) -> Response:
    principal = page.principal

    def query(conn: Connection) -> dict[str, Any]:
        found = access.tokens(conn, principal, limit=MOST)
        return {
            "tokens": [(one, state_of(one, page.now_ms)) for one in reversed(found)],
            "projects": {p.id: p for p in tenancy.projects(conn, principal, limit=MOST)},
        }

    values: dict[str, Any] = {
        "secret": None,
        "form": {},
        "scopes": [one.value for one in Scope if one in principal.scopes],
        "days": DAYS,
        "server": page.context.settings.public_url or str(page.request.base_url).rstrip("/"),
    }
    values |= await page.context.database.read(query)
    return page.render("tokens.html", status, **{**values, **more})


@router.get("")
async def tokens(page: SignedIn) -> Response:
    return await _page(page)


@router.post("")
async def issue(request: Request, page: SignedIn) -> Response:
    """The answer shows the secret, this once."""
    form = await page.form()
    values: dict[str, Any] = {"name": form.get("name", "").strip()}
    values |= {key: form[key] for key in ("project", "days") if form.get(key)}
    scopes = [one for one in form.get("scopes", "").split(",") if one]
    try:
        body = TokenRequest.model_validate({**values, "scopes": scopes})
        made = await routes_tenancy.issue_token(request, page.principal, body)
    except ValidationError as error:
        problem = reasons.invalid(page.language, list(error.errors()))
    except SuanwangError as error:
        problem = page.problem(error)
    else:
        return await _page(page, secret=made.secret, made=made)
    return await _page(page, problem.status, problem=problem, form=form)


@router.post("/{token_id}/revoke")
async def revoke(request: Request, page: SignedIn, token_id: str) -> Response:
    await routes_tenancy.revoke_token(request, page.principal, token_id)
    return page.redirect("/admin/tokens?done=revoked")
