"""The catalogue over HTTP: accelerators, offers that a query finds, and the micro-benchmark."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.engine import Connection
from starlette.responses import Response

from suanwang.edge.api import views_catalogue as views
from suanwang.edge.api.auth import Caller
from suanwang.edge.api.context import Context
from suanwang.edge.api.direct import DirectRoute
from suanwang.edge.api.paging import Paging, encode_cursor
from suanwang.edge.api.routes_jobs import context_of
from suanwang.edge.api.views import json_response
from suanwang.grid.jobs import benches, class_search, offer_search, submission
from suanwang.grid.jobs.class_search import ClassRow
from suanwang.grid.jobs.offers import offers
from suanwang.grid.jobs.reconciler import ROUND_SIGNAL
from suanwang.grid.sites import service as sites
from suanwang.platform.database import Tx
from suanwang.platform.entropy import secret_text
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.audit import audit
from suanwang.tenancy.model import Action, Principal
from suanwang.tenancy.rules import require_may
from suanwang.trade.catalogue import cards
from suanwang.trade.catalogue import service as catalogue
from suanwang.trade.catalogue.model import Ticket
from suanwang.trade.catalogue.query import MAX_QUERY

router = APIRouter(prefix="/v1", tags=["catalogue"], route_class=DirectRoute)

QueryText = Annotated[str, Query(max_length=4 * MAX_QUERY)]


class BenchRequest(BaseModel):
    """Where to measure. It is a job of the project, at the pool's price."""

    model_config = ConfigDict(extra="forbid")

    pool: str = Field(min_length=3, max_length=160, description="SITE/POOL")
    project: str | None = Field(default=None, max_length=120)
    cores: int = Field(default=1, ge=1, le=benches.MAX_CORES)
    """How many to use; of a pool with cards, those beside its one card."""


def require_reader(principal: Principal) -> None:
    require_may(principal, Action.READ_SITES, principal.organisation_id)


async def offer_rows(context: Context) -> list[dict[str, Any]]:
    """Every pool, with what it was measured at."""
    gathered = await context.dispatcher.gather()
    measured = await context.database.read(catalogue.figures)
    return offers(gathered, catalogue.by_pool(measured))


async def class_rows(context: Context) -> list[ClassRow]:
    """Every class, with who offers it and what it was measured at."""
    gathered = await context.dispatcher.gather()
    measured = await context.database.read(catalogue.figures)
    return class_search.rows(offers(gathered, catalogue.by_pool(measured)), measured)


async def class_row(context: Context, text: str) -> ClassRow:
    """By the class's name or a card's. Raises NotFound."""
    found = {row.unit_class: row for row in await class_rows(context)}
    if text in found:
        return found[text]
    wanted = cards.require_class(text)
    return found.get(wanted) or class_search.row_of(wanted)


@router.get("/catalogue/accelerators")
async def list_accelerators(request: Request, principal: Caller, q: QueryText = "") -> Response:
    """Every class of the catalogue, and those that only sites know.

    `q` is a query such as `gpu.domestic:yes gpu.memory>=64 offers>0 sort:-gpu.fp16`.
    """
    require_reader(principal)
    context = context_of(request)
    found = class_search.found(await class_rows(context), q)
    names = await context.database.read(sites.names)
    items = [views.class_view(row, names) for row in found]
    return json_response({"items": items, "next_cursor": None})


@router.get("/catalogue/accelerators/{unit_class}")
async def show_accelerator(request: Request, principal: Caller, unit_class: str) -> Response:
    """A class by its name (`h100-80g`), or by a card's: figures, sources, measurements, offers."""
    require_reader(principal)
    context = context_of(request)
    row = await class_row(context, unit_class)
    view = views.class_view(row, await context.database.read(sites.names))
    return json_response({**view, "offers": [views.offer_view(one) for one in row.offers]})


@router.get("/offers")
async def list_offers(
    request: Request,
    principal: Caller,
    q: QueryText = "",
) -> Response:
    """What can be had now: each pool with its price, its capacity and what of it is free.

    `q` is a query such as `gpu.memory>=64 zone:henan price<30 sort:price`.
    """
    require_reader(principal)
    query = offer_search.read(q)
    rows = offer_search.found(await offer_rows(context_of(request)), query)
    return json_response({"items": [views.offer_view(one) for one in rows], "next_cursor": None})


# --- the micro-benchmark -----------------------------------------------------------------------


async def start(context: Context, principal: Principal, body: BenchRequest) -> Ticket:
    """Submit the run. The caller must be allowed to submit jobs in the project."""
    require_reader(principal)

    def use_case(tx: Tx) -> Ticket:
        project = tenancy.project_of(tx.conn, principal, body.project, Action.WRITE_JOBS)
        owner = submission.Owner(project.organisation_id, project.id, principal.user_id)
        ticket = benches.start(
            tx,
            owner,
            body.pool,
            project=body.project,
            cores=body.cores,
            key=secret_text(),
            seal=context.secrets.seal,
            estimates=context.estimates,
        )
        audit(tx, principal, "bench.start", "job", ticket.job_id, {"pool": body.pool})
        return ticket

    ticket = await context.database.write(use_case)
    context.signals.notify(ROUND_SIGNAL)
    return ticket


def bench_view(conn: Connection, ticket: Ticket) -> dict[str, Any]:
    names = sites.names_of(conn, [ticket.site_id], [ticket.pool_id])
    found = catalogue.measurements_of(conn, ticket.ticket_id)
    return views.ticket_view(ticket, found, names)


@router.post("/benches", status_code=201)
async def start_bench(request: Request, principal: Caller, body: BenchRequest) -> Response:
    """Measure a pool: an ordinary job there, whose signed result goes into the catalogue."""
    context = context_of(request)
    ticket = await start(context, principal, body)
    view = await context.database.read(lambda conn: bench_view(conn, ticket))
    return json_response(view, 201, {"Location": f"/v1/benches/{ticket.ticket_id}"})


@router.get("/benches")
async def list_benches(request: Request, principal: Caller, page: Paging) -> Response:
    """Newest first; those that were refused too, with the reason."""
    require_reader(principal)

    def query(conn: Connection) -> dict[str, Any]:
        rows = catalogue.tickets(conn, before_id=page.after, limit=page.fetch)
        kept = rows[: page.limit]
        cursor = encode_cursor(kept[-1].ticket_id) if len(rows) > page.limit else None
        return {"items": [bench_view(conn, one) for one in kept], "next_cursor": cursor}

    return json_response(await context_of(request).database.read(query))


@router.get("/benches/{bench}")
async def show_bench(request: Request, principal: Caller, bench: str) -> Response:
    """Its state, and its results once they are taken."""
    require_reader(principal)
    view = await context_of(request).database.read(
        lambda conn: bench_view(conn, catalogue.ticket(conn, bench))
    )
    return json_response(view)
