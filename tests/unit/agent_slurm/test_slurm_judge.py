"""The verdict on a run, from what Slurm says and what the node wrote."""

from __future__ import annotations

import pytest

from suanwang.agent.drivers.slurm.book import Entry, Exit, Start, Stop, Submission
from suanwang.agent.drivers.slurm.judge import Now, Tracked, booked, judge
from suanwang.agent.drivers.slurm.parse import JobLine
from suanwang.agent.drivers.slurm.states import STATES, classify, hopeless, meaning
from suanwang.agent.port import Observation
from suanwang.protocol.messages import FailureClass, Phase

WALL = 1_767_225_600_000
EXIT = Exit("exit", 0, "", WALL + 9_000, 8_000, 700, 20, False, ("n1",))


def tracked(*, begun: bool = False) -> Tracked:
    entry = Entry("lse_1", 1, "/runs/lse_1", longest_s=100)
    submission = Submission("lse_1", "main", WALL, {0: entry}, job_id="7")
    run = Tracked(entry, submission, 0, Observation("lse_1", Phase.ACCEPTED))
    if begun:
        run.start, run.start_seen_ms = Start(WALL + 1_000, ("n1",), (1,)), 1_100
    return run


def at(ms: int) -> Now:
    """Both clocks `ms` after the beginning; the monotonic one began at 0."""
    return Now(ms, WALL + ms, 60_000)


def line(state: str, **fields: object) -> JobLine:
    return JobLine("7", None, state, name="lse_1", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cause", "code", "state", "stop", "failure"),
    [
        ("exit", 0, "", None, FailureClass.NONE),
        ("exit", 0, "COMPLETED", FailureClass.STOPPED, FailureClass.NONE),
        ("exit", 3, "", None, FailureClass.EXIT),
        ("exit", 139, "", None, FailureClass.SIGNAL),
        ("exit", 200, "", None, FailureClass.EXIT),
        ("exit", 137, "", None, None),
        ("exit", 137, "OUT_OF_MEMORY", None, FailureClass.OUT_OF_MEMORY),
        ("exit", 137, "FAILED", None, FailureClass.SIGNAL),
        ("timeout", 143, "", None, FailureClass.TIMEOUT),
        ("lease_expired", None, "", None, FailureClass.LEASE_EXPIRED),
        ("stopped", 143, "", FailureClass.LEASE_EXPIRED, FailureClass.LEASE_EXPIRED),
        ("term", 143, "", FailureClass.STOPPED, FailureClass.STOPPED),
        ("term", 143, "", None, None),
        ("term", 143, "TIMEOUT", None, FailureClass.TIMEOUT),
        ("term", 143, "PREEMPTED", None, FailureClass.PREEMPTED_BY_SITE),
        ("term", 0, "PREEMPTED", None, FailureClass.PREEMPTED_BY_SITE),
        ("exit", 143, "PREEMPTED", None, FailureClass.PREEMPTED_BY_SITE),
        ("exit", 143, "", None, None),
        ("exit", 143, "FAILED", None, FailureClass.SIGNAL),
        ("exit", 143, "CANCELLED by 0", FailureClass.LEASE_EXPIRED, FailureClass.LEASE_EXPIRED),
        ("", None, "PREEMPTED", None, FailureClass.PREEMPTED_BY_SITE),
        ("", None, "PREEMPTED", FailureClass.STOPPED, FailureClass.STOPPED),
        ("term", 143, "CANCELLED by 0", None, FailureClass.STOPPED),
        ("", None, "NODE_FAIL", None, FailureClass.NODE_FAILURE),
        ("", 137, "FAILED", None, FailureClass.SIGNAL),
        ("", 66, "FAILED", None, FailureClass.START_FAILED),
        ("", None, "BOOT_FAIL", None, FailureClass.START_FAILED),
        ("", None, "CANCELLED", FailureClass.STOPPED, FailureClass.STOPPED),
    ],
)
def test_the_table_of_ends(
    cause: str,
    code: int | None,
    state: str,
    stop: FailureClass | None,
    failure: FailureClass | None,
) -> None:
    end = classify(cause, code, "", state, stop)
    assert (end.failure if end else None) is failure


def test_a_state_not_yet_invented_is_no_end() -> None:
    assert meaning("TRANSCENDED").phase is Phase.RUNNING
    assert meaning("COMPLETING+").phase is Phase.RUNNING
    assert {"PENDING", "RUNNING", "COMPLETED", "SUSPENDED", "DEADLINE"} <= set(STATES)


def test_hopeless_reasons() -> None:
    assert hopeless("(launch failed requeued held)".strip("()"))
    assert not hopeless("Resources")


def test_while_nothing_answers_nothing_changes() -> None:
    run = tracked(begun=True)
    booked(run, line("RUNNING"), 2_000)
    assert judge(run, at(10_000_000)).phase is Phase.RUNNING


def test_vanished_only_after_an_answer_and_a_grace() -> None:
    run = tracked(begun=True)
    booked(run, None, 5_000)
    run.observation = judge(run, at(60_000))
    assert run.observation.phase is Phase.RUNNING
    assert judge(run, at(66_000)).failure is FailureClass.VANISHED
    booked(run, line("RUNNING"), 7_000)
    assert judge(run, at(9_000_000)).phase is Phase.RUNNING, "it was only a lapse"


def test_an_answer_begun_before_the_submission_says_nothing_of_it() -> None:
    run = tracked()
    run.submitted_ms = 5_000
    booked(run, None, 4_900)
    assert run.missing_since_ms is None


def test_a_record_is_an_end_even_when_slurm_is_silent() -> None:
    run = tracked(begun=True)
    run.exit, run.exit_seen_ms = EXIT, 9_500
    end = judge(run, at(9_500))
    assert (end.phase, end.failure, end.exit_code) == (Phase.ENDED, FailureClass.NONE, 0)
    assert (end.started_at_ms, end.ended_at_ms) == (1_000, 9_000)
    assert (end.meters.duration_ms, end.meters.cpu_ms) == (8_000, 700)


def test_a_node_whose_clock_is_ahead_does_not_end_things_in_the_future() -> None:
    run = tracked(begun=True)
    run.start = Start(WALL + 50_000, ("n1",), (1,))
    run.exit, run.exit_seen_ms = EXIT, 9_500
    end = judge(run, at(9_500))
    assert end.started_at_ms is not None
    assert end.ended_at_ms is not None
    assert end.started_at_ms <= end.ended_at_ms <= 9_500


def test_a_controller_that_lost_its_memory_is_no_requeue() -> None:
    """It calls a running job pending; only a counted restart or the script's TERM says more."""
    run = tracked(begun=True)
    booked(run, line("PENDING"), 3_000)
    assert run.waiting_again
    assert judge(run, at(3_100)).phase is Phase.RUNNING
    run.requeued = True
    assert judge(run, at(3_200)).failure is FailureClass.NODE_FAILURE


def test_the_first_copy_of_a_run_keeps_its_lease_until_its_limit() -> None:
    """The second copy, started by a forgetful controller, left with code 67."""
    run = tracked(begun=True)
    booked(run, line("FAILED", exit_code=67), 5_000)
    run.looked_up = True
    assert judge(run, at(50_000)).phase is Phase.RUNNING
    assert judge(run, at(110_000)).failure is FailureClass.VANISHED


def test_stopped_before_it_began() -> None:
    run = tracked()
    run.stop = Stop(FailureClass.STOPPED, 0, WALL)
    booked(run, None, 2_000)
    end = judge(run, at(2_100))
    assert (end.failure, end.started_at_ms) == (FailureClass.STOPPED, None)


def test_waiting_says_why_and_until_when_coarsely() -> None:
    run = tracked()
    booked(run, line("PENDING", reason="Resources", start_s=WALL // 1000 + 3_725), 1_000)
    detail = judge(run, at(2_000)).detail
    assert detail == "waiting in Slurm: Resources; expected to start 2026-01-01 01:00 UTC"
