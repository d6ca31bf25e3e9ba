"""Quotations and bilateral deals."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision: str | None = "0016"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ID = sa.String(40).with_variant(sa.String(40, collation="C"), "postgresql")


def upgrade() -> None:
    _enquiries()
    _enquiry_invitations()
    _quotes()
    _deals()
    _deal_proposals()


def _enquiries() -> None:
    op.create_table(
        "enquiries",
        sa.Column("id", ID, primary_key=True),
        sa.Column("organisation_id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("alternatives", sa.LargeBinary, nullable=False),
        sa.Column("lots", sa.Integer, nullable=False),
        sa.Column("min_lots", sa.Integer, nullable=False),
        sa.Column("first_hour", sa.Integer, nullable=False),
        sa.Column("hours", sa.Integer, nullable=False),
        sa.Column("ceiling", sa.BigInteger, nullable=True),
        sa.Column("ceiling_public", sa.Boolean, nullable=False),
        sa.Column("expected", sa.BigInteger, nullable=True),
        sa.Column("bond", sa.BigInteger, nullable=False),
        sa.Column("rule", sa.String(20), nullable=False),
        sa.Column("divisible", sa.Boolean, nullable=False),
        sa.Column("for_everybody", sa.Boolean, nullable=False),
        sa.Column("invited", sa.LargeBinary, nullable=False),
        sa.Column("credit_percent", sa.Integer, nullable=False),
        sa.Column("deposit_percent", sa.Integer, nullable=False),
        sa.Column("cancel_hours", sa.Integer, nullable=False),
        sa.Column("cancel_percent", sa.Integer, nullable=False),
        sa.Column("earnest_percent", sa.Integer, nullable=False),
        sa.Column("cancel_fee_percent", sa.Integer, nullable=False),
        sa.Column("deadline_ms", sa.BigInteger, nullable=False),
        sa.Column("held", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("why", sa.String(30), nullable=False),
        sa.Column("asked_at_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger, nullable=True),
        sa.Column("key", sa.String(64), nullable=True),
        sa.UniqueConstraint("project_id", "key", name="uq_enquiries_project_id_key"),
        sa.CheckConstraint("held >= 0", name="enquiries_held"),
    )
    op.create_index("ix_enquiries_state_deadline_ms", "enquiries", ["state", "deadline_ms"])
    op.create_index("ix_enquiries_organisation_id", "enquiries", ["organisation_id", "id"])


def _enquiry_invitations() -> None:
    op.create_table(
        "enquiry_invitations",
        sa.Column("organisation_id", ID, primary_key=True),
        sa.Column("enquiry_id", ID, primary_key=True),
    )


def _quotes() -> None:
    op.create_table(
        "quotes",
        sa.Column("id", ID, primary_key=True),
        sa.Column("enquiry_id", ID, nullable=False),
        sa.Column("organisation_id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("source_id", ID, nullable=False),
        sa.Column("site_id", ID, nullable=False),
        sa.Column("pool_id", ID, nullable=False),
        sa.Column("unit_class", sa.String(60), nullable=False),
        sa.Column("zone", sa.String(60), nullable=False),
        sa.Column("lots", sa.Integer, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("price", sa.BigInteger, nullable=True),
        sa.Column("held", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("why", sa.String(30), nullable=False),
        sa.Column("won_lots", sa.Integer, nullable=False),
        sa.Column("contract_id", ID, nullable=True),
        sa.Column("quoted_at_ms", sa.BigInteger, nullable=False),
        sa.Column("key", sa.String(64), nullable=True),
        sa.UniqueConstraint("project_id", "key", name="uq_quotes_project_id_key"),
        sa.CheckConstraint("held >= 0", name="quotes_held"),
    )
    op.create_index("ix_quotes_enquiry_id_state", "quotes", ["enquiry_id", "state"])
    op.create_index("ix_quotes_organisation_id", "quotes", ["organisation_id", "id"])


def _deals() -> None:
    op.create_table(
        "deals",
        sa.Column("id", ID, primary_key=True),
        sa.Column("organisation_id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("side", sa.String(4), nullable=False),
        sa.Column("other_organisation_id", ID, nullable=False),
        sa.Column("other_project_id", ID, nullable=True),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("due_ms", sa.BigInteger, nullable=False),
        sa.Column("contract_id", ID, nullable=True),
        sa.Column("opened_at_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger, nullable=True),
        sa.Column("key", sa.String(64), nullable=True),
        sa.UniqueConstraint("project_id", "key", name="uq_deals_project_id_key"),
    )
    op.create_index("ix_deals_state_due_ms", "deals", ["state", "due_ms"])
    op.create_index("ix_deals_organisation_id", "deals", ["organisation_id", "id"])
    op.create_index("ix_deals_other_organisation_id", "deals", ["other_organisation_id", "id"])


def _deal_proposals() -> None:
    op.create_table(
        "deal_proposals",
        sa.Column("deal_id", ID, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("organisation_id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("side", sa.String(4), nullable=False),
        sa.Column("unit_class", sa.String(60), nullable=False),
        sa.Column("zone", sa.String(60), nullable=False),
        sa.Column("source_id", ID, nullable=True),
        sa.Column("site_id", ID, nullable=True),
        sa.Column("pool_id", ID, nullable=True),
        sa.Column("lots", sa.Integer, nullable=False),
        sa.Column("first_hour", sa.Integer, nullable=False),
        sa.Column("hours", sa.Integer, nullable=False),
        sa.Column("price", sa.BigInteger, nullable=False),
        sa.Column("credit_percent", sa.Integer, nullable=False),
        sa.Column("deposit_percent", sa.Integer, nullable=False),
        sa.Column("cancel_hours", sa.Integer, nullable=False),
        sa.Column("cancel_percent", sa.Integer, nullable=False),
        sa.Column("note", sa.String(500), nullable=False),
        sa.Column("valid_until_ms", sa.BigInteger, nullable=False),
        sa.Column("held", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.CheckConstraint("held >= 0", name="deal_proposals_held"),
    )
