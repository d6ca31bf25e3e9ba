"""Both kinds of database behave alike where the platform relies on it."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from manual_clock import ManualClock
from suanwang.kernel.errors import Unavailable
from suanwang.kernel.time import Random
from suanwang.platform.database import Database, PostgresDatabase, SqliteDatabase, Tx
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


async def test_what_fails_does_not_tell_what_was_to_be_written(any_database: Database) -> None:
    """Errors go to the log: bids of an open round are not for who reads that."""

    def twice(tx: Tx) -> None:
        row = {**_row("topic"), "id": 7, "body": b"a bid of 12.50"}
        tx.conn.execute(sa.insert(outbox), [row])
        tx.conn.execute(sa.insert(outbox), [row])

    with pytest.raises(sa.exc.IntegrityError) as failed:
        await any_database.write(twice)
    assert "a bid of 12.50" not in str(failed.value)


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


request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="none")


async def test_a_use_case_sees_the_callers_context(any_database: Database) -> None:
    """The audit log takes the request's id and address from there."""
    request_id.set("r-1")
    assert await any_database.write(lambda _tx: request_id.get()) == "r-1"


async def test_a_caller_that_gives_up_does_not_stop_the_writer(any_database: Database) -> None:
    async def give_up() -> None:
        await any_database.write(lambda tx: tx.conn.execute(sa.insert(outbox).values(_row("x"))))

    tasks = [asyncio.create_task(give_up()) for _ in range(20)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await any_database.write(lambda _tx: "alive") == "alive"


async def test_a_query_sees_one_moment(any_database: Database) -> None:
    """Between two statements of a reader another's commit stays unseen."""
    assert isinstance(any_database, SqliteDatabase | PostgresDatabase)
    read, written = threading.Event(), threading.Event()

    def query(conn: sa.Connection) -> tuple[list[str], list[str]]:
        before = _topics(conn)
        read.set()
        assert written.wait(30)
        return before, _topics(conn)

    reading = asyncio.create_task(any_database.read(query))
    await asyncio.to_thread(read.wait, 30)
    await any_database.write(
        lambda tx: tx.conn.execute(sa.insert(outbox).values(_row("new"))) and None
    )
    written.set()
    assert await reading == ([], [])
    assert await any_database.read(_topics) == ["new"]


@pytest.mark.postgres
async def test_a_deadlock_is_tried_again(postgres_database: PostgresDatabase) -> None:
    database = postgres_database
    await database.write(
        lambda tx: tx.conn.execute(sa.insert(outbox), [_row("a"), _row("b")]) and None
    )
    met = threading.Barrier(2)

    def both(first: str, second: str) -> Callable[[Tx], None]:
        met_once: list[bool] = []

        def use_case(tx: Tx) -> None:
            for topic in (first, second):
                row = sa.update(outbox).where(outbox.c.topic == topic)
                tx.conn.execute(row.values(created_at_ms=outbox.c.created_at_ms + 1))
                if not met_once:
                    met_once.append(True)
                    met.wait(30)

        return use_case

    await asyncio.gather(database.write(both("a", "b")), database.write(both("b", "a")))
    total = sa.select(sa.func.sum(outbox.c.created_at_ms))
    assert await database.read(lambda conn: conn.execute(total).scalar_one()) == 2 + 4
    assert database.troubles == {"Conflict": 1}
    await database.close()


@pytest.mark.postgres
async def test_a_lost_connection_is_told_as_unavailable_and_the_pool_recovers(
    postgres_url: str, clock: ManualClock, random: Random
) -> None:
    database = PostgresDatabase(postgres_url, clock, random)
    everyone_else = sa.text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )

    def cut_off(tx: Tx) -> int:
        other = sa.create_engine(postgres_url, poolclass=sa.NullPool)
        with other.begin() as connection:
            connection.execute(everyone_else)
        other.dispose()
        return int(tx.conn.execute(sa.text("SELECT 1")).scalar_one())

    with pytest.raises(Unavailable) as trouble:
        await database.write(cut_off)
    assert trouble.value.reason == "DatabaseUnavailable"
    for _ in range(10):
        assert await database.write(lambda tx: tx.conn.execute(sa.text("SELECT 1")).scalar()) == 1
    await database.close()


async def test_a_wrong_statement_is_not_taken_for_an_outage(any_database: Database) -> None:
    with pytest.raises(sa.exc.DBAPIError):
        await any_database.write(lambda tx: tx.conn.exec_driver_sql("SELECT * FROM nowhere"))
