"""The agent's host: does what the core says, on the real machine or in the simulation.

Two exchanges run side by side within a session: a long poll that waits for orders, and quick
posts that carry news. Both may bring orders; a site's revision makes each order count once.
Any trouble ends the session, and the next one begins with a full reconciliation.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from suanwang.agent.core import (
    Adopted,
    AgentCore,
    Answered,
    Collect,
    Collected,
    Contacted,
    Event,
    Forget,
    Instruction,
    Observed,
    Ordered,
    Prepare,
    Prepared,
    Report,
    Start,
    Stop,
    Ticked,
)
from suanwang.agent.port import Driver, Observation, PreparedRun
from suanwang.kernel.errors import PermanentError, SuanwangError, TransientError, Unauthenticated
from suanwang.protocol.messages import (
    LeaseOrder,
    LogChunk,
    LogReply,
    LogRequest,
    OutputRecord,
    PollReply,
    PollRequest,
    PoolReport,
    ReconcileReply,
    ReconcileRequest,
    RunReport,
    RunSpec,
)

log = logging.getLogger("suanwang.agent")

REPORTS_PER_POST = 500
POST_GAP_S = 0.02
"""News gathers for so long: many short runs share a post."""
TICK_S = 1.0
INVENTORY_S = 15.0
LOG_S = 0.5
FIRST_BACKOFF_S = 0.2
MAX_BACKOFF_S = 15.0
CONTACT_NOTE_MS = 1_000


class Link(Protocol):
    """The way to the control plane. Raises TransientError when it is cut."""

    async def reconcile(self, request: ReconcileRequest) -> ReconcileReply: ...

    async def poll(self, request: PollRequest, timeout_s: float) -> PollReply: ...

    async def send_logs(self, request: LogRequest) -> LogReply: ...


class Records(Protocol):
    """What the agent keeps of its runs across restarts, and the content it moves for them."""

    instance_id: str

    def next_sequence(self) -> int: ...

    def load(self) -> list[PreparedRun]:
        """The runs taken over before a restart."""
        ...

    def take(self, spec: RunSpec) -> PreparedRun:
        """Record the run durably and make its folder; quick, idempotent."""
        ...

    async def prepare(self, run: PreparedRun) -> None:
        """Fetch inputs into the working directory; the host repeats it on TransientError."""
        ...

    async def collect(self, run: PreparedRun, succeeded: bool) -> tuple[OutputRecord, ...]: ...

    def read_logs(self, lease_id: str, offsets: dict[str, int]) -> list[LogChunk]: ...

    def forget(self, lease_id: str) -> None: ...


@dataclass(slots=True)
class _LogState:
    offsets: dict[str, int] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)


class AgentHost:
    """Runs one site's agent until `stop`."""

    def __init__(
        self,
        *,
        link: Link,
        drivers: dict[str, Driver],
        records: Records,
        monotonic_ms: Callable[[], int],
        jitter: Callable[[], float],
        version: str,
        core: AgentCore | None = None,
    ) -> None:
        """`drivers` maps pool names to drivers; `jitter` gives numbers in [0, 1)."""
        self.core = core or AgentCore(pools=frozenset(drivers))
        self._link = link
        self._pools = drivers
        self._drivers = list({id(driver): driver for driver in drivers.values()}.values())
        self._records = records
        self._now = monotonic_ms
        self._jitter = jitter
        self._version = version
        self._runs: dict[str, PreparedRun] = {}
        self._dirty: dict[str, None] = {}
        self._news = asyncio.Event()
        self._session = 0
        self._revision = 0
        self._contact_every_ms = 10_000
        self._reconcile_every_ms = 300_000
        self._inventory: list[PoolReport] = []
        self._inventory_due = False
        self._logs: dict[str, _LogState] = {}
        self._leaving: dict[str, str] = {}
        self._noted_contact_ms = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.fatal: SuanwangError | None = None

    async def run(self) -> None:
        """Open the drivers, adopt what runs, and serve until cancelled."""
        for driver in self._drivers:
            await driver.open()
        self._inventory = await self._gather_inventory()
        await self._adopt()
        loops: list[Callable[[], Awaitable[None]]] = [
            self._sessions,
            self._ticks,
            self._inventories,
            self._log_rounds,
        ]
        tasks = [asyncio.ensure_future(loop()) for loop in loops]
        tasks += [asyncio.ensure_future(self._driver_loop(d)) for d in self._drivers]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in [*tasks, *self._tasks]:
                task.cancel()
            await asyncio.gather(*tasks, *self._tasks, return_exceptions=True)
            for driver in self._drivers:
                await driver.close()

    async def _adopt(self) -> None:
        kept = self._records.load()
        seen = {o.lease_id: o for driver in self._drivers for o in await self._known_to(driver)}
        # until the control plane is heard anew, its last word counts from now
        self.core.last_contact_ms = self._now()
        for run in kept:
            lease_id = run.spec.lease_id
            self._runs[lease_id] = run
            self._logs[lease_id] = _LogState()
            self._feed(Adopted(run.spec, seen.get(lease_id)))

    async def _known_to(self, driver: Driver) -> list[Observation]:
        """All the driver's runs; waits for an engine that is down, because guessing loses work."""
        while True:
            try:
                return await driver.observe()
            except TransientError as error:
                log.warning("driver %s: %s; waiting for it", driver.name, error)
                await asyncio.sleep(1.0)

    # --- the core ---------------------------------------------------------------------------

    def _feed(self, *events: Event) -> None:
        """Give events to the core and carry out what it says."""
        now_ms = self._now()
        starts: dict[str, list[PreparedRun]] = defaultdict(list)
        pending: list[Event] = list(events)
        while pending:
            instructions = self.core.handle(pending.pop(0), now_ms)
            for instruction in instructions:
                follow = self._do(instruction, starts)
                if follow is not None:
                    pending.append(follow)
        for pool, runs in starts.items():
            self._spawn(self._start(self._pools[pool], runs))

    def _do(self, instruction: Instruction, starts: dict[str, list[PreparedRun]]) -> Event | None:
        """Carry out one instruction; what can be answered at once is."""
        match instruction:
            case Report(lease_id):
                self._dirty[lease_id] = None
                self._news.set()
            case Start(spec):
                starts[spec.pool].append(self._runs[spec.lease_id])
            case Prepare(spec):
                return self._take(spec)
            case Stop(lease_id, pool, grace_s, failure):
                self._spawn(self._pools[pool].stop(lease_id, grace_s, failure))
            case Collect(spec, succeeded):
                self._spawn(self._collect(self._runs[spec.lease_id], succeeded))
            case Forget(lease_id, pool):
                self._leaving[lease_id] = pool
                if not self._has_output(lease_id):
                    self._leave(lease_id)
        return None

    def _take(self, spec: RunSpec) -> Event | None:
        try:
            run = self._records.take(spec)
        except OSError as error:
            return Prepared(spec.lease_id, f"the agent cannot write its records: {error}")
        self._runs[spec.lease_id] = run
        self._logs.setdefault(spec.lease_id, _LogState())
        if spec.inputs:
            self._spawn(self._prepare(run))
            return None
        return Prepared(spec.lease_id)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("an action failed: %s", task.exception(), exc_info=task.exception())

    async def _start(self, driver: Driver, runs: Sequence[PreparedRun]) -> None:
        for observation in await driver.start(runs):
            self._feed(Observed(observation))

    async def _prepare(self, run: PreparedRun) -> None:
        lease_id = run.spec.lease_id
        try:
            await self._persist_through(lambda: self._records.prepare(run))
        except (PermanentError, OSError) as error:
            self._feed(Prepared(lease_id, str(error)))
        else:
            self._feed(Prepared(lease_id))

    async def _collect(self, run: PreparedRun, succeeded: bool) -> None:
        outputs: tuple[OutputRecord, ...] = ()
        failure = ""

        async def keep() -> None:
            nonlocal outputs
            outputs = await self._records.collect(run, succeeded)

        try:
            await self._persist_through(keep)
        except (PermanentError, OSError) as error:
            failure = str(error)
        self._feed(Collected(run.spec.lease_id, outputs, failure))

    async def _persist_through(self, action: Callable[[], Awaitable[None]]) -> None:
        """Try again through network trouble; the run's deadline and orders go on meanwhile."""
        backoff_s = FIRST_BACKOFF_S
        while True:
            try:
                return await action()
            except TransientError as error:
                log.warning("%s; trying again", error)
            await asyncio.sleep(backoff_s * (0.5 + self._jitter()))
            backoff_s = min(backoff_s * 2, MAX_BACKOFF_S)

    # --- loops ------------------------------------------------------------------------------

    async def _driver_loop(self, driver: Driver) -> None:
        while True:
            try:
                changes = await driver.changes(5.0)
            except TransientError as error:
                log.warning("driver %s: %s", driver.name, error)
                await asyncio.sleep(1.0)
                continue
            if changes:
                self._feed(*(Observed(observation) for observation in changes))

    async def _ticks(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._feed(Ticked())

    async def _gather_inventory(self) -> list[PoolReport]:
        reports: list[PoolReport] = []
        for driver in self._drivers:
            reports.extend(await driver.inventory())
        return reports

    async def _inventories(self) -> None:
        while True:
            await asyncio.sleep(INVENTORY_S)
            try:
                reports = await self._gather_inventory()
            except TransientError as error:
                log.warning("inventory: %s", error)
                continue
            if reports != self._inventory:
                self._inventory = reports
                self._inventory_due = True
                self._news.set()

    # --- sessions ---------------------------------------------------------------------------

    async def _sessions(self) -> None:
        backoff_s = FIRST_BACKOFF_S
        while True:
            try:
                await self._reconcile()
                backoff_s = FIRST_BACKOFF_S
                await self._serve_session()
            except Unauthenticated as error:
                self.fatal = error
                log.error("%s", error)
                backoff_s = MAX_BACKOFF_S
            except SuanwangError as error:
                log.warning("%s", error)
            self._session = 0
            await asyncio.sleep(backoff_s * (0.5 + self._jitter()))
            backoff_s = min(backoff_s * 2, MAX_BACKOFF_S)

    async def _reconcile(self) -> None:
        sent_at_ms = self._now()
        reports = self.core.reports(sent_at_ms)
        reply = await self._link.reconcile(
            ReconcileRequest(
                instance_id=self._records.instance_id,
                agent_version=self._version,
                sequence=self._records.next_sequence(),
                pools=self._inventory,
                runs=reports,
            )
        )
        self.fatal = None
        self._session = reply.session
        self._contact_every_ms = reply.contact_every_ms
        self._reconcile_every_ms = reply.reconcile_every_ms
        self._revision = 0
        self._contacted(sent_at_ms)
        self._feed(Answered(tuple(reports)))
        self._take_orders(reply.orders)
        self._revision = max(self._revision, reply.revision)

    async def _serve_session(self) -> None:
        """Until something fails, or a reconciliation is due."""
        tasks = [
            asyncio.ensure_future(self._listen()),
            asyncio.ensure_future(self._tell()),
            asyncio.ensure_future(asyncio.sleep(self._reconcile_every_ms / 1000)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            if not task.cancelled() and task.exception() is not None:
                raise task.exception()  # type: ignore[misc]

    async def _listen(self) -> None:
        """The long poll."""
        while True:
            reply = await self._exchange([], None, self._contact_every_ms)
            if reply.reconcile:
                return

    async def _tell(self) -> None:
        """Post news as it comes; what comes during a post goes with the next."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._dirty or self._inventory_due:
                await self._post()
                await asyncio.sleep(POST_GAP_S)

    async def _post(self) -> None:
        lease_ids = list(self._dirty)[:REPORTS_PER_POST]
        for lease_id in lease_ids:
            del self._dirty[lease_id]
        now_ms = self._now()
        reports = [r for r in (self.core.report(i, now_ms) for i in lease_ids) if r is not None]
        pools = self._inventory if self._inventory_due else None
        self._inventory_due = False
        try:
            await self._exchange(reports, pools, 0)
        except BaseException:
            self._dirty.update(dict.fromkeys(lease_ids))
            self._inventory_due = self._inventory_due or pools is not None
            self._news.set()
            raise
        self._feed(Answered(tuple(reports)))

    async def _exchange(
        self, reports: Sequence[RunReport], pools: list[PoolReport] | None, wait_ms: int
    ) -> PollReply:
        sent_at_ms = self._now()
        request = PollRequest(
            session=self._session,
            revision=self._revision,
            wait_ms=wait_ms,
            reports=list(reports),
            pools=pools,
        )
        reply = await self._link.poll(request, timeout_s=wait_ms / 1000 + 20)
        self._contacted(sent_at_ms)
        self._take_orders(reply.orders)
        return reply

    def _take_orders(self, orders: Sequence[LeaseOrder]) -> None:
        fresh = [order for order in orders if order.revision > self._revision or not order.revision]
        self._revision = max([self._revision, *(order.revision for order in orders)])
        if fresh:
            self._feed(*(Ordered(order) for order in fresh))

    def _contacted(self, sent_at_ms: int) -> None:
        self._feed(Contacted(sent_at_ms))
        if sent_at_ms - self._noted_contact_ms >= CONTACT_NOTE_MS:
            self._noted_contact_ms = sent_at_ms
            for driver in self._drivers:
                self._spawn(driver.contact(sent_at_ms))

    # --- output -----------------------------------------------------------------------------

    def _has_output(self, lease_id: str) -> bool:
        return bool(self._fresh_output(lease_id))

    def _fresh_output(self, lease_id: str) -> list[LogChunk]:
        state = self._logs.get(lease_id)
        if state is None:
            return []
        chunks = self._records.read_logs(lease_id, state.offsets)
        return [chunk for chunk in chunks if chunk.stream not in state.closed]

    def _leave(self, lease_id: str) -> None:
        """Its output is delivered: nothing holds the run's folder any more."""
        pool = self._leaving.pop(lease_id)
        self._logs.pop(lease_id, None)
        self._runs.pop(lease_id, None)
        driver = self._pools.get(pool)
        self._spawn(self._forget(driver, lease_id))

    async def _forget(self, driver: Driver | None, lease_id: str) -> None:
        if driver is not None:
            await driver.forget(lease_id)
        self._records.forget(lease_id)

    async def _log_rounds(self) -> None:
        while True:
            await asyncio.sleep(LOG_S)
            try:
                await self._ship_logs()
            except SuanwangError as error:
                log.debug("output: %s", error)

    async def _ship_logs(self) -> None:
        for lease_id in list(self._logs):
            while chunks := self._fresh_output(lease_id):
                reply = await self._link.send_logs(LogRequest(chunks))
                self._advance(reply)
                if not reply.stored:
                    break
            if lease_id in self._leaving:
                self._leave(lease_id)

    def _advance(self, reply: LogReply) -> None:
        for lease_id, stream, length in reply.stored:
            state = self._logs.get(lease_id)
            if state is None:
                continue
            if length < 0:
                state.closed.add(stream)
            else:
                state.offsets[stream] = length
