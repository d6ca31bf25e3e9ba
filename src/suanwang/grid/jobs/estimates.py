"""Run-time estimates in use: asked at submission, taught by what ended, kept in the database.

The estimator lives in memory; its state is written now and then, and a process that starts (or
has not taught for a while) takes it from there. Losing the last minute of lessons costs nothing
but a little accuracy.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from suanwang.engines.estimation.estimator import Estimator
from suanwang.engines.estimation.model import Estimate, JobFacts
from suanwang.grid.jobs.tables import estimator_state
from suanwang.kernel.time import MS_PER_MINUTE
from suanwang.platform.bulk import insert_rows, tuples_of
from suanwang.platform.database import Tx

SUBSCRIBER = "estimates"
STATE_ID = "runtime"
SAVE_EVERY_MS = MS_PER_MINUTE
GRID_PERCENT = 125
"""Estimates are rounded up on a geometric grid, so that equal work stays one class."""


class RunEnded(msgspec.Struct, frozen=True, array_like=True):
    """Fact: a program ran to its own end (or to its limit) and took so long."""

    facts: JobFacts
    runtime_s: int
    said: Estimate | None


def on_grid(seconds: int, limit_s: int) -> int:
    """The next point of 1, 2, 3, 4, 5, 7, 9, 12 … at or above, never above the limit."""
    point = 1
    while point < min(seconds, limit_s):
        point = max(point + 1, point * GRID_PERCENT // 100)
    return max(1, min(point, limit_s))


class RuntimeEstimates:
    """One per process."""

    def __init__(self) -> None:
        self._estimator = Estimator()
        self._at_ms = 0
        self._lock = threading.Lock()

    def load(self, conn: Connection) -> None:
        """Take the stored state if it is newer than ours."""
        query = sa.select(estimator_state).where(estimator_state.c.id == STATE_ID)
        row = conn.execute(query).first()
        if row is not None and row.at_ms > self._at_ms:
            self._estimator = Estimator.from_bytes(row.body)
            self._at_ms = row.at_ms

    def estimate(self, facts: JobFacts) -> Estimate:
        with self._lock:
            return self._estimator.estimate(facts)

    def learn(self, tx: Tx, ended: Sequence[RunEnded]) -> None:
        """Outbox subscriber."""
        with self._lock:
            for fact in ended:
                self._estimator.observe(fact.facts, fact.runtime_s, fact.said)
        if tx.now_ms - self._at_ms >= SAVE_EVERY_MS:
            self.save(tx)

    def save(self, tx: Tx) -> None:
        tx.conn.execute(sa.delete(estimator_state).where(estimator_state.c.id == STATE_ID))
        row = {"id": STATE_ID, "at_ms": tx.now_ms, "body": self._estimator.to_bytes()}
        insert_rows(tx.conn, estimator_state, tuples_of(estimator_state, [row]))
        self._at_ms = tx.now_ms
