"""What knowing the caller costs: the same route with and without, in one process on one core.

Calls the application directly (ASGI, no sockets), so that the difference is ours alone. The limit
measured beside it is the framework's: the same route with no middleware and no authentication.
"""

from __future__ import annotations

import asyncio
import json
import platform
import time
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI
from starlette.responses import Response

from suanwang.edge.api.auth import Caller
from suanwang.edge.api.security import SecurityMiddleware, SecuritySettings
from suanwang.kernel.time import Clock
from suanwang.platform.clock import SystemClock, SystemRandom
from suanwang.platform.database import Database, InlineDatabase
from suanwang.platform.schema import metadata
from suanwang.tenancy.access import bootstrap_platform

CALLS = 20_000
ROUNDS = 5


@dataclass
class BenchContext:
    database: Database
    clock: Clock
    security: SecuritySettings = field(default_factory=SecuritySettings)


def make_app(context: BenchContext, *, guarded: bool) -> FastAPI:
    app = FastAPI()
    app.state.context = context
    if guarded:

        @app.get("/v1/thing")
        async def thing(principal: Caller) -> Response:
            return Response(principal.user_name, media_type="text/plain")

        app.add_middleware(SecurityMiddleware, settings=context.security)
    else:

        @app.get("/v1/thing")
        async def open_thing() -> Response:
            return Response("admin", media_type="text/plain")

    return app


async def calls_per_s(app: FastAPI, token: str, calls: int) -> float:
    headers = [(b"host", b"bench"), (b"authorization", f"Bearer {token}".encode())]
    statuses: list[int] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    began = time.perf_counter()
    for _ in range(calls):
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/v1/thing",
            "raw_path": b"/v1/thing",
            "root_path": "",
            "query_string": b"",
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        await app(scope, receive, send)
    elapsed = time.perf_counter() - began
    if set(statuses) != {200}:
        raise SystemExit(f"calls failed: {set(statuses)}")
    return calls / elapsed


async def main() -> None:
    clock = SystemClock()
    database = InlineDatabase(clock, SystemRandom())
    metadata.create_all(database.engine)
    token = database.write_now(bootstrap_platform).token or ""
    context = BenchContext(
        database, clock, SecuritySettings(calls_per_second=1e6, calls_burst=10**6)
    )
    plain, guarded = make_app(context, guarded=False), make_app(context, guarded=True)
    best = {"plain": 0.0, "guarded": 0.0}
    for _ in range(ROUNDS):  # in turns, so that both meet the same noise
        best["plain"] = max(best["plain"], await calls_per_s(plain, token, CALLS // ROUNDS))
        best["guarded"] = max(best["guarded"], await calls_per_s(guarded, token, CALLS // ROUNDS))
    cost_us = 1e6 / best["guarded"] - 1e6 / best["plain"]
    print(f"framework alone       {best['plain']:>10,.0f} calls/s")
    print(f"with gate and headers {best['guarded']:>10,.0f} calls/s, {cost_us:.0f} us more a call")
    print(
        json.dumps(
            {
                "bench": "authentication",
                "python": platform.python_version(),
                "calls": CALLS,
                "framework_calls_per_s": round(best["plain"]),
                "authenticated_calls_per_s": round(best["guarded"]),
                "ratio": round(best["guarded"] / best["plain"], 3),
                "cost_us": round(cost_us, 1),
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(main())
