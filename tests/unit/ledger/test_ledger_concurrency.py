"""Many writers at once, on both databases: no posting is lost, none is booked twice."""

from __future__ import annotations

import asyncio
from functools import partial

from suanwang.platform.database import PostgresDatabase, SqliteDatabase, Tx
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.model import EntryDraft, EntryKind, project_key, revenue_key

PROJECTS = [f"prj_{i}" for i in range(4)]
REVENUE = revenue_key("org_r")


def spend(tx: Tx, worker: int, turn: int, *, hold: bool) -> None:
    """One entry out of every project, in an order that differs between workers."""
    keys = [project_key(project) for project in PROJECTS]
    found = ledger.ensure_accounts(tx, [*keys, REVENUE])
    drafts = [
        EntryDraft(
            f"{worker}.{turn}.{key.owner_id}",
            EntryKind.TRANSFER,
            tx.now_ms,
            ((found[key].id, -1), (found[REVENUE].id, 1)),
        )
        for key in keys[worker % 4 :] + keys[: worker % 4]
    ]
    change = 7 if hold else -7
    ledger.post(tx, drafts, holds={found[key].id: change for key in keys})


async def test_concurrent_writers_lose_nothing(
    any_database: SqliteDatabase | PostgresDatabase,
) -> None:
    async def work(worker: int) -> None:
        for turn in range(5):
            await any_database.write(partial(spend, worker=worker, turn=2 * turn, hold=True))
            await any_database.write(partial(spend, worker=worker, turn=2 * turn + 1, hold=False))

    await asyncio.gather(*(work(worker) for worker in range(8)))
    assert await any_database.read(ledger.verify) == []
    found = await any_database.read(
        lambda c: ledger.find_accounts(c, [REVENUE, *map(project_key, PROJECTS)])
    )
    assert found[REVENUE].balance_micro_yuan == 8 * 10 * 4
    for project in PROJECTS:
        assert found[project_key(project)].balance_micro_yuan == -80
        assert found[project_key(project)].held_micro_yuan == 0


async def test_one_key_from_many_writers_is_booked_once(
    any_database: SqliteDatabase | PostgresDatabase,
) -> None:
    results = await asyncio.gather(
        *(
            any_database.write(lambda tx: ledger.top_up(tx, "prj_a", 100, key="payment"))
            for _ in range(8)
        )
    )
    assert sum(len(result.posted) for result in results) == 1
    assert len({*results[0].posted.values(), *results[0].repeated.values()}) == 1
    assert (await any_database.read(lambda c: ledger.funds(c, ["prj_a"])))["prj_a"] == 100


async def test_account_opened_by_many_at_once_is_one(
    any_database: SqliteDatabase | PostgresDatabase,
) -> None:
    ids = await asyncio.gather(
        *(
            any_database.write(lambda tx: ledger.project_accounts(tx, PROJECTS)["prj_0"])
            for _ in range(8)
        )
    )
    assert len(set(ids)) == 1


async def test_hold_within_funds_is_never_granted_twice(
    any_database: SqliteDatabase | PostgresDatabase,
) -> None:
    await any_database.write(lambda tx: ledger.top_up(tx, "prj_a", 100, key="1"))

    def take(tx: Tx) -> tuple[str, ...]:
        return ledger.hold_within_funds(tx, {ledger.project_accounts(tx, ["prj_a"])["prj_a"]: 30})

    refused = await asyncio.gather(*(any_database.write(take) for _ in range(8)))
    assert sum(not one for one in refused) == 3
