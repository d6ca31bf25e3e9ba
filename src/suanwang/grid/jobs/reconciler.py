"""The loops of the jobs context: scheduling rounds and sweeps."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from suanwang.engines.scheduling.model import Plan, Policy, Promise, Snapshot, promise_order
from suanwang.engines.scheduling.plan import plan
from suanwang.grid.jobs import grants, sweeps
from suanwang.grid.jobs.arrears import sweep_arrears
from suanwang.grid.jobs.planned import Key, Planned
from suanwang.grid.jobs.snapshot import Gathered, capacity, gather, somebody_waits, totals_of
from suanwang.kernel.errors import Unavailable
from suanwang.kernel.resources import ZERO, Resources
from suanwang.kernel.time import Clock
from suanwang.platform.database import Database, Tx
from suanwang.platform.signals import Signals

T = TypeVar("T")
ROUND_SIGNAL = "round"
TOTALS_EVERY_MS = 10_000
ARREARS_EVERY_MS = 30_000
Offload = Callable[[Callable[[], T]], Awaitable[T]]


def site_signal(site_id: str) -> str:
    return f"site:{site_id}"


def job_signal(job_id: str) -> str:
    return f"job:{job_id}"


def promises_after(snapshot: Snapshot, made: Plan) -> tuple[Promise, ...]:
    """Room that was preempted for somebody is his until he has started there."""
    started = {(placement.group, placement.pool_id) for placement in made.placements}
    pools = {running.lease_id: running.pool_id for running in snapshot.running}
    new = {
        Promise(p.for_group, pools[p.lease_id], p.alternative, p.node_members)
        for p in made.preemptions
    }
    kept = {p for p in snapshot.promises if (p.group, p.pool_id) not in started}
    return tuple(sorted(kept | new, key=promise_order))


class Dispatcher:
    """Plans and applies, one round at a time. What a round said of those who wait is in a table:
    other processes are asked as well."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        signals: Signals,
        *,
        policy: Policy | None = None,
        offload: Callable[[Callable[[], Plan]], Awaitable[Plan]] = asyncio.to_thread,
        guard: Callable[[Tx], None] = lambda _tx: None,
    ) -> None:
        """`guard` may raise in a writing transaction: where another process has come to lead."""
        self._database = database
        self._clock = clock
        self._signals = signals
        self._policy = policy or Policy()
        self._offload = offload
        self._guard = guard
        self._round = 0
        self._arrears_at_ms = 0
        self._since_ms = clock.now_ms()
        self._promises: tuple[Promise, ...] = ()
        self._totals: Resources = ZERO
        self._totals_at_ms = -TOTALS_EVERY_MS
        self._planned: Planned | None = None
        self._planning = asyncio.Lock()
        self._explaining = asyncio.Lock()

    async def gather(self) -> Gathered:
        now_ms = self._clock.now_ms()
        gathered = await self._database.read(
            lambda conn: gather(conn, now_ms, self._policy, self._promises)
        )
        self._totals, self._totals_at_ms = totals_of(gathered.snapshot.pools), now_ms
        return gathered

    async def totals_now(self) -> Resources:
        """The grid's capacity, known also where no round is planned; some seconds old at most."""
        now_ms = self._clock.now_ms()
        if now_ms - self._totals_at_ms >= TOTALS_EVERY_MS:
            self._totals = await self._database.read(capacity)
            self._totals_at_ms = now_ms
        return self._totals

    async def planned(self, group: Key | None) -> Planned:
        """The last round, if it is not old and refused this group (None: whatever it did); else a
        plan that nobody applies. Who asks meanwhile waits for the same one.

        Of the group it knows the explanation already: that was worked out here, one at a time and
        beside the database's readers, whom it would keep from others for seconds."""
        planned = await self._planned_for(group)
        if group is not None:
            async with self._explaining:
                await asyncio.to_thread(planned.explanation, group)
        return planned

    async def _planned_for(self, group: Key | None) -> Planned:
        async with self._planning:
            now_ms = self._clock.now_ms()
            if self._planned is None or not self._planned.knows(group, now_ms):
                gathered = await self.gather()
                made = await self._offload(lambda: plan(gathered.snapshot, now_ms))
                self._planned = Planned(gathered, made, now_ms)
            return self._planned

    async def round(self) -> grants.Applied:
        """Snapshot → plan → apply; wakes the sites that got orders."""
        started_ms = self._clock.now_ms()
        if not await self._database.read(lambda conn: somebody_waits(conn, started_ms)):
            return grants.NOTHING
        gathered = await self.gather()
        self._round += 1
        seed = self._round
        made = await self._offload(lambda: plan(gathered.snapshot, started_ms, seed))
        self._planned = Planned(gathered, made, started_ms, applied=True)
        took_ms = self._clock.now_ms() - started_ms
        self._promises = promises_after(gathered.snapshot, made)
        digest = grants.digest_of(gathered) if made.placements or made.preemptions else ""

        def apply(tx: Tx) -> grants.Applied:
            self._guard(tx)
            return grants.apply_plan(tx, gathered, made, took_ms=took_ms, snapshot_digest=digest)

        applied = await self._database.write(apply)
        self._signals.notify(
            *(site_signal(site) for site in applied.sites),
            *(job_signal(job) for job in applied.jobs),
        )
        return applied

    def was_deaf(self) -> None:
        """The database did not answer: no contact was noted either, so silence starts anew."""
        self._since_ms = self._clock.now_ms()

    async def sweep(self) -> sweeps.Swept:
        def use_case(tx: Tx) -> sweeps.Swept:
            self._guard(tx)
            return sweeps.sweep_lost(tx, listening_since_ms=self._since_ms)

        try:
            swept = await self._database.write(use_case)
        except Unavailable:
            self.was_deaf()
            raise
        self._signals.notify(
            *(site_signal(site) for site in sorted(swept.sites)),
            *(job_signal(job) for job in sorted(swept.jobs)),
        )
        if swept.lost:
            self._signals.notify(ROUND_SIGNAL)
        now_ms = self._clock.now_ms()
        if now_ms - self._arrears_at_ms >= ARREARS_EVERY_MS:
            self._arrears_at_ms = now_ms

            def arrears(tx: Tx) -> list[str]:
                self._guard(tx)
                return sweep_arrears(tx)

            woken = await self._database.write(arrears)
            self._signals.notify(*(site_signal(site) for site in woken))
        return swept
