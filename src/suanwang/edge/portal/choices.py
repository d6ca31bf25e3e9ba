"""What forms of trade let one choose from: projects, products, what one could sell from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from suanwang.edge.portal.rendering import Page
from suanwang.edge.portal.trading import SourceRow, place_names, sources
from suanwang.kernel.errors import NotFound
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.model import Action, Project, ProjectState
from suanwang.trade.catalogue.model import Product
from suanwang.trade.market.supply import products
from suanwang.trade.policy import service as policy

MOST = 500


@dataclass(frozen=True)
class Choices:
    """Of one person: where he may trade, what there is, what he could sell from."""

    projects: list[Project]
    products: list[Product]
    sources: list[SourceRow]


def choices_for(conn: Connection, page: Page) -> Choices:
    principal = page.principal
    his = [
        one
        for one in tenancy.projects(conn, principal, limit=MOST)
        if one.organisation_id == principal.organisation_id
        and one.state is ProjectState.ACTIVE
        and page.may(Action.TRADE, one.organisation_id, one.id)
    ]
    return Choices(his, products(conn), sources(conn, his, place_names(conn), page.now_ms))


def titles_of(conn: Connection, language: str) -> dict[str, str]:
    """Programme → what it is called."""
    return {one.id: one.title.of(language) for one in policy.programmes(conn)}


def currency_text(titles: Mapping[str, str], currency: str) -> str:
    """Vouchers go by their programme: 'voucher:henan' is 'Henan compute vouchers'."""
    return titles.get(currency.removeprefix("voucher:"), currency)


def names_of(conn: Connection, ids: Iterable[str | None]) -> dict[str, str]:
    """Organisation → what it is called; those who trade with one another know their names."""
    found = {}
    for one in sorted({one for one in ids if one}):
        try:
            found[one] = tenancy.organisation(conn, one).display_name
        except NotFound:
            found[one] = one
    return found
