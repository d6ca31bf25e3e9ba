"""A query that is built once and run many times, on SQLite straight through its driver.

For a few indexed rows SQLAlchemy's way to the driver costs four times what SQLite asks for them.
Only a query that is under way in the same connection goes straight: what opens a transaction, and
what fails, takes the long way, which knows how to begin and what an error means.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect

from suanwang.platform.schema import Packed

Converter = Callable[[Any], Any]


def _converter_of(column: Any, dialect: Dialect) -> Converter | None:
    if isinstance(column.type, Packed):
        decode = column.type.decode
        return lambda value: None if value is None else decode(value)
    converter: Converter | None = column.type.dialect_impl(dialect).result_processor(dialect, None)
    return converter


class _Direct:
    """The query in SQLite's words, the order of its values, and what its columns go through."""

    __slots__ = ("_converters", "_defaults", "_names", "_sql")

    def __init__(self, query: sa.Select[Any], dialect: Dialect) -> None:
        compiled: Any = query.compile(dialect=dialect)
        self._sql = str(compiled)
        self._names: list[str] = list(compiled.positiontup or ())
        self._defaults: dict[str, Any] = dict(compiled.params)
        found = [
            (place, _converter_of(column, dialect))
            for place, column in enumerate(query.selected_columns)
        ]
        self._converters: list[tuple[int, Converter]] = [
            (place, convert) for place, convert in found if convert is not None
        ]

    def run(self, connection: Connection, values: Mapping[str, Any]) -> list[Sequence[Any]]:
        raw: Any = connection.connection.dbapi_connection
        defaults = self._defaults
        given = [values[name] if name in values else defaults[name] for name in self._names]
        rows: list[Any] = raw.execute(self._sql, given).fetchall()
        if self._converters:
            rows = [self._converted(row) for row in rows]
        return rows

    def _converted(self, row: tuple[Any, ...]) -> list[Any]:
        changed = list(row)
        for place, convert in self._converters:
            changed[place] = convert(changed[place])
        return changed


def is_among(column: sa.Column[Any], room: int) -> sa.ColumnElement[bool]:
    """The column's value is one of a list, whose values `listed` gives."""
    return column.in_(
        [sa.bindparam(f"{column.name}_{place}", type_=column.type) for place in range(room)]
    )


def listed(column: sa.Column[Any], values: Sequence[Any]) -> dict[str, Any]:
    """What `is_among(column, room_for(values))` wants; the last value fills what is left."""
    last = len(values) - 1
    return {f"{column.name}_{place}": values[min(place, last)] for place in range(room_for(values))}


def room_for(values: Sequence[Any]) -> int:
    """A power of two, so that lists of all lengths make few different queries."""
    return 1 << (len(values) - 1).bit_length() if values else 0


class PreparedQuery:
    """Give it a query whose values are `bindparam`s, none of them expanding."""

    __slots__ = ("_direct", "query")

    def __init__(self, query: sa.Select[Any]) -> None:
        self.query = query
        self._direct: _Direct | None = None

    def all(self, conn: Connection, values: Mapping[str, Any]) -> list[Sequence[Any]]:
        """Rows in the order of the query's columns."""
        if conn.dialect.name == "sqlite" and conn.in_transaction():
            direct = self._direct
            if direct is None:
                direct = self._direct = _Direct(self.query, conn.dialect)
            try:
                return direct.run(conn, values)
            except sqlite3.Error:
                pass
        return list(conn.execute(self.query, dict(values)))

    def first(self, conn: Connection, values: Mapping[str, Any]) -> Sequence[Any] | None:
        """Of a query that finds one row at most."""
        rows = self.all(conn, values)
        return rows[0] if rows else None
