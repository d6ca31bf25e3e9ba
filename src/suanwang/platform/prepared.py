"""Statements asked all day: written with SQLAlchemy, compiled once, run close to the driver.

For a query of a few indexed rows SQLAlchemy's way through caches, contexts and result objects
costs several times what SQLite asks. A `Prepared` statement keeps the text, the order of its
parameters and the columns that need converting, and gives plain tuples. PostgreSQL takes the
usual way: there the journey to the server costs more than all of that.
"""

from __future__ import annotations

import re
import sqlite3
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.exc import DBAPIError

from suanwang.platform.schema import Packed

ONE_OF: sa.BindParameter[Any] = sa.bindparam("one_of", expanding=True)
"""For the IN list of a statement that has one; with several, give each an expanding `bindparam`."""
_MARK = re.compile(r"__\[POSTCOMPILE_(\w+)\]")
_SQLITE_ERROR: type[Exception] = sqlite3.Error


@dataclass(slots=True)
class _Plan:
    """How SQLite is asked: text, parameters in order, what converts which column."""

    text: str
    names: list[str]
    given: Mapping[str, Any]
    lists: frozenset[str]
    convert: list[tuple[int, Callable[[Any], Any]]]
    row: Callable[[Any], Any]
    texts: dict[tuple[int, ...], str] = field(default_factory=dict)
    """By the room of the IN lists, in the order of the names."""

    def bound(self, values: Mapping[str, Any]) -> tuple[str, list[Any]]:
        given = self.given
        if not self.lists:
            return self.text, [values[n] if n in values else given[n] for n in self.names]
        parameters: list[Any] = []
        rooms: list[int] = []
        for name in self.names:
            if name in self.lists:
                some = values[name] if name in values else given[name]
                room = _room_for(len(some))
                parameters.extend(some)
                parameters.extend(some[-1:] * (room - len(some)))
                rooms.append(room)
            else:
                parameters.append(values[name] if name in values else given[name])
        key = tuple(rooms)
        text = self.texts.get(key)
        if text is None:
            left = iter(rooms)
            text = _MARK.sub(lambda _: ", ".join("?" * next(left)) or "NULL", self.text)
            self.texts[key] = text
        return text, parameters


def _room_for(length: int) -> int:
    """A power of two (the last value fills what is left): few texts for lists of all lengths."""
    return 1 << (length - 1).bit_length() if length else 0


def _converter(column: Any, dialect: Dialect) -> Callable[[Any], Any] | None:
    if isinstance(column.type, Packed):
        decode = column.type.decode
        return lambda value: None if value is None else decode(value)
    kind = column.type.dialect_impl(dialect)
    found: Callable[[Any], Any] | None = kind.result_processor(dialect, None)
    return found


def _row_of(names: Sequence[str]) -> Callable[[Sequence[Any]], Any]:
    made: Any = namedtuple("Row", names, rename=True)  # type: ignore[misc]
    make: Callable[[Sequence[Any]], Any] = made._make
    return make


def ask_sqlite(
    conn: Connection, text: str, parameters: Sequence[Any], *, many: bool = False
) -> sqlite3.Cursor:
    """The driver itself, within the connection's transaction; its errors are SQLAlchemy's.
    `many`: the parameters are a list of those of one statement each."""
    if not conn.in_transaction():
        conn.begin()  # as SQLAlchemy's own first statement does
    raw: Any = conn.connection.driver_connection
    try:
        ask = raw.executemany if many else raw.execute
        cursor: sqlite3.Cursor = ask(text, parameters)
    except sqlite3.Error as error:
        raise DBAPIError.instance(text, parameters, error, _SQLITE_ERROR) from error
    return cursor


class Prepared:
    """One statement; values are given by the names of its `bindparam`s, and need no converting."""

    __slots__ = ("_make", "_plan", "_statement")

    def __init__(self, statement: Any, make: Callable[[list[Any]], Any] | None = None) -> None:
        """`make` gets the columns of a row, in a list of its own, and gives what stands for it."""
        self._statement = statement
        self._make = make
        self._plan: _Plan | None = None

    def _plan_for(self, conn: Connection) -> _Plan:
        if self._plan is None:
            self._plan = self._planned(conn.dialect)
        return self._plan

    def _planned(self, dialect: Dialect) -> _Plan:
        compiled = self._statement.compile(dialect=dialect)
        columns = getattr(self._statement, "exported_columns", ())
        converters = [_converter(column, dialect) for column in columns]
        return _Plan(
            text=str(compiled),
            names=list(compiled.positiontup or ()),
            given=dict(compiled.params),
            lists=frozenset(_MARK.findall(str(compiled))),
            convert=[(index, one) for index, one in enumerate(converters) if one is not None],
            row=self._make or _row_of([column.name for column in columns]),
        )

    def rows(self, conn: Connection, values: Mapping[str, Any] | None = None) -> Sequence[Any]:
        """All of them: tuples in the order of the columns, which have their names too; or what
        `make` made of them."""
        make = self._make
        if conn.dialect.name != "sqlite":
            found = conn.execute(self._statement, values or {}).all()
            return found if make is None else [make(list(row)) for row in found]
        plan = self._plan_for(conn)
        rows = ask_sqlite(conn, *plan.bound(values or {})).fetchall()
        if make is None and not plan.convert:
            return list(map(plan.row, rows))
        made = []
        for row in rows:
            cells = list(row)
            for index, convert in plan.convert:
                cells[index] = convert(cells[index])
            made.append(plan.row(cells))
        return made

    def first(self, conn: Connection, values: Mapping[str, Any] | None = None) -> Any:
        """The first row, or None."""
        found = self.rows(conn, values)
        return found[0] if found else None

    def run(self, conn: Connection, values: Mapping[str, Any]) -> int:
        """For a statement that returns no rows: how many it touched."""
        if conn.dialect.name != "sqlite":
            touched: int = conn.execute(self._statement, values).rowcount
            return touched
        return ask_sqlite(conn, *self._plan_for(conn).bound(values)).rowcount

    def run_all(self, conn: Connection, values: Sequence[Mapping[str, Any]]) -> int:
        """`run` once for each of the values (no IN lists): how many rows all of them touched."""
        if not values:
            return 0
        if conn.dialect.name != "sqlite":
            touched: int = conn.execute(self._statement, values).rowcount
            return touched
        plan = self._plan_for(conn)
        parameters = [plan.bound(one)[1] for one in values]
        return ask_sqlite(conn, plan.text, parameters, many=True).rowcount
