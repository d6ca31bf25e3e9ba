"""Read jobs, tasks, leases and output; what pages and routes show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy.engine import Connection

from suanwang.grid.jobs import leases_store, shown_store, store
from suanwang.grid.jobs.model import FINAL, Job, Lease, LeaseState, Task, Waiting
from suanwang.kernel.errors import Conflict, NotFound
from suanwang.kernel.ids import is_whole_id
from suanwang.tenancy.rules import not_found


def require_job(conn: Connection, job_id: str) -> Job:
    job = shown_store.job(conn, job_id)
    if job is None:
        raise not_found("job", job_id)
    return job


def find_job(conn: Connection, text: str, organisation_id: str | None) -> Job:
    """A job by id, or by the end of its id (at least four characters) where that is unique.

    `organisation_id` bounds where to look; None looks everywhere.
    """
    exact = shown_store.job(conn, text)
    return exact if exact is not None else _near_job(conn, text, organisation_id)


def find_job_and_spec(
    conn: Connection, text: str, organisation_id: str | None
) -> tuple[Job, Mapping[str, Any]]:
    """As `find_job`, with its specification."""
    exact = shown_store.job_and_spec(conn, text)
    if exact is not None:
        return exact
    near = _near_job(conn, text, organisation_id)
    return near, job_spec(conn, near.job_id)


def _near_job(conn: Connection, text: str, organisation_id: str | None) -> Job:
    searched = len(text) >= 4 and not is_whole_id(text)
    near = shown_store.jobs_ending_with(conn, text, organisation_id) if searched else []
    if len(near) > 1:
        raise Conflict(
            "JobAmbiguous", f"Several jobs end with {text!r}.", hint="Give more of the id."
        )
    if not near:
        raise not_found("job", text)
    return near[0]


def job_page(
    conn: Connection,
    *,
    organisation_id: str | None,
    project_ids: Sequence[str] | None,
    states: Sequence[str],
    before_id: str | None,
    limit: int,
) -> list[Job]:
    return shown_store.page_of_jobs(
        conn,
        organisation_id=organisation_id,
        project_ids=project_ids,
        states=states,
        before_id=before_id,
        limit=limit,
    )


def job_spec(conn: Connection, job_id: str) -> Mapping[str, Any]:
    found = shown_store.job_and_spec(conn, job_id)
    if found is None:
        raise not_found("job", job_id)
    return found[1]


def tasks_with_leases(
    conn: Connection, job_id: str, *, after_index: int = -1, limit: int = 100
) -> list[tuple[Task, list[Lease]]]:
    """Tasks by index, each with all its attempts, the oldest first."""
    tasks = shown_store.tasks_of_job(conn, job_id, after_index=after_index, limit=limit)
    by_task: dict[str, list[Lease]] = {}
    for lease in shown_store.leases_of_tasks(conn, [task.task_id for task in tasks]):
        by_task.setdefault(lease.task_id, []).append(lease)
    return [(task, by_task.get(task.task_id, [])) for task in tasks]


def waiting(conn: Connection, organisation_id: str | None = None) -> list[Waiting]:
    """What waits, and why, by the last round of whichever process leads."""
    return store.waiting(conn, organisation_id)


def require_details(job: Job) -> None:
    """NotFound once its details were dropped."""
    if job.purged_at_ms is not None:
        raise NotFound(
            "JobDetailsExpired",
            "The tasks, output and specification of this job are no longer kept.",
            hint="They are kept for a while after a job's end; its charges are on the statement.",
        )


def check_output_kept(conn: Connection, lease_id: str, ended_before_ms: int) -> None:
    """NotFound if the run ended so long ago that its output was dropped."""
    lease = leases_store.leases_by_id(conn, [lease_id]).get(lease_id)
    if lease is not None and lease.ended_at_ms is not None and lease.ended_at_ms < ended_before_ms:
        raise NotFound(
            "OutputExpired",
            "The output of this run is no longer kept.",
            hint="Name files that matter as outputs of the job: they are kept with it.",
        )


class OutputState(StrEnum):
    """Whether more of an attempt's output may come."""

    OPEN = "open"
    OVER = "over"
    """The attempt has ended and its output was read to the end."""
    FINAL = "final"
    """So it is, and no other attempt will follow."""


@dataclass(frozen=True, slots=True)
class OutputPart:
    """Bytes of an attempt's output from some offset on."""

    lease_id: str
    """Empty while there is no such attempt."""
    attempt: int
    data: bytes
    next_offset: int
    state: OutputState


def output_part(
    conn: Connection,
    job_id: str,
    index: int,
    attempt: int | None,
    stream: str,
    offset: int,
    limit: int,
) -> OutputPart:
    """What is there of a task's attempt, of the last one there is if `attempt` is None."""
    require_details(require_job(conn, job_id))
    found = tasks_with_leases(conn, job_id, after_index=index - 1, limit=1)
    if not found or found[0][0].index != index:
        raise NotFound("TaskNotFound", f"The job has no task {index}.")
    task, leases = found[0]
    latest = leases[-1].epoch if leases else 0
    wanted = attempt or latest or 1
    lease = next((one for one in reversed(leases) if one.epoch == wanted), None)
    data, after = b"", offset
    if lease is not None:
        data, after = output(conn, lease.lease_id, stream, offset, limit)
    ended = task.state in FINAL or wanted < latest
    ended = ended or (lease is not None and lease.state is LeaseState.ENDED)
    state = OutputState.OPEN
    if ended and not data:
        last = task.state in FINAL and wanted >= latest
        state = OutputState.FINAL if last else OutputState.OVER
    return OutputPart(lease.lease_id if lease else "", wanted, data, after, state)


def output(
    conn: Connection, lease_id: str, stream: str, offset: int, limit: int
) -> tuple[bytes, int]:
    """Bytes of a run's stdout or stderr from an offset on, and the offset after them."""
    return leases_store.read_log(conn, lease_id, stream, offset, limit)


def open_leases(conn: Connection) -> int:
    """At all sites."""
    return sum(row.leases for row in leases_store.open_totals(conn))


def open_leases_at(conn: Connection, site_id: str) -> int:
    return leases_store.count_open_of_site(conn, site_id)


def owner_of_lease(conn: Connection, site_id: str, lease_id: str) -> str:
    """The organisation of an open lease of the site: in its name the agent moves content."""
    lease = leases_store.leases_by_id(conn, [lease_id]).get(lease_id)
    if lease is None or lease.site_id != site_id or lease.state is LeaseState.ENDED:
        raise NotFound("LeaseNotFound", f"This site has no open lease {lease_id}.")
    return lease.organisation_id


def may_read(conn: Connection, site_id: str, digest: str) -> bool:
    """Whether an open lease of the site names this digest as an input."""
    jobs = {lease.job_id for lease in leases_store.open_leases_of_site(conn, site_id)}
    return any(
        item.digest == digest
        for _, template, _, _ in store.templates_of(conn, jobs).values()
        for item in template.inputs
    )


def referenced(conn: Connection, organisation_id: str) -> set[str]:
    """Every digest that jobs of the organisation name: their inputs and kept outputs."""
    return store.named_digests(conn, organisation_id)
