"""One site in the simulation: its engine, its wire, and the agent that comes and goes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from suanwang.agent.host import AgentHost
from suanwang.agent.port import Driver, PreparedRun
from suanwang.protocol.messages import LogChunk, OutputRecord, RunSpec
from suanwang.sim.engine import Engine, EngineDriver
from suanwang.sim.network import Wire, WireLink
from suanwang.sim.plane import ControlPlane


@dataclass(slots=True)
class MemoryRecords:
    """What a real agent keeps in its folder; survives a crash, but not a wipe."""

    instance_id: str
    dice: random.Random
    sequence: int = 0
    runs: dict[str, RunSpec] = field(default_factory=dict)

    def next_sequence(self) -> int:
        self.sequence += 1
        return self.sequence

    def load(self) -> list[PreparedRun]:
        return [PreparedRun(spec, Path("/nowhere")) for spec in self.runs.values()]

    def take(self, spec: RunSpec) -> PreparedRun:
        self.runs[spec.lease_id] = msgspec.structs.replace(spec, secrets={})
        return PreparedRun(spec, Path("/nowhere"))

    async def flush(self, runs: Sequence[PreparedRun]) -> None: ...

    async def prepare(self, run: PreparedRun) -> None:
        await asyncio.sleep(self.dice.random() * 2)

    async def collect(self, run: PreparedRun, succeeded: bool) -> tuple[OutputRecord, ...]:
        await asyncio.sleep(self.dice.random() * 2)
        return ()

    def read_logs(self, lease_id: str, offsets: dict[str, int]) -> list[LogChunk]:
        return []

    def forget(self, lease_id: str) -> None:
        self.runs.pop(lease_id, None)


@dataclass(slots=True)
class SimSite:
    """`drift` is the rate of the site's monotonic clock against true time."""

    site_id: str
    name: str
    engine: Engine
    wire: Wire
    plane: Callable[[], ControlPlane | None]
    dice: random.Random
    records: MemoryRecords
    drift: float
    loop: asyncio.AbstractEventLoop
    lives: int = 0
    task: asyncio.Task[None] | None = None
    host: AgentHost | None = None

    def start_agent(self) -> None:
        if self.task is not None and not self.task.done():
            return
        self.lives += 1
        drivers: dict[str, Driver] = {self.engine.pool.name: EngineDriver(self.engine)}
        self.host = AgentHost(
            link=WireLink(self.wire, self.plane, self.site_id),
            drivers=drivers,
            records=self.records,
            monotonic_ms=self.engine.monotonic_ms,
            jitter=self.dice.random,
            version="sim",
        )
        self.task = asyncio.ensure_future(self.host.run())

    def crash_agent(self) -> None:
        """kill -9: nothing is said or saved; what the engine runs goes on."""
        if self.task is not None:
            self.task.cancel()
        self.engine.listeners.clear()

    def wipe(self) -> None:
        """The site's disk is gone with all that ran; a new agent with a new identity comes."""
        self.lose_records()
        self.engine.wipe()

    def lose_records(self) -> None:
        """Only the agent's own disk is gone: the engine's runs go on, and nobody knows of them."""
        self.crash_agent()
        self.records.runs.clear()
        self.records.instance_id = f"{self.name}-{self.lives}"
        self.records.sequence = 0
