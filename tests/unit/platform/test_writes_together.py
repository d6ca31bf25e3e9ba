"""Use cases that share a commit, facts that are acted on once, and signals."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from suanwang.kernel.errors import Conflict, Unavailable
from suanwang.platform.database import SqliteDatabase, Tx
from suanwang.platform.outbox import Outbox, outbox
from suanwang.platform.signals import Signals, wait_for


class Counted(msgspec.Struct, frozen=True):
    """A fact of these tests."""

    number: int


@pytest.fixture
def database(sqlite_database: SqliteDatabase) -> SqliteDatabase:
    with sqlite_database.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE marks (name TEXT PRIMARY KEY)")
    return sqlite_database


def mark(name: str) -> Any:
    def use_case(tx: Tx) -> str:
        tx.conn.exec_driver_sql("INSERT INTO marks VALUES (?)", (name,))
        return name

    return use_case


async def marks(database: SqliteDatabase) -> list[str]:
    query = sa.text("SELECT name FROM marks ORDER BY name")
    return await database.read(lambda conn: list(conn.execute(query).scalars()))


class Gate:
    """Holds the writer until a whole group waits behind it."""

    def __init__(self) -> None:
        self.open = threading.Event()

    def __call__(self, tx: Tx) -> None:
        assert self.open.wait(30)


async def test_one_that_fails_takes_nobody_along(database: SqliteDatabase) -> None:
    gate = Gate()
    woken: list[str] = []

    def half(tx: Tx) -> None:
        tx.after_commit(lambda: woken.append("half"))
        mark("half")(tx)
        raise Conflict("No", "half way")

    def broken(tx: Tx) -> None:
        tx.conn.exec_driver_sql("INSERT INTO marks VALUES (?)", ("a",))

    def told(tx: Tx) -> None:
        tx.after_commit(lambda: woken.append("told"))

    works = [gate, mark("a"), half, mark("b"), broken, told, mark("c")]
    waiting = [asyncio.ensure_future(database.write(work)) for work in works]
    await asyncio.sleep(0)
    gate.open.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [r for r in results if not isinstance(r, Exception)] == [None, "a", "b", None, "c"]
    assert isinstance(results[2], Conflict)
    assert isinstance(results[4], sa.exc.IntegrityError)
    assert await marks(database) == ["a", "b", "c"]
    assert woken == ["told"]


async def test_a_caller_that_gave_up_does_not_stop_the_writer(database: SqliteDatabase) -> None:
    gate = Gate()
    first = asyncio.ensure_future(database.write(gate))
    gone = asyncio.ensure_future(database.write(mark("gone")))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    gate.open.set()
    await first
    await database.write(mark("after"))
    assert "after" in await marks(database)


async def test_concurrent_readers_see_whole_commits(database: SqliteDatabase) -> None:
    def pair(number: int) -> Any:
        def use_case(tx: Tx) -> None:
            mark(f"{number}x")(tx)
            mark(f"{number}y")(tx)

        return use_case

    writes = [asyncio.ensure_future(database.write(pair(n))) for n in range(50)]
    while not all(write.done() for write in writes):
        assert len(await marks(database)) % 2 == 0
    assert len(await marks(database)) == 100


# --- outbox -----------------------------------------------------------------------------------


async def test_each_subscriber_acts_once_in_order(database: SqliteDatabase) -> None:
    seen: dict[str, list[int]] = {"one": [], "two": []}
    found = Outbox()

    def acting(name: str) -> Any:
        def act(tx: Tx, facts: Sequence[Counted]) -> None:
            seen[name].extend(fact.number for fact in facts)

        return act

    for name in seen:
        found.subscribe(name, Counted, acting(name))
    await database.write(lambda tx: found.emit(tx, [Counted(n) for n in range(5)]))
    taken = await asyncio.gather(*(found.deliver(database, "one", limit=3) for _ in range(4)))
    assert sorted(taken) == [0, 0, 2, 3]
    assert await found.deliver(database, "two") == 5
    assert seen == {"one": [0, 1, 2, 3, 4], "two": [0, 1, 2, 3, 4]}


async def test_facts_of_a_failed_use_case_were_never_true(database: SqliteDatabase) -> None:
    found = Outbox()
    found.subscribe("one", Counted, lambda tx, facts: None)

    def failing(tx: Tx) -> None:
        found.emit(tx, [Counted(1)])
        raise Conflict("No", "no")

    with pytest.raises(Conflict):
        await database.write(failing)
    assert await found.deliver(database, "one") == 0


async def test_a_subscriber_that_fails_gets_the_same_facts_again(database: SqliteDatabase) -> None:
    found = Outbox()
    calls: list[int] = []

    def act(tx: Tx, facts: Sequence[Counted]) -> None:
        calls.append(len(facts))
        mark(f"acted{len(calls)}")(tx)
        if len(calls) == 1:
            raise Unavailable("Down", "for now")

    found.subscribe("one", Counted, act)
    await database.write(lambda tx: found.emit(tx, [Counted(1), Counted(2)]))
    with pytest.raises(Unavailable):
        await found.deliver(database, "one")
    assert await found.deliver(database, "one") == 2
    assert (calls, await marks(database)) == ([2, 2], ["acted2"])
    left = await database.read(lambda conn: conn.execute(sa.select(outbox)).all())
    assert left == []


# --- signals ----------------------------------------------------------------------------------


async def test_a_signal_between_looking_and_waiting_is_not_missed() -> None:
    signals = Signals()
    signals.bind(asyncio.get_running_loop())
    waiter = signals.listen("site:a")
    signals.notify("site:a")
    assert await wait_for(waiter, 30)


async def test_signals_come_from_any_thread_and_to_all_who_listen() -> None:
    signals = Signals()
    signals.bind(asyncio.get_running_loop())
    waiters = [signals.listen("x") for _ in range(5)]
    other = signals.listen("y")
    threading.Thread(target=signals.notify, args=("x", "nobody")).start()
    assert all(await asyncio.gather(*(wait_for(waiter, 30) for waiter in waiters)))
    assert not other.done()
    assert not await wait_for(other, 0.01)


async def test_waiting_leaves_nothing_behind() -> None:
    signals = Signals()
    signals.notify("before anybody is bound")
    signals.bind(asyncio.get_running_loop())
    for _ in range(10):
        assert not await wait_for(signals.listen("x"), 0.001)
        signals.listen("x").cancel()
    await asyncio.sleep(0)
    assert signals._waiters == {}
