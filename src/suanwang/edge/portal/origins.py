"""Where a contract comes from, as a name and an address that its parties can open."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.engine import Connection

from suanwang.edge.portal.rendering import Page
from suanwang.edge.portal.trading import period_text, url_of
from suanwang.kernel.errors import NotFound
from suanwang.trade.contracts.model import Contract, Origin
from suanwang.trade.market import auctions, deals, listings, quotations
from suanwang.trade.market.model import Instrument


@dataclass(frozen=True, slots=True)
class Came:
    """Of which listing, round, enquiry, deal or book; empty: it was cleared away since."""

    name: str
    url: str


def came_of(conn: Connection, page: Page, found: Contract) -> Came:
    try:
        return _came_of(conn, page, found)
    except NotFound:
        return Came("", "")


def _came_of(conn: Connection, page: Page, found: Contract) -> Came:
    of = found.reference
    match found.origin:
        case Origin.LISTING:
            return Came(listings.get(conn, of).title or of, f"/market/listings/{of}")
        case Origin.QUOTATION:
            return Came(quotations.get(conn, of).title or of, f"/quotations/{of}")
        case Origin.AUCTION:
            day = auctions.round_of(conn, of).day
            return Came(day, f"/auctions/{day}")
        case Origin.BILATERAL:
            return Came(deals.get(conn, of).id, f"/deals/{of}")
        case Origin.BOOK:
            name = period_text(page.language, page.now_ms, found.period)
            return Came(name, url_of(Instrument(found.product, found.period)))
