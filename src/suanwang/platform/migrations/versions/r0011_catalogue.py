"""The micro-benchmark: tickets for runs, and what was measured."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision: str | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ID = sa.String(40).with_variant(sa.String(40, collation="C"), "postgresql")
OPEN = sa.text("state = 'open'")


def upgrade() -> None:
    op.create_table(
        "bench_tickets",
        sa.Column("id", ID, primary_key=True),
        sa.Column("job_id", ID, nullable=False, unique=True),
        sa.Column("site_id", ID, nullable=False),
        sa.Column("pool_id", ID, nullable=False),
        sa.Column("unit_class", sa.String(64), nullable=False),
        sa.Column("units", sa.Integer, nullable=False),
        sa.Column("organisation_id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("sealed_key", sa.LargeBinary, nullable=False),
        sa.Column("program", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(40), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger, nullable=True),
    )
    op.create_index(
        "ix_bench_tickets_open", "bench_tickets", ["id"], sqlite_where=OPEN, postgresql_where=OPEN
    )
    op.create_table(
        "bench_measurements",
        sa.Column("ticket_id", ID, sa.ForeignKey("bench_tickets.id"), primary_key=True),
        sa.Column("precision", sa.String(8), primary_key=True),
        sa.Column("job_id", ID, nullable=False),
        sa.Column("site_id", ID, nullable=False),
        sa.Column("pool_id", ID, nullable=False),
        sa.Column("unit_class", sa.String(64), nullable=False),
        sa.Column("mega", sa.BigInteger, nullable=False),
        sa.Column("backend", sa.String(40), nullable=False),
        sa.Column("device", sa.String(120), nullable=False),
        sa.Column("program", sa.String(16), nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.CheckConstraint("mega > 0", name="mega_positive"),
    )
    op.create_index(
        "ix_bench_measurements_pool", "bench_measurements", ["pool_id", "precision", "at_ms"]
    )
    op.create_index("ix_bench_measurements_class", "bench_measurements", ["unit_class", "at_ms"])
