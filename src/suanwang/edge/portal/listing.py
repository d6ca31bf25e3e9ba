"""Jobs as rows: where they run, what they cost so far, why they wait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from suanwang.grid.jobs import reading
from suanwang.grid.jobs.model import FINAL, Job, TaskState
from suanwang.grid.sites import service as sites
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.model import Action, Principal
from suanwang.tenancy.rules import may
from suanwang.trade.billing import reports
from suanwang.trade.billing.model import GroupBy

TASKS_LOOKED_AT = 3
_PLACED = (TaskState.LEASED, TaskState.RUNNING, TaskState.SUCCEEDED, TaskState.FAILED)


@dataclass(frozen=True)
class JobRow:
    """A line of a list of jobs."""

    job: Job
    project: str
    where: str
    reason: str
    spent: int
    lasted_ms: int

    @property
    def cancelling(self) -> bool:
        return self.job.cancel_requested and self.job.state not in FINAL


def job_rows(
    conn: Connection, principal: Principal, jobs: Sequence[Job], now_ms: int
) -> list[JobRow]:
    """With the project named only to those who have several."""
    if not jobs:
        return []
    names = sites.names(conn)
    projects = project_names(conn, principal)
    spent = spending(conn, principal, jobs, now_ms)
    alone = {job.organisation_id for job in jobs}
    said = reading.waiting(conn, alone.pop() if len(alone) == 1 else None)
    reasons = {one.group: one.reason for one in said}
    return [
        JobRow(
            job,
            projects.get(job.project_id, "") if len(projects) > 1 else "",
            places(conn, job, names),
            reasons.get(
                (job.organisation_id, job.project_id, job.user_id, job.class_id, job.priority), ""
            )
            if job.state is TaskState.QUEUED
            else "",
            spent.get(job.job_id, 0),
            (job.ended_at_ms or now_ms) - job.created_at_ms,
        )
        for job in jobs
    ]


def places(conn: Connection, job: Job, names: Mapping[str, str]) -> str:
    """The sites of its first tasks."""
    if job.state not in _PLACED and not (job.leased or job.running):
        return ""
    found = reading.tasks_with_leases(conn, job.job_id, limit=TASKS_LOOKED_AT)
    sites_of = [names.get(leases[-1].site_id, "") for _, leases in found if leases]
    return ", ".join(dict.fromkeys(sites_of)) + (
        ", …" if sites_of and job.total > TASKS_LOOKED_AT else ""
    )


def project_names(conn: Connection, principal: Principal) -> dict[str, str]:
    """Of the projects that he may look into, by id."""
    found = tenancy.projects(conn, principal, limit=500)
    return {project.id: project.display_name for project in found}


def spending(
    conn: Connection, principal: Principal, jobs: Sequence[Job], now_ms: int
) -> dict[str, int]:
    """Job id → micro-yuan charged so far."""
    readable = sorted(
        {
            job.project_id
            for job in jobs
            if may(principal, Action.READ_BILLING, job.organisation_id, job.project_id)
        }
    )
    if not readable:
        return {}
    report = reports.usage_summary(
        conn,
        readable,
        min(job.created_at_ms for job in jobs),
        now_ms + 1,
        by=GroupBy.JOB,
        limit=len(jobs),
        job_ids=[job.job_id for job in jobs],
    )
    return {line.key: line.amount_micro_yuan for line in report.lines}
