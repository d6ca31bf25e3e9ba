"""Every driver: the agent may be killed at any time; its runs go on and their true end is known."""

from __future__ import annotations

from driver_case import DriverCase, until_file

from suanwang.protocol.messages import FailureClass, Phase


async def test_a_new_agent_sees_what_runs_and_later_its_true_end(case: DriverCase) -> None:
    run = case.shell("a", "echo up >up; until [ -e go ]; do sleep 0.05; done; exit 42")
    started = await case.start(run)
    await until_file(run.work / "up")
    await case.reborn()
    seen = await case.until("a", Phase.RUNNING)
    assert seen.phase is Phase.RUNNING
    assert seen.nodes == started.nodes or not started.nodes
    assert (await case.start(run)).phase is Phase.RUNNING, "not started again"
    (run.work / "go").touch()
    end = await case.end("a")
    assert (end.failure, end.exit_code) == (FailureClass.EXIT, 42), end
    assert (run.work / "up").read_text() == "up\n"


async def test_an_end_while_no_agent_lived_is_known(case: DriverCase) -> None:
    run = case.shell("a", "echo up >up; until [ -e go ]; do sleep 0.05; done; echo out; exit 6")
    await case.start(run)
    await until_file(run.work / "up")
    case.cut()
    (run.work / "go").touch()
    await until_file(run.stdout)
    await case.reborn()
    end = await case.end("a")
    assert (end.failure, end.exit_code) == (FailureClass.EXIT, 6), end


async def test_a_stop_reaches_an_adopted_run(case: DriverCase) -> None:
    run = case.shell("a", "echo up >up; exec sleep 600")
    await case.start(run)
    await until_file(run.work / "up")
    await case.reborn()
    await case.until("a", Phase.RUNNING)
    await case.driver.stop("a", 5, FailureClass.STOPPED)
    assert (await case.end("a")).failure is FailureClass.STOPPED


async def test_ends_are_kept_until_forgotten(case: DriverCase) -> None:
    await case.start(case.shell("a", "exit 3"))
    first = await case.end("a")
    await case.reborn()
    again = await case.end("a")
    assert (again.exit_code, again.failure) == (first.exit_code, first.failure)
    assert again.ended_at_ms == first.ended_at_ms
    assert again.meters == first.meters
