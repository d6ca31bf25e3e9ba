"""Leadership: which process plans and sweeps. Ids of shares have room for project and user."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "leaderships",
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("holder", sa.String(64), nullable=False),
        sa.Column("term", sa.BigInteger, nullable=False),
        sa.Column("until_ms", sa.BigInteger, nullable=False),
    )
    long_id = sa.String(81).with_variant(sa.String(81, collation="C"), "postgresql")
    with op.batch_alter_table("share_usage") as share_usage:
        share_usage.alter_column(
            "share_id", type_=long_id, existing_type=sa.String(40), existing_nullable=False
        )
