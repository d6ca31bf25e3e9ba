"""Sites over HTTP: invite, list, show, drain, cordon, remove; the prices of their pools."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.engine import Connection
from starlette.responses import Response

from suanwang.edge.api.auth import Caller
from suanwang.edge.api.direct import DirectRoute
from suanwang.edge.api.routes_jobs import context_of
from suanwang.edge.api.views import json_response, pool_view, site_view
from suanwang.edge.api.views_billing import PricesGiven
from suanwang.grid.jobs import reading
from suanwang.grid.jobs.reconciler import ROUND_SIGNAL
from suanwang.grid.sites import service as sites
from suanwang.grid.sites.model import Site
from suanwang.grid.sites.service import SiteDescription
from suanwang.platform.database import Tx
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.audit import audit
from suanwang.tenancy.model import Action, Principal
from suanwang.tenancy.rules import require_may

router = APIRouter(prefix="/v1", tags=["sites"], route_class=DirectRoute)


class SiteInvitation(BaseModel):
    """What is known of a site before its agent comes."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=60)
    region: str = Field(min_length=1, max_length=60)
    display_name: str = Field(default="", max_length=120)
    city: str = Field(default="", max_length=60)
    kind: str = "general"
    operator: str = Field(default="", max_length=120)
    latitude: float = 0.0
    longitude: float = 0.0
    tariff: list[int] = Field(default=[], max_length=24)
    """Micro-yuan per kWh for each hour of the local day."""
    organisation: str | None = None
    """The provider; default: the caller's organisation."""


class Cordon(BaseModel):
    model_config = ConfigDict(extra="forbid")

    pool: str
    node: str
    cordoned: bool = True


def site_for(conn: Connection, principal: Principal, name: str, action: Action) -> Site:
    """Everyone may read sites; writing is for the provider's admins and the operator."""
    site = sites.find_site(conn, name)
    if action is not Action.READ_SITES:
        require_may(principal, action, site.organisation_id, kind="site", identity=name)
    else:
        require_may(principal, action, principal.organisation_id, kind="site", identity=name)
    return site


@router.post("/sites", status_code=201)
async def invite_site(request: Request, principal: Caller, body: SiteInvitation) -> Response:
    """Create a site; the answer holds its one-time enrolment token, shown only now."""
    context = context_of(request)

    def use_case(tx: Tx) -> tuple[Site, str]:
        owner = principal.organisation_id
        if body.organisation is not None:
            owner = tenancy.organisation_of(tx.conn, principal, body.organisation).id
        require_may(principal, Action.WRITE_SITES, owner, kind="organisation", identity=owner)
        description = SiteDescription(
            **body.model_dump(exclude={"organisation", "tariff"}), tariff=tuple(body.tariff)
        )
        site, token = sites.invite(tx, owner, description, context.random)
        audit(tx, principal, "site.invite", "site", site.site_id, organisation_id=owner)
        return site, token

    site, token = await context.database.write(use_case)
    view = site_view(site, context.clock.now_ms()) | {"enrolment_token": token}
    return json_response(view, 201, {"Location": f"/v1/sites/{site.site_id}"})


@router.post("/sites/{name}/token", status_code=201)
async def reinvite_site(request: Request, principal: Caller, name: str) -> Response:
    """A new one-time token, for an agent that lost its credential; the old token ends."""
    context = context_of(request)

    def use_case(tx: Tx) -> str:
        site = site_for(tx.conn, principal, name, Action.WRITE_SITES)
        audit(tx, principal, "site.reinvite", "site", site.site_id)
        return sites.reinvite(tx, site.site_id, context.random)

    return json_response({"enrolment_token": await context.database.write(use_case)}, 201)


@router.post("/sites/{name}/revoke")
async def revoke_site(request: Request, principal: Caller, name: str) -> Response:
    """End the agent's credential at once; it must be enrolled again."""
    context = context_of(request)

    def use_case(tx: Tx) -> int:
        site = site_for(tx.conn, principal, name, Action.WRITE_SITES)
        audit(tx, principal, "site.revoke", "site", site.site_id)
        return sites.revoke_credentials(tx, site.site_id)

    ended = await context.database.write(use_case)
    request.app.state.agent_routes.forget_credentials()
    return json_response({"revoked": ended})


@router.get("/sites")
async def list_sites(request: Request, principal: Caller) -> Response:
    """All sites of the grid, by name."""
    context = context_of(request)
    now_ms = context.clock.now_ms()
    require_may(principal, Action.READ_SITES, principal.organisation_id)
    found = await context.database.read(sites.sites)
    views = [site_view(site, now_ms) for site in sorted(found, key=lambda s: s.name)]
    return json_response({"items": views, "next_cursor": None})


@router.get("/sites/{name}")
async def show_site(request: Request, principal: Caller, name: str) -> Response:
    """The site, its pools with their nodes, and how much of it our leases occupy."""
    context = context_of(request)
    now_ms = context.clock.now_ms()

    def query(conn: Connection) -> dict[str, Any]:
        site = site_for(conn, principal, name, Action.READ_SITES)
        view = site_view(site, now_ms)
        view["pools"] = [pool_view(pool) for pool in sites.pools_of_site(conn, site.site_id)]
        view["open_leases"] = reading.open_leases_at(conn, site.site_id)
        return view

    return json_response(await context.database.read(query))


async def _switch(request: Request, principal: Principal, name: str, draining: bool) -> Response:
    context = context_of(request)

    def use_case(tx: Tx) -> Site:
        site = site_for(tx.conn, principal, name, Action.WRITE_SITES)
        audit(tx, principal, "site.drain" if draining else "site.resume", "site", site.site_id)
        return sites.set_draining(tx, site.site_id, draining)

    site = await context.database.write(use_case)
    context.signals.notify(ROUND_SIGNAL)
    return json_response(site_view(site, context.clock.now_ms()))


@router.post("/sites/{name}/drain")
async def drain_site(request: Request, principal: Caller, name: str) -> Response:
    """Let what runs end, start nothing new."""
    return await _switch(request, principal, name, True)


@router.post("/sites/{name}/resume")
async def resume_site(request: Request, principal: Caller, name: str) -> Response:
    """Take new work again."""
    return await _switch(request, principal, name, False)


@router.post("/sites/{name}/cordon")
async def cordon(
    request: Request, principal: Caller, name: str, body: Annotated[Cordon, Body()]
) -> Response:
    """Keep new work off one node, or let it on again."""
    context = context_of(request)

    def use_case(tx: Tx) -> dict[str, Any]:
        site = site_for(tx.conn, principal, name, Action.WRITE_SITES)
        audit(tx, principal, "site.cordon", "site", site.site_id, body.model_dump())
        return pool_view(sites.cordon_node(tx, site.site_id, body.pool, body.node, body.cordoned))

    view = await context.database.write(use_case)
    context.signals.notify(ROUND_SIGNAL)
    return json_response(view)


@router.post("/sites/{name}/pools/{pool}/prices")
async def set_prices(
    request: Request, principal: Caller, name: str, pool: str, body: PricesGiven
) -> Response:
    """Publish a pool's list price for leases granted from now on.

    An agent whose configuration names prices publishes those again when it reconciles.
    """
    context = context_of(request)

    def use_case(tx: Tx) -> dict[str, Any]:
        site = site_for(tx.conn, principal, name, Action.WRITE_SITES)
        audit(tx, principal, "pool.prices", "site", site.site_id, {"pool": pool})
        return pool_view(sites.set_prices(tx, site.site_id, pool, body.terms()))

    return json_response(await context.database.write(use_case))


@router.delete("/sites/{name}")
async def remove_site(request: Request, principal: Caller, name: str) -> Response:
    """Remove a site that holds no work."""
    context = context_of(request)

    def use_case(tx: Tx) -> None:
        site = site_for(tx.conn, principal, name, Action.WRITE_SITES)
        audit(tx, principal, "site.remove", "site", site.site_id)
        sites.remove(tx, site.site_id, reading.open_leases_at)

    await context.database.write(use_case)
    request.app.state.agent_routes.forget_credentials()
    return json_response({"removed": name})
