"""Bring the database to the schema of this version."""

from __future__ import annotations

import importlib

import sqlalchemy as sa

from suanwang.platform.schema import metadata

TABLE_MODULES = (
    "suanwang.platform.outbox",
    "suanwang.tenancy.store",
    "suanwang.tenancy.access_store",
    "suanwang.trade.ledger.store",
    "suanwang.trade.billing.store",
    "suanwang.grid.sites.store",
    "suanwang.grid.data.store",
    "suanwang.grid.jobs.tables",
)
"""Every module that adds tables."""


def load_tables() -> sa.MetaData:
    """The metadata with all tables on it."""
    for name in TABLE_MODULES:
        importlib.import_module(name)
    return metadata


def migrate(url: str) -> None:
    load_tables()
    engine = sa.create_engine(url)
    metadata.create_all(engine)
    engine.dispose()
