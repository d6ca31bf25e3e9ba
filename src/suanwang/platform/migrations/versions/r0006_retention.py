"""Details of jobs that ended long ago are dropped; the job knows when."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("purged_at_ms", sa.BigInteger))
    kept = sa.text("purged_at_ms IS NULL")
    op.create_index("ix_jobs_kept", "jobs", ["id"], sqlite_where=kept, postgresql_where=kept)
