"""Tables of disputes and their history, and every statement over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from suanwang.platform.bulk import insert_new_rows, insert_rows
from suanwang.platform.schema import Id, Money, Ms, metadata
from suanwang.trade.settlement.model import (
    Credit,
    Dispute,
    DisputeEvent,
    DisputeReason,
    DisputeState,
    SubjectKind,
)

disputes = sa.Table(
    "disputes",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("subject_kind", sa.String(16), nullable=False),
    sa.Column("subject_id", Id, nullable=False),
    sa.Column("project_id", Id, nullable=False),
    sa.Column("organisation_id", Id, nullable=False),
    sa.Column("provider_organisation_id", Id, nullable=False),
    sa.Column("reason", sa.String(24), nullable=False),
    sa.Column("claimed", Money, nullable=False),
    sa.Column("currency", sa.String(40), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("opened_at_ms", Ms, nullable=False),
    sa.Column("opened_by", Id, nullable=False),
    sa.Column("answer_by_ms", Ms, nullable=False),
    sa.Column("decide_by_ms", Ms, nullable=False),
    sa.Column("subject_at_ms", Ms, nullable=False),
    sa.Column("awarded", Money, nullable=False),
    sa.Column("credited", Money, nullable=False),
    sa.Column("entry_id", Id, nullable=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Index("ix_disputes_organisation_id_id", "organisation_id", "id"),
    sa.Index("ix_disputes_provider_organisation_id_id", "provider_organisation_id", "id"),
    # a thing is disputed once; who withdraws may come again
    sa.Index(
        "uq_disputes_subject",
        "subject_kind",
        "subject_id",
        unique=True,
        sqlite_where=sa.text("state <> 'withdrawn'"),
        postgresql_where=sa.text("state <> 'withdrawn'"),
    ),
)

credits = sa.Table(
    "dispute_credits",
    metadata,
    sa.Column("dispute_id", Id, sa.ForeignKey("disputes.id"), primary_key=True),
    sa.Column("entry_id", Id, primary_key=True),
    sa.Column("at_ms", Ms, nullable=False),
    sa.Column("amount", Money, nullable=False),
    sa.Index("ix_dispute_credits_entry_id", "entry_id"),
    sa.CheckConstraint("amount > 0", name="dispute_credits_amount"),
)
IN_LIMIT = 500

events = sa.Table(
    "dispute_events",
    metadata,
    sa.Column("dispute_id", Id, sa.ForeignKey("disputes.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at_ms", Ms, nullable=False),
    sa.Column("actor_user_id", Id, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("text", sa.String(2000), nullable=False),
)


def _dispute(row: Row[Any]) -> Dispute:
    return Dispute(
        row.id,
        SubjectKind(row.subject_kind),
        row.subject_id,
        row.project_id,
        row.organisation_id,
        row.provider_organisation_id,
        DisputeReason(row.reason),
        row.claimed,
        row.currency,
        DisputeState(row.state),
        row.opened_at_ms,
        row.opened_by,
        row.answer_by_ms,
        row.decide_by_ms,
        row.subject_at_ms,
        row.awarded,
        row.credited,
        row.entry_id,
        row.version,
    )


def insert(conn: Connection, made: Dispute) -> bool:
    """False if the subject is disputed already."""
    row = (
        made.id,
        made.subject_kind.value,
        made.subject_id,
        made.project_id,
        made.organisation_id,
        made.provider_organisation_id,
        made.reason.value,
        made.claimed_micro_yuan,
        made.currency,
        made.state.value,
        made.opened_at_ms,
        made.opened_by,
        made.answer_by_ms,
        made.decide_by_ms,
        made.subject_at_ms,
        made.awarded_micro_yuan,
        made.credited_micro_yuan,
        made.entry_id,
        made.version,
    )
    return bool(insert_new_rows(conn, disputes, [row], ("id",)))


def find(conn: Connection, dispute_id: str) -> Dispute | None:
    row = conn.execute(sa.select(disputes).where(disputes.c.id == dispute_id)).first()
    return None if row is None else _dispute(row)


def add_event(conn: Connection, dispute_id: str, event: DisputeEvent) -> None:
    row = (
        dispute_id,
        event.number,
        event.at_ms,
        event.actor_user_id,
        event.state.value,
        event.text,
    )
    insert_rows(conn, events, [row])


def history(conn: Connection, dispute_id: str) -> list[DisputeEvent]:
    query = sa.select(events).where(events.c.dispute_id == dispute_id).order_by(events.c.number)
    return [
        DisputeEvent(row.number, row.at_ms, row.actor_user_id, DisputeState(row.state), row.text)
        for row in conn.execute(query)
    ]


def page(
    conn: Connection,
    party: str | None,
    states: Sequence[DisputeState],
    before: str | None,
    limit: int,
) -> list[Dispute]:
    """Those that an organisation is a party of, as buyer or provider; None: all."""
    query = sa.select(disputes).order_by(disputes.c.id.desc()).limit(limit)
    if party is not None:
        query = query.where(
            (disputes.c.organisation_id == party) | (disputes.c.provider_organisation_id == party)
        )
    if states:
        query = query.where(disputes.c.state.in_([state.value for state in states]))
    if before is not None:
        query = query.where(disputes.c.id < before)
    return [_dispute(row) for row in conn.execute(query)]


def add_credits(conn: Connection, dispute_id: str, found: Sequence[Credit]) -> None:
    rows = [(dispute_id, one.entry_id, one.at_ms, one.amount_micro_yuan) for one in found]
    insert_rows(conn, credits, rows)


def credited_by_entry(conn: Connection, entry_ids: Sequence[str]) -> dict[str, int]:
    """Entry → what disputes gave back of it, where they did."""
    found: dict[str, int] = {}
    for start in range(0, len(entry_ids), IN_LIMIT):
        query = (
            sa.select(credits.c.entry_id, sa.func.sum(credits.c.amount))
            .where(credits.c.entry_id.in_(entry_ids[start : start + IN_LIMIT]))
            .group_by(credits.c.entry_id)
        )
        found.update((row[0], int(row[1])) for row in conn.execute(query))
    return found


def credits_within(
    conn: Connection, project_id: str, from_ms: int, until_ms: int
) -> dict[str, int]:
    """Entry → what was given back of it, of the entries of a span that still stand."""
    query = (
        sa.select(credits.c.entry_id, sa.func.sum(credits.c.amount))
        .join(disputes, disputes.c.id == credits.c.dispute_id)
        .where(
            disputes.c.project_id == project_id,
            credits.c.at_ms >= from_ms,
            credits.c.at_ms < until_ms,
        )
        .group_by(credits.c.entry_id)
    )
    return {entry_id: int(amount) for entry_id, amount in conn.execute(query)}


def credited(conn: Connection, project_id: str, from_ms: int, until_ms: int) -> int:
    """Given back for entries of the span that still stand."""
    return sum(credits_within(conn, project_id, from_ms, until_ms).values())
