"""Facts travel upward through the outbox, written with the change they tell of.

`bootstrap` says who subscribes to what. A fact gets one row per subscriber; taking and deleting
it happens in the subscriber's own transaction, so each acts on it exactly once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from suanwang.platform.database import Database, Tx
from suanwang.platform.prepared import ONE_OF, Prepared
from suanwang.platform.schema import Ms, metadata

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column(
        "id",
        sa.BigInteger().with_variant(sa.Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    sa.Column("subscriber", sa.String(60), nullable=False),
    sa.Column("topic", sa.String(60), nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("created_at_ms", Ms, nullable=False),
    sa.Index("ix_outbox_subscriber_id", "subscriber", "id"),
)

DELETE_CHUNK = 500
_first = Prepared(sa.select(outbox.c.id).where(outbox.c.subscriber == sa.bindparam("of")).limit(1))
_batch = Prepared(
    sa.select(outbox.c.id, outbox.c.body)
    .where(outbox.c.subscriber == sa.bindparam("of"))
    .order_by(outbox.c.id)
    .limit(sa.bindparam("at_most"))
    .with_for_update(skip_locked=True)
)
_emit = Prepared(
    sa.insert(outbox).values(
        {name: sa.bindparam(name) for name in ("subscriber", "topic", "body", "created_at_ms")}
    )
)
_delete = Prepared(sa.delete(outbox).where(outbox.c.id.in_(ONE_OF)))

Subscriber = Callable[[Tx, Sequence[Any]], None]


def depth(conn: Connection) -> int:
    """Facts that wait for their subscribers."""
    return int(conn.execute(sa.select(sa.func.count()).select_from(outbox)).scalar_one())


class Outbox:
    """Topics, their subscribers and the decoding of facts. Filled in bootstrap, then fixed."""

    def __init__(self) -> None:
        self._routes: dict[type, list[str]] = {}
        self._subscribers: dict[str, tuple[type, Subscriber]] = {}

    def subscribe(self, name: str, fact: type[msgspec.Struct], action: Subscriber) -> None:
        """`action(tx, facts)` gets batches in order of emission; raising puts them back."""
        self._routes.setdefault(fact, []).append(name)
        self._subscribers[name] = (fact, action)

    def emit(self, tx: Tx, facts: Sequence[msgspec.Struct]) -> None:
        """Record facts (past-tense structs) in the transaction that made them true."""
        rows = [
            {
                "subscriber": subscriber,
                "topic": type(fact).__name__,
                "body": msgspec.msgpack.encode(fact),
                "created_at_ms": tx.now_ms,
            }
            for fact in facts
            for subscriber in self._routes.get(type(fact), ())
        ]
        if rows:
            _emit.run_all(tx.conn, rows)

    @property
    def subscribers(self) -> list[str]:
        return sorted(self._subscribers)

    async def deliver(self, database: Database, name: str, limit: int = 2_000) -> int:
        """Hand the next batch to a subscriber; returns how many facts it took."""
        kind, action = self._subscribers[name]
        # mostly there is nothing: that much a read can tell
        if await database.read(lambda conn: _first.first(conn, {"of": name})) is None:
            return 0

        def take(tx: Tx) -> int:
            rows = _batch.rows(tx.conn, {"of": name, "at_most": limit})
            if not rows:
                return 0
            decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(kind)
            action(tx, [decoder.decode(row.body) for row in rows])
            for start in range(0, len(rows), DELETE_CHUNK):
                taken = [row.id for row in rows[start : start + DELETE_CHUNK]]
                _delete.run(tx.conn, {"one_of": taken})
            return len(rows)

        return await database.write(take)
