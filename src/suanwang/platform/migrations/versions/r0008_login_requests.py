"""Login requests: programs that wait for their user to confirm them in a browser."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ID = sa.String(40).with_variant(sa.String(40, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "login_requests",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("user_code", sa.String(16), nullable=False, unique=True),
        sa.Column("machine", sa.String(120), nullable=False),
        sa.Column("address", sa.String(64), nullable=True),
        sa.Column("scopes", sa.String(200), nullable=True),
        sa.Column("days", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("user_id", ID, sa.ForeignKey("users.id"), nullable=True),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger, nullable=False),
        sa.Column("interval_s", sa.Integer, nullable=False),
        sa.Column("polled_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_index(op.f("ix_login_requests_expires_at_ms"), "login_requests", ["expires_at_ms"])
