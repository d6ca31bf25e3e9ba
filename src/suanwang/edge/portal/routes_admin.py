"""Administration of the tenancy: organisations, projects, users; the audit log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import ValidationError
from sqlalchemy.engine import Connection
from starlette.responses import Response

from suanwang.edge.api import routes_billing, routes_tenancy
from suanwang.edge.api import tenancy_models as models
from suanwang.edge.api import views_billing as money
from suanwang.edge.api.paging import decode_cursor, encode_cursor
from suanwang.edge.portal import formats, reasons
from suanwang.edge.portal.errors import PortalRoute
from suanwang.edge.portal.rendering import Page, SignedIn, owners_of
from suanwang.grid.sites import service as sites
from suanwang.kernel.errors import SuanwangError
from suanwang.kernel.resources import UNLIMITED, Resources
from suanwang.tenancy import people
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.audit import audit_log
from suanwang.tenancy.model import Action, OrganisationKind, Role, UserState
from suanwang.tenancy.rules import require_may
from suanwang.trade.ledger import service as ledger

router = APIRouter(route_class=PortalRoute, prefix="/admin")
MOST = 500
AUDIT_PAGE = 100
AUDIT_KINDS = (
    "job",
    "site",
    "session",
    "token",
    "user",
    "project",
    "organisation",
    "pool",
    "alert",
)
Cursor = Annotated[str, Query(max_length=400)]


@router.get("")
async def admin(page: SignedIn) -> Response:
    return page.redirect("/admin/projects")


async def answered(
    page: Page,
    change: Callable[[dict[str, str]], Awaitable[object]],
    to: str,
    show: Callable[[reasons.Problem, dict[str, str]], Awaitable[Response]],
) -> Response:
    """Make the change and go to `to`; or show the form again with what is wrong with it."""
    form = await page.form()
    try:
        await change(form)
    except ValidationError as error:
        problem = reasons.invalid(page.language, list(error.errors()))
    except SuanwangError as error:
        problem = page.problem(error)
    else:
        return page.redirect(to)
    return await show(problem, form)


def given(form: dict[str, str], *names: str) -> dict[str, Any]:
    """The fields that are filled in."""
    return {name: text for name in names if (text := form.get(name, "").strip())}


# --- organisations -----------------------------------------------------------------------------


async def _organisations(
    page: Page, problem: reasons.Problem | None = None, form: dict[str, str] | None = None
) -> Response:
    found = await page.context.database.read(
        lambda conn: tenancy.organisations(conn, page.principal, limit=MOST)
    )
    return page.render(
        "organisations.html",
        problem.status if problem else 200,
        organisations=found,
        kinds=[one.value for one in OrganisationKind if one is not OrganisationKind.OPERATOR],
        form=form or {},
        problem=problem,
    )


@router.get("/organisations")
async def organisations(page: SignedIn) -> Response:
    return await _organisations(page)


@router.post("/organisations")
async def create_organisation(request: Request, page: SignedIn) -> Response:
    async def change(form: dict[str, str]) -> None:
        values = given(form, "name", "display_name")
        kinds = [one for one in form.get("kinds", "").split(",") if one]
        body = models.OrganisationRequest.model_validate({**values, "kinds": kinds})
        await routes_tenancy.create_organisation(request, page.principal, body)

    to = "/admin/organisations?done=created"
    return await answered(page, change, to, lambda p, f: _organisations(page, p, f))


@router.post("/organisations/{organisation_id}/state")
async def suspend(request: Request, page: SignedIn, organisation_id: str) -> Response:
    form = await page.form()
    body = models.OrganisationChangeRequest.model_validate({"state": form.get("state")})
    await routes_tenancy.change_organisation(request, page.principal, organisation_id, body)
    return page.redirect("/admin/organisations?done=saved")


# --- projects ----------------------------------------------------------------------------------


async def _projects(
    page: Page, problem: reasons.Problem | None = None, form: dict[str, str] | None = None
) -> Response:
    principal = page.principal

    def query(conn: Connection) -> dict[str, Any]:
        found = tenancy.projects(conn, principal, limit=MOST)
        owners = owners_of(conn, principal)
        accounts = {
            one.id: money.account(one.id, ledger.project_account(conn, one.id))
            for one in found
            if page.may(Action.READ_BILLING, one.organisation_id, one.id)
        }
        return {"projects": found, "owners": owners, "accounts": accounts}

    return page.render(
        "projects.html",
        problem.status if problem else 200,
        form=form or {},
        problem=problem,
        quota_parts=partial(_quota_parts, page),
        may_create=page.may(Action.WRITE_PROJECT, principal.organisation_id),
        may_credit=page.may(Action.CREDIT_MONEY, principal.organisation_id),
        **await page.context.database.read(query),
    )


def _quota_parts(page: Page, quota: Resources | None) -> list[str]:
    """What is limited: '64 cores', '8 cards'. Some limits of a quota may be out of all reach."""
    if quota is None:
        return []
    cores, memory_mib, cards = quota.cpu_milli, quota.memory_mib, quota.accelerator_milli
    said = [
        (cores, page.say("offer.cores_of", count=formats.milli(cores))),
        (memory_mib, formats.memory(memory_mib)),
        (cards, page.say("offer.cards_of", count=formats.milli(cards))),
    ]
    return [text for amount, text in said if amount < UNLIMITED]


@router.get("/projects")
async def projects(page: SignedIn) -> Response:
    return await _projects(page)


@router.post("/projects")
async def create_project(request: Request, page: SignedIn) -> Response:
    async def change(form: dict[str, str]) -> None:
        body = models.ProjectRequest.model_validate(
            given(form, "name", "display_name", "organisation")
        )
        await routes_tenancy.create_project(request, page.principal, body)

    to = "/admin/projects?done=created"
    return await answered(page, change, to, lambda p, f: _projects(page, p, f))


@router.post("/projects/{project_id}/top-up")
async def top_up(request: Request, page: SignedIn, project_id: str) -> Response:
    async def change(form: dict[str, str]) -> None:
        body = money.TopUp.model_validate(
            {
                "amount": {"yuan": form.get("amount", "").strip()},
                **given(form, "payment_reference", "description"),
            }
        )
        require_may(page.principal, Action.CREDIT_MONEY, page.principal.organisation_id)
        context = page.context
        await routes_billing.post_top_up(project_id, body, page.principal, context)

    to = "/admin/projects?done=topped_up"
    return await answered(page, change, to, lambda p, f: _projects(page, p, f))


# --- users -------------------------------------------------------------------------------------


async def _users(
    page: Page, problem: reasons.Problem | None = None, form: dict[str, str] | None = None
) -> Response:
    principal = page.principal

    def query(conn: Connection) -> dict[str, Any]:
        return {
            "users": people.users(conn, principal, limit=MOST),
            "owners": owners_of(conn, principal),
        }

    return page.render(
        "users.html",
        problem.status if problem else 200,
        form=form or {},
        problem=problem,
        roles=[one.value for one in Role if one is not Role.OPERATOR or principal.is_operator],
        may_create=page.may(Action.WRITE_USERS, principal.organisation_id),
        **await page.context.database.read(query),
    )


@router.get("/users")
async def users(page: SignedIn) -> Response:
    return await _users(page)


@router.post("/users")
async def create_user(request: Request, page: SignedIn) -> Response:
    async def change(form: dict[str, str]) -> None:
        values = given(form, "login", "display_name", "email", "role", "organisation")
        if form.get("password"):
            values["password"] = form["password"]
        body = models.UserRequest.model_validate(values)
        await routes_tenancy.create_user(request, page.principal, body)

    to = "/admin/users?done=created"
    return await answered(page, change, to, lambda p, f: _users(page, p, {**f, "password": ""}))


@router.post("/users/{user_id}/state")
async def switch_user(request: Request, page: SignedIn, user_id: str) -> Response:
    async def change(form: dict[str, str]) -> None:
        state = UserState.ACTIVE if form.get("state") == "active" else UserState.DISABLED
        body = models.UserChangeRequest(state=state)
        await routes_tenancy.change_user(request, page.principal, user_id, body)

    return await answered(page, change, "/admin/users?done=saved", lambda p, f: _users(page, p, f))


# --- audit log ---------------------------------------------------------------------------------


@router.get("/audit")
async def audit(
    page: SignedIn,
    target: Annotated[str, Query(max_length=120)] = "",
    organisation: Annotated[str, Query(max_length=100)] = "",
    action: Annotated[str, Query(max_length=60)] = "",
    cursor: Cursor = "",
) -> Response:
    """The kind of action is chosen among the page's entries; who and what by the service."""
    principal = page.principal

    def query(conn: Connection) -> dict[str, Any]:
        found = audit_log(
            conn,
            principal,
            organisation_id=organisation or None,
            target_id=target.strip() or None,
            after=decode_cursor(cursor) if cursor else None,
            limit=AUDIT_PAGE + 1,
        )
        kept = found[:AUDIT_PAGE]
        names = sites.names(conn)
        who = {one.actor_user_id for one in kept}
        return {
            "entries": [one for one in kept if one.action.startswith(action)],
            "next_cursor": encode_cursor(kept[-1].id) if len(found) > AUDIT_PAGE else None,
            "actors": people.logins(conn, who),
            "names": names,
            "organisations": tenancy.organisations(conn, principal, limit=MOST),
        }

    return page.render(
        "audit.html",
        target=target,
        organisation=organisation,
        action=action,
        cursor=cursor,
        kinds=AUDIT_KINDS,
        **await page.context.database.read(query),
    )
