"""Use cases of the daily close. First the day is shut, then it is counted: nobody waits for that.

Shutting is one short transaction that moves the ledger's first open instant. What is before it
cannot change any more, so counting needs no lock, may be broken off and begun again, and gives the
same digest to whoever counts.
"""

from __future__ import annotations

from functools import partial

from sqlalchemy.engine import Connection

from suanwang.kernel.errors import NotFound
from suanwang.platform.database import Database, Tx
from suanwang.trade.billing.rules import date_text
from suanwang.trade.ledger import service as ledger
from suanwang.trade.settlement import rules, store
from suanwang.trade.settlement.model import DayClose


def day_to_close(conn: Connection) -> int | None:
    """The day whose turn it is; None while nothing is booked."""
    last = store.last_close(conn)
    return rules.next_day(last.day if last else None, _first_posting(conn, last))


def _first_posting(conn: Connection, last: DayClose | None) -> int | None:
    return None if last is not None else ledger.first_posting_ms(conn)


async def close_day(database: Database, day: int, now_ms: int, *, by: str) -> DayClose:
    """Close a day, the next in turn; one that is closed already is told as it was.

    Raises Conflict where an earlier day is open or this one is not over, InvariantViolated where
    the books do not balance: then the day stays uncounted, and shut.
    """
    found = await database.read(lambda conn: store.find_close(conn, day))
    if found is not None:
        return found
    await database.write(partial(_shut, day=day, now_ms=now_ms))
    made = await database.read(partial(_counted, day=day, now_ms=now_ms, by=by))
    return await database.write(partial(_keep, made=made))


def _shut(tx: Tx, day: int, now_ms: int) -> None:
    if store.find_close(tx.conn, day) is not None:
        return
    rules.check_day(day, day_to_close(tx.conn), now_ms)
    ledger.shut_before(tx, rules.start_of(day + 1))


def _counted(conn: Connection, day: int, now_ms: int, by: str) -> DayClose:
    before = store.find_close(conn, day - 1)
    return count(conn, day, before, now_ms=now_ms, by=by)


def count(conn: Connection, day: int, before: DayClose | None, *, now_ms: int, by: str) -> DayClose:
    """The day as its postings have it; `before` is yesterday's close."""
    from_ms = rules.start_of(day) if before else 0
    until_ms = rules.start_of(day + 1)
    leaves = ledger.leaves(conn, from_ms, until_ms)
    lines, postings, digest = rules.trial_of(
        before.lines if before else (), leaves, before.digest if before else "", day
    )
    return DayClose(day, until_ms, postings, digest, now_ms, by, lines)


def _keep(tx: Tx, made: DayClose) -> DayClose:
    if store.insert_close(tx.conn, made):
        return made
    found = store.find_close(tx.conn, made.day)
    return made if found is None else found


async def close_due(database: Database, now_ms: int, after_hours: int, *, by: str) -> int:
    """Close every day that has been over for so long; how many that were."""
    closed = 0
    while True:
        day = await database.read(day_to_close)
        if day is None or not rules.is_due(day, now_ms, after_hours):
            return closed
        await close_day(database, day, now_ms, by=by)
        closed += 1


def closes(conn: Connection, *, before: int | None = None, limit: int = 50) -> list[DayClose]:
    """Closed days, the latest first; those before a day, if one is given."""
    return store.page_of_closes(conn, before, limit)


def find(conn: Connection, day: int) -> DayClose:
    """Raises NotFound."""
    found = store.find_close(conn, day)
    if found is None:
        raise NotFound(
            "DayNotClosed", f"{date_text(day)} is not closed.", hint="`suan close ls` has those."
        )
    return found


def is_closed(conn: Connection, day: int) -> bool:
    return store.find_close(conn, day) is not None


def last(conn: Connection) -> DayClose | None:
    return store.last_close(conn)


def recount(conn: Connection, day: int) -> DayClose:
    """A closed day counted anew: its digest and lines must be those that were kept."""
    kept = find(conn, day)
    before = store.find_close(conn, day - 1)
    return count(conn, day, before, now_ms=kept.closed_at_ms, by=kept.closed_by)
