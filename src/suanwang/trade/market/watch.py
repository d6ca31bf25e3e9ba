"""Surveillance as a use case: look over the last day, keep what is new, let people close it."""

from __future__ import annotations

from sqlalchemy.engine import Connection

from suanwang.engines.matching.model import Side
from suanwang.kernel.errors import Conflict
from suanwang.kernel.time import MS_PER_DAY
from suanwang.platform.database import Tx
from suanwang.tenancy.rules import not_found
from suanwang.trade.billing.rules import date_text, day_of
from suanwang.trade.catalogue.model import Product
from suanwang.trade.contracts import service as contracts
from suanwang.trade.contracts.model import Contract
from suanwang.trade.market import alerts_store as store
from suanwang.trade.market import orders_store, surveillance
from suanwang.trade.market.instruments import name_of
from suanwang.trade.market.model import Order, Trade
from suanwang.trade.market.surveillance import Alert, AlertKind, Evidence, KnownAlert, Wanted

MOST_TRADES = 1_000
"""Looked through for one order's minutes."""


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
    conn: Connection,
    wanted: Wanted = Wanted(),  # noqa: B008 it is frozen
    *,
    before: str | None = None,
    limit: int = 100,
) -> list[KnownAlert]:
    return store.page(conn, wanted, before=before, limit=limit)


def products(conn: Connection) -> list[Product]:
    """What there are alerts of."""
    return store.products(conn)


def get(conn: Connection, alert_id: str) -> KnownAlert:
    found = store.by_id(conn, alert_id)
    if found is None:
        raise not_found("alert", alert_id)
    return found


def evidence(conn: Connection, alert: Alert) -> Evidence:
    if alert.kind is AlertKind.ROUND_TRIP:
        found = contracts.by_ids(conn, alert.evidence)
        by_time = sorted(found, key=lambda one: (one.signed_at_ms, one.id))
        return Evidence(contracts=tuple(by_time))
    orders = orders_store.orders_by_ids(conn, alert.evidence)
    trades: dict[str, Trade] = {}
    made: dict[str, Contract] = {}
    for order in orders:
        for trade, contract in _meanwhile(conn, order):
            trades[trade.id], made[contract.id] = trade, contract
    return Evidence(
        tuple(sorted(orders, key=lambda one: (one.placed_at_ms, one.id))),
        tuple(sorted(trades.values(), key=lambda one: (one.at_ms, one.id))),
        tuple(made.values()),
    )


def _meanwhile(conn: Connection, order: Order) -> list[tuple[Trade, Contract]]:
    """What the owner of an order traded on the other side while it stood, and near it."""
    begin_ms, end_ms = surveillance.span_of(order)
    trades = orders_store.trades_since(
        conn, begin_ms, until_ms=end_ms, instrument=name_of(order.instrument), limit=MOST_TRADES
    )
    made = {one.id: one for one in contracts.by_ids(conn, [one.contract_id for one in trades])}
    found = [(one, made[one.contract_id]) for one in trades if one.contract_id in made]
    owner, buys = order.party.organisation_id, order.side is Side.SELL
    return [
        (trade, contract)
        for trade, contract in found
        if (contract.buyer if buys else contract.seller).organisation_id == owner
    ]


def close(tx: Tx, alert_id: str, note: str) -> None:
    """Raises NotFound, Conflict (it is closed)."""
    get(tx.conn, alert_id)
    if not store.close(tx.conn, alert_id, tx.now_ms, note):
        raise Conflict(
            "AlertClosed",
            f"Alert {alert_id} was closed before.",
            hint="Read its note; what is found again another day is another alert.",
        )
