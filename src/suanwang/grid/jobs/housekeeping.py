"""What is kept for a while only: idempotency keys and the records of rounds."""

from __future__ import annotations

from suanwang.grid.jobs import keys_store, leases_store
from suanwang.kernel.time import MS_PER_DAY
from suanwang.platform.database import Tx

KEYS_KEPT_MS = MS_PER_DAY
"""A client that repeats a submission does so within seconds; a day allows for a long outage."""
ROUNDS_KEPT_MS = MS_PER_DAY
BATCH = 2_000
"""Rows of a kind that go in one transaction: nobody waits long behind it."""


def tidy(tx: Tx) -> bool:
    """Drop what is too old, a batch at most; True if there may be more."""
    keys = keys_store.forget_keys_before(tx, tx.now_ms - KEYS_KEPT_MS, BATCH)
    rounds = leases_store.delete_rounds_before(tx, tx.now_ms - ROUNDS_KEPT_MS, BATCH)
    return max(keys, rounds) >= BATCH
