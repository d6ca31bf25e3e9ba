"""Bring the database to the schema of this version: once, whoever starts first.

An empty database gets the tables as the program knows them and the mark of the newest revision;
an older one walks through the revisions in `versions/`, all in one transaction; a newer one is
refused. Processes that start together wait for one another: on PostgreSQL by an advisory lock, on
SQLite by a lock on the database's folder and an exclusive transaction. Alembic (`revisions`) is
loaded only where there is something to walk through.
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
from sqlalchemy.engine import Connection, Engine

from suanwang.kernel.errors import require
from suanwang.platform.database import translated
from suanwang.platform.schema import metadata

TABLE_MODULES = (
    "suanwang.platform.outbox",
    "suanwang.platform.leader",
    "suanwang.tenancy.store",
    "suanwang.tenancy.access_store",
    "suanwang.trade.catalogue.store",
    "suanwang.trade.ledger.store",
    "suanwang.trade.billing.store",
    "suanwang.trade.contracts.store",
    "suanwang.trade.market.orders_store",
    "suanwang.trade.market.listings_store",
    "suanwang.trade.market.alerts_store",
    "suanwang.trade.settlement.store",
    "suanwang.trade.settlement.invoice_store",
    "suanwang.trade.settlement.dispute_store",
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

_mark = sa.Table(
    VERSION_TABLE,
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name=f"{VERSION_TABLE}_pkc"),
)
"""As Alembic would make it, which takes longer to load than the tables take to make."""


def load_tables() -> sa.MetaData:
    """The metadata with all tables on it."""
    for name in TABLE_MODULES:
        importlib.import_module(name)
    return metadata


def head() -> str:
    """The newest revision that this program knows; its number is in the name of its file."""
    found = sorted(path.name[1:5] for path in (FOLDER / "versions").glob("r[0-9]*.py"))
    require(bool(found), "NoRevisions", "The package holds no schema revisions.")
    return found[-1]


def current(connection: Connection) -> str | None:
    """The database's revision; None where nobody has marked one."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(sa.select(_mark.c.version_num)).scalar_one_or_none()


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
    tables = set(sa.inspect(connection).get_table_names()) & set(metadata.tables)
    if found is None and not tables and to is None:
        metadata.create_all(connection, checkfirst=False)
        _mark.create(connection)
        connection.execute(sa.insert(_mark), [{"version_num": head()}])
        return
    from suanwang.platform.migrations import revisions

    if found is None and tables:
        revisions.adopt(connection, len(tables))
        return
    revisions.upgrade(connection, found, to or "head")
    if connection.dialect.name == "sqlite":
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        require(not broken, "ForeignKeysBroken", f"The upgrade left {len(broken)} broken links.")


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
