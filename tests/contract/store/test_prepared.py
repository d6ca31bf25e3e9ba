"""Prepared statements give the same on both databases, errors and transactions included."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from suanwang.platform.database import Database, Tx
from suanwang.platform.prepared import ONE_OF, Prepared
from suanwang.platform.schema import Packed

things = sa.Table(
    "prepared_things",
    sa.MetaData(),  # not one of the program's tables
    sa.Column("id", sa.String(10), primary_key=True),
    sa.Column("up", sa.Boolean, nullable=False),
    sa.Column("body", Packed(list[int])),
)
_some = Prepared(
    sa.select(things)
    .where(things.c.id.in_(ONE_OF), things.c.up == sa.bindparam("is_up"))
    .order_by(things.c.id)
    .limit(sa.bindparam("at_most"))
)
_two_lists = Prepared(
    sa.select(things.c.id)
    .where(
        things.c.id.in_(sa.bindparam("these", expanding=True)),
        things.c.id.in_(sa.bindparam("those", expanding=True)),
    )
    .order_by(things.c.id)
)
_all = Prepared(sa.select(things.c.id))
_lower = Prepared(sa.update(things).where(things.c.id.in_(ONE_OF)).values(up=sa.bindparam("to_up")))
_taken = Prepared(sa.delete(things).where(things.c.id == sa.bindparam("of")).returning(things.c.up))
_twice = Prepared(sa.insert(things).values(id="a", up=True))


def _fill(tx: Tx) -> None:
    things.create(tx.conn)
    rows = [{"id": name, "up": name != "d", "body": [1, 2]} for name in "abcd"]
    rows.append({"id": "e", "up": True, "body": None})
    tx.conn.execute(sa.insert(things), rows)


async def test_rows_are_converted_and_lists_have_any_length(any_database: Database) -> None:
    await any_database.write(_fill)

    def look(conn: Connection) -> list[list[tuple[object, ...]]]:
        lists: list[list[str]] = [[], ["a"], ["a", "d", "e"], ["e", "a", "b", "nobody"]]
        return [
            [tuple(row) for row in _some.rows(conn, {"one_of": o, "is_up": True, "at_most": 2})]
            for o in lists
        ]

    a, b, e = ("a", True, [1, 2]), ("b", True, [1, 2]), ("e", True, None)
    assert await any_database.read(look) == [[], [a], [a, e], [a, b]]
    first = await any_database.read(
        lambda conn: _some.first(conn, {"one_of": ["b"], "is_up": True, "at_most": 9})
    )
    assert (first.id, first.up, first.body) == b


async def test_changes_are_counted_and_returned(any_database: Database) -> None:
    await any_database.write(_fill)
    touched = await any_database.write(
        lambda tx: _lower.run(tx.conn, {"one_of": ["a", "b", "x"], "to_up": False})
    )
    assert touched == 2
    assert (await any_database.write(lambda tx: _taken.first(tx.conn, {"of": "a"}))).up is False
    assert await any_database.write(lambda tx: _taken.first(tx.conn, {"of": "a"})) is None


async def test_what_fails_is_undone_and_raises_as_usual(any_database: Database) -> None:
    await any_database.write(_fill)

    def clashes(tx: Tx) -> None:
        _taken.rows(tx.conn, {"of": "b"})
        _twice.run(tx.conn, {})

    with pytest.raises(DBAPIError):
        await any_database.write(clashes)
    assert len(await any_database.read(_all.rows)) == 5


async def test_a_read_sees_one_moment(any_database: Database) -> None:
    """The first statement opens the reader's transaction, as SQLAlchemy's own does."""
    await any_database.write(_fill)
    loop = asyncio.get_running_loop()

    def look_twice(conn: Connection) -> tuple[int, int]:
        before = len(_all.rows(conn))
        writing = any_database.write(lambda tx: _taken.first(tx.conn, {"of": "c"}))
        asyncio.run_coroutine_threadsafe(writing, loop).result()
        return before, len(_all.rows(conn))

    assert await any_database.read(look_twice) == (5, 5)


async def test_a_statement_may_have_several_lists(any_database: Database) -> None:
    await any_database.write(_fill)

    def look(conn: Connection, these: list[str], those: list[str]) -> list[str]:
        return [row.id for row in _two_lists.rows(conn, {"these": these, "those": those})]

    for these, those, both in (
        (["a", "b", "c"], ["c", "a", "d", "e", "x"], ["a", "c"]),
        (["a"], ["a", "b"], ["a"]),
        (["a", "b"], ["a"], ["a"]),
        ([], ["a"], []),
        (["a"], [], []),
    ):
        found = await any_database.read(lambda conn, x=these, y=those: look(conn, x, y))
        assert found == both


async def test_each_look_sees_what_was_just_committed(any_database: Database) -> None:
    """Also on the connection that is kept open for short looks."""
    await any_database.write(_fill)
    seen = [len(await any_database.peek(_all.rows))]
    for name in "ab":
        await any_database.write(lambda tx, of=name: _taken.first(tx.conn, {"of": of}))
        seen.append(len(await any_database.peek(_all.rows)))
        seen.append(len(await any_database.read(_all.rows)))
    assert seen == [5, 4, 4, 3, 3]


async def test_what_cannot_be_asked_fails_as_any_other(any_database: Database) -> None:
    nowhere = sa.Table("prepared_nowhere", sa.MetaData(), sa.Column("id", sa.String(10)))
    missing = Prepared(sa.select(nowhere))
    for _ in range(2):
        with pytest.raises(DBAPIError):
            await any_database.peek(missing.rows)
