"""The market in a few lines: for the overview, the board and the page to sign in on."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.engine import Connection

from suanwang.edge.portal.rendering import Page
from suanwang.trade.catalogue.model import Product
from suanwang.trade.contracts import service as contracts
from suanwang.trade.contracts.model import ContractState
from suanwang.trade.contracts.rules import Phase, phase
from suanwang.trade.market import figures, listings, reading
from suanwang.trade.market.model import OrderState

BOARD, MOST = 400, 200


@dataclass(frozen=True)
class GlanceRow:
    """A product of late. Micro-yuan for a lot and hour; None: nothing of the kind."""

    product: Product
    price: int | None
    """Mean of the last 24 hours."""
    change_percent_milli: int | None
    lot_hours: int
    offered: int | None
    """The lowest price asked now: in a book or by a listing."""


@dataclass(frozen=True)
class Own:
    """Of the reader's projects; each count stops at `MOST`."""

    orders: int
    upcoming: int
    running: int


def glance_rows(conn: Connection, now_ms: int) -> list[GlanceRow]:
    """What was traded of late or is offered now, the busiest product first."""
    offered: dict[Product, int] = {}
    asks = [
        (one.instrument.product, one.ask)
        for one in reading.board(conn, limit=BOARD)
        if one.ask is not None and not one.halted
    ]
    for product, price in (*asks, *listings.cheapest(conn).items()):
        offered[product] = min(price, offered.get(product, price))
    lately = {one.product: one for one in figures.glances(conn, now_ms)}
    rows = []
    for product in sorted({*offered, *lately}):
        known = lately.get(product)
        rows.append(
            GlanceRow(
                product,
                known.price if known else None,
                known.change_percent_milli if known else None,
                known.lot_hours if known else 0,
                offered.get(product),
            )
        )
    return sorted(rows, key=lambda row: (-row.lot_hours, row.product))


def own(conn: Connection, page: Page) -> Own:
    mine = page.principal.readable_projects
    standing = reading.orders(conn, mine, state=OrderState.OPEN, limit=MOST)
    held = contracts.page(conn, buyers=mine, sellers=mine, state=ContractState.SIGNED, limit=MOST)
    phases = [phase(one, page.now_ms) for one in held]
    return Own(len(standing), phases.count(Phase.UPCOMING), phases.count(Phase.RUNNING))


def change_text(percent_milli: int | None) -> str:
    """'▲ 1.2 %', with a shape beside the sign; nothing where there was no price the day before."""
    if percent_milli is None:
        return ""
    sign = "▲" if percent_milli > 0 else "▼" if percent_milli < 0 else "="
    return f"{sign} {abs(percent_milli) / 1000:.1f} %"
