"""`/metrics` for Prometheus, and the middleware that counts requests.

Scraping needs a token of the operator's: the figures of the whole grid are nobody else's business.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from starlette.responses import Response

from suanwang.edge.api.auth import Caller
from suanwang.edge.api.context import Context
from suanwang.edge.api.security import App, Message, Receive, Scope, Send
from suanwang.grid.jobs import figures
from suanwang.kernel.errors import Forbidden
from suanwang.platform.telemetry import MEDIA_TYPE, Telemetry
from suanwang.trade.billing.model import Charge, UsageRecord

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
AGENT_PREFIX = "/agent/v1/"
FRESH_FOR_S = 2.0
"""Several scrapers share one look at the database."""


def install(app: FastAPI, context: Context) -> None:
    """Count every request; answer `/metrics`. Called last, so that its middleware is outermost."""
    sampling = Sampling(context)

    @app.get("/metrics", tags=["health"], include_in_schema=False)
    async def metrics(principal: Caller) -> Response:
        if not principal.is_operator:
            raise Forbidden(
                "OperatorsOnly",
                "Only the operator may read the platform's figures.",
                hint="Use a token of the operator's organisation.",
            )
        return Response(await sampling.render(), media_type=MEDIA_TYPE)

    app.add_middleware(CountingMiddleware, telemetry=context.telemetry)


def count_charges(
    telemetry: Telemetry, new: Sequence[Charge], records: Sequence[UsageRecord]
) -> None:
    """Subscriber of billing: the records are those of the batch, charged now or before."""
    charged = {(one.source, one.usage_id) for one in new}
    mine = [record for record in records if (record.source, record.id) in charged]
    telemetry.charges(
        sum(one.amount_micro_yuan for one in new),
        {
            "core": sum(record.core_milli_seconds for record in mine) / 1_000,
            "memory_gib": sum(record.memory_mib_seconds for record in mine) / 1_024,
            "accelerator": sum(record.accelerator_milli_seconds for record in mine) / 1_000,
        },
    )


class Sampling:
    """One look at the database at a time, good for some seconds."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = asyncio.Lock()
        self._at_s = -FRESH_FOR_S

    async def render(self) -> bytes:
        context = self._context
        async with self._lock:
            if time.monotonic() - self._at_s >= FRESH_FOR_S:
                now_ms = context.clock.now_ms()
                leads = context.leader is None or context.leader.leads
                sample = await context.database.read(
                    lambda conn: figures.sample(conn, now_ms, leads=leads)
                )
                context.telemetry.show(sample)
                self._at_s = time.monotonic()
        context.telemetry.errors(getattr(context.database, "troubles", {}))
        return context.telemetry.render()


class CountingMiddleware:
    """By route, never by path: ids in labels would fill the scraper's memory."""

    def __init__(self, app: App, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        told = False

        async def counted(message: Message) -> None:
            nonlocal told
            if message["type"] == "http.response.start" and not told:
                told = True
                seconds = time.perf_counter() - began
                self._count(scope, message["status"], seconds)
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            if not told:  # the caller went away, or the handler failed before it said anything
                self._count(scope, 499, time.perf_counter() - began)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        """Whoever makes up methods fills no memory either."""
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        self._telemetry.request(method, route_of(scope), status, seconds)


def route_of(scope: Scope) -> str:
    """The route's own path, with its parameters by name."""
    route: Any = scope.get("route")
    known = getattr(route, "path", None)
    if known:
        return str(known)
    path: str = scope["path"]
    if path.startswith(AGENT_PREFIX) and "endpoint" in scope:
        return AGENT_PREFIX + path[len(AGENT_PREFIX) :].partition("/")[0]
    return "unmatched"
