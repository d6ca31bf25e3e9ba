"""One database, two kinds: SQLite (WAL, one writer thread, group commit) and PostgreSQL.

Use cases are plain functions of a `Tx`. `Database.write(fn)` runs one in a transaction and
returns after the commit; on SQLite the writer thread takes whatever is waiting, gives each use
case a savepoint and commits them together, so that a commit to disk is shared. `read(fn)` runs a
function of a connection outside any write.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool, StaticPool

from suanwang.kernel.errors import StaleWrite, Unavailable
from suanwang.kernel.ids import IdFactory
from suanwang.kernel.time import Clock, Random

T = TypeVar("T")
GROUP_LIMIT = 128
POSTGRES_TRIES = 8
CONFLICTS = ("40001", "40P01")
"""SQLSTATE of a serialisation failure and of a deadlock: the same use case may simply run again."""
DISK_FULL = ("database or disk is full", "No space left on device")


class Tx:
    """One transaction of one use case: connection, instant, ids, and what to do after it."""

    __slots__ = ("_after_commit", "conn", "ids", "now_ms")

    def __init__(self, conn: Connection, now_ms: int, ids: IdFactory) -> None:
        self.conn = conn
        self.now_ms = now_ms
        self.ids = ids
        self._after_commit: list[Callable[[], None]] = []

    def after_commit(self, action: Callable[[], None]) -> None:
        """Run once the transaction is durable (wake a poller, say). Quick and thread-safe only."""
        self._after_commit.append(action)

    @property
    def is_postgres(self) -> bool:
        return self.conn.dialect.name == "postgresql"

    def serialise(self, name: str) -> None:
        """Until this transaction ends no other passes here with this name.

        For deciding on what is not there yet: rows that exist are locked themselves. SQLite has
        one writer, so there it is true already.
        """
        if self.is_postgres:
            query = sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
            self.conn.execute(query, {"name": name})

    def share(self, name: str) -> None:
        """Until this transaction ends nobody passes `serialise` with this name; others share."""
        if self.is_postgres:
            query = sa.text("SELECT pg_advisory_xact_lock_shared(hashtextextended(:name, 0))")
            self.conn.execute(query, {"name": name})

    def committed(self) -> None:
        for action in self._after_commit:
            action()


UseCase = Callable[[Tx], T]


class Database(Protocol):
    """What services see. Both kinds and the simulation's inline one satisfy it."""

    engine: Engine

    async def read(self, query: Callable[[Connection], T]) -> T: ...

    async def peek(self, query: Callable[[Connection], T]) -> T:
        """A read of a few indexed rows. On SQLite it runs at once, on the loop's own thread:
        the way to another thread and back would cost more than the answer."""
        ...

    async def write(self, use_case: UseCase[T]) -> T: ...

    async def close(self) -> None: ...


def translate(error: DBAPIError) -> Exception:
    """Database troubles in the error tree: transient ones may be tried again."""
    text = str(error.orig)
    if any(sign in text for sign in DISK_FULL):
        return Unavailable(
            "DiskFull",
            "The database has no disk space left.",
            hint="Free space on the server's disk; nothing was written.",
        )
    if getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
        return error  # a statement that is wrong is wrong again the next time
    lost = error.connection_invalidated or isinstance(error, InternalError)
    if lost or isinstance(error, OperationalError):
        return Unavailable(
            "DatabaseUnavailable", "The database does not answer.", hint="Try again shortly."
        )
    return error


@contextmanager
def translated(troubles: Counter[str] | None = None) -> Iterator[None]:
    """The database's own errors leave as those of the error tree; transient ones are counted."""
    try:
        yield
    except DBAPIError as error:
        trouble = translate(error)
        if troubles is not None and isinstance(trouble, Unavailable):
            troubles[trouble.reason] += 1
        raise trouble from error
    except PoolTimeout as error:
        if troubles is not None:
            troubles["DatabaseBusy"] += 1
        raise Unavailable(
            "DatabaseBusy", "All connections to the database are in use.", hint="Try again shortly."
        ) from error


def _configure_sqlite(engine: Engine, *, begin: str | None) -> None:
    @sa.event.listens_for(engine, "connect")
    def _on_connect(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        cursor = connection.cursor()
        for pragma in (
            "busy_timeout=30000",
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "cache_size=-65536",
            "temp_store=MEMORY",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        if begin is not None:
            connection.exec_driver_sql(begin)


def sqlite_engine(url: str, *, writer: bool) -> Engine:
    """Writer: a single connection that takes the write lock at BEGIN. Reader: a small pool."""
    memory = ":memory:" in url or url == "sqlite://"
    engine = sa.create_engine(
        url,
        poolclass=StaticPool if writer or memory else QueuePool,
        connect_args={"check_same_thread": False},
        hide_parameters=True,  # errors go to the log
    )
    _configure_sqlite(engine, begin="BEGIN IMMEDIATE" if writer else "BEGIN")
    return engine


def peeking_connection(url: str) -> Connection:
    """One connection whose transactions are begun and ended by who peeks."""
    engine = sa.create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})
    _configure_sqlite(engine, begin=None)
    return engine.connect()


class _Work:
    __slots__ = ("future", "use_case")

    def __init__(self, use_case: UseCase[Any]) -> None:
        self.use_case = use_case
        self.future: Future[Any] = Future()


class SqliteDatabase:
    """SQLite behind one writer thread."""

    def __init__(self, url: str, clock: Clock, random: Random, *, readers: int = 4) -> None:
        self.engine = sqlite_engine(url, writer=True)
        self._reader = sqlite_engine(url, writer=False)
        self._peeking = peeking_connection(url)
        self.troubles: Counter[str] = Counter()
        self._clock = clock
        self._ids = IdFactory(clock, random)
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._executor = ThreadPoolExecutor(readers, thread_name_prefix="db-read")
        self._thread = threading.Thread(target=self._run, name="db-write", daemon=True)
        self._thread.start()

    async def read(self, query: Callable[[Connection], T]) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self.read_now, query)

    async def peek(self, query: Callable[[Connection], T]) -> T:
        # one transaction, told to the driver: all statements see one commit, and lock once
        raw: Any = self._peeking.connection.driver_connection
        with translated(self.troubles):
            raw.execute("BEGIN")
            try:
                return query(self._peeking)
            finally:
                raw.rollback()

    def read_now(self, query: Callable[[Connection], T]) -> T:
        with translated(self.troubles), self._reader.connect() as connection:
            return query(connection)

    async def write(self, use_case: UseCase[T]) -> T:
        context = contextvars.copy_context()
        work = _Work(lambda tx: context.run(use_case, tx))
        self._queue.put(work)
        result: T = await asyncio.wrap_future(work.future)
        return result

    async def close(self) -> None:
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)
        self._executor.shutdown(wait=True)
        self._peeking.close()
        self._peeking.engine.dispose()
        self._reader.dispose()
        self.engine.dispose()

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            group = [work]
            stop = False
            while len(group) < GROUP_LIMIT and not self._queue.empty():
                following = self._queue.get()
                if following is None:
                    stop = True
                    break
                group.append(following)
            self._commit(group)
            if stop:
                return

    def _commit(self, group: list[_Work]) -> None:
        """Each use case in a savepoint, all of them under one commit."""
        # from here on its caller can no longer withdraw a use case, only stop waiting for it
        group = [work for work in group if work.future.set_running_or_notify_cancel()]
        done: list[tuple[_Work, Tx, Any]] = []
        failed: list[tuple[_Work, BaseException]] = []
        try:
            with translated(), self.engine.connect() as connection, connection.begin():
                for work in group:
                    tx = Tx(connection, self._clock.now_ms(), self._ids)
                    try:
                        done.append((work, tx, _in_savepoint(connection, work, tx)))
                    except _TransactionLost:
                        raise
                    except DBAPIError as error:
                        failed.append((work, translate(error)))
                    except Exception as error:
                        failed.append((work, error))
        except _TransactionLost as lost:
            failed = [(work, lost.trouble) for work in group]
            done = []
        except Exception as trouble:
            failed = [(work, trouble) for work in group]
            done = []
        for work, tx, result in done:
            tx.committed()
            work.future.set_result(result)
        for work, reason in failed:
            if isinstance(reason, Unavailable):
                self.troubles[reason.reason] += 1
            work.future.set_exception(reason)


class _TransactionLost(Exception):
    """SQLite gave up the whole transaction (a full disk does that), not just one statement."""

    def __init__(self, trouble: Exception) -> None:
        super().__init__(str(trouble))
        self.trouble = trouble


def _in_savepoint(connection: Connection, work: _Work, tx: Tx) -> Any:
    savepoint = connection.begin_nested()
    try:
        result = work.use_case(tx)
        savepoint.commit()
    except Exception as error:
        raw: Any = connection.connection.driver_connection
        if not raw.in_transaction:
            # going on would write what follows outside of any transaction
            raise _TransactionLost(
                translate(error) if isinstance(error, DBAPIError) else error
            ) from error
        savepoint.rollback()
        raise
    return result


class PostgresDatabase:
    """PostgreSQL: a pool of connections used from threads; conflicts are tried again."""

    def __init__(self, url: str, clock: Clock, random: Random, *, connections: int = 8) -> None:
        self.engine = sa.create_engine(
            url,
            pool_size=connections,
            max_overflow=0,
            pool_pre_ping=True,
            pool_timeout=10,
            hide_parameters=True,  # errors go to the log
        )
        # a query sees one moment, as a reader of SQLite does
        self._reader = self.engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        self._clock = clock
        self._random = random
        self.troubles: Counter[str] = Counter()
        self._ids = IdFactory(clock, random)
        self._executor = ThreadPoolExecutor(connections, thread_name_prefix="db")

    async def peek(self, query: Callable[[Connection], T]) -> T:
        return await self.read(query)

    async def read(self, query: Callable[[Connection], T]) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self.read_now, query)

    def read_now(self, query: Callable[[Connection], T]) -> T:
        with translated(self.troubles), self._reader.connect() as connection:
            return query(connection)

    async def write(self, use_case: UseCase[T]) -> T:
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, context.run, self._write, use_case)

    def _write(self, use_case: UseCase[T]) -> T:
        for attempt in range(POSTGRES_TRIES):
            try:
                with translated(), self.engine.begin() as connection:
                    tx = Tx(connection, self._clock.now_ms(), self._ids)
                    result = use_case(tx)
            except Exception as error:
                if not _is_conflict(error):
                    if isinstance(error, Unavailable):
                        self.troubles[error.reason] += 1
                    raise
                self.troubles["Conflict"] += 1
                time.sleep(0.001 * (1 << attempt) * (1 + self._random.getrandbits(8) / 256))
                continue
            tx.committed()
            return result
        raise StaleWrite(
            "Conflict", "The database stayed busy with conflicting writes.", hint="Try again."
        )

    async def close(self) -> None:
        self._executor.shutdown(wait=True)
        self.engine.dispose()


def _is_conflict(error: Exception) -> bool:
    cause = error if isinstance(error, DBAPIError) else error.__cause__
    orig = getattr(cause, "orig", None)
    return getattr(orig, "sqlstate", None) in CONFLICTS


class InlineDatabase:
    """In memory, on the caller's own thread: for the simulation and for unit tests.

    `faults` may raise at a read, before a commit and after one, as a store does that dies at the
    wrong moment.
    """

    def __init__(
        self,
        clock: Clock,
        random: Random,
        *,
        connection: Connection | None = None,
        faults: Callable[[str], Awaitable[None] | None] | None = None,
    ) -> None:
        """`connection`: one of `peeking_connection`, to use again what it has compiled."""
        self._connection = connection or peeking_connection("sqlite://")
        self.engine = self._connection.engine
        self._clock = clock
        self._ids = IdFactory(clock, random)
        self._faults = faults

    async def read(self, query: Callable[[Connection], T]) -> T:
        if self._faults is not None:
            self._faults("read")
        return self.read_now(query)

    async def peek(self, query: Callable[[Connection], T]) -> T:
        return await self.read(query)

    def read_now(self, query: Callable[[Connection], T]) -> T:
        return query(self._connection)

    async def write(self, use_case: UseCase[T]) -> T:
        if self._faults is not None:
            self._faults("before_commit")
        result = self.write_now(use_case)
        if self._faults is not None:
            self._faults("after_commit")
        return result

    def write_now(self, use_case: UseCase[T]) -> T:
        # one connection kept open, its transaction told to the driver: a hundred thousand short
        # ones in a run cost more in the making than in the database
        raw: Any = self._connection.connection.driver_connection
        raw.execute("BEGIN IMMEDIATE")
        try:
            tx = Tx(self._connection, self._clock.now_ms(), self._ids)
            result = use_case(tx)
        except BaseException:
            raw.rollback()
            raise
        raw.commit()
        tx.committed()
        return result

    async def close(self) -> None:
        self._connection.close()
        self.engine.dispose()


def open_database(url: str, clock: Clock, random: Random) -> SqliteDatabase | PostgresDatabase:
    """By the URL's scheme: sqlite:///FILE or postgresql+psycopg://…"""
    if url.startswith("sqlite"):
        return SqliteDatabase(url, clock, random)
    return PostgresDatabase(url, clock, random)


__all__ = [
    "Database",
    "InlineDatabase",
    "PostgresDatabase",
    "SqliteDatabase",
    "Tx",
    "UseCase",
    "open_database",
]
