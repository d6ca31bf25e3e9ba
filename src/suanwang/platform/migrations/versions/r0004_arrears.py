"""Arrears: since when a project owes while work of it runs."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ID = sa.String(40).with_variant(sa.String(40, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "arrears",
        sa.Column("project_id", ID, primary_key=True),
        sa.Column("since_ms", sa.BigInteger, nullable=False),
    )
