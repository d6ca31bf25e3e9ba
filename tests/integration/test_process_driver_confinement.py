"""The process driver on the real machine: limits, isolation and cards."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from process_cases import (
    UP,
    Maker,
    end_warden,
    group_folders,
    groups_of,
    keeper_pid,
    limited,
    needs_bubblewrap,
    plain_case,
    processes_of,
    state_of,
    until_file,
    warden_pid,
)

from suanwang.agent.config import AcceleratorConfig, PoolConfig
from suanwang.agent.drivers.process.driver import ProcessDriver
from suanwang.agent.machine import Machine
from suanwang.agent.port import PreparedRun
from suanwang.kernel.errors import Unavailable
from suanwang.protocol.messages import FailureClass, Quantity


async def test_over_its_memory_is_out_of_memory(open_case: Maker) -> None:
    case = await limited(open_case)
    code = "x = bytearray(160 << 20); print(len(x))"
    small = Quantity(cpu_milli=500, memory_mib=96)
    run = case.prepare("a", [case.python, "-I", "-S", "-c", code], member_quantity=small)
    await case.start(run)
    end = await case.end("a")
    assert end.failure is FailureClass.OUT_OF_MEMORY, end
    assert run.stdout.read_text() == ""
    await case.start(case.shell("b", "exit 3"))
    after = await case.end("b")
    assert after.failure is FailureClass.EXIT, "the kill was not this run's"
    roomy = Quantity(cpu_milli=1000, memory_mib=260)
    await case.start(case.prepare("c", run.spec.command, member_quantity=roomy))
    assert (await case.end("c")).exit_code == 0, "the group has the limits of its present run"


async def test_groups_are_used_again_without_mixing_runs_up(open_case: Maker) -> None:
    case = await limited(open_case)
    for turn in range(3):
        runs = [case.shell(f"r{turn}-{i}", "cat /proc/self/cgroup") for i in range(6)]
        await case.driver.start(runs)
        for run in runs:
            assert (await case.end(run.spec.lease_id)).exit_code == 0
            assert "suanwang-" in run.stdout.read_text()
    assert len({path.name for path in groups_of(case)}) <= 6


async def test_a_share_of_a_core_is_a_share_of_a_core(open_case: Maker) -> None:
    case = await limited(open_case)
    code = "import time\nt = time.monotonic()\nwhile time.monotonic() < t + 1.5: pass"
    fifth = Quantity(cpu_milli=200, memory_mib=64)
    run = case.prepare("a", [case.python, "-I", "-S", "-c", code], member_quantity=fifth)
    await case.start(run)
    end = await case.end("a")
    assert end.exit_code == 0
    assert end.meters.cpu_ms < 0.45 * end.meters.duration_ms


async def test_a_fork_bomb_hits_its_limit(open_case: Maker, tmp_path: Path) -> None:
    await limited(open_case)
    pool = PoolConfig(name="p", isolation="none", options={"pids": "20"})
    driver = ProcessDriver(tmp_path / "bomb", [pool], Machine())
    await driver.open()
    case = plain_case(driver, tmp_path / "bomb")
    script = "i=0; while [ $i -lt 60 ]; do sleep 600 & i=$((i+1)); done; wait"
    run = case.shell("a", script)
    await case.start(run)
    end = await case.end("a")
    await driver.close()
    await end_warden(tmp_path / "bomb")
    assert end.failure is FailureClass.EXIT, "the shell could not fork and gave up"
    assert processes_of(run) == []


async def test_groups_are_removed(open_case: Maker) -> None:
    case = await limited(open_case)
    run = case.shell("a", UP)
    await case.start(run)
    await until_file(run.work / "up")
    assert groups_of(case)
    await case.driver.stop("a", 0, FailureClass.STOPPED)
    await case.end("a")
    for _ in range(20):
        await case.start(case.shell(f"next{_}", "exit 0"))
        await case.end(f"next{_}")
    assert len(groups_of(case)) <= 3, "at most the last run's, one per hierarchy"
    await case.driver.close()
    await end_warden(state_of(case))
    assert group_folders(case) == []


async def test_groups_of_a_killed_warden_are_emptied_and_removed(open_case: Maker) -> None:
    case = await limited(open_case)
    run = case.shell("a", UP)
    await case.start(run)
    await until_file(run.work / "up")
    case.cut()
    os.kill(keeper_pid(state_of(case)), signal.SIGKILL)
    os.kill(warden_pid(state_of(case)), signal.SIGKILL)
    await case.reborn()
    assert (await case.end("a")).failure is FailureClass.VANISHED
    assert processes_of(run) == []
    assert groups_of(case) == []


@needs_bubblewrap
async def test_the_sandbox_hides_and_forbids(open_case: Maker, tmp_path: Path) -> None:
    case = await open_case(isolation="bubblewrap")
    other = case.shell("other", "exit 0")
    (other.work / "private").write_text("theirs")
    outside = tmp_path / "outside"
    scratch = Path("/tmp") / f"scratch-{os.getpid()}"
    outside.write_text("x")
    script = f"""
        echo kept >kept || exit 1
        echo x >{scratch} || exit 2
        [ ! -e {outside} ] || exit 3
        ! touch /usr/suan-was-here 2>/dev/null || exit 4
        [ ! -e {other.work}/private ] || exit 5
        [ ! -e {state_of(case)}/process ] || exit 6
        [ ! -e /proc/{os.getpid()}/root/etc ] || exit 7
        ! mount -t tmpfs none /mnt 2>/dev/null || exit 8
        echo $(ls -d /proc/[0-9]* | wc -l) processes
    """
    run = case.shell("a", script)
    await case.start(run)
    end = await case.end("a")
    assert end.exit_code == 0, (end, run.stderr.read_text())
    assert (run.work / "kept").read_text() == "kept\n"
    assert not scratch.exists()
    assert int(run.stdout.read_text().split()[0]) < 10
    [pool] = await case.driver.inventory()
    assert pool.isolation.endswith("bubblewrap")


@needs_bubblewrap
async def test_a_pool_without_network(tmp_path: Path) -> None:
    pool = PoolConfig(name="p", isolation="bubblewrap", limits="none", options={"network": "none"})
    driver = ProcessDriver(tmp_path / "state", [pool], Machine())
    await driver.open()
    case = plain_case(driver, tmp_path / "state")
    code = "import os; print(sorted(os.listdir('/sys/class/net')), open('/proc/net/route').read())"
    run = case.prepare("a", [case.python, "-c", code])
    gang = case.shell("g", "exit 0", members=2)
    await driver.start([run, gang])
    assert (await case.end("a")).exit_code == 0, run.stderr.read_text()
    assert run.stdout.read_text().count("\n") <= 3, "no routes"
    assert (await case.end("g")).failure is FailureClass.REJECTED
    await driver.close()
    await end_warden(tmp_path / "state")


@needs_bubblewrap
async def test_a_sandboxed_run_is_named_by_its_own_end(open_case: Maker) -> None:
    case = await open_case(isolation="bubblewrap")
    await case.driver.start(
        [
            case.shell("killed", "kill -SEGV $$"),
            case.shell("code", "exit 77"),
            case.shell("one", "echo not found >&2; exit 1"),
        ]
    )
    killed = await case.end("killed")
    assert (killed.failure, killed.exit_code) == (FailureClass.SIGNAL, 139), killed
    assert "SIGSEGV" in killed.detail
    assert (await case.end("code")).exit_code == 77
    assert (await case.end("one")).failure is FailureClass.EXIT


@needs_bubblewrap
async def test_a_sandbox_that_cannot_be_made_is_a_failed_start(open_case: Maker) -> None:
    case = await open_case(isolation="bubblewrap")
    run = case.shell("a", "exit 0")
    shutil.rmtree(run.work)
    await case.start(run)
    end = await case.end("a")
    assert end.failure is FailureClass.START_FAILED, end


async def test_isolation_demanded_but_not_there_is_an_error_with_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    wanted = PoolConfig(name="p", isolation="bubblewrap")
    driver = ProcessDriver(tmp_path / "state", [wanted], Machine(), linger_s=1.0)
    with pytest.raises(Unavailable, match="bubblewrap not installed"):
        await driver.open()
    await driver.close()
    either = PoolConfig(name="p", limits="none")
    driver = ProcessDriver(tmp_path / "state", [either], Machine(), linger_s=1.0)
    await driver.open()
    [pool] = await driver.inventory()
    assert pool.isolation == "no limits (switched off), no isolation (bubblewrap not installed)"
    await driver.close()
    await end_warden(tmp_path / "state")


async def test_cards_are_given_to_one_run_at_a_time(tmp_path: Path) -> None:
    state = tmp_path / "state"
    cards = AcceleratorConfig(model="A100", count=2, vendor="nvidia", memory_gib=40)
    pool = PoolConfig(name="p", nodes=2, accelerator=cards, isolation="none", limits="none")

    async def build() -> ProcessDriver:
        driver = ProcessDriver(state, [pool], Machine())
        await driver.open()
        return driver

    driver = await build()
    case = plain_case(driver, state)
    one, two = Quantity(accelerator_milli=1000), Quantity(accelerator_milli=2000)
    script = "echo $CUDA_VISIBLE_DEVICES/$SUAN_ACCELERATORS >up; exec sleep 600"

    def wants(lease: str, node: str, quantity: Quantity) -> PreparedRun:
        return case.shell(lease, script, nodes=[(node, 1)], member_quantity=quantity)

    try:
        first, second = wants("a", "p-1", one), wants("b", "p-1", one)
        await driver.start([first, second])
        assert await until_file(first.work / "up") == "2/2\n"
        assert await until_file(second.work / "up") == "3/3\n"
        full = await case.start(wants("c", "p-1", one))
        assert full.failure is FailureClass.REJECTED
        await driver.close()
        case.driver = driver = await build()
        full = await case.start(wants("d", "p-1", one))
        assert full.failure is FailureClass.REJECTED, "a new agent knows whose the cards are"
        gang = case.shell("e", script, nodes=[("p-0", 1)], member_quantity=two)
        await case.start(gang)
        assert await until_file(gang.work / "up") == "0,1/0,1\n"
        await driver.stop("a", 0, FailureClass.STOPPED)
        await case.end("a")
        again = wants("f", "p-1", one)
        await case.start(again)
        assert await until_file(again.work / "up") == "2/2\n"
    finally:
        await driver.close()
        await end_warden(state)
