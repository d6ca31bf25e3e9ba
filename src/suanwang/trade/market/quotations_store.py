"""Tables of quotations and their statements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from suanwang.platform.schema import Id, Money, Ms, Packed, metadata
from suanwang.trade.catalogue.model import Period, Product
from suanwang.trade.contracts.model import Party, Terms
from suanwang.trade.market.quotations_model import (
    Alternative,
    Enquiry,
    EnquiryState,
    HouseRules,
    Quote,
    QuoteState,
    Rule,
)

enquiries = sa.Table(
    "enquiries",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organisation_id", Id, nullable=False),
    sa.Column("project_id", Id, nullable=False),
    sa.Column("user_id", Id, nullable=False),
    sa.Column("title", sa.String(200), nullable=False),
    sa.Column("alternatives", Packed(), nullable=False),
    sa.Column("lots", sa.Integer, nullable=False),
    sa.Column("min_lots", sa.Integer, nullable=False),
    sa.Column("first_hour", sa.Integer, nullable=False),
    sa.Column("hours", sa.Integer, nullable=False),
    sa.Column("ceiling", Money, nullable=True),
    sa.Column("ceiling_public", sa.Boolean, nullable=False),
    sa.Column("expected", Money, nullable=True),
    sa.Column("bond", Money, nullable=False),
    sa.Column("rule", sa.String(20), nullable=False),
    sa.Column("divisible", sa.Boolean, nullable=False),
    sa.Column("for_everybody", sa.Boolean, nullable=False),
    sa.Column("invited", Packed(), nullable=False),
    sa.Column("credit_percent", sa.Integer, nullable=False),
    sa.Column("deposit_percent", sa.Integer, nullable=False),
    sa.Column("cancel_hours", sa.Integer, nullable=False),
    sa.Column("cancel_percent", sa.Integer, nullable=False),
    sa.Column("earnest_percent", sa.Integer, nullable=False),
    sa.Column("cancel_fee_percent", sa.Integer, nullable=False),
    sa.Column("deadline_ms", Ms, nullable=False),
    sa.Column("held", Money, nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("why", sa.String(30), nullable=False),
    sa.Column("asked_at_ms", Ms, nullable=False),
    sa.Column("ended_at_ms", Ms, nullable=True),
    sa.Column("key", sa.String(64), nullable=True),
    sa.UniqueConstraint("project_id", "key", name="uq_enquiries_project_id_key"),
    sa.CheckConstraint("held >= 0", name="enquiries_held"),
    sa.Index("ix_enquiries_state_deadline_ms", "state", "deadline_ms"),
    sa.Index("ix_enquiries_organisation_id", "organisation_id", "id"),
)

invitations = sa.Table(
    "enquiry_invitations",
    metadata,
    sa.Column("organisation_id", Id, primary_key=True),
    sa.Column("enquiry_id", Id, primary_key=True),
)

quotes = sa.Table(
    "quotes",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("enquiry_id", Id, nullable=False),
    sa.Column("organisation_id", Id, nullable=False),
    sa.Column("project_id", Id, nullable=False),
    sa.Column("user_id", Id, nullable=False),
    sa.Column("source_id", Id, nullable=False),
    sa.Column("site_id", Id, nullable=False),
    sa.Column("pool_id", Id, nullable=False),
    sa.Column("unit_class", sa.String(60), nullable=False),
    sa.Column("zone", sa.String(60), nullable=False),
    sa.Column("lots", sa.Integer, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("price", Money, nullable=True),
    sa.Column("held", Money, nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("why", sa.String(30), nullable=False),
    sa.Column("won_lots", sa.Integer, nullable=False),
    sa.Column("contract_id", Id, nullable=True),
    sa.Column("quoted_at_ms", Ms, nullable=False),
    sa.Column("key", sa.String(64), nullable=True),
    sa.UniqueConstraint("project_id", "key", name="uq_quotes_project_id_key"),
    sa.CheckConstraint("held >= 0", name="quotes_held"),
    sa.Index("ix_quotes_enquiry_id_state", "enquiry_id", "state"),
    sa.Index("ix_quotes_organisation_id", "organisation_id", "id"),
)


def _enquiry(row: Row[Any]) -> Enquiry:
    return Enquiry(
        id=row.id,
        buyer=Party(row.organisation_id, row.project_id, row.user_id),
        title=row.title,
        alternatives=tuple(
            Alternative(Product(unit, zone), figure) for unit, zone, figure in row.alternatives
        ),
        lots=row.lots,
        min_lots=row.min_lots,
        period=Period(row.first_hour, row.hours),
        ceiling=row.ceiling,
        ceiling_public=row.ceiling_public,
        expected=row.expected,
        bond=row.bond,
        rule=Rule(row.rule),
        divisible=row.divisible,
        invited=tuple(row.invited),
        terms=Terms(row.credit_percent, row.deposit_percent, row.cancel_hours, row.cancel_percent),
        house=HouseRules(row.earnest_percent, row.cancel_fee_percent),
        deadline_ms=row.deadline_ms,
        held=row.held,
        state=EnquiryState(row.state),
        why=row.why,
        asked_at_ms=row.asked_at_ms,
        ended_at_ms=row.ended_at_ms,
        key=row.key,
    )


def insert(conn: Connection, one: Enquiry) -> None:
    values = {
        "id": one.id,
        "organisation_id": one.buyer.organisation_id,
        "project_id": one.buyer.project_id,
        "user_id": one.buyer.user_id,
        "title": one.title,
        "alternatives": [
            [of.product.unit_class, of.product.zone, of.figure] for of in one.alternatives
        ],
        "lots": one.lots,
        "min_lots": one.min_lots,
        "first_hour": one.period.first_hour,
        "hours": one.period.hours,
        "ceiling": one.ceiling,
        "ceiling_public": one.ceiling_public,
        "expected": one.expected,
        "bond": one.bond,
        "rule": one.rule.value,
        "divisible": one.divisible,
        "for_everybody": not one.invited,
        "invited": list(one.invited),
        "credit_percent": one.terms.credit_percent,
        "deposit_percent": one.terms.deposit_percent,
        "cancel_hours": one.terms.cancel_hours,
        "cancel_percent": one.terms.cancel_percent,
        "earnest_percent": one.house.earnest_percent,
        "cancel_fee_percent": one.house.cancel_fee_percent,
        "deadline_ms": one.deadline_ms,
        "held": one.held,
        "state": one.state.value,
        "why": one.why,
        "asked_at_ms": one.asked_at_ms,
        "ended_at_ms": one.ended_at_ms,
        "key": one.key,
    }
    conn.execute(sa.insert(enquiries).values(**values))
    rows = [{"organisation_id": of, "enquiry_id": one.id} for of in one.invited]
    if rows:
        conn.execute(sa.insert(invitations), rows)


def by_id(conn: Connection, enquiry_id: str, *, lock: bool = False) -> Enquiry | None:
    query = sa.select(enquiries).where(enquiries.c.id == enquiry_id)
    row = conn.execute(query.with_for_update() if lock else query).first()
    return _enquiry(row) if row is not None else None


def by_key(conn: Connection, project_id: str, key: str) -> Enquiry | None:
    query = sa.select(enquiries).where(enquiries.c.project_id == project_id, enquiries.c.key == key)
    row = conn.execute(query).first()
    return _enquiry(row) if row is not None else None


def end(conn: Connection, enquiry_id: str, state: EnquiryState, why: str, now_ms: int) -> None:
    """Nothing is set aside for it any more."""
    conn.execute(
        sa.update(enquiries)
        .where(enquiries.c.id == enquiry_id)
        .values(state=state.value, why=why, ended_at_ms=now_ms, held=0)
    )


def due(conn: Connection, now_ms: int, limit: int) -> list[str]:
    """Open ones whose deadline is over, the longest first."""
    query = (
        sa.select(enquiries.c.id)
        .where(
            enquiries.c.state == EnquiryState.OPEN.value,
            enquiries.c.deadline_ms <= now_ms,
        )
        .order_by(enquiries.c.deadline_ms, enquiries.c.id)
        .limit(limit)
    )
    return [row.id for row in conn.execute(query)]


def page(
    conn: Connection,
    *,
    project_ids: Sequence[str] | None,
    open_to: str | None,
    state: EnquiryState | None,
    before: str | None,
    limit: int,
) -> list[Enquiry]:
    """The latest first: asked by the projects (None: by anybody); with `open_to`, those that an
    organisation may answer or has answered."""
    query = sa.select(enquiries)
    if project_ids is not None:
        query = query.where(enquiries.c.project_id.in_(project_ids))
    if open_to is not None:
        invited = sa.select(invitations.c.enquiry_id).where(
            invitations.c.organisation_id == open_to
        )
        query = query.where(
            sa.or_(enquiries.c.for_everybody.is_(True), enquiries.c.id.in_(invited)),
            enquiries.c.organisation_id != open_to,
        )
    if state is not None:
        query = query.where(enquiries.c.state == state.value)
    if before is not None:
        query = query.where(enquiries.c.id < before)
    rows = conn.execute(query.order_by(enquiries.c.id.desc()).limit(limit))
    return [_enquiry(row) for row in rows]


def _quote(row: Row[Any]) -> Quote:
    return Quote(
        id=row.id,
        enquiry_id=row.enquiry_id,
        seller=Party(row.organisation_id, row.project_id, row.user_id),
        source_id=row.source_id,
        site_id=row.site_id,
        pool_id=row.pool_id,
        product=Product(row.unit_class, row.zone),
        lots=row.lots,
        sealed=row.sealed,
        price=row.price,
        held=row.held,
        state=QuoteState(row.state),
        why=row.why,
        won_lots=row.won_lots,
        contract_id=row.contract_id,
        quoted_at_ms=row.quoted_at_ms,
        key=row.key,
    )


def insert_quote(conn: Connection, one: Quote) -> None:
    values = {
        "id": one.id,
        "enquiry_id": one.enquiry_id,
        "organisation_id": one.seller.organisation_id,
        "project_id": one.seller.project_id,
        "user_id": one.seller.user_id,
        "source_id": one.source_id,
        "site_id": one.site_id,
        "pool_id": one.pool_id,
        "unit_class": one.product.unit_class,
        "zone": one.product.zone,
        "lots": one.lots,
        "sealed": one.sealed,
        "price": one.price,
        "held": one.held,
        "state": one.state.value,
        "why": one.why,
        "won_lots": one.won_lots,
        "contract_id": one.contract_id,
        "quoted_at_ms": one.quoted_at_ms,
        "key": one.key,
    }
    conn.execute(sa.insert(quotes).values(**values))


def quote_by_id(conn: Connection, quote_id: str) -> Quote | None:
    row = conn.execute(sa.select(quotes).where(quotes.c.id == quote_id)).first()
    return _quote(row) if row is not None else None


def quote_by_key(conn: Connection, project_id: str, key: str) -> Quote | None:
    query = sa.select(quotes).where(quotes.c.project_id == project_id, quotes.c.key == key)
    row = conn.execute(query).first()
    return _quote(row) if row is not None else None


def quotes_of(conn: Connection, enquiry_id: str, state: QuoteState | None = None) -> list[Quote]:
    """In the order they came."""
    query = sa.select(quotes).where(quotes.c.enquiry_id == enquiry_id)
    if state is not None:
        query = query.where(quotes.c.state == state.value)
    return [_quote(row) for row in conn.execute(query.order_by(quotes.c.id))]


def sealed_from(conn: Connection, organisation_id: str, source_id: str) -> list[Quote]:
    """Of an organisation, those that are sold from a source."""
    query = sa.select(quotes).where(
        quotes.c.organisation_id == organisation_id,
        quotes.c.source_id == source_id,
        quotes.c.state == QuoteState.SEALED.value,
    )
    return [_quote(row) for row in conn.execute(query.order_by(quotes.c.enquiry_id, quotes.c.id))]


def sealed_counts(conn: Connection, enquiry_ids: Sequence[str]) -> dict[str, int]:
    query = (
        sa.select(quotes.c.enquiry_id, sa.func.count())
        .where(quotes.c.enquiry_id.in_(enquiry_ids), quotes.c.state == QuoteState.SEALED.value)
        .group_by(quotes.c.enquiry_id)
    )
    return {row[0]: row[1] for row in conn.execute(query)}


def end_quote(
    conn: Connection,
    quote_id: str,
    state: QuoteState,
    why: str,
    *,
    price: int | None = None,
    won_lots: int = 0,
    contract_id: str | None = None,
) -> None:
    """Nothing is held for it any more, and its seal is no more either."""
    conn.execute(
        sa.update(quotes)
        .where(quotes.c.id == quote_id)
        .values(
            state=state.value,
            why=why,
            price=price,
            won_lots=won_lots,
            contract_id=contract_id,
            held=0,
            sealed=b"",
        )
    )
