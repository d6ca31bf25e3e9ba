"""Every driver: a run ends when it is told to, when its time is up, and with all it started."""

from __future__ import annotations

import asyncio

from driver_case import DriverCase, now_ms, processes_of, until_file, until_gone

from suanwang.protocol.messages import FailureClass, Phase

STUBBORN_INNER = "echo up >up; while :; do sleep 0.1; done"
STUBBORN = f"trap '' TERM; {STUBBORN_INNER}"


async def test_stop_is_polite_first(case: DriverCase) -> None:
    run = case.shell(
        "a", "trap 'echo saved >saved; exit 3' TERM; echo up >up; while :; do sleep 0.05; done"
    )
    await case.start(run)
    await until_file(run.work / "up")
    await case.driver.stop("a", 30, FailureClass.STOPPED)
    end = await case.end("a")
    assert end.failure is FailureClass.STOPPED, end
    assert await until_file(run.work / "saved") == "saved\n"


async def test_stop_kills_what_does_not_listen(case: DriverCase) -> None:
    run = case.shell("a", STUBBORN)
    await case.start(run)
    await until_file(run.work / "up")
    await case.driver.stop("a", 1, FailureClass.STOPPED)
    assert (await case.end("a")).failure is FailureClass.STOPPED


async def test_the_failure_given_to_stop_names_the_end(case: DriverCase) -> None:
    run = case.shell("a", "echo up >up; exec sleep 600")
    await case.start(run)
    await until_file(run.work / "up")
    await case.driver.stop("a", 5, FailureClass.LEASE_EXPIRED)
    assert (await case.end("a")).failure is FailureClass.LEASE_EXPIRED


async def test_stop_ends_stubborn_grandchildren_and_daemons(case: DriverCase) -> None:
    script = f"""
        (trap '' TERM; sh -c '{STUBBORN_INNER}') &
        setsid sh -c "(trap '' TERM; exec sleep 613) & echo done" >/dev/null
        until [ -e up ]; do sleep 0.05; done
        echo all >all
        sleep 600
    """
    run = case.shell("a", script)
    await case.start(run)
    await until_file(run.work / "all")
    for _ in range(500):
        inside = processes_of(run)
        if len(inside) >= 4:
            break
        await asyncio.sleep(0.02)
    assert len(inside) >= 4, "the tree is up"
    await case.driver.stop("a", 1, FailureClass.STOPPED)
    assert (await case.end("a")).failure is FailureClass.STOPPED
    for pid in inside:
        await until_gone(pid)
    assert processes_of(run) == []


async def test_a_daemon_does_not_outlive_its_run(case: DriverCase) -> None:
    run = case.shell("a", "setsid sleep 617 >/dev/null 2>&1 & sleep 0.2; exit 0")
    await case.start(run)
    end = await case.end("a")
    assert (end.failure, end.exit_code) == (FailureClass.NONE, 0), end
    for pid in processes_of(run):
        await until_gone(pid)


async def test_stopping_what_has_ended_changes_nothing(case: DriverCase) -> None:
    await case.start(case.shell("a", "exit 0"))
    await case.end("a")
    await case.driver.stop("a", 0, FailureClass.STOPPED)
    await case.driver.stop("never-heard-of", 0, FailureClass.STOPPED)
    end = await case.seen("a")
    assert end is not None
    assert end.failure is FailureClass.NONE


async def test_max_runtime(case: DriverCase) -> None:
    run = case.shell("a", "exec sleep 600", max_runtime_s=1, grace_s=1)
    await case.start(run)
    end = await case.end("a")
    assert end.failure is FailureClass.TIMEOUT, end
    assert end.meters.duration_ms >= 900


async def test_without_contact_the_run_ends_though_the_agent_is_dead(case: DriverCase) -> None:
    await case.driver.contact(now_ms())
    mortal = case.shell("mortal", "echo up >up; exec sleep 600", stop_on_client_after_s=4)
    other = case.shell("other", "echo up >up; exec sleep 600", stop_on_client_after_s=None)
    await case.driver.start([mortal, other])
    await case.until_up(other)
    await case.until_up(mortal)
    inside = processes_of(mortal)
    assert inside
    case.cut()
    for pid in inside:
        await until_gone(pid)
    await case.reborn()
    assert (await case.end("mortal")).failure is FailureClass.LEASE_EXPIRED
    seen = await case.seen("other")
    assert seen is not None
    assert seen.phase is Phase.RUNNING
    await case.driver.stop("other", 0, FailureClass.STOPPED)
    await case.end("other")


async def test_contact_keeps_a_run_alive(case: DriverCase) -> None:
    await case.driver.contact(now_ms())
    run = case.shell("a", "sleep 6; exit 5", stop_on_client_after_s=4)
    await case.start(run)
    while (seen := await case.seen("a")) is not None and seen.phase is not Phase.ENDED:
        await case.driver.contact(now_ms())
        await case.driver.changes(0.3)
    end = await case.end("a")
    assert (end.failure, end.exit_code) == (FailureClass.EXIT, 5), end
