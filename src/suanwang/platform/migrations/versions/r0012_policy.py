"""Policy programmes: documents, profiles, applications, grants, budgets; what they paid."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision: str | None = "0011"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ID = sa.String(40).with_variant(sa.String(40, collation="C"), "postgresql")
MS = sa.BigInteger
MONEY = sa.BigInteger


def upgrade() -> None:
    _reliefs()
    _documents()
    _applications()
    _grants()
    _limits()


def _reliefs() -> None:
    op.create_table(
        "charge_reliefs",
        sa.Column("source", ID, primary_key=True),
        sa.Column("usage_id", sa.String(80), primary_key=True),
        sa.Column("grant_id", ID, primary_key=True),
        sa.Column("programme_id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("at_ms", MS, nullable=False),
        sa.Column("amount", MONEY, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_charge_reliefs_project_id_at_ms"), "charge_reliefs", ["project_id", "at_ms"]
    )
    op.create_index(op.f("ix_charge_reliefs_grant_id"), "charge_reliefs", ["grant_id"])


def _documents() -> None:
    op.create_table(
        "programmes",
        sa.Column("id", ID, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
        sa.Column("published_at_ms", MS, nullable=False),
        sa.Column("published_by", ID, nullable=False),
    )
    op.create_table(
        "policy_profiles",
        sa.Column("organisation_id", ID, primary_key=True),
        sa.Column("profile", sa.LargeBinary, nullable=False),
        sa.Column("changed_at_ms", MS, nullable=False),
        sa.Column("verified_at_ms", MS, nullable=True),
        sa.Column("verified_by", ID, nullable=True),
    )


def _applications() -> None:
    op.create_table(
        "policy_applications",
        sa.Column("id", ID, primary_key=True),
        sa.Column("programme_id", ID, nullable=False),
        sa.Column("programme_version", sa.Integer, nullable=False),
        sa.Column("organisation_id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("request", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("submitted_at_ms", MS, nullable=False),
        sa.Column("decided_at_ms", MS, nullable=True),
        sa.Column("decided_by", ID, nullable=True),
        sa.Column("remark", sa.Text, nullable=False),
        sa.Column("grant_id", ID, nullable=True),
    )
    op.create_index(
        op.f("ix_policy_applications_organisation_id_id"),
        "policy_applications",
        ["organisation_id", "id"],
    )
    op.create_index(op.f("ix_policy_applications_state_id"), "policy_applications", ["state", "id"])


def _grants() -> None:
    op.create_table(
        "policy_grants",
        sa.Column("id", ID, primary_key=True),
        sa.Column("application_id", ID, nullable=False),
        sa.Column("programme_id", ID, nullable=False),
        sa.Column("programme_version", sa.Integer, nullable=False),
        sa.Column("organisation_id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("item", sa.String(32), nullable=False),
        sa.Column("year", sa.Integer, nullable=False),
        sa.Column("amount", MONEY, nullable=False),
        sa.Column("redeemed", MONEY, nullable=False),
        sa.Column("percent_domestic", sa.Integer, nullable=False),
        sa.Column("percent_other", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("granted_at_ms", MS, nullable=False),
        sa.Column("expires_at_ms", MS, nullable=True),
        sa.Column("reclaimed", MONEY, nullable=False),
        sa.Column("audited_at_ms", MS, nullable=True),
        sa.Column("finding", sa.String(16), nullable=True),
        sa.Column("remark", sa.Text, nullable=False),
        sa.CheckConstraint("redeemed >= 0 AND redeemed <= amount", name="redeemed_within_amount"),
    )
    for columns in (
        ["project_id", "state"],
        ["organisation_id", "id"],
        ["state", "expires_at_ms"],
    ):
        name = op.f(f"ix_policy_grants_{'_'.join(columns)}")
        op.create_index(name, "policy_grants", columns)


def _limits() -> None:
    op.create_table(
        "policy_budgets",
        sa.Column("programme_id", ID, primary_key=True),
        sa.Column("year", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("pool", MONEY, nullable=False),
        sa.Column("committed", MONEY, nullable=False),
        sa.Column("redeemed", MONEY, nullable=False),
        sa.CheckConstraint("committed >= 0 AND committed <= pool", name="committed_within_pool"),
    )
    op.create_table(
        "policy_allowances",
        sa.Column("programme_id", ID, primary_key=True),
        sa.Column("organisation_id", ID, primary_key=True),
        sa.Column("year", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("granted", MONEY, nullable=False),
    )
    op.create_table(
        "policy_helped",
        sa.Column("group", sa.String(64), primary_key=True),
        sa.Column("subject", sa.String(160), primary_key=True),
        sa.Column("grant_id", ID, nullable=False),
    )
