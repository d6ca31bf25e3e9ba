"""One of several processes leads; who leads no longer can do no harm."""

from __future__ import annotations

import asyncio
import threading

import pytest
import sqlalchemy as sa

from jobs_world import AnyDatabase, Grid, pool, spec, together
from manual_clock import ManualClock
from suanwang.kernel.errors import StaleWrite
from suanwang.platform.database import PostgresDatabase, Tx
from suanwang.platform.leader import HELD_FOR_MS, Leader, leaderships


def _leader(database: AnyDatabase, holder: str) -> Leader:
    return Leader(database, "dispatch", holder)


async def _lapse(database: AnyDatabase) -> None:
    """As if the holder had not been heard for long."""

    def use_case(tx: Tx) -> None:
        tx.conn.execute(sa.update(leaderships).values(until_ms=0))

    await database.write(use_case)


async def test_of_many_that_ask_one_leads(any_database: AnyDatabase) -> None:
    leaders = [_leader(any_database, f"p{i}") for i in range(8)]
    assert sum(await together(*(one.campaign() for one in leaders))) == 1
    first = next(one for one in leaders if one.leads)
    assert sum(await together(*(one.campaign() for one in leaders))) == 1
    assert first.leads
    assert first.term == 1
    found = await first.look()
    assert found is not None
    assert found.term == 1
    assert 0 < found.left_ms <= HELD_FOR_MS


async def test_a_silent_leader_is_followed_and_its_plan_dropped(
    any_database: AnyDatabase, clock: ManualClock
) -> None:
    """It was paused between planning and applying, and wakes in another's term."""
    old, new = _leader(any_database, "old"), _leader(any_database, "new")
    grid = await Grid(any_database, clock, guard=old.check).found()
    await grid.site(pools=[pool(nodes=1, cpus=4)])
    assert await old.campaign()
    await _lapse(any_database)
    assert await new.campaign()
    assert new.term == 2
    (job_id,) = await grid.submit(spec())
    assert old.leads  # so it believes
    for step in (grid.dispatcher.round, grid.dispatcher.sweep):
        with pytest.raises(StaleWrite) as refusal:
            await step()
        assert refusal.value.reason == "LeadershipLost"
    assert (await grid.job(job_id)).queued == 1
    assert not await old.campaign()


async def test_an_own_leadership_that_lapsed_begins_a_new_term(any_database: AnyDatabase) -> None:
    leader = _leader(any_database, "p")
    await leader.campaign()
    await _lapse(any_database)
    assert await leader.campaign()
    assert leader.term == 2


async def test_who_resigns_is_followed_at_once(any_database: AnyDatabase) -> None:
    first, second = _leader(any_database, "a"), _leader(any_database, "b")
    assert await first.campaign()
    assert not await second.campaign()
    await first.resign()
    assert await second.campaign()
    await first.resign()  # does nothing to the successor
    assert await second.campaign()
    assert second.term == 2


@pytest.mark.postgres
async def test_nobody_takes_over_while_a_checked_plan_is_applied(
    postgres_database: PostgresDatabase,
) -> None:
    database = postgres_database
    old, new = _leader(database, "old"), _leader(database, "new")
    await old.campaign()
    await _lapse(database)
    checked, done = threading.Event(), threading.Event()
    order: list[str] = []

    def apply(tx: Tx) -> None:
        old.check(tx)
        checked.set()
        assert done.wait(30)
        order.append("applied")

    applying = asyncio.create_task(database.write(apply))
    await asyncio.to_thread(checked.wait, 30)
    takeover = asyncio.create_task(new.campaign())
    await asyncio.wait({takeover}, timeout=0.2)
    assert not takeover.done()
    done.set()
    await applying
    assert await takeover
    order.append("taken over")
    assert order == ["applied", "taken over"]
