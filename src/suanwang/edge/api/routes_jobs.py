"""Jobs over HTTP: plan, submit, list, show, explain, cancel, events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Body, Depends, Header, Query, Request
from fastapi.responses import StreamingResponse
from sqlalchemy.engine import Connection
from starlette.responses import Response

from suanwang.edge.api.auth import Caller, require_scope
from suanwang.edge.api.context import Context
from suanwang.edge.api.direct import DirectRoute
from suanwang.edge.api.paging import Paging, encode_cursor
from suanwang.edge.api.views import instant, job_view, json_response, task_view
from suanwang.grid.jobs import explaining, reading, submission
from suanwang.grid.jobs.model import FINAL, Job, TaskState
from suanwang.grid.jobs.planned import Key
from suanwang.grid.jobs.reconciler import ROUND_SIGNAL, job_signal, site_signal
from suanwang.grid.jobs.spec import JobSpec
from suanwang.grid.sites import service as sites
from suanwang.kernel.ids import is_whole_id
from suanwang.platform.database import Tx
from suanwang.platform.signals import wait_for
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.audit import audit
from suanwang.tenancy.model import Action, Principal, Scope
from suanwang.tenancy.rules import require_may

router = APIRouter(prefix="/v1", tags=["jobs"], route_class=DirectRoute)
Reader = Annotated[Principal, Depends(require_scope(Scope.JOBS_READ))]
EVENTS_EVERY_S = 15.0


def context_of(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


def job_for(
    conn: Connection, principal: Principal, job_id: str, action: Action = Action.READ_JOBS
) -> Job:
    """The job, if the caller may; foreign jobs do not exist for him."""
    job = reading.find_job(conn, job_id, _visible_organisation(principal))
    _require_job(principal, action, job, job_id)
    return job


def _require_job(principal: Principal, action: Action, job: Job, asked: str) -> None:
    require_may(principal, action, job.organisation_id, job.project_id, kind="job", identity=asked)


def _visible_organisation(principal: Principal) -> str | None:
    return None if principal.is_operator else principal.organisation_id


def owner_for(conn: Connection, principal: Principal, spec: JobSpec) -> submission.Owner:
    project = tenancy.project_of(conn, principal, spec.project, Action.WRITE_JOBS)
    return submission.Owner(project.organisation_id, project.id, principal.user_id)


async def _submit(
    request: Request, principal: Principal, specs: list[JobSpec], key: str | None
) -> list[str]:
    context = context_of(request)

    def use_case(tx: Tx) -> list[str]:
        owners = _owners(tx.conn, principal, specs)
        job_ids = submission.submit(
            tx,
            owners,
            specs,
            context.secrets.seal,
            idempotency_key=key,
            estimates=context.estimates,
        )
        audit(tx, principal, "job.submit", "job", job_ids[0], {"jobs": len(job_ids)})
        return job_ids

    job_ids = await context.database.write(use_case)
    context.signals.notify(ROUND_SIGNAL)
    return job_ids


def _owners(conn: Connection, principal: Principal, specs: list[JobSpec]) -> list[submission.Owner]:
    known: dict[str | None, submission.Owner] = {}
    for spec in specs:
        if spec.project not in known:
            known[spec.project] = owner_for(conn, principal, spec)
    return [known[spec.project] for spec in specs]


IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key", max_length=120)]


@router.post("/jobs", status_code=201)
async def submit_job(
    request: Request, spec: JobSpec, principal: Caller, idempotency_key: IdempotencyKey = None
) -> Response:
    """Queue one job. The same Idempotency-Key gives the same answer and no second job."""
    job_ids = await _submit(request, principal, [spec], idempotency_key)
    database = context_of(request).database
    job = await database.read(lambda conn: reading.require_job(conn, job_ids[0]))
    return json_response(job_view(job), 201, {"Location": f"/v1/jobs/{job.job_id}"})


@router.post("/jobs/batch", status_code=201)
async def submit_jobs(
    request: Request,
    principal: Caller,
    jobs: Annotated[list[JobSpec], Body(embed=True, min_length=1, max_length=10_000)],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Queue many jobs, all or none; answers with their ids in order."""
    return json_response({"ids": await _submit(request, principal, jobs, idempotency_key)}, 201)


@router.post("/jobs/plan")
async def plan_job(request: Request, spec: JobSpec, principal: Caller) -> Response:
    """Where it would run now: every pool as a candidate with its score, or why not."""
    context = context_of(request)
    gathered = await context.dispatcher.gather()

    def query(conn: Connection) -> Any:
        owner = owner_for(conn, principal, spec)
        return explaining.candidates_for(
            conn, gathered, owner, spec, context.clock.now_ms(), context.estimates
        )

    return json_response(await context.database.read(query))


@router.get("/jobs")
async def list_jobs(
    request: Request,
    principal: Reader,
    page: Paging,
    state: Annotated[list[TaskState] | None, Query()] = None,
    project: str | None = None,
) -> Response:
    """Newest first."""
    context = context_of(request)

    def query(conn: Connection) -> list[Job]:
        organisation_id, projects = visible_projects(conn, principal, project)
        return reading.job_page(
            conn,
            organisation_id=organisation_id,
            project_ids=projects,
            states=[item.value for item in state or ()],
            before_id=page.after,
            limit=page.fetch,
        )

    # no index leads to a state: what looks through many rows must not hold up the loop
    look = context.database.read if state else context.database.peek
    rows = await look(query)
    kept = rows[: page.limit]
    more = len(rows) > page.limit
    return json_response(
        {
            "items": [job_view(job) for job in kept],
            "next_cursor": encode_cursor(kept[-1].job_id) if more else None,
        }
    )


def visible_projects(
    conn: Connection, principal: Principal, project: str | None
) -> tuple[str | None, list[str] | None]:
    """(organisation, projects) to list; None = all of them."""
    if project is not None:
        found = tenancy.project_of(conn, principal, project, Action.READ_JOBS)
        return None, [found.id]
    if principal.is_operator:
        return None, None
    return principal.organisation_id, list(principal.readable_projects)


@router.get("/jobs/{job_id}")
async def show_job(request: Request, job_id: str, principal: Caller) -> Response:
    """The job with its specification and the first hundred tasks with their attempts."""
    context = context_of(request)

    def query(conn: Connection) -> dict[str, Any]:
        job, spec = reading.find_job_and_spec(conn, job_id, _visible_organisation(principal))
        _require_job(principal, Action.READ_JOBS, job, job_id)
        view = job_view(job)
        view["spec"] = spec
        view["task_list"] = _tasks(conn, job, -1, 100)
        return view

    look = context.database.peek if is_whole_id(job_id) else context.database.read
    return json_response(await look(query))


def _tasks(conn: Connection, job: Job, after_index: int, limit: int) -> list[dict[str, Any]]:
    found = reading.tasks_with_leases(conn, job.job_id, after_index=after_index, limit=limit)
    all_leases = [lease for _, leases in found for lease in leases]
    names = sites.names_of(
        conn, [lease.site_id for lease in all_leases], [lease.pool_id for lease in all_leases]
    )
    return [task_view(task, leases, names) for task, leases in found]


@router.get("/jobs/{job_id}/tasks")
async def list_tasks(
    request: Request,
    job_id: str,
    principal: Caller,
    after: Annotated[int, Query(ge=-1)] = -1,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Tasks by index, with all their attempts."""
    context = context_of(request)

    def query(conn: Connection) -> list[dict[str, Any]]:
        return _tasks(conn, job_for(conn, principal, job_id), after, limit)

    items = await context.database.read(query)
    following = items[-1]["index"] if len(items) == limit else None
    return json_response({"items": items, "next_after": following})


@router.get("/jobs/{job_id}/explain")
async def explain_job(request: Request, job_id: str, principal: Caller) -> Response:
    """Why it waits, when it may start, what would help; or why it ran where it ran."""
    context = context_of(request)

    def find(conn: Connection) -> tuple[Job, Key | None]:
        job = job_for(conn, principal, job_id)
        return job, explaining.group_of(conn, job, context.clock.now_ms())

    job, group = await context.database.read(find)
    planned = await context.dispatcher.planned(group)
    now_ms = context.clock.now_ms()
    answer = await context.database.read(
        lambda conn: explaining.explain_job(conn, planned, job, now_ms)
    )
    return json_response(answer)


@router.post("/jobs/{job_id}/cancel")
async def cancel_job(request: Request, job_id: str, principal: Caller) -> Response:
    """End it wherever it is; cancelling what has ended changes nothing."""
    context = context_of(request)

    def use_case(tx: Tx) -> tuple[Job, list[str]]:
        job = job_for(tx.conn, principal, job_id, Action.WRITE_JOBS)
        woken = submission.cancel(tx, job.job_id)
        audit(tx, principal, "job.cancel", "job", job.job_id, organisation_id=job.organisation_id)
        return reading.require_job(tx.conn, job.job_id), woken

    job, woken = await context.database.write(use_case)
    context.signals.notify(*(site_signal(site) for site in woken), job_signal(job.job_id))
    context.signals.notify(ROUND_SIGNAL)
    return json_response(job_view(job))


@router.get("/jobs/{job_id}/events")
async def job_events(request: Request, job_id: str, principal: Caller) -> StreamingResponse:
    """Server-sent events: the job's view at once and whenever it changes, until it ends."""
    context = context_of(request)
    await context.database.read(lambda conn: job_for(conn, principal, job_id))

    async def events() -> AsyncIterator[bytes]:
        last = b""
        while True:
            news = context.signals.listen(job_signal(job_id))
            job = await context.database.read(lambda conn: job_for(conn, principal, job_id))
            body = msgspec.json.encode(job_view(job))
            if body != last:
                last = body
                yield b"event: job\ndata: " + body + b"\n\n"
            else:
                yield b": still here\n\n"
            if job.state in FINAL:
                news.cancel()
                return
            await wait_for(news, EVENTS_EVERY_S)

    return StreamingResponse(
        events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )


@router.get("/queue")
async def queue(request: Request, principal: Reader) -> Response:
    """What waits, by owner and class, and what the last round said of it; `at`: its last news."""
    context = context_of(request)
    visible = _visible_organisation(principal)
    found = await context.database.read(lambda conn: reading.waiting(conn, visible))
    items = [
        {
            "organisation_id": one.organisation_id,
            "project_id": one.project_id,
            "user_id": one.user_id,
            "priority": one.priority,
            "count": one.count,
            "reason": one.reason,
            "detail": one.detail,
            "since": instant(one.at_ms),
        }
        for one in found
    ]
    newest = max((one.at_ms for one in found), default=None)
    return json_response({"items": items, "at": instant(newest)})
