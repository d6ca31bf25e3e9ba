"""The process driver under the contract suite, bare and confined."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from driver_case import DriverCase, until_gone

from suanwang.agent.config import PoolConfig
from suanwang.agent.drivers.process.driver import ProcessDriver
from suanwang.agent.machine import Machine
from suanwang.agent.port import Driver

LINGER_S = 30.0


async def make(folder: Path, *, isolation: str = "none", limits: str = "none") -> DriverCase:
    state = folder / "state"
    pool = PoolConfig(name="local", nodes=3, cpus=1, isolation=isolation, limits=limits)

    async def build() -> Driver:
        driver = ProcessDriver(state, [pool], Machine(), linger_s=LINGER_S)
        await driver.open()
        return driver

    async def dispose() -> None:
        await case.driver.close()
        await end_warden(state)

    case = DriverCase(
        await build(),
        "local",
        state / "runs",
        build,
        abandon,
        dispose,
        gang=[("local-0", 2), ("local-2", 1)],
    )
    return case


def abandon(driver: Driver) -> None:
    assert isinstance(driver, ProcessDriver)
    driver._link.abandon()


def warden_pid(state: Path) -> int:
    """The warden of a state folder, known by its command and working directory; 0 if none."""
    return _warden_and_keeper(state)[0]


def keeper_pid(state: Path) -> int:
    """The warden's parent; 0 if there is none (any more)."""
    return _warden_and_keeper(state)[1]


def _warden_and_keeper(state: Path) -> tuple[int, int]:
    found = {pid: _parent(pid) for pid in map(int, _pids()) if _serves(pid, state / "process")}
    for pid, parent in found.items():
        if parent in found:
            return pid, parent
    return next(iter(found), 0), 0


def _parent(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])


async def end_warden(state: Path) -> None:
    """The warden's own way out: it stops what runs and leaves."""
    pid, keeper = warden_pid(state), keeper_pid(state)
    if pid:
        os.kill(pid, signal.SIGTERM)
        await until_gone(pid)
    if keeper:
        await until_gone(keeper)


def _pids() -> list[str]:
    return [name for name in os.listdir("/proc") if name.isdigit()]


def _serves(pid: int, folder: Path) -> bool:
    try:
        at = os.readlink(f"/proc/{pid}/cwd")
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return at == str(folder.resolve()) and b"warden.keeper" in command
