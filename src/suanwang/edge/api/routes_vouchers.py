"""Applications and what comes of them: 申领, 审核, 发放, 兑付, 审计, 追回."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy.engine import Connection

from suanwang.edge.api import given_programmes as given
from suanwang.edge.api import views_programmes as views
from suanwang.edge.api.money import Money
from suanwang.edge.api.paging import Page, Paging
from suanwang.edge.api.routes_billing import Ctx, Identity, Reader, Writer
from suanwang.edge.api.routes_ledger import BookedView, booked_view
from suanwang.edge.api.routes_programmes import for_reviewers, provider_id
from suanwang.edge.api.views_billing import instant
from suanwang.platform.database import Tx
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.audit import audit
from suanwang.tenancy.model import Action, Principal
from suanwang.tenancy.rules import require_may
from suanwang.trade.billing import reports
from suanwang.trade.policy import redemption, service
from suanwang.trade.policy.life import Application, ApplicationState, Grant

router = APIRouter(prefix="/v1", tags=["billing"])
MOST = 500


def _of_application(
    conn: Connection, principal: Principal, application_id: str, action: Action
) -> Application:
    found = service.application(conn, application_id)
    require_may(
        principal, action, found.organisation_id, kind="application", identity=application_id
    )
    return found


def _of_grant(conn: Connection, principal: Principal, grant_id: str) -> Grant:
    found = redemption.find_grant(conn, grant_id)
    require_may(
        principal,
        Action.READ_BILLING,
        found.organisation_id,
        found.project_id,
        kind="voucher",
        identity=grant_id,
    )
    return found


@router.post("/programmes/{programme}/applications", status_code=201)
async def apply(
    programme: Identity, body: given.ApplicationGiven, principal: Writer, context: Ctx
) -> views.ApplicationView:
    """申领. Refused at once, by name, if something speaks against it."""

    def use_case(tx: Tx) -> views.ApplicationView:
        project = tenancy.project_of(tx.conn, principal, body.project, Action.READ_BILLING)
        require_may(principal, Action.APPLY_PROGRAMMES, project.organisation_id)
        made = service.apply(
            tx,
            programme,
            project.organisation_id,
            project.id,
            principal.user_id,
            body.request(provider_id(tx.conn, principal, body.provider)),
        )
        detail = {"programme": programme, "project": project.id}
        whose = project.organisation_id
        audit(
            tx, principal, "application.submit", "application", made.id, detail,
            organisation_id=whose,
        )  # fmt: skip
        return views.application(made)

    return await context.database.write(use_case)


@router.get("/programme-applications")
async def list_applications(
    principal: Reader,
    context: Ctx,
    page: Paging,
    organisation: Annotated[str | None, Query(max_length=128)] = None,
    state: ApplicationState | None = None,
) -> Page[views.ApplicationView]:
    """The latest first: of an organisation, by default one's own; an operator sees all."""

    def query(conn: Connection) -> Page[views.ApplicationView]:
        whose: str | None = None
        if organisation is not None or not principal.is_operator:
            named = organisation or principal.organisation_id
            whose = tenancy.organisation_of(conn, principal, named).id
            require_may(principal, Action.READ_BILLING, whose)
        rows = service.applications(
            conn, organisation_id=whose, state=state, before=page.after, limit=page.fetch
        )
        return page.of(rows, lambda one: one.id, views.application)

    return await context.database.read(query)


@router.get("/programme-applications/{application}")
async def get_application(
    application: Identity, principal: Reader, context: Ctx
) -> views.ApplicationView:
    return await context.database.read(
        lambda conn: views.application(
            _of_application(conn, principal, application, Action.READ_BILLING)
        )
    )


def _reviewed(tx: Tx, principal: Principal, verb: str, one: Application) -> None:
    detail = {"programme": one.programme_id, "remark": one.remark, "grant": one.grant_id}
    audit(
        tx,
        principal,
        f"application.{verb}",
        "application",
        one.id,
        detail,
        organisation_id=one.organisation_id,
    )


@router.post("/programme-applications/{application}/grant")
async def grant_application(
    application: Identity, body: given.GrantGiven, principal: Writer, context: Ctx
) -> views.VoucherView:
    """审核、发放: budget and caps are taken as it is granted. For reviewers."""
    for_reviewers(principal)
    figures = body.figures.figures()

    def use_case(tx: Tx) -> views.VoucherView:
        made = service.grant(tx, application, principal.user_id, figures, body.remark)
        _reviewed(tx, principal, "grant", service.application(tx.conn, application))
        return views.voucher(made)

    return await context.database.write(use_case)


@router.post("/programme-applications/{application}/refuse")
async def refuse_application(
    application: Identity, body: given.RefusalGiven, principal: Writer, context: Ctx
) -> views.ApplicationView:
    """With the reviewer's words for the applicant."""
    for_reviewers(principal)

    def use_case(tx: Tx) -> views.ApplicationView:
        found = service.refuse(tx, application, principal.user_id, body.remark)
        _reviewed(tx, principal, "refuse", found)
        return views.application(found)

    return await context.database.write(use_case)


@router.post("/programme-applications/{application}/withdraw")
async def withdraw_application(
    application: Identity, principal: Writer, context: Ctx
) -> views.ApplicationView:
    """By the applicant, while it is not decided."""

    def use_case(tx: Tx) -> views.ApplicationView:
        _of_application(tx.conn, principal, application, Action.APPLY_PROGRAMMES)
        found = service.withdraw(tx, application, principal.user_id)
        _reviewed(tx, principal, "withdraw", found)
        return views.application(found)

    return await context.database.write(use_case)


@router.get("/vouchers")
async def list_vouchers(
    principal: Reader,
    context: Ctx,
    project: Annotated[str | None, Query(max_length=128)] = None,
) -> list[views.VoucherView]:
    """Grants of a project; without one, of all the projects that one may read."""

    def query(conn: Connection) -> list[views.VoucherView]:
        if project is not None:
            found = tenancy.project_of(conn, principal, project, Action.READ_BILLING)
            rows = service.grants(conn, project_id=found.id, limit=MOST)
        elif principal.is_operator:
            rows = service.grants(conn, limit=MOST)
        else:
            mine = {one.id for one in tenancy.projects(conn, principal, limit=MOST)}
            all_ = service.grants(conn, organisation_id=principal.organisation_id, limit=MOST)
            rows = [one for one in all_ if one.project_id in mine]
        return [views.voucher(one) for one in rows]

    return await context.database.read(query)


@router.get("/vouchers/{voucher}")
async def get_voucher(voucher: Identity, principal: Reader, context: Ctx) -> views.VoucherWhole:
    """With what it has paid, charge by charge."""

    def query(conn: Connection) -> views.VoucherWhole:
        found = _of_grant(conn, principal, voucher)
        paid = reports.relieved_of_grant(conn, found.id)
        return views.VoucherWhole(
            **views.voucher(found).model_dump(),
            redemptions=[
                views.RedemptionView(at=instant(at), usage_id=usage, amount=Money.of(amount))
                for at, usage, amount in paid
            ],
        )

    return await context.database.read(query)


def _noted(tx: Tx, principal: Principal, verb: str, grant_id: str, **detail: object) -> Grant:
    found = redemption.find_grant(tx.conn, grant_id)
    audit(
        tx,
        principal,
        f"voucher.{verb}",
        "voucher",
        grant_id,
        {"programme": found.programme_id, **detail},
        organisation_id=found.organisation_id,
    )
    return found


@router.post("/vouchers/{voucher}/payout")
async def pay_out(
    voucher: Identity, body: given.PayoutGiven, principal: Writer, context: Ctx
) -> BookedView:
    """兑付 of a grant that does not work at charges. One reference, booked once."""
    for_reviewers(principal)
    amount = None if body.amount is None else body.amount.amount("amount")

    def use_case(tx: Tx) -> BookedView:
        found = redemption.pay_out(tx, voucher, amount, body.reference)
        if found.posted:
            _noted(tx, principal, "payout", voucher, reference=body.reference)
        return booked_view(found)

    return await context.database.write(use_case)


@router.post("/vouchers/{voucher}/audit")
async def audit_voucher(
    voucher: Identity, body: given.AuditGiven, principal: Writer, context: Ctx
) -> views.VoucherView:
    """审计. A breach opens the way to a clawback."""
    for_reviewers(principal)

    def use_case(tx: Tx) -> views.VoucherView:
        redemption.audit_grant(tx, voucher, body.finding, body.remark)
        found = _noted(tx, principal, "audit", voucher, finding=body.finding.value)
        return views.voucher(found)

    return await context.database.write(use_case)


@router.post("/vouchers/{voucher}/clawback")
async def claw_back(
    voucher: Identity, body: given.ClawbackGiven, principal: Writer, context: Ctx
) -> views.VoucherView:
    """追回: what was paid goes back to the funders, what is left is cancelled."""
    for_reviewers(principal)
    amount = None if body.amount is None else body.amount.amount("amount")

    def use_case(tx: Tx) -> views.VoucherView:
        redemption.claw_back(tx, voucher, body.ground, amount, body.remark)
        found = _noted(
            tx, principal, "clawback", voucher, ground=body.ground.value, remark=body.remark
        )
        return views.voucher(found)

    return await context.database.write(use_case)
