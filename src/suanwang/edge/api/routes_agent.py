"""The agents' routes: MessagePack in and out, authorised by the site's own credential."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from suanwang.edge.api.context import Context
from suanwang.grid.sites import service as sites
from suanwang.kernel.errors import InvalidInput, SuanwangError, Unauthenticated
from suanwang.protocol import VERSION
from suanwang.protocol.messages import (
    EnrolReply,
    EnrolRequest,
    LogRequest,
    PollRequest,
    ProtocolError,
    ReconcileRequest,
    decode,
    encode,
)

T = TypeVar("T")
MEDIA_TYPE = "application/msgpack"
MAX_BODY = 64 * 1024 * 1024
CREDENTIAL_TTL_S = 5.0


def reply(message: msgspec.Struct) -> Response:
    return Response(encode(message), media_type=MEDIA_TYPE)


def refuse(error: SuanwangError) -> Response:
    body = encode(ProtocolError(error.reason, error.message, error.hint))
    return Response(body, status_code=error.status, media_type=MEDIA_TYPE)


async def body_of(request: Request, kind: type[T]) -> T:
    data = await request.body()
    if len(data) > MAX_BODY:
        raise InvalidInput("MessageTooLarge", f"At most {MAX_BODY} bytes.")
    try:
        return decode(data, kind)
    except msgspec.MsgspecError as error:
        raise InvalidInput("MessageUnreadable", str(error)) from error


def _shown(request: Request) -> str:
    """The credential that came along; "" for none."""
    return request.headers.get("authorization", "").removeprefix("Bearer ").strip()


class AgentRoutes:
    """Handlers over one context; a small cache spares a look-up for every poll."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._credentials: dict[str, tuple[str, float]] = {}

    def routes(self) -> list[BaseRoute]:
        handlers = {
            "enrol": self.enrol,
            "reconcile": self.reconcile,
            "poll": self.poll,
            "logs": self.logs,
            "rotate": self.rotate,
        }
        return [
            Route(f"/agent/v1/{name}", _guarded(handler), methods=["POST"])
            for name, handler in handlers.items()
        ]

    async def site_of(self, request: Request) -> str:
        version = request.headers.get("suanwang-protocol", "")
        if version != str(VERSION):
            raise InvalidInput(
                "ProtocolVersion",
                f"This control plane speaks protocol {VERSION}, the agent {version or 'none'}.",
                hint="Upgrade the older of the two.",
            )
        secret = _shown(request)
        if not secret:
            raise Unauthenticated("CredentialMissing", "An agent shows its credential.")
        at_s = time.monotonic()
        known = self._credentials.get(secret)
        if known is not None and at_s - known[1] < CREDENTIAL_TTL_S:
            return known[0]
        speaker = await self._context.database.read(
            lambda conn: sites.speaker_of_credential(conn, secret)
        )
        if speaker.succeeds:
            await self._context.database.write(lambda tx: sites.settle_rotation(tx, secret))
            self.forget_credentials()
        if len(self._credentials) > 10_000:
            self._credentials.clear()
        self._credentials[secret] = (speaker.site_id, at_s)
        return speaker.site_id

    def forget_credentials(self) -> None:
        """After a revocation, at once in this process."""
        self._credentials.clear()

    async def enrol(self, request: Request) -> Response:
        message = await body_of(request, EnrolRequest)
        random = self._context.random
        return reply(
            await self._context.database.write(lambda tx: sites.enrol(tx, message, random))
        )

    async def rotate(self, request: Request) -> Response:
        site_id, secret = await self.site_of(request), _shown(request)
        random = self._context.random
        credential = await self._context.database.write(
            lambda tx: sites.rotate_credential(tx, site_id, secret, random)
        )
        site = await self._context.database.read(lambda conn: sites.require_site(conn, site_id))
        return reply(EnrolReply(site_id, site.name, credential))

    async def reconcile(self, request: Request) -> Response:
        site_id = await self.site_of(request)
        message = await body_of(request, ReconcileRequest)
        return reply(await self._context.desk.reconcile(site_id, message))

    async def poll(self, request: Request) -> Response:
        site_id = await self.site_of(request)
        message = await body_of(request, PollRequest)
        return reply(await self._context.desk.poll(site_id, message))

    async def logs(self, request: Request) -> Response:
        site_id = await self.site_of(request)
        message = await body_of(request, LogRequest)
        return reply(await self._context.desk.logs(site_id, message))


Handler = Callable[[Request], Awaitable[Response]]


def _guarded(handler: Handler) -> Handler:
    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except SuanwangError as error:
            return refuse(error)

    return guarded
