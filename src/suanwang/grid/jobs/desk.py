"""The desk where agents are served: the same in production and in simulation."""

from __future__ import annotations

import asyncio
from typing import Protocol

import msgspec

from suanwang.grid.jobs import agents
from suanwang.grid.jobs.orders import Unseal
from suanwang.grid.jobs.reconciler import ROUND_SIGNAL, Dispatcher, job_signal, site_signal
from suanwang.grid.jobs.reports import Taken
from suanwang.platform.database import Database
from suanwang.platform.outbox import Outbox
from suanwang.platform.signals import Signals, wait_for
from suanwang.protocol.messages import (
    LogReply,
    LogRequest,
    PollReply,
    PollRequest,
    ReconcileReply,
    ReconcileRequest,
)

MAX_WAIT_MS = 60_000
TOUCH_EVERY_S = 2.0
LOOK_EVERY_S = 1.0
"""Changes made by other processes are found at the next look."""


class Limits(Protocol):
    """What the desk needs of the settings."""

    @property
    def contact_every_ms(self) -> int: ...

    @property
    def max_log_mib(self) -> int: ...


class AgentDesk:
    """Answers reconciliations, polls and logs of authenticated sites."""

    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        signals: Signals,
        dispatcher: Dispatcher,
        unseal: Unseal,
        limits: Limits,
        *,
        single_process: bool,
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._signals = signals
        self._dispatcher = dispatcher
        self._unseal = unseal
        self._limits = limits
        self._single = single_process
        self._touched: dict[str, float] = {}

    async def reconcile(self, site_id: str, request: ReconcileRequest) -> ReconcileReply:
        totals = await self._dispatcher.totals_now()
        done = await self._database.write(
            lambda tx: agents.reconcile(
                tx,
                self._outbox,
                site_id,
                request,
                unseal=self._unseal,
                totals=totals,
                contact_every_ms=self._limits.contact_every_ms,
            )
        )
        self._announce(done.taken)
        self._signals.notify(ROUND_SIGNAL)
        return done.reply

    async def poll(self, site_id: str, request: PollRequest) -> PollReply:
        """Take the news, then answer with orders: at once, or when there are some, or none."""
        extra: agents.Polled | None = None
        if request.reports or request.pools is not None or self._touch_due(site_id):
            totals = await self._dispatcher.totals_now()
            extra = await self._database.write(
                lambda tx: agents.take_poll(tx, self._outbox, site_id, request, totals=totals)
            )
            self._announce(extra.taken)
            if extra.inventory_changed:
                self._signals.notify(ROUND_SIGNAL)
        news = await self._news(site_id, request)
        if extra is not None and extra.taken.orders:
            news = msgspec.structs.replace(news, orders=[*news.orders, *extra.taken.orders])
        return news

    async def _news(self, site_id: str, request: PollRequest) -> PollReply:
        loop = asyncio.get_running_loop()
        wait_s = min(request.wait_ms, MAX_WAIT_MS, self._limits.contact_every_ms) / 1000
        until = loop.time() + wait_s
        while True:
            woken = self._signals.listen(site_signal(site_id))
            found = await self._database.read(
                lambda conn: agents.news(conn, site_id, request, self._unseal)
            )
            left = until - loop.time()
            if found.orders or left <= 0:
                woken.cancel()
                return found
            await wait_for(woken, left if self._single else min(left, LOOK_EVERY_S))

    def _touch_due(self, site_id: str) -> bool:
        at_s = asyncio.get_running_loop().time()
        if at_s - self._touched.get(site_id, at_s - TOUCH_EVERY_S) < TOUCH_EVERY_S:
            return False
        self._touched[site_id] = at_s
        return True

    def _announce(self, taken: Taken) -> None:
        self._signals.notify(
            *(job_signal(job) for job in sorted(taken.jobs)),
            *(site_signal(site) for site in sorted(taken.sites)),
        )
        if taken.freed:
            self._signals.notify(ROUND_SIGNAL)

    async def logs(self, site_id: str, request: LogRequest) -> LogReply:
        limit = self._limits.max_log_mib * 1024 * 1024
        stored = await self._database.write(
            lambda tx: agents.take_logs(tx, site_id, request.chunks, limit)
        )
        self._signals.notify(*sorted({log_signal(lease_id) for lease_id, _, _ in stored}))
        return LogReply(stored)


def log_signal(lease_id: str) -> str:
    return f"log:{lease_id}"
