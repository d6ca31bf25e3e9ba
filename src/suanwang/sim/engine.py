"""A site's engine in the simulation: runs take virtual time; it outlives its agent.

It also does what the real engines' side does when the agent is dead: it ends runs whose contact
deadline has passed. `deaf=True` plants the bug that the simulator must find: an engine and
agent that work on after the deadline.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from suanwang.agent.port import Observation, PreparedRun
from suanwang.protocol.messages import FailureClass, Meters, Phase, PoolReport, Quantity
from suanwang.sim.world import TrueRun, World


@dataclass(slots=True)
class EngineRun:
    """A run as the engine's books have it. Instants on the site's monotonic clock."""

    run: PreparedRun
    true: TrueRun
    started_at_ms: int
    ended_at_ms: int | None = None
    exit_code: int | None = None
    failure: FailureClass = FailureClass.NONE
    timer: asyncio.TimerHandle | None = None


@dataclass(slots=True)
class Behaviour:
    """How work behaves there. Probabilities per mille."""

    fail_pm: int = 50
    vanish_pm: int = 5
    repeat_pm: int = 50
    """An observation is told twice."""


@dataclass(slots=True)
class Engine:
    """The engine of one site: what a Slurm or a warden is to the real agent."""

    site: str
    pool: PoolReport
    world: World
    dice: random.Random
    monotonic_ms: Callable[[], int]
    true_ms: Callable[[], int]
    behaviour: Behaviour
    deaf: bool = False
    runs: dict[str, EngineRun] = field(default_factory=dict)
    contact_ms: int = 0
    listeners: list[Callable[[str], None]] = field(default_factory=list)
    withdrawn: bool = False
    """The provider offers the pool no more."""
    down: frozenset[str] = frozenset()
    busy: dict[str, Quantity] = field(default_factory=dict)
    """What others use of a node."""

    def offered(self) -> list[PoolReport]:
        """What the site says that it has, now."""
        if self.withdrawn:
            return []
        nodes = [
            msgspec.structs.replace(
                node, up=node.name not in self.down, foreign=self.busy.get(node.name, Quantity())
            )
            for node in self.pool.nodes
        ]
        return [msgspec.structs.replace(self.pool, nodes=nodes)]

    def offer_all(self) -> None:
        self.withdrawn, self.down, self.busy = False, frozenset(), {}

    def start(self, run: PreparedRun) -> EngineRun:
        """Idempotent by lease id."""
        lease_id = run.spec.lease_id
        known = self.runs.get(lease_id)
        if known is not None:
            return known
        true = self.world.start(TrueRun(run.spec, self.site, self.true_ms()))
        made = EngineRun(run, true, self.monotonic_ms())
        self.runs[lease_id] = made
        seconds = float(run.spec.env.get("SECONDS_OF_WORK", "1"))
        ends_in_s = min(seconds, run.spec.max_runtime_s)
        failure = FailureClass.TIMEOUT if seconds > run.spec.max_runtime_s else FailureClass.NONE
        code = 0
        if failure is FailureClass.NONE and self.dice.randrange(1000) < self.behaviour.fail_pm:
            failure, code = FailureClass.EXIT, 3
        loop = asyncio.get_running_loop()
        made.timer = loop.call_later(ends_in_s, self.end, lease_id, failure, code)
        self._arm_deadline(lease_id)
        return made

    def _arm_deadline(self, lease_id: str) -> None:
        """The engine's own guard: checks the contact's age now and again."""
        made = self.runs.get(lease_id)
        if made is None or made.ended_at_ms is not None or self.deaf:
            return
        limit_s = made.run.spec.stop_on_client_after_s
        if limit_s is None:
            return
        left_ms = self.contact_ms + limit_s * 1000 - self.monotonic_ms()
        loop = asyncio.get_running_loop()
        if left_ms <= 0:
            # some work takes the whole grace to leave
            leaves_in_s = self.dice.choice([0.0, 0.5, 1.0]) * made.run.spec.grace_s
            loop.call_later(leaves_in_s, self.end, lease_id, FailureClass.LEASE_EXPIRED, None)
            return
        loop.call_later(left_ms / 1000 + 0.001, self._arm_deadline, lease_id)

    def end(self, lease_id: str, failure: FailureClass, code: int | None) -> None:
        made = self.runs.get(lease_id)
        if made is None or made.ended_at_ms is not None:
            return
        if made.timer is not None:
            made.timer.cancel()
        made.ended_at_ms = self.monotonic_ms()
        made.failure, made.exit_code = failure, code
        self.world.end(made.true, self.true_ms(), failure is FailureClass.NONE)
        if self.dice.randrange(1000) < self.behaviour.vanish_pm:
            del self.runs[lease_id]  # the engine forgot it: no record is left
        for listener in list(self.listeners):
            listener(lease_id)

    def working(self) -> int:
        """Runs that have not ended."""
        return sum(made.ended_at_ms is None for made in self.runs.values())

    def wipe(self) -> None:
        """The machines are installed anew: nothing runs, nothing is known."""
        for lease_id in list(self.runs):
            made = self.runs.pop(lease_id)
            if made.timer is not None:
                made.timer.cancel()
            if made.ended_at_ms is None:
                self.world.end(made.true, self.true_ms(), False)

    def observation(self, made: EngineRun) -> Observation:
        ended = made.ended_at_ms is not None
        length = (made.ended_at_ms or self.monotonic_ms()) - made.started_at_ms
        return Observation(
            lease_id=made.run.spec.lease_id,
            phase=Phase.ENDED if ended else Phase.RUNNING,
            started_at_ms=made.started_at_ms,
            ended_at_ms=made.ended_at_ms,
            exit_code=made.exit_code,
            failure=made.failure,
            engine_id=made.run.spec.lease_id[-6:],
            meters=Meters(duration_ms=length, cpu_ms=length // 2, max_rss_mib=16),
        )


class EngineDriver:
    """The driver of one agent process; a new one is made when the agent restarts."""

    name = "sim"
    outlives_machine = False

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._changed: dict[str, None] = {}
        self._news = asyncio.Event()

    async def open(self) -> None:
        self._engine.listeners.append(self._noticed)

    async def close(self) -> None:
        if self._noticed in self._engine.listeners:
            self._engine.listeners.remove(self._noticed)

    def _noticed(self, lease_id: str) -> None:
        self._changed[lease_id] = None
        self._news.set()

    async def inventory(self) -> list[PoolReport]:
        return self._engine.offered()

    async def start(self, runs: Sequence[PreparedRun]) -> list[Observation]:
        await asyncio.sleep(self._engine.dice.random() * 0.05)
        return [self._engine.observation(self._engine.start(run)) for run in runs]

    async def stop(self, lease_id: str, grace_s: int, failure: FailureClass) -> None:
        if self._engine.deaf and failure is FailureClass.LEASE_EXPIRED:
            return
        await asyncio.sleep(self._engine.dice.choice([0.01, 0.5, 1.0]) * grace_s)
        self._engine.end(lease_id, failure, None)

    async def observe(self) -> list[Observation]:
        return [self._engine.observation(made) for made in self._engine.runs.values()]

    async def changes(self, timeout_s: float) -> list[Observation]:
        try:
            await asyncio.wait_for(self._news.wait(), timeout_s)
        except TimeoutError:
            return []
        self._news.clear()
        changed, self._changed = list(self._changed), {}
        seen = []
        for lease_id in changed:
            made = self._engine.runs.get(lease_id)
            if made is None:
                seen.append(_vanished(lease_id, self._engine.monotonic_ms()))
                continue
            seen.append(self._engine.observation(made))
            if self._engine.dice.randrange(1000) < self._engine.behaviour.repeat_pm:
                seen.append(self._engine.observation(made))
        return seen

    async def contact(self, at_ms: int) -> None:
        self._engine.contact_ms = max(self._engine.contact_ms, at_ms)

    async def forget(self, lease_id: str) -> None:
        self._engine.runs.pop(lease_id, None)


def _vanished(lease_id: str, at_ms: int) -> Observation:
    return Observation(
        lease_id=lease_id,
        phase=Phase.ENDED,
        ended_at_ms=at_ms,
        failure=FailureClass.VANISHED,
        detail="the engine does not know it any more",
    )
