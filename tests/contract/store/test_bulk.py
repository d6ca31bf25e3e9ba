"""Rows written many at once are read back as they were given, whatever stands in them."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from suanwang.platform.bulk import insert_new_rows, insert_rows, update_rows

TEXTS = [
    "",
    " ",
    "NULL",
    "null",
    '"',
    "\\",
    '\\"',
    "{",
    "}",
    "{1,2}",
    ",",
    "'",
    "\n\t\r",
    "算力券",
    "x" * 5_000,
]
BYTES = [b"", bytes(range(256)), b"\\x41", b"{}\"'"]


@pytest.fixture
async def table(any_database: Any) -> Any:
    made = sa.Table(
        "odd_values",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("text", sa.String, nullable=True),
        sa.Column("large", sa.BigInteger, nullable=True),
        sa.Column("real", sa.Float, nullable=True),
        sa.Column("flag", sa.Boolean, nullable=True),
        sa.Column("body", sa.LargeBinary, nullable=True),
    )
    await any_database.write(lambda tx: made.create(tx.conn))
    return made


def odd_rows() -> list[tuple[Any, ...]]:
    return [
        (at, text, (-1) ** at * (2**63 - 1 - at), at / 7, bool(at % 2), BYTES[at % len(BYTES)])
        for at, text in enumerate(TEXTS)
    ] + [(len(TEXTS), None, None, None, None, None)]


async def test_odd_values_come_back_as_they_were(any_database: Any, table: Any) -> None:
    rows = odd_rows()

    def use_case(tx: Any) -> list[Any]:
        insert_rows(tx.conn, table, rows[:5])
        return insert_new_rows(tx.conn, table, rows, ("id",))

    new = await any_database.write(use_case)
    assert sorted(row[0] for row in new) == [row[0] for row in rows[5:]]
    found = await any_database.read(
        lambda conn: [tuple(row) for row in conn.execute(sa.select(table).order_by(table.c.id))]
    )
    assert found == rows


async def test_odd_values_are_set_as_they_are(any_database: Any, table: Any) -> None:
    rows = odd_rows()
    await any_database.write(
        lambda tx: insert_rows(tx.conn, table, [(row[0], *[None] * 5) for row in rows])
    )
    columns = ("text", "large", "real", "flag", "body")
    changed = [(*row[1:], row[0]) for row in rows]
    await any_database.write(lambda tx: update_rows(tx.conn, table, "id", columns, changed))
    found = await any_database.read(
        lambda conn: [tuple(row) for row in conn.execute(sa.select(table).order_by(table.c.id))]
    )
    assert found == rows
