"""The control plane in the simulation: the production classes over a database in memory.

`crash` drops everything but the database, as kill -9 does; a new one begins on the same
database. Store faults raise before or after a commit.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from suanwang.engines.scheduling.model import Plan, Policy
from suanwang.grid.jobs.delivery import Deliveries
from suanwang.grid.jobs.desk import AgentDesk
from suanwang.grid.jobs.estimates import SUBSCRIBER as ESTIMATES
from suanwang.grid.jobs.estimates import RunEnded, RuntimeEstimates
from suanwang.grid.jobs.reconciler import ROUND_SIGNAL, Dispatcher
from suanwang.kernel.errors import SuanwangError, Unavailable
from suanwang.kernel.time import Clock
from suanwang.platform.database import InlineDatabase
from suanwang.platform.outbox import Outbox
from suanwang.platform.signals import Signals, wait_for
from suanwang.trade.billing import service as billing

T = TypeVar("T")
LOOK_EVERY_MS = 10_000
"""At contracts: a run is short."""


@dataclass(slots=True)
class Limits:
    """The desk's settings."""

    contact_every_ms: int = 10_000
    max_log_mib: int = 1


@dataclass(slots=True)
class StoreFaults:
    """Errors of the store, per mille of reads, writes and commits; off while healed."""

    dice: random.Random
    odds_pm: dict[str, int] = field(default_factory=dict)
    """By moment: read, before_commit, after_commit."""
    away: bool = False
    """The store answers nobody."""

    def __call__(self, moment: str) -> None:
        odds = self.odds_pm.get(moment, 0)
        if self.away or (odds and self.dice.randrange(1000) < odds):
            raise Unavailable("DatabaseUnavailable", f"the store failed: {moment}")


@dataclass(slots=True)
class ControlPlane:
    """One life of the server, from start to crash."""

    database: InlineDatabase
    clock: Clock
    policy: Policy
    dice: random.Random
    thinks_s: float
    """The longest that planning takes; what happens meanwhile makes the plan stale."""
    signals: Signals = field(default_factory=Signals)
    outbox: Outbox = field(default_factory=Outbox)
    estimates: RuntimeEstimates = field(default_factory=RuntimeEstimates)
    tasks: dict[asyncio.Task[Any], None] = field(default_factory=dict)
    dispatcher: Dispatcher = field(init=False)
    desk: AgentDesk = field(init=False)
    deliveries: Deliveries = field(init=False)

    def __post_init__(self) -> None:
        self.signals.bind(asyncio.get_running_loop())
        self.database.read_now(self.estimates.load)
        billing.subscribe(self.outbox)
        self.outbox.subscribe(ESTIMATES, RunEnded, self.estimates.learn)
        self.dispatcher = Dispatcher(
            self.database, self.clock, self.signals, policy=self.policy, offload=self._plan_slowly
        )
        self.desk = AgentDesk(
            self.database,
            self.outbox,
            self.signals,
            self.dispatcher,
            lambda _sealed, _job: {},
            Limits(),
            single_process=True,
        )
        self.deliveries = Deliveries(
            self.database, self.clock, self.signals, self.outbox, every_ms=LOOK_EVERY_MS
        )
        for loop in (self._rounds, self._sweeps, self._deliveries):
            self.spawn(self._for_ever(loop))

    async def _plan_slowly(self, compute: Callable[[], Plan]) -> Plan:
        """No threads in virtual time, but time passes."""
        made = compute()
        await asyncio.sleep(self.dice.random() * self.thinks_s)
        return made

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(work)
        self.tasks[task] = None
        task.add_done_callback(lambda done: self.tasks.pop(done, None))
        return task

    async def serve(self, work: Awaitable[T]) -> T:
        """Handle a request within this life: a crash cancels it and no answer comes."""

        async def handle() -> T:
            return await work

        task = self.spawn(handle())
        # whoever asked may be gone by then
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.wait({task})
        if task.cancelled():
            raise Unavailable("ControlPlaneUnreachable", "the server died")
        result: T = task.result()
        return result

    def crash(self) -> None:
        for task in list(self.tasks):
            task.cancel()

    async def _for_ever(self, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await step()
            except SuanwangError:
                await asyncio.sleep(1.0)

    async def _rounds(self) -> None:
        woken = self.signals.listen(ROUND_SIGNAL)
        await self.dispatcher.round()
        await asyncio.sleep(0.05)
        await wait_for(woken, 5.0)

    async def _sweeps(self) -> None:
        await self.dispatcher.sweep()
        await self.deliveries.step()
        await asyncio.sleep(2.0)

    async def _deliveries(self) -> None:
        taken = 0
        for name in self.outbox.subscribers:
            taken += await self.outbox.deliver(self.database, name)
        await asyncio.sleep(0.1 if taken else 1.0)
