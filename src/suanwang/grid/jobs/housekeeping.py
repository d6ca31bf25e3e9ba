"""What is kept for a while only: idempotency keys, records of rounds, pledges of past hours."""

from __future__ import annotations

from suanwang.grid.jobs import keys_store, leases_store
from suanwang.kernel.time import MS_PER_DAY, hour_of
from suanwang.platform.database import Tx
from suanwang.trade.contracts import service as contracts

KEYS_KEPT_MS = MS_PER_DAY
"""A client that repeats a submission does so within seconds; a day allows for a long outage."""
ROUNDS_KEPT_MS = MS_PER_DAY
PLEDGES_KEPT_MS = 2 * MS_PER_DAY
"""Nothing is given back of an hour that is over."""
BATCH = 2_000
"""Rows of a kind that go in one transaction: nobody waits long behind it."""


def tidy(tx: Tx) -> bool:
    """Drop what is too old, a batch at most; True if there may be more."""
    keys = keys_store.forget_keys_before(tx, tx.now_ms - KEYS_KEPT_MS, BATCH)
    rounds = leases_store.delete_rounds_before(tx, tx.now_ms - ROUNDS_KEPT_MS, BATCH)
    contracts.forget_pledges(tx, hour_of(tx.now_ms - PLEDGES_KEPT_MS))
    return max(keys, rounds) >= BATCH
