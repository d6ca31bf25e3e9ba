"""Statements of what pages and routes show: a job, a page of jobs, a job's tasks and leases.

They are asked all the time and find a few indexed rows, so they are prepared.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from suanwang.grid.jobs.leases_store import LEASE_COLUMNS, as_lease
from suanwang.grid.jobs.model import Job, Lease, Task
from suanwang.grid.jobs.store import CHUNK, JOB_COLUMNS, TASK_COLUMNS, as_job, as_task
from suanwang.grid.jobs.tables import jobs, leases, tasks
from suanwang.platform.prepared import ONE_OF, Prepared

_this_job = jobs.c.id == sa.bindparam("id")
_job = Prepared(sa.select(*JOB_COLUMNS).where(_this_job), as_job)
_job_and_spec = Prepared(
    sa.select(*JOB_COLUMNS, jobs.c.spec).where(_this_job),
    lambda values: (values.pop(), as_job(values)),
)


def job(conn: Connection, job_id: str) -> Job | None:
    found: Job | None = _job.first(conn, {"id": job_id})
    return found


def job_and_spec(conn: Connection, job_id: str) -> tuple[Job, dict[str, Any]] | None:
    found = _job_and_spec.first(conn, {"id": job_id})
    return None if found is None else (found[1], found[0])


@lru_cache(maxsize=16)
def _page_query(organisation: bool, projects: bool, states: bool, before: bool) -> Prepared:
    query = sa.select(*JOB_COLUMNS).order_by(jobs.c.id.desc()).limit(sa.bindparam("at_most"))
    if organisation:
        query = query.where(jobs.c.organisation_id == sa.bindparam("organisation_id"))
    if projects:
        query = query.where(jobs.c.project_id.in_(sa.bindparam("projects", expanding=True)))
    if states:
        query = query.where(jobs.c.state.in_(sa.bindparam("states", expanding=True)))
    if before:
        query = query.where(jobs.c.id < sa.bindparam("before_id"))
    return Prepared(query, as_job)


def page_of_jobs(
    conn: Connection,
    *,
    organisation_id: str | None,
    project_ids: Sequence[str] | None,
    states: Sequence[str],
    before_id: str | None,
    limit: int,
) -> list[Job]:
    """Newest first; `None` for the organisation or the projects means all."""
    if project_ids is not None and not project_ids:
        return []
    query = _page_query(
        organisation_id is not None,
        project_ids is not None,
        bool(states),
        before_id is not None,
    )
    values = {
        "at_most": limit,
        "organisation_id": organisation_id,
        "before_id": before_id,
        "projects": project_ids,
        "states": states,
    }
    return list(query.rows(conn, values))


def jobs_ending_with(conn: Connection, text: str, organisation_id: str | None) -> list[Job]:
    """At most two: enough to tell none, one and several apart."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    query = sa.select(*JOB_COLUMNS).where(jobs.c.id.like(f"%{escaped}", escape="\\")).limit(2)
    if organisation_id is not None:
        query = query.where(jobs.c.organisation_id == organisation_id)
    return [as_job(list(row)) for row in conn.execute(query)]


_tasks_of_job = Prepared(
    sa.select(*TASK_COLUMNS)
    .where(tasks.c.job_id == sa.bindparam("of_job"), tasks.c.index > sa.bindparam("after"))
    .order_by(tasks.c.index)
    .limit(sa.bindparam("at_most")),
    as_task,
)


def tasks_of_job(
    conn: Connection, job_id: str, *, after_index: int = -1, limit: int = 1000
) -> list[Task]:
    values = {"of_job": job_id, "after": after_index, "at_most": limit}
    return list(_tasks_of_job.rows(conn, values))


_of_tasks = Prepared(
    sa.select(*LEASE_COLUMNS).where(leases.c.task_id.in_(ONE_OF)).order_by(leases.c.id),
    as_lease,
)


def leases_of_tasks(conn: Connection, task_ids: Sequence[str]) -> list[Lease]:
    """All their attempts, the oldest of each first."""
    return [
        lease
        for start in range(0, len(task_ids), CHUNK)
        for lease in _of_tasks.rows(conn, {"one_of": task_ids[start : start + CHUNK]})
    ]
