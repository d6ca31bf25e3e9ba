"""Runs, orders, observations and events for tests of the agent; a control plane and an engine
that do what the test tells them, in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from suanwang.agent.core import AgentCore, Event, Instruction
from suanwang.agent.host import AgentHost
from suanwang.agent.port import Driver, Observation, PreparedRun
from suanwang.kernel.errors import PermanentError, Unavailable
from suanwang.protocol.messages import (
    Desired,
    FailureClass,
    InputFile,
    LeaseOrder,
    LogChunk,
    LogReply,
    LogRequest,
    Meters,
    NodeReport,
    OutputRecord,
    Phase,
    PollReply,
    PollRequest,
    PoolReport,
    Quantity,
    ReconcileReply,
    ReconcileRequest,
    RunReport,
    RunSpec,
)
from suanwang.sim.loop import VirtualLoop

T = TypeVar("T")
NOW = 1_000_000
"""An instant on the agent's clock."""


def run_spec(lease_id: str = "lease_a", **changes: Any) -> RunSpec:
    spec = RunSpec(
        lease_id=lease_id,
        epoch=1,
        task_id=f"task_{lease_id}",
        job_id="job_a",
        job_name="work",
        pool="cpu",
        command=["work"],
        member_quantity=Quantity(1_000, 512, 0, 0),
        stop_on_client_after_s=40,
    )
    return msgspec.structs.replace(spec, **changes)


def run_order(spec: RunSpec, revision: int = 1) -> LeaseOrder:
    return LeaseOrder(spec.lease_id, spec.epoch, revision, Desired.RUN, "", spec)


def stop_order(lease_id: str = "lease_a", revision: int = 2) -> LeaseOrder:
    return LeaseOrder(lease_id, 1, revision, Desired.STOP, "cancelled")


def forget_order(lease_id: str = "lease_a") -> LeaseOrder:
    return LeaseOrder(lease_id, 1, 0, Desired.FORGET, "unknown")


def seen(lease_id: str = "lease_a", phase: Phase = Phase.RUNNING, **fields: Any) -> Observation:
    return Observation(lease_id, phase, **fields)


def seen_ended(
    lease_id: str = "lease_a", code: int | None = 0, failure: FailureClass = FailureClass.NONE
) -> Observation:
    if failure is FailureClass.NONE and code:
        failure = FailureClass.EXIT
    return seen(
        lease_id,
        Phase.ENDED,
        started_at_ms=NOW,
        ended_at_ms=NOW + 500,
        exit_code=code,
        failure=failure,
        meters=Meters(duration_ms=500),
    )


def fed(core: AgentCore, *events: Event, now_ms: int = NOW) -> list[Instruction]:
    """All instructions that these events brought."""
    return [step for event in events for step in core.handle(event, now_ms)]


class PlayedLink:
    """A control plane in the test's hand: it answers polls with the orders it was given."""

    def __init__(self) -> None:
        self.open: list[LeaseOrder] = []
        self.revision = 0
        self.session = 0
        self.cut = False
        self.released = asyncio.Event()
        """Replies to long polls are kept back while it is not set."""
        self.released.set()
        self.errors: deque[Exception] = deque()
        self.heard: list[RunReport] = []
        self.reconciliations: list[ReconcileRequest] = []
        self.polls: list[tuple[int, PollRequest]] = []
        self.log: dict[tuple[str, str], bytes] = {}
        self.logs_cut = False
        self.most_log = 1 << 30
        self.refused_log = ""
        """The lease whose output is refused for good."""
        self._news = asyncio.Event()

    def order(self, *orders: LeaseOrder) -> None:
        for order in orders:
            self.revision += 1
            gone = [o for o in self.open if o.lease_id != order.lease_id]
            self.open = [*gone, msgspec.structs.replace(order, revision=self.revision)]
        self._news.set()

    def close(self, lease_id: str) -> None:
        self.open = [order for order in self.open if order.lease_id != lease_id]

    def _trouble(self) -> None:
        if self.errors:
            raise self.errors.popleft()
        if self.cut:
            raise Unavailable("ControlPlaneUnreachable", "cut")

    def _take(self, reports: Sequence[RunReport]) -> None:
        self.heard.extend(reports)
        for report in reports:
            if report.phase is Phase.ENDED:
                self.close(report.lease_id)

    async def reconcile(self, request: ReconcileRequest) -> ReconcileReply:
        await asyncio.sleep(0.01)
        self._trouble()
        self.reconciliations.append(request)
        self.session += 1
        self._take(request.runs)
        return ReconcileReply(self.session, self.revision, list(self.open), 10_000)

    async def poll(self, request: PollRequest, timeout_s: float) -> PollReply:
        loop = asyncio.get_running_loop()
        self.polls.append((round(loop.time() * 1000), request))
        await asyncio.sleep(0.01)
        self._trouble()
        self._take(request.reports)
        until = loop.time() + request.wait_ms / 1000
        fresh = [order for order in self.open if order.revision > request.revision]
        while not fresh and loop.time() < until:
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), until - loop.time())
            except TimeoutError:
                break
            fresh = [order for order in self.open if order.revision > request.revision]
        if request.wait_ms:
            await self.released.wait()
        self._trouble()
        return PollReply(max([request.revision, *(o.revision for o in fresh)]), fresh)

    async def send_logs(self, request: LogRequest) -> LogReply:
        await asyncio.sleep(0.01)
        if self.logs_cut or self.cut:
            raise Unavailable("ControlPlaneUnreachable", "cut")
        if any(chunk.lease_id == self.refused_log for chunk in request.chunks):
            raise PermanentError("Refused", "no")
        stored = []
        for chunk in request.chunks:
            key = (chunk.lease_id, chunk.stream)
            have = self.log.get(key, b"")
            if len(have) + len(chunk.data) > self.most_log:
                stored.append((*key, -1))
                continue
            if chunk.offset == len(have):
                self.log[key] = have + chunk.data
            stored.append((*key, len(self.log.get(key, b""))))
        return LogReply(stored)

    def ends(self, lease_id: str = "lease_a") -> list[RunReport]:
        return [r for r in self.heard if r.lease_id == lease_id and r.phase is Phase.ENDED]


class PlayedDriver:
    """An engine in the test's hand; runs go on until the test, or a stop, ends them."""

    name = "played"
    outlives_machine = False

    def __init__(self) -> None:
        self.runs: dict[str, Observation] = {}
        self.started: list[str] = []
        self.stopped: list[tuple[str, FailureClass]] = []
        self.forgotten: list[str] = []
        self.contacts: list[int] = []
        self.start_errors: deque[Exception] = deque()
        self.stop_errors: deque[Exception] = deque()
        self.forget_errors: deque[Exception] = deque()
        self.pools = [PoolReport("cpu", "played", "x86-64", "general", [])]
        self._changed: dict[str, None] = {}
        self._news = asyncio.Event()

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def inventory(self) -> list[PoolReport]:
        return list(self.pools)

    def grow(self) -> None:
        node = NodeReport("n9", Quantity(1_000, 1_024, 0, 0))
        self.pools = [msgspec.structs.replace(self.pools[0], nodes=[node])]

    async def start(self, runs: Sequence[PreparedRun]) -> list[Observation]:
        await asyncio.sleep(0.01)
        if self.start_errors:
            raise self.start_errors.popleft()
        for run in runs:
            lease_id = run.spec.lease_id
            if lease_id not in self.runs:
                self.started.append(lease_id)
                self.runs[lease_id] = seen(lease_id, started_at_ms=NOW)
        return [self.runs[run.spec.lease_id] for run in runs]

    def end(self, observation: Observation) -> None:
        self.runs[observation.lease_id] = observation
        self._changed[observation.lease_id] = None
        self._news.set()

    async def stop(self, lease_id: str, grace_s: int, failure: FailureClass) -> None:
        await asyncio.sleep(0.01)
        if self.stop_errors:
            raise self.stop_errors.popleft()
        self.stopped.append((lease_id, failure))
        known = self.runs.get(lease_id)
        if known is not None and known.phase is not Phase.ENDED:
            self.end(seen_ended(lease_id, None, failure))

    async def observe(self) -> list[Observation]:
        return list(self.runs.values())

    async def changes(self, timeout_s: float) -> list[Observation]:
        try:
            await asyncio.wait_for(self._news.wait(), timeout_s)
        except TimeoutError:
            return []
        self._news.clear()
        changed, self._changed = list(self._changed), {}
        return [self.runs[lease_id] for lease_id in changed if lease_id in self.runs]

    async def contact(self, at_ms: int) -> None:
        self.contacts.append(at_ms)

    async def forget(self, lease_id: str) -> None:
        await asyncio.sleep(0.01)
        if self.forget_errors:
            raise self.forget_errors.popleft()
        self.forgotten.append(lease_id)
        self.runs.pop(lease_id, None)


class PlayedRecords:
    """Outlives the host, as a folder does."""

    instance_id = "agent-1"

    def __init__(self) -> None:
        self.sequence = 0
        self.runs: dict[str, RunSpec] = {}
        self.output: dict[str, bytes] = {}
        self.fetching: list[str] = []
        self.fetched: list[str] = []
        self.fetch_s = 0.5
        self.full = False
        self.outputs: dict[str, tuple[OutputRecord, ...]] = {}
        self.collect_errors: deque[Exception] = deque()
        self.prepare_errors: deque[Exception] = deque()
        self.flushed: list[list[str]] = []
        self.flush_errors: deque[Exception] = deque()

    def next_sequence(self) -> int:
        if self.full:
            raise OSError(28, "No space left on device")
        self.sequence += 1
        return self.sequence

    def load(self) -> list[PreparedRun]:
        return [PreparedRun(spec, Path("/nowhere")) for spec in self.runs.values()]

    def take(self, spec: RunSpec) -> PreparedRun:
        if self.full:
            raise OSError(28, "No space left on device")
        self.runs[spec.lease_id] = spec
        return PreparedRun(spec, Path("/nowhere"))

    async def flush(self, runs: Sequence[PreparedRun]) -> None:
        if self.flush_errors:
            raise self.flush_errors.popleft()
        self.flushed.append([run.spec.lease_id for run in runs])

    async def prepare(self, run: PreparedRun) -> None:
        self.fetching.append(run.spec.lease_id)
        if self.prepare_errors:
            raise self.prepare_errors.popleft()
        await asyncio.sleep(self.fetch_s)
        self.fetched.append(run.spec.lease_id)

    async def collect(self, run: PreparedRun, succeeded: bool) -> tuple[OutputRecord, ...]:
        await asyncio.sleep(0.1)
        if self.collect_errors:
            raise self.collect_errors.popleft()
        return self.outputs.get(run.spec.lease_id, ())

    def read_logs(self, lease_id: str, offsets: dict[str, int]) -> list[LogChunk]:
        offset = offsets.get("stdout", 0)
        data = self.output.get(lease_id, b"")[offset : offset + 1_000]
        return [LogChunk(lease_id, "stdout", offset, data)] if data else []

    def forget(self, lease_id: str) -> None:
        self.runs.pop(lease_id, None)
        self.output.pop(lease_id, None)


INPUT = InputFile("in.dat", "sha256:" + "0" * 64, 1)


class Stage:
    """An agent between a played control plane and a played engine."""

    def __init__(self) -> None:
        self.link = PlayedLink()
        self.driver = PlayedDriver()
        self.records = PlayedRecords()
        self.host = self._new_host()
        self.task: asyncio.Task[None] | None = None

    def _new_host(self, *pools: str) -> AgentHost:
        drivers: dict[str, Driver] = dict.fromkeys(pools or ("cpu",), self.driver)
        loop = asyncio.get_running_loop()
        return AgentHost(
            link=self.link,
            drivers=drivers,
            records=self.records,
            monotonic_ms=lambda: NOW + round(loop.time() * 1000),
            jitter=random.Random(5).random,
            version="test",
        )

    async def up(self, *pools: str) -> None:
        """A new agent process on the same folder."""
        self.host = self._new_host(*pools)
        self.task = asyncio.ensure_future(self.host.run())
        before = len(self.link.reconciliations)
        await self.until(lambda: len(self.link.reconciliations) > before)

    async def down(self) -> None:
        """kill -9."""
        assert self.task is not None
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def running(self, spec: RunSpec | None = None) -> RunSpec:
        """An order that has come as far as the engine."""
        spec = spec or run_spec()
        self.link.order(run_order(spec))
        await self.until(lambda: spec.lease_id in self.driver.runs)
        return spec

    async def until(self, condition: Any, limit_s: float = 120.0) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + limit_s
        while not condition():
            assert loop.time() < end, "it did not come about"
            if self.task is not None and self.task.done():
                self.task.result()
            await asyncio.sleep(0.05)


def virtually(scene: Coroutine[Any, Any, T], seed: int = 1) -> T:
    """Play a scene on a loop of its own, in virtual time."""
    loop = VirtualLoop(seed)
    try:
        return loop.run_until_complete(scene)
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
