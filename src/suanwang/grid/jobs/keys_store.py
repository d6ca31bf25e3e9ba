"""Statements of idempotency keys: what a repeated submission is answered."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from suanwang.grid.jobs.tables import idempotency_keys
from suanwang.platform.bulk import insert_rows, tuples_of
from suanwang.platform.database import Tx
from suanwang.platform.prepared import Prepared

_named = Prepared(
    sa.select(idempotency_keys).where(
        idempotency_keys.c.user_id == sa.bindparam("of_user"),
        idempotency_keys.c.key == sa.bindparam("of_key"),
    )
)


def remembered(conn: Connection, user_id: str, key: str) -> Row[Any] | None:
    found: Row[Any] | None = _named.first(conn, {"of_user": user_id, "of_key": key})
    return found


def remember(tx: Tx, user_id: str, key: str, request_digest: str, result: Any) -> None:
    row = {
        "user_id": user_id,
        "key": key,
        "request_digest": request_digest,
        "result": result,
        "at_ms": tx.now_ms,
    }
    insert_rows(tx.conn, idempotency_keys, tuples_of(idempotency_keys, [row]))


def forget_keys_before(tx: Tx, at_ms: int, limit: int) -> int:
    """The oldest of them; returns how many went."""
    table = idempotency_keys
    oldest = (
        sa.select(table.c.user_id, table.c.key)
        .where(table.c.at_ms < at_ms)
        .order_by(table.c.at_ms)
        .limit(limit)
    )
    return tx.conn.execute(
        sa.delete(table).where(sa.tuple_(table.c.user_id, table.c.key).in_(oldest))
    ).rowcount
