"""What moving data between two sites costs: stated by the operator, measured, or by distance."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.engine import Connection

from suanwang.edge.api.auth import Caller
from suanwang.edge.api.money import Money, MoneyGiven
from suanwang.edge.api.paging import Page
from suanwang.edge.api.routes_jobs import context_of
from suanwang.grid.data import service as data
from suanwang.grid.data.model import STORE, Link
from suanwang.grid.jobs.reconciler import ROUND_SIGNAL
from suanwang.grid.sites import service as sites
from suanwang.grid.sites.model import SiteState
from suanwang.platform.database import Tx
from suanwang.tenancy.audit import audit
from suanwang.tenancy.model import Action
from suanwang.tenancy.rules import require_may

router = APIRouter(prefix="/v1", tags=["sites"])


class LinkView(BaseModel):
    """One way. `store` is the platform's own store of blobs."""

    from_site: str
    to_site: str
    price_per_gib: Money
    ms_per_gib: int
    source: str = Field(description="operator, measured or distance")


class LinkRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    price_per_gib: MoneyGiven
    ms_per_gib: Annotated[int, Field(ge=0)]


def views_of(conn: Connection, found: list[Link]) -> list[LinkView]:
    names = {**sites.names(conn), STORE: "store"}
    made = [
        LinkView(
            from_site=names.get(link.from_site, link.from_site),
            to_site=names.get(link.to_site, link.to_site),
            price_per_gib=Money.of(link.micro_yuan_per_gib),
            ms_per_gib=link.ms_per_gib,
            source=link.source,
        )
        for link in found
    ]
    return sorted(made, key=lambda one: (one.from_site, one.to_site, one.source))


@router.get("/links")
async def list_links(
    request: Request,
    principal: Caller,
    from_site: Annotated[
        str | None,
        Query(max_length=128, description="All links from this site, as planning reckons them."),
    ] = None,
) -> Page[LinkView]:
    """What was stated and measured; with `from_site` also what goes by distance."""
    require_may(principal, Action.READ_SITES, principal.organisation_id)

    def query(conn: Connection) -> Page[LinkView]:
        if from_site is None:
            return Page(items=views_of(conn, data.stated_links(conn)))
        source = sites.find_site(conn, from_site).site_id
        there = [site for site in sites.sites(conn) if site.state is not SiteState.REMOVED]
        found = data.links(conn, there, also_from=(source,))
        return Page(items=views_of(conn, [one for one in found if one.from_site == source]))

    return await context_of(request).database.read(query)


@router.put("/links/{from_site}/{to_site}")
async def state_link(
    request: Request, from_site: str, to_site: str, principal: Caller, body: LinkRequest
) -> LinkView:
    """State a link's cost, one way; it counts before distance and measurement."""
    context = context_of(request)
    price = body.price_per_gib.amount("price_per_gib")
    require_may(principal, Action.WRITE_LINKS, principal.organisation_id)

    def use_case(tx: Tx) -> LinkView:
        a, b = (sites.find_site(tx.conn, name).site_id for name in (from_site, to_site))
        link = data.set_link(tx, a, b, price, body.ms_per_gib)
        detail = {"to": b, "micro_yuan_per_gib": price, "ms_per_gib": body.ms_per_gib}
        audit(tx, principal, "link.state", "site", a, detail)
        return views_of(tx.conn, [link])[0]

    made = await context.database.write(use_case)
    context.signals.notify(ROUND_SIGNAL)
    return made


@router.delete("/links/{from_site}/{to_site}", status_code=204)
async def clear_link(request: Request, from_site: str, to_site: str, principal: Caller) -> None:
    """Back to distance and measurement; what was not stated is cleared in vain."""
    context = context_of(request)
    require_may(principal, Action.WRITE_LINKS, principal.organisation_id)

    def use_case(tx: Tx) -> None:
        a, b = (sites.find_site(tx.conn, name).site_id for name in (from_site, to_site))
        data.clear_link(tx, a, b)
        audit(tx, principal, "link.clear", "site", a, {"to": b})

    await context.database.write(use_case)
    context.signals.notify(ROUND_SIGNAL)
