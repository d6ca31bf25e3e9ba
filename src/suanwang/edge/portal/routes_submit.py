"""Submit a job: fields and YAML in step, candidates before one commits, errors at the fields."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import ValidationError
from sqlalchemy.engine import Connection
from starlette.responses import JSONResponse, Response

from suanwang.edge.api import routes_jobs as api
from suanwang.edge.portal import reasons, spec_form
from suanwang.edge.portal.errors import PortalRoute
from suanwang.edge.portal.reasons import Problem
from suanwang.edge.portal.rendering import Page, SignedIn, environment
from suanwang.edge.portal.routes_job import spec_text
from suanwang.edge.portal.why import candidate_rows, names_of
from suanwang.grid.jobs import reading
from suanwang.grid.jobs.spec import JobSpec
from suanwang.kernel.errors import SuanwangError
from suanwang.platform.entropy import nonce_text
from suanwang.tenancy import service as tenancy

router = APIRouter(route_class=PortalRoute)


@router.get("/jobs/new")
async def submit_form(
    page: SignedIn, clone: Annotated[str, Query(alias="from", max_length=100)] = ""
) -> Response:
    text = spec_form.text_of(spec_form.START)
    if clone:

        def query(conn: Connection) -> str:
            job = api.job_for(conn, page.principal, clone)
            reading.require_details(job)
            return spec_text(dict(reading.job_spec(conn, job.job_id)))

        text = await page.context.database.read(query)
    return await _form(page, text)


async def _form(
    page: Page, text: str, problem: Problem | None = None, fields: dict[str, str] | None = None
) -> Response:
    gathered = await page.context.dispatcher.gather()
    projects = await page.context.database.read(
        lambda conn: tenancy.projects(conn, page.principal, limit=200)
    )
    if fields is None:
        fields = spec_form.fields_of(spec_form.parse(text))
    pools = gathered.snapshot.pools
    return page.render(
        "submit.html",
        422 if problem else 200,
        fields=fields,
        spec=text,
        problem=problem,
        projects=projects,
        key=nonce_text(),
        regions=sorted({pool.region for pool in pools}),
        models=sorted({pool.accelerator.model for pool in pools if pool.accelerator}),
    )


def _wanted(form: dict[str, str]) -> tuple[str, dict[str, Any]]:
    """The YAML and what it says, with the fields written in if they were edited last."""
    text = form.get("spec", "").replace("\r\n", "\n")
    fields = {name: form.get(name, "").replace("\r\n", "\n") for name in spec_form.FIELDS}
    if form.get("source") != "fields":
        return text, spec_form.parse(text)
    try:
        before = spec_form.parse(text)
    except SuanwangError:
        before = {}
    spec = spec_form.merged(before, fields)
    return spec_form.text_of(spec), spec


def _placed(problem: Problem) -> Problem:
    """Errors moved from places in the specification to fields of the form."""
    fields: dict[str, str] = {}
    for where, text in problem.fields.items():
        name = spec_form.field_of(where)
        told = f"{where}: {text}" if name == "spec" and where not in ("", "spec") else text
        fields[name] = f"{fields[name]}; {told}" if name in fields else told
    return replace(problem, fields=fields)


@router.post("/jobs/new/preview")
async def preview(request: Request, page: SignedIn) -> Response:
    """Called as one types: both sides of the form, the errors, the candidate table."""
    form = await page.form()
    problem: Problem | None = None
    answer: dict[str, Any] = {}
    found: dict[str, Any] = {"rows": [], "runtime": None}
    try:
        text, spec = _wanted(form)
        answer = {"spec": text, "fields": spec_form.fields_of(spec)}
        found = await _candidates(request, page, JobSpec.model_validate(spec))
    except ValidationError as error:
        problem = _placed(reasons.invalid(page.language, list(error.errors())))
    except SuanwangError as error:
        problem = _placed(page.problem(error))
    template = environment().get_template("preview.html")
    answer["errors"] = problem.fields if problem else {}
    answer["html"] = template.render(
        page.values(problem=problem, candidates=found["rows"], runtime=found["runtime"])
    )
    return JSONResponse(answer)


async def _candidates(request: Request, page: Page, spec: JobSpec) -> dict[str, Any]:
    """The candidate table, and how long it is expected to run."""
    gathered = await page.context.dispatcher.gather()
    answer = await api.plan_job(request, spec, page.principal)
    found = msgspec.json.decode(bytes(answer.body))
    return {
        "rows": candidate_rows(page.language, found["candidates"], names_of(gathered)),
        "runtime": found.get("runtime"),
    }


@router.post("/jobs/new")
async def submit(request: Request, page: SignedIn) -> Response:
    """A form sent twice makes one job: its key is made of the page and what it says."""
    form = await page.form()
    text = form.get("spec", "")
    fields = {name: form.get(name, "") for name in spec_form.FIELDS}
    try:
        text, found = _wanted(form)
        spec = JobSpec.model_validate(found)
        digest = hashlib.sha256(spec.model_dump_json().encode()).hexdigest()
        key = f"portal-{form.get('key', '')[:40]}-{digest[:24]}"
        made = await api.submit_job(request, spec, page.principal, key)
    except ValidationError as error:
        problem = _placed(reasons.invalid(page.language, list(error.errors())))
        return await _form(page, text, problem, fields)
    except SuanwangError as error:
        return await _form(page, text, _placed(page.problem(error)), fields)
    job_id = made.headers["location"].rsplit("/", 1)[1]
    return page.redirect(f"/jobs/{job_id}?done=submitted")
