"""Finance: closed days, payouts with their lines, invoices to be printed, disputes."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from sqlalchemy.engine import Connection
from starlette.responses import Response

from suanwang.edge.api import routes_closes, routes_disputes, routes_invoices
from suanwang.edge.api.paging import PageRequest, decode_cursor
from suanwang.edge.portal import choices, formats, reasons
from suanwang.edge.portal.errors import PortalRoute
from suanwang.edge.portal.rendering import Page, SignedIn, owners_of
from suanwang.edge.portal.routes_admin import answered, given
from suanwang.tenancy import people
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.model import Action
from suanwang.trade.billing import rules
from suanwang.trade.contracts.service import CONTRACT
from suanwang.trade.settlement.model import DisputeReason, RedReason, SubjectKind

router = APIRouter(route_class=PortalRoute, prefix="/finance")
PAGE = 50
MOST = 500
Cursor = Annotated[str, Query(max_length=400)]
PARTY = ("name", "code", "address", "phone", "bank", "bank_account", "email")


def _wanted(cursor: str) -> PageRequest:
    return PageRequest(decode_cursor(cursor) if cursor else None, PAGE)


async def _names(page: Page, users: set[str]) -> dict[str, Any]:
    """Names of organisations, projects and users that a page speaks of, by id."""

    def query(conn: Connection) -> dict[str, Any]:
        owners = owners_of(conn, page.principal)
        projects = tenancy.projects(conn, page.principal, limit=MOST)
        names = {one.id: one.display_name for one in owners.values()}
        names.update((one.id, one.display_name) for one in projects)
        return {
            "names": names,
            "logins": people.logins(conn, users),
            "currency_text": partial(choices.currency_text, choices.titles_of(conn, page.language)),
            "projects": projects,
            "owners": owners,
        }

    return await page.context.database.read(query)


# --- closes ------------------------------------------------------------------------------------


async def _closes(
    page: Page,
    day: str = "",
    recount: bool = False,
    cursor: str = "",
    problem: reasons.Problem | None = None,
) -> Response:
    principal, context = page.principal, page.context
    found = await routes_closes.list_closes(principal, context, _wanted(cursor))
    shown = None
    if day or found.items:
        chosen = day or found.items[0].day
        shown = await routes_closes.get_close(chosen, principal, context, recount)
    figures = [
        getattr(line, name).micro_yuan
        for line in (shown.lines if shown else [])
        for name in ("opening", "debit", "credit", "closing")
    ]
    return page.render(
        "closes.html",
        problem.status if problem else 200,
        closes=found.items,
        next_cursor=found.next_cursor,
        cursor=cursor,
        shown=shown,
        decimals=formats.exact_decimals(figures),
        problem=problem,
        **await _names(page, {one.closed_by for one in found.items}),
    )


@router.get("/closes")
async def closes(
    page: SignedIn,
    day: Annotated[str, Query(max_length=10)] = "",
    recount: bool = False,
    cursor: Cursor = "",
) -> Response:
    return await _closes(page, day, recount, cursor)


@router.post("/closes")
async def close_day(page: SignedIn) -> Response:
    async def change(_form: dict[str, str]) -> None:
        body = routes_closes.CloseRequest()
        await routes_closes.close_day(body, page.principal, page.context)

    async def show(problem: reasons.Problem, _form: dict[str, str]) -> Response:
        return await _closes(page, problem=problem)

    return await answered(page, change, "/finance/closes?done=closed_day", show)


# --- payouts -----------------------------------------------------------------------------------


async def _payouts(
    page: Page,
    cursor: str = "",
    problem: reasons.Problem | None = None,
    form: dict[str, str] | None = None,
) -> Response:
    principal, context = page.principal, page.context
    found = await routes_closes.list_payouts(principal, context, _wanted(cursor))
    operates = principal.is_operator
    rule = await routes_closes.get_payout_rule(principal, context) if operates else None
    return page.render(
        "payouts.html",
        problem.status if problem else 200,
        payouts=found.items,
        next_cursor=found.next_cursor,
        cursor=cursor,
        problem=problem,
        form=form or {},
        rule=rule,
        **await _names(page, {rule.changed_by} - {""} if rule else set()),
    )


@router.get("/payouts")
async def payouts(page: SignedIn, cursor: Cursor = "") -> Response:
    return await _payouts(page, cursor)


@router.post("/payouts")
async def propose(page: SignedIn) -> Response:
    async def change(form: dict[str, str]) -> None:
        least = form.get("minimum", "").strip()
        body = routes_closes.PayoutRun.model_validate({"minimum": {"yuan": least or "0"}})
        await routes_closes.propose_payouts(body, page.principal, page.context)

    async def show(problem: reasons.Problem, form: dict[str, str]) -> Response:
        return await _payouts(page, problem=problem, form=form)

    return await answered(page, change, "/finance/payouts?done=proposed", show)


@router.post("/payouts/rule")
async def set_rule(page: SignedIn) -> Response:
    async def change(form: dict[str, str]) -> None:
        told = {"alone": form.get("rule") == "alone", **given(form, "reason")}
        body = routes_closes.PayoutRuleGiven.model_validate(told)
        await routes_closes.put_payout_rule(body, page.principal, page.context)

    async def show(problem: reasons.Problem, form: dict[str, str]) -> Response:
        return await _payouts(page, problem=problem, form=form)

    return await answered(page, change, "/finance/payouts?done=saved", show)


async def _payout(
    page: Page,
    payout: str,
    problem: reasons.Problem | None = None,
    form: dict[str, str] | None = None,
) -> Response:
    found = await routes_closes.get_payout(payout, page.principal, page.context)
    pools = await page.context.database.read(routes_invoices.pool_names)
    principal = page.principal
    is_his = principal.user_id in (found.proposed_by, found.approved_by)
    if is_his and principal.is_operator and found.state == "approved":
        is_his = (await routes_closes.get_payout_rule(principal, page.context)).in_force
    return page.render(
        "payout.html",
        problem.status if problem else 200,
        payout=found,
        is_his=is_his and found.state == "approved",
        pools=pools,
        decimals=formats.exact_decimals([one.amount.micro_yuan for one in found.lines or ()]),
        problem=problem,
        form=form or {},
        **await _names(page, {found.proposed_by, found.approved_by, found.released_by} - {""}),
    )


@router.get("/payouts/{payout}")
async def show_payout(page: SignedIn, payout: str) -> Response:
    return await _payout(page, payout)


@router.post("/payouts/{payout}/{verb}")
async def move_payout(page: SignedIn, payout: str, verb: str) -> Response:
    async def change(form: dict[str, str]) -> None:
        principal, context = page.principal, page.context
        if verb == "approve":
            await routes_closes.approve_payout(payout, principal, context)
        elif verb == "paid":
            paid = routes_closes.Paid.model_validate(given(form, "bank_reference"))
            await routes_closes.confirm_payout(payout, paid, principal, context)
        else:
            why = routes_closes.Why.model_validate(given(form, "reason"))
            move = routes_closes.fail_payout if verb == "failed" else routes_closes.cancel_payout
            await move(payout, why, principal, context)

    async def show(problem: reasons.Problem, form: dict[str, str]) -> Response:
        return await _payout(page, payout, problem, form)

    return await answered(page, change, f"/finance/payouts/{payout}?done=saved", show)


# --- invoices ----------------------------------------------------------------------------------


async def _invoices(
    page: Page,
    project: str = "",
    month: str = "",
    cursor: str = "",
    problem: reasons.Problem | None = None,
    form: dict[str, str] | None = None,
) -> Response:
    principal, context = page.principal, page.context
    found = await routes_invoices.list_invoices(principal, context, _wanted(cursor))
    names = await _names(page, set())
    owner = principal.organisation_id
    chosen = project or (names["projects"][0].id if names["projects"] else "")
    whose = next((one.organisation_id for one in names["projects"] if one.id == chosen), owner)
    month = month or _last_month(page.now_ms)
    return page.render(
        "invoices.html",
        problem.status if problem else 200,
        invoices=found.items,
        next_cursor=found.next_cursor,
        cursor=cursor,
        project=chosen,
        month=month,
        buyer_of=whose,
        buyer=await routes_invoices.get_buyer(whose, principal, context),
        money=await routes_invoices.get_invoiceable(chosen, principal, context, month)
        if chosen
        else None,
        may_ask=page.may(Action.WRITE_BILLING, whose),
        party_fields=PARTY,
        problem=problem,
        form=form or {},
        **names,
    )


def _last_month(now_ms: int) -> str:
    from_ms, _ = rules.month_bounds(rules.month_of(now_ms))
    return rules.month_of(from_ms - 1)


@router.get("/invoices")
async def invoices(
    page: SignedIn,
    project: Annotated[str, Query(max_length=128)] = "",
    month: Annotated[str, Query(max_length=7)] = "",
    cursor: Cursor = "",
) -> Response:
    return await _invoices(page, project, month, cursor)


@router.post("/invoices")
async def request_invoice(page: SignedIn) -> Response:
    async def change(form: dict[str, str]) -> None:
        fields = given(form, "project", "month", "remark")
        body = routes_invoices.InvoiceRequest.model_validate(fields)
        await routes_invoices.request_invoice(body, page.principal, page.context)

    async def show(problem: reasons.Problem, form: dict[str, str]) -> Response:
        named = form.get("project", ""), form.get("month", "")
        return await _invoices(page, *named, problem=problem, form=form)

    return await answered(page, change, "/finance/invoices?done=invoice_requested", show)


@router.post("/invoices/buyer")
async def keep_buyer(page: SignedIn) -> Response:
    posted = await page.form()
    kept = given(posted, "project", "month")

    async def change(form: dict[str, str]) -> None:
        fields = {"name": "", "code": "", **given(form, *PARTY)}
        body = routes_invoices.PartyView.model_validate(fields)
        whose = form.get("organisation", "")
        await routes_invoices.put_buyer(whose, body, page.principal, page.context)

    async def show(problem: reasons.Problem, form: dict[str, str]) -> Response:
        named = form.get("project", ""), form.get("month", "")
        return await _invoices(page, *named, problem=problem, form=form)

    to = "/finance/invoices?" + urlencode({**kept, "done": "saved"})
    return await answered(page, change, to, show)


async def _invoice(
    page: Page,
    invoice: str,
    problem: reasons.Problem | None = None,
    form: dict[str, str] | None = None,
) -> Response:
    found = await routes_invoices.get_invoice(invoice, page.principal, page.context)
    return page.render(
        "invoice.html",
        problem.status if problem else 200,
        invoice=found,
        left_fen=found.gross_fen - found.undone_fen,
        red_reasons=[one.value for one in RedReason],
        may_reverse=page.may(Action.WRITE_BILLING, found.organisation_id),
        problem=problem,
        form=form or {},
        **await _names(page, {found.issued_by, found.requested_by} - {""}),
    )


@router.get("/invoices/{invoice}")
async def show_invoice(page: SignedIn, invoice: str) -> Response:
    return await _invoice(page, invoice)


def _part(form: dict[str, str]) -> dict[str, Any]:
    """An amount of one line, or of all of them; without one all that is left."""
    fields = given(form, "reason", "amount", "line")
    amount = {"yuan": fields["amount"]} if "amount" in fields else None
    told: dict[str, Any] = {"reason": fields.get("reason", "")}
    if "line" in fields:
        told["lines"] = [{"line": fields["line"], "amount": amount}]
    elif amount:
        told["amount"] = amount
    return told


@router.post("/invoices/{invoice}/{verb}")
async def move_invoice(page: SignedIn, invoice: str, verb: str) -> Response:
    async def change(form: dict[str, str]) -> None:
        principal, context = page.principal, page.context
        if verb == "issue":
            issued = routes_invoices.Issued.model_validate(given(form, "number", "issued_on"))
            await routes_invoices.issue_invoice(invoice, issued, principal, context)
        elif verb == "reject":
            refusal = routes_invoices.Refusal.model_validate(given(form, "reason"))
            await routes_invoices.reject_invoice(invoice, refusal, principal, context)
        else:
            red = routes_invoices.RedRequest.model_validate(_part(form))
            await routes_invoices.reverse_invoice(invoice, red, principal, context)

    async def show(problem: reasons.Problem, form: dict[str, str]) -> Response:
        return await _invoice(page, invoice, problem, form)

    return await answered(page, change, f"/finance/invoices/{invoice}?done=saved", show)


# --- disputes ----------------------------------------------------------------------------------


async def _disputes(
    page: Page,
    entry: str = "",
    cursor: str = "",
    problem: reasons.Problem | None = None,
    form: dict[str, str] | None = None,
) -> Response:
    principal, context = page.principal, page.context
    found = await routes_disputes.list_disputes(principal, context, _wanted(cursor))
    return page.render(
        "disputes.html",
        problem.status if problem else 200,
        disputes=found.items,
        next_cursor=found.next_cursor,
        cursor=cursor,
        entry=entry,
        reasons=[one.value for one in DisputeReason],
        problem=problem,
        form=form or {},
        **await _names(page, set()),
    )


@router.get("/disputes")
async def disputes(
    page: SignedIn, entry: Annotated[str, Query(max_length=128)] = "", cursor: Cursor = ""
) -> Response:
    return await _disputes(page, entry, cursor)


@router.post("/disputes")
async def open_dispute(page: SignedIn) -> Response:
    async def change(form: dict[str, str]) -> None:
        amount = form.get("amount", "").strip()
        fields = given(form, "subject", "reason", "text")
        claim = {"amount": {"yuan": amount}} if amount else {}
        is_contract = fields.get("subject", "").startswith(CONTRACT)
        kind = SubjectKind.CONTRACT if is_contract else SubjectKind.ENTRY
        body = routes_disputes.DisputeRequest.model_validate(
            {**fields, **claim, "subject_kind": kind}
        )
        await routes_disputes.open_dispute(body, page.principal, page.context)

    async def show(problem: reasons.Problem, form: dict[str, str]) -> Response:
        return await _disputes(page, problem=problem, form=form)

    return await answered(page, change, "/finance/disputes?done=disputed", show)


async def _dispute(
    page: Page,
    dispute: str,
    problem: reasons.Problem | None = None,
    form: dict[str, str] | None = None,
) -> Response:
    found = await routes_disputes.get_dispute(dispute, page.principal, page.context)
    provider = found.provider_organisation_id or page.principal.organisation_id
    return page.render(
        "dispute.html",
        problem.status if problem else 200,
        dispute=found,
        may_answer=page.may(Action.WRITE_BILLING, provider),
        may_withdraw=page.may(Action.WRITE_BILLING, found.organisation_id),
        problem=problem,
        form=form or {},
        **await _names(page, {one.actor_user_id for one in found.history or ()}),
    )


@router.get("/disputes/{dispute}")
async def show_dispute(page: SignedIn, dispute: str) -> Response:
    return await _dispute(page, dispute)


@router.post("/disputes/{dispute}/{verb}")
async def move_dispute(page: SignedIn, dispute: str, verb: str) -> Response:
    async def change(form: dict[str, str]) -> None:
        principal, context = page.principal, page.context
        if verb in ("answer", "withdraw"):
            said = routes_disputes.Said.model_validate(given(form, "text"))
            answer = routes_disputes.answer_dispute
            move = answer if verb == "answer" else routes_disputes.withdraw_dispute
            await move(dispute, said, principal, context)
            return
        amount = form.get("amount", "").strip()
        body = routes_disputes.Decision.model_validate(
            {
                **given(form, "text"),
                "upheld": verb == "uphold",
                "amount": {"yuan": amount} if amount else None,
            }
        )
        await routes_disputes.decide_dispute(dispute, body, principal, context)

    async def show(problem: reasons.Problem, form: dict[str, str]) -> Response:
        return await _dispute(page, dispute, problem, form)

    return await answered(page, change, f"/finance/disputes/{dispute}?done=saved", show)
