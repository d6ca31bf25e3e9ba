"""Statements that drop what is no longer kept of jobs, a batch at a time."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from suanwang.grid.jobs.model import RunTemplate, Terms
from suanwang.grid.jobs.tables import job_dependencies, jobs, leases, log_chunks, tasks
from suanwang.kernel.ids import earliest_id
from suanwang.platform.database import Tx


def jobs_ended_before(conn: Connection, at_ms: int, limit: int) -> list[str]:
    """Whose details are still kept, the oldest first."""
    query = (
        sa.select(jobs.c.id)
        .where(
            jobs.c.purged_at_ms.is_(None),
            jobs.c.id < earliest_id("job", at_ms),
            jobs.c.ended_at_ms < at_ms,
        )
        .order_by(jobs.c.id)
        .limit(limit)
    )
    return list(conn.execute(query).scalars())


def drop_tasks_of_job(tx: Tx, job_id: str, limit: int) -> int:
    """So many of them; returns how many went."""
    some = sa.select(tasks.c.id).where(tasks.c.job_id == job_id).order_by(tasks.c.index)
    return tx.conn.execute(sa.delete(tasks).where(tasks.c.id.in_(some.limit(limit)))).rowcount


_NO_RUN = RunTemplate(command=[])
_NO_TERMS = Terms(max_runtime_s=0)


def strip_job(tx: Tx, job_id: str) -> None:
    """Whose it was, its name and how it ended are left."""
    tx.conn.execute(sa.delete(job_dependencies).where(job_dependencies.c.job_id == job_id))
    tx.conn.execute(
        sa.update(jobs)
        .where(jobs.c.id == job_id)
        .values(
            spec={},
            terms=_NO_TERMS,
            template=_NO_RUN,
            sealed_secrets=None,
            purged_at_ms=tx.now_ms,
        )
    )


def drop_output_before(tx: Tx, at_ms: int, limit: int, most_bytes: int) -> bool:
    """Pieces of output of runs that ended before, the oldest first; True if there may be more."""
    old = (
        sa.select(
            log_chunks.c.lease_id,
            log_chunks.c.stream,
            log_chunks.c.offset,
            sa.func.length(log_chunks.c.data).label("size"),
        )
        .join(leases, leases.c.id == log_chunks.c.lease_id)
        .where(log_chunks.c.lease_id < earliest_id("lease", at_ms), leases.c.ended_at_ms < at_ms)
    )
    return _drop_output(tx, old, limit, most_bytes)


def _drop_output(tx: Tx, query: sa.Select[Any], limit: int, most_bytes: int) -> bool:
    """The first pieces that the query finds; True if there may be more."""
    ordered = query.order_by(log_chunks.c.lease_id, log_chunks.c.stream, log_chunks.c.offset)
    found = tx.conn.execute(ordered.limit(limit)).all()
    taken: list[tuple[str, str, int]] = []
    size = 0
    for row in found:
        if size > most_bytes:
            break
        taken.append((row.lease_id, row.stream, row.offset))
        size += row.size
    if taken:
        here = sa.and_(
            log_chunks.c.lease_id == sa.bindparam("of_lease"),
            log_chunks.c.stream == sa.bindparam("of_stream"),
            log_chunks.c.offset == sa.bindparam("at_offset"),
        )
        tx.conn.execute(
            sa.delete(log_chunks).where(here),
            [{"of_lease": a, "of_stream": b, "at_offset": c} for a, b, c in taken],
        )
    return len(taken) < len(found) or len(found) == limit


def drop_leases_of_job(tx: Tx, job_id: str, limit: int, most_bytes: int) -> int:
    """Their output, then so many of them; returns how many rows went, `limit` if more are left."""
    mine = sa.select(leases.c.id).where(leases.c.job_id == job_id)
    pieces = sa.select(
        log_chunks.c.lease_id,
        log_chunks.c.stream,
        log_chunks.c.offset,
        sa.func.length(log_chunks.c.data).label("size"),
    ).where(log_chunks.c.lease_id.in_(mine))
    if _drop_output(tx, pieces, limit, most_bytes):
        return limit
    some = mine.order_by(leases.c.id).limit(limit)
    return tx.conn.execute(sa.delete(leases).where(leases.c.id.in_(some))).rowcount
