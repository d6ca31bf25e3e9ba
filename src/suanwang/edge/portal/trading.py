"""Instruments, periods and sources of capacity as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from sqlalchemy.engine import Connection

from suanwang.edge.portal import catalogue
from suanwang.edge.portal.formats import local
from suanwang.edge.portal.rendering import Page, owners_of
from suanwang.grid.sites import service as sites
from suanwang.kernel.time import MS_PER_HOUR
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.model import Action, Organisation, Project
from suanwang.trade.catalogue.model import CORE, Period, Product
from suanwang.trade.contracts import service as contracts
from suanwang.trade.contracts.model import Contract, ContractState
from suanwang.trade.ledger import service as ledger
from suanwang.trade.market import instruments as naming
from suanwang.trade.market.model import Instrument, Supply
from suanwang.trade.market.supply import pools_of

MOST = 500
DAY_HOURS, WEEK_HOURS = 24, 168


def url_of(instrument: Instrument) -> str:
    return f"/market/{quote(naming.name_of(instrument), safe=':')}"


def class_text(language: str, unit_class: str) -> str:
    return catalogue.say(language, "market.core") if unit_class == CORE else unit_class


def product_text(language: str, product: Product) -> str:
    return f"{class_text(language, product.unit_class)} · {product.zone}"


def period_text(language: str, now_ms: int, period: Period) -> str:
    """'11-25 08:00–09:00', '11-25 周三 全天', '11-23 起一周'; the year where it is another one."""
    begin, end = local(period.from_ms), local(period.until_ms)
    year = local(now_ms).year

    def date(of: datetime) -> str:
        return of.strftime("%m-%d" if of.year == year else "%Y-%m-%d")

    if period.hours == WEEK_HOURS and begin.hour == 0:
        return catalogue.say(language, "market.week_from", date=date(begin))
    if period.hours == DAY_HOURS and begin.hour == 0:
        weekday = catalogue.say(language, f"weekday.d{begin.isoweekday()}")
        return catalogue.say(language, "market.whole_day", date=date(begin), weekday=weekday)
    if end - begin <= timedelta(hours=24 - begin.hour):  # midnight ends its own day
        return f"{date(begin)} {begin:%H:%M}–{'24:00' if end.hour == 0 else f'{end:%H:%M}'}"
    return f"{date(begin)} {begin:%H:%M} – {date(end)} {end:%H:%M}"


def instrument_text(language: str, now_ms: int, instrument: Instrument) -> str:
    product = product_text(language, instrument.product)
    return f"{product} · {period_text(language, now_ms, instrument.period)}"


def words(page: Page) -> dict[str, Any]:
    """What the templates of the market call."""
    language, now_ms = page.language, page.now_ms
    return {
        "url_of": url_of,
        "class_text": lambda unit_class: class_text(language, unit_class),
        "product_text": lambda product: product_text(language, product),
        "period_text": lambda period: period_text(language, now_ms, period),
        "instrument_text": lambda one: instrument_text(language, now_ms, one),
        "source_text": lambda one: source_text(language, now_ms, one),
    }


def filled_in(page: Page) -> dict[str, str]:
    """What a link to the ticket says: `?side=sell&source=con_…&lots=2`."""
    given = page.request.query_params
    return {
        name: given[name][:60] for name in ("side", "price", "lots", "source") if given.get(name)
    }


@dataclass(frozen=True)
class Seat:
    """As whom the reader trades: one of his projects, and what it has left."""

    project: Project
    projects: list[Project]
    owners: dict[str, Organisation]
    available: int


def seat(conn: Connection, page: Page, wanted: str) -> Seat | None:
    """The project that he asks for or usually means; None: there is none that he may trade for."""
    if page.known is None:
        return None
    principal = page.principal
    found = [
        one
        for one in tenancy.projects(conn, principal, limit=MOST)
        if page.may(Action.TRADE, one.organisation_id, one.id)
    ]
    if not found:
        return None
    own = [one for one in found if one.organisation_id == principal.organisation_id]
    usual = next((one for one in own if one.name == "default"), (own or found)[0])
    chosen = next((one for one in found if wanted in (one.id, one.name)), usual)
    return Seat(
        chosen, found, owners_of(conn, principal), ledger.funds(conn, [chosen.id])[chosen.id]
    )


@dataclass(frozen=True)
class SourceRow:
    """What a seller may sell from; `unsold` in every hour of the period asked about."""

    id: str
    name: str
    is_contract: bool
    product: Product
    lots: int
    unsold: int
    period: Period | None


def sources(
    conn: Connection,
    projects: Sequence[Project],
    names: dict[str, str],
    now_ms: int,
    *,
    product: Product | None = None,
    period: Period | None = None,
) -> list[SourceRow]:
    """Pools of the projects' organisations and contracts that they hold: those of the product that
    cover the period, if these are given."""
    owners = sorted({one.organisation_id for one in projects})
    found: list[Supply] = [one for owner in owners for one in pools_of(conn, owner) if one.lots]
    buyers = [one.id for one in projects]
    held = contracts.page(conn, buyers=buyers, state=ContractState.SIGNED, limit=MOST)
    found += [_supply(one) for one in held if one.period.until_ms > now_ms]
    kept = [
        one
        for one in found
        if (product is None or one.product == product)
        and (period is None or one.period is None or one.period.covers(period))
    ]
    if not kept:
        return []
    next_hour = Period(now_ms // MS_PER_HOUR + 1, 1)
    sold: dict[str, int] = {}
    for one in kept:
        span = period or one.period or next_hour
        taken = contracts.pledged(conn, [one.source_id], span)
        sold[one.source_id] = max(taken.values(), default=0)
    return [
        SourceRow(
            one.source_id,
            f"{names.get(one.site_id, one.site_id)} / {names.get(one.pool_id, one.pool_id)}",
            one.backing_id is not None,
            one.product,
            one.lots,
            max(0, one.lots - sold[one.source_id]),
            one.period,
        )
        for one in kept
    ]


def source_text(language: str, now_ms: int, one: SourceRow) -> str:
    """'a100-80g · henan · Zhengzhou / cards (own, 4 lots unsold)'."""
    key = "market.source_contract" if one.is_contract else "market.source_pool"
    said = catalogue.say(language, key, name=one.name, lots=one.unsold)
    until = f" · {period_text(language, now_ms, one.period)}" if one.period else ""
    return f"{product_text(language, one.product)} · {said}{until}"


def _supply(contract: Contract) -> Supply:
    return Supply(
        source_id=contract.id,
        organisation_id=contract.buyer.organisation_id,
        site_id=contract.site_id,
        pool_id=contract.pool_id,
        product=contract.product,
        lots=contract.lots,
        period=contract.period,
    )


def supplied(conn: Connection) -> dict[Product, int]:
    """What all pools of each product have, in lots."""
    found: dict[Product, int] = {}
    for one in pools_of(conn):
        if one.lots:
            found[one.product] = found.get(one.product, 0) + one.lots
    return dict(sorted(found.items()))


def place_names(conn: Connection) -> dict[str, str]:
    """Site and pool ids → what people call them; sites by the name that they show."""
    names = sites.names(conn)
    return names | {one.site_id: one.display_name or one.name for one in sites.sites(conn)}


def bars(hourly: Sequence[tuple[int, int]], most: int = 96) -> list[tuple[int, int, int]]:
    """(first hour, hours, least lots) of at most so many equal pieces of a window."""
    size = -(-len(hourly) // most) or 1
    pieces = [hourly[at : at + size] for at in range(0, len(hourly), size)]
    return [(piece[0][0], len(piece), min(lots for _, lots in piece)) for piece in pieces]
