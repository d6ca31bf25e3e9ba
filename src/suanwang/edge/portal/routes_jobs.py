"""The list of jobs: filters, search, pages, renewed while one looks."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from sqlalchemy.engine import Connection
from starlette.responses import Response

from suanwang.edge.api.paging import decode_cursor, encode_cursor
from suanwang.edge.api.routes_jobs import visible_projects
from suanwang.edge.portal.errors import PortalRoute
from suanwang.edge.portal.listing import job_rows
from suanwang.edge.portal.rendering import Page, SignedIn
from suanwang.grid.jobs import reading
from suanwang.grid.jobs.model import Job, TaskState
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.model import Principal

router = APIRouter(route_class=PortalRoute)
PAGE = 50
SCAN_PAGE, SCAN_PAGES = 500, 4
"""Names are searched among so many of the newest jobs."""


@router.get("/jobs")
async def list_jobs(
    page: SignedIn,
    state: Annotated[list[TaskState] | None, Query()] = None,
    project: Annotated[str, Query(max_length=100)] = "",
    q: Annotated[str, Query(max_length=120)] = "",
    cursor: Annotated[str, Query(max_length=400)] = "",
) -> Response:
    wanted = q.strip()
    states = [one.value for one in state or ()]

    def query(conn: Connection) -> dict[str, Any]:
        choose = Choice(conn, page.principal, project or None, states)
        found = (
            choose.named(wanted)
            if wanted
            else choose.newest(decode_cursor(cursor) if cursor else None, PAGE + 1)
        )
        kept = found[:PAGE]
        return {
            "jobs": job_rows(conn, page.principal, kept, page.now_ms),
            "next_cursor": encode_cursor(kept[-1].job_id) if len(found) > PAGE else None,
            "scanned": choose.scanned,
            "projects": tenancy.projects(conn, page.principal, limit=200),
        }

    shown = await page.context.database.read(query)
    shown["next_url"] = page.query(cursor=shown["next_cursor"]) if shown["next_cursor"] else None
    shown["first_page_url"] = page.query(cursor=None) if cursor else None
    template = "jobs_live.html" if page.is_fragment else "jobs.html"
    return _render(page, template, shown, wanted, states, project)


def _render(
    page: Page, template: str, shown: dict[str, Any], wanted: str, states: list[str], project: str
) -> Response:
    return page.render(
        template,
        search=wanted,
        states=states,
        all_states=[one.value for one in TaskState],
        project=project,
        filtered=bool(wanted or states or project),
        **shown,
    )


class Choice:
    """Jobs that the reader may see, narrowed down."""

    def __init__(
        self, conn: Connection, principal: Principal, project: str | None, states: list[str]
    ) -> None:
        self._conn = conn
        self._organisation, self._projects = visible_projects(conn, principal, project)
        self._states = states
        self.scanned = 0

    def newest(self, before_id: str | None, limit: int) -> list[Job]:
        return reading.job_page(
            self._conn,
            organisation_id=self._organisation,
            project_ids=self._projects,
            states=self._states,
            before_id=before_id,
            limit=limit,
        )

    def named(self, text: str) -> list[Job]:
        """By a part of the name or of the id, whatever the case."""
        text = text.casefold()
        found: list[Job] = []
        before: str | None = None
        for _ in range(SCAN_PAGES):
            page = self.newest(before, SCAN_PAGE)
            self.scanned += len(page)
            found += [
                job for job in page if text in job.name.casefold() or text in job.job_id.casefold()
            ]
            if len(page) < SCAN_PAGE or len(found) >= PAGE:
                break
            before = page[-1].job_id
        return found[:PAGE]
