"""A site in front of a real Slurm, as the integration tests drive it."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.slurm import SlurmCluster
from suanwang.agent.config import PoolConfig
from suanwang.agent.drivers.slurm.driver import SlurmDriver
from suanwang.agent.machine import Machine
from suanwang.agent.port import Observation, PreparedRun
from suanwang.protocol.messages import Phase, Quantity, RunSpec

PATIENCE_S = 60.0
_numbers = itertools.count(1)


class SlurmSite:
    """A cluster, a folder that agent and nodes share, and the agent's driver over both."""

    def __init__(self, cluster: SlurmCluster, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder
        self.machine = Machine()
        self.driver = self.build()

    def build(self, **options: str) -> SlurmDriver:
        """A driver over the same state; not opened."""
        given = {"conf": str(self.cluster.conf), "poll_s": "0.5", "vanish_s": "3", **options}
        pools = [PoolConfig(name=name, driver="slurm", options=given) for name in ("main", "spot")]
        return SlurmDriver(self.folder / "state", pools, self.machine)

    async def open(self, **options: str) -> None:
        self.driver = self.build(**options)
        await self.driver.open()

    async def kill_agent(self) -> None:
        """What is left when the agent dies: nothing is said, nothing is written."""
        task = self.driver._round_task
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def prepare(self, script: str | list[str], **fields: Any) -> PreparedRun:
        lease = fields.pop("lease_id", f"lse_{next(_numbers):05d}")
        folder = self.folder / "runs" / lease
        (folder / "work").mkdir(parents=True, exist_ok=True)
        command = ["/bin/sh", "-c", script] if isinstance(script, str) else script
        given: dict[str, Any] = {
            "epoch": 1,
            "task_id": f"tsk_{lease}",
            "job_id": "job_1",
            "job_name": "integration",
            "pool": "main",
            "member_quantity": Quantity(1000, 100),
            "grace_s": 2,
        } | fields
        return PreparedRun(RunSpec(lease_id=lease, command=command, **given), folder)

    async def start(self, *runs: PreparedRun) -> list[Observation]:
        return await self.driver.start(runs)

    async def until(
        self, run: PreparedRun, true: Callable[[Observation], bool], patience_s: float = PATIENCE_S
    ) -> Observation:
        deadline = time.monotonic() + patience_s
        seen: Observation | None = None
        while time.monotonic() < deadline:
            for seen in await self.driver.observe():
                if seen.lease_id == run.spec.lease_id and true(seen):
                    return seen
            await self.driver.changes(0.5)
        raise AssertionError(f"not within {patience_s} s: {seen}; {self.cluster.folder}")

    async def running(self, run: PreparedRun) -> Observation:
        return await self.until(run, lambda seen: seen.phase is Phase.RUNNING)

    async def up(self, *runs: PreparedRun) -> None:
        """Until each has written its file `up`; the control plane is heard meanwhile."""
        deadline = time.monotonic() + PATIENCE_S
        while late := [run.spec.lease_id for run in runs if not (run.work / "up").exists()]:
            assert time.monotonic() < deadline, f"not up: {late}; {self.cluster.folder}"
            await self.driver.contact(self.machine.monotonic_ms())
            await self.driver.changes(0.1)

    async def end(self, run: PreparedRun) -> Observation:
        return await self.until(run, lambda seen: seen.phase is Phase.ENDED)

    async def quiet(self) -> None:
        """Until the driver has left nothing in the queue."""
        deadline = time.monotonic() + PATIENCE_S
        while left := self.cluster.jobs():
            assert time.monotonic() < deadline, f"jobs that nobody takes back: {left}"
            await self.driver.changes(0.5)

    def job_of(self, run: PreparedRun) -> str:
        """What to give to Slurm's commands for it."""
        return self.driver._roster.runs[run.spec.lease_id].engine_id

    def slurm_state(self, job_id: str) -> str:
        return self.cluster.run("squeue", "-h", "-t", "all", "-j", job_id, "-o", "%T").strip()

    def foreign(self, *words: str) -> str:
        """A job of somebody else's making; its id."""
        argv = ["sbatch", "--parsable", "--output=/dev/null", *words]
        return self.cluster.run(*argv).strip()


async def until(true: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {patience_s} s"
        await asyncio.sleep(0.05)


def as_nobody(cluster: SlurmCluster, *argv: str) -> str:
    """Both outputs of a command run by another, unprivileged user."""
    words = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *argv]
    done = subprocess.run(words, env=cluster.env, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr
