"""The table of alerts and its statements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from suanwang.platform.bulk import insert_new_rows, tuples_of
from suanwang.platform.database import Tx
from suanwang.platform.schema import Id, Ms, Packed, metadata
from suanwang.trade.catalogue.model import Product
from suanwang.trade.market.surveillance import Alert, AlertKind, KnownAlert, Wanted

alerts = sa.Table(
    "market_alerts",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("key", sa.String(200), nullable=False, unique=True),
    sa.Column("unit_class", sa.String(60), nullable=False),
    sa.Column("zone", sa.String(60), nullable=False),
    sa.Column("organisations", Packed(list[str]), nullable=False),
    sa.Column("evidence", Packed(list[str]), nullable=False),
    sa.Column("detail", sa.String(500), nullable=False),
    sa.Column("found_at_ms", Ms, nullable=False),
    sa.Column("closed_at_ms", Ms, nullable=True),
    sa.Column("note", sa.String(500), nullable=False),
    sa.Index("ix_market_alerts_closed_at_ms", "closed_at_ms", "id"),
)


def insert_new(tx: Tx, found: Sequence[Alert]) -> int:
    """Those that were not known; how many."""
    rows = [
        {
            "id": tx.ids.new("alt"),
            "kind": one.kind.value,
            "key": one.key,
            "unit_class": one.product.unit_class,
            "zone": one.product.zone,
            "organisations": list(one.organisations),
            "evidence": list(one.evidence),
            "detail": one.detail,
            "found_at_ms": tx.now_ms,
            "closed_at_ms": None,
            "note": "",
        }
        for one in sorted(found, key=lambda one: one.key)
    ]
    return len(insert_new_rows(tx.conn, alerts, tuples_of(alerts, rows), ("id",)))


def _known(row: Row[Any]) -> KnownAlert:
    alert = Alert(
        kind=AlertKind(row.kind),
        key=row.key,
        product=Product(row.unit_class, row.zone),
        organisations=tuple(row.organisations),
        evidence=tuple(row.evidence),
        detail=row.detail,
    )
    return KnownAlert(row.id, alert, row.found_at_ms, row.closed_at_ms, row.note)


def by_id(conn: Connection, alert_id: str) -> KnownAlert | None:
    row = conn.execute(sa.select(alerts).where(alerts.c.id == alert_id)).first()
    return _known(row) if row is not None else None


def page(conn: Connection, wanted: Wanted, *, before: str | None, limit: int) -> list[KnownAlert]:
    """The latest first."""
    query = sa.select(alerts).order_by(alerts.c.id.desc()).limit(limit)
    if wanted.only_open:
        query = query.where(alerts.c.closed_at_ms.is_(None))
    if wanted.kind is not None:
        query = query.where(alerts.c.kind == wanted.kind.value)
    if wanted.unit_class is not None:
        query = query.where(alerts.c.unit_class == wanted.unit_class)
    if wanted.zone is not None:
        query = query.where(alerts.c.zone == wanted.zone)
    if before is not None:
        query = query.where(alerts.c.id < before)
    return [_known(row) for row in conn.execute(query)]


def products(conn: Connection) -> list[Product]:
    """What there are alerts of."""
    query = sa.select(alerts.c.unit_class, alerts.c.zone).distinct()
    return sorted(Product(*row) for row in conn.execute(query))


def close(conn: Connection, alert_id: str, at_ms: int, note: str) -> bool:
    """False: there is no such open alert."""
    is_it = (alerts.c.id == alert_id) & alerts.c.closed_at_ms.is_(None)
    statement = sa.update(alerts).where(is_it).values(closed_at_ms=at_ms, note=note)
    return conn.execute(statement).rowcount == 1
