"""Where implementations meet ports: the only module that knows them all."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

from fastapi import FastAPI

from suanwang.edge.api.app import create_app
from suanwang.edge.api.context import Context
from suanwang.edge.api.metrics import count_charges
from suanwang.edge.api.routes_blobs import limits_of
from suanwang.edge.api.routes_programmes import cards_of
from suanwang.edge.api.security import SecuritySettings
from suanwang.edge.portal.pages import install as install_portal
from suanwang.engines.scheduling.model import Policy
from suanwang.grid.data import garbage
from suanwang.grid.data.depot import Depot
from suanwang.grid.jobs import benches, housekeeping, reading, retention
from suanwang.grid.jobs.delivery import Deliveries
from suanwang.grid.jobs.desk import AgentDesk
from suanwang.grid.jobs.estimates import SUBSCRIBER as ESTIMATES
from suanwang.grid.jobs.estimates import RunEnded, RuntimeEstimates
from suanwang.grid.jobs.grants import NOTHING
from suanwang.grid.jobs.reconciler import ROUND_SIGNAL, Dispatcher
from suanwang.kernel.errors import InvalidInput, SuanwangError, Unavailable
from suanwang.kernel.money import parse_yuan
from suanwang.kernel.time import MS_PER_DAY, MS_PER_SECOND, Clock
from suanwang.platform.blob_stores import open_blob_store
from suanwang.platform.clock import RehearsalClock, SystemClock, SystemRandom
from suanwang.platform.database import Tx, open_database
from suanwang.platform.entropy import nonce_text
from suanwang.platform.leader import RENEW_EVERY_S, Leader, guard_of
from suanwang.platform.migrations import migrate
from suanwang.platform.outbox import Outbox
from suanwang.platform.settings import Settings
from suanwang.platform.signal_relay import SignalRelay
from suanwang.platform.signals import Signals, wait_for
from suanwang.platform.telemetry import Telemetry
from suanwang.tenancy import audit
from suanwang.tenancy.access import bootstrap_platform
from suanwang.tenancy.model import Bootstrap
from suanwang.tenancy.secrets_box import SecretsBox
from suanwang.trade.billing import service as billing
from suanwang.trade.catalogue.rules import figure_of
from suanwang.trade.ledger import service as ledger
from suanwang.trade.market import deals, listings, quotations, quotations_award, watch
from suanwang.trade.market import reading as market
from suanwang.trade.market.auction_clearing import Auctioneer
from suanwang.trade.market.auctions import Timetable
from suanwang.trade.policy import redemption
from suanwang.trade.policy import service as policy
from suanwang.trade.settlement import closing

log = logging.getLogger("suanwang")
KEY_FILE = "secrets.key"
REHEARSAL_FILE = "rehearsal.json"
COLLECT = (10_000, 20, 20)
"""When the collector of garbage looks. A batch makes hundreds of thousands of objects, and books
keep as many: at Python's own pace it takes a third of a batch's time, and finds nothing."""
OUTBOX_EVERY_S = 0.25
BENCHES_EVERY_S = 2.0
HOUSEKEEPING_EVERY_S = 600.0
MARKET_EVERY_S = 5.0
"""How long after the hour the books of what is delivered now may stay open."""
AUCTIONS_EVERY_S = 10.0
"""How long after its hour a round may stay open, and a day without one."""
WATCH_EVERY_MS = 10 * 60 * 1_000
CLOSES_EVERY_S = 300.0
FIRST_GARBAGE_S = 60.0
"""After a start: a process that never lives for an hour collects as well."""


def process_name() -> str:
    """No other process has it, nor this one after a restart."""
    return f"{socket.gethostname()[:30]}:{os.getpid()}:{nonce_text()[:12]}"


def make_context(settings: Settings, clock: Clock | None = None) -> Context:
    """Open everything that the control plane stands on; the database is brought up to date."""
    state = Path(settings.state)
    state.mkdir(parents=True, exist_ok=True)
    clock, random = clock or _clock_of(settings, state), SystemRandom()
    migrate(settings.database_url)
    database = open_database(settings.database_url, clock, random)
    signals = Signals()
    outbox = Outbox()
    telemetry = Telemetry()
    billing.subscribe(
        outbox,
        fee_percent=settings.fee_percent,
        on_charged=partial(count_charges, telemetry),
        relieve=partial(redemption.relieve, cards=cards_of),
    )
    estimates = RuntimeEstimates()
    outbox.subscribe(ESTIMATES, RunEnded, estimates.learn)
    secrets = SecretsBox.from_file(state / KEY_FILE)
    alone = settings.database_url.startswith("sqlite")
    leader = None if alone else Leader(database, "dispatch", process_name())
    guard = guard_of(leader)
    dispatcher = Dispatcher(
        database,
        clock,
        signals,
        policy=Policy(preemption=settings.preemption),
        guard=guard,
    )
    desk = AgentDesk(
        database,
        outbox,
        signals,
        dispatcher,
        secrets.open,
        settings,
        single_process=alone,
    )
    return Context(
        settings=settings,
        security=SecuritySettings(
            calls_per_second=settings.rate_limit_per_s,
            calls_burst=settings.rate_limit_burst,
            body_limit_bytes=settings.max_body_mib * 1024 * 1024,
            always_https=settings.public_url.startswith("https://"),
            public_origins=(settings.public_url,) if settings.public_url else (),
        ),
        database=database,
        clock=clock,
        random=random,
        outbox=outbox,
        signals=signals,
        secrets=secrets,
        dispatcher=dispatcher,
        estimates=estimates,
        desk=desk,
        auctioneer=Auctioneer(
            database,
            clock,
            Timetable(settings.auction_close_hour, settings.auction_rounds_ahead),
            guard=guard,
        ),
        blobs=open_blob_store(settings.blobs_url),
        figures=figure_of,
        telemetry=telemetry,
        leader=leader,
    )


def _clock_of(settings: Settings, state: Path) -> Clock:
    if not settings.rehearsal:
        return SystemClock()
    if not settings.database_url.startswith("sqlite"):
        raise InvalidInput(
            "RehearsalShared",
            "A rehearsal keeps its time in one process.",
            hint="Rehearse with SQLite: leave the setting `database` empty.",
            field="rehearsal",
        )
    return RehearsalClock(state / REHEARSAL_FILE, SystemClock())


async def first_start(context: Context, admin_password: str | None = None) -> Bootstrap:
    """Make the operator, its project and its token on an empty database; else find them."""
    credit = parse_yuan(context.settings.initial_credit_yuan)

    def use_case(tx: Tx) -> Bootstrap:
        made = bootstrap_platform(tx, admin_password)
        policy.publish_shipped(tx)
        context.estimates.load(tx.conn)
        if made.created:
            ledger.project_accounts(tx, [made.project_id])
            ledger.set_credit_limit(tx, made.project_id, credit)
        return made

    return await context.database.write(use_case)


class Loops:
    """Background work of one process; of several, all deliver facts and the leader plans."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._depot = Depot(context.database, context.blobs, limits_of(context))
        self._deliveries = Deliveries(
            context.database,
            context.clock,
            context.signals,
            context.outbox,
            every_ms=context.settings.contract_look_every_s * MS_PER_SECOND,
            preemption=context.settings.preemption,
            guard=guard_of(context.leader),
        )
        self._garbage_in_s = min(FIRST_GARBAGE_S, context.settings.garbage_every_s)
        self._watched_at_ms = 0
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._context.signals.bind(asyncio.get_running_loop())
        for step in (
            self._rounds,
            self._sweeps,
            self._outbox,
            self._market,
            self._benches,
            self._auctions,
            self._housekeeping,
            self._garbage,
            self._closes,
        ):
            self._tasks.append(asyncio.create_task(self._for_ever(step)))
        if self._context.leader is not None:
            self._tasks.append(asyncio.create_task(self._for_ever(self._campaign)))
            url = self._context.settings.database_url
            relay = SignalRelay(url, self._context.signals, process_name())
            self._tasks.append(asyncio.create_task(relay.run()))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._context.leader is not None:
            with contextlib.suppress(SuanwangError):
                await self._context.leader.resign()

    @property
    def _leads(self) -> bool:
        return self._context.leader is None or self._context.leader.leads

    async def _campaign(self) -> None:
        leader = self._context.leader
        if leader is not None:
            led = leader.leads
            try:
                leads = await leader.campaign()
            except Unavailable:
                self._context.dispatcher.was_deaf()
                raise
            if leads and not led:
                log.info("this process leads now, term %s", leader.term)
                await self._context.database.read(self._context.estimates.load)
                self._context.signals.notify(ROUND_SIGNAL)
        await asyncio.sleep(RENEW_EVERY_S)

    async def _housekeeping(self) -> None:
        more = False
        if self._leads:
            for step in (housekeeping.tidy, self._purge, self._forget_audit, redemption.expire):
                more = await self._context.database.write(step) or more
        else:
            await self._context.database.read(self._context.estimates.load)
        await asyncio.sleep(1.0 if more else HOUSEKEEPING_EVERY_S)

    def _purge(self, tx: Tx) -> bool:
        settings = self._context.settings
        kept = retention.Retention(settings.output_retention_days, settings.job_retention_days)
        return retention.purge(tx, kept)

    def _forget_audit(self, tx: Tx) -> bool:
        days = self._context.settings.audit_retention_days
        if not days:
            return False
        return audit.forget_before(tx, tx.now_ms - days * MS_PER_DAY, retention.BATCH)

    async def _garbage(self) -> None:
        """The pause comes first: what fails is tried again in its turn, not every second."""
        pause_s, self._garbage_in_s = self._garbage_in_s, self._context.settings.garbage_every_s
        await asyncio.sleep(pause_s)
        if not self._leads:
            return
        found = await garbage.collect(
            self._depot,
            self._context.clock.now_ms(),
            reading.referenced,
            guard=guard_of(self._context.leader),
        )
        self._context.telemetry.garbage(found.deleted, found.freed_bytes)
        if found != garbage.Collected():
            log.info("garbage: %s", found)

    async def _closes(self) -> None:
        """Days that have been over for some hours; a day that does not balance is told again."""
        hours = self._context.settings.close_after_hours
        if hours and self._leads:
            now_ms = self._context.clock.now_ms()
            closed = await closing.close_due(self._context.database, now_ms, hours, by="system")
            if closed:
                log.info("closed %s days of the books", closed)
        await asyncio.sleep(CLOSES_EVERY_S)

    async def _for_ever(self, step: Callable[[], Awaitable[None]]) -> None:
        """A failing step is told and tried again; it never ends the loop."""
        while True:
            try:
                await step()
            except SuanwangError as error:
                log.warning("%s: %s", error.reason, error)
                await asyncio.sleep(1.0)
            except Exception:
                log.exception("a background step failed")
                await asyncio.sleep(1.0)

    async def _rounds(self) -> None:
        settings = self._context.settings
        woken = self._context.signals.listen(ROUND_SIGNAL)
        if self._leads:
            began = time.perf_counter()
            applied = await self._context.dispatcher.round()
            if applied is not NOTHING:
                seconds = time.perf_counter() - began
                self._context.telemetry.round(seconds, applied.placed, applied.stale)
        await asyncio.sleep(settings.round_gap_ms / 1000)
        await wait_for(woken, settings.round_every_ms / 1000)

    async def _sweeps(self) -> None:
        if self._leads:
            await self._context.dispatcher.sweep()
            await self._deliveries.step()
        await asyncio.sleep(self._context.settings.sweep_every_ms / 1000)

    async def _market(self) -> None:
        if self._leads:
            now_ms = self._context.clock.now_ms()
            await self._end_what_is_due(now_ms)
            await self._watch(now_ms)
        await asyncio.sleep(MARKET_EVERY_S)

    async def _end_what_is_due(self, now_ms: int) -> None:
        """Books, listings, enquiries and deals, each in a transaction of its own: one that fails
        holds up no other. Mostly nothing is due: that much a read can tell."""
        database, box = self._context.database, self._context.secrets
        ends: list[Callable[[Tx], object]] = []
        for name in await database.read(lambda conn: market.begun(conn, now_ms)):
            ends.append(partial(self._context.books.expire, name=name))
        if await database.read(lambda conn: listings.has_ended(conn, now_ms)):
            ends.append(listings.expire)
        for enquiry in await database.read(lambda conn: quotations.due(conn, now_ms)):
            ends.append(partial(quotations_award.award, box=box, enquiry_id=enquiry))
        for deal in await database.read(lambda conn: deals.due(conn, now_ms)):
            ends.append(partial(deals.expire, deal_id=deal))
        for end in ends:
            try:
                await database.write(end)
            except SuanwangError as error:
                log.warning("%s: %s", error.reason, error)
            except Exception:
                log.exception("something of the market could not be ended")

    async def _auctions(self) -> None:
        """The pause comes first: what fails is tried again in its turn."""
        await asyncio.sleep(AUCTIONS_EVERY_S)
        if self._leads:
            await self._context.auctioneer.step()

    async def _watch(self, now_ms: int) -> None:
        """Surveillance, now and then: an hour late is early enough for people to look."""
        if now_ms < self._watched_at_ms + WATCH_EVERY_MS:
            return
        self._watched_at_ms = now_ms
        found = await self._context.database.read(lambda conn: watch.look(conn, now_ms))
        if found:
            await self._context.database.write(lambda tx: watch.keep(tx, found))

    async def _benches(self) -> None:
        """Results of the micro-benchmark are taken once their runs have ended."""
        await asyncio.sleep(BENCHES_EVERY_S)
        if not self._leads:
            return
        unseal = self._context.secrets.open
        for ticket in await self._context.database.read(benches.due):
            await self._context.database.write(partial(benches.take, ticket=ticket, unseal=unseal))

    async def _outbox(self) -> None:
        for name in self._context.outbox.subscribers:
            if name == ESTIMATES and not self._leads:
                continue  # what was learnt is kept in memory, so one process learns
            await self._context.outbox.deliver(self._context.database, name)
        # a batch costs milliseconds whatever its size, so facts gather for a while
        await asyncio.sleep(OUTBOX_EVERY_S)


def make_app(
    settings: Settings, on_first_start: Callable[[Bootstrap], None] | None = None
) -> FastAPI:
    """The whole control plane of one process, for any ASGI server.

    `on_first_start` is told who the operator is; password and token only when just made.
    """
    context = make_context(settings)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        operator = await first_start(context)
        if on_first_start is not None:
            on_first_start(operator)
        gc.set_threshold(*COLLECT)
        loops = Loops(context)
        loops.start()
        try:
            yield
        finally:
            await loops.stop()
            await context.database.close()

    app = create_app(context, lifespan)
    install_portal(app)
    return app
