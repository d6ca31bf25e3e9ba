"""The statements of a day's close: how far the books are shut, and what a span has in postings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from suanwang.kernel.time import MS_PER_HOUR
from suanwang.platform.prepared import Prepared
from suanwang.trade.ledger.model import AccountKind, EntryKind, Leaf
from suanwang.trade.ledger.store import accounts, books, entries, postings

BOOKS_LOCK = "ledger.books"
BOOKS = 1
_OPEN_FROM = Prepared(sa.select(books.c.open_from_ms).where(books.c.id == BOOKS))

# The server hashes what it groups: what travels is a row for each account and hour.
_LEAVES = sa.text(
    r"""
SELECT a.id, a.currency, a.kind, l.hour, l.postings, l.debit, l.credit, l.digest
FROM accounts a JOIN (
  SELECT account_id, at_ms / 3600000 AS hour, count(*) AS postings,
    sum(least(amount, 0)) AS debit, sum(greatest(amount, 0)) AS credit,
    encode(sha256(convert_to(string_agg(
      entry_id || ' ' || at_ms || ' ' || kind || ' ' || amount || E'\n', ''
      ORDER BY at_ms, entry_id), 'UTF8')), 'hex') AS digest
  FROM postings WHERE at_ms >= :from_ms AND at_ms < :until_ms
  GROUP BY 1, 2) l ON l.account_id = a.id
ORDER BY a.id, l.hour
"""
)
_SORT_MEMORY = "SET LOCAL work_mem = '256MB'"


def open_from_ms(conn: Connection) -> int:
    found = _OPEN_FROM.first(conn)
    return 0 if found is None else int(found[0])


def shut_before(conn: Connection, at_ms: int) -> None:
    """Never back: an instant that is shut stays so."""
    found = open_from_ms(conn)
    if found:
        if at_ms > found:
            conn.execute(sa.update(books).values(open_from_ms=at_ms))
    else:
        conn.execute(sa.insert(books).values(id=BOOKS, open_from_ms=at_ms))


def first_posting_ms(conn: Connection) -> int | None:
    """Asked before the first close only: it looks at every entry."""
    found: int | None = conn.execute(sa.select(sa.func.min(entries.c.at_ms))).scalar()
    return found


def leaves(conn: Connection, from_ms: int, until_ms: int) -> Iterator[Leaf]:
    """By account and hour, in that order, of the postings that count in [from, until)."""
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql(_SORT_MEMORY)
        span = {"from_ms": from_ms, "until_ms": until_ms}
        for row in conn.execute(_LEAVES, span):
            yield Leaf(
                row.id,
                row.currency,
                AccountKind(row.kind),
                row.hour,
                row.postings,
                int(row.debit),
                int(row.credit),
                row.digest,
            )
        return
    # a range of the table's own tree for each account: SQLite need not look at other days
    query = (
        sa.select(
            accounts.c.id,
            accounts.c.currency,
            accounts.c.kind,
            postings.c.entry_id,
            postings.c.at_ms,
            postings.c.kind.label("posted_as"),
            postings.c.amount,
        )
        .join(
            postings,
            (postings.c.account_id == accounts.c.id)
            & (postings.c.at_ms >= from_ms)
            & (postings.c.at_ms < until_ms),
        )
        .order_by(accounts.c.id, postings.c.at_ms, postings.c.entry_id)
    )
    rows = conn.execute(query.execution_options(yield_per=5_000))
    for _, group in groupby(rows, key=lambda row: (row.id, row.at_ms // MS_PER_HOUR)):
        yield _leaf(group)


def _leaf(rows: Iterable[Any]) -> Leaf:
    digest, count, debit, credit = hashlib.sha256(), 0, 0, 0
    for row in rows:
        line = f"{row.entry_id} {row.at_ms} {row.posted_as} {row.amount}\n"
        digest.update(line.encode())
        count += 1
        debit += min(row.amount, 0)
        credit += max(row.amount, 0)
    hour = row.at_ms // MS_PER_HOUR
    kind = AccountKind(row.kind)
    return Leaf(row.id, row.currency, kind, hour, count, debit, credit, digest.hexdigest())


def standing(
    conn: Connection, account_id: str, kind: EntryKind, from_ms: int, until_ms: int
) -> int:
    """Sum of an account's postings of a kind in the span that have not been reversed since."""
    reversal = entries.alias("reversal")
    query = (
        sa.select(sa.func.coalesce(sa.func.sum(postings.c.amount), 0))
        .outerjoin(reversal, reversal.c.reversal_of == postings.c.entry_id)
        .where(
            postings.c.account_id == account_id,
            postings.c.kind == kind.value,
            postings.c.at_ms >= from_ms,
            postings.c.at_ms < until_ms,
            reversal.c.id.is_(None),
        )
    )
    return int(conn.execute(query).scalar_one())


def undone_keys(
    conn: Connection, account_id: str, kind: EntryKind, from_ms: int, until_ms: int
) -> list[str]:
    """Keys of an account's entries of a kind in the span that have been reversed since."""
    reversal = entries.alias("reversal")
    query = (
        sa.select(entries.c.key)
        .join(postings, postings.c.entry_id == entries.c.id)
        .join(reversal, reversal.c.reversal_of == entries.c.id)
        .where(
            postings.c.account_id == account_id,
            postings.c.kind == kind.value,
            postings.c.at_ms >= from_ms,
            postings.c.at_ms < until_ms,
        )
        .order_by(entries.c.key)
    )
    return list(conn.execute(query).scalars())


def income_since(conn: Connection, account_id: str, from_ms: int) -> int:
    """What an account was given from an instant on. What it gave does not count, nor what came
    back to it."""
    query = sa.select(sa.func.coalesce(sa.func.sum(postings.c.amount), 0)).where(
        postings.c.account_id == account_id,
        postings.c.at_ms >= from_ms,
        postings.c.amount > 0,
        postings.c.kind != EntryKind.REVERSAL.value,
    )
    return int(conn.execute(query).scalar_one())
