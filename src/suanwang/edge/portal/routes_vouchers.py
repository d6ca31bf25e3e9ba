"""My vouchers and applications; the operator's desk: review, payout, audit, clawback, budgets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter
from sqlalchemy.engine import Connection
from starlette.responses import Response

from suanwang.edge.api import given_programmes as given_models
from suanwang.edge.api import routes_programmes, routes_vouchers, views_programmes
from suanwang.edge.portal import reasons
from suanwang.edge.portal.errors import PortalRoute
from suanwang.edge.portal.rendering import Page, SignedIn, owners_of
from suanwang.edge.portal.routes_admin import answered, given
from suanwang.edge.portal.routes_programmes import naming
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.model import Action
from suanwang.trade.policy import checking, service
from suanwang.trade.policy.life import Application, ApplicationState
from suanwang.trade.policy.model import Ground, Programme

router = APIRouter(route_class=PortalRoute)
MOST = 500


@router.get("/vouchers")
async def vouchers(page: SignedIn) -> Response:
    principal, context = page.principal, page.context
    found = await routes_vouchers.list_vouchers(principal, context)
    may_read = page.may(Action.READ_BILLING, principal.organisation_id)

    def query(conn: Connection) -> dict[str, Any]:
        mine = service.applications(conn, organisation_id=principal.organisation_id, limit=100)
        return {
            "applications": [views_programmes.application(one) for one in mine] if may_read else [],
            "titles": {one.id: one.title.of(page.language) for one in service.programmes(conn)},
            "projects": {one.id: one for one in tenancy.projects(conn, principal, limit=MOST)},
            "owners": owners_of(conn, principal),
        }

    return page.render(
        "vouchers.html",
        vouchers=found,
        named=naming(page),
        may_apply=page.may(Action.APPLY_PROGRAMMES, principal.organisation_id),
        **await context.database.read(query),
    )


@router.post("/vouchers/applications/{application_id}/withdraw")
async def withdraw(page: SignedIn, application_id: str) -> Response:
    await page.form()
    await routes_vouchers.withdraw_application(application_id, page.principal, page.context)
    return page.redirect("/vouchers?done=application_withdrawn")


# --- the desk ----------------------------------------------------------------------------------


async def _desk(
    page: Page, problem: reasons.Problem | None = None, form: dict[str, str] | None = None
) -> Response:
    routes_programmes.for_reviewers(page.principal)
    principal, now_ms = page.principal, page.now_ms

    def query(conn: Connection) -> dict[str, Any]:
        waiting = service.applications(conn, state=ApplicationState.SUBMITTED, limit=100)
        programmes = {one.id: one for one in service.programmes(conn)}
        grants = service.grants(conn, limit=MOST)
        first = {(one.programme_id, one.organisation_id) for one in grants}
        rows = [_row(conn, one, now_ms) for one in waiting]
        # the oldest first, but those whom the programme prefers before them
        rows.sort(key=lambda row: (not _preferred(row, first), row["application"].id))
        return {
            "rows": rows,
            "programmes": programmes,
            "grants": [views_programmes.voucher(one) for one in grants],
            "budgets": [
                (one.programme_id, views_programmes.budget(one)) for one in service.budgets(conn)
            ],
            "owners": owners_of(conn, principal),
        }

    return page.render(
        "programme_desk.html",
        problem.status if problem else 200,
        problem=problem,
        form=form or {},
        named=naming(page),
        grounds=list(Ground),
        year=checking.year_of(now_ms),
        **await page.context.database.read(query),
    )


def _row(conn: Connection, one: Application, now_ms: int) -> dict[str, Any]:
    found = checking.check(
        conn,
        one.programme_id,
        one.organisation_id,
        one.request,
        now_ms=now_ms,
        version=one.programme_version,
        on=checking.day(one.submitted_at_ms),
    )
    profile = service.profile(conn, one.organisation_id)
    return {
        "application": one,
        "programme": found.programme,
        "checked": views_programmes.checked(found, one.request.card),
        "verified": profile is not None and profile[1] is not None,
        "ceiling": _ceiling(found.programme),
    }


def _ceiling(document: Programme) -> str:
    """The upper bound of an open rate, as a suggestion."""
    rates = [rate for benefit in document.benefits for rate in benefit.rates]
    tops = [rate.at_most for rate in rates if rate.at_most is not None]
    return str(max(tops)) if tops else ""


def _preferred(row: dict[str, Any], held: set[tuple[str, str]]) -> bool:
    organisation = row["application"].organisation_id
    return any((one, organisation) in held for one in row["programme"].prefers)


@router.get("/admin/programmes")
async def desk(page: SignedIn) -> Response:
    return await _desk(page)


async def _done(
    page: Page, change: Callable[[dict[str, str]], Awaitable[object]], done: str
) -> Response:
    async def show(problem: reasons.Problem, form: dict[str, str]) -> Response:
        return await _desk(page, problem, form)

    return await answered(page, change, f"/admin/programmes?done={done}", show)


def _money(form: dict[str, str], name: str) -> dict[str, Any]:
    text = form.get(name, "").strip().replace(",", "")
    return {name: {"yuan": text}} if text else {}


@router.post("/admin/programmes/grant")
async def grant(page: SignedIn) -> Response:
    async def change(form: dict[str, str]) -> None:
        figures = {
            **given(form, "percent", "expires_on"),
            **_money(form, "entity_year"),
            **_money(form, "unit"),
            **_money(form, "line"),
        }
        body = given_models.GrantGiven.model_validate(
            {"figures": figures, "remark": form.get("remark", "")}
        )
        await routes_vouchers.grant_application(
            form.get("application", ""), body, page.principal, page.context
        )

    return await _done(page, change, "granted")


@router.post("/admin/programmes/refuse")
async def refuse(page: SignedIn) -> Response:
    async def change(form: dict[str, str]) -> None:
        body = given_models.RefusalGiven.model_validate(given(form, "remark"))
        await routes_vouchers.refuse_application(
            form.get("application", ""), body, page.principal, page.context
        )

    return await _done(page, change, "refused")


@router.post("/admin/programmes/budget")
async def budget(page: SignedIn) -> Response:
    async def change(form: dict[str, str]) -> None:
        body = given_models.BudgetGiven.model_validate(
            {**given(form, "year"), **_money(form, "amount")}
        )
        await routes_programmes.open_budget(
            form.get("programme", ""), body, page.principal, page.context
        )

    return await _done(page, change, "saved")


@router.post("/admin/programmes/voucher")
async def act(page: SignedIn) -> Response:
    """Payout, audit or clawback of one grant, as the form's button says."""

    async def change(form: dict[str, str]) -> None:
        principal, context, which = page.principal, page.context, form.get("voucher", "")
        if form.get("what") == "payout":
            paid = {**given(form, "reference"), **_money(form, "amount")}
            payout = given_models.PayoutGiven.model_validate(paid)
            await routes_vouchers.pay_out(which, payout, principal, context)
        elif form.get("what") == "audit":
            audit = given_models.AuditGiven.model_validate(given(form, "finding", "remark"))
            await routes_vouchers.audit_voucher(which, audit, principal, context)
        else:
            back = {**given(form, "ground", "remark"), **_money(form, "amount")}
            clawback = given_models.ClawbackGiven.model_validate(back)
            await routes_vouchers.claw_back(which, clawback, principal, context)

    return await _done(page, change, "saved")
