"""The real machine behind the Host port."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from suanwang.agent.machine import Machine


async def test_a_command_is_run_to_its_end() -> None:
    done = await Machine().run(["sh", "-c", "cat; echo err >&2; exit 3"], stdin="in")
    assert (done.returncode, done.stdout, done.stderr) == (3, "in", "err\n")


async def test_the_environment_is_what_is_given() -> None:
    done = await Machine().run(["/usr/bin/env"], env={"ONLY": "this"})
    assert done.stdout == "ONLY=this\n"


async def test_a_missing_program_is_127() -> None:
    done = await Machine().run(["no-such-program-anywhere"])
    assert done.returncode == 127
    assert "no-such-program-anywhere" in done.stderr


async def test_a_time_out_is_124_and_leaves_nothing(tmp_path: Path) -> None:
    script = f"(sleep 600; :) & echo $! >{tmp_path}/pid; echo so far; wait"
    done = await Machine().run(["sh", "-c", script], timeout_s=0.5)
    assert (done.returncode, done.stdout) == (124, "so far\n")
    pid = int((tmp_path / "pid").read_text())
    for _ in range(500):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                break
        except FileNotFoundError:
            break
        await asyncio.sleep(0.01)
    else:
        pytest.fail("the grandchild lives on")


async def test_a_daemon_that_holds_the_pipes_does_not_hold_us(tmp_path: Path) -> None:
    script = f"setsid sleep 600 & echo $! >{tmp_path}/pid; sleep 600"
    open_before = _descriptors()
    try:
        done = await asyncio.wait_for(Machine().run(["sh", "-c", script], timeout_s=0.5), 30)
        assert done.returncode == 124
    finally:
        os.kill(int((tmp_path / "pid").read_text()), 9)
    for _ in range(500):
        if _descriptors() <= open_before:
            break
        await asyncio.sleep(0.01)
    else:
        pytest.fail("its pipes stay open though the daemon is gone")


async def test_a_cancelled_command_is_killed(tmp_path: Path) -> None:
    script = f"echo $$ >{tmp_path}/pid; exec sleep 600"
    task = asyncio.ensure_future(Machine().run(["sh", "-c", script]))
    for _ in range(500):
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            break
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_the_clocks() -> None:
    machine = Machine()
    assert abs(machine.wall_ms() - time.time() * 1000) < 60_000
    first = machine.monotonic_ms()
    assert machine.monotonic_ms() >= first
    uptime_ms = float(Path("/proc/uptime").read_text().split()[0]) * 1000
    assert abs(machine.monotonic_ms() - uptime_ms) < 60_000
