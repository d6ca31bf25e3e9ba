"""The transition tables of tasks and leases, line by line."""

from __future__ import annotations

from itertools import product

import msgspec
import pytest

from suanwang.grid.jobs.model import (
    FINAL,
    TASK_RANK,
    LeaseState,
    Outcome,
    StopReason,
    TaskState,
    Terms,
)
from suanwang.grid.jobs.rules import (
    LOSSES,
    MAX_BACKOFF_MS,
    MAX_LOSSES,
    MAX_PREEMPTIONS,
    TaskVerdict,
    backoff_ms,
    check_task_step,
    is_retriable,
    job_state,
    next_lease_state,
    outcome_of_end,
    verdict_of_end,
)
from suanwang.kernel.errors import InvariantViolated
from suanwang.protocol.messages import FailureClass, Phase

NOW = 1_000_000
TERMS = Terms(max_runtime_s=60, retries_max=2, retry_on=["exit", "timeout"], retry_backoff_s=4)
G, A, R, E = LeaseState
TABLE = {
    (G, Phase.ACCEPTED): A,
    (G, Phase.RUNNING): R,
    (G, Phase.ENDED): E,
    (A, Phase.ACCEPTED): A,
    (A, Phase.RUNNING): R,
    (A, Phase.ENDED): E,
    (R, Phase.ACCEPTED): R,
    (R, Phase.RUNNING): R,
    (R, Phase.ENDED): E,
    (E, Phase.ACCEPTED): E,
    (E, Phase.RUNNING): E,
    (E, Phase.ENDED): E,
}


@pytest.mark.parametrize(("state", "seen"), list(TABLE))
def test_leases_move_forward_only(state: LeaseState, seen: Phase) -> None:
    assert next_lease_state(state, seen) is TABLE[(state, seen)]


@pytest.mark.parametrize(("before", "after"), list(product(TaskState, TaskState)))
def test_tasks_move_forward_only(before: TaskState, after: TaskState) -> None:
    forward = TASK_RANK[after] >= TASK_RANK[before]
    allowed = before is after if before in FINAL else forward
    if allowed:
        check_task_step(0, before, 0, after)
    else:
        with pytest.raises(InvariantViolated):
            check_task_step(0, before, 0, after)


@pytest.mark.parametrize(("before", "after"), list(product(TaskState, TaskState)))
def test_a_later_attempt_may_begin_anywhere_but_after_the_end(
    before: TaskState, after: TaskState
) -> None:
    if before in FINAL and after is not before:
        with pytest.raises(InvariantViolated):
            check_task_step(0, before, 1, after)
    else:
        check_task_step(0, before, 1, after)


def test_an_earlier_attempt_never_comes_back() -> None:
    with pytest.raises(InvariantViolated):
        check_task_step(2, TaskState.QUEUED, 1, TaskState.SUCCEEDED)


NAMED = {
    StopReason.CANCELLED: Outcome.CANCELLED,
    StopReason.PREEMPTED: Outcome.PREEMPTED,
    StopReason.SUPERSEDED: Outcome.SUPERSEDED,
    StopReason.LOST: Outcome.LOST,
}


@pytest.mark.parametrize("stop", StopReason)
@pytest.mark.parametrize("failure", FailureClass)
@pytest.mark.parametrize("code", [None, 0, 1])
def test_outcomes(stop: StopReason, failure: FailureClass, code: int | None) -> None:
    expected = Outcome.FAILED
    if failure is FailureClass.NONE and code == 0:
        expected = Outcome.SUCCEEDED
    elif failure in (FailureClass.STOPPED, FailureClass.LEASE_EXPIRED):
        expected = NAMED.get(stop, Outcome.FAILED)
    elif failure is FailureClass.PREEMPTED_BY_SITE:
        expected = NAMED.get(stop, Outcome.PREEMPTED)
    assert outcome_of_end(stop, failure, code) is expected


def verdict(
    outcome: Outcome,
    failure: FailureClass = FailureClass.NONE,
    *,
    code: int | None = None,
    failures: int = 0,
    losses: int = 0,
    preemptions: int = 0,
    cancelled: bool = False,
    terms: Terms = TERMS,
) -> TaskVerdict:
    return verdict_of_end(
        outcome=outcome,
        failure=failure,
        exit_code=code,
        terms=terms,
        failures=failures,
        losses=losses,
        preemptions=preemptions,
        cancel_requested=cancelled,
        now_ms=NOW,
    )


def test_success_is_success_even_if_a_cancel_came_too_late() -> None:
    assert verdict(Outcome.SUCCEEDED, cancelled=True).state is TaskState.SUCCEEDED


@pytest.mark.parametrize("outcome", [o for o in Outcome if o is not Outcome.SUCCEEDED])
@pytest.mark.parametrize("failure", FailureClass)
def test_nothing_is_tried_again_once_cancelled(outcome: Outcome, failure: FailureClass) -> None:
    assert verdict(outcome, failure, cancelled=True).state is TaskState.CANCELLED


@pytest.mark.parametrize("failure", sorted(LOSSES))
def test_a_loss_by_the_site_does_not_cost_a_retry(failure: FailureClass) -> None:
    found = verdict(Outcome.FAILED, failure, failures=2, losses=3)
    assert (found.state, found.counts_as_failure, found.counts_as_loss) == (
        TaskState.QUEUED,
        False,
        True,
    )
    assert found.not_before_ms == NOW + 8_000


def test_losses_have_an_end() -> None:
    lost = FailureClass.NODE_FAILURE
    assert verdict(Outcome.FAILED, lost, losses=MAX_LOSSES - 1).state is TaskState.QUEUED
    found = verdict(Outcome.FAILED, lost, losses=MAX_LOSSES)
    assert found.state is TaskState.FAILED
    assert "11 attempts" in found.detail


def test_preemption_costs_neither_time_nor_patience() -> None:
    found = verdict(Outcome.PREEMPTED, FailureClass.STOPPED, losses=MAX_LOSSES)
    assert found == TaskVerdict(TaskState.QUEUED, not_before_ms=NOW)


TAKEN = (Outcome.PREEMPTED, FailureClass.PREEMPTED_BY_SITE)


def test_preemption_by_a_site_is_tried_again_whatever_else_went_wrong() -> None:
    found = verdict(*TAKEN, failures=2, losses=MAX_LOSSES)
    assert found == TaskVerdict(
        TaskState.QUEUED, not_before_ms=NOW + 10_000, counts_as_preemption=True
    )


def test_preemption_by_sites_pauses_longer_each_time_up_to_ten_minutes() -> None:
    pauses = [verdict(*TAKEN, preemptions=n).not_before_ms - NOW for n in range(MAX_PREEMPTIONS)]
    assert pauses[:7] == [10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 600_000]
    assert set(pauses[7:]) == {600_000}


def test_preemptions_by_sites_have_an_end() -> None:
    assert verdict(*TAKEN, preemptions=MAX_PREEMPTIONS - 1).state is TaskState.QUEUED
    found = verdict(*TAKEN, preemptions=MAX_PREEMPTIONS)
    assert found.state is TaskState.FAILED
    assert "101 preemptions" in found.detail
    assert not found.counts_as_failure


@pytest.mark.parametrize(
    ("failure", "code", "failures", "state"),
    [
        (FailureClass.EXIT, 1, 0, TaskState.QUEUED),
        (FailureClass.EXIT, 1, 1, TaskState.QUEUED),
        (FailureClass.EXIT, 1, 2, TaskState.FAILED),
        (FailureClass.TIMEOUT, None, 0, TaskState.QUEUED),
        (FailureClass.SIGNAL, None, 0, TaskState.FAILED),
        (FailureClass.OUT_OF_MEMORY, None, 0, TaskState.FAILED),
        (FailureClass.OUTPUT_FAILED, 0, 0, TaskState.FAILED),
    ],
)
def test_retries(failure: FailureClass, code: int | None, failures: int, state: TaskState) -> None:
    found = verdict(Outcome.FAILED, failure, code=code, failures=failures)
    assert found.state is state
    assert found.counts_as_failure
    if state is TaskState.QUEUED:
        assert found.not_before_ms == NOW + 4_000 * 2**failures


@pytest.mark.parametrize(
    ("codes", "code", "retriable"), [([], 1, True), ([75], 75, True), ([75], 1, False)]
)
def test_only_the_codes_that_were_named(codes: list[int], code: int, retriable: bool) -> None:
    terms = msgspec.structs.replace(TERMS, retry_exit_codes=codes)
    assert is_retriable(terms, FailureClass.EXIT, code) is retriable


def test_backoff_doubles_up_to_an_hour() -> None:
    assert [backoff_ms(1_000, n) for n in range(4)] == [1_000, 2_000, 4_000, 8_000]
    assert backoff_ms(1_000, 12) == MAX_BACKOFF_MS
    assert backoff_ms(1_000, 10**6) == MAX_BACKOFF_MS
    assert backoff_ms(0, 5) == 0


@pytest.mark.parametrize(
    ("counts", "state"),
    [
        ({TaskState.RUNNING: 1, TaskState.SUCCEEDED: 9}, TaskState.RUNNING),
        ({TaskState.RUNNING: 1, TaskState.QUEUED: 9}, TaskState.RUNNING),
        ({TaskState.LEASED: 1, TaskState.QUEUED: 9}, TaskState.LEASED),
        ({TaskState.QUEUED: 1, TaskState.FAILED: 9}, TaskState.QUEUED),
        ({TaskState.WAITING: 3}, TaskState.WAITING),
        ({TaskState.SUCCEEDED: 3}, TaskState.SUCCEEDED),
        ({TaskState.SUCCEEDED: 3, TaskState.FAILED: 1}, TaskState.FAILED),
        ({TaskState.SUCCEEDED: 3, TaskState.CANCELLED: 1}, TaskState.CANCELLED),
        ({TaskState.FAILED: 1, TaskState.CANCELLED: 1}, TaskState.FAILED),
        ({TaskState.REFUSED: 1, TaskState.FAILED: 1}, TaskState.REFUSED),
    ],
    ids=str,
)
def test_a_job_is_what_its_tasks_are(counts: dict[TaskState, int], state: TaskState) -> None:
    assert job_state(counts) is state
