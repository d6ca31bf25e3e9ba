"""Databases that have all tables from the start: made once for a process, then copied.

Making them anew costs as much as most tests: some forty tables, each compiled and looked up.
"""

from __future__ import annotations

import sqlite3
from functools import cache

import sqlalchemy as sa

from suanwang.platform.migrations import load_tables


@cache
def _pattern() -> sqlite3.Connection:
    engine = sa.create_engine("sqlite://", connect_args={"check_same_thread": False})
    load_tables().create_all(engine, checkfirst=False)
    with engine.connect() as connection:
        copy = sqlite3.connect(":memory:", check_same_thread=False)
        connection.connection.driver_connection.backup(copy)  # type: ignore[union-attr]
    engine.dispose()
    return copy


def fill(engine: sa.Engine) -> None:
    """All tables of the program into a SQLite database that has none."""
    with engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        _pattern().backup(raw)
