"""Surveillance as a use case: look over the last day, keep what is new, let people close it."""

from __future__ import annotations

from sqlalchemy.engine import Connection

from suanwang.kernel.errors import NotFound
from suanwang.kernel.time import MS_PER_DAY
from suanwang.platform.database import Tx
from suanwang.trade.billing.rules import date_text, day_of
from suanwang.trade.contracts import service as contracts
from suanwang.trade.market import alerts_store as store
from suanwang.trade.market import orders_store, surveillance
from suanwang.trade.market.surveillance import Alert, KnownAlert


def look(conn: Connection, now_ms: int) -> list[Alert]:
    """What the last 24 hours look like; each alert is named once a day."""
    since_ms = now_ms - MS_PER_DAY
    day = date_text(day_of(now_ms))
    signed = contracts.signed_since(conn, since_ms)
    cancelled = orders_store.cancelled_since(conn, since_ms)
    trades = orders_store.trades_since(conn, since_ms) if cancelled else []
    owners = {
        party.project_id: party.organisation_id
        for one in signed
        for party in (one.buyer, one.seller)
    }
    return [
        *surveillance.round_trips(signed, day),
        *surveillance.spoofs(cancelled, trades, owners, day),
    ]


def keep(tx: Tx, found: list[Alert]) -> int:
    """How many of them were new."""
    return store.insert_new(tx, found)


def page(
    conn: Connection, *, only_open: bool = True, before: str | None = None, limit: int = 100
) -> list[KnownAlert]:
    return store.page(conn, only_open=only_open, before=before, limit=limit)


def close(tx: Tx, alert_id: str, note: str) -> None:
    """Raises NotFound."""
    if not store.close(tx.conn, alert_id, tx.now_ms, note):
        raise NotFound("NoSuchAlert", f"There is no open alert {alert_id}.", hint="See the alerts.")
