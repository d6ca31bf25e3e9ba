"""Bring the database to the schema of this version: once, whoever starts first.

An empty database gets the tables as the program knows them and the mark of the newest revision;
an older one walks through the revisions in `versions/`, all in one transaction; a newer one is
refused. Processes that start together wait for one another: on PostgreSQL by an advisory lock, on
SQLite by a lock on the database's folder and an exclusive transaction.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection, Engine

from suanwang.kernel.errors import Conflict, require
from suanwang.platform.database import translated
from suanwang.platform.schema import metadata

TABLE_MODULES = (
    "suanwang.platform.outbox",
    "suanwang.platform.leader",
    "suanwang.tenancy.store",
    "suanwang.tenancy.access_store",
    "suanwang.trade.ledger.store",
    "suanwang.trade.billing.store",
    "suanwang.grid.sites.store",
    "suanwang.grid.data.store",
    "suanwang.grid.jobs.tables",
)
"""Every module that adds tables."""

FOLDER = Path(__file__).parent
VERSION_TABLE = "schema_version"
ADVISORY_LOCK = 0x5355414E_57414E47
"""Any number that no other program on the server takes."""
LOCK_WAIT_MS = 600_000


def load_tables() -> sa.MetaData:
    """The metadata with all tables on it."""
    for name in TABLE_MODULES:
        importlib.import_module(name)
    return metadata


def config() -> Config:
    """Alembic's settings, without a file: everything it needs lies in this package."""
    made = Config()
    made.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    return made


def head() -> str:
    """The newest revision that this program knows."""
    found = ScriptDirectory.from_config(config()).get_current_head()
    require(found is not None, "NoRevisions", "The package holds no schema revisions.")
    return str(found)


def current(connection: Connection) -> str | None:
    """The database's revision; None where nobody has marked one."""
    return _context(connection).get_current_revision()


def differences(connection: Connection) -> list[Any]:
    """What keeps the database's tables from being those of this program; empty if nothing."""
    return list(compare_metadata(_context(connection), load_tables()))


def migrate(url: str, *, to: str | None = None) -> None:
    """Raises Conflict for a schema that this program cannot bring up to date.

    `to` names an older revision, for tests and for operators who upgrade step by step.
    """
    load_tables()
    with translated(), _alone(url), _engine(url) as engine:
        if to is None:
            with engine.connect() as connection:
                if current(connection) == head():
                    return
        with engine.connect() as connection, connection.begin():
            if connection.dialect.name == "postgresql":
                lock = sa.text("SELECT pg_advisory_xact_lock(:key)")
                connection.execute(lock, {"key": ADVISORY_LOCK})
            _bring_up(connection, to)


def _bring_up(connection: Connection, to: str | None) -> None:
    found = current(connection)
    steps = config()
    steps.attributes["connection"] = connection
    if found is None:
        tables = set(sa.inspect(connection).get_table_names()) & set(metadata.tables)
        if not tables and to is None:
            metadata.create_all(connection, checkfirst=False)
        elif tables:
            _check_adoptable(connection, len(tables))
        if tables or to is None:
            command.stamp(steps, "head")
            return
    else:
        _check_known(found)
    command.upgrade(steps, to or "head")
    if connection.dialect.name == "sqlite":
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        require(not broken, "ForeignKeysBroken", f"The upgrade left {len(broken)} broken links.")


def _check_known(found: str) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()}
    if found in known:
        return
    raise Conflict(
        "SchemaNewer",
        f"The database has schema {found}; this program knows schemas up to {head()}.",
        hint="Start the version that wrote it, or restore the backup from before that upgrade.",
    )


def _check_adoptable(connection: Connection, tables: int) -> None:
    """Tables without a mark are taken over only if they are exactly ours."""
    missing = differences(connection)
    if missing:
        raise Conflict(
            "SchemaUnknown",
            f"The database has {tables} of our tables but no schema mark, and differs from this "
            f"version in {len(missing)} places.",
            hint="Point the settings at an empty database, or restore a backup.",
        )


def _context(connection: Connection) -> MigrationContext:
    options = {"version_table": VERSION_TABLE, "compare_type": True, "include_object": _ours}
    return MigrationContext.configure(connection, opts=options)


def _ours(_object: Any, name: str | None, kind: str, reflected: bool, _other: Any) -> bool:
    """Tables that an operator keeps beside ours are no business of ours."""
    return not (kind == "table" and reflected and name not in metadata.tables)


@contextlib.contextmanager
def _engine(url: str) -> Iterator[Engine]:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine)
    try:
        yield engine
    finally:
        engine.dispose()


def _prepare_sqlite(engine: Engine) -> None:
    """Rebuilding a table drops it, which foreign keys would resent: they are checked at the end."""

    @sa.event.listens_for(engine, "connect")
    def _on_connect(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in (f"busy_timeout={LOCK_WAIT_MS}", "journal_mode=WAL", "foreign_keys=OFF"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN EXCLUSIVE")


@contextlib.contextmanager
def _alone(url: str) -> Iterator[None]:
    """Switching a new SQLite file to WAL does not wait its turn, so processes queue before it."""
    made = sa.make_url(url)
    if made.get_backend_name() != "sqlite" or not made.database or made.database == ":memory:":
        yield
        return
    folder = os.open(Path(made.database).absolute().parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
