"""Rent hour by hour; four eyes over payouts; red letters of a part of an invoice."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision: str | None = "0017"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ID = sa.String(40).with_variant(sa.String(40, collation="C"), "postgresql")


def upgrade() -> None:
    """Contracts signed before have paid their rent: nothing is set aside for it."""
    op.add_column("contracts", _money("rent"))
    op.add_column("contracts", _money("rent_held"))
    op.add_column("contract_hours", _money("rent"))
    op.add_column("payouts", sa.Column("released_by", ID, nullable=False, server_default=""))
    op.create_table(
        "payout_rules",
        sa.Column("organisation_id", ID, primary_key=True),
        sa.Column("alone", sa.Boolean, nullable=False),
        sa.Column("why", sa.String(200), nullable=False),
        sa.Column("changed_at_ms", sa.BigInteger, nullable=False),
        sa.Column("changed_by", ID, nullable=False),
    )
    _red_letters_in_parts()


def _red_letters_in_parts() -> None:
    """One at a time is under way, and any number are issued."""
    op.drop_index("uq_invoices_reverses", table_name="invoices")
    under_way = sa.text("reverses IS NOT NULL AND state = 'requested'")
    op.create_index(
        "uq_invoices_red_under_way",
        "invoices",
        ["reverses"],
        unique=True,
        sqlite_where=under_way,
        postgresql_where=under_way,
    )


def _money(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")
