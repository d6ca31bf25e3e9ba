"""The market: instruments, orders, trades, listings."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision: str | None = "0013"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ID = sa.String(40).with_variant(sa.String(40, collation="C"), "postgresql")
NAME = sa.String(140).with_variant(sa.String(140, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "instruments",
        sa.Column("name", NAME, primary_key=True),
        sa.Column("unit_class", sa.String(60), nullable=False),
        sa.Column("zone", sa.String(60), nullable=False),
        sa.Column("first_hour", sa.Integer, nullable=False),
        sa.Column("hours", sa.Integer, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("last_price", sa.BigInteger, nullable=True),
        sa.Column("halted", sa.Boolean, nullable=False),
        sa.Column("low", sa.BigInteger, nullable=True),
        sa.Column("high", sa.BigInteger, nullable=True),
        sa.Column("closed", sa.Boolean, nullable=False),
    )
    op.create_index("ix_instruments_closed_first_hour", "instruments", ["closed", "first_hour"])
    _orders()
    _trades()
    _listings()
    _alerts()


def _orders() -> None:
    op.create_table(
        "market_orders",
        sa.Column("id", ID, primary_key=True),
        sa.Column("instrument", NAME, nullable=False),
        sa.Column("organisation_id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("side", sa.String(4), nullable=False),
        sa.Column("limit_price", sa.BigInteger, nullable=True),
        sa.Column("lots", sa.Integer, nullable=False),
        sa.Column("lots_left", sa.Integer, nullable=False),
        sa.Column("traded", sa.Integer, nullable=False),
        sa.Column("stay", sa.String(10), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("why", sa.String(20), nullable=False),
        sa.Column("source_id", ID, nullable=True),
        sa.Column("pool_id", ID, nullable=True),
        sa.Column("site_id", ID, nullable=True),
        sa.Column("held_per_lot", sa.BigInteger, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("placed_at_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger, nullable=True),
        sa.Column("key", sa.String(64), nullable=True),
        sa.UniqueConstraint("project_id", "key", name="uq_market_orders_project_id_key"),
    )
    op.create_index("ix_market_orders_instrument_state", "market_orders", ["instrument", "state"])
    op.create_index("ix_market_orders_project_id", "market_orders", ["project_id", "id"])
    op.create_index("ix_market_orders_ended_at_ms", "market_orders", ["ended_at_ms"])


def _trades() -> None:
    op.create_table(
        "market_trades",
        sa.Column("id", ID, primary_key=True),
        sa.Column("instrument", NAME, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("price", sa.BigInteger, nullable=False),
        sa.Column("lots", sa.Integer, nullable=False),
        sa.Column("aggressor", sa.String(4), nullable=False),
        sa.Column("buy_order_id", ID, nullable=False),
        sa.Column("sell_order_id", ID, nullable=False),
        sa.Column("buyer_project_id", ID, nullable=False),
        sa.Column("seller_project_id", ID, nullable=False),
        sa.Column("contract_id", ID, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_market_trades_instrument_at_ms", "market_trades", ["instrument", "at_ms"])
    op.create_index("ix_market_trades_at_ms", "market_trades", ["at_ms"])


def _listings() -> None:
    op.create_table(
        "listings",
        sa.Column("id", ID, primary_key=True),
        sa.Column("organisation_id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("source_id", ID, nullable=False),
        sa.Column("site_id", ID, nullable=False),
        sa.Column("pool_id", ID, nullable=False),
        sa.Column("unit_class", sa.String(60), nullable=False),
        sa.Column("zone", sa.String(60), nullable=False),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("first_hour", sa.Integer, nullable=False),
        sa.Column("hours", sa.Integer, nullable=False),
        sa.Column("lots", sa.Integer, nullable=False),
        sa.Column("min_lots", sa.Integer, nullable=False),
        sa.Column("min_hours", sa.Integer, nullable=False),
        sa.Column("max_hours", sa.Integer, nullable=False),
        sa.Column("price", sa.BigInteger, nullable=False),
        sa.Column("credit_percent", sa.Integer, nullable=False),
        sa.Column("deposit_percent", sa.Integer, nullable=False),
        sa.Column("cancel_hours", sa.Integer, nullable=False),
        sa.Column("cancel_percent", sa.Integer, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("listed_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_listings_state_unit_class", "listings", ["state", "unit_class"])
    op.create_index("ix_listings_organisation_id", "listings", ["organisation_id"])
    op.create_table(
        "listing_purchases",
        sa.Column("project_id", ID, primary_key=True),
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("contract_id", ID, nullable=False),
    )


def _alerts() -> None:
    op.create_table(
        "market_alerts",
        sa.Column("id", ID, primary_key=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("key", sa.String(200), nullable=False, unique=True),
        sa.Column("unit_class", sa.String(60), nullable=False),
        sa.Column("zone", sa.String(60), nullable=False),
        sa.Column("organisations", sa.LargeBinary, nullable=False),
        sa.Column("evidence", sa.LargeBinary, nullable=False),
        sa.Column("detail", sa.String(500), nullable=False),
        sa.Column("found_at_ms", sa.BigInteger, nullable=False),
        sa.Column("closed_at_ms", sa.BigInteger, nullable=True),
        sa.Column("note", sa.String(500), nullable=False),
    )
    op.create_index("ix_market_alerts_closed_at_ms", "market_alerts", ["closed_at_ms", "id"])
