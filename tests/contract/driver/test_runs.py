"""Every driver: a run starts once, ends once, and says truly how."""

from __future__ import annotations

import os
import time

from driver_case import DriverCase, files_holding, until_file

from suanwang.protocol.messages import FailureClass, Phase, Quantity


async def test_a_run_starts_runs_and_ends_with_code_0(case: DriverCase) -> None:
    run = case.shell("a", "echo begun >begun; until [ -e go ]; do sleep 0.05; done")
    first = await case.start(run)
    assert first.phase is not Phase.ENDED
    await until_file(run.work / "begun")
    running = await case.until("a", Phase.RUNNING)
    assert running.phase is Phase.RUNNING
    assert running.engine_id
    (run.work / "go").touch()
    end = await case.end("a")
    assert (end.failure, end.exit_code) == (FailureClass.NONE, 0), end
    assert end.started_at_ms is not None
    assert end.ended_at_ms is not None
    assert end.ended_at_ms >= end.started_at_ms
    assert end.meters.duration_ms >= 0
    assert end.nodes


async def test_a_non_zero_code_is_an_exit(case: DriverCase) -> None:
    await case.start(case.shell("a", "exit 7"))
    end = await case.end("a")
    assert (end.failure, end.exit_code) == (FailureClass.EXIT, 7)


async def test_killed_by_a_signal(case: DriverCase) -> None:
    await case.start(case.shell("a", "kill -KILL $$"))
    end = await case.end("a")
    assert end.failure is FailureClass.SIGNAL, end


async def test_starting_twice_runs_once(case: DriverCase) -> None:
    run = case.shell("a", "echo ran >>side-effects; sleep 0.3; echo done >done")
    await case.driver.start([run, run])
    await case.driver.start([run])
    await case.end("a")
    again = await case.start(run)
    assert again.phase is Phase.ENDED
    assert (run.work / "side-effects").read_text() == "ran\n"


async def test_output_goes_to_the_runs_files(case: DriverCase) -> None:
    run = case.shell("a", "echo to out; echo to err >&2; cat")
    await case.start(run)
    end = await case.end("a")
    assert end.exit_code == 0, "standard input is empty"
    assert run.stdout.read_text() == "to out\n"
    assert "to err\n" in run.stderr.read_text()


async def test_environment_and_secrets_reach_the_run_and_secrets_no_file(case: DriverCase) -> None:
    secret = "s3cret-" + "x" * 24
    run = case.shell(
        "a",
        'test "$GREETING" = "hello there" && test ${#TOKEN} = 31 && pwd && '
        "echo $SUAN_LEASE_ID $SUAN_TASK_ID $SUAN_JOB_ID $SUAN_ARRAY_INDEX/$SUAN_ARRAY_COUNT "
        "$SUAN_MEMBER/$SUAN_MEMBERS $SUAN_EPOCH",
        env={"GREETING": "hello there"},
        secrets={"TOKEN": secret},
        array_index=3,
        array_count=9,
    )
    await case.start(run)
    end = await case.end("a")
    assert end.exit_code == 0, run.stderr.read_text()
    where, names = run.stdout.read_text().splitlines()
    assert os.path.samefile(where, run.work)
    assert names == "a task-a job-a 3/9 0/1 1"
    assert files_holding(case.folder.parent, secret) == []


async def test_an_unknown_program_fails_to_start_and_says_which(case: DriverCase) -> None:
    run = case.prepare("a", ["no-such-program-anywhere", "--flag"])
    await case.start(run)
    end = await case.end("a")
    assert end.failure is FailureClass.START_FAILED, end
    assert "no-such-program-anywhere" in end.detail


async def test_a_good_run_beside_a_bad_one_starts(case: DriverCase) -> None:
    bad, good = case.prepare("bad", ["no-such-program"]), case.shell("good", "exit 0")
    answers = await case.driver.start([bad, good])
    assert [answer.lease_id for answer in answers] == ["bad", "good"]
    assert (await case.end("good")).failure is FailureClass.NONE


async def test_more_than_a_node_has_is_refused(case: DriverCase) -> None:
    run = case.shell("a", "exit 0", member_quantity=Quantity(cpu_milli=100_000_000))
    await case.start(run)
    end = await case.end("a")
    assert end.failure in (FailureClass.START_FAILED, FailureClass.REJECTED), end
    assert end.detail


async def test_forget_removes_what_has_ended(case: DriverCase) -> None:
    await case.start(case.shell("a", "exit 0"))
    await case.end("a")
    assert await case.seen("a")
    await case.driver.forget("a")
    assert await case.seen("a") is None
    await case.reborn()
    assert await case.seen("a") is None
    await case.driver.forget("never-heard-of")


async def test_inventory_is_sane(case: DriverCase) -> None:
    [pool] = [p for p in await case.driver.inventory() if p.name == case.pool]
    assert pool.nodes
    assert len({node.name for node in pool.nodes}) == len(pool.nodes)
    assert all(node.up for node in pool.nodes)
    assert all(node.capacity.cpu_milli > 0 < node.capacity.memory_mib for node in pool.nodes)
    assert pool.architecture
    assert pool.isolation
    assert pool.driver == case.driver.name
    names = {node.name for node in pool.nodes}
    await case.start(case.shell("a", "exit 0"))
    assert set((await case.end("a")).nodes) <= names


async def test_many_quick_runs_all_end_exactly_once(case: DriverCase) -> None:
    count = 12 if case.slow else 100
    runs = [case.shell(f"q{i}", f"exit {i % 3}") for i in range(count)]
    answers = await case.driver.start(runs)
    assert [answer.lease_id for answer in answers] == [f"q{i}" for i in range(count)]
    ends: dict[str, list[int | None]] = {}
    deadline = time.monotonic() + 120
    while len(ends) < count and time.monotonic() < deadline:
        for change in await case.driver.changes(1.0):
            if change.phase is Phase.ENDED:
                ends.setdefault(change.lease_id, []).append(change.exit_code)
    assert await case.driver.changes(0.2) == []
    assert ends == {f"q{i}": [i % 3] for i in range(count)}


async def test_meters_count_processor_time(case: DriverCase) -> None:
    code = "import time\nwhile time.process_time() < 0.4: pass"
    await case.start(case.prepare("a", [case.python, "-c", code]))
    end = await case.end("a")
    assert end.exit_code == 0, end
    assert 300 <= end.meters.cpu_ms < 30_000
    assert end.meters.max_rss_mib > 0
    assert end.meters.duration_ms >= 300
