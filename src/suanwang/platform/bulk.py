"""Many rows into a table with little work for each.

A thousand finished jobs are thousands of rows. Built by SQLAlchemy one by one, they cost several
times what the database asks for them; here rows are plain tuples in the order of the table's
columns and a statement takes many at once. Values go to the driver as they are; `tuples_of`
converts what `Packed` columns need.

PostgreSQL is given an array for each column, which it unfolds: there the driver reads a statement
anew each time, and thousands of marks in it cost more than the rows. The arrays are written here
as PostgreSQL reads them (its manual, 8.15.2): the driver's own lists take seven times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import sqlalchemy as sa
from msgspec import msgpack
from sqlalchemy.engine import Connection

from suanwang.platform.prepared import ask_sqlite
from suanwang.platform.schema import Packed

ROWS_PER_STATEMENT = 50
ROWS_PER_ARRAY = 2_000
_ARRAYS: tuple[tuple[type[Any], str], ...] = (
    (sa.Boolean, "boolean[]"),
    (sa.BigInteger, "bigint[]"),
    (sa.Integer, "integer[]"),
    (sa.Float, "double precision[]"),
    (sa.String, "text[]"),
    (sa.LargeBinary, "bytea[]"),
)


def _array_of(column: sa.Column[Any]) -> str:
    kind = column.type.impl if isinstance(column.type, Packed) else column.type
    return next(name for base, name in _ARRAYS if isinstance(kind, base))


def _unfolded(columns: Sequence[sa.Column[Any]]) -> str:
    return f"unnest({', '.join(f'%s::{_array_of(column)}' for column in columns)})"


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{quoted}"'
    if isinstance(value, bytes):
        return f'"\\\\x{value.hex()}"'
    return str(value)


def array_literal(values: Sequence[Any]) -> str:
    """Of booleans, integers, floats, texts or bytes, any of them None, as PostgreSQL reads it."""
    return f"{{{','.join(map(_literal, values))}}}"


def _arrays(rows: Sequence[tuple[Any, ...]]) -> tuple[str, ...]:
    return tuple(map(array_literal, zip(*rows, strict=True)))


@lru_cache(maxsize=1_024)
def _statement(
    table: sa.Table, rows: int, postgres: bool, skip: bool, returning: tuple[str, ...]
) -> str:
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    if postgres:
        source = f"SELECT * FROM {_unfolded(list(table.columns))}"
    else:
        row = f"({', '.join('?' * len(table.columns))})"
        source = f"VALUES {', '.join([row] * rows)}"
    sql = f'INSERT INTO "{table.name}" ({columns}) {source}'
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
    postgres = conn.dialect.name == "postgresql"
    step = ROWS_PER_ARRAY if postgres else ROWS_PER_STATEMENT
    out: list[Any] = []
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        sql = _statement(table, 0 if postgres else len(part), postgres, skip, returning)
        if postgres:
            result = conn.exec_driver_sql(sql, _arrays(part))
            out += result.all() if returning else ()
        else:
            out += ask_sqlite(conn, sql, _flat(part)).fetchall()
    return out


def _flat(rows: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    return tuple(chain.from_iterable(rows))


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
def _update_statement(table: sa.Table, key: str, columns: tuple[str, ...], postgres: bool) -> str:
    if not postgres:
        settings = ", ".join(f'"{name}" = ?' for name in columns)
        return f'UPDATE "{table.name}" SET {settings} WHERE "{key}" = ?'
    names = [*columns, key]
    settings = ", ".join(f'"{name}" = new."{name}"' for name in columns)
    unfolded = _unfolded([table.c[name] for name in names])
    listed = ", ".join(f'"{name}"' for name in names)
    return (
        f'UPDATE "{table.name}" AS old SET {settings} FROM {unfolded} AS new ({listed})'
        f' WHERE old."{key}" = new."{key}"'
    )


def update_rows(
    conn: Connection,
    table: sa.Table,
    key: str,
    columns: tuple[str, ...],
    rows: Sequence[tuple[Any, ...]],
) -> None:
    """Set `columns` of the row that `key` names: each row is the new values, then the key.

    Each key once, and its row locked before: PostgreSQL takes them in an order of its own.
    """
    if not rows:
        return
    postgres = conn.dialect.name == "postgresql"
    sql = _update_statement(table, key, columns, postgres)
    if not postgres:
        ask_sqlite(conn, sql, rows, many=True)
        return
    for start in range(0, len(rows), ROWS_PER_ARRAY):
        part = rows[start : start + ROWS_PER_ARRAY]
        conn.exec_driver_sql(sql, _arrays(part))


def update_row(
    conn: Connection, table: sa.Table, key: str, value: Any, changes: Mapping[str, Any]
) -> None:
    """Set columns, by name, of the row whose `key` is `value`; `Packed` ones are packed here."""
    converters = dict(_converters(table))
    row = [
        one if (convert := converters[name]) is None or one is None else convert(one)
        for name, one in changes.items()
    ]
    update_rows(conn, table, key, tuple(changes), [(*row, value)])
