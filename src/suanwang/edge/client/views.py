"""Shapes of the API's answers, for type checkers and readers: at run time they are plain dicts."""

from __future__ import annotations

from typing import Any, TypedDict


class Money(TypedDict):
    """The same amount twice: exact for programs, in yuan for people."""

    micro_yuan: int
    yuan: str


class TaskCounts(TypedDict):
    total: int
    waiting: int
    queued: int
    leased: int
    running: int
    succeeded: int
    failed: int
    cancelled: int
    refused: int


class Output(TypedDict):
    """A result that was kept; `tree` says that the digest is of a folder."""

    name: str
    digest: str
    size_bytes: int
    tree: bool


class Lease(TypedDict):
    """One attempt of a task at a site."""

    id: str
    epoch: int
    site: str
    pool: str
    state: str
    outcome: str | None
    granted_at: str | None
    started_at: str | None
    ended_at: str | None
    exit_code: int | None
    failure: str | None
    detail: str
    rate: Money
    contract: str | None
    """Whose hours pay for it: nothing more is charged."""
    score: dict[str, Any] | None
    meters: dict[str, int]
    outputs: list[Output]


class Task(TypedDict):
    id: str
    index: int
    state: str
    attempt: int
    exit_code: int | None
    failure: str | None
    detail: str
    ended_at: str | None
    leases: list[Lease]


class Job(TypedDict):
    """As listed."""

    id: str
    name: str
    state: str
    cancelling: bool
    project_id: str
    user_id: str
    priority: int
    created_at: str
    ended_at: str | None
    tasks: TaskCounts
    array: bool
    depends_on: list[str]
    purged_at: str | None


class JobDetail(Job):
    """As shown: with its specification and its first hundred tasks."""

    spec: dict[str, Any]
    task_list: list[Task]


class Candidate(TypedDict, total=False):
    """A pool for a demand; with a price and a wait if it could run there, else with a reason."""

    pool_id: str
    pool: str
    site: str
    site_name: str
    accelerator: str | None
    architecture: str
    alternative: int
    chosen: bool
    reason: str | None
    detail: str
    rate_micro_yuan_per_hour: int
    rate_yuan_per_hour: str
    expected_wait_s: int
    cost_at_most_micro_yuan: int
    cost_at_most_yuan: str


class PlanAnswer(TypedDict):
    candidates: list[Candidate]
    feasible: bool


FINAL_STATES = ("succeeded", "failed", "cancelled", "refused")
OPEN_STATES = ("waiting", "queued", "leased", "running")
