"""Rent hour by hour."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision: str | None = "0017"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Contracts signed before have paid their rent: nothing is set aside for it."""
    op.add_column("contracts", _money("rent"))
    op.add_column("contracts", _money("rent_held"))
    op.add_column("contract_hours", _money("rent"))


def _money(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")
