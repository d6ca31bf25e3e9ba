"""The way to the control plane over HTTPS: outbound only, MessagePack both ways."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

import httpx
import msgspec

from suanwang.kernel.errors import (
    Conflict,
    PermanentError,
    SuanwangError,
    Unauthenticated,
    Unavailable,
)
from suanwang.protocol import VERSION
from suanwang.protocol.messages import (
    EnrolReply,
    EnrolRequest,
    LogReply,
    LogRequest,
    PollReply,
    PollRequest,
    ProtocolError,
    ReconcileReply,
    ReconcileRequest,
    decode,
    encode,
)

T = TypeVar("T")
PREFIX = "/agent/v1"
MEDIA_TYPE = "application/msgpack"


class HttpLink:
    """Implements the host's Link; `http` is shared with transfers of content."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def enrol(self, request: EnrolRequest) -> EnrolReply:
        return await self._post("enrol", request, EnrolReply, 30.0)

    async def reconcile(self, request: ReconcileRequest) -> ReconcileReply:
        return await self._post("reconcile", request, ReconcileReply, 60.0)

    async def poll(self, request: PollRequest, timeout_s: float) -> PollReply:
        return await self._post("poll", request, PollReply, timeout_s)

    async def send_logs(self, request: LogRequest) -> LogReply:
        return await self._post("logs", request, LogReply, 30.0)

    async def rotate(self) -> EnrolReply:
        return await self._post("rotate", None, EnrolReply, 30.0)

    async def _post(
        self, path: str, message: msgspec.Struct | None, kind: type[T], timeout_s: float
    ) -> T:
        try:
            response = await self.http.post(
                f"{PREFIX}/{path}",
                content=encode(message) if message is not None else b"",
                timeout=httpx.Timeout(timeout_s, connect=10.0),
            )
        except httpx.RequestError as error:
            raise Unavailable(
                "ControlPlaneUnreachable",
                f"The control plane does not answer ({type(error).__name__}).",
                hint="The agent tries again by itself.",
            ) from error
        if response.status_code == 200:
            try:
                return decode(response.content, kind)
            except msgspec.MsgspecError as error:
                raise Unavailable(
                    "ReplyUnreadable", f"An answer could not be read: {error}"
                ) from error
        raise refusal(response.status_code, response.content)


def refusal(status: int, body: bytes) -> SuanwangError:
    """The error that an answer with this status stands for, on every route of agents."""
    said = None
    try:
        said = decode(body, ProtocolError)
    except msgspec.MsgspecError:
        pass  # a proxy's own page
    reason = said.reason if said is not None else f"Http{status}"
    message = said.message if said is not None else f"The control plane answered {status}."
    # a limit of ours (429) stays unless it is one of speed; a proxy's 429 always is
    slow_down = status == 429 and (said is None or reason == "RateLimited")
    kind: type[SuanwangError] = PermanentError
    if status >= 500 or status in (408, 425) or slow_down:
        kind = Unavailable
    elif status in (401, 403):
        kind = Unauthenticated
    elif status == 409:
        kind = Conflict
    return kind(reason, message, hint=said.hint if said is not None else "")


@asynccontextmanager
async def open_http(
    server: str, credential: str, ca_file: str = ""
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the control plane with the site's credential."""
    verify: ssl.SSLContext | bool = True
    if ca_file:
        verify = ssl.create_default_context(cafile=ca_file)
    headers = {"Content-Type": MEDIA_TYPE, "Suanwang-Protocol": str(VERSION)}
    if credential:
        headers["Authorization"] = f"Bearer {credential}"
    limits = httpx.Limits(max_connections=16, max_keepalive_connections=8)
    async with httpx.AsyncClient(
        base_url=server, headers=headers, verify=verify, limits=limits, trust_env=False
    ) as http:
        yield http
