"""The application: routes, errors, security, health and metrics around one context."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI, Request
from starlette.responses import Response

import suanwang
from suanwang.edge.api import metrics, problems
from suanwang.edge.api.application import Application
from suanwang.edge.api.context import Context
from suanwang.edge.api.routes_agent import AgentRoutes
from suanwang.edge.api.routes_agent_blobs import AgentBlobRoutes
from suanwang.edge.api.routes_blobs import limits_of
from suanwang.edge.api.security import SecurityMiddleware
from suanwang.edge.api.views import json_response
from suanwang.grid.data.depot import Depot
from suanwang.grid.jobs import reading

ROUTERS = (
    "suanwang.edge.api.routes_jobs",
    "suanwang.edge.api.routes_logs",
    "suanwang.edge.api.routes_sites",
    "suanwang.edge.api.routes_links",
    "suanwang.edge.api.routes_catalogue",
    "suanwang.edge.api.routes_session",
    "suanwang.edge.api.routes_tenancy",
    "suanwang.edge.api.routes_billing",
    "suanwang.edge.api.routes_ledger",
    "suanwang.edge.api.routes_market",
    "suanwang.edge.api.routes_market_data",
    "suanwang.edge.api.routes_alerts",
    "suanwang.edge.api.routes_listings",
    "suanwang.edge.api.routes_contracts",
    "suanwang.edge.api.routes_closes",
    "suanwang.edge.api.routes_invoices",
    "suanwang.edge.api.routes_disputes",
    "suanwang.edge.api.routes_focus",
    "suanwang.edge.api.routes_quotations",
    "suanwang.edge.api.routes_deals",
    "suanwang.edge.api.routes_auctions",
    "suanwang.edge.api.routes_programmes",
    "suanwang.edge.api.routes_vouchers",
    "suanwang.edge.api.routes_blobs",
    "suanwang.edge.api.routes_rehearsal",
)

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(context: Context, lifespan: Lifespan | None = None) -> FastAPI:
    """Routes over a context that bootstrap has made."""
    app = Application(
        title="Suanwang",
        version=suanwang.__version__,
        description="One market and one dispatch desk over everybody's computers.",
        lifespan=lifespan,
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        # our own figures are Prometheus's; asking OpenTelemetry costs each request otherwise
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.context = context
    problems.install(app)
    for name in ROUTERS:
        app.routes.extend(importlib.import_module(name).router.routes)
    app.state.agent_routes = AgentRoutes(context)
    app.router.routes.extend(app.state.agent_routes.routes())
    app.state.depot = Depot(context.database, context.blobs, limits_of(context))
    content = AgentBlobRoutes(app.state.depot, app.state.agent_routes.site_of, reading)
    app.router.routes.extend(content.routes())
    _add_health(app, context)
    app.add_middleware(SecurityMiddleware, settings=context.security)
    if context.settings.telemetry:
        metrics.install(app, context)
    return app


def _add_health(app: FastAPI, context: Context) -> None:
    @app.get("/healthz", tags=["health"])
    async def healthz() -> dict[str, Any]:
        """The process answers."""
        return {"status": "ok", "version": suanwang.__version__}

    @app.get("/readyz", tags=["health"])
    async def readyz() -> Response:
        """The database answers too."""
        try:
            await context.database.read(lambda conn: conn.execute(sa.text("SELECT 1")).scalar())
        except Exception as error:
            return json_response({"status": "unavailable", "detail": str(error)}, 503)
        return json_response({"status": "ready"})

    @app.get("/v1/version", tags=["health"])
    async def version(_request: Request) -> dict[str, str]:
        return {"version": suanwang.__version__}
