"""What the market shows: books, tapes, a party's own orders. Functions of a connection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from suanwang.engines.matching.model import Side
from suanwang.kernel.time import hour_of
from suanwang.tenancy.rules import not_found
from suanwang.trade.market import instruments as naming
from suanwang.trade.market import orders_store as store
from suanwang.trade.market import rules
from suanwang.trade.market.model import Instrument, Order, OrderState, Trade


@dataclass(frozen=True, slots=True)
class Level:
    price: int
    lots: int
    orders: int


@dataclass(frozen=True, slots=True)
class Depth:
    """A book from outside: no names in it."""

    instrument: Instrument
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    last_price: int | None
    low: int
    high: int
    """The band of prices that are accepted now."""
    halted: bool
    closed: bool
    stated_low: int | None = None
    stated_high: int | None = None
    """Bounds of the band that the operator set."""


@dataclass(frozen=True, slots=True)
class Quoted:
    """An instrument on the board."""

    instrument: Instrument
    bid: int | None
    ask: int | None
    last_price: int | None
    halted: bool


def depth(conn: Connection, instrument: Instrument, levels: int = 20) -> Depth:
    """An instrument that nobody has traded has an empty book."""
    row = store.instrument_row(conn, naming.name_of(instrument))
    found = store.depth(conn, naming.name_of(instrument), levels) if row is not None else {}
    last = row.last_price if row is not None else None
    low, high = rules.band(last, row.low if row else None, row.high if row else None)
    return Depth(
        instrument=instrument,
        bids=tuple(Level(*one) for one in found.get(Side.BUY, ())),
        asks=tuple(Level(*one) for one in found.get(Side.SELL, ())),
        last_price=last,
        low=low,
        high=high,
        halted=bool(row is not None and row.halted),
        closed=bool(row is not None and row.closed),
        stated_low=row.low if row is not None else None,
        stated_high=row.high if row is not None else None,
    )


def board(
    conn: Connection, *, unit_class: str | None = None, zone: str | None = None, limit: int = 200
) -> list[Quoted]:
    """Instruments with orders or trades, the nearest delivery first."""
    rows = store.listed(conn, unit_class=unit_class, zone=zone, limit=limit)
    tops = store.tops(conn, [row.name for row in rows])
    return [
        Quoted(
            naming.parse(row.name), *tops.get(row.name, (None, None)), row.last_price, row.halted
        )
        for row in rows
    ]


def trades(
    conn: Connection,
    *,
    instrument: Instrument | None = None,
    before: str | None = None,
    limit: int = 100,
) -> list[Trade]:
    """The latest first."""
    name = naming.name_of(instrument) if instrument is not None else None
    return store.trades_page(conn, instrument=name, before=before, limit=limit)


def orders(
    conn: Connection,
    project_ids: Sequence[str],
    *,
    instrument: Instrument | None = None,
    state: OrderState | None = None,
    before: str | None = None,
    limit: int = 100,
) -> list[Order]:
    """Of these projects, of one instrument or of all, the latest first."""
    name = naming.name_of(instrument) if instrument is not None else None
    return store.orders_page(
        conn, project_ids, instrument=name, state=state, before=before, limit=limit
    )


def order(conn: Connection, order_id: str) -> Order:
    found = store.order_by_id(conn, order_id)
    if found is None:
        raise not_found("order", order_id)
    return found


def begun(conn: Connection, now_ms: int, limit: int = 1_000) -> list[str]:
    """Names of open books whose delivery has begun; `Books.expire` each."""
    return store.begun(conn, hour_of(now_ms), limit)
