"""Statements of jobs, tasks and classes. Leases have their own file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from suanwang.engines.scheduling.model import QueueGroup
from suanwang.grid.jobs.model import FINAL, Job, RunTemplate, Task, TaskState, Terms, Waiting
from suanwang.grid.jobs.tables import (
    demand_classes,
    job_dependencies,
    jobs,
    leases,
    refusals,
    tasks,
)
from suanwang.platform.bulk import insert_new_rows, insert_rows, tuples_of, update_rows
from suanwang.platform.database import Tx
from suanwang.platform.prepared import ONE_OF, Prepared
from suanwang.protocol.messages import FailureClass

LOCK_ORDER = ("leases", "tasks", "share_usage", "accounts", "jobs", "sites")
"""Rows are locked table by table in this order, by id within one: who keeps to it never waits in
a ring. (Tasks that a job's end sets free come after jobs; nobody holds those and wants more.)"""

CHUNK = 500
"""Bound on the length of an IN list."""

JOB_COLUMNS = [jobs.c["id" if name == "job_id" else name] for name in Job.__struct_fields__]
TASK_COLUMNS = [tasks.c["id" if name == "task_id" else name] for name in Task.__struct_fields__]


def chunks(ids: Iterable[str]) -> Iterable[list[str]]:
    ordered = sorted(set(ids))
    for start in range(0, len(ordered), CHUNK):
        yield ordered[start : start + CHUNK]


_STATES = {state.value: state for state in TaskState}
_FAILURES = {failure.value: failure for failure in FailureClass}
_JOB_STATE = Job.__struct_fields__.index("state")
_TASK_STATE = Task.__struct_fields__.index("state")
_TASK_FAILURE = Task.__struct_fields__.index("failure")


def as_job(values: list[Any]) -> Job:
    """Of JOB_COLUMNS."""
    values[_JOB_STATE] = _STATES[values[_JOB_STATE]]
    return Job(*values)


def as_task(values: list[Any]) -> Task:
    """Of TASK_COLUMNS."""
    values[_TASK_STATE] = _STATES[values[_TASK_STATE]]
    values[_TASK_FAILURE] = _FAILURES[values[_TASK_FAILURE]]
    return Task(*values)


def insert_ignore(tx: Tx, table: sa.Table, rows: Sequence[dict[str, Any]]) -> None:
    """INSERT … ON CONFLICT DO NOTHING, on both databases."""
    insert_new_rows(tx.conn, table, tuples_of(table, rows), ())


def insert_jobs(tx: Tx, rows: list[dict[str, Any]]) -> None:
    insert_rows(tx.conn, jobs, tuples_of(jobs, rows))


def insert_tasks(tx: Tx, rows: list[dict[str, Any]]) -> None:
    insert_rows(tx.conn, tasks, tuples_of(tasks, rows))


def insert_dependencies(tx: Tx, rows: list[dict[str, Any]]) -> None:
    if rows:
        tx.conn.execute(sa.insert(job_dependencies), rows)


def insert_classes(tx: Tx, rows: list[dict[str, Any]]) -> None:
    insert_ignore(tx, demand_classes, rows)


_bodies = Prepared(
    sa.select(
        demand_classes.c.id, sa.type_coerce(demand_classes.c.body, sa.LargeBinary).label("body")
    ).where(demand_classes.c.id.in_(ONE_OF))
)


def class_bodies(conn: Connection, class_ids: Iterable[str]) -> dict[str, bytes]:
    """As they are kept: MessagePack."""
    found: dict[str, bytes] = {}
    for ids in chunks(class_ids):
        found.update({row.id: row.body for row in _bodies.rows(conn, {"one_of": ids})})
    return found


_queue = Prepared(
    sa.select(
        tasks.c.organisation_id,
        tasks.c.project_id,
        tasks.c.user_id,
        tasks.c.class_id,
        tasks.c.priority,
        sa.func.count().label("count"),
        sa.func.min(tasks.c.queued_at_ms).label("oldest"),
    )
    .where(
        tasks.c.state == sa.literal_column("'queued'"),
        tasks.c.not_before_ms <= sa.bindparam("now_ms"),
    )
    .group_by(
        tasks.c.organisation_id,
        tasks.c.project_id,
        tasks.c.user_id,
        tasks.c.class_id,
        tasks.c.priority,
    )
)


def queue_groups(conn: Connection, now_ms: int) -> list[QueueGroup]:
    """Equal queued tasks of one user, counted; sorted by key."""
    rows = _queue.rows(conn, {"now_ms": now_ms})
    groups = [QueueGroup(r[0], r[1], r[2], r[3], r[4], r[5], r[6]) for r in rows]
    return sorted(groups, key=lambda group: group.key)


_any_queued = Prepared(
    sa.select(tasks.c.id)
    .where(
        tasks.c.state == sa.literal_column("'queued'"),
        tasks.c.not_before_ms <= sa.bindparam("now_ms"),
    )
    .limit(1)
)
_any_refusal = Prepared(sa.select(refusals.c.class_id).limit(1))


def has_queued(conn: Connection, now_ms: int) -> bool:
    return _any_queued.first(conn, {"now_ms": now_ms}) is not None


def has_refusals(conn: Connection) -> bool:
    return _any_refusal.first(conn) is not None


_heads = Prepared(
    sa.select(tasks.c.id, tasks.c.job_id, tasks.c.attempt)
    .where(
        tasks.c.state == sa.literal_column("'queued'"),
        *(
            tasks.c[name] == sa.bindparam(f"of_{name}")
            for name in ("organisation_id", "project_id", "user_id", "class_id", "priority")
        ),
        tasks.c.not_before_ms <= sa.bindparam("now_ms"),
    )
    .order_by(tasks.c.queued_at_ms, tasks.c.id)
    .limit(sa.bindparam("at_most"))
    .with_for_update(skip_locked=True)
)


def heads(
    conn: Connection, key: tuple[str, str, str, str, int], count: int, now_ms: int
) -> list[Row[Any]]:
    """The oldest `count` queued tasks of a group: id, job_id, attempt."""
    organisation_id, project_id, user_id, class_id, priority = key
    values = {
        "of_organisation_id": organisation_id,
        "of_project_id": project_id,
        "of_user_id": user_id,
        "of_class_id": class_id,
        "of_priority": priority,
        "now_ms": now_ms,
        "at_most": count,
    }
    return list(_heads.rows(conn, values))


_of_ids = sa.select(*TASK_COLUMNS).where(tasks.c.id.in_(ONE_OF)).order_by(tasks.c.id)
_tasks_by_id = Prepared(_of_ids, as_task)
_tasks_locked = Prepared(_of_ids.with_for_update(), as_task)


def tasks_by_id(conn: Connection, ids: Iterable[str], *, lock: bool = False) -> dict[str, Task]:
    query = _tasks_locked if lock else _tasks_by_id
    found: dict[str, Task] = {}
    for some in chunks(ids):
        for row in query.rows(conn, {"one_of": some}):
            found[row.task_id] = row
    return found


_open_tasks = Prepared(
    sa.select(*TASK_COLUMNS)
    .where(
        tasks.c.job_id.in_(ONE_OF),
        tasks.c.state.not_in([state.value for state in TaskState if state in FINAL]),
    )
    .order_by(tasks.c.id)
    .with_for_update(),
    as_task,
)


def open_tasks_of_jobs(conn: Connection, job_ids: Iterable[str]) -> list[Task]:
    found: list[Task] = []
    for some in chunks(job_ids):
        found.extend(_open_tasks.rows(conn, {"one_of": some}))
    return found


_TASK_CHANGES = (
    "state",
    "attempt",
    "failures",
    "losses",
    "preemptions",
    "lease_id",
    "not_before_ms",
    "ended_at_ms",
    "exit_code",
    "failure",
    "detail",
)


def update_tasks(tx: Tx, updated: Sequence[Task]) -> None:
    """Write what may change of a task."""
    rows = [
        (
            t.state.value,
            t.attempt,
            t.failures,
            t.losses,
            t.preemptions,
            t.lease_id,
            t.not_before_ms,
            t.ended_at_ms,
            t.exit_code,
            t.failure.value,
            t.detail[:500],
            t.task_id,
        )
        for t in updated
    ]
    update_rows(tx.conn, tasks, "id", _TASK_CHANGES, rows)


def mark_leased(tx: Tx, rows: Sequence[tuple[int, str, str]]) -> None:
    """(attempt, lease id, task id) of queued tasks whose rows are locked, or ours alone."""
    leased = [("leased", attempt, lease_id, task_id) for attempt, lease_id, task_id in rows]
    update_rows(tx.conn, tasks, "id", ("state", "attempt", "lease_id"), leased)


_named = sa.select(*JOB_COLUMNS).where(jobs.c.id.in_(ONE_OF)).order_by(jobs.c.id)
_jobs_by_id = Prepared(_named, as_job)
_jobs_locked = Prepared(_named.with_for_update(), as_job)
_jobs_shared = Prepared(_named.with_for_update(read=True), as_job)


def jobs_by_id(
    conn: Connection, ids: Iterable[str], *, lock: bool = False, share: bool = False
) -> dict[str, Job]:
    """`lock` against all others until the commit, `share` only against those who would change."""
    query = _jobs_locked if lock else _jobs_shared if share else _jobs_by_id
    found: dict[str, Job] = {}
    for some in chunks(ids):
        for row in query.rows(conn, {"one_of": some}):
            found[row.job_id] = row
    return found


_terms = Prepared(sa.select(jobs.c.id, jobs.c.terms).where(jobs.c.id.in_(ONE_OF)))
_templates = Prepared(
    sa.select(jobs.c.id, jobs.c.name, jobs.c.template, jobs.c.terms, jobs.c.sealed_secrets).where(
        jobs.c.id.in_(ONE_OF)
    )
)


def terms_of(conn: Connection, job_ids: Iterable[str]) -> dict[str, Terms]:
    found: dict[str, Terms] = {}
    for some in chunks(job_ids):
        found.update({row.id: row.terms for row in _terms.rows(conn, {"one_of": some})})
    return found


def templates_of(
    conn: Connection, job_ids: Iterable[str]
) -> dict[str, tuple[str, RunTemplate, Terms, bytes | None]]:
    """Name, template, terms and sealed secrets by job."""
    found: dict[str, tuple[str, RunTemplate, Terms, bytes | None]] = {}
    for some in chunks(job_ids):
        for row in _templates.rows(conn, {"one_of": some}):
            found[row.id] = (row.name, row.template, row.terms, row.sealed_secrets)
    return found


_JOB_CHANGES = ("state", "ended_at_ms", *(state.value for state in TaskState))


def update_job_counts(tx: Tx, rows: Sequence[tuple[Any, ...]]) -> None:
    """(state, ended_at_ms, the count of each TaskState in order, job id)."""
    update_rows(tx.conn, jobs, "id", _JOB_CHANGES, rows)


def request_cancel(tx: Tx, job_ids: Iterable[str]) -> None:
    for some in chunks(job_ids):
        tx.conn.execute(sa.update(jobs).where(jobs.c.id.in_(some)).values(cancel_requested=True))


_dependants = Prepared(
    sa.select(job_dependencies.c.job_id).where(job_dependencies.c.needs_job_id.in_(ONE_OF))
)


def dependants_of(conn: Connection, job_ids: Iterable[str]) -> list[str]:
    """Jobs that wait for any of these."""
    found: set[str] = set()
    for some in chunks(job_ids):
        found.update(row.job_id for row in _dependants.rows(conn, {"one_of": some}))
    return sorted(found)


def dependency_states(conn: Connection, job_ids: Iterable[str]) -> dict[str, list[str]]:
    """Job → states of the jobs it needs."""
    found: dict[str, list[str]] = {}
    for some in chunks(job_ids):
        query = (
            sa.select(job_dependencies.c.job_id, jobs.c.state)
            .join(jobs, jobs.c.id == job_dependencies.c.needs_job_id)
            .where(job_dependencies.c.job_id.in_(some))
        )
        for row in conn.execute(query):
            found.setdefault(row.job_id, []).append(row.state)
    return found


def refusal_of(conn: Connection, task: Task) -> Row[Any] | None:
    query = sa.select(refusals).where(
        refusals.c.project_id == task.project_id,
        refusals.c.user_id == task.user_id,
        refusals.c.class_id == task.class_id,
        refusals.c.priority == task.priority,
    )
    return conn.execute(query).first()


_WAITING = [refusals.c[name] for name in Waiting.__struct_fields__]


def waiting(conn: Connection, organisation_id: str | None) -> list[Waiting]:
    """What the last round said, in order of the groups; None: of all organisations."""
    query = sa.select(*_WAITING)
    if organisation_id is not None:
        query = query.where(refusals.c.organisation_id == organisation_id)
    found = [Waiting(*row) for row in conn.execute(query)]
    return sorted(found, key=lambda one: one.group)


_said = Prepared(
    sa.select(
        *(
            refusals.c[name]
            for name in (
                "project_id",
                "user_id",
                "class_id",
                "priority",
                "reason",
                "detail",
                "count",
            )
        )
    )
)


def refusal_keys(conn: Connection) -> dict[tuple[str, str, str, int], tuple[str, str, int]]:
    """What was last said to each group: (reason, detail, count)."""
    rows = _said.rows(conn)
    return {(r[0], r[1], r[2], r[3]): (r[4], r[5], r[6]) for r in rows}


_take_back = Prepared(
    sa.delete(refusals).where(
        refusals.c.project_id == sa.bindparam("k0"),
        refusals.c.user_id == sa.bindparam("k1"),
        refusals.c.class_id == sa.bindparam("k2"),
        refusals.c.priority == sa.bindparam("k3"),
    )
)


def replace_refusals(
    tx: Tx, gone: Sequence[tuple[str, str, str, int]], rows: list[dict[str, Any]]
) -> None:
    _take_back.run_all(tx.conn, [{"k0": k[0], "k1": k[1], "k2": k[2], "k3": k[3]} for k in gone])
    insert_rows(tx.conn, refusals, tuples_of(refusals, rows))


def named_digests(conn: Connection, organisation_id: str) -> set[str]:
    """Inputs and outputs of all jobs of the organisation."""
    mine = jobs.c.organisation_id == organisation_id
    found = {
        item.digest
        for template in conn.execute(sa.select(jobs.c.template).where(mine)).scalars()
        for item in template.inputs
    }
    kept = sa.select(leases.c.outputs).where(leases.c.organisation_id == organisation_id)
    found.update(record.digest for outputs in conn.execute(kept).scalars() for record in outputs)
    return found


def count_queued(conn: Connection) -> int:
    query = sa.select(sa.func.count()).where(tasks.c.state == sa.literal_column("'queued'"))
    return int(conn.execute(query.select_from(tasks)).scalar_one())


def refused_by_reason(conn: Connection) -> dict[str, int]:
    """Tasks that the last round did not place."""
    query = sa.select(refusals.c.reason, sa.func.sum(refusals.c.count))
    return {reason: int(n) for reason, n in conn.execute(query.group_by(refusals.c.reason))}
