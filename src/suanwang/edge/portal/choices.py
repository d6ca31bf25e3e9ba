"""What forms of trade let one choose from, and how their fields become the API's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Connection

from suanwang.edge.portal import formats
from suanwang.edge.portal.rendering import Page
from suanwang.grid.sites import service as sites
from suanwang.kernel.errors import NotFound
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.model import Action, Principal, Project, ProjectState
from suanwang.trade.catalogue.model import Product
from suanwang.trade.contracts import service as contracts
from suanwang.trade.contracts.model import ContractState
from suanwang.trade.market.supply import pools_of, products

MOST = 500
SHANGHAI = "+08:00"


@dataclass(frozen=True)
class Choices:
    """Of one person: where he may trade, what there is, what he could sell from."""

    projects: list[Project]
    products: list[Product]
    sources: list[tuple[str, str, Product]]
    """(id, what it is called, what it delivers)"""


def choices_for(conn: Connection, page: Page) -> Choices:
    principal = page.principal
    his = [
        one
        for one in tenancy.projects(conn, principal, limit=MOST)
        if one.organisation_id == principal.organisation_id
        and one.state is ProjectState.ACTIVE
        and page.may(Action.TRADE, one.organisation_id, one.id)
    ]
    return Choices(his, products(conn), _sources(conn, principal, [one.id for one in his]))


def _sources(
    conn: Connection, principal: Principal, project_ids: list[str]
) -> list[tuple[str, str, Product]]:
    names = sites.names(conn)
    found = [
        (one.source_id, f"{names.get(one.site_id, one.site_id)} · {one.product}", one.product)
        for one in pools_of(conn, principal.organisation_id)
        if one.lots
    ]
    held = contracts.page(conn, buyers=project_ids, state=ContractState.SIGNED, limit=MOST)
    return found + [(one.id, f"{one.id} · {one.product}", one.product) for one in held]


def names_of(conn: Connection, ids: Iterable[str | None]) -> dict[str, str]:
    """Organisation → what it is called; those who trade with one another know their names."""
    found = {}
    for one in sorted({one for one in ids if one}):
        try:
            found[one] = tenancy.organisation(conn, one).display_name
        except NotFound:
            found[one] = one
    return found


def moment(text: str) -> str | None:
    """A browser's local instant as one in Asia/Shanghai."""
    text = text.strip()
    return f"{text}{SHANGHAI}" if text else None


def local(text: str | None) -> str:
    """The API's instant as a browser's field of local instants takes it, in Asia/Shanghai."""
    if text is None:
        return ""
    return datetime.fromisoformat(text).astimezone(formats.SHANGHAI).strftime("%Y-%m-%dT%H:%M")


def yuan(text: str) -> dict[str, str] | None:
    return {"yuan": text.strip()} if text.strip() else None


def whole(text: str) -> Any:
    """An integer if it is one; else as it was given, for the API to refuse."""
    text = text.strip()
    return int(text) if text.lstrip("-").isdecimal() and text.isascii() else text or None


def product(text: str) -> dict[str, str]:
    """Of 'class:zone'."""
    unit_class, _, zone = text.partition(":")
    return {"unit_class": unit_class, "zone": zone}
