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
from suanwang.grid.jobs import agents
from suanwang.grid.jobs.reconciler import ROUND_SIGNAL, job_signal, site_signal
from suanwang.grid.jobs.reports import Taken
from suanwang.grid.sites import service as sites
from suanwang.kernel.errors import InvalidInput, SuanwangError, Unauthenticated
from suanwang.platform.signals import wait_for
from suanwang.protocol import VERSION
from suanwang.protocol.messages import (
    EnrolReply,
    EnrolRequest,
    LogReply,
    LogRequest,
    PollReply,
    PollRequest,
    ProtocolError,
    ReconcileRequest,
    decode,
    encode,
)

T = TypeVar("T")
MEDIA_TYPE = "application/msgpack"
MAX_BODY = 64 * 1024 * 1024
MAX_WAIT_MS = 60_000
TOUCH_EVERY_S = 2.0
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


class AgentRoutes:
    """Handlers over one context; small caches spare a look-up for every poll."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._credentials: dict[str, tuple[str, float]] = {}
        self._touched: dict[str, float] = {}

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
        secret = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        if not secret:
            raise Unauthenticated("CredentialMissing", "An agent shows its credential.")
        at_s = time.monotonic()
        known = self._credentials.get(secret)
        if known is not None and at_s - known[1] < CREDENTIAL_TTL_S:
            return known[0]
        site_id = await self._context.database.read(
            lambda conn: sites.site_of_credential(conn, secret)
        )
        if len(self._credentials) > 10_000:
            self._credentials.clear()
        self._credentials[secret] = (site_id, at_s)
        return site_id

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
        site_id = await self.site_of(request)
        random = self._context.random
        credential = await self._context.database.write(
            lambda tx: sites.rotate_credential(tx, site_id, random)
        )
        self.forget_credentials()
        site = await self._context.database.read(lambda conn: sites.require_site(conn, site_id))
        return reply(EnrolReply(site_id, site.name, credential))

    async def reconcile(self, request: Request) -> Response:
        site_id = await self.site_of(request)
        message = await body_of(request, ReconcileRequest)
        context = self._context
        done = await context.database.write(
            lambda tx: agents.reconcile(
                tx,
                context.outbox,
                site_id,
                message,
                unseal=context.secrets.open,
                totals=context.dispatcher.totals,
                contact_every_ms=context.settings.contact_every_ms,
            )
        )
        self._announce(done.taken)
        context.signals.notify(ROUND_SIGNAL)
        return reply(done.reply)

    async def poll(self, request: Request) -> Response:
        site_id = await self.site_of(request)
        message = await body_of(request, PollRequest)
        context = self._context
        extra: agents.Polled | None = None
        if message.reports or message.pools is not None or self._touch_due(site_id):
            extra = await context.database.write(
                lambda tx: agents.take_poll(
                    tx, context.outbox, site_id, message, totals=context.dispatcher.totals
                )
            )
            self._announce(extra.taken)
            if extra.inventory_changed:
                context.signals.notify(ROUND_SIGNAL)
        news = await self._news(site_id, message)
        if extra is not None and extra.taken.orders:
            news = msgspec.structs.replace(news, orders=[*news.orders, *extra.taken.orders])
        return reply(news)

    async def _news(self, site_id: str, message: PollRequest) -> PollReply:
        """Orders at once if there are any, else as soon as the site is woken, else none."""
        context = self._context
        wait_s = min(message.wait_ms, MAX_WAIT_MS, context.settings.contact_every_ms) / 1000
        until = time.monotonic() + wait_s
        while True:
            woken = context.signals.listen(site_signal(site_id))
            found = await context.database.read(
                lambda conn: agents.news(conn, site_id, message, context.secrets.open)
            )
            left = until - time.monotonic()
            if found.orders or left <= 0:
                woken.cancel()
                return found
            # other processes' changes are found at the next look
            await wait_for(woken, min(left, 1.0) if not self._single else left)

    @property
    def _single(self) -> bool:
        return self._context.settings.database_url.startswith("sqlite")

    def _touch_due(self, site_id: str) -> bool:
        at_s = time.monotonic()
        if at_s - self._touched.get(site_id, -TOUCH_EVERY_S) < TOUCH_EVERY_S:
            return False
        self._touched[site_id] = at_s
        return True

    def _announce(self, taken: Taken) -> None:
        signals = self._context.signals
        signals.notify(
            *(job_signal(job) for job in sorted(taken.jobs)),
            *(site_signal(site) for site in sorted(taken.sites)),
        )
        if taken.freed:
            signals.notify(ROUND_SIGNAL)

    async def logs(self, request: Request) -> Response:
        site_id = await self.site_of(request)
        message = await body_of(request, LogRequest)
        limit = self._context.settings.max_log_mib * 1024 * 1024
        stored = await self._context.database.write(
            lambda tx: agents.take_logs(tx, site_id, message.chunks, limit)
        )
        self._context.signals.notify(*sorted({f"log:{lease_id}" for lease_id, _, _ in stored}))
        return reply(LogReply(stored))


Handler = Callable[[Request], Awaitable[Response]]


def _guarded(handler: Handler) -> Handler:
    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except SuanwangError as error:
            return refuse(error)

    return guarded
