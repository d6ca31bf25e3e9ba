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
from contextlib import suppress
from typing import Any

from suanwang.agent import adoption
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
from suanwang.agent.needs import Link, Records
from suanwang.agent.patience import MAX_BACKOFF_S, Patience, Pauses
from suanwang.agent.port import Driver, Observation, PreparedRun
from suanwang.agent.shipping import Shipper
from suanwang.kernel.errors import PermanentError, SuanwangError, TransientError, Unauthenticated
from suanwang.protocol.messages import (
    FailureClass,
    LeaseOrder,
    OutputRecord,
    Phase,
    PollReply,
    PollRequest,
    PoolReport,
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
CONTACT_NOTE_MS = 1_000


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
        self._patience = Patience(jitter)
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
        self._output = Shipper(link, records.read_logs)
        self._fetching: dict[str, asyncio.Task[None]] = {}
        self._leaving: dict[str, str] = {}
        self._holders: dict[str, Driver] = {}
        self._noted_contact_ms = 0
        self._tasks: dict[asyncio.Task[None], None] = {}
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
        recorded = {run.spec.lease_id for run in kept}
        seen = {}
        for driver in self._drivers:
            known = await adoption.known_to(driver)
            await adoption.end_strangers(driver, known, recorded)
            for observation in known:
                seen[observation.lease_id] = observation
                if observation.lease_id in recorded:
                    self._holders[observation.lease_id] = driver
        # until the control plane is heard anew, its last word counts from now
        self.core.last_contact_ms = self._now()
        for run in kept:
            lease_id = run.spec.lease_id
            self._runs[lease_id] = run
            self._output.watch(lease_id)
            self._feed(Adopted(run.spec, seen.get(lease_id)))

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
            case Stop():
                self._spawn(self._stop(instruction))
            case Collect(spec, succeeded):
                self._spawn(self._collect(self._runs[spec.lease_id], succeeded))
            case Forget(lease_id, pool):
                if (fetching := self._fetching.get(lease_id)) is not None:
                    fetching.cancel()
                self._leaving[lease_id] = pool
                if not self._output.fresh(lease_id):
                    self._leave(lease_id)
        return None

    def _take(self, spec: RunSpec) -> Event | None:
        try:
            run = self._records.take(spec)
        except OSError as error:
            return Prepared(spec.lease_id, f"the agent cannot write its records: {error}")
        self._runs[spec.lease_id] = run
        self._leaving.pop(spec.lease_id, None)
        self._output.watch(spec.lease_id)
        if not spec.inputs:
            return Prepared(spec.lease_id)
        fetching = self._fetching[spec.lease_id] = self._spawn(self._prepare(run))
        fetching.add_done_callback(lambda _: self._fetching.pop(spec.lease_id, None))
        return None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and task.exception() is not None:
            log.error("an action failed: %s", task.exception(), exc_info=task.exception())

    async def _start(self, driver: Driver, runs: Sequence[PreparedRun]) -> None:
        """Starting is idempotent, so an engine that is down is asked again until it answers."""
        wanted = list(runs)
        for run in wanted:
            self._holders[run.spec.lease_id] = driver

        async def hand_over() -> None:
            for observation in await driver.start(wanted):
                self._feed(Observed(observation))

        async def again() -> None:
            nonlocal wanted
            wanted = await self._still_wanted(driver, wanted)
            await hand_over()

        try:
            if driver.outlives_machine:
                await self._records.flush(wanted)
            try:
                await hand_over()
            except TransientError:
                await self._patience.through(again)
        except Exception as error:
            for run in wanted:
                self._never_started(run, FailureClass.START_FAILED, _words(error))

    async def _still_wanted(self, driver: Driver, runs: Sequence[PreparedRun]) -> list[PreparedRun]:
        """Those not stopped meanwhile; what the engine never took ends here."""
        known = {observation.lease_id for observation in await driver.observe()}
        wanted = []
        for run in runs:
            held = self.core.runs.get(run.spec.lease_id)
            if held is None or held.stop is None:
                wanted.append(run)
            elif run.spec.lease_id not in known:
                self._never_started(run, held.stop, "stopped before its start")
        return wanted

    def _never_started(self, run: PreparedRun, failure: FailureClass, detail: str) -> None:
        end = Observation(
            run.spec.lease_id,
            Phase.ENDED,
            ended_at_ms=self._now(),
            failure=failure,
            detail=detail,
        )
        self._feed(Observed(end))

    async def _stop(self, order: Stop) -> None:
        """Until the engine has taken it: a stop that is lost leaves its run going."""
        driver = self._holders.get(order.lease_id) or self._pools.get(order.pool)
        if driver is not None:
            await self._patience.through(
                lambda: driver.stop(order.lease_id, order.grace_s, order.failure)
            )

    async def _prepare(self, run: PreparedRun) -> None:
        lease_id = run.spec.lease_id
        try:
            await self._patience.through(lambda: self._records.prepare(run))
        except Exception as error:
            self._feed(Prepared(lease_id, _words(error)))
        else:
            self._feed(Prepared(lease_id))

    async def _collect(self, run: PreparedRun, succeeded: bool) -> None:
        outputs: tuple[OutputRecord, ...] = ()
        failure = ""

        async def keep() -> None:
            nonlocal outputs
            outputs = await self._records.collect(run, succeeded)

        try:
            if run.spec.outputs:
                await self._patience.through(keep)
        except Exception as error:
            failure = _words(error)
        with suppress(SuanwangError):  # before the end is told; the rounds try again
            await self._output.ship(run.spec.lease_id)
        self._feed(Collected(run.spec.lease_id, outputs, failure))

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
        pauses = Pauses(self._jitter)
        while True:
            try:
                await self._reconcile()
                pauses.reset()
                await self._serve_session()
            except Unauthenticated as error:
                self.fatal = error
                log.error("%s", error)
                pauses.reset(MAX_BACKOFF_S)
            except (SuanwangError, OSError) as error:
                log.warning("%s", error)
            self._session = 0
            await pauses.wait()

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
        self._take_orders(reply.orders, sent_at_ms)
        self._revision = max(self._revision, reply.revision)

    async def _serve_session(self) -> None:
        """Until something fails, or a reconciliation is due."""
        tasks = [
            asyncio.ensure_future(self._listen()),
            asyncio.ensure_future(self._tell()),
            asyncio.ensure_future(asyncio.sleep(self._reconcile_every_ms / 1000)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            done = [task for task in tasks if task.done()]
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
            reply = await self._exchange(
                [], None, self.core.longest_wait_ms(self._contact_every_ms)
            )
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
        self._take_orders(reply.orders, sent_at_ms)
        return reply

    def _take_orders(self, orders: Sequence[LeaseOrder], asked_at_ms: int) -> None:
        fresh = [order for order in orders if order.revision > self._revision or not order.revision]
        self._revision = max([self._revision, *(order.revision for order in orders)])
        if fresh:
            self._feed(*(Ordered(order, asked_at_ms) for order in fresh))

    def _contacted(self, sent_at_ms: int) -> None:
        self._feed(Contacted(sent_at_ms))
        if sent_at_ms - self._noted_contact_ms >= CONTACT_NOTE_MS:
            self._noted_contact_ms = sent_at_ms
            for driver in self._drivers:
                self._spawn(driver.contact(sent_at_ms))

    # --- output -----------------------------------------------------------------------------

    def _leave(self, lease_id: str) -> None:
        """Its output is delivered: nothing holds the run's folder any more."""
        pool = self._leaving.pop(lease_id)
        self._output.drop(lease_id)
        self._runs.pop(lease_id, None)
        driver = self._holders.pop(lease_id, None) or self._pools.get(pool)
        self._spawn(self._forget(driver, lease_id))

    async def _forget(self, driver: Driver | None, lease_id: str) -> None:
        if driver is not None:
            await self._patience.through(lambda: driver.forget(lease_id))
        if lease_id not in self.core.runs:  # ordered anew meanwhile: the folder is in use
            self._records.forget(lease_id)

    async def _log_rounds(self) -> None:
        while True:
            await self._output.watching()
            await asyncio.sleep(LOG_S)
            try:
                await self._ship_logs()
            except SuanwangError as error:
                log.debug("output: %s", error)

    async def _ship_logs(self) -> None:
        for lease_id in self._output.lease_ids:
            await self._output.ship(lease_id)
            if lease_id in self._leaving:
                self._leave(lease_id)


def _words(error: Exception) -> str:
    """What a run's end says of it. A fault of our own ends the run too: it must not hang."""
    if isinstance(error, PermanentError | OSError):
        return str(error)
    log.error("a fault of the agent's own: %s", error, exc_info=error)
    return f"AgentFault: {error!r}; see the agent's log"
