"""Sites: the list, one site with its nodes, drain and cordon, and the form that invites one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import ValidationError
from sqlalchemy.engine import Connection
from starlette.responses import Response

from suanwang.edge.api import routes_sites as api
from suanwang.edge.api.routes_sites import Cordon, SiteInvitation
from suanwang.edge.portal import formats, reasons
from suanwang.edge.portal.errors import PortalRoute
from suanwang.edge.portal.map import capacities, condition
from suanwang.edge.portal.rendering import Page, SignedIn
from suanwang.grid.jobs import reading
from suanwang.grid.jobs.offers import offers
from suanwang.grid.jobs.snapshot import Gathered
from suanwang.grid.sites.model import Site
from suanwang.grid.sites.service import KINDS
from suanwang.kernel.errors import SuanwangError
from suanwang.kernel.resources import ZERO, Resources
from suanwang.tenancy.model import Action
from suanwang.tenancy.rules import require_may

router = APIRouter(route_class=PortalRoute)


@dataclass(frozen=True)
class SiteRow:
    """A line of the list of sites."""

    site: Site
    condition: str
    pools: list[str]
    nodes: int
    capacity: Resources
    used: Resources
    cheapest: dict[str, int]


def _rows(page: Page, gathered: Gathered) -> list[SiteRow]:
    sums = capacities(gathered)
    by_site: dict[str, list[dict[str, Any]]] = {}
    for offer in offers(gathered):
        by_site.setdefault(offer["site_id"], []).append(offer)
    rows = []
    for site in sorted(gathered.sites.values(), key=lambda one: one.name):
        whole, used = sums.get(site.site_id, (ZERO, ZERO))
        mine = by_site.get(site.site_id, [])
        cheapest = {
            name: min(prices)
            for name in ("core_hour", "accelerator_hour")
            if (prices := [o["prices"][name] for o in mine if o["prices"][name]])
        }
        rows.append(
            SiteRow(
                site,
                condition(site, page.now_ms),
                [offer["pool"] for offer in mine],
                sum(offer["nodes"] for offer in mine),
                whole,
                used,
                cheapest,
            )
        )
    return rows


@router.get("/sites")
async def list_sites(
    page: SignedIn,
    q: Annotated[str, Query(max_length=120)] = "",
    kind: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    require_may(page.principal, Action.READ_SITES, page.principal.organisation_id)
    rows = _rows(page, await page.context.dispatcher.gather())
    text = q.strip().casefold()
    shown = [
        row
        for row in rows
        if (not kind or row.site.kind == kind)
        and text
        in " ".join(
            (row.site.name, row.site.display_name, row.site.city, row.site.region)
        ).casefold()
    ]
    return page.render(
        "sites_live.html" if page.is_fragment else "sites.html",
        rows=shown,
        any_site=bool(rows),
        site_search=q,
        kind=kind,
        kinds=KINDS,
        may_invite=page.may(Action.WRITE_SITES, page.principal.organisation_id),
    )


_EMPTY_FORM = {"kind": "general", "latitude": "", "longitude": ""}


@router.get("/sites/new")
async def invite_form(page: SignedIn) -> Response:
    return page.render("site_new.html", form=_EMPTY_FORM, kinds=KINDS, token=None)


@router.post("/sites/new")
async def invite_site(request: Request, page: SignedIn) -> Response:
    """The answer shows the one-time token, this once."""
    form = {**_EMPTY_FORM, **await page.form()}
    try:
        body = _invitation(form)
        answer = await api.invite_site(request, page.principal, body)
    except ValidationError as error:
        shown = reasons.invalid(page.language, list(error.errors()))
        return page.render("site_new.html", 422, form=form, kinds=KINDS, token=None, problem=shown)
    except SuanwangError as error:
        return page.render(
            "site_new.html",
            error.status,
            form=form,
            kinds=KINDS,
            token=None,
            problem=page.problem(error),
        )
    token = msgspec.json.decode(bytes(answer.body))["enrolment_token"]
    return _token_page(page, body.name, token)


def _invitation(form: dict[str, str]) -> SiteInvitation:
    names = ("name", "region", "display_name", "city", "kind", "operator")
    values: dict[str, Any] = {name: form.get(name, "").strip() for name in names}
    values |= {name: form[name] for name in ("latitude", "longitude") if form.get(name)}
    tariff = [text for text in form.get("tariff", "").replace("，", ",").split(",") if text.strip()]
    if tariff:
        try:
            values["tariff"] = [round(float(text) * 1_000_000) for text in tariff]
        except ValueError:
            values["tariff"] = tariff  # refused below, at its field
    return SiteInvitation.model_validate(values)


def _token_page(page: Page, name: str, token: str) -> Response:
    settings = page.context.settings
    server = settings.public_url or str(page.request.base_url).rstrip("/")
    return page.render(
        "site_token.html",
        name=name,
        token=token,
        command=f"suan agent --server {server} --token {token}",
    )


@router.post("/sites/{name}/token")
async def reinvite_site(request: Request, page: SignedIn, name: str) -> Response:
    answer = await api.reinvite_site(request, page.principal, name)
    token = msgspec.json.decode(bytes(answer.body))["enrolment_token"]
    return _token_page(page, name, token)


@router.get("/sites/{name}")
async def show_site(page: SignedIn, name: str) -> Response:
    gathered = await page.context.dispatcher.gather()

    def query(conn: Connection) -> tuple[Site, int]:
        site = api.site_for(conn, page.principal, name, Action.READ_SITES)
        return site, reading.open_leases_at(conn, site.site_id)

    site, leases = await page.context.database.read(query)
    mine = [offer for offer in offers(gathered) if offer["site_id"] == site.site_id]
    return page.render(
        "site_live.html" if page.is_fragment else "site.html",
        site=site,
        condition=condition(site, page.now_ms),
        leases=leases,
        offers=mine,
        nodes={offer["pool_id"]: _nodes(gathered, offer["pool_id"]) for offer in mine},
        may_steer=page.may(Action.WRITE_SITES, site.organisation_id),
        hour=formats.local(page.now_ms).hour,
    )


def _nodes(gathered: Gathered, pool_id: str) -> list[dict[str, Any]]:
    """Nodes with what is used of each; what others than we use counts as used."""
    row = gathered.pools[pool_id]
    pool = next(one for one in gathered.snapshot.pools if one.pool_id == pool_id)
    up = {report.name: report for report in row.nodes}
    return [
        {
            "name": node.node_id,
            "up": up[node.node_id].up,
            "detail": up[node.node_id].detail,
            "cordoned": node.node_id in row.cordoned,
            "capacity": node.capacity,
            "used": node.capacity - node.free,
        }
        for node in pool.nodes
    ]


@router.post("/sites/{name}/drain")
async def drain(request: Request, page: SignedIn, name: str) -> Response:
    await api.drain_site(request, page.principal, name)
    return page.redirect(f"/sites/{name}?done=drained")


@router.post("/sites/{name}/resume")
async def resume(request: Request, page: SignedIn, name: str) -> Response:
    await api.resume_site(request, page.principal, name)
    return page.redirect(f"/sites/{name}?done=resumed")


@router.post("/sites/{name}/cordon")
async def cordon(request: Request, page: SignedIn, name: str) -> Response:
    form = await page.form()
    body = Cordon(
        pool=form.get("pool", ""),
        node=form.get("node", ""),
        cordoned=form.get("cordoned") == "true",
    )
    await api.cordon(request, page.principal, name, body)
    return page.redirect(f"/sites/{name}?done={'cordoned' if body.cordoned else 'uncordoned'}")


@router.post("/sites/{name}/remove")
async def remove(request: Request, page: SignedIn, name: str) -> Response:
    await api.remove_site(request, page.principal, name)
    return page.redirect("/sites?done=removed")
