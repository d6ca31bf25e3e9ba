"""Tables of invoices and their buyers, and every statement over them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from suanwang.platform.bulk import insert_rows, tuples_of
from suanwang.platform.database import Tx
from suanwang.platform.schema import Id, Money, Ms, Packed, metadata
from suanwang.trade.settlement.model import (
    Invoice,
    InvoiceLine,
    InvoiceState,
    RedReason,
    TaxParty,
)

buyer_profiles = sa.Table(
    "buyer_profiles",
    metadata,
    sa.Column("organisation_id", Id, primary_key=True),
    sa.Column("profile", Packed(TaxParty), nullable=False),
    sa.Column("updated_at_ms", Ms, nullable=False),
)

_UNDER_WAY = sa.text("reverses IS NOT NULL AND state = 'requested'")
"""Of one invoice one red letter at a time is asked for."""

invoices = sa.Table(
    "invoices",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organisation_id", Id, nullable=False),
    sa.Column("project_id", Id, nullable=False),
    sa.Column("month", sa.String(7), nullable=False),
    sa.Column("buyer", Packed(TaxParty), nullable=False),
    sa.Column("seller", Packed(TaxParty), nullable=False),
    sa.Column("lines", Packed(tuple[InvoiceLine, ...]), nullable=False),
    sa.Column("tax_percent", sa.Integer, nullable=False),
    sa.Column("gross_fen", Money, nullable=False),
    sa.Column("net_fen", Money, nullable=False),
    sa.Column("tax_fen", Money, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("requested_at_ms", Ms, nullable=False),
    sa.Column("requested_by", Id, nullable=False),
    sa.Column("remark", sa.String(200), nullable=False),
    sa.Column("number", sa.String(40), nullable=False),
    sa.Column("issued_on", sa.String(10), nullable=False),
    sa.Column("issued_by", Id, nullable=False),
    sa.Column("refusal", sa.String(500), nullable=False),
    sa.Column("reverses", Id, sa.ForeignKey("invoices.id"), nullable=True),
    sa.Column("red_reason", sa.String(16), nullable=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Index("ix_invoices_project_id_month", "project_id", "month"),
    sa.Index("ix_invoices_organisation_id_id", "organisation_id", "id"),
    sa.Index(
        "uq_invoices_number",
        "number",
        unique=True,
        sqlite_where=sa.text("number <> ''"),
        postgresql_where=sa.text("number <> ''"),
    ),
    sa.Index(
        "uq_invoices_red_under_way",
        "reverses",
        unique=True,
        sqlite_where=_UNDER_WAY,
        postgresql_where=_UNDER_WAY,
    ),
)


def find_profile(conn: Connection, organisation_id: str) -> TaxParty | None:
    query = sa.select(buyer_profiles.c.profile).where(
        buyer_profiles.c.organisation_id == organisation_id
    )
    return conn.execute(query).scalar_one_or_none()


def keep_profile(tx: Tx, organisation_id: str, profile: TaxParty) -> None:
    changed = tx.conn.execute(
        sa.update(buyer_profiles)
        .where(buyer_profiles.c.organisation_id == organisation_id)
        .values(profile=profile, updated_at_ms=tx.now_ms)
    ).rowcount
    if not changed:
        tx.conn.execute(
            sa.insert(buyer_profiles).values(
                organisation_id=organisation_id, profile=profile, updated_at_ms=tx.now_ms
            )
        )


def _invoice(row: Row[Any]) -> Invoice:
    values = dict(row._mapping)
    values["state"] = InvoiceState(row.state)
    values["red_reason"] = RedReason(row.red_reason) if row.red_reason else None
    return Invoice(**values)


def insert(conn: Connection, made: Invoice) -> None:
    values = {name: getattr(made, name) for name in made.__dataclass_fields__}
    values["state"] = made.state.value
    values["red_reason"] = made.red_reason.value if made.red_reason else None
    insert_rows(conn, invoices, tuples_of(invoices, [values]))


def find(conn: Connection, invoice_id: str) -> Invoice | None:
    row = conn.execute(sa.select(invoices).where(invoices.c.id == invoice_id)).first()
    return None if row is None else _invoice(row)


def number_taken(conn: Connection, number: str) -> bool:
    query = sa.select(invoices.c.id).where(invoices.c.number == number)
    return conn.execute(query).first() is not None


def red_letters_of(conn: Connection, invoice_id: str) -> list[Invoice]:
    """Issued ones and one that is asked for, in order of their being asked for."""
    query = (
        sa.select(invoices)
        .where(invoices.c.reverses == invoice_id, invoices.c.state != InvoiceState.REJECTED.value)
        .order_by(invoices.c.id)
    )
    return [_invoice(row) for row in conn.execute(query)]


def page(
    conn: Connection,
    organisation_id: str | None,
    state: InvoiceState | None,
    before: str | None,
    limit: int,
) -> list[Invoice]:
    query = sa.select(invoices).order_by(invoices.c.id.desc()).limit(limit)
    if organisation_id is not None:
        query = query.where(invoices.c.organisation_id == organisation_id)
    if state is not None:
        query = query.where(invoices.c.state == state.value)
    if before is not None:
        query = query.where(invoices.c.id < before)
    return [_invoice(row) for row in conn.execute(query)]


def issued_over(conn: Connection, project_id: str, month: str) -> str:
    query = (
        sa.select(invoices.c.id)
        .where(
            invoices.c.project_id == project_id,
            invoices.c.month == month,
            invoices.c.reverses.is_(None),
            invoices.c.state == InvoiceState.ISSUED.value,
        )
        .order_by(invoices.c.id.desc())
        .limit(1)
    )
    return conn.execute(query).scalar() or ""


def invoiced_fen(conn: Connection, project_id: str, month: str) -> int:
    """What is bound by invoices that stand or are being asked for."""
    binding = [InvoiceState.REQUESTED.value, InvoiceState.ISSUED.value]
    query = sa.select(sa.func.coalesce(sa.func.sum(invoices.c.gross_fen), 0)).where(
        invoices.c.project_id == project_id,
        invoices.c.month == month,
        invoices.c.reverses.is_(None),
        invoices.c.state.in_(binding),
    )
    bound = int(conn.execute(query).scalar_one())
    # of an invoice that stands, issued red letters have undone a part
    original = invoices.alias("original")
    undone = (
        sa.select(sa.func.coalesce(sa.func.sum(invoices.c.gross_fen), 0))
        .join(original, original.c.id == invoices.c.reverses)
        .where(
            invoices.c.project_id == project_id,
            invoices.c.month == month,
            invoices.c.state == InvoiceState.ISSUED.value,
            original.c.state == InvoiceState.ISSUED.value,
        )
    )
    return bound + int(conn.execute(undone).scalar_one())
