"""The process driver on the real machine: who may die, what is left, what holds runs in."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from suanwang.agent.config import AcceleratorConfig, PoolConfig
from suanwang.agent.drivers.process.driver import ProcessDriver
from suanwang.agent.machine import Machine
from suanwang.agent.port import PreparedRun
from suanwang.kernel.errors import Unavailable
from suanwang.protocol.messages import FailureClass, Phase, Quantity

sys.path.insert(0, str(Path(__file__).parent.parent / "contract" / "driver"))

from case_process import abandon, end_warden, keeper_pid, make, warden_pid
from driver_case import DriverCase, alive, files_holding, processes_of, until_file, until_gone

Maker = Callable[..., Awaitable[DriverCase]]
_UP = "echo up >up; exec sleep 600"

needs_bubblewrap = pytest.mark.skipif(shutil.which("bwrap") is None, reason="no bubblewrap")


@pytest.fixture
async def open_case(tmp_path: Path) -> AsyncIterator[Maker]:
    """Make a process case with the options given; all are taken down afterwards."""
    made: list[DriverCase] = []

    async def build(**options: str) -> DriverCase:
        case = await make(tmp_path / str(len(made)), **options)
        made.append(case)
        return case

    yield build
    for case in made:
        await case.dispose()


def _state(case: DriverCase) -> Path:
    return case.folder.parent


def _in_groups(case: DriverCase) -> list[Path]:
    mark = (_state(case) / "process" / "warden.id").read_text()
    return [p for p in Path("/sys/fs/cgroup").rglob(f"suanwang-{mark[:12]}*/*-*") if p.is_dir()]


def _case(driver: ProcessDriver, state: Path) -> DriverCase:
    """For a driver the test opens, reopens and closes itself."""

    async def never() -> Any:
        raise AssertionError

    return DriverCase(driver, "p", state / "runs", never, abandon, never)


async def _limited(open_case: Maker, **options: str) -> DriverCase:
    case = await open_case(limits="auto", **options)
    [pool] = await case.driver.inventory()
    if "no limits" in pool.isolation:
        pytest.skip("no cgroup that this user may write")
    return case


# -- deaths --------------------------------------------------------------------------------------


async def test_the_runs_outlive_a_killed_agent_process(tmp_path: Path) -> None:
    """A real agent process, killed with SIGKILL while its run is under way."""
    script = tmp_path / "agent.py"
    script.write_text(_AGENT)
    path = os.pathsep.join([*sys.path, str(Path(__file__).parent.parent / "contract" / "driver")])
    agent = await asyncio.create_subprocess_exec(
        sys.executable, str(script), str(tmp_path), env={**os.environ, "PYTHONPATH": path}
    )
    work = tmp_path / "state" / "runs" / "a" / "work"
    await until_file(work / "up")
    agent.kill()
    await agent.wait()
    case = await make(tmp_path)
    try:
        seen = await case.until("a", Phase.RUNNING)
        assert seen.phase is Phase.RUNNING
        (work / "go").touch()
        end = await case.end("a")
        assert (end.failure, end.exit_code) == (FailureClass.EXIT, 21)
    finally:
        await case.dispose()


_AGENT = """
import asyncio, sys
from pathlib import Path
from case_process import make

async def main():
    case = await make(Path(sys.argv[1]))
    await case.start(case.shell("a", "echo up >up; until [ -e go ]; do sleep 0.05; done; exit 21"))
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize("isolation", ["none", pytest.param("bubblewrap", marks=needs_bubblewrap)])
async def test_a_killed_warden_takes_its_runs_along(open_case: Maker, isolation: str) -> None:
    case = await open_case(isolation=isolation)
    run = case.shell("a", f"setsid sleep 601 & {_UP}")
    await case.start(run)
    await until_file(run.work / "up")
    inside = processes_of(run)
    keeper = keeper_pid(_state(case))
    case.cut()
    os.kill(warden_pid(_state(case)), signal.SIGKILL)
    for pid in [*inside, keeper]:
        await until_gone(pid)
    assert processes_of(run) == []
    await case.reborn()
    end = await case.end("a")
    assert end.failure is FailureClass.VANISHED, end


async def test_an_agent_whose_warden_is_killed_gets_another(open_case: Maker) -> None:
    case = await open_case()
    run = case.shell("a", _UP)
    await case.start(run)
    await until_file(run.work / "up")
    os.kill(warden_pid(_state(case)), signal.SIGKILL)
    [end] = [seen for seen in await case.driver.changes(30) if seen.lease_id == "a"]
    assert end.failure is FailureClass.VANISHED, end
    await case.start(case.shell("b", "exit 4"))
    assert (await case.end("b")).exit_code == 4


async def test_runs_under_way_when_the_warden_is_killed_are_not_lost(open_case: Maker) -> None:
    case = await open_case()
    runs = [case.shell(f"r{i}", "echo ran >>ran; exec sleep 0.01") for i in range(300)]
    starting = asyncio.ensure_future(case.driver.start(runs))
    await until_file(runs[20].work / "ran")
    os.kill(warden_pid(_state(case)), signal.SIGKILL)
    answers = await starting
    assert len(answers) == 300
    ends = [(await case.end(f"r{i}")).failure for i in range(300)]
    assert set(ends) <= {FailureClass.NONE, FailureClass.VANISHED}
    assert ends[-1] is FailureClass.NONE, "what had not begun was started by the next warden"
    for run in runs:
        marks = run.work / "ran"
        assert not marks.exists() or marks.read_text() == "ran\n", "never twice"


async def test_warden_and_keeper_killed_the_next_warden_sweeps(open_case: Maker) -> None:
    case = await open_case()
    script = f"env -u SUAN_WARDEN sh -c 'sleep 602; :' & setsid sleep 603 & {_UP}"
    run = case.shell("a", script)
    await case.start(run)
    await until_file(run.work / "up")
    inside = processes_of(run)
    assert len(inside) >= 4
    case.cut()
    os.kill(keeper_pid(_state(case)), signal.SIGKILL)
    os.kill(warden_pid(_state(case)), signal.SIGKILL)
    assert all(alive(pid) for pid in inside), "nobody was left to end them"
    await case.reborn()
    assert (await case.end("a")).failure is FailureClass.VANISHED
    for pid in inside:
        await until_gone(pid)


async def test_a_sweep_spares_a_process_that_got_a_recorded_pid_again(open_case: Maker) -> None:
    case = await open_case()
    await case.start(case.shell("a", "exit 0"))
    await case.end("a")
    await case.driver.close()
    await end_warden(_state(case))
    bystander = await asyncio.create_subprocess_exec("sleep", "600", start_new_session=True)
    try:
        record = _state(case) / "process" / "records" / "b.jsonl"
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        record.write_text(
            f'{{"intent":{{"tag":null,"boot":"{boot}"}}}}\n'
            f'{{"processes":[[{bystander.pid},12345]],"started_at_ms":1}}\n{{"end": torn'
        )
        await case.reborn()
        assert (await case.end("b")).failure is FailureClass.VANISHED
        assert alive(bystander.pid)
    finally:
        bystander.kill()
        await bystander.wait()


async def test_after_a_restart_of_the_machine_open_runs_are_the_nodes_failure(
    open_case: Maker,
) -> None:
    case = await open_case()
    await case.start(case.shell("done", "exit 3"))
    duration = (await case.end("done")).meters.duration_ms
    await case.driver.close()
    await end_warden(_state(case))
    records = _state(case) / "process" / "records"
    text = (records / "done.jsonl").read_text()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    old = text.replace(boot, "another-boot").replace('"ended_at_ms":', '"ended_at_ms":9999')
    (records / "done.jsonl").write_text(old)
    (records / "open.jsonl").write_text('{"intent":{"tag":null,"boot":"another-boot"}}\n')
    await case.reborn()
    assert (await case.end("open")).failure is FailureClass.NODE_FAILURE
    done = await case.end("done")
    assert done.exit_code == 3
    assert done.ended_at_ms is not None
    assert done.started_at_ms is not None
    assert done.ended_at_ms <= Machine().monotonic_ms(), "an instant of another boot means nothing"
    assert done.ended_at_ms - done.started_at_ms == duration


async def test_a_warden_without_runs_and_agent_leaves(tmp_path: Path) -> None:
    driver = ProcessDriver(tmp_path, [PoolConfig(name="p")], Machine(), linger_s=1.0)
    await driver.open()
    warden, keeper = warden_pid(tmp_path), keeper_pid(tmp_path)
    assert alive(warden)
    assert alive(keeper)
    await driver.close()
    await until_gone(warden)
    await until_gone(keeper)


async def test_two_agents_starting_at_once_get_one_warden(tmp_path: Path) -> None:
    drivers = [
        ProcessDriver(tmp_path, [PoolConfig(name="p")], Machine(), linger_s=1.0) for _ in range(4)
    ]
    await asyncio.gather(*(driver.open() for driver in drivers))
    assert warden_pid(tmp_path)
    for driver in drivers:
        await driver.close()
    await end_warden(tmp_path)


async def test_a_stop_may_overtake_its_start(open_case: Maker) -> None:
    case = await open_case()
    runs = [case.shell(f"r{i}", "sleep 0.01") for i in range(60)]
    late = case.shell("late", "echo ran >ran")
    starting = asyncio.ensure_future(case.driver.start([*runs, late]))
    await asyncio.sleep(0)
    await case.driver.stop("late", 0, FailureClass.STOPPED)
    answers = await starting
    assert answers[-1].failure is FailureClass.STOPPED, answers[-1]
    assert not (late.work / "ran").exists()
    assert (await case.end("r59")).failure is FailureClass.NONE


async def test_a_relative_state_folder_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    driver = ProcessDriver(Path("state"), [PoolConfig(name="p")], Machine(), linger_s=1.0)
    await driver.open()
    case = _case(driver, Path("state"))
    run = case.shell("a", "echo $HOME")
    await case.start(run)
    assert (await case.end("a")).exit_code == 0, await case.seen("a")
    assert run.stdout.read_text() == f"{tmp_path}/state/runs/a/work\n"
    await driver.close()
    await end_warden(tmp_path / "state")


async def test_nonsense_on_the_socket_does_not_harm(open_case: Maker) -> None:
    case = await open_case()
    handle = os.open(_state(case) / "process", os.O_RDONLY)
    reader, writer = await asyncio.open_unix_connection(f"/proc/self/fd/{handle}/warden.sock")
    os.close(handle)
    writer.write(b'{"op":"stop"}\nnot json\n')
    assert await reader.read() == b"", "the client is dropped"
    writer.close()
    await case.start(case.shell("a", "exit 2"))
    assert (await case.end("a")).exit_code == 2


# -- limits --------------------------------------------------------------------------------------


async def test_over_its_memory_is_out_of_memory(open_case: Maker) -> None:
    case = await _limited(open_case)
    code = "x = bytearray(400 << 20); print(len(x))"
    small = Quantity(cpu_milli=500, memory_mib=96)
    run = case.prepare("a", [case.python, "-I", "-S", "-c", code], member_quantity=small)
    await case.start(run)
    end = await case.end("a")
    assert end.failure is FailureClass.OUT_OF_MEMORY, end
    assert run.stdout.read_text() == ""
    await case.start(case.shell("b", "exit 3"))
    after = await case.end("b")
    assert after.failure is FailureClass.EXIT, "the kill was not this run's"
    roomy = Quantity(cpu_milli=500, memory_mib=600)
    await case.start(case.prepare("c", run.spec.command, member_quantity=roomy))
    assert (await case.end("c")).exit_code == 0, "the group has the limits of its present run"


async def test_groups_are_used_again_without_mixing_runs_up(open_case: Maker) -> None:
    case = await _limited(open_case)
    for turn in range(3):
        runs = [case.shell(f"r{turn}-{i}", "cat /proc/self/cgroup") for i in range(6)]
        await case.driver.start(runs)
        for run in runs:
            assert (await case.end(run.spec.lease_id)).exit_code == 0
            assert "suanwang-" in run.stdout.read_text()
    assert len({path.name for path in _in_groups(case)}) <= 6


async def test_a_share_of_a_core_is_a_share_of_a_core(open_case: Maker) -> None:
    case = await _limited(open_case)
    code = "import time\nt = time.monotonic()\nwhile time.monotonic() < t + 1.5: pass"
    fifth = Quantity(cpu_milli=200, memory_mib=64)
    run = case.prepare("a", [case.python, "-I", "-S", "-c", code], member_quantity=fifth)
    await case.start(run)
    end = await case.end("a")
    assert end.exit_code == 0
    assert end.meters.cpu_ms < 0.45 * end.meters.duration_ms


async def test_a_fork_bomb_hits_its_limit(open_case: Maker, tmp_path: Path) -> None:
    await _limited(open_case)
    pool = PoolConfig(name="p", isolation="none", options={"pids": "20"})
    driver = ProcessDriver(tmp_path / "bomb", [pool], Machine())
    await driver.open()
    case = _case(driver, tmp_path / "bomb")
    script = "i=0; while [ $i -lt 60 ]; do sleep 600 & i=$((i+1)); done; wait"
    run = case.shell("a", script)
    await case.start(run)
    end = await case.end("a")
    await driver.close()
    await end_warden(tmp_path / "bomb")
    assert end.failure is FailureClass.EXIT, "the shell could not fork and gave up"
    assert processes_of(run) == []


async def test_groups_are_removed(open_case: Maker) -> None:
    case = await _limited(open_case)
    run = case.shell("a", _UP)
    await case.start(run)
    await until_file(run.work / "up")
    assert _in_groups(case)
    await case.driver.stop("a", 0, FailureClass.STOPPED)
    await case.end("a")
    for _ in range(20):
        await case.start(case.shell(f"next{_}", "exit 0"))
        await case.end(f"next{_}")
    assert len(_in_groups(case)) <= 3, "at most the last run's, one per hierarchy"
    mark = (_state(case) / "process" / "warden.id").read_text()
    await case.driver.close()
    await end_warden(_state(case))
    left = list(Path("/sys/fs/cgroup").rglob(f"suanwang-{mark[:12]}*"))
    assert left == []


async def test_groups_of_a_killed_warden_are_emptied_and_removed(open_case: Maker) -> None:
    case = await _limited(open_case)
    run = case.shell("a", _UP)
    await case.start(run)
    await until_file(run.work / "up")
    case.cut()
    os.kill(keeper_pid(_state(case)), signal.SIGKILL)
    os.kill(warden_pid(_state(case)), signal.SIGKILL)
    await case.reborn()
    assert (await case.end("a")).failure is FailureClass.VANISHED
    assert processes_of(run) == []
    assert _in_groups(case) == []


# -- many runs -----------------------------------------------------------------------------------


async def test_500_runs_leave_no_zombie_and_no_descriptor(open_case: Maker) -> None:
    case = await open_case()
    await case.start(case.shell("warm", "exit 0"))
    await case.end("warm")
    warden = warden_pid(_state(case))
    ours, wardens = len(os.listdir("/proc/self/fd")), len(os.listdir(f"/proc/{warden}/fd"))
    for batch in range(10):
        runs = [case.prepare(f"r{batch}-{i}", ["true"]) for i in range(50)]
        await case.driver.start(runs)
        for run in runs:
            assert (await case.end(run.spec.lease_id)).failure is FailureClass.NONE
            await case.driver.forget(run.spec.lease_id)
    assert len(os.listdir("/proc/self/fd")) == ours
    assert len(os.listdir(f"/proc/{warden}/fd")) == wardens
    assert Path(f"/proc/{warden}/task/{warden}/children").read_text() == ""
    await case.reborn()
    assert [seen.lease_id for seen in await case.driver.observe()] == ["warm"]


# -- isolation -----------------------------------------------------------------------------------


@needs_bubblewrap
async def test_the_sandbox_hides_and_forbids(open_case: Maker, tmp_path: Path) -> None:
    case = await open_case(isolation="bubblewrap")
    other = case.shell("other", "exit 0")
    (other.work / "private").write_text("theirs")
    outside = tmp_path / "outside"
    outside.write_text("x")
    script = f"""
        echo kept >kept || exit 1
        echo x >/tmp/scratch || exit 2
        [ ! -e {outside} ] || exit 3
        ! touch /usr/suan-was-here 2>/dev/null || exit 4
        [ ! -e {other.work}/private ] || exit 5
        [ ! -e {_state(case)}/process ] || exit 6
        [ ! -e /proc/{os.getpid()}/root/etc ] || exit 7
        ! mount -t tmpfs none /mnt 2>/dev/null || exit 8
        echo $(ls -d /proc/[0-9]* | wc -l) processes
    """
    run = case.shell("a", script)
    await case.start(run)
    end = await case.end("a")
    assert end.exit_code == 0, (end, run.stderr.read_text())
    assert (run.work / "kept").read_text() == "kept\n"
    assert not Path("/tmp/scratch").exists()
    assert int(run.stdout.read_text().split()[0]) < 10
    [pool] = await case.driver.inventory()
    assert pool.isolation.endswith("bubblewrap")


@needs_bubblewrap
async def test_a_pool_without_network(tmp_path: Path) -> None:
    pool = PoolConfig(name="p", isolation="bubblewrap", limits="none", options={"network": "none"})
    driver = ProcessDriver(tmp_path / "state", [pool], Machine())
    await driver.open()
    case = _case(driver, tmp_path / "state")
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


# -- cards ---------------------------------------------------------------------------------------


async def test_cards_are_given_to_one_run_at_a_time(tmp_path: Path) -> None:
    state = tmp_path / "state"
    cards = AcceleratorConfig(model="A100", count=2, vendor="nvidia", memory_gib=40)
    pool = PoolConfig(name="p", nodes=2, accelerator=cards, isolation="none", limits="none")

    async def build() -> ProcessDriver:
        driver = ProcessDriver(state, [pool], Machine())
        await driver.open()
        return driver

    driver = await build()
    case = _case(driver, state)
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


async def test_secrets_are_in_no_file_of_the_agent(open_case: Maker) -> None:
    case = await open_case()
    run = case.shell("a", _UP, secrets={"TOKEN": "hush-hush-hush"})
    await case.start(run)
    await until_file(run.work / "up")
    assert files_holding(_state(case), "hush-hush-hush") == []
    await case.driver.stop("a", 0, FailureClass.STOPPED)
    await case.end("a")
    assert files_holding(_state(case), "hush-hush-hush") == []
