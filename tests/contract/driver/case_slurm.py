"""The Slurm driver under the contract suite, on a private Slurm of three nodes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from driver_case import DriverCase

from components.slurm import shared_cluster
from suanwang.agent.config import PoolConfig
from suanwang.agent.drivers.slurm.driver import SlurmDriver
from suanwang.agent.machine import Machine
from suanwang.agent.port import Driver
from suanwang.protocol.messages import Quantity


async def make(folder: Path) -> DriverCase:
    cluster = shared_cluster()
    state = folder / "state"
    options = {"conf": str(cluster.conf), "poll_s": "0.5"}
    pool = PoolConfig(name="main", driver="slurm", options=options)

    async def build() -> Driver:
        driver = SlurmDriver(state, [pool], Machine())
        await driver.open()
        return driver

    async def dispose() -> None:
        await case.driver.close()
        await asyncio.to_thread(cluster.empty)

    case = DriverCase(await build(), "main", state / "runs", build, abandon, dispose, slow=True)
    # Slurm counts the batch script and srun too, and kills over the limit when it samples
    case.member_quantity = Quantity(cpu_milli=100, memory_mib=256)
    return case


def abandon(driver: Driver) -> None:
    assert isinstance(driver, SlurmDriver)
    if driver._round_task is not None:
        driver._round_task.cancel()
