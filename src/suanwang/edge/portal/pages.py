"""All pages, and how they are fitted to the application."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from suanwang.edge.portal import (
    routes_admin,
    routes_alerts,
    routes_auctions,
    routes_board,
    routes_books,
    routes_catalogue,
    routes_contracts,
    routes_deals,
    routes_device,
    routes_finance,
    routes_job,
    routes_jobs,
    routes_listings,
    routes_login,
    routes_offers,
    routes_overview,
    routes_programmes,
    routes_quotations,
    routes_sites,
    routes_statement,
    routes_submit,
    routes_tokens,
    routes_trading,
    routes_vouchers,
)
from suanwang.edge.portal.errors import error_page
from suanwang.edge.portal.reasons import problem
from suanwang.edge.portal.rendering import STATIC, language_of
from suanwang.kernel.errors import NotFound

PARTS = (
    routes_login,
    routes_overview,
    routes_jobs,
    routes_submit,  # before a job's page: /jobs/new is no job
    routes_job,
    routes_sites,
    routes_offers,
    routes_board,
    routes_listings,  # before an instrument's page: /market/listings is none
    routes_alerts,  # nor is /market/alerts
    routes_trading,
    routes_contracts,
    routes_catalogue,
    routes_quotations,
    routes_deals,
    routes_statement,
    routes_programmes,
    routes_vouchers,
    routes_tokens,
    routes_admin,
    routes_books,
    routes_finance,
    routes_auctions,
    routes_device,
)
MACHINES = ("/v1/", "/agent/", "/static/", "/healthz", "/readyz", "/metrics")


class Assets(StaticFiles):
    """Addresses carry a digest of the content (`asset`), so caches keep it for good."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        answer = await super().get_response(path, scope)
        if answer.status_code == 200 and b"v=" in scope.get("query_string", b""):
            answer.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return answer


def install(app: FastAPI) -> None:
    """Pages at the root, their files under /static; unknown addresses get a page as well."""
    app.mount("/static", Assets(directory=STATIC), name="static")
    for part in PARTS:
        app.routes.extend(part.router.routes)
    otherwise: Any = app.exception_handlers.get(HTTPException)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        wants_page = "text/html" in request.headers.get("accept", "")
        if error.status_code == 404 and wants_page and not request.url.path.startswith(MACHINES):
            missing = NotFound("PageNotFound", f"There is nothing at {request.url.path}.")
            return await error_page(request, problem(language_of(request), missing))
        answer: Response = await otherwise(request, error)
        return answer
