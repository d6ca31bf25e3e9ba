"""One run: chaos, then healing, then everything must come to its end and the books be right."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import dataclass, field

from suanwang.kernel.time import MS_PER_HOUR
from suanwang.sim.auditor import audit_always, audit_end, unsettled
from suanwang.sim.census import census
from suanwang.sim.grid import Grid
from suanwang.sim.loop import VirtualLoop
from suanwang.sim.trading import Traders, start_ms
from suanwang.sim.trouble import Trouble
from suanwang.sim.users import Users

LIVENESS_S = 3_600.0
OF_CONTRACTS = {"ContractOpen", "HoldLeaked"}
IDLE_LOOKS = 30
"""With nothing running, what still waits then waits for contracts to begin or end."""
LOOKS = 4
"""Audits during the chaos."""
COLLECT = (50_000, 20, 20)
"""Garbage is looked for as often as a run makes some, not forty times."""


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
    seen: dict[str, int]
    """What happened, counted: a run in which nothing goes wrong shows nothing."""
    trace: list[str] = field(default_factory=list)


class Scenario:
    """The phases of one run."""

    def __init__(self, seed: int, options: Options, loop: VirtualLoop) -> None:
        self.options = options
        self._seed = seed
        self.grid = Grid(seed, loop, start_ms(seed), faults=options.faults, deaf=options.deaf)
        self.violations: list[str] = []
        self.seen: dict[str, int] = {}

    async def run(self) -> None:
        grid, options = self.grid, self.options
        users = Users(grid, options.jobs, options.chaos_s * 0.8, start_ms(self._seed))
        trouble = Trouble(grid)
        grid.start_plane()
        for sim_site in grid.sites:
            sim_site.start_agent()
        grid.spawn(users.work())
        grid.spawn(Traders(grid, self._seed).work())
        if options.faults:
            trouble.begin()
        for _ in range(LOOKS):
            await asyncio.sleep(options.chaos_s / LOOKS)
            self.violations.extend(grid.database.read_now(audit_always))
        await trouble.heal()
        await users.give_up()
        await self._until_quiet()
        self.violations.extend(grid.database.read_now(lambda c: audit_end(c, grid.world)))
        self.seen = grid.database.read_now(lambda c: census(c, grid.world))

    async def _until_quiet(self) -> None:
        """Until every task is final and the outbox is empty, or the bound is reached."""
        grid = self.grid
        limit = grid.loop.time() + LIVENESS_S
        idle = 0
        while grid.loop.time() < limit:
            await asyncio.sleep(10)
            busy = any(grid.world.running.values())
            left = [] if busy else grid.database.read_now(unsettled)
            if not busy and not left:
                return
            kinds = {line.partition(":")[0] for line in left}
            idle = 0 if busy else idle + 1
            if "ContractOpen" in kinds and (kinds <= OF_CONTRACTS or idle == IDLE_LOOKS):
                self._pass_an_hour()
                idle = 0

    def _pass_an_hour(self) -> None:
        """Nothing is left but hours that have to end: the server is away until they have."""
        grid = self.grid
        if grid.plane is not None:
            grid.plane.crash()
        grid.start_plane(grid.clock.skew_ms + MS_PER_HOUR)
        grid.note("an hour later")

    def tear_down(self) -> None:
        if self.grid.plane is not None:
            self.grid.plane.crash()
        for sim_site in self.grid.sites:
            sim_site.crash_agent()


def run_seed(seed: int, options: Options | None = None) -> Outcome:
    """One whole run of the platform; the same seed gives the same run."""
    loop = VirtualLoop(seed)
    often = gc.get_threshold()
    gc.set_threshold(*COLLECT)
    asyncio.set_event_loop(loop)
    scenario = Scenario(seed, options or Options(), loop)
    try:
        loop.run_until_complete(scenario.run())
    finally:
        scenario.tear_down()
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        asyncio.set_event_loop(None)
        loop.close()
        gc.set_threshold(*often)
    world = scenario.grid.world
    return Outcome(
        seed=seed,
        violations=sorted(set(scenario.violations)),
        virtual_s=loop.time(),
        runs=len(world.runs),
        succeeded=sum(run.succeeded for run in world.runs),
        seen=scenario.seen,
        trace=scenario.grid.trace,
    )
