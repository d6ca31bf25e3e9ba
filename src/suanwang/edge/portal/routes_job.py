"""One job: state and why, tasks and attempts, logs, results, cost, cancel."""

from __future__ import annotations

import posixpath
from typing import Annotated, Any
from urllib.parse import quote

import yaml
from fastapi import APIRouter, Query, Request
from sqlalchemy.engine import Connection
from starlette.responses import Response

from suanwang.edge.api import routes_jobs as api
from suanwang.edge.api.blob_bodies import blob_response
from suanwang.edge.api.routes_blobs import depot_of
from suanwang.edge.portal.errors import PortalRoute
from suanwang.edge.portal.listing import spending
from suanwang.edge.portal.rendering import Page, SignedIn
from suanwang.edge.portal.timeline import Result, Timeline, results_of, running_cost
from suanwang.edge.portal.why import why
from suanwang.grid.jobs import explaining, reading
from suanwang.grid.jobs.model import FINAL, Job
from suanwang.grid.jobs.planned import Key
from suanwang.grid.sites import service as sites
from suanwang.kernel import trees
from suanwang.kernel.errors import NotFound
from suanwang.tenancy import people
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.model import Action

router = APIRouter(route_class=PortalRoute)
PAGE = 20
MOST_FILES = 1_000
After = Annotated[int, Query(ge=-1)]


async def _live(page: Page, job_id: str, after: int) -> dict[str, Any]:
    def find(conn: Connection) -> Key | None:
        job = api.job_for(conn, page.principal, job_id)
        return explaining.group_of(conn, job, page.now_ms)

    group = await page.context.database.read(find)
    planned = await page.context.dispatcher.planned(group)
    now_ms = page.now_ms

    def query(conn: Connection) -> dict[str, Any]:
        job = api.job_for(conn, page.principal, job_id)
        found = reading.tasks_with_leases(conn, job.job_id, after_index=after, limit=PAGE)
        timeline = Timeline(page, job, sites.names(conn))
        leases = [lease for _, mine in found for lease in mine]
        last = found[-1][0].index if found else -1
        charged = spending(conn, page.principal, [job], now_ms).get(job.job_id, 0)
        open_cost = running_cost(leases, now_ms)
        return {
            "job": job,
            "over": job.state in FINAL,
            "cancelling": job.cancel_requested and job.state not in FINAL,
            "lasted_ms": (job.ended_at_ms or now_ms) - job.created_at_ms,
            "charged": charged,
            "running_cost": open_cost if job.state not in FINAL else 0,
            "why": why(conn, page, planned, job, [task for task, _ in found]),
            "task_counts": [(s.value, n) for s, n in job.counts().items() if n],
            "tasks": [timeline.task(task, mine) for task, mine in found],
            "next_tasks": last if last + 1 < job.total and len(found) == PAGE else None,
            "results": results_of(found),
            "attempts": max((task.attempt + 1 for task, mine in found if mine), default=0),
        }

    return await page.context.database.read(query)


@router.get("/jobs/{job_id}/live")
async def job_live(page: SignedIn, job_id: str, after: After = -1) -> Response:
    return page.render("job_parts.html", **await _live(page, job_id, after))


@router.get("/jobs/{job_id}")
async def show_job(page: SignedIn, job_id: str, after: After = -1) -> Response:
    shown = await _live(page, job_id, after)
    job: Job = shown["job"]

    def query(conn: Connection) -> dict[str, Any]:
        project = tenancy.project(conn, job.project_id)
        return {
            "project": project.display_name,
            "user": people.user(conn, job.user_id).display_name,
            "spec_yaml": spec_text(dict(reading.job_spec(conn, job.job_id))),
            "may_cancel": page.may(Action.WRITE_JOBS, job.organisation_id, job.project_id),
        }

    more = await page.context.database.read(query)
    return page.render("job.html", **shown, **more)


def spec_text(spec: dict[str, Any]) -> str:
    """YAML that can be submitted again."""
    kept = {key: value for key, value in spec.items() if value not in (None, {}, [])}
    return yaml.safe_dump(kept, allow_unicode=True, sort_keys=False, width=100)


@router.post("/jobs/{job_id}/cancel")
async def cancel_job(request: Request, page: SignedIn, job_id: str) -> Response:
    await api.cancel_job(request, job_id, page.principal)
    return page.redirect(f"/jobs/{job_id}?done=cancelled")


@router.get("/jobs/{job_id}/results/{index}/{name}")
async def result(
    request: Request,
    page: SignedIn,
    job_id: str,
    index: int,
    name: str,
    file: Annotated[str, Query(max_length=1_024)] = "",
) -> Response:
    """A kept file as a download; of a kept folder a list of its files, or one of them."""
    job, found = await _result(page, job_id, index, name)
    depot = depot_of(request)
    if not found.tree:
        return await _download(request, job, found.digest, name)
    manifest = bytearray()
    fact = await depot.fact(job.organisation_id, found.digest)
    async for piece in depot.blobs.open_read(found.digest, 0, fact.size_bytes):
        manifest += piece
    tree = trees.parse(bytes(manifest))
    if file:
        one = next((entry for entry in tree.files if entry.path == file), None)
        if one is None:
            raise NotFound("FileNotFound", f"The result has no file {file!r}.")
        return await _download(request, job, one.digest, posixpath.basename(file))
    return page.render(
        "result.html",
        job=job,
        result=found,
        files=tree.files[:MOST_FILES],
        count=len(tree.files),
        total=tree.total_bytes,
    )


async def _result(page: Page, job_id: str, index: int, name: str) -> tuple[Job, Result]:
    def query(conn: Connection) -> tuple[Job, Result]:
        job = api.job_for(conn, page.principal, job_id)
        found = reading.tasks_with_leases(conn, job.job_id, after_index=index - 1, limit=1)
        kept = [one for one in results_of(found) if one.index == index and one.name == name]
        if not kept:
            raise NotFound("ResultNotFound", f"Task {index} kept no result named {name!r}.")
        return job, kept[0]

    return await page.context.database.read(query)


async def _download(request: Request, job: Job, digest: str, name: str) -> Response:
    """Never shown in the browser: a program's output may be a page with scripts."""
    depot = depot_of(request)
    fact = await depot.fact(job.organisation_id, digest)
    answer = blob_response(depot, request, digest, fact.size_bytes)
    answer.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(name, safe='')}"
    return answer
