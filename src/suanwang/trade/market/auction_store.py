"""Tables of the call auction and their statements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from suanwang.platform.bulk import insert_rows, update_rows
from suanwang.platform.schema import Id, Money, Ms, Packed, metadata
from suanwang.trade.catalogue.model import Product
from suanwang.trade.contracts.model import Party
from suanwang.trade.market.auction_model import (
    Bid,
    BidState,
    Cleared,
    PriceRow,
    Result,
    Round,
    RoundState,
    Standing,
    ZoneLink,
)

rounds = sa.Table(
    "auction_rounds",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("day", sa.String(10), nullable=False),
    sa.Column("first_hour", sa.Integer, nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("opened_at_ms", Ms, nullable=False),
    sa.Column("closes_at_ms", Ms, nullable=False),
    sa.Column("ended_at_ms", Ms, nullable=True),
    sa.Column("why", sa.String(200), nullable=False),
    sa.Column("links", Packed(list[ZoneLink]), nullable=False),
    sa.Column("orders", sa.Integer, nullable=False),
    sa.Column("cleared", Packed(Cleared), nullable=True),
    sa.UniqueConstraint("first_hour"),
    sa.Index("ix_auction_rounds_state_closes_at_ms", "state", "closes_at_ms"),
)

orders = sa.Table(
    "auction_orders",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("round_id", Id, nullable=False),
    sa.Column("organisation_id", Id, nullable=False),
    sa.Column("project_id", Id, nullable=False),
    sa.Column("user_id", Id, nullable=False),
    sa.Column("bid", Packed(Bid), nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("held", Money, nullable=False),
    sa.Column("pool_id", Id, nullable=True),
    sa.Column("site_id", Id, nullable=True),
    sa.Column("placed_at_ms", Ms, nullable=False),
    sa.Column("changed_at_ms", Ms, nullable=False),
    sa.Column("key", sa.String(64), nullable=True),
    sa.Column("result", Packed(Result), nullable=True),
    sa.UniqueConstraint("project_id", "key"),
    sa.Index("ix_auction_orders_round_id_id", "round_id", "id"),
    sa.Index("ix_auction_orders_project_id_id", "project_id", "id"),
)

prices = sa.Table(
    "auction_prices",
    metadata,
    sa.Column("round_id", Id, primary_key=True),
    sa.Column("unit_class", sa.String(60), primary_key=True),
    sa.Column("zone", sa.String(60), primary_key=True),
    sa.Column("hour", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("price", Money, nullable=True),
    sa.Column("lots", sa.Integer, nullable=False),
    sa.Column("demand", Packed(list[tuple[int, int]]), nullable=False),
    sa.Column("supply", Packed(list[tuple[int, int]]), nullable=False),
)

links = sa.Table(
    "auction_links",
    metadata,
    sa.Column("source", sa.String(60), primary_key=True),
    sa.Column("target", sa.String(60), primary_key=True),
    sa.Column("lots", sa.Integer, nullable=False),
    sa.Column("cost", Money, nullable=False),
)


# --- rounds --------------------------------------------------------------------------------------


def _round(row: Row[Any]) -> Round:
    return Round(
        id=row.id,
        day=row.day,
        first_hour=row.first_hour,
        state=RoundState(row.state),
        opened_at_ms=row.opened_at_ms,
        closes_at_ms=row.closes_at_ms,
        ended_at_ms=row.ended_at_ms,
        why=row.why,
        links=tuple(row.links),
        orders=row.orders,
        cleared=row.cleared,
    )


def insert_round(conn: Connection, one: Round) -> None:
    conn.execute(
        sa.insert(rounds).values(
            id=one.id,
            day=one.day,
            first_hour=one.first_hour,
            state=one.state.value,
            opened_at_ms=one.opened_at_ms,
            closes_at_ms=one.closes_at_ms,
            ended_at_ms=None,
            why="",
            links=list(one.links),
            orders=0,
            cleared=None,
        )
    )


def round_by(conn: Connection, name: str, lock: str = "") -> Round | None:
    """By id or by day. `lock`: 'share' keeps it from changing, 'update' is about to change it."""
    column = rounds.c.id if name.startswith("auc_") else rounds.c.day
    query = sa.select(rounds).where(column == name)
    if lock:
        query = query.with_for_update(read=lock == "share")
    row = conn.execute(query).first()
    return _round(row) if row is not None else None


def update_round(conn: Connection, round_id: str, **values: Any) -> None:
    conn.execute(sa.update(rounds).where(rounds.c.id == round_id).values(**values))


def rounds_page(conn: Connection, *, before: str | None, limit: int) -> list[Round]:
    """The latest day first; `before` is a day."""
    query = sa.select(rounds).order_by(rounds.c.day.desc()).limit(limit)
    if before is not None:
        query = query.where(rounds.c.day < before)
    return [_round(row) for row in conn.execute(query)]


def rounds_in(conn: Connection, states: Sequence[RoundState]) -> list[Round]:
    """The earliest day first."""
    query = sa.select(rounds).where(rounds.c.state.in_([one.value for one in states]))
    return [_round(row) for row in conn.execute(query.order_by(rounds.c.first_hour))]


def hours_with_round(conn: Connection, first_hours: Sequence[int]) -> set[int]:
    query = sa.select(rounds.c.first_hour).where(rounds.c.first_hour.in_(first_hours))
    return {row.first_hour for row in conn.execute(query)}


# --- orders --------------------------------------------------------------------------------------


def _order(row: Row[Any]) -> Standing:
    return Standing(
        id=row.id,
        round_id=row.round_id,
        party=Party(row.organisation_id, row.project_id, row.user_id),
        bid=row.bid,
        state=BidState(row.state),
        version=row.version,
        held=row.held,
        pool_id=row.pool_id,
        site_id=row.site_id,
        placed_at_ms=row.placed_at_ms,
        changed_at_ms=row.changed_at_ms,
        key=row.key,
        result=row.result,
    )


def insert_order(conn: Connection, one: Standing) -> None:
    conn.execute(
        sa.insert(orders).values(
            id=one.id,
            round_id=one.round_id,
            organisation_id=one.party.organisation_id,
            project_id=one.party.project_id,
            user_id=one.party.user_id,
            **_changing(one),
            placed_at_ms=one.placed_at_ms,
            key=one.key,
            result=None,
        )
    )


def _changing(one: Standing) -> dict[str, Any]:
    return {
        "bid": one.bid,
        "state": one.state.value,
        "version": one.version,
        "held": one.held,
        "pool_id": one.pool_id,
        "site_id": one.site_id,
        "changed_at_ms": one.changed_at_ms,
    }


def update_order(conn: Connection, one: Standing) -> None:
    conn.execute(sa.update(orders).where(orders.c.id == one.id).values(**_changing(one)))


def order_by_id(conn: Connection, order_id: str, *, lock: bool = False) -> Standing | None:
    query = sa.select(orders).where(orders.c.id == order_id)
    row = conn.execute(query.with_for_update() if lock else query).first()
    return _order(row) if row is not None else None


def order_by_key(conn: Connection, project_id: str, key: str) -> Standing | None:
    query = sa.select(orders).where(orders.c.project_id == project_id, orders.c.key == key)
    row = conn.execute(query).first()
    return _order(row) if row is not None else None


def count_standing(conn: Connection, round_id: str, project_id: str | None = None) -> int:
    query = sa.select(sa.func.count()).where(
        orders.c.round_id == round_id, orders.c.state == BidState.STANDING.value
    )
    if project_id is not None:
        query = query.where(orders.c.project_id == project_id)
    return int(conn.execute(query).scalar_one())


def orders_in(conn: Connection, round_id: str, state: BidState) -> list[Standing]:
    """In order of id."""
    query = sa.select(orders).where(orders.c.round_id == round_id, orders.c.state == state.value)
    return [_order(row) for row in conn.execute(query.order_by(orders.c.id))]


def standing_of(conn: Connection, project_id: str) -> list[Standing]:
    """Of a project in all rounds, in order of id."""
    query = sa.select(orders).where(
        orders.c.project_id == project_id, orders.c.state == BidState.STANDING.value
    )
    return [_order(row) for row in conn.execute(query.order_by(orders.c.id))]


def orders_page(
    conn: Connection,
    project_ids: Sequence[str],
    *,
    round_id: str | None,
    before: str | None,
    limit: int,
) -> list[Standing]:
    """The latest first."""
    query = sa.select(orders).where(orders.c.project_id.in_(project_ids))
    if round_id is not None:
        query = query.where(orders.c.round_id == round_id)
    if before is not None:
        query = query.where(orders.c.id < before)
    return [_order(row) for row in conn.execute(query.order_by(orders.c.id.desc()).limit(limit))]


def end_orders(
    conn: Connection, state: BidState, now_ms: int, results: dict[str, Result | None]
) -> None:
    rows = [
        (state.value, now_ms, 0, None if one is None else msgspec.msgpack.encode(one), order_id)
        for order_id, one in sorted(results.items())
    ]
    update_rows(conn, orders, "id", ("state", "changed_at_ms", "held", "result"), rows)


# --- prices and links ----------------------------------------------------------------------------


def insert_prices(conn: Connection, round_id: str, new: Sequence[PriceRow]) -> None:
    rows = [
        (
            round_id,
            one.product.unit_class,
            one.product.zone,
            one.hour,
            one.price,
            one.lots,
            msgspec.msgpack.encode(one.demand),
            msgspec.msgpack.encode(one.supply),
        )
        for one in new
    ]
    insert_rows(conn, prices, rows)


def prices_of(conn: Connection, round_id: str, product: Product | None = None) -> list[PriceRow]:
    query = sa.select(prices).where(prices.c.round_id == round_id)
    if product is not None:
        query = query.where(
            prices.c.unit_class == product.unit_class, prices.c.zone == product.zone
        )
    order = (prices.c.unit_class, prices.c.zone, prices.c.hour)
    return [
        PriceRow(
            Product(row.unit_class, row.zone),
            row.hour,
            row.price,
            row.lots,
            tuple(row.demand),
            tuple(row.supply),
        )
        for row in conn.execute(query.order_by(*order))
    ]


def default_links(conn: Connection) -> list[ZoneLink]:
    query = sa.select(links).order_by(links.c.source, links.c.target)
    return [ZoneLink(*row) for row in conn.execute(query)]


def set_default_links(conn: Connection, new: Sequence[ZoneLink]) -> None:
    conn.execute(sa.delete(links))
    insert_rows(conn, links, [(one.source, one.target, one.lots, one.cost) for one in new])
