"""Details of jobs that ended long ago are dropped; refusals name their organisation."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ID = sa.String(40).with_variant(sa.String(40, collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("jobs", sa.Column("purged_at_ms", sa.BigInteger))
    kept = sa.text("purged_at_ms IS NULL")
    # said anew by the next round
    op.execute(sa.text("DELETE FROM refusals"))
    with op.batch_alter_table("refusals") as refusals:
        refusals.add_column(sa.Column("organisation_id", ID, nullable=False))
    op.create_index("ix_jobs_kept", "jobs", ["id"], sqlite_where=kept, postgresql_where=kept)
