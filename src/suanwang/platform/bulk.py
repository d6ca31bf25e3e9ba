"""Many rows into a table with little work for each.

A thousand finished jobs are thousands of rows. Built by SQLAlchemy one by one, they cost several
times what the database asks for them; here rows are plain tuples in the order of the table's
columns and a statement takes many at once. Values go to the driver as they are; `tuples_of`
converts what `Packed` columns need.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import sqlalchemy as sa
from msgspec import msgpack
from sqlalchemy.engine import Connection

from suanwang.platform.schema import Packed

ROWS_PER_STATEMENT = 50


@lru_cache(maxsize=1_024)
def _statement(
    table: sa.Table, rows: int, mark: str, skip: bool, returning: tuple[str, ...]
) -> str:
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    row = f"({', '.join([mark] * len(table.columns))})"
    sql = f'INSERT INTO "{table.name}" ({columns}) VALUES {", ".join([row] * rows)}'
    if skip:
        sql += " ON CONFLICT DO NOTHING"
    if returning:
        sql += " RETURNING " + ", ".join(f'"{name}"' for name in returning)
    return sql


def _insert(
    conn: Connection,
    table: sa.Table,
    rows: Sequence[tuple[Any, ...]],
    skip: bool,
    returning: tuple[str, ...],
) -> list[Any]:
    mark = "%s" if conn.dialect.name == "postgresql" else "?"
    out: list[Any] = []
    for start in range(0, len(rows), ROWS_PER_STATEMENT):
        part = rows[start : start + ROWS_PER_STATEMENT]
        sql = _statement(table, len(part), mark, skip, returning)
        result = conn.exec_driver_sql(sql, tuple(chain.from_iterable(part)))
        if returning:
            out += result.all()
    return out


@lru_cache(maxsize=64)
def _converters(table: sa.Table) -> list[tuple[str, Callable[[Any], Any] | None]]:
    """Column names in order, each with what its values go through (`Packed` ones)."""
    return [
        (column.name, msgpack.encode if isinstance(column.type, Packed) else None)
        for column in table.columns
    ]


def tuples_of(table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """Rows given by column name, converted and in the table's order; every column present."""
    columns = _converters(table)
    return [
        tuple(
            row[name] if convert is None or row[name] is None else convert(row[name])
            for name, convert in columns
        )
        for row in rows
    ]


def insert_rows(conn: Connection, table: sa.Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows, each a tuple of all columns in the table's order."""
    _insert(conn, table, rows, skip=False, returning=())


def insert_new_rows(
    conn: Connection,
    table: sa.Table,
    rows: Sequence[tuple[Any, ...]],
    returning: tuple[str, ...],
) -> list[Any]:
    """Insert the rows that clash with none in the table; the `returning` columns of those.

    On PostgreSQL a row that another transaction is just inserting is waited for, so that of two
    who insert the same row exactly one is told that it was new. Give rows in order of their key:
    then two such transactions never wait for each other in a ring.
    """
    return _insert(conn, table, rows, skip=True, returning=returning)


@lru_cache(maxsize=256)
def _update_statement(table: sa.Table, key: str, columns: tuple[str, ...], mark: str) -> str:
    settings = ", ".join(f'"{name}" = {mark}' for name in columns)
    return f'UPDATE "{table.name}" SET {settings} WHERE "{key}" = {mark}'


def update_rows(
    conn: Connection,
    table: sa.Table,
    key: str,
    columns: tuple[str, ...],
    rows: Sequence[tuple[Any, ...]],
) -> None:
    """Set `columns` of the row that `key` names: each row is the new values, then the key."""
    if rows:
        mark = "%s" if conn.dialect.name == "postgresql" else "?"
        conn.exec_driver_sql(_update_statement(table, key, columns, mark), list(rows))
