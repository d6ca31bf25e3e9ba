"""Settlement: shut books, closes of days, payouts, invoices, disputes."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision: str | None = "0011"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ID = sa.String(40).with_variant(sa.String(40, collation="C"), "postgresql")
MONEY = sa.BigInteger
MS = sa.BigInteger


def upgrade() -> None:
    op.create_table(
        "ledger_books",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("open_from_ms", MS, nullable=False),
    )
    _closes()
    _payouts()
    _invoices()
    _disputes()


def _closes() -> None:
    op.create_table(
        "closes",
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("until_ms", MS, nullable=False),
        sa.Column("postings", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("closed_at_ms", MS, nullable=False),
        sa.Column("closed_by", ID, nullable=False),
    )
    op.create_table(
        "close_lines",
        sa.Column("day", sa.Integer, sa.ForeignKey("closes.day"), primary_key=True),
        sa.Column("currency", sa.String(40), primary_key=True),
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("accounts", sa.BigInteger, nullable=False),
        sa.Column("postings", sa.BigInteger, nullable=False),
        sa.Column("opening", MONEY, nullable=False),
        sa.Column("debit", MONEY, nullable=False),
        sa.Column("credit", MONEY, nullable=False),
        sa.Column("closing", MONEY, nullable=False),
    )


def _payouts() -> None:
    op.create_table(
        "payouts",
        sa.Column("id", ID, primary_key=True),
        sa.Column("run_id", ID, nullable=False),
        sa.Column("organisation_id", ID, nullable=False),
        sa.Column("currency", sa.String(40), nullable=False),
        sa.Column("amount", MONEY, nullable=False),
        sa.Column("from_ms", MS, nullable=False),
        sa.Column("until_ms", MS, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("proposed_at_ms", MS, nullable=False),
        sa.Column("proposed_by", ID, nullable=False),
        sa.Column("approved_by", ID, nullable=False),
        sa.Column("ended_at_ms", MS, nullable=True),
        sa.Column("bank_reference", sa.String(200), nullable=False),
        sa.Column("entry_id", ID, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.CheckConstraint("amount > 0", name="amount_positive"),
    )
    op.create_index(op.f("ix_payouts_organisation_id_id"), "payouts", ["organisation_id", "id"])
    op.create_table(
        "payout_lines",
        sa.Column("payout_id", ID, sa.ForeignKey("payouts.id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("what", sa.String(24), nullable=False),
        sa.Column("key", sa.String(80), nullable=False),
        sa.Column("amount", MONEY, nullable=False),
    )


def _invoices() -> None:
    op.create_table(
        "buyer_profiles",
        sa.Column("organisation_id", ID, primary_key=True),
        sa.Column("profile", sa.LargeBinary, nullable=False),
        sa.Column("updated_at_ms", MS, nullable=False),
    )
    op.create_table(
        "invoices",
        sa.Column("id", ID, primary_key=True),
        sa.Column("organisation_id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("month", sa.String(7), nullable=False),
        sa.Column("buyer", sa.LargeBinary, nullable=False),
        sa.Column("seller", sa.LargeBinary, nullable=False),
        sa.Column("lines", sa.LargeBinary, nullable=False),
        sa.Column("tax_percent", sa.Integer, nullable=False),
        sa.Column("gross_fen", MONEY, nullable=False),
        sa.Column("net_fen", MONEY, nullable=False),
        sa.Column("tax_fen", MONEY, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("requested_at_ms", MS, nullable=False),
        sa.Column("requested_by", ID, nullable=False),
        sa.Column("remark", sa.String(200), nullable=False),
        sa.Column("number", sa.String(40), nullable=False),
        sa.Column("issued_on", sa.String(10), nullable=False),
        sa.Column("issued_by", ID, nullable=False),
        sa.Column("refusal", sa.String(500), nullable=False),
        sa.Column("reverses", ID, sa.ForeignKey("invoices.id"), nullable=True),
        sa.Column("red_reason", sa.String(16), nullable=True),
        sa.Column("version", sa.BigInteger, nullable=False),
    )
    op.create_index(op.f("ix_invoices_project_id_month"), "invoices", ["project_id", "month"])
    op.create_index(op.f("ix_invoices_organisation_id_id"), "invoices", ["organisation_id", "id"])
    for name, column, where in (
        ("uq_invoices_number", "number", "number <> ''"),
        ("uq_invoices_reverses", "reverses", "reverses IS NOT NULL AND state <> 'rejected'"),
    ):
        op.create_index(
            op.f(name),
            "invoices",
            [column],
            unique=True,
            sqlite_where=sa.text(where),
            postgresql_where=sa.text(where),
        )


def _disputes() -> None:
    op.create_table(
        "disputes",
        sa.Column("id", ID, primary_key=True),
        sa.Column("subject_kind", sa.String(16), nullable=False),
        sa.Column("subject_id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("organisation_id", ID, nullable=False),
        sa.Column("provider_organisation_id", ID, nullable=False),
        sa.Column("reason", sa.String(24), nullable=False),
        sa.Column("claimed", MONEY, nullable=False),
        sa.Column("currency", sa.String(40), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("opened_at_ms", MS, nullable=False),
        sa.Column("opened_by", ID, nullable=False),
        sa.Column("answer_by_ms", MS, nullable=False),
        sa.Column("decide_by_ms", MS, nullable=False),
        sa.Column("subject_at_ms", MS, nullable=False),
        sa.Column("awarded", MONEY, nullable=False),
        sa.Column("credited", MONEY, nullable=False),
        sa.Column("entry_id", ID, nullable=True),
        sa.Column("version", sa.BigInteger, nullable=False),
    )
    for column in ("organisation_id", "provider_organisation_id"):
        op.create_index(op.f(f"ix_disputes_{column}_id"), "disputes", [column, "id"])
    standing = sa.text("state <> 'withdrawn'")
    op.create_index(
        op.f("uq_disputes_subject"),
        "disputes",
        ["subject_kind", "subject_id"],
        unique=True,
        sqlite_where=standing,
        postgresql_where=standing,
    )
    op.create_table(
        "dispute_events",
        sa.Column("dispute_id", ID, sa.ForeignKey("disputes.id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at_ms", MS, nullable=False),
        sa.Column("actor_user_id", ID, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("text", sa.String(2000), nullable=False),
    )
