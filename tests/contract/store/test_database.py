"""Both kinds of database behave alike where the platform relies on it."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa

from suanwang.platform.database import Database, Tx
from suanwang.platform.outbox import outbox


def _row(topic: str) -> dict[str, object]:
    return {"subscriber": "s", "topic": topic, "body": b"", "created_at_ms": 1}


def _topics(conn: sa.Connection) -> list[str]:
    return list(conn.execute(sa.select(outbox.c.topic).order_by(outbox.c.topic)).scalars())


async def test_a_failed_use_case_leaves_nothing_and_its_neighbours_stay(
    any_database: Database,
) -> None:
    def fails(tx: Tx) -> None:
        tx.conn.execute(sa.insert(outbox).values(_row("lost")))
        raise ValueError("no")

    def works(tx: Tx) -> None:
        tx.conn.execute(sa.insert(outbox).values(_row("kept")))

    results = await asyncio.gather(
        any_database.write(works),
        any_database.write(fails),
        any_database.write(works),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [type(None), ValueError, type(None)]
    assert await any_database.read(_topics) == ["kept", "kept"]


async def test_text_is_ordered_byte_by_byte(any_database: Database) -> None:
    topics = ["b", "a_", "a0", "B", "_", "a-"]

    def insert(tx: Tx) -> None:
        tx.conn.execute(sa.insert(outbox), [_row(topic) for topic in topics])

    await any_database.write(insert)
    assert await any_database.read(_topics) == sorted(topics)


async def test_what_follows_a_commit_runs_only_after_a_commit(any_database: Database) -> None:
    ran: list[str] = []

    def works(tx: Tx) -> None:
        tx.after_commit(lambda: ran.append("works"))

    def fails(tx: Tx) -> None:
        tx.after_commit(lambda: ran.append("fails"))
        raise ValueError("no")

    await any_database.write(works)
    with pytest.raises(ValueError, match="no"):
        await any_database.write(fails)
    assert ran == ["works"]
