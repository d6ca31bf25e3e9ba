"""Market data: candles of what books traded, and the reference price of each product.

The reference price of a product in a span is the volume-weighted mean price of the contracts
signed in it between strangers: through books, auctions, listings and quotations, weighed by lots
and hours. Bilateral deals do not count (their parties choose the price), nor does what was
cancelled. Where fewer than `ENOUGH` contracts were signed, the span is marked thin and the price
of the last span that was not thin stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from suanwang.kernel.money import scale
from suanwang.kernel.time import MS_PER_DAY, MS_PER_HOUR
from suanwang.trade.catalogue.model import Product
from suanwang.trade.contracts import service as contracts
from suanwang.trade.contracts.model import Origin
from suanwang.trade.market import instruments as naming
from suanwang.trade.market import orders_store as store
from suanwang.trade.market.model import Instrument, Trade

OF_STRANGERS = (Origin.BOOK, Origin.AUCTION, Origin.LISTING, Origin.QUOTATION)
ENOUGH = 3
SPANS = {"hour": MS_PER_HOUR, "day": MS_PER_DAY}


@dataclass(frozen=True, slots=True)
class Candle:
    """Prices of a span of time, micro-yuan for a lot and hour."""

    from_ms: int
    opened: int
    highest: int
    lowest: int
    closed: int
    lots: int
    trades: int


@dataclass(frozen=True, slots=True)
class IndexPoint:
    """The reference price of a product in a span."""

    product: Product
    from_ms: int
    price: int
    lot_hours: int
    contracts: int
    lowest: int
    highest: int
    is_thin: bool
    standing: int | None
    """The last price that was not thin, this one included."""


@dataclass(frozen=True, slots=True)
class Glance:
    """A product today: what the landing page shows."""

    product: Product
    price: int
    change_percent_milli: int | None
    """Against the day before, in thousandths of a percent; None without a price of then."""
    lot_hours: int


def candles_of(trades: Iterable[Trade], span_ms: int) -> list[Candle]:
    """In order of time; spans without a trade are left out. Trades in the order they were made."""
    found: dict[int, list[Trade]] = {}
    for one in trades:
        found.setdefault(one.at_ms - one.at_ms % span_ms, []).append(one)
    return [
        Candle(
            from_ms=at,
            opened=made[0].price,
            highest=max(one.price for one in made),
            lowest=min(one.price for one in made),
            closed=made[-1].price,
            lots=sum(one.lots for one in made),
            trades=len(made),
        )
        for at, made in sorted(found.items())
    ]


def history(
    conn: Connection, instrument: Instrument, since_ms: int, span_ms: int = MS_PER_HOUR
) -> list[Candle]:
    name = naming.name_of(instrument)
    return candles_of(store.trades_since(conn, since_ms, instrument=name), span_ms)


def index_of(rows: Sequence[tuple[Product, int, int, int, int]]) -> list[IndexPoint]:
    """From (product, span, price, lot-hours, contracts), sorted, as `contracts.prices` gives."""
    spans: dict[tuple[Product, int], list[tuple[int, int, int]]] = {}
    for product, at, price, lot_hours, count in rows:
        spans.setdefault((product, at), []).append((price, lot_hours, count))
    found: list[IndexPoint] = []
    standing: dict[Product, int] = {}
    for (product, at), priced in sorted(spans.items()):
        weight = sum(lot_hours for _, lot_hours, _ in priced)
        count = sum(many for _, _, many in priced)
        mean = scale(sum(price * lot_hours for price, lot_hours, _ in priced), 1, weight)
        if count >= ENOUGH:
            standing[product] = mean
        found.append(
            IndexPoint(
                product=product,
                from_ms=at,
                price=mean,
                lot_hours=weight,
                contracts=count,
                lowest=min(price for price, _, _ in priced),
                highest=max(price for price, _, _ in priced),
                is_thin=count < ENOUGH,
                standing=standing.get(product),
            )
        )
    return found


def index(
    conn: Connection,
    since_ms: int,
    until_ms: int,
    span_ms: int = MS_PER_DAY,
    *,
    unit_class: str | None = None,
    zone: str | None = None,
) -> list[IndexPoint]:
    """Of every product, or of those of a class or a zone; by product, then time."""
    rows = contracts.prices(conn, since_ms, until_ms, OF_STRANGERS, span_ms)
    return index_of(
        [
            row
            for row in rows
            if unit_class in (None, row[0].unit_class) and zone in (None, row[0].zone)
        ]
    )


def glances(conn: Connection, now_ms: int) -> list[Glance]:
    """The last 24 hours against the 24 before, the busiest product first."""
    earlier = {
        one.product: one.price
        for one in index(conn, now_ms - 2 * MS_PER_DAY, now_ms - MS_PER_DAY, 1 << 50)
    }
    latest = index(conn, now_ms - MS_PER_DAY, now_ms + 1, 1 << 50)
    found = [
        Glance(
            product=one.product,
            price=one.price,
            change_percent_milli=scale(one.price - before, 100_000, before)
            if (before := earlier.get(one.product))
            else None,
            lot_hours=one.lot_hours,
        )
        for one in latest
    ]
    return sorted(found, key=lambda one: (-one.lot_hours, one.product))
