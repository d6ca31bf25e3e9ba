"""What the contract suite needs to know of a driver, and small things its tests share.

To plug a driver in: a module `case_<name>.py` beside this one with a coroutine
`make(folder: Path) -> DriverCase`, and a line in `conftest.py`.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from suanwang.agent.port import Driver, Observation, PreparedRun
from suanwang.protocol.messages import Phase, Quantity, RunSpec

PATIENCE_S = 60.0
_MARK = "SUAN_CONTRACT_RUN"
_SMALL = Quantity(cpu_milli=100, memory_mib=64)


@dataclass
class DriverCase:
    """One driver over one state, as the suite drives it."""

    driver: Driver
    pool: str
    folder: Path
    """Where run folders are made; seen by agent and nodes alike."""
    build: Callable[[], Awaitable[Driver]]
    """Open a driver on the same state, as a restarted agent would."""
    abandon: Callable[[Driver], None]
    """What the engine's side sees when the agent is killed: no `close`, nothing is said."""
    dispose: Callable[[], Awaitable[None]]
    """Close the driver and leave no process behind."""
    member_quantity: Quantity = _SMALL
    gang: list[tuple[str, int]] = field(default_factory=list)
    """Placement of a gang of three; [] = the engine chooses."""
    slow: bool = False
    """An engine that takes seconds per run: the suite asks for fewer."""
    python: str = os.path.realpath(sys.executable)
    """The interpreter itself: a sandbox hides virtual environments that lie in /tmp."""
    """An interpreter on the nodes."""

    def prepare(self, lease_id: str, command: list[str], **fields: Any) -> PreparedRun:
        """A run with an empty working directory."""
        folder = self.folder / lease_id
        (folder / "work").mkdir(parents=True)
        given: dict[str, Any] = {
            "epoch": 1,
            "task_id": f"task-{lease_id}",
            "job_id": f"job-{lease_id}",
            "job_name": "contract",
            "pool": self.pool,
            "member_quantity": self.member_quantity,
            "grace_s": 5,
        } | fields
        given["env"] = {_MARK: str(folder), **given.get("env", {})}
        spec = RunSpec(lease_id=lease_id, command=command, **given)
        return PreparedRun(spec, folder)

    def shell(self, lease_id: str, script: str, **fields: Any) -> PreparedRun:
        return self.prepare(lease_id, ["/bin/sh", "-c", script], **fields)

    def cut(self) -> None:
        """The agent is killed; until `reborn` there is none."""
        self.abandon(self.driver)

    async def reborn(self) -> None:
        """The agent is killed (if it lives) and another one started."""
        self.cut()
        self.driver = await self.build()

    async def start(self, run: PreparedRun) -> Observation:
        [observation] = await self.driver.start([run])
        assert observation.lease_id == run.spec.lease_id
        return observation

    async def seen(self, lease_id: str) -> Observation | None:
        for observation in await self.driver.observe():
            if observation.lease_id == lease_id:
                return observation
        return None

    async def until_up(self, run: PreparedRun) -> None:
        """Until it has written its file `up`; the control plane is heard meanwhile."""
        deadline = time.monotonic() + PATIENCE_S
        while not (run.work / "up").exists():
            assert time.monotonic() < deadline, f"{run.spec.lease_id} did not come up"
            await self.driver.contact(now_ms())
            await self.driver.changes(0.1)

    async def until(self, lease_id: str, phase: Phase) -> Observation:
        """Follow `changes` until the run is in the phase (or beyond)."""
        order = list(Phase)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            observation = await self.seen(lease_id)
            if observation and order.index(observation.phase) >= order.index(phase):
                return observation
            await self.driver.changes(1.0)
        raise AssertionError(f"{lease_id} is not {phase} after {PATIENCE_S} s: {observation}")

    async def end(self, lease_id: str) -> Observation:
        return await self.until(lease_id, Phase.ENDED)


async def until_file(path: Path) -> str:
    """The text of a file that a run writes, once it is whole (ends in a newline)."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if path.exists() and (text := path.read_text()).endswith("\n"):
            return text
        await asyncio.sleep(0.02)
    raise AssertionError(f"{path} did not appear within {PATIENCE_S} s")


def alive(pid: int) -> bool:
    """Is the process there, and not only its zombie?"""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def processes_of(run: PreparedRun) -> list[int]:
    """Every process of this machine that was started with the run's environment."""
    wanted = f"{_MARK}={run.folder}".encode()
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and wanted in Path(f"/proc/{name}/environ").read_bytes().split(b"\0"):
                found.append(int(name))
        except OSError:
            continue
    return [pid for pid in sorted(found) if alive(pid)]


def files_holding(folder: Path, secret: str) -> list[str]:
    """Regular files under the folder that contain the text."""
    return [
        str(path)
        for path in folder.rglob("*")
        if path.is_file() and secret.encode() in path.read_bytes()
    ]


def now_ms() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


async def until_gone(pid: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while alive(pid):
        assert time.monotonic() < deadline, f"process {pid} lives on"
        await asyncio.sleep(0.02)
