"""The transition rules of tasks and leases: pure, one table each.

lease \\ the agent says    ACCEPTED   RUNNING    ENDED
GRANTED                   ACCEPTED   RUNNING    ENDED
ACCEPTED                  ·          RUNNING    ENDED
RUNNING                   ·          ·          ENDED
ENDED                     ·          ·          ·        (late usage may still be taken)

task when its lease …      ACCEPTED   RUNNING    ENDED
                          LEASED     RUNNING    verdict_of_end(): SUCCEEDED, FAILED, CANCELLED,
                                                or QUEUED again with attempt + 1
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from suanwang.grid.jobs.model import (
    LEASE_RANK,
    TASK_RANK,
    LeaseState,
    Outcome,
    StopReason,
    TaskState,
    Terms,
)
from suanwang.kernel.errors import require
from suanwang.protocol.messages import FailureClass, Phase

MAX_LOSSES = 10
"""Attempts that sites may lose before the task fails for good: a poison task must not circle."""
MAX_BACKOFF_MS = 3_600_000
MAX_PREEMPTIONS = 100
"""Times that sites may take the machine from a task: it says nothing of the task, so there are
many, but whoever is preempted every time must not circle for ever."""
FIRST_PREEMPTION_PAUSE_MS = 10_000
MAX_PREEMPTION_PAUSE_MS = 600_000

LEASE_STATE_OF = {
    Phase.ACCEPTED: LeaseState.ACCEPTED,
    Phase.RUNNING: LeaseState.RUNNING,
    Phase.ENDED: LeaseState.ENDED,
}

LOSSES = frozenset(
    {
        FailureClass.NODE_FAILURE,
        FailureClass.LEASE_EXPIRED,
        FailureClass.VANISHED,
        FailureClass.REJECTED,
        FailureClass.START_FAILED,
        FailureClass.INPUT_FAILED,
        FailureClass.STOPPED,
    }
)
"""Ends that are the grid's doing, not the program's. Preemption by a site is counted apart."""


def next_lease_state(current: LeaseState, seen: Phase) -> LeaseState:
    """Forward only: news that is older than what is known changes nothing."""
    proposed = LEASE_STATE_OF[seen]
    return proposed if LEASE_RANK[proposed] > LEASE_RANK[current] else current


def check_task_step(
    attempt: int, state: TaskState, next_attempt: int, next_state: TaskState
) -> None:
    """A task's (attempt, rank) never decreases and a final state is final."""
    forward = (next_attempt, TASK_RANK[next_state]) >= (attempt, TASK_RANK[state])
    require(
        forward and (TASK_RANK[state] < 4 or state is next_state),
        "TaskStepBackwards",
        f"task step {state}/{attempt} → {next_state}/{next_attempt}",
    )


def outcome_of_end(stop: StopReason, failure: FailureClass, exit_code: int | None) -> Outcome:
    """What the end is called. A program that finished well before the stop reached it succeeded."""
    if failure is FailureClass.NONE and exit_code == 0:
        return Outcome.SUCCEEDED
    by_site = failure is FailureClass.PREEMPTED_BY_SITE
    if by_site or failure in (FailureClass.STOPPED, FailureClass.LEASE_EXPIRED):
        named = {
            StopReason.CANCELLED: Outcome.CANCELLED,
            StopReason.PREEMPTED: Outcome.PREEMPTED,
            StopReason.SUPERSEDED: Outcome.SUPERSEDED,
            StopReason.LOST: Outcome.LOST,
        }.get(stop)
        if named is not None:
            return named
    return Outcome.PREEMPTED if by_site else Outcome.FAILED


@dataclass(frozen=True, slots=True)
class TaskVerdict:
    """What becomes of a task whose lease ended."""

    state: TaskState
    not_before_ms: int = 0
    counts_as_failure: bool = False
    counts_as_loss: bool = False
    counts_as_preemption: bool = False
    detail: str = ""


def verdict_of_end(
    *,
    outcome: Outcome,
    failure: FailureClass,
    exit_code: int | None,
    terms: Terms,
    failures: int,
    losses: int,
    preemptions: int,
    cancel_requested: bool,
    now_ms: int,
) -> TaskVerdict:
    """Succeed, fail, cancel or queue again; the counts are those before this end."""
    if outcome is Outcome.SUCCEEDED:
        return TaskVerdict(TaskState.SUCCEEDED)
    if cancel_requested or outcome is Outcome.CANCELLED:
        return TaskVerdict(TaskState.CANCELLED)
    if outcome is Outcome.PREEMPTED and failure is FailureClass.PREEMPTED_BY_SITE:
        return _preempted_by_site(preemptions, now_ms)
    lost = outcome in (Outcome.PREEMPTED, Outcome.LOST, Outcome.SUPERSEDED)
    if lost or failure in LOSSES:
        preempted = outcome is Outcome.PREEMPTED
        if losses >= MAX_LOSSES and not preempted:
            return TaskVerdict(
                TaskState.FAILED,
                counts_as_loss=True,
                detail=f"given up after {losses + 1} attempts lost by sites",
            )
        delay = 0 if preempted else backoff_ms(1_000, losses)
        return TaskVerdict(
            TaskState.QUEUED, not_before_ms=now_ms + delay, counts_as_loss=not preempted
        )
    if failures < terms.retries_max and is_retriable(terms, failure, exit_code):
        delay = backoff_ms(terms.retry_backoff_s * 1_000, failures)
        return TaskVerdict(TaskState.QUEUED, not_before_ms=now_ms + delay, counts_as_failure=True)
    return TaskVerdict(TaskState.FAILED, counts_as_failure=True)


def _preempted_by_site(preemptions: int, now_ms: int) -> TaskVerdict:
    if preemptions >= MAX_PREEMPTIONS:
        return TaskVerdict(
            TaskState.FAILED,
            counts_as_preemption=True,
            detail=f"given up after {preemptions + 1} preemptions by sites",
        )
    # what took the machine holds it for a while: to come back at once is to be preempted again
    pause = min(backoff_ms(FIRST_PREEMPTION_PAUSE_MS, preemptions), MAX_PREEMPTION_PAUSE_MS)
    return TaskVerdict(TaskState.QUEUED, not_before_ms=now_ms + pause, counts_as_preemption=True)


def is_retriable(terms: Terms, failure: FailureClass, exit_code: int | None) -> bool:
    if failure.value not in terms.retry_on:
        return False
    if failure is FailureClass.EXIT and terms.retry_exit_codes:
        return exit_code in terms.retry_exit_codes
    return True


def backoff_ms(first_ms: int, attempts_before: int) -> int:
    """Doubling, from `first_ms` up to an hour."""
    return min(first_ms << min(attempts_before, 20), MAX_BACKOFF_MS)


def job_state(counts: Mapping[TaskState, int]) -> TaskState:
    """A job is what its least advanced tasks are; final with its last task."""
    for state in (TaskState.RUNNING, TaskState.LEASED, TaskState.QUEUED, TaskState.WAITING):
        if counts.get(state, 0):
            return state
    for state in (TaskState.REFUSED, TaskState.FAILED, TaskState.CANCELLED):
        if counts.get(state, 0):
            return state
    return TaskState.SUCCEEDED
