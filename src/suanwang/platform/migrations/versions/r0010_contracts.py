"""Contracts, what was measured of them, and the capacity that is promised."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ID = sa.String(40).with_variant(sa.String(40, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "contracts",
        sa.Column("id", ID, primary_key=True),
        sa.Column("origin", sa.String(16), nullable=False),
        sa.Column("reference", ID, nullable=False),
        sa.Column("buyer_organisation_id", ID, nullable=False),
        sa.Column("buyer_project_id", ID, nullable=False),
        sa.Column("buyer_user_id", ID, nullable=False),
        sa.Column("seller_organisation_id", ID, nullable=False),
        sa.Column("seller_project_id", ID, nullable=False),
        sa.Column("seller_user_id", ID, nullable=False),
        sa.Column("site_id", ID, nullable=False),
        sa.Column("pool_id", ID, nullable=False),
        sa.Column("unit_class", sa.String(60), nullable=False),
        sa.Column("zone", sa.String(60), nullable=False),
        sa.Column("first_hour", sa.Integer, nullable=False),
        sa.Column("hours", sa.Integer, nullable=False),
        sa.Column("lots", sa.Integer, nullable=False),
        sa.Column("price", sa.BigInteger, nullable=False),
        sa.Column("credit_percent", sa.Integer, nullable=False),
        sa.Column("deposit_percent", sa.Integer, nullable=False),
        sa.Column("cancel_hours", sa.Integer, nullable=False),
        sa.Column("cancel_percent", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("signed_at_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger, nullable=True),
        sa.Column("settled_hours", sa.Integer, nullable=False),
        sa.Column("buyer_held", sa.BigInteger, nullable=False),
        sa.Column("seller_held", sa.BigInteger, nullable=False),
        sa.Column("backing_id", ID, nullable=True),
        sa.CheckConstraint("buyer_held >= 0 AND seller_held >= 0", name="contracts_held"),
    )
    for columns in (
        ("buyer_project_id", "id"),
        ("seller_project_id", "id"),
        ("state", "first_hour"),
    ):
        name = columns[0] if columns[1] == "id" else "_".join(columns)
        op.create_index(f"ix_contracts_{name}", "contracts", list(columns))
    op.create_index("ix_contracts_signed_at_ms", "contracts", ["signed_at_ms"])
    op.create_table(
        "contract_hours",
        sa.Column("contract_id", ID, primary_key=True),
        sa.Column("hour", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("samples", sa.Integer, nullable=False),
        sa.Column("delivered", sa.BigInteger, nullable=False),
        sa.Column("charged", sa.BigInteger, nullable=False),
        sa.Column("credited", sa.BigInteger, nullable=False),
        sa.Column("settled_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "pledged_capacity",
        sa.Column("source_id", ID, primary_key=True),
        sa.Column("hour", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("lots", sa.Integer, nullable=False),
        sa.CheckConstraint("lots >= 0", name="pledged_capacity_lots"),
    )
