"""The process driver on the real machine: who may die, and what is left then."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from process_cases import (
    UP,
    Maker,
    alive,
    end_warden,
    files_holding,
    keeper_pid,
    make,
    needs_bubblewrap,
    plain_case,
    processes_of,
    state_of,
    until_file,
    until_gone,
    warden_pid,
)

from suanwang.agent.config import PoolConfig
from suanwang.agent.drivers.process import link
from suanwang.agent.drivers.process.driver import ProcessDriver
from suanwang.agent.machine import Machine
from suanwang.kernel.errors import Unavailable
from suanwang.protocol.messages import FailureClass, Phase


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
    run = case.shell("a", f"setsid sleep 601 & {UP}")
    await case.start(run)
    await until_file(run.work / "up")
    inside = processes_of(run)
    keeper = keeper_pid(state_of(case))
    case.cut()
    os.kill(warden_pid(state_of(case)), signal.SIGKILL)
    for pid in [*inside, keeper]:
        await until_gone(pid)
    assert processes_of(run) == []
    await case.reborn()
    end = await case.end("a")
    assert end.failure is FailureClass.VANISHED, end


async def test_an_agent_whose_warden_is_killed_gets_another(open_case: Maker) -> None:
    case = await open_case()
    run = case.shell("a", UP)
    await case.start(run)
    await until_file(run.work / "up")
    os.kill(warden_pid(state_of(case)), signal.SIGKILL)
    [end] = [seen for seen in await case.driver.changes(30) if seen.lease_id == "a"]
    assert end.failure is FailureClass.VANISHED, end
    await case.start(case.shell("b", "exit 4"))
    assert (await case.end("b")).exit_code == 4


async def test_runs_under_way_when_the_warden_is_killed_are_not_lost(open_case: Maker) -> None:
    case = await open_case()
    runs = [case.shell(f"r{i}", "echo ran >>ran; exec sleep 0.01") for i in range(300)]
    starting = asyncio.ensure_future(case.driver.start(runs))
    await until_file(runs[20].work / "ran")
    os.kill(warden_pid(state_of(case)), signal.SIGKILL)
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
    script = f"env -u SUAN_WARDEN sh -c 'sleep 602; :' & setsid sleep 603 & {UP}"
    run = case.shell("a", script)
    await case.start(run)
    await until_file(run.work / "up")
    for _ in range(500):
        inside = processes_of(run)
        if len(inside) >= 4:
            break
        await asyncio.sleep(0.02)
    case.cut()
    os.kill(keeper_pid(state_of(case)), signal.SIGKILL)
    os.kill(warden_pid(state_of(case)), signal.SIGKILL)
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
    await end_warden(state_of(case))
    bystander = await asyncio.create_subprocess_exec("sleep", "600", start_new_session=True)
    try:
        record = state_of(case) / "process" / "records" / "b.jsonl"
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
    await end_warden(state_of(case))
    records = state_of(case) / "process" / "records"
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


async def test_a_warden_told_to_leave_stops_its_runs_politely(open_case: Maker) -> None:
    case = await open_case()
    script = "trap 'echo saved >saved; exit 0' TERM; echo up >up; while :; do sleep 0.05; done"
    run = case.shell("a", script, grace_s=30)
    await case.start(run)
    await until_file(run.work / "up")
    os.kill(warden_pid(state_of(case)), signal.SIGTERM)
    end = await case.end("a")
    assert end.failure is FailureClass.NODE_FAILURE, end
    assert (run.work / "saved").exists()


async def test_opening_twice_and_after_closing(open_case: Maker) -> None:
    case = await open_case()
    await case.driver.open()
    await case.start(case.shell("a", "exit 2"))
    assert (await case.end("a")).exit_code == 2
    await case.driver.close()
    await case.driver.open()
    await case.start(case.shell("b", "exit 3"))
    assert (await case.end("b")).exit_code == 3
    seen = [change.lease_id for change in await case.driver.changes(0.2)]
    assert len(seen) == len(set(seen))


async def test_a_warden_of_another_version_is_an_error_with_a_hint(
    open_case: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = await open_case()
    monkeypatch.setattr(link, "PROTOCOL", 2)
    newer = ProcessDriver(state_of(case), [PoolConfig(name="p")], Machine())
    with pytest.raises(Unavailable, match="speaks version 1, this agent 2"):
        await newer.open()
    await newer.close()


async def test_a_relative_state_folder_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    driver = ProcessDriver(Path("state"), [PoolConfig(name="p")], Machine(), linger_s=1.0)
    await driver.open()
    case = plain_case(driver, Path("state"))
    run = case.shell("a", "echo $HOME")
    await case.start(run)
    assert (await case.end("a")).exit_code == 0, await case.seen("a")
    assert run.stdout.read_text() == f"{tmp_path}/state/runs/a/work\n"
    await driver.close()
    await end_warden(tmp_path / "state")


async def test_nonsense_on_the_socket_does_not_harm(open_case: Maker) -> None:
    case = await open_case()
    handle = os.open(state_of(case) / "process", os.O_RDONLY)
    reader, writer = await asyncio.open_unix_connection(f"/proc/self/fd/{handle}/warden.sock")
    os.close(handle)
    writer.write(b'{"op":"stop"}\nnot json\n')
    assert await reader.read() == b"", "the client is dropped"
    writer.close()
    await case.start(case.shell("a", "exit 2"))
    assert (await case.end("a")).exit_code == 2


async def test_500_runs_leave_no_zombie_and_no_descriptor(open_case: Maker) -> None:
    case = await open_case()
    await case.start(case.shell("warm", "exit 0"))
    await case.end("warm")
    warden = warden_pid(state_of(case))
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


async def test_secrets_are_in_no_file_of_the_agent(open_case: Maker) -> None:
    case = await open_case()
    run = case.shell("a", UP, secrets={"TOKEN": "hush-hush-hush"})
    await case.start(run)
    await until_file(run.work / "up")
    assert files_holding(state_of(case), "hush-hush-hush") == []
    await case.driver.stop("a", 0, FailureClass.STOPPED)
    await case.end("a")
    assert files_holding(state_of(case), "hush-hush-hush") == []
