"""Tables of closes and payouts, and every statement over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from suanwang.platform.bulk import insert_new_rows, insert_rows
from suanwang.platform.database import Tx
from suanwang.platform.schema import Id, Money, Ms, metadata
from suanwang.trade.ledger.model import AccountKind
from suanwang.trade.settlement.model import (
    CloseLine,
    DayClose,
    Payout,
    PayoutLine,
    PayoutRule,
    PayoutState,
)

closes = sa.Table(
    "closes",
    metadata,
    sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("until_ms", Ms, nullable=False),
    sa.Column("postings", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("closed_at_ms", Ms, nullable=False),
    sa.Column("closed_by", Id, nullable=False),
)

close_lines = sa.Table(
    "close_lines",
    metadata,
    sa.Column("day", sa.Integer, sa.ForeignKey("closes.day"), primary_key=True),
    sa.Column("currency", sa.String(40), primary_key=True),
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("accounts", sa.BigInteger, nullable=False),
    sa.Column("postings", sa.BigInteger, nullable=False),
    sa.Column("opening", Money, nullable=False),
    sa.Column("debit", Money, nullable=False),
    sa.Column("credit", Money, nullable=False),
    sa.Column("closing", Money, nullable=False),
)

payouts = sa.Table(
    "payouts",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("run_id", Id, nullable=False),
    sa.Column("organisation_id", Id, nullable=False),
    sa.Column("currency", sa.String(40), nullable=False),
    sa.Column("amount", Money, nullable=False),
    sa.Column("from_ms", Ms, nullable=False),
    sa.Column("until_ms", Ms, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("proposed_at_ms", Ms, nullable=False),
    sa.Column("proposed_by", Id, nullable=False),
    sa.Column("approved_by", Id, nullable=False),
    sa.Column("ended_at_ms", Ms, nullable=True),
    sa.Column("bank_reference", sa.String(200), nullable=False),
    sa.Column("entry_id", Id, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("released_by", Id, nullable=False, server_default=""),
    sa.Index("ix_payouts_organisation_id_id", "organisation_id", "id"),
    sa.CheckConstraint("amount > 0", name="amount_positive"),
)

payout_lines = sa.Table(
    "payout_lines",
    metadata,
    sa.Column("payout_id", Id, sa.ForeignKey("payouts.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("what", sa.String(24), nullable=False),
    sa.Column("key", sa.String(80), nullable=False),
    sa.Column("amount", Money, nullable=False),
)


payout_rules = sa.Table(
    "payout_rules",
    metadata,
    sa.Column("organisation_id", Id, primary_key=True),
    sa.Column("alone", sa.Boolean, nullable=False),
    sa.Column("why", sa.String(200), nullable=False),
    sa.Column("changed_at_ms", Ms, nullable=False),
    sa.Column("changed_by", Id, nullable=False),
)


def _close(row: Row[Any], lines: Sequence[CloseLine]) -> DayClose:
    return DayClose(
        row.day,
        row.until_ms,
        row.postings,
        row.digest,
        row.closed_at_ms,
        row.closed_by,
        tuple(lines),
    )


def _lines(conn: Connection, days: Sequence[int]) -> dict[int, list[CloseLine]]:
    query = (
        sa.select(close_lines)
        .where(close_lines.c.day.in_(days))
        .order_by(close_lines.c.day, close_lines.c.currency, close_lines.c.kind)
    )
    found: dict[int, list[CloseLine]] = {day: [] for day in days}
    for day, currency, kind, *figures in conn.execute(query):
        found[day].append(CloseLine(currency, AccountKind(kind), *map(int, figures)))
    for lines in found.values():
        lines.sort()
    return found


def last_close(conn: Connection) -> DayClose | None:
    row = conn.execute(sa.select(closes).order_by(closes.c.day.desc()).limit(1)).first()
    return None if row is None else _close(row, _lines(conn, [row.day])[row.day])


def find_close(conn: Connection, day: int) -> DayClose | None:
    row = conn.execute(sa.select(closes).where(closes.c.day == day)).first()
    return None if row is None else _close(row, _lines(conn, [day])[day])


def page_of_closes(conn: Connection, before: int | None, limit: int) -> list[DayClose]:
    query = sa.select(closes).order_by(closes.c.day.desc()).limit(limit)
    if before is not None:
        query = query.where(closes.c.day < before)
    rows = conn.execute(query).all()
    lines = _lines(conn, [row.day for row in rows])
    return [_close(row, lines[row.day]) for row in rows]


def insert_close(conn: Connection, made: DayClose) -> bool:
    """False if the day had been closed before."""
    row = (
        made.day,
        made.until_ms,
        made.postings,
        made.digest,
        made.closed_at_ms,
        made.closed_by,
    )
    if not insert_new_rows(conn, closes, [row], ("day",)):
        return False
    insert_rows(
        conn,
        close_lines,
        [
            (
                made.day,
                line.currency,
                line.kind.value,
                line.accounts,
                line.postings,
                line.opening_micro_yuan,
                line.debit_micro_yuan,
                line.credit_micro_yuan,
                line.closing_micro_yuan,
            )
            for line in made.lines
        ],
    )
    return True


# --- payouts -----------------------------------------------------------------------------------


def _payout(row: Row[Any]) -> Payout:
    return Payout(
        row.id,
        row.run_id,
        row.organisation_id,
        row.currency,
        row.amount,
        row.from_ms,
        row.until_ms,
        PayoutState(row.state),
        row.proposed_at_ms,
        row.proposed_by,
        row.approved_by,
        row.ended_at_ms,
        row.bank_reference,
        row.entry_id,
        row.version,
        row.released_by,
    )


def insert_payout(tx: Tx, made: Payout, lines: Sequence[PayoutLine]) -> None:
    row = (
        made.id,
        made.run_id,
        made.organisation_id,
        made.currency,
        made.amount_micro_yuan,
        made.from_ms,
        made.until_ms,
        made.state.value,
        made.proposed_at_ms,
        made.proposed_by,
        made.approved_by,
        made.ended_at_ms,
        made.bank_reference,
        made.entry_id,
        made.version,
        made.released_by,
    )
    insert_rows(tx.conn, payouts, [row])
    rows = [
        (made.id, number, line.what, line.key, line.amount_micro_yuan)
        for number, line in enumerate(lines)
    ]
    insert_rows(tx.conn, payout_lines, rows)


def find_payout(conn: Connection, payout_id: str) -> Payout | None:
    row = conn.execute(sa.select(payouts).where(payouts.c.id == payout_id)).first()
    return None if row is None else _payout(row)


def page_of_payouts(
    conn: Connection,
    organisation_id: str | None,
    state: PayoutState | None,
    before: str | None,
    limit: int,
) -> list[Payout]:
    query = sa.select(payouts).order_by(payouts.c.id.desc()).limit(limit)
    if organisation_id is not None:
        query = query.where(payouts.c.organisation_id == organisation_id)
    if state is not None:
        query = query.where(payouts.c.state == state.value)
    if before is not None:
        query = query.where(payouts.c.id < before)
    return [_payout(row) for row in conn.execute(query)]


def lines_of_payout(conn: Connection, payout_id: str) -> list[PayoutLine]:
    query = (
        sa.select(payout_lines.c.what, payout_lines.c.key, payout_lines.c.amount)
        .where(payout_lines.c.payout_id == payout_id)
        .order_by(payout_lines.c.number)
    )
    return [PayoutLine(*row) for row in conn.execute(query)]


def told_until(conn: Connection, organisation_id: str, currency: str) -> int:
    """Until when the organisation's last payout tells of; those that came back do not count."""
    back = [PayoutState.FAILED.value, PayoutState.CANCELLED.value]
    query = sa.select(sa.func.max(payouts.c.until_ms)).where(
        payouts.c.organisation_id == organisation_id,
        payouts.c.currency == currency,
        payouts.c.state.not_in(back),
    )
    return conn.execute(query).scalar() or 0


def find_payout_rule(conn: Connection, organisation_id: str) -> PayoutRule | None:
    query = sa.select(payout_rules).where(payout_rules.c.organisation_id == organisation_id)
    row = conn.execute(query).first()
    return None if row is None else PayoutRule(*row)


def keep_payout_rule(tx: Tx, made: PayoutRule) -> None:
    row = (made.organisation_id, made.alone, made.why, made.changed_at_ms, made.changed_by)
    if insert_new_rows(tx.conn, payout_rules, [row], ("organisation_id",)):
        return
    tx.conn.execute(
        sa.update(payout_rules)
        .where(payout_rules.c.organisation_id == made.organisation_id)
        .values(
            alone=made.alone,
            why=made.why,
            changed_at_ms=made.changed_at_ms,
            changed_by=made.changed_by,
        )
    )


def move_payout(conn: Connection, before: Payout, changes: Mapping[str, Any]) -> bool:
    """False if somebody else moved it first."""
    return move(conn, payouts, before.id, before.version, changes)


def move(
    conn: Connection, table: sa.Table, identity: str, version: int, changes: Mapping[str, Any]
) -> bool:
    statement = (
        sa.update(table)
        .where(table.c.id == identity, table.c.version == version)
        .values(version=version + 1, **changes)
    )
    return conn.execute(statement).rowcount == 1
