"""The portal's routes answer errors as pages: a named reason, a sentence, what to do next."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import quote, urlsplit

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from suanwang.edge.api.auth import current_session
from suanwang.edge.portal import reasons
from suanwang.edge.portal.rendering import Page, language_of, own_path
from suanwang.kernel.errors import SuanwangError, Unauthenticated

log = logging.getLogger("suanwang.portal")
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class PortalRoute(APIRoute):
    """A route whose refusals people read; programs have the API."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **given: Any) -> None:
        super().__init__(path, endpoint, **{**given, "include_in_schema": False})

    def get_route_handler(self) -> Handler:
        inner = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await inner(request)
            except Unauthenticated:
                return sign_in_first(request)
            except SuanwangError as error:
                if error.status >= 500:
                    log.error("%s: %s", error.reason, error.message)
                found = reasons.problem(language_of(request), error)
            except (RequestValidationError, ValidationError) as error:
                found = reasons.invalid(language_of(request), list(error.errors()))
            return await error_page(request, found)

        return handler


def sign_in_first(request: Request) -> Response:
    """To the login page and back here; a posted form is lost, its page is not."""
    if "text/event-stream" in request.headers.get("accept", ""):
        return Response(status_code=401)  # a stream shows no page; the next look at a part will
    url = request.url
    there = url.path + (f"?{url.query}" if url.query else "") if request.method == "GET" else "/"
    page = Page(request, None)
    if page.is_fragment:  # the reader's page, not its part
        shown = urlsplit(request.headers.get("hx-current-url", ""))
        there = own_path(shown.path + (f"?{shown.query}" if shown.query else ""))
    return page.redirect(f"/login?next={quote(there, safe='')}")


async def error_page(request: Request, problem: reasons.Problem) -> Response:
    try:
        known = await current_session(request)
    except SuanwangError:
        known = None  # the call was refused for its missing CSRF token: a page without a frame
    page = Page(request, known)
    answer = page.render("error.html", problem.status, problem=problem)
    answer.headers["X-Reason"] = problem.reason
    return answer
