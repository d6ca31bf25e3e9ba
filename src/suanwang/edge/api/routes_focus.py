"""A month as FOCUS 1.2: of a project, of an organisation's projects, of a provider's pools."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Query
from sqlalchemy.engine import Connection
from starlette.responses import Response, StreamingResponse

from suanwang.edge.api.routes_billing import Ctx, Identity, Month, Reader
from suanwang.grid.sites import service as sites
from suanwang.platform.database import Database
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.model import Action, Principal
from suanwang.tenancy.rules import require_may
from suanwang.trade.billing import reports, rules
from suanwang.trade.settlement import focus, invoicing

router = APIRouter(prefix="/v1", tags=["settlement"])
PAGE = 1_000
PROVIDER_NAME = "Suanwang"


@dataclass(frozen=True)
class Export:
    """What is written: whose rows, under which names."""

    account: focus.Account
    project_ids: list[str] = field(default_factory=list)
    provider_id: str | None = None


def of_project(conn: Connection, principal: Principal, project: str, month: str) -> Export:
    found = tenancy.project_of(conn, principal, project, Action.READ_BILLING)
    invoice = invoicing.issued_over(conn, found.id, month)
    account = account_of(conn, found.organisation_id, month, {found.id: found.name}, invoice)
    return Export(account, [found.id])


def of_organisation(conn: Connection, principal: Principal, named: str, month: str) -> Export:
    found = tenancy.organisation(conn, named)
    require_may(principal, Action.READ_BILLING, found.id, identity=named)
    names = project_names(conn, principal, found.id)
    return Export(account_of(conn, found.id, month, names), sorted(names))


def project_names(conn: Connection, principal: Principal, organisation_id: str) -> dict[str, str]:
    """All of an organisation's, by id."""
    names: dict[str, str] = {}
    after = None
    while True:
        page = tenancy.projects(
            conn, principal, organisation_id=organisation_id, after=after, limit=PAGE
        )
        names.update((one.id, one.name) for one in page)
        if len(page) < PAGE:
            return names
        after = page[-1].id


def of_provider(conn: Connection, principal: Principal, named: str, month: str) -> Export:
    found = tenancy.organisation(conn, named)
    require_may(principal, Action.READ_BILLING, found.id, identity=named)
    return Export(account_of(conn, found.id, month, {}, provider=True), provider_id=found.id)


def account_of(
    conn: Connection,
    organisation_id: str,
    month: str,
    projects: dict[str, str],
    invoice: str = "",
    *,
    provider: bool = False,
) -> focus.Account:
    rules.month_bounds(month)
    names = sites.names(conn)
    known = {site.site_id: site for site in sites.sites(conn)}
    places = {
        pool.pool_id: focus.Place(
            names.get(pool.pool_id, pool.pool_id),
            names.get(pool.site_id, pool.site_id),
            known[pool.site_id].region if pool.site_id in known else "",
        )
        for pool in sites.pools(conn)
    }
    owners = sorted({site.organisation_id for site in known.values()})
    return focus.Account(
        month=month,
        organisation_id=organisation_id,
        organisation=tenancy.organisation(conn, organisation_id).name,
        issuer=PROVIDER_NAME,
        projects=projects,
        providers={one: tenancy.organisation(conn, one).name for one in owners},
        places=places,
        invoice=invoice,
        as_provider=provider,
    )


async def pages(database: Database, export: Export) -> AsyncIterator[str]:
    """The file, a page of charges at a time; adjustments at the end."""
    account = export.account
    yield focus.csv_text((), head=True)
    after: tuple[int, str, str] | None = None
    while True:

        def query(conn: Connection, after: Any = after) -> list[Any]:
            return reports.priced_usage(
                conn,
                account.month,
                project_ids=export.project_ids,
                provider_organisation_id=export.provider_id,
                after=after,
                limit=PAGE,
            )

        found = await database.read(query)
        rows = [row for one in found for row in focus.usage_rows(one, account)]
        if rows:
            yield focus.csv_text(rows)
        if len(found) < PAGE:
            break
        after = found[-1].place
    for project_id in export.project_ids:
        async for text in _adjustments(database, account, project_id):
            yield text


async def _adjustments(
    database: Database, account: focus.Account, project_id: str
) -> AsyncIterator[str]:
    after: tuple[int, str] | None = None
    while True:

        def query(conn: Connection, after: Any = after) -> list[Any]:
            return reports.adjustments(conn, project_id, account.month, after=after, limit=PAGE)

        lines = await database.read(query)
        if lines:
            rows = [focus.adjustment_row(line, project_id, account) for line in lines]
            yield focus.csv_text(rows)
        if len(lines) < PAGE:
            return
        after = lines[-1].at_ms, lines[-1].entry_id


def _answer(database: Database, export: Export, name: str) -> Response:
    file = f"focus-{name}-{export.account.month}.csv"
    return StreamingResponse(
        pages(database, export),
        media_type="text/csv; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="{file}"',
            "Cache-Control": "no-store",
        },
    )


@router.get("/projects/{project}/focus.csv", response_class=Response)
async def project_focus(
    project: Identity, principal: Reader, context: Ctx, month: Month = None
) -> Response:
    """The month's charges as FOCUS 1.2; their billed costs sum to charged − adjusted."""
    wanted = month or rules.month_of(context.clock.now_ms())
    export = await context.database.read(lambda conn: of_project(conn, principal, project, wanted))
    return _answer(context.database, export, next(iter(export.account.projects.values())))


@router.get("/organisations/{organisation}/focus.csv", response_class=Response)
async def organisation_focus(
    organisation: Identity,
    principal: Reader,
    context: Ctx,
    month: Month = None,
    as_provider: Annotated[
        bool, Query(description="What its pools earned instead of what its projects cost.")
    ] = False,
) -> Response:
    wanted = month or rules.month_of(context.clock.now_ms())
    of = of_provider if as_provider else of_organisation
    export = await context.database.read(lambda conn: of(conn, principal, organisation, wanted))
    return _answer(context.database, export, "earned" if as_provider else "organisation")
