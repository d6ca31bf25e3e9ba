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
    _credits()
    # told by the grants from now on
    op.execute("ALTER TABLE policy_budgets DROP COLUMN redeemed")
    op.create_index("ix_policy_grants_programme_id_year", "policy_grants", ["programme_id", "year"])


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


def _credits() -> None:
    """What disputes gave back, entry by entry; until now a dispute had one."""
    op.create_table(
        "dispute_credits",
        sa.Column("dispute_id", ID, sa.ForeignKey("disputes.id"), primary_key=True),
        sa.Column("entry_id", ID, primary_key=True),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.CheckConstraint("amount > 0", name="dispute_credits_amount"),
    )
    op.create_index("ix_dispute_credits_entry_id", "dispute_credits", ["entry_id"])
    op.execute(
        "INSERT INTO dispute_credits (dispute_id, entry_id, at_ms, amount) "
        "SELECT id, subject_id, subject_at_ms, credited FROM disputes WHERE credited > 0"
    )


def _money(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")
