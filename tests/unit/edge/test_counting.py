"""What the counting of requests may be made to remember."""

from __future__ import annotations

import pytest

from suanwang.edge.api.metrics import CountingMiddleware
from suanwang.edge.api.security import Message, Receive, Scope, Send
from suanwang.platform.telemetry import Telemetry


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def hear() -> Message:
    return {"type": "http.request"}


async def drop(message: Message) -> None: ...


async def test_made_up_methods_and_paths_are_one_series() -> None:
    telemetry = Telemetry()
    counting = CountingMiddleware(answer, telemetry)
    for number in range(20):
        scope = {"type": "http", "method": f"M{number}", "path": f"/{number}"}
        await counting(scope, hear, drop)
    series = [one for one in telemetry.render().decode().splitlines() if 'method="' in one]
    totals = [one for one in series if "_total{" in one]
    assert len(totals) == 1
    assert 'method="OTHER"' in totals[0]
    assert 'route="unmatched"' in totals[0]
    assert totals[0].endswith(" 20.0")


async def test_a_request_that_is_given_up_is_counted_too() -> None:
    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("the handler failed")

    telemetry = Telemetry()
    with pytest.raises(RuntimeError):
        await CountingMiddleware(fail, telemetry)(
            {"type": "http", "method": "GET", "path": "/x"}, hear, drop
        )
    assert 'status="499"' in telemetry.render().decode()
