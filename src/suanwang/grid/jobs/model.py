"""Jobs, their tasks, and the leases under which tasks run.

A job is what a user submits; a task is one element of it (an array has many) and the unit of
planning; a lease is one attempt of a task at a site, with a fencing epoch.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from suanwang.engines.estimation.model import Estimate, JobFacts
from suanwang.protocol.messages import FailureClass, InputFile, Meters, OutputFile, OutputRecord


class TaskState(StrEnum):
    """A task moves forward in (attempt, rank): a retry is a later attempt, never a step back.

    WAITING → QUEUED → LEASED → RUNNING → SUCCEEDED | FAILED | CANCELLED
                 └────────→ REFUSED | CANCELLED
    """

    WAITING = "waiting"
    """For the jobs it depends on."""
    QUEUED = "queued"
    LEASED = "leased"
    """Sent to a site; being prepared or in the site's own queue."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    """No enrolled pool could ever run it (and the job did not ask to wait)."""


TASK_RANK = {
    TaskState.WAITING: 0,
    TaskState.QUEUED: 1,
    TaskState.LEASED: 2,
    TaskState.RUNNING: 3,
    TaskState.SUCCEEDED: 4,
    TaskState.FAILED: 4,
    TaskState.CANCELLED: 4,
    TaskState.REFUSED: 4,
}
FINAL = frozenset(state for state, rank in TASK_RANK.items() if rank == 4)


class LeaseState(StrEnum):
    """GRANTED → ACCEPTED → RUNNING → ENDED, any step may be skipped."""

    GRANTED = "granted"
    ACCEPTED = "accepted"
    RUNNING = "running"
    ENDED = "ended"


LEASE_RANK = {
    LeaseState.GRANTED: 0,
    LeaseState.ACCEPTED: 1,
    LeaseState.RUNNING: 2,
    LeaseState.ENDED: 3,
}


class Outcome(StrEnum):
    """How a lease ended, in the control plane's words."""

    NONE = ""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    PREEMPTED = "preempted"
    """By our own planner, or by the site's engine (FailureClass.PREEMPTED_BY_SITE)."""
    SUPERSEDED = "superseded"
    """Another attempt of the same task was kept."""
    LOST = "lost"
    """The site was silent for the job's lost_after."""


class StopReason(StrEnum):
    """Why a lease shall stop."""

    NONE = ""
    CANCELLED = "cancelled"
    PREEMPTED = "preempted"
    SUPERSEDED = "superseded"
    LOST = "lost"
    ARREARS = "arrears"


class Task(msgspec.Struct, frozen=True):
    """One element of a job."""

    task_id: str
    job_id: str
    index: int
    state: TaskState
    attempt: int
    """Counts attempts from 0; the lease of attempt n has epoch n + 1."""
    failures: int
    """Attempts that count against the job's retries."""
    losses: int
    """Attempts lost by sites, which do not."""
    preemptions: int
    """Attempts whose machine a site's own engine took for other work, which do not either."""
    lease_id: str | None
    not_before_ms: int
    class_id: str
    organisation_id: str
    project_id: str
    user_id: str
    priority: int
    queued_at_ms: int
    ended_at_ms: int | None
    exit_code: int | None
    failure: FailureClass
    detail: str


class Lease(msgspec.Struct, frozen=True):
    """One attempt. Instants on the control plane's clock."""

    lease_id: str
    task_id: str
    job_id: str
    epoch: int
    organisation_id: str
    project_id: str
    user_id: str
    class_id: str
    site_id: str
    pool_id: str
    alternative: int
    node_members: list[tuple[str, int]]
    members: int
    cpu_milli: int
    memory_mib: int
    disk_mib: int
    accelerator_milli: int
    state: LeaseState
    stop: StopReason
    revision: int
    priority: int
    preemptible: bool
    granted_at_ms: int
    started_at_ms: int | None
    ended_at_ms: int | None
    ends_by_ms: int
    expected_end_ms: int
    protected_until_ms: int
    lost_at_ms: int | None
    lost_after_s: int
    stop_after_s: int | None
    replace: bool
    reconcile: str
    price_list_id: str
    provider_id: str
    rate: int
    """Micro-yuan per hour of the whole lease."""
    hold: int
    """What is still set aside for it."""
    score: dict[str, Any]
    """Why there: the chosen candidate's score and the runner-up's."""
    outcome: Outcome
    exit_code: int | None
    failure: FailureClass
    detail: str
    engine_id: str
    nodes: list[str]
    meters: Meters
    outputs: list[OutputRecord]
    metered_until_ms: int | None
    """The end of the last hour that was recorded while it ran."""
    cards: list[list[int]] | None
    """Per entry of `node_members`: the cards its members hold; nothing: not known."""
    contract_id: str | None
    """The contract whose hours pay for it."""


class OpenLease(msgspec.Struct, frozen=True):
    """The part of an open lease that planning looks at."""

    lease_id: str
    organisation_id: str
    project_id: str
    user_id: str
    class_id: str
    pool_id: str
    node_members: list[tuple[str, int]]
    members: int
    cpu_milli: int
    memory_mib: int
    disk_mib: int
    accelerator_milli: int
    stop: str
    priority: int
    preemptible: bool
    granted_at_ms: int
    started_at_ms: int | None
    ends_by_ms: int
    expected_end_ms: int
    protected_until_ms: int
    contract_id: str | None
    cards: list[tuple[int, ...]] | None


class Terms(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the control plane needs of a specification while its tasks live."""

    max_runtime_s: int
    preemptible: bool = False
    retries_max: int = 0
    retry_exit_codes: list[int] = []
    retry_on: list[str] = []
    retry_backoff_s: int = 1
    lost_after_s: int = 60
    stop_after_s: int | None = 40
    replace: bool = True
    reconcile: str = "keep_original"
    wait_if_impossible: bool = False
    min_run_s: int = 60
    """A preemptible run is left alone for so long."""
    facts: JobFacts | None = None
    """What the run-time estimate was asked about, and what it said."""
    estimate: Estimate | None = None


class RunTemplate(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an agent needs of a specification; a lease adds where and which element."""

    command: list[str]
    members: int = 1
    env: dict[str, str] = {}
    inputs: list[InputFile] = []
    outputs: list[OutputFile] = []
    grace_s: int = 10
    engine: dict[str, str] = {}
    array_count: int | None = None


class Waiting(msgspec.Struct, frozen=True):
    """What a group of equal queued tasks was last told; the same in every process."""

    organisation_id: str
    project_id: str
    user_id: str
    class_id: str
    priority: int
    count: int
    reason: str
    detail: str
    at_ms: int
    """Since when this is so."""

    @property
    def group(self) -> tuple[str, str, str, str, int]:
        return (
            self.organisation_id,
            self.project_id,
            self.user_id,
            self.class_id,
            self.priority,
        )


class Job(msgspec.Struct, frozen=True):
    """What a user submitted, and how far its tasks are."""

    job_id: str
    organisation_id: str
    project_id: str
    user_id: str
    name: str
    class_id: str
    priority: int
    state: TaskState
    cancel_requested: bool
    created_at_ms: int
    ended_at_ms: int | None
    total: int
    waiting: int
    queued: int
    leased: int
    running: int
    succeeded: int
    failed: int
    cancelled: int
    refused: int
    depends_on: list[str]
    is_array: bool
    purged_at_ms: int | None
    """Since when its tasks, attempts, output and specification are no longer kept."""

    def counts(self) -> dict[TaskState, int]:
        return {state: getattr(self, state.value) for state in TaskState}
