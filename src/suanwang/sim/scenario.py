"""One run: chaos, then healing, then everything must come to its end and the books be right."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from suanwang.engines.scheduling.model import Policy
from suanwang.grid.jobs import submission
from suanwang.grid.jobs.reconciler import ROUND_SIGNAL, site_signal
from suanwang.grid.sites import service as sites
from suanwang.kernel.errors import SuanwangError
from suanwang.sim.auditor import audit_always, audit_end, unsettled
from suanwang.sim.engine import Behaviour, Engine
from suanwang.sim.ground import SITES, START_MS, fresh_database, owners, pool_of
from suanwang.sim.loop import VirtualClock, VirtualLoop
from suanwang.sim.network import Weather, Wire
from suanwang.sim.plane import ControlPlane, StoreFaults
from suanwang.sim.site import MemoryRecords, SimSite
from suanwang.sim.workload import Arrival, arrivals
from suanwang.sim.world import World

LIVENESS_S = 3_600.0


@dataclass(frozen=True, slots=True)
class Options:
    """What a run is made of."""

    jobs: int = 24
    chaos_s: float = 120.0
    faults: bool = True
    deaf: bool = False
    """The planted bug: sites work on after their leases ran out."""


@dataclass(slots=True)
class Outcome:
    """What came of a run."""

    seed: int
    violations: list[str]
    virtual_s: float
    runs: int
    succeeded: int
    trace: list[str] = field(default_factory=list)


class Scenario:
    """The state of one run."""

    def __init__(self, seed: int, options: Options, loop: VirtualLoop) -> None:
        self.options = options
        self.dice = random.Random(seed)
        self.loop = loop
        self.clock = VirtualClock(loop, START_MS)
        self.world = World()
        self.faults = StoreFaults(random.Random(seed + 1))
        self.database = fresh_database(self.clock, random.Random(seed + 2), self.faults)
        self.plane: ControlPlane | None = None
        self.sites: list[SimSite] = []
        self.owners: list[submission.Owner] = []
        self.trace: list[str] = []
        self.violations: list[str] = []
        self._background: list[asyncio.Task[None]] = []

    # --- set-up -----------------------------------------------------------------------------

    def set_up(self) -> None:
        self.owners = self.database.read_now(owners)
        for number, name in enumerate(SITES):
            site = self.database.read_now(partial(sites.find_site, name_or_id=name))
            self.sites.append(self._site(number, site.site_id, name))
        self.start_plane()
        for sim_site in self.sites:
            sim_site.start_agent()

    def _site(self, number: int, site_id: str, name: str) -> SimSite:
        dice = random.Random(self.dice.getrandbits(64))
        drift = 1.0 + (dice.random() - 0.5) * 0.02 if self.options.faults else 1.0
        offset = dice.randrange(10**9)
        behaviour = Behaviour() if self.options.faults else Behaviour(0, 0, 0)
        engine = Engine(
            site=name,
            pool=pool_of(number),
            world=self.world,
            dice=dice,
            monotonic_ms=lambda: offset + round(self.loop.time() * 1000 * drift),
            true_ms=lambda: round(self.loop.time() * 1000),
            behaviour=behaviour,
            deaf=self.options.deaf,
        )
        weather = Weather(20, 20, 20) if self.options.faults else Weather()
        wire = Wire(dice, weather)
        records = MemoryRecords(f"{name}-0", dice)
        return SimSite(
            site_id, name, engine, wire, lambda: self.plane, dice, records, drift, self.loop
        )

    def start_plane(self) -> None:
        self.plane = ControlPlane(self.database, self.clock, Policy())

    # --- the phases -------------------------------------------------------------------------

    async def run(self) -> None:
        self.set_up()
        plan = arrivals(self.dice, self.options.jobs, self.options.chaos_s * 0.8, len(self.owners))
        self._spawn(self._submit_all(plan))
        if self.options.faults:
            self.faults.before_pm = 5
            self.faults.after_pm = 5
            for sim_site in self.sites:
                self._spawn(self._trouble_site(sim_site))
            self._spawn(self._trouble_plane())
        await asyncio.sleep(self.options.chaos_s)
        self.violations.extend(self.database.read_now(audit_always))
        await self._heal()
        await self._until_quiet()
        self.violations.extend(self.database.read_now(lambda c: audit_end(c, self.world)))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._background.append(asyncio.ensure_future(work))

    async def _heal(self) -> None:
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self.faults.before_pm = self.faults.after_pm = 0
        for sim_site in self.sites:
            sim_site.wire.cut_up = sim_site.wire.cut_down = False
            sim_site.wire.weather = Weather()
            sim_site.engine.behaviour = Behaviour(0, 0, 0)
            sim_site.start_agent()
        if self.plane is None:
            self.start_plane()
        self.trace.append(f"{self.loop.time():.1f} healed")

    async def _until_quiet(self) -> None:
        """Until every task is final and the outbox is empty, or the bound is reached."""
        limit = self.loop.time() + LIVENESS_S
        while self.loop.time() < limit:
            await asyncio.sleep(10)
            if not self.database.read_now(unsettled) and not any(self.world.running.values()):
                return

    # --- users ------------------------------------------------------------------------------

    async def _submit_all(self, plan: list[Arrival]) -> None:
        previous: str | None = None
        for number, arrival in enumerate(plan):
            await asyncio.sleep(max(0.0, arrival.at_s - self.loop.time()))
            spec = arrival.spec
            if arrival.needs_previous and previous is not None:
                spec = spec.model_copy(update={"depends_on": [previous]})
            previous = await self._submit(arrival, spec, f"key-{number}")
            if previous is not None and arrival.cancel_after_s is not None:
                self._spawn(self._cancel(previous, arrival.cancel_after_s))

    async def _submit(self, arrival: Arrival, spec: Any, key: str) -> str | None:
        """As a client does: the same key again until there is an answer."""
        owner = self.owners[arrival.user]
        for _ in range(20):
            try:
                made = await self.database.write(
                    lambda tx: submission.submit(
                        tx, [owner], [spec], lambda s, c: b"", idempotency_key=key
                    )
                )
            except SuanwangError as error:
                if error.reason in ("DependencyFailed", "DependencyUnknown"):
                    return None
                await asyncio.sleep(1)
                continue
            if self.plane is not None:
                self.plane.signals.notify(ROUND_SIGNAL)
            return made[0]
        return None

    async def _cancel(self, job_id: str, after_s: float) -> None:
        await asyncio.sleep(after_s)
        for _ in range(20):
            try:
                woken = await self.database.write(lambda tx: submission.cancel(tx, job_id))
            except SuanwangError:
                await asyncio.sleep(1)
                continue
            if self.plane is not None:
                self.plane.signals.notify(*(site_signal(site) for site in woken))
            return

    # --- trouble ----------------------------------------------------------------------------

    async def _trouble_site(self, sim_site: SimSite) -> None:
        dice = sim_site.dice
        actions: list[Callable[[SimSite], Coroutine[Any, Any, None]]] = [
            self._cut,
            self._cut,
            self._crash_agent,
            self._crash_agent,
            self._wipe,
        ]
        while True:
            await asyncio.sleep(5 + dice.random() * 50)
            await dice.choice(actions)(sim_site)

    async def _cut(self, sim_site: SimSite) -> None:
        dice = sim_site.dice
        kind = dice.randrange(3)
        sim_site.wire.cut_up = kind in (0, 2)
        sim_site.wire.cut_down = kind in (1, 2)
        self.trace.append(f"{self.loop.time():.1f} cut {sim_site.name} {kind}")
        await asyncio.sleep(dice.choice([2, 15, 40, 80]) * (0.5 + dice.random()))
        sim_site.wire.cut_up = sim_site.wire.cut_down = False
        self.trace.append(f"{self.loop.time():.1f} joined {sim_site.name}")

    async def _crash_agent(self, sim_site: SimSite) -> None:
        self.trace.append(f"{self.loop.time():.1f} agent killed {sim_site.name}")
        sim_site.crash_agent()
        await asyncio.sleep(sim_site.dice.choice([0.1, 5, 60]) * sim_site.dice.random())
        sim_site.start_agent()

    async def _wipe(self, sim_site: SimSite) -> None:
        self.trace.append(f"{self.loop.time():.1f} site wiped {sim_site.name}")
        sim_site.wipe()
        await asyncio.sleep(sim_site.dice.random() * 30)
        sim_site.start_agent()

    async def _trouble_plane(self) -> None:
        while True:
            await asyncio.sleep(10 + self.dice.random() * 60)
            if self.plane is not None:
                self.trace.append(f"{self.loop.time():.1f} server killed")
                self.plane.crash()
                self.plane = None
            await asyncio.sleep(self.dice.choice([0.1, 5, 50]) * self.dice.random())
            self.start_plane()


def run_seed(seed: int, options: Options | None = None) -> Outcome:
    """One whole run of the platform; the same seed gives the same run."""
    chosen = options or Options()
    loop = VirtualLoop(seed)
    asyncio.set_event_loop(loop)
    scenario = Scenario(seed, chosen, loop)
    try:
        loop.run_until_complete(scenario.run())
    finally:
        if scenario.plane is not None:
            scenario.plane.crash()
        for sim_site in scenario.sites:
            sim_site.crash_agent()
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        asyncio.set_event_loop(None)
        loop.close()
    world = scenario.world
    return Outcome(
        seed=seed,
        violations=sorted(set(scenario.violations)),
        virtual_s=loop.time(),
        runs=len(world.runs),
        succeeded=sum(run.succeeded for run in world.runs),
        trace=scenario.trace,
    )
