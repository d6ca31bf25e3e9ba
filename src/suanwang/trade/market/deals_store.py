"""Tables of bilateral deals and their statements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from suanwang.engines.matching.model import Side
from suanwang.platform.schema import Id, Money, Ms, metadata
from suanwang.trade.catalogue.model import Period, Product
from suanwang.trade.contracts.model import Party, Terms
from suanwang.trade.market.deals_model import (
    Addressee,
    Deal,
    DealState,
    Proposal,
    ProposalState,
)

deals = sa.Table(
    "deals",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organisation_id", Id, nullable=False),
    sa.Column("project_id", Id, nullable=False),
    sa.Column("user_id", Id, nullable=False),
    sa.Column("side", sa.String(4), nullable=False),
    sa.Column("other_organisation_id", Id, nullable=False),
    sa.Column("other_project_id", Id, nullable=True),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("due_ms", Ms, nullable=False),
    sa.Column("contract_id", Id, nullable=True),
    sa.Column("opened_at_ms", Ms, nullable=False),
    sa.Column("ended_at_ms", Ms, nullable=True),
    sa.Column("key", sa.String(64), nullable=True),
    sa.UniqueConstraint("project_id", "key", name="uq_deals_project_id_key"),
    sa.Index("ix_deals_state_due_ms", "state", "due_ms"),
    sa.Index("ix_deals_organisation_id", "organisation_id", "id"),
    sa.Index("ix_deals_other_organisation_id", "other_organisation_id", "id"),
)

proposals = sa.Table(
    "deal_proposals",
    metadata,
    sa.Column("deal_id", Id, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("organisation_id", Id, nullable=False),
    sa.Column("project_id", Id, nullable=False),
    sa.Column("user_id", Id, nullable=False),
    sa.Column("side", sa.String(4), nullable=False),
    sa.Column("unit_class", sa.String(60), nullable=False),
    sa.Column("zone", sa.String(60), nullable=False),
    sa.Column("source_id", Id, nullable=True),
    sa.Column("site_id", Id, nullable=True),
    sa.Column("pool_id", Id, nullable=True),
    sa.Column("lots", sa.Integer, nullable=False),
    sa.Column("first_hour", sa.Integer, nullable=False),
    sa.Column("hours", sa.Integer, nullable=False),
    sa.Column("price", Money, nullable=False),
    sa.Column("credit_percent", sa.Integer, nullable=False),
    sa.Column("deposit_percent", sa.Integer, nullable=False),
    sa.Column("cancel_hours", sa.Integer, nullable=False),
    sa.Column("cancel_percent", sa.Integer, nullable=False),
    sa.Column("note", sa.String(500), nullable=False),
    sa.Column("valid_until_ms", Ms, nullable=False),
    sa.Column("held", Money, nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("at_ms", Ms, nullable=False),
    sa.CheckConstraint("held >= 0", name="deal_proposals_held"),
)


def _deal(row: Row[Any]) -> Deal:
    return Deal(
        id=row.id,
        first=Party(row.organisation_id, row.project_id, row.user_id),
        first_side=Side(row.side),
        other=Addressee(row.other_organisation_id, row.other_project_id),
        state=DealState(row.state),
        number=row.number,
        due_ms=row.due_ms,
        contract_id=row.contract_id,
        opened_at_ms=row.opened_at_ms,
        ended_at_ms=row.ended_at_ms,
        key=row.key,
    )


def insert(conn: Connection, one: Deal) -> None:
    conn.execute(
        sa.insert(deals).values(
            id=one.id,
            organisation_id=one.first.organisation_id,
            project_id=one.first.project_id,
            user_id=one.first.user_id,
            side=one.first_side.value,
            other_organisation_id=one.other.organisation_id,
            other_project_id=one.other.project_id,
            state=one.state.value,
            number=one.number,
            due_ms=one.due_ms,
            contract_id=one.contract_id,
            opened_at_ms=one.opened_at_ms,
            ended_at_ms=one.ended_at_ms,
            key=one.key,
        )
    )


def by_id(conn: Connection, deal_id: str, *, lock: bool = False) -> Deal | None:
    query = sa.select(deals).where(deals.c.id == deal_id)
    row = conn.execute(query.with_for_update() if lock else query).first()
    return _deal(row) if row is not None else None


def by_key(conn: Connection, project_id: str, key: str) -> Deal | None:
    query = sa.select(deals).where(deals.c.project_id == project_id, deals.c.key == key)
    row = conn.execute(query).first()
    return _deal(row) if row is not None else None


def update(conn: Connection, deal_id: str, **values: Any) -> None:
    conn.execute(sa.update(deals).where(deals.c.id == deal_id).values(**values))


def due(conn: Connection, now_ms: int, limit: int) -> list[str]:
    """Open ones whose last proposal is valid no more, the longest first."""
    query = (
        sa.select(deals.c.id)
        .where(deals.c.state == DealState.OPEN.value, deals.c.due_ms <= now_ms)
        .order_by(deals.c.due_ms, deals.c.id)
        .limit(limit)
    )
    return [row.id for row in conn.execute(query)]


def page(
    conn: Connection,
    *,
    begun_by: Sequence[str] | None,
    offered_to: tuple[str, Sequence[str]] | None,
    state: DealState | None,
    before: str | None,
    limit: int,
) -> list[Deal]:
    """The latest first: begun by projects, or offered to an organisation as a whole or to these
    projects of it; either, if both are given."""
    query = sa.select(deals)
    sides: list[Any] = []
    if begun_by is not None:
        sides.append(deals.c.project_id.in_(begun_by))
    if offered_to is not None:
        organisation_id, projects = offered_to
        his = sa.or_(deals.c.other_project_id.is_(None), deals.c.other_project_id.in_(projects))
        sides.append(sa.and_(deals.c.other_organisation_id == organisation_id, his))
    if sides:
        query = query.where(sa.or_(*sides))
    if state is not None:
        query = query.where(deals.c.state == state.value)
    if before is not None:
        query = query.where(deals.c.id < before)
    return [_deal(row) for row in conn.execute(query.order_by(deals.c.id.desc()).limit(limit))]


def _proposal(row: Row[Any]) -> Proposal:
    return Proposal(
        deal_id=row.deal_id,
        number=row.number,
        by=Party(row.organisation_id, row.project_id, row.user_id),
        side=Side(row.side),
        product=Product(row.unit_class, row.zone),
        source_id=row.source_id,
        site_id=row.site_id,
        pool_id=row.pool_id,
        lots=row.lots,
        period=Period(row.first_hour, row.hours),
        price=row.price,
        terms=Terms(row.credit_percent, row.deposit_percent, row.cancel_hours, row.cancel_percent),
        note=row.note,
        valid_until_ms=row.valid_until_ms,
        held=row.held,
        state=ProposalState(row.state),
        at_ms=row.at_ms,
    )


def insert_proposal(conn: Connection, one: Proposal) -> None:
    conn.execute(
        sa.insert(proposals).values(
            deal_id=one.deal_id,
            number=one.number,
            organisation_id=one.by.organisation_id,
            project_id=one.by.project_id,
            user_id=one.by.user_id,
            side=one.side.value,
            unit_class=one.product.unit_class,
            zone=one.product.zone,
            source_id=one.source_id,
            site_id=one.site_id,
            pool_id=one.pool_id,
            lots=one.lots,
            first_hour=one.period.first_hour,
            hours=one.period.hours,
            price=one.price,
            credit_percent=one.terms.credit_percent,
            deposit_percent=one.terms.deposit_percent,
            cancel_hours=one.terms.cancel_hours,
            cancel_percent=one.terms.cancel_percent,
            note=one.note,
            valid_until_ms=one.valid_until_ms,
            held=one.held,
            state=one.state.value,
            at_ms=one.at_ms,
        )
    )


def proposals_of(conn: Connection, deal_id: str) -> list[Proposal]:
    """From the first to the last."""
    query = sa.select(proposals).where(proposals.c.deal_id == deal_id)
    return [_proposal(row) for row in conn.execute(query.order_by(proposals.c.number))]


def last_proposal(conn: Connection, deal: Deal) -> Proposal:
    query = sa.select(proposals).where(
        proposals.c.deal_id == deal.id, proposals.c.number == deal.number
    )
    return _proposal(conn.execute(query).one())


def last_proposals(conn: Connection, deal_ids: Sequence[str]) -> dict[str, Proposal]:
    query = (
        sa.select(proposals)
        .join(deals, deals.c.id == proposals.c.deal_id)
        .where(deals.c.id.in_(deal_ids), proposals.c.number == deals.c.number)
    )
    return {row.deal_id: _proposal(row) for row in conn.execute(query)}


def offering(conn: Connection, organisation_id: str, source_id: str) -> list[str]:
    """Open deals whose last proposal is that organisation's, to sell from a source."""
    query = (
        sa.select(deals.c.id)
        .join(
            proposals, (proposals.c.deal_id == deals.c.id) & (proposals.c.number == deals.c.number)
        )
        .where(
            deals.c.state == DealState.OPEN.value,
            sa.or_(
                deals.c.organisation_id == organisation_id,
                deals.c.other_organisation_id == organisation_id,
            ),
            proposals.c.source_id == source_id,
        )
    )
    return [row.id for row in conn.execute(query.order_by(deals.c.id))]


def end_proposal(conn: Connection, one: Proposal, state: ProposalState) -> None:
    """Nothing is set aside for it any more."""
    conn.execute(
        sa.update(proposals)
        .where(proposals.c.deal_id == one.deal_id, proposals.c.number == one.number)
        .values(state=state.value, held=0)
    )
