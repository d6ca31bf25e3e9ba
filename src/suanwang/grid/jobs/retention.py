"""What is kept for long but not for ever: output, and the details of jobs that ended.

Ids begin with the instant at which they were made, so what is old is a range of the primary key.
Each call takes one batch in one transaction: nobody waits long behind it. Usage records, charges
and the ledger are kept.
"""

from __future__ import annotations

from dataclasses import dataclass

from suanwang.grid.jobs import retention_store as store
from suanwang.kernel.time import MS_PER_DAY
from suanwang.platform.database import Tx

BATCH = 2_000
"""Rows of a kind that go in one transaction."""
BYTES_AT_ONCE = 64 << 20
"""Output is larger than rows; so much of it goes in one transaction, and a piece."""
JOBS_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Retention:
    """Days after the end; 0 keeps for ever."""

    output_days: int = 90
    job_days: int = 400


def purge(tx: Tx, retention: Retention) -> bool:
    """Drop a batch of what is too old; True if there may be more."""
    more = False
    if retention.output_days:
        before_ms = tx.now_ms - retention.output_days * MS_PER_DAY
        more = store.drop_output_before(tx, before_ms, BATCH, BYTES_AT_ONCE)
    if retention.job_days:
        more = _purge_jobs(tx, tx.now_ms - retention.job_days * MS_PER_DAY) or more
    return more


def _purge_jobs(tx: Tx, before_ms: int) -> bool:
    """Output, leases and tasks first: a job whose details went has none of them left."""
    jobs = store.jobs_ended_before(tx.conn, before_ms, JOBS_AT_ONCE)
    left = BATCH
    for job_id in jobs:
        left -= store.drop_leases_of_job(tx, job_id, left, BYTES_AT_ONCE)
        if left > 0:
            left -= store.drop_tasks_of_job(tx, job_id, left)
        if left <= 0:
            return True
        store.strip_job(tx, job_id)
    return len(jobs) == JOBS_AT_ONCE
