"""The call auction: rounds, orders, prices, links between zones."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision: str | None = "0015"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ID = sa.String(40).with_variant(sa.String(40, collation="C"), "postgresql")


def upgrade() -> None:
    _rounds()
    _orders()
    op.create_table(
        "auction_prices",
        sa.Column("round_id", ID, primary_key=True),
        sa.Column("unit_class", sa.String(60), primary_key=True),
        sa.Column("zone", sa.String(60), primary_key=True),
        sa.Column("hour", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("price", sa.BigInteger, nullable=True),
        sa.Column("lots", sa.Integer, nullable=False),
        sa.Column("demand", sa.LargeBinary, nullable=False),
        sa.Column("supply", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "auction_links",
        sa.Column("source", sa.String(60), primary_key=True),
        sa.Column("target", sa.String(60), primary_key=True),
        sa.Column("lots", sa.Integer, nullable=False),
        sa.Column("cost", sa.BigInteger, nullable=False),
    )


def _rounds() -> None:
    op.create_table(
        "auction_rounds",
        sa.Column("id", ID, primary_key=True),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("first_hour", sa.Integer, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("opened_at_ms", sa.BigInteger, nullable=False),
        sa.Column("closes_at_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger, nullable=True),
        sa.Column("why", sa.String(200), nullable=False),
        sa.Column("links", sa.LargeBinary, nullable=False),
        sa.Column("orders", sa.Integer, nullable=False),
        sa.Column("cleared", sa.LargeBinary, nullable=True),
        sa.UniqueConstraint("first_hour", name="uq_auction_rounds_first_hour"),
    )
    op.create_index(
        "ix_auction_rounds_state_closes_at_ms", "auction_rounds", ["state", "closes_at_ms"]
    )


def _orders() -> None:
    op.create_table(
        "auction_orders",
        sa.Column("id", ID, primary_key=True),
        sa.Column("round_id", ID, nullable=False),
        sa.Column("organisation_id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("bid", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("held", sa.BigInteger, nullable=False),
        sa.Column("pool_id", ID, nullable=True),
        sa.Column("site_id", ID, nullable=True),
        sa.Column("placed_at_ms", sa.BigInteger, nullable=False),
        sa.Column("changed_at_ms", sa.BigInteger, nullable=False),
        sa.Column("key", sa.String(64), nullable=True),
        sa.Column("result", sa.LargeBinary, nullable=True),
        sa.UniqueConstraint("project_id", "key", name="uq_auction_orders_project_id_key"),
    )
    op.create_index("ix_auction_orders_round_id_id", "auction_orders", ["round_id", "id"])
    op.create_index("ix_auction_orders_project_id_id", "auction_orders", ["project_id", "id"])
