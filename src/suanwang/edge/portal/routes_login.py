"""Signing in and out, and the language."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import RedirectResponse, Response

from suanwang.edge.api.auth import clear_session_cookie, gate_of, set_session_cookie
from suanwang.edge.portal.catalogue import LANGUAGES
from suanwang.edge.portal.errors import PortalRoute
from suanwang.edge.portal.glance import glance_rows
from suanwang.edge.portal.rendering import LANGUAGE_COOKIE, AnyPage, Page, SignedIn, own_path
from suanwang.edge.portal.trading import words
from suanwang.kernel.errors import NotFound, SuanwangError

router = APIRouter(route_class=PortalRoute)
YEAR_S = 366 * 86_400
NextPath = Annotated[str, Query(alias="next", max_length=500)]


async def _login_page(
    page: Page, next_path: str, login: str = "", status: int = 200, **values: object
) -> Response:
    oidc = page.context.settings.oidc
    return page.render(
        "login.html",
        status,
        next_path=own_path(next_path),
        login=login,
        oidc_label=oidc.label if oidc.issuer else "",
        market=await page.context.database.read(lambda conn: glance_rows(conn, page.now_ms)),
        **words(page),
        **values,
    )


@router.get("/login")
async def login_page(page: AnyPage, next_path: NextPath = "/") -> Response:
    if page.known is not None:
        return page.redirect(own_path(next_path))
    return await _login_page(page, next_path)


@router.post("/login")
async def sign_in(
    request: Request,
    login: Annotated[str, Form(max_length=254)] = "",
    password: Annotated[str, Form(max_length=1_024)] = "",
    next_path: Annotated[str, Form(alias="next", max_length=500)] = "/",
) -> Response:
    """Nobody is signed in yet, so there is no CSRF token; the middleware refuses other sites."""
    page = Page(request, None)
    try:
        made = await gate_of(request).sign_in(request, login, password)
    except SuanwangError as error:
        shown = page.problem(error)
        return await _login_page(page, next_path, login, error.status, problem=shown)
    response = RedirectResponse(own_path(next_path), 303)
    set_session_cookie(request, response, made)
    return response


@router.post("/logout")
async def sign_out(request: Request, page: SignedIn) -> Response:
    await gate_of(request).sign_out(request, page.principal)
    response = RedirectResponse("/login", 303)
    clear_session_cookie(request, response)
    return response


@router.get("/language/{language}")
async def choose_language(language: str, next_path: NextPath = "/") -> Response:
    if language not in LANGUAGES:
        raise NotFound("LanguageUnknown", f"There is no language {language!r}.")
    response = RedirectResponse(own_path(next_path), 303)
    response.set_cookie(LANGUAGE_COOKIE, language, max_age=YEAR_S, path="/", samesite="lax")
    return response
