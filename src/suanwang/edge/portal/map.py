"""The schematic map: sites as points, the links between them as arcs."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from suanwang.edge.portal import formats
from suanwang.edge.portal.rendering import Page
from suanwang.grid.jobs.snapshot import Gathered
from suanwang.grid.sites.model import Site, SiteState, is_reachable
from suanwang.kernel.resources import ZERO, Resources

CARD_WEIGHT = 16
"""A card counts as so many cores in the size of a point."""
MAX_LINKS = 60
FEW_SITES = 6


def condition(site: Site, now_ms: int) -> str:
    """invited, draining, unreachable or open: what a reader wants to know first."""
    if site.state is SiteState.INVITED:
        return "invited"
    if not is_reachable(site, now_ms):
        return "unreachable"
    return "draining" if site.state is SiteState.DRAINING else "open"


def capacities(gathered: Gathered) -> dict[str, tuple[Resources, Resources]]:
    """Site id → whole capacity, used capacity."""
    sums: dict[str, tuple[Resources, Resources]] = {}
    for pool in gathered.snapshot.pools:
        whole, used = sums.get(pool.site_id, (ZERO, ZERO))
        for node in pool.nodes:
            whole, used = whole + node.capacity, used + (node.capacity - node.free)
        sums[pool.site_id] = (whole, used)
    return sums


def site_map(page: Page, gathered: Gathered) -> dict[str, Any]:
    """Sites with a known place. Zero stands for a place that was not told."""
    sums = capacities(gathered)
    placed = [s for s in gathered.sites.values() if s.latitude and s.longitude]
    enrolled = {site.site_id for site in placed if site.state is not SiteState.INVITED}
    shown = []
    for site in sorted(placed, key=lambda s: s.name):
        whole, used = sums.get(site.site_id, (ZERO, ZERO))
        state = condition(site, page.now_ms)
        lines = [site.display_name, page.say(f"condition.{state}")]
        lines.append(_of(page, "cores", used.cpu_milli, whole.cpu_milli))
        if whole.accelerator_milli:
            lines.append(_of(page, "cards", used.accelerator_milli, whole.accelerator_milli))
        shown.append(
            {
                "name": site.name,
                "label": site.city or site.display_name,
                "lon": site.longitude,
                "lat": site.latitude,
                "state": state,
                "weight": whole.cpu_milli + CARD_WEIGHT * whole.accelerator_milli,
                "tip": "\n".join(lines),
                "url": f"/sites/{site.name}",
            }
        )
    return {"sites": shown, "links": _links(gathered, enrolled)}


def _links(gathered: Gathered, placed: set[str]) -> list[dict[str, str]]:
    """Each pair of sites once: those with a stated or measured link, else a few sites' all pairs.

    Planning reckons with every pair; it takes the distance where nothing better is known.
    """
    pairs = {
        tuple(sorted((link.from_site, link.to_site)))
        for link in gathered.snapshot.links
        if link.from_site in placed and link.to_site in placed and link.from_site != link.to_site
    }
    if not pairs and len(placed) <= FEW_SITES:
        pairs = set(combinations(sorted(placed), 2))
    names = {site_id: site.name for site_id, site in gathered.sites.items()}
    return [{"from": names[a], "to": names[b]} for a, b in sorted(pairs)[:MAX_LINKS]]


def _of(page: Page, resource: str, used: int, whole: int) -> str:
    return f"{page.say(f'resource.{resource}')} {formats.milli(used)} / {formats.milli(whole)}"
