"""Offers: what can be had now, pool by pool, comparable across unlike machines."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from suanwang.edge.api.routes_catalogue import QueryText, offer_rows
from suanwang.edge.portal import querying
from suanwang.edge.portal.errors import PortalRoute
from suanwang.edge.portal.rendering import SignedIn
from suanwang.grid.jobs import offer_search
from suanwang.grid.sites.service import KINDS
from suanwang.tenancy.model import Action
from suanwang.tenancy.rules import require_may
from suanwang.trade.catalogue.query import QueryError

router = APIRouter(route_class=PortalRoute)
SORTS = ("site", "core", "card", "normal", "free_cores", "free_cards", "backlog")


@router.get("/offers")
async def list_offers(
    page: SignedIn,
    q: QueryText = "",
    kind: Annotated[str, Query(max_length=40)] = "",
    cards: Annotated[str, Query(max_length=5)] = "",
    sort: Annotated[str, Query(max_length=20)] = "",
) -> Response:
    """A sort of the query counts unless a column's is chosen."""
    require_may(page.principal, Action.READ_SITES, page.principal.organisation_id)
    everything = await offer_rows(page.context)
    box = querying.box(q, offer_search.FIELDS, offer_search.EXAMPLE)
    found: list[dict[str, Any]] = []
    ordered = False
    try:
        query = offer_search.read(q)
        found, ordered = offer_search.found(everything, query), bool(query.sorts)
    except QueryError as error:
        box = querying.wrong(page, box, error)
    shown = [
        row
        for row in found
        if (not kind or row["kind"] == kind) and (cards != "yes" or row["accelerator"])
    ]
    chosen = sort if sort in SORTS else "" if ordered else "site"
    return page.render(
        "offers_live.html" if page.is_fragment else "offers.html",
        box.status,
        rows=_sorted(shown, chosen) if chosen else shown,
        any_offer=bool(everything),
        box=box,
        kind=kind,
        kinds=KINDS,
        cards=cards,
        sort=chosen,
    )


def _sorted(rows: list[dict[str, Any]], by: str) -> list[dict[str, Any]]:
    """Prices from the lowest, free capacity from the most; what has no figure comes last."""

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        figure: Any = {
            "site": None,
            "core": row["prices"]["core_hour"] or None,
            "card": row["prices"]["accelerator_hour"] or None,
            "normal": row["unit_price"].by_peak,
            "free_cores": -row["free"]["cpu_milli"],
            "free_cards": -row["free"]["accelerator_milli"],
            "backlog": row["backlog_s"],
        }[by]
        return figure is None, figure or 0, row["site"], row["pool"]

    return sorted(rows, key=key)
