"""Tables of billing and the statements that change them or read single things."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from suanwang.platform.bulk import insert_new_rows, insert_rows
from suanwang.platform.database import Tx
from suanwang.platform.prepared import ONE_OF, Prepared
from suanwang.platform.schema import Id, Money, Ms, metadata
from suanwang.trade.billing.model import (
    Charge,
    HourlyPrices,
    PriceList,
    Relief,
    Trouble,
    UsageRecord,
    UsageTrouble,
)

IN_LIMIT = 500

price_lists = sa.Table(
    "price_lists",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("pool_id", Id, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("valid_from_ms", Ms, nullable=False),
    sa.Column("core_hour", Money, nullable=False),
    sa.Column("memory_gib_hour", Money, nullable=False),
    sa.Column("accelerator_hour", Money, nullable=False),
    sa.UniqueConstraint("pool_id", "version"),
)

UsageKey = sa.String(80)

usage = sa.Table(
    "usage_records",
    metadata,
    sa.Column("source", Id, primary_key=True),
    sa.Column("id", UsageKey, primary_key=True),
    sa.Column("lease_id", Id, nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("task_id", Id, nullable=False),
    sa.Column("job_id", Id, nullable=False),
    sa.Column("organisation_id", Id, nullable=False),
    sa.Column("project_id", Id, nullable=False),
    sa.Column("user_id", Id, nullable=False),
    sa.Column("provider_organisation_id", Id, nullable=False),
    sa.Column("site_id", Id, nullable=False),
    sa.Column("pool_id", Id, nullable=False),
    sa.Column("price_list_id", Id, nullable=False),
    sa.Column("hour", sa.Integer, nullable=False),
    sa.Column("start_ms", Ms, nullable=False),
    sa.Column("end_ms", Ms, nullable=False),
    sa.Column("billable_seconds", sa.BigInteger, nullable=False),
    sa.Column("core_milli_seconds", sa.BigInteger, nullable=False),
    sa.Column("memory_mib_seconds", sa.BigInteger, nullable=False),
    sa.Column("accelerator_milli_seconds", sa.BigInteger, nullable=False),
    sa.Column("cpu_ms", sa.BigInteger, nullable=False),
    sa.Column("final", sa.Boolean, nullable=False),
    sa.Column("hold_release_micro_yuan", Money, nullable=False),
    sa.Index("ix_usage_records_project_id_start_ms", "project_id", "start_ms"),
    # one end for each lease and epoch
    sa.Index(
        "uq_usage_records_final",
        "lease_id",
        "epoch",
        unique=True,
        sqlite_where=sa.text("final"),
        postgresql_where=sa.text("final"),
    ),
    sqlite_with_rowid=False,
)

charges = sa.Table(
    "charges",
    metadata,
    sa.Column("source", Id, primary_key=True),
    sa.Column("usage_id", UsageKey, primary_key=True),
    sa.Column("project_id", Id, nullable=False),
    sa.Column("provider_organisation_id", Id, nullable=False),
    sa.Column("at_ms", Ms, nullable=False),
    sa.Column("amount", Money, nullable=False),
    sa.Column("fee", Money, nullable=False),
    sa.Index("ix_charges_project_id_at_ms", "project_id", "at_ms"),
    sa.Index("ix_charges_provider_organisation_id_at_ms", "provider_organisation_id", "at_ms"),
    sqlite_with_rowid=False,
)

reliefs = sa.Table(
    "charge_reliefs",
    metadata,
    sa.Column("source", Id, primary_key=True),
    sa.Column("usage_id", UsageKey, primary_key=True),
    sa.Column("grant_id", Id, primary_key=True),
    sa.Column("programme_id", Id, nullable=False),
    sa.Column("project_id", Id, nullable=False),
    sa.Column("at_ms", Ms, nullable=False),
    sa.Column("amount", Money, nullable=False),
    sa.Index("ix_charge_reliefs_project_id_at_ms", "project_id", "at_ms"),
    sa.Index("ix_charge_reliefs_grant_id", "grant_id"),
    sqlite_with_rowid=False,
)

troubles = sa.Table(
    "usage_troubles",
    metadata,
    sa.Column("source", Id, primary_key=True),
    sa.Column("usage_id", UsageKey, primary_key=True),
    sa.Column("reason", sa.String(40), primary_key=True),
    sa.Column("at_ms", Ms, nullable=False),
)

_PRICES_BY_ID = Prepared(sa.select(price_lists).where(price_lists.c.id.in_(ONE_OF)))
# a record is written as the tuple of its fields
_RECORD_COLUMNS = [usage.c[name] for name in UsageRecord.__struct_fields__]


def _chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), IN_LIMIT):
        yield values[start : start + IN_LIMIT]


def _price_list(row: Row[Any]) -> PriceList:
    return PriceList(
        row.id,
        row.pool_id,
        row.version,
        row.valid_from_ms,
        row.core_hour,
        row.memory_gib_hour,
        row.accelerator_hour,
    )


def prices(conn: Connection, ids: Sequence[str]) -> dict[str, PriceList]:
    found = {}
    for chunk in _chunks(ids):
        for row in _PRICES_BY_ID.rows(conn, {"one_of": chunk}):
            found[row.id] = _price_list(row)
    return found


def _newest() -> sa.Select[Any]:
    newest = (
        sa.select(price_lists.c.pool_id, sa.func.max(price_lists.c.version).label("version"))
        .where(price_lists.c.pool_id.in_(ONE_OF))
        .group_by(price_lists.c.pool_id)
        .subquery()
    )
    return sa.select(price_lists).join(
        newest,
        (price_lists.c.pool_id == newest.c.pool_id) & (price_lists.c.version == newest.c.version),
    )


_CURRENT = Prepared(_newest())


def current_prices(conn: Connection, pool_ids: Sequence[str]) -> dict[str, PriceList]:
    found = {}
    for chunk in _chunks(pool_ids):
        for row in _CURRENT.rows(conn, {"one_of": chunk}):
            found[row.pool_id] = _price_list(row)
    return found


def pools_with_prices(
    conn: Connection, after: str | None, pool_ids: Sequence[str] | None, limit: int
) -> list[str]:
    query = sa.select(price_lists.c.pool_id).distinct().order_by(price_lists.c.pool_id)
    if after is not None:
        query = query.where(price_lists.c.pool_id > after)
    if pool_ids is not None:
        query = query.where(price_lists.c.pool_id.in_(pool_ids))
    return list(conn.execute(query.limit(limit)).scalars())


def price_history(
    conn: Connection, pool_id: str, before: int | None, limit: int
) -> list[PriceList]:
    query = (
        sa.select(price_lists)
        .where(price_lists.c.pool_id == pool_id)
        .order_by(price_lists.c.version.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(price_lists.c.version < before)
    return [_price_list(row) for row in conn.execute(query)]


def insert_price_list(tx: Tx, pool_id: str, version: int, prices: HourlyPrices) -> str | None:
    """The new id; None if another transaction has published this version."""
    row = (
        tx.ids.new("prl"),
        pool_id,
        version,
        tx.now_ms,
        prices.core_hour,
        prices.memory_gib_hour,
        prices.accelerator_hour,
    )
    inserted = insert_new_rows(tx.conn, price_lists, [row], ("id",))
    return row[0] if inserted else None


def ended_leases(conn: Connection, lease_ids: Sequence[str]) -> set[tuple[str, int]]:
    """(lease, epoch) of those that have their final record."""
    found: set[tuple[str, int]] = set()
    for chunk in _chunks(lease_ids):
        query = sa.select(usage.c.lease_id, usage.c.epoch).where(
            usage.c.final, usage.c.lease_id.in_(chunk)
        )
        found.update((row[0], row[1]) for row in conn.execute(query))
    return found


def insert_usage(conn: Connection, records: Sequence[UsageRecord]) -> set[tuple[str, str]]:
    """(source, id) of the records that were new."""
    rows = [msgspec.structs.astuple(record) for record in records]
    return {(row[0], row[1]) for row in insert_new_rows(conn, usage, rows, ("source", "id"))}


def insert_charges(conn: Connection, drafts: Sequence[Charge]) -> set[tuple[str, str]]:
    """(source, usage id) of the charges that were new."""
    rows = [
        (
            draft.source,
            draft.usage_id,
            draft.project_id,
            draft.provider_organisation_id,
            draft.at_ms,
            draft.amount_micro_yuan,
            draft.fee_micro_yuan,
        )
        for draft in drafts
    ]
    inserted = insert_new_rows(conn, charges, rows, ("source", "usage_id"))
    return {(row[0], row[1]) for row in inserted}


def insert_reliefs(conn: Connection, found: Sequence[tuple[Charge, Relief]]) -> None:
    rows = [
        (
            charge.source,
            charge.usage_id,
            relief.grant_id,
            relief.programme_id,
            charge.project_id,
            charge.at_ms,
            relief.amount_micro_yuan,
        )
        for charge, relief in found
    ]
    insert_rows(conn, reliefs, rows)


def uncharged(conn: Connection, from_ms: int, until_ms: int, limit: int) -> list[UsageRecord]:
    query = (
        sa.select(*_RECORD_COLUMNS)
        .outerjoin(
            charges, (charges.c.source == usage.c.source) & (charges.c.usage_id == usage.c.id)
        )
        .where(
            usage.c.start_ms >= from_ms,
            usage.c.start_ms < until_ms,
            charges.c.usage_id.is_(None),
        )
        .order_by(usage.c.source, usage.c.id)
        .limit(limit)
    )
    return [UsageRecord(*row) for row in conn.execute(query)]


def insert_troubles(conn: Connection, rows: Sequence[UsageTrouble]) -> None:
    values = [(row.source, row.usage_id, row.reason.value, row.at_ms) for row in rows]
    insert_new_rows(conn, troubles, sorted(values), ("source",))


def find_troubles(conn: Connection, limit: int) -> list[UsageTrouble]:
    query = (
        sa.select(troubles)
        .order_by(troubles.c.at_ms, troubles.c.source, troubles.c.usage_id)
        .limit(limit)
    )
    return [
        UsageTrouble(row.source, row.usage_id, Trouble(row.reason), row.at_ms)
        for row in conn.execute(query)
    ]


def relief_totals(conn: Connection) -> dict[str, int]:
    """Project → all that programmes paid of its charges."""
    query = sa.select(reliefs.c.project_id, sa.func.sum(reliefs.c.amount)).group_by(
        reliefs.c.project_id
    )
    return {project_id: int(amount) for project_id, amount in conn.execute(query)}


def charge_totals(conn: Connection) -> dict[str, int]:
    """Project id → sum of its charges, over all time."""
    query = sa.select(charges.c.project_id, sa.func.sum(charges.c.amount)).group_by(
        charges.c.project_id
    )
    return {project_id: int(amount) for project_id, amount in conn.execute(query)}
