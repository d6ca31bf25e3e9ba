"""A database without room: whole use cases fail, by name, and everything goes on afterwards.

SQLite is given a ceiling of pages, which fails like a full disk in the middle of a transaction.
"""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa

from jobs_world import Grid, spec
from manual_clock import ManualClock
from suanwang.grid.jobs.tables import jobs, tasks
from suanwang.kernel.errors import Unavailable
from suanwang.platform.database import SqliteDatabase, Tx
from suanwang.platform.outbox import outbox


@pytest.fixture
def database(sqlite_database: SqliteDatabase) -> SqliteDatabase:
    return sqlite_database


async def _allow(database: SqliteDatabase, more_pages: int) -> None:
    """A ceiling of so many pages more than are in use; the writer's connection keeps it."""

    def use_case(tx: Tx) -> None:
        pages = tx.conn.exec_driver_sql("PRAGMA page_count").scalar_one()
        tx.conn.exec_driver_sql(f"PRAGMA max_page_count={pages + more_pages}")

    await database.write(use_case)


def _put(number: int, size: int) -> dict[str, object]:
    return {"subscriber": "s", "topic": f"{number}", "body": b"x" * size, "created_at_ms": number}


async def test_a_submission_that_does_not_fit_is_refused_whole(
    database: SqliteDatabase, clock: ManualClock
) -> None:
    grid = await Grid(database, clock).found()
    await grid.site()
    (kept,) = await grid.submit(spec())
    await _allow(database, 8)
    with pytest.raises(Unavailable) as trouble:
        await grid.submit(*(spec(name=f"job-{i}", array=20) for i in range(100)), key="k")
    assert trouble.value.reason == "DiskFull"
    assert trouble.value.status == 503
    assert "Free space" in trouble.value.hint
    counts = [
        await database.read(
            lambda conn, table=table: conn.execute(
                sa.select(sa.func.count()).select_from(table)
            ).scalar_one()
        )
        for table in (jobs, tasks)
    ]
    assert counts == [1, 1]
    await _allow(database, 100_000)
    ids = await grid.submit(*(spec(name=f"job-{i}", array=20) for i in range(100)), key="k")
    assert len(ids) == 100
    assert (await grid.job(kept)).queued == 1
    assert (await grid.dispatcher.round()).placed == 8
    assert await grid.violations() == []
    assert database.troubles["DiskFull"] >= 1


async def test_of_a_group_nobody_is_told_yes_who_was_not_written(
    database: SqliteDatabase,
) -> None:
    """A full disk ends SQLite's whole transaction, and with it what its neighbours wrote."""
    await _allow(database, 30)

    async def put(number: int) -> int:
        size = 400_000 if number % 7 == 3 else 100

        def use_case(tx: Tx) -> int:
            tx.conn.execute(sa.insert(outbox), [_put(number, size)])
            return number

        return await database.write(use_case)

    answers = await asyncio.gather(*(put(n) for n in range(60)), return_exceptions=True)
    told = {answer for answer in answers if isinstance(answer, int)}
    reasons = {answer.reason for answer in answers if isinstance(answer, Unavailable)}
    assert len(told) + sum(isinstance(answer, Unavailable) for answer in answers) == 60
    assert reasons == {"DiskFull"}
    written = await database.read(
        lambda conn: set(conn.execute(sa.select(outbox.c.created_at_ms)).scalars())
    )
    assert written == told
    await _allow(database, 10_000)
    assert await put(100) == 100
    check = await database.read(
        lambda conn: conn.exec_driver_sql("PRAGMA integrity_check").scalar_one()
    )
    assert check == "ok"
