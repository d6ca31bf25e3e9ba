"""The catalogue: classes of cards with their bands and sources, what was measured, who offers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter
from sqlalchemy.engine import Connection
from starlette.responses import Response

from suanwang.edge.api import routes_catalogue as api
from suanwang.edge.api.routes_catalogue import QueryText
from suanwang.edge.api.views_catalogue import throughput
from suanwang.edge.portal import querying, reasons
from suanwang.edge.portal.errors import PortalRoute
from suanwang.edge.portal.rendering import Page, SignedIn
from suanwang.edge.portal.routes_admin import answered
from suanwang.grid.jobs import class_search
from suanwang.grid.jobs.class_search import ClassRow
from suanwang.grid.sites import service as sites
from suanwang.tenancy import service as tenancy
from suanwang.trade.catalogue import service as catalogue
from suanwang.trade.catalogue.model import CORE, MEMORY, Band, Figure, Precision
from suanwang.trade.catalogue.query import QueryError

router = APIRouter(route_class=PortalRoute)
LATEST = 8
CHIPS = (
    ("all", ""),
    ("domestic_only", "gpu.domestic:yes"),
    ("offered_only", "offers>0"),
    ("measured_only", "gpu.measured>0"),
    ("large_only", "gpu.memory>=64"),
)
"""Queries that stand as buttons beside the box; they teach the language as well."""
SHOWN = (Precision.FP16, Precision.BF16, Precision.INT8, Precision.FP32, Precision.FP64)


@dataclass(frozen=True, slots=True)
class Bar:
    """A band to be drawn, in percent of the longest one of the page."""

    text: str
    low: float
    span: float
    mark: float | None
    sources: tuple[Figure, ...]
    is_wide: bool


def bar_of(row: ClassRow, precision: Precision, longest: int) -> Bar | None:
    band = row.peaks.get(precision)
    if band is None:
        return None
    figures = row.card.figures if row.card else ()
    measured = [one.mega for one in row.measured(precision)]

    def share(mega: int) -> float:
        return round(100 * min(mega, longest) / longest, 1)

    return Bar(
        band_text(band),
        share(band.low_mega),
        round(share(band.high_mega) - share(band.low_mega), 1),
        share(max(measured)) if measured else None,
        tuple(one for one in figures if one.precision is precision),
        band.is_wide,
    )


def band_text(band: Band) -> str:
    if band.is_wide:
        return f"{tera(band.low_mega)}–{tera(band.high_mega)}"
    return tera(band.mega)


def tera(mega: int) -> str:
    """'989.4', '0.0775': four figures."""
    return f"{mega / 1_000_000:.4g}"


def figure_text(what: str, mega: int) -> str:
    """With its unit."""
    one = throughput(what, mega)
    return f"{one['value']:.4g} {one['unit']}"


def longest_of(rows: list[ClassRow], precision: Precision) -> int:
    """The scale of a column: its greatest figure, stated or measured."""
    stated = [row.peaks[precision].high_mega for row in rows if precision in row.peaks]
    measured = [one.mega for row in rows for one in row.measured(precision)]
    return max([*stated, *measured], default=1)


@router.get("/catalogue")
async def show_catalogue(page: SignedIn, q: QueryText = "") -> Response:
    api.require_reader(page.principal)
    everything = await api.class_rows(page.context)
    box = querying.box(q, class_search.FIELDS, class_search.EXAMPLE)
    rows: list[ClassRow] = []
    try:
        rows = class_search.found(everything, q)
    except QueryError as error:
        box = querying.wrong(page, box, error)
    longest = {one: longest_of(rows, one) for one in (Precision.FP16, Precision.INT8)}
    listed = [(row, {one: bar_of(row, one, longest[one]) for one in longest}) for row in rows]
    benches = await page.context.database.read(_latest)
    return page.render(
        "catalogue.html",
        box.status,
        box=box,
        chips=CHIPS,
        rows=listed,
        benches=benches,
        tera=tera,
        figure_text=figure_text,
        FP16=Precision.FP16,
        INT8=Precision.INT8,
    )


def _latest(conn: Connection) -> list[dict[str, Any]]:
    """The newest benchmarks with the names of their places."""
    found = catalogue.tickets(conn, before_id=None, limit=LATEST)
    names = sites.names_of(conn, [t.site_id for t in found], [t.pool_id for t in found])
    return [
        {
            "ticket": one,
            "site": names.get(one.site_id, one.site_id),
            "pool": names.get(one.pool_id, one.pool_id),
            "results": catalogue.measurements_of(conn, one.ticket_id),
        }
        for one in found
    ]


async def _class_page(
    page: Page,
    unit_class: str,
    problem: reasons.Problem | None = None,
    form: dict[str, str] | None = None,
) -> Response:
    api.require_reader(page.principal)
    row = await api.class_row(page.context, unit_class)
    names, projects = await page.context.database.read(
        lambda conn: (sites.names(conn), tenancy.projects(conn, page.principal, limit=200))
    )
    stated = row.card.figures if row.card else ()
    whats = [one for one in (*SHOWN, MEMORY) if row.measured(one)]
    return page.render(
        "catalogue_class.html",
        problem.status if problem else 200,
        row=row,
        figures=sorted(stated, key=lambda one: (SHOWN.index(one.precision), one.basis, -one.mega)),
        longest=max((one.mega for one in stated), default=1),
        bars=[
            (one, bar)
            for one in SHOWN
            if (bar := bar_of(row, one, max(longest_of([row], p) for p in SHOWN)))
        ],
        measured=[one for what in whats for one in row.measured(what)],
        names=names,
        projects=projects,
        is_core=row.unit_class == CORE,
        tera=tera,
        figure_text=figure_text,
        problem=problem,
        form=form or {},
    )


@router.get("/catalogue/{unit_class}")
async def show_class(page: SignedIn, unit_class: str) -> Response:
    return await _class_page(page, unit_class)


@router.post("/catalogue/{unit_class}/measure")
async def measure(page: SignedIn, unit_class: str) -> Response:
    async def change(form: dict[str, str]) -> None:
        body = api.BenchRequest.model_validate(
            {"pool": form.get("pool", ""), "project": form.get("project") or None}
        )
        await api.start(page.context, page.principal, body)

    async def show(problem: reasons.Problem, form: dict[str, str]) -> Response:
        return await _class_page(page, unit_class, problem, form)

    to = f"/catalogue/{quote(unit_class, safe='')}?done=measuring"
    return await answered(page, change, to, show)
