"""What a run acts on: the loop, the platform and its store, the sites, and what was done."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from suanwang.engines.scheduling.model import Policy
from suanwang.grid.sites import service as sites
from suanwang.kernel.errors import SuanwangError
from suanwang.platform.database import UseCase
from suanwang.sim.engine import Behaviour, Engine
from suanwang.sim.ground import PLACES, fresh_database, pool_of
from suanwang.sim.loop import VirtualClock, VirtualLoop
from suanwang.sim.network import Weather, Wire
from suanwang.sim.plane import ControlPlane, StoreFaults
from suanwang.sim.site import MemoryRecords, SimSite
from suanwang.sim.world import World

T = TypeVar("T")
TRIES = 20


class Grid:
    """Three sites and one control plane, which may be down."""

    def __init__(
        self, seed: int, loop: VirtualLoop, start_ms: int, *, faults: bool, deaf: bool
    ) -> None:
        self.dice = random.Random(seed)
        self.loop = loop
        self.clock = VirtualClock(loop, start_ms)
        self.world = World(places=dict(PLACES))
        self.faulty = faults
        self.faults = StoreFaults(random.Random(seed + 1))
        self.database = fresh_database(self.clock, random.Random(seed + 2), self.faults)
        self.plane: ControlPlane | None = None
        self.trace: list[str] = []
        self.sites = [self._site(name, deaf) for name in PLACES]
        self.world.site_ids = {one.name: one.site_id for one in self.sites}
        self._spawned: list[asyncio.Task[None]] = []

    def _site(self, name: str, deaf: bool) -> SimSite:
        site = self.database.read_now(partial(sites.find_site, name_or_id=name))
        dice = random.Random(self.dice.getrandbits(64))
        drift = 1.0 + (dice.random() - 0.5) * 0.02 if self.faulty else 1.0
        offset = dice.randrange(10**9)
        engine = Engine(
            site=name,
            pool=pool_of(name),
            world=self.world,
            dice=dice,
            monotonic_ms=lambda: offset + round(self.loop.time() * 1000 * drift),
            true_ms=lambda: round(self.loop.time() * 1000),
            behaviour=Behaviour() if self.faulty else Behaviour(0, 0, 0),
            deaf=deaf,
        )
        wire = Wire(dice, Weather(20, 20, 20) if self.faulty else Weather())
        records = MemoryRecords(f"{name}-0", dice)
        return SimSite(
            site.site_id, name, engine, wire, lambda: self.plane, dice, records, drift, self.loop
        )

    def start_plane(self, skew_ms: int = 0) -> None:
        self.clock.skew_ms = skew_ms
        thinks_s = 0.5 if self.faulty else 0.0
        self.plane = ControlPlane(self.database, self.clock, Policy(), self.dice, thinks_s)

    def note(self, what: str) -> None:
        self.trace.append(f"{self.loop.time():.1f} {what}")

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Until the run is healed."""
        self._spawned.append(asyncio.ensure_future(work))

    async def end_spawned(self) -> None:
        for task in self._spawned:
            task.cancel()
        await asyncio.gather(*self._spawned, return_exceptions=True)
        for task in self._spawned:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def persist(
        self, use_case: UseCase[T], refused: Callable[[SuanwangError], bool] = lambda _: False
    ) -> T | None:
        """As a client does: again until there is an answer. None where it is `refused`."""
        for _ in range(TRIES):
            try:
                return await self.database.write(use_case)
            except SuanwangError as error:
                if refused(error):
                    return None
            await asyncio.sleep(1)
        return None

    def notify(self, *signals: str) -> None:
        if self.plane is not None:
            self.plane.signals.notify(*signals)
