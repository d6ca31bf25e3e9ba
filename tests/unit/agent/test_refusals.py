"""What an answer's status means to an agent: the same on every one of its calls."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from suanwang.agent.blob_http import LeaseHttp
from suanwang.agent.link import HttpLink
from suanwang.kernel.errors import PermanentError, TransientError
from suanwang.protocol.messages import LogRequest, ProtocolError, encode

PASSES = (408, 425, 500, 502, 503, 504, 507, 520, 524)
"""The last two are those of a large content network for a server that does not answer."""
PAGE = b"<html>a proxy's own page"
STAYS = (400, 401, 403, 404, 405, 409, 410, 413, 422)


def client(answer: Callable[[httpx.Request], httpx.Response]) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url="http://server", transport=httpx.MockTransport(answer))


async def asked_both_ways(answer: Callable[[httpx.Request], httpx.Response]) -> list[Exception]:
    found: list[Exception] = []
    async with client(answer) as http:
        for ask in (
            lambda: HttpLink(http).send_logs(LogRequest([])),
            lambda: LeaseHttp(http, "lease_1", lambda: 0).call("/agent/v1/x", tries=1),
        ):
            try:
                await ask()
            except Exception as error:
                found.append(error)
    return found


@pytest.mark.parametrize("status", PASSES + STAYS)
@pytest.mark.parametrize("body", [PAGE, encode(ProtocolError("R", "m"))])
async def test_both_kinds_of_calls_agree_on_what_passes(status: int, body: bytes) -> None:
    errors = await asked_both_ways(lambda _request: httpx.Response(status, content=body))
    kind = TransientError if status in PASSES else PermanentError
    assert [isinstance(error, kind) for error in errors] == [True, True], errors


async def test_a_proxys_limit_passes() -> None:
    errors = await asked_both_ways(lambda _request: httpx.Response(429, content=PAGE))
    assert [isinstance(error, TransientError) for error in errors] == [True, True], errors


@pytest.mark.parametrize(
    ("reason", "kind"), [("RateLimited", TransientError), ("StorageQuotaExceeded", PermanentError)]
)
async def test_a_limit_stays_unless_it_is_one_of_speed(reason: str, kind: type[Exception]) -> None:
    body = encode(ProtocolError(reason, "m"))
    errors = await asked_both_ways(lambda _request: httpx.Response(429, content=body))
    assert [isinstance(error, kind) for error in errors] == [True, True], errors


async def test_an_answer_that_cannot_be_decoded_is_trouble_that_passes() -> None:
    """A proxy that breaks the compression it announced must not end the agent."""
    headers = {"content-encoding": "gzip"}
    errors = await asked_both_ways(
        lambda _request: httpx.Response(200, headers=headers, stream=httpx.ByteStream(b"no gzip"))
    )
    assert [isinstance(error, TransientError) for error in errors] == [True, True], errors
