"""Tables of the ledger and every statement over them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from suanwang.platform.bulk import insert_new_rows, insert_rows
from suanwang.platform.database import Tx
from suanwang.platform.prepared import ONE_OF, Prepared
from suanwang.platform.schema import Id, Money, Ms, metadata
from suanwang.trade.ledger.model import (
    NORMAL_SIDES,
    Account,
    AccountKey,
    AccountKind,
    AccountLine,
    Discrepancy,
    Entry,
    EntryDraft,
    EntryKind,
    OwnerKind,
    Side,
    TrialLine,
)

IN_LIMIT = 500
"""Values in one IN list: both databases plan such a list well."""

accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("owner_kind", sa.String(16), nullable=False),
    sa.Column("owner_id", Id, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("currency", sa.String(40), nullable=False),
    sa.Column("normal_side", sa.String(8), nullable=False),
    sa.Column("balance", Money, nullable=False),
    sa.Column("held", Money, nullable=False),
    sa.Column("credit_limit", Money, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("created_at_ms", Ms, nullable=False),
    sa.UniqueConstraint("owner_kind", "owner_id", "kind", "currency"),
    sa.CheckConstraint("held >= 0", name="held_not_negative"),
    sa.CheckConstraint("credit_limit >= 0", name="credit_limit_not_negative"),
)

entries = sa.Table(
    "ledger_entries",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("key", sa.String(160), nullable=False, unique=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("at_ms", Ms, nullable=False),
    sa.Column("recorded_at_ms", Ms, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("reversal_of", Id, nullable=True),
    sa.Index(
        "uq_ledger_entries_reversal_of",
        "reversal_of",
        unique=True,
        sqlite_where=sa.text("reversal_of IS NOT NULL"),
        postgresql_where=sa.text("reversal_of IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)

# Kept in the order of an account's history, so that a month of it is one range of one tree.
postings = sa.Table(
    "postings",
    metadata,
    sa.Column("account_id", Id, primary_key=True),
    sa.Column("at_ms", Ms, primary_key=True, autoincrement=False),
    sa.Column("entry_id", Id, primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("amount", Money, nullable=False),
    sa.Index("ix_postings_entry_id", "entry_id"),
    sqlite_with_rowid=False,
)

# One row: everything before the instant is shut.
books = sa.Table(
    "ledger_books",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("open_from_ms", Ms, nullable=False),
)

_OF_OWNERS = Prepared(sa.select(accounts).where(accounts.c.owner_id.in_(ONE_OF)))
_CURRENCIES = Prepared(
    sa.select(accounts.c.id, accounts.c.currency).where(accounts.c.id.in_(ONE_OF))
)
_MOVE = Prepared(
    sa.update(accounts)
    .where(accounts.c.id == sa.bindparam("account"))
    .where(accounts.c.held + sa.bindparam("held_delta") >= 0)
    .values(
        balance=accounts.c.balance + sa.bindparam("delta"),
        held=accounts.c.held + sa.bindparam("held_delta"),
        version=accounts.c.version + 1,
    )
)


def _chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), IN_LIMIT):
        yield values[start : start + IN_LIMIT]


def _account(row: Row[Any]) -> Account:
    key = AccountKey(OwnerKind(row.owner_kind), row.owner_id, AccountKind(row.kind), row.currency)
    return Account(
        id=row.id,
        key=key,
        normal_side=Side(row.normal_side),
        balance_micro_yuan=row.balance,
        held_micro_yuan=row.held,
        credit_limit_micro_yuan=row.credit_limit,
        version=row.version,
    )


def find_accounts(conn: Connection, keys: Sequence[AccountKey]) -> dict[AccountKey, Account]:
    wanted = set(keys)
    owners = sorted({key.owner_id for key in keys})
    found = {}
    for chunk in _chunks(owners):
        for row in _OF_OWNERS.rows(conn, {"one_of": chunk}):
            account = _account(row)
            if account.key in wanted:
                found[account.key] = account
    return found


def insert_accounts(tx: Tx, keys: Sequence[AccountKey]) -> None:
    """Open accounts; one that another transaction opened first is left alone."""
    rows = [
        (
            tx.ids.new("acc"),
            key.owner_kind.value,
            key.owner_id,
            key.kind.value,
            key.currency,
            NORMAL_SIDES[key.kind].value,
            0,
            0,
            0,
            1,
            tx.now_ms,
        )
        for key in sorted(keys)
    ]
    insert_new_rows(tx.conn, accounts, rows, ("id",))


def currencies(conn: Connection, account_ids: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for chunk in _chunks(account_ids):
        found.update((row[0], row[1]) for row in _CURRENCIES.rows(conn, {"one_of": chunk}))
    return found


def insert_entries(tx: Tx, drafts: Sequence[EntryDraft]) -> dict[str, str]:
    """Key → id of the entries that were new."""
    new_id, now_ms = tx.ids.new, tx.now_ms
    rows = [
        (
            new_id("ent"),
            draft.key,
            draft.kind.value,
            draft.at_ms,
            now_ms,
            draft.description,
            draft.reversal_of,
        )
        for draft in drafts
    ]
    return {row[0]: row[1] for row in insert_new_rows(tx.conn, entries, rows, ("key", "id"))}


def insert_postings(conn: Connection, drafts: Sequence[EntryDraft], ids: Mapping[str, str]) -> None:
    rows = [
        (account_id, draft.at_ms, ids[draft.key], draft.kind.value, amount)
        for draft in drafts
        for account_id, amount in draft.postings
    ]
    insert_rows(conn, postings, rows)


def move(conn: Connection, balance: Mapping[str, int], held: Mapping[str, int]) -> bool:
    """Add to balances and holds, each account once and in order of id (so that two batches never
    wait for each other in a ring). False if an account is missing or a hold would go below zero.
    """
    touched = sorted(balance.keys() | held.keys())
    rows = [
        {"account": one, "delta": balance.get(one, 0), "held_delta": held.get(one, 0)}
        for one in touched
    ]
    rows = [row for row in rows if row["delta"] or row["held_delta"]]
    return _MOVE.run_all(conn, rows) == len(rows)


def hold_within_funds(conn: Connection, account_id: str, amount: int) -> bool:
    left = accounts.c.balance + accounts.c.credit_limit - accounts.c.held
    statement = (
        sa.update(accounts)
        .where(accounts.c.id == account_id, left >= amount)
        .values(held=accounts.c.held + amount, version=accounts.c.version + 1)
    )
    return conn.execute(statement).rowcount == 1


def accounts_of(conn: Connection, owner_kind: OwnerKind, owner_id: str) -> list[Account]:
    query = (
        sa.select(accounts)
        .where(accounts.c.owner_id == owner_id, accounts.c.owner_kind == owner_kind.value)
        .order_by(accounts.c.kind, accounts.c.currency)
    )
    return [_account(row) for row in conn.execute(query)]


def accounts_of_kind(conn: Connection, kind: AccountKind, currency: str) -> list[Account]:
    query = (
        sa.select(accounts)
        .where(accounts.c.kind == kind.value, accounts.c.currency == currency)
        .order_by(accounts.c.owner_id)
    )
    return [_account(row) for row in conn.execute(query)]


def update_credit_limit(conn: Connection, account_id: str, limit: int) -> None:
    conn.execute(
        sa.update(accounts)
        .where(accounts.c.id == account_id)
        .values(credit_limit=limit, version=accounts.c.version + 1)
    )


def entries_by(conn: Connection, column: str, values: Sequence[str]) -> list[Entry]:
    """Entries with their postings, by "id" or "key"."""
    found = []
    for chunk in _chunks(values):
        heads = conn.execute(sa.select(entries).where(entries.c[column].in_(chunk))).all()
        query = (
            sa.select(postings.c.entry_id, postings.c.account_id, postings.c.amount)
            .where(postings.c.entry_id.in_([head.id for head in heads]))
            .order_by(postings.c.entry_id, postings.c.account_id)
        )
        parts: dict[str, list[tuple[str, int]]] = {head.id: [] for head in heads}
        for row in conn.execute(query):
            parts[row.entry_id].append((row.account_id, row.amount))
        found += [
            Entry(
                id=head.id,
                key=head.key,
                kind=EntryKind(head.kind),
                at_ms=head.at_ms,
                recorded_at_ms=head.recorded_at_ms,
                description=head.description,
                reversal_of=head.reversal_of,
                postings=tuple(parts[head.id]),
            )
            for head in heads
        ]
    return found


def sums_by_kind(
    conn: Connection, account_id: str, from_ms: int, until_ms: int | None
) -> dict[EntryKind, int]:
    query = (
        sa.select(postings.c.kind, sa.func.sum(postings.c.amount))
        .where(postings.c.account_id == account_id, postings.c.at_ms >= from_ms)
        .group_by(postings.c.kind)
    )
    if until_ms is not None:
        query = query.where(postings.c.at_ms < until_ms)
    return {EntryKind(kind): int(amount) for kind, amount in conn.execute(query)}


def totals(conn: Connection, kind: EntryKind, account_kind: AccountKind) -> dict[AccountKey, int]:
    query = (
        sa.select(
            accounts.c.owner_kind,
            accounts.c.owner_id,
            accounts.c.kind,
            accounts.c.currency,
            sa.func.sum(postings.c.amount),
        )
        .join(postings, postings.c.account_id == accounts.c.id)
        .where(postings.c.kind == kind.value, accounts.c.kind == account_kind.value)
        .group_by(accounts.c.owner_kind, accounts.c.owner_id, accounts.c.kind, accounts.c.currency)
    )
    return {
        AccountKey(OwnerKind(owner_kind), owner_id, AccountKind(of), currency): int(amount)
        for owner_kind, owner_id, of, currency, amount in conn.execute(query)
    }


def lines(
    conn: Connection,
    account_id: str,
    from_ms: int,
    until_ms: int,
    *,
    without: Sequence[EntryKind],
    after: tuple[int, str] | None,
    limit: int,
) -> list[AccountLine]:
    reversal = entries.alias("reversal")
    query = (
        sa.select(
            postings.c.entry_id,
            postings.c.kind,
            postings.c.at_ms,
            postings.c.amount,
            entries.c.description,
            entries.c.key,
            reversal.c.id.label("reversed_by"),
        )
        .join(entries, entries.c.id == postings.c.entry_id)
        .outerjoin(reversal, reversal.c.reversal_of == postings.c.entry_id)
        .where(
            postings.c.account_id == account_id,
            postings.c.at_ms >= from_ms,
            postings.c.at_ms < until_ms,
            postings.c.kind.not_in([kind.value for kind in without]),
        )
        .order_by(postings.c.at_ms, postings.c.entry_id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(sa.tuple_(postings.c.at_ms, postings.c.entry_id) > sa.tuple_(*after))
    return [
        AccountLine(
            row.entry_id,
            EntryKind(row.kind),
            row.at_ms,
            row.amount,
            row.description,
            row.key,
            row.reversed_by,
        )
        for row in conn.execute(query)
    ]


def accounts_by_id(conn: Connection, ids: Sequence[str]) -> list[Account]:
    query = sa.select(accounts).where(accounts.c.id.in_(ids)).order_by(accounts.c.id)
    return [_account(row) for row in conn.execute(query)]


def trial(conn: Connection) -> list[TrialLine]:
    query = (
        sa.select(
            accounts.c.currency,
            accounts.c.kind,
            sa.func.count(),
            sa.func.sum(accounts.c.balance),
        )
        .group_by(accounts.c.currency, accounts.c.kind)
        .order_by(accounts.c.currency, accounts.c.kind)
    )
    return [
        TrialLine(currency, AccountKind(kind), count, int(balance))
        for currency, kind, count, balance in conn.execute(query)
    ]


def wrong_balances(conn: Connection) -> list[Discrepancy]:
    posted = (
        sa.select(postings.c.account_id, sa.func.sum(postings.c.amount).label("amount"))
        .group_by(postings.c.account_id)
        .subquery()
    )
    expected = sa.func.coalesce(posted.c.amount, 0)
    query = (
        sa.select(accounts.c.id, expected, accounts.c.balance)
        .outerjoin(posted, posted.c.account_id == accounts.c.id)
        .where(expected != accounts.c.balance)
        .order_by(accounts.c.id)
    )
    return [
        Discrepancy("balance", id_, int(sum_), found) for id_, sum_, found in conn.execute(query)
    ]


def unbalanced_entries(conn: Connection) -> list[Discrepancy]:
    total = sa.func.sum(postings.c.amount)
    query = (
        sa.select(postings.c.entry_id, total)
        .join(accounts, accounts.c.id == postings.c.account_id)
        .group_by(postings.c.entry_id, accounts.c.currency)
        .having(total != 0)
        .order_by(postings.c.entry_id)
    )
    return [Discrepancy("entry", id_, 0, int(found)) for id_, found in conn.execute(query)]
