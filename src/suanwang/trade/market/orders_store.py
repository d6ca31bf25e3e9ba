"""Tables of the continuous market and their statements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from suanwang.engines.matching.model import Side
from suanwang.engines.matching.order_book import Stay
from suanwang.platform.bulk import insert_new_rows, insert_rows, update_rows
from suanwang.platform.schema import Id, Money, Ms, metadata
from suanwang.trade.contracts.model import Party
from suanwang.trade.market import instruments as naming
from suanwang.trade.market.model import Instrument, Order, OrderState, Trade

IN_LIMIT = 500
InstrumentName = sa.String(140).with_variant(sa.String(140, collation="C"), "postgresql")

instruments = sa.Table(
    "instruments",
    metadata,
    sa.Column("name", InstrumentName, primary_key=True),
    sa.Column("unit_class", sa.String(60), nullable=False),
    sa.Column("zone", sa.String(60), nullable=False),
    sa.Column("first_hour", sa.Integer, nullable=False),
    sa.Column("hours", sa.Integer, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("last_price", Money, nullable=True),
    sa.Column("halted", sa.Boolean, nullable=False),
    sa.Column("low", Money, nullable=True),
    sa.Column("high", Money, nullable=True),
    sa.Column("closed", sa.Boolean, nullable=False),
    sa.Index("ix_instruments_closed_first_hour", "closed", "first_hour"),
)

orders = sa.Table(
    "market_orders",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("instrument", InstrumentName, nullable=False),
    sa.Column("organisation_id", Id, nullable=False),
    sa.Column("project_id", Id, nullable=False),
    sa.Column("user_id", Id, nullable=False),
    sa.Column("side", sa.String(4), nullable=False),
    sa.Column("limit_price", Money, nullable=True),
    sa.Column("lots", sa.Integer, nullable=False),
    sa.Column("lots_left", sa.Integer, nullable=False),
    sa.Column("traded", sa.Integer, nullable=False),
    sa.Column("stay", sa.String(10), nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("why", sa.String(20), nullable=False),
    sa.Column("source_id", Id, nullable=True),
    sa.Column("pool_id", Id, nullable=True),
    sa.Column("site_id", Id, nullable=True),
    sa.Column("held_per_lot", Money, nullable=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("placed_at_ms", Ms, nullable=False),
    sa.Column("ended_at_ms", Ms, nullable=True),
    sa.Column("key", sa.String(64), nullable=True),
    sa.UniqueConstraint("project_id", "key"),
    sa.Index("ix_market_orders_instrument_state", "instrument", "state"),
    sa.Index("ix_market_orders_project_id", "project_id", "id"),
    sa.Index("ix_market_orders_ended_at_ms", "ended_at_ms"),
)

trades = sa.Table(
    "market_trades",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("instrument", InstrumentName, nullable=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("price", Money, nullable=False),
    sa.Column("lots", sa.Integer, nullable=False),
    sa.Column("aggressor", sa.String(4), nullable=False),
    sa.Column("buy_order_id", Id, nullable=False),
    sa.Column("sell_order_id", Id, nullable=False),
    sa.Column("buyer_project_id", Id, nullable=False),
    sa.Column("seller_project_id", Id, nullable=False),
    sa.Column("contract_id", Id, nullable=False),
    sa.Column("at_ms", Ms, nullable=False),
    sa.Index("ix_market_trades_instrument_at_ms", "instrument", "at_ms"),
    sa.Index("ix_market_trades_at_ms", "at_ms"),
)


def lock_instrument(conn: Connection, instrument: Instrument) -> Row[Any]:
    """Its row, held until the transaction ends; made now if there was none."""
    name = naming.name_of(instrument)
    query = sa.select(instruments).where(instruments.c.name == name).with_for_update()
    row = conn.execute(query).first()
    if row is None:
        product, period = instrument.product, instrument.period
        fresh = (name, product.unit_class, product.zone, period.first_hour, period.hours)
        insert_new_rows(conn, instruments, [(*fresh, 0, 0, None, False, None, None, False)], ())
        row = conn.execute(query).one()
    return row


def instrument_row(conn: Connection, name: str) -> Row[Any] | None:
    return conn.execute(sa.select(instruments).where(instruments.c.name == name)).first()


def update_instrument(conn: Connection, name: str, **values: Any) -> None:
    conn.execute(sa.update(instruments).where(instruments.c.name == name).values(**values))


def listed(
    conn: Connection, *, unit_class: str | None, zone: str | None, limit: int
) -> list[Row[Any]]:
    """Open instruments that anybody has placed an order of, the nearest delivery first."""
    query = sa.select(instruments).where(instruments.c.closed.is_(False))
    if unit_class is not None:
        query = query.where(instruments.c.unit_class == unit_class)
    if zone is not None:
        query = query.where(instruments.c.zone == zone)
    order = (instruments.c.first_hour, instruments.c.hours, instruments.c.name)
    return list(conn.execute(query.order_by(*order).limit(limit)))


def begun(conn: Connection, hour: int, limit: int) -> list[str]:
    """Open instruments whose delivery has begun by an hour."""
    query = (
        sa.select(instruments.c.name)
        .where(instruments.c.closed.is_(False), instruments.c.first_hour <= hour)
        .order_by(instruments.c.first_hour, instruments.c.name)
        .limit(limit)
    )
    return [row.name for row in conn.execute(query)]


def _order(row: Row[Any]) -> Order:
    return Order(
        id=row.id,
        instrument=naming.parse(row.instrument),
        party=Party(row.organisation_id, row.project_id, row.user_id),
        side=Side(row.side),
        limit=row.limit_price,
        lots=row.lots,
        left=row.lots_left,
        traded=row.traded,
        stay=Stay(row.stay),
        state=OrderState(row.state),
        why=row.why,
        source_id=row.source_id,
        pool_id=row.pool_id,
        site_id=row.site_id,
        held_per_lot=row.held_per_lot,
        sequence=row.sequence,
        placed_at_ms=row.placed_at_ms,
        ended_at_ms=row.ended_at_ms,
        key=row.key,
    )


def insert_orders(conn: Connection, new: Sequence[Order]) -> None:
    rows = [
        (
            one.id,
            naming.name_of(one.instrument),
            one.party.organisation_id,
            one.party.project_id,
            one.party.user_id,
            one.side.value,
            one.limit,
            one.lots,
            one.left,
            one.traded,
            one.stay.value,
            one.state.value,
            one.why,
            one.source_id,
            one.pool_id,
            one.site_id,
            one.held_per_lot,
            one.sequence,
            one.placed_at_ms,
            one.ended_at_ms,
            one.key,
        )
        for one in new
    ]
    insert_rows(conn, orders, rows)


def update_orders(conn: Connection, changed: Sequence[Order]) -> None:
    rows = [
        (one.left, one.traded, one.state.value, one.why, one.ended_at_ms, one.id) for one in changed
    ]
    columns = ("lots_left", "traded", "state", "why", "ended_at_ms")
    update_rows(conn, orders, "id", columns, rows)


def set_lots(conn: Connection, order_id: str, lots: int) -> None:
    conn.execute(sa.update(orders).where(orders.c.id == order_id).values(lots=lots))


def resting(conn: Connection, name: str) -> list[Order]:
    """In order of arrival."""
    query = (
        sa.select(orders)
        .where(orders.c.instrument == name, orders.c.state == OrderState.OPEN.value)
        .order_by(orders.c.sequence)
    )
    return [_order(row) for row in conn.execute(query)]


def open_from(conn: Connection, project_id: str, source_id: str) -> list[Order]:
    """Of a project, what rests that is sold from a source."""
    query = sa.select(orders).where(
        orders.c.project_id == project_id,
        orders.c.source_id == source_id,
        orders.c.state == OrderState.OPEN.value,
    )
    return [_order(row) for row in conn.execute(query.order_by(orders.c.instrument, orders.c.id))]


def order_by_id(conn: Connection, order_id: str) -> Order | None:
    row = conn.execute(sa.select(orders).where(orders.c.id == order_id)).first()
    return _order(row) if row is not None else None


def orders_by_ids(conn: Connection, ids: Sequence[str]) -> list[Order]:
    """Those that there are, by id."""
    found: list[Order] = []
    for start in range(0, len(ids), IN_LIMIT):
        query = sa.select(orders).where(orders.c.id.in_(ids[start : start + IN_LIMIT]))
        found += [_order(row) for row in conn.execute(query.order_by(orders.c.id))]
    return found


def orders_by_key(conn: Connection, project_id: str, keys: Sequence[str]) -> dict[str, Order]:
    found = {}
    for start in range(0, len(keys), IN_LIMIT):
        query = sa.select(orders).where(
            orders.c.project_id == project_id, orders.c.key.in_(keys[start : start + IN_LIMIT])
        )
        found.update({row.key: _order(row) for row in conn.execute(query)})
    return found


def orders_page(
    conn: Connection,
    project_ids: Sequence[str],
    *,
    instrument: str | None,
    state: OrderState | None,
    before: str | None,
    limit: int,
) -> list[Order]:
    """The latest first."""
    query = sa.select(orders).where(orders.c.project_id.in_(project_ids))
    if instrument is not None:
        query = query.where(orders.c.instrument == instrument)
    if state is not None:
        query = query.where(orders.c.state == state.value)
    if before is not None:
        query = query.where(orders.c.id < before)
    return [_order(row) for row in conn.execute(query.order_by(orders.c.id.desc()).limit(limit))]


def _trade(row: Row[Any]) -> Trade:
    return Trade(
        id=row.id,
        instrument=naming.parse(row.instrument),
        sequence=row.sequence,
        price=row.price,
        lots=row.lots,
        aggressor=Side(row.aggressor),
        buy_order_id=row.buy_order_id,
        sell_order_id=row.sell_order_id,
        buyer_project_id=row.buyer_project_id,
        seller_project_id=row.seller_project_id,
        contract_id=row.contract_id,
        at_ms=row.at_ms,
    )


def insert_trades(conn: Connection, new: Sequence[Trade]) -> None:
    rows = [
        (
            one.id,
            naming.name_of(one.instrument),
            one.sequence,
            one.price,
            one.lots,
            one.aggressor.value,
            one.buy_order_id,
            one.sell_order_id,
            one.buyer_project_id,
            one.seller_project_id,
            one.contract_id,
            one.at_ms,
        )
        for one in new
    ]
    insert_rows(conn, trades, rows)


def trades_page(
    conn: Connection, *, instrument: str | None, before: str | None, limit: int
) -> list[Trade]:
    """The latest first: of one instrument, or of all."""
    query = sa.select(trades).order_by(trades.c.id.desc()).limit(limit)
    if instrument is not None:
        query = query.where(trades.c.instrument == instrument)
    if before is not None:
        query = query.where(trades.c.id < before)
    return [_trade(row) for row in conn.execute(query)]


def trades_since(
    conn: Connection,
    at_ms: int,
    *,
    until_ms: int | None = None,
    instrument: str | None = None,
    limit: int = 100_000,
) -> list[Trade]:
    """In the order they were made; of more than the limit, the latest."""
    query = sa.select(trades).where(trades.c.at_ms >= at_ms)
    if until_ms is not None:
        query = query.where(trades.c.at_ms <= until_ms)
    if instrument is not None:
        query = query.where(trades.c.instrument == instrument)
    rows = conn.execute(query.order_by(trades.c.id.desc()).limit(limit)).all()
    return [_trade(row) for row in reversed(rows)]


def cancelled_since(conn: Connection, at_ms: int, limit: int = 100_000) -> list[Order]:
    """Orders that ended untraded or in part since then, for whatever reason, in that order."""
    query = (
        sa.select(orders)
        .where(orders.c.ended_at_ms >= at_ms, orders.c.state == OrderState.CANCELLED.value)
        .order_by(orders.c.ended_at_ms, orders.c.id)
        .limit(limit)
    )
    return [_order(row) for row in conn.execute(query)]


def depth(conn: Connection, name: str, levels: int) -> dict[Side, list[tuple[int, int, int]]]:
    """Side → [(price, lots, orders)] from the best on."""
    found: dict[Side, list[tuple[int, int, int]]] = {}
    for side in Side:
        price = orders.c.limit_price
        query = (
            sa.select(price, sa.func.sum(orders.c.lots_left), sa.func.count())
            .where(
                orders.c.instrument == name,
                orders.c.state == OrderState.OPEN.value,
                orders.c.side == side.value,
            )
            .group_by(price)
            .order_by(price.desc() if side is Side.BUY else price)
            .limit(levels)
        )
        found[side] = [(int(at), int(lots), count) for at, lots, count in conn.execute(query)]
    return found


def tops(conn: Connection, names: Sequence[str]) -> dict[str, tuple[int | None, int | None]]:
    """Instrument → (best bid, best ask), where anything rests."""
    found: dict[str, tuple[int | None, int | None]] = {}
    price, side = orders.c.limit_price, orders.c.side
    for start in range(0, len(names), IN_LIMIT):
        query = (
            sa.select(
                orders.c.instrument,
                sa.func.max(sa.case((side == Side.BUY.value, price))),
                sa.func.min(sa.case((side == Side.SELL.value, price))),
            )
            .where(
                orders.c.instrument.in_(names[start : start + IN_LIMIT]),
                orders.c.state == OrderState.OPEN.value,
            )
            .group_by(orders.c.instrument)
        )
        found.update({name: (bid, ask) for name, bid, ask in conn.execute(query)})
    return found
