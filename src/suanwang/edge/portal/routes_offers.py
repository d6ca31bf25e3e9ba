"""Offers: what can be had now, pool by pool, comparable across unlike machines."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from suanwang.edge.portal.errors import PortalRoute
from suanwang.edge.portal.rendering import SignedIn
from suanwang.grid.jobs.offers import offers
from suanwang.grid.sites.service import KINDS
from suanwang.kernel.money import scale
from suanwang.tenancy.model import Action
from suanwang.tenancy.rules import require_may

router = APIRouter(route_class=PortalRoute)
SORTS = ("site", "core", "card", "normal", "free_cores", "free_cards", "backlog")
TFLOPS = 100
"""Cards are compared by the price of so many TFLOPS (FP16, dense) for an hour."""


@router.get("/offers")
async def list_offers(
    page: SignedIn,
    q: Annotated[str, Query(max_length=120)] = "",
    kind: Annotated[str, Query(max_length=40)] = "",
    cards: Annotated[str, Query(max_length=5)] = "",
    sort: Annotated[str, Query(max_length=20)] = "site",
) -> Response:
    require_may(page.principal, Action.READ_SITES, page.principal.organisation_id)
    everything = [_row(offer) for offer in offers(await page.context.dispatcher.gather())]
    text = q.strip().casefold()
    shown = [
        row
        for row in everything
        if text in row["text"]
        and (not kind or row["kind"] == kind)
        and (cards != "yes" or row["accelerator"])
    ]
    chosen = sort if sort in SORTS else "site"
    return page.render(
        "offers_live.html" if page.is_fragment else "offers.html",
        rows=_sorted(shown, chosen),
        any_offer=bool(everything),
        offer_search=q,
        kind=kind,
        kinds=KINDS,
        cards=cards,
        sort=chosen,
    )


def _row(offer: dict[str, Any]) -> dict[str, Any]:
    card, prices = offer["accelerator"], offer["prices"]
    gflops = round(card["fp16_tflops"] * 1000) if card else 0
    words = (offer["site"], offer["site_name"], offer["pool"], offer["region"])
    hardware = (offer["architecture"], offer["interconnect"], card["model"] if card else "")
    return {
        **offer,
        "text": " ".join((*words, *hardware)).casefold(),
        "normal": scale(prices["accelerator_hour"], TFLOPS * 1000, gflops)
        if gflops and prices["accelerator_hour"]
        else None,
    }


def _sorted(rows: list[dict[str, Any]], by: str) -> list[dict[str, Any]]:
    """Prices from the lowest, free capacity from the most; what has no figure comes last."""

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        figure: Any = {
            "site": None,
            "core": row["prices"]["core_hour"] or None,
            "card": row["prices"]["accelerator_hour"] or None,
            "normal": row["normal"],
            "free_cores": -row["free"]["cpu_milli"],
            "free_cards": -row["free"]["accelerator_milli"],
            "backlog": row["backlog_s"],
        }[by]
        return figure is None, figure or 0, row["site"], row["pool"]

    return sorted(rows, key=key)
