"""Closed days and payouts over HTTP. Days are the operator's; a payout its provider's too."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from sqlalchemy.engine import Connection

from suanwang.edge.api import views_billing as views
from suanwang.edge.api.money import Money, MoneyGiven
from suanwang.edge.api.paging import Page, Paging
from suanwang.edge.api.routes_billing import Ctx, Identity, Reader, Writer, organisation_read
from suanwang.edge.api.routes_ledger import for_operators
from suanwang.kernel.errors import InvalidInput
from suanwang.platform.database import Tx
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.audit import audit
from suanwang.tenancy.model import Action, Principal
from suanwang.tenancy.rules import may, not_found, require_may
from suanwang.trade.billing.rules import date_text, day_number
from suanwang.trade.ledger.model import CNY
from suanwang.trade.settlement import closing, four_eyes, payouts
from suanwang.trade.settlement.four_eyes import FourEyes
from suanwang.trade.settlement.model import CloseLine, DayClose, Payout, PayoutLine, PayoutState

router = APIRouter(prefix="/v1", tags=["settlement"])
Day = Annotated[str, Path(max_length=10, examples=["2026-11-23"])]
Text = Annotated[str, Field(min_length=1, max_length=200)]


class CloseLineView(BaseModel):
    """opening + debit + credit = closing; positive: the platform owes."""

    currency: str
    kind: str
    accounts: int = Field(description="That had postings on the day.")
    postings: int
    opening: Money
    debit: Money
    credit: Money
    closing: Money


class CloseView(BaseModel):
    day: str
    until: str = Field(description="Nothing is booked before it any more.")
    postings: int
    digest: str
    closed_at: str
    closed_by: str
    lines: list[CloseLineView]
    recounted: bool | None = Field(
        default=None, description="With recount: the postings still say the same."
    )


class CloseRequest(BaseModel):
    day: str | None = Field(default=None, description="The next in turn if absent.")


class PayoutLineView(BaseModel):
    what: str = Field(description="earned (key: the pool), another kind, or brought_forward.")
    key: str
    amount: Money


class PayoutView(BaseModel):
    id: str
    run_id: str
    organisation_id: str
    currency: str
    amount: Money
    from_: str | None = Field(serialization_alias="from")
    until: str
    state: str
    proposed_at: str
    proposed_by: str
    approved_by: str
    released_by: str
    ended_at: str | None
    bank_reference: str
    entry_id: str
    lines: list[PayoutLineView] | None = None


class PayoutRun(BaseModel):
    """Everybody with revenue, or those named."""

    organisations: list[str] | None = Field(default=None, max_length=500)
    minimum: MoneyGiven | None = None
    currency: str = Field(default=CNY, max_length=40)


class Paid(BaseModel):
    bank_reference: Text


class Why(BaseModel):
    reason: Text


class PayoutRuleGiven(BaseModel):
    alone: bool = Field(description="The only operator may release what he prepared.")
    reason: Text


class PayoutRuleView(BaseModel):
    """Four eyes: who proposed or approved a payout does not release it."""

    alone: bool = Field(description="It was allowed that the only operator does both.")
    in_force: bool = Field(description="Four eyes are asked for now.")
    operators: int
    reason: str
    changed_at: str | None
    changed_by: str


def rule_view(found: FourEyes) -> PayoutRuleView:
    rule = found.rule
    return PayoutRuleView(
        alone=rule is not None and rule.alone,
        in_force=not found.alone_allowed,
        operators=found.officers,
        reason=rule.why if rule else "",
        changed_at=views.instant(rule.changed_at_ms) if rule else None,
        changed_by=rule.changed_by if rule else "",
    )


def line_view(line: CloseLine) -> CloseLineView:
    return CloseLineView(
        currency=line.currency,
        kind=line.kind.value,
        accounts=line.accounts,
        postings=line.postings,
        opening=Money.of(line.opening_micro_yuan),
        debit=Money.of(line.debit_micro_yuan),
        credit=Money.of(line.credit_micro_yuan),
        closing=Money.of(line.closing_micro_yuan),
    )


def close_view(found: DayClose, recounted: bool | None = None) -> CloseView:
    return CloseView(
        day=date_text(found.day),
        until=views.instant(found.until_ms),
        postings=found.postings,
        digest=found.digest,
        closed_at=views.instant(found.closed_at_ms),
        closed_by=found.closed_by,
        lines=[line_view(line) for line in found.lines],
        recounted=recounted,
    )


def payout_view(found: Payout, lines: list[PayoutLine] | None = None) -> PayoutView:
    return PayoutView(
        id=found.id,
        run_id=found.run_id,
        organisation_id=found.organisation_id,
        currency=found.currency,
        amount=Money.of(found.amount_micro_yuan),
        from_=views.instant(found.from_ms) if found.from_ms else None,
        until=views.instant(found.until_ms),
        state=found.state.value,
        proposed_at=views.instant(found.proposed_at_ms),
        proposed_by=found.proposed_by,
        approved_by=found.approved_by,
        released_by=found.released_by,
        ended_at=views.instant(found.ended_at_ms) if found.ended_at_ms else None,
        bank_reference=found.bank_reference,
        entry_id=found.entry_id,
        lines=None
        if lines is None
        else [
            PayoutLineView(what=one.what, key=one.key, amount=Money.of(one.amount_micro_yuan))
            for one in lines
        ],
    )


# --- closes ------------------------------------------------------------------------------------


@router.get("/closes")
async def list_closes(principal: Reader, context: Ctx, page: Paging) -> Page[CloseView]:
    """Closed days with their trial balances, the latest first."""
    for_operators(principal)
    before = None if page.after is None else day_number(page.after)

    def query(conn: Connection) -> Page[CloseView]:
        found = closing.closes(conn, before=before, limit=page.fetch)
        return page.of(found, lambda one: date_text(one.day), close_view)

    return await context.database.read(query)


@router.get("/closes/{day}")
async def get_close(
    day: Day,
    principal: Reader,
    context: Ctx,
    recount: Annotated[bool, Query(description="Count the day anew and compare.")] = False,
) -> CloseView:
    for_operators(principal)
    number = day_number(day)

    def query(conn: Connection) -> CloseView:
        found = closing.find(conn, number)
        if not recount:
            return close_view(found)
        again = closing.recount(conn, number)
        return close_view(found, (again.digest, again.lines) == (found.digest, found.lines))

    return await context.database.read(query)


@router.post("/closes")
async def close_day(body: CloseRequest, principal: Writer, context: Ctx) -> CloseView:
    """Close the next day in turn, or this one; a closed day is told as it was."""
    require_may(principal, Action.CREDIT_MONEY, principal.organisation_id)
    day = None if body.day is None else day_number(body.day)
    if day is None:
        day = await context.database.read(closing.day_to_close)
    if day is None:
        raise InvalidInput(
            "NothingBooked", "Nothing has been booked yet.", hint="There is no day to close."
        )
    known = await context.database.read(lambda conn: closing.is_closed(conn, day))
    made = await closing.close_day(
        context.database, day, context.clock.now_ms(), by=principal.user_id
    )
    if not known:
        detail = {"postings": made.postings, "digest": made.digest}
        await context.database.write(
            lambda tx: audit(tx, principal, "day.close", "day", date_text(made.day), detail)
        )
    return close_view(made)


# --- payouts -----------------------------------------------------------------------------------


def readable(conn: Connection, principal: Principal, payout_id: str) -> Payout:
    """Raises NotFound for what is another's."""
    found = payouts.find(conn, payout_id)
    if not may(principal, Action.READ_BILLING, found.organisation_id):
        raise not_found("payout", payout_id)
    return found


@router.get("/payouts")
async def list_payouts(
    principal: Reader,
    context: Ctx,
    page: Paging,
    organisation: Annotated[str | None, Query(max_length=128)] = None,
    state: PayoutState | None = None,
) -> Page[PayoutView]:
    """The latest first: of one's own organisation; the operator's are everybody's."""

    def query(conn: Connection) -> Page[PayoutView]:
        whose = organisation_read(conn, principal, organisation)
        found = payouts.payouts(
            conn, organisation_id=whose, state=state, before=page.after, limit=page.fetch
        )
        return page.of(found, lambda one: one.id, payout_view)

    return await context.database.read(query)


@router.get("/payouts/{payout}")
async def get_payout(payout: Identity, principal: Reader, context: Ctx) -> PayoutView:
    """With the lines that it is made of; they sum to its amount."""

    def query(conn: Connection) -> PayoutView:
        found = readable(conn, principal, payout)
        return payout_view(found, payouts.lines(conn, found.id))

    return await context.database.read(query)


@router.post("/payouts")
async def propose_payouts(body: PayoutRun, principal: Writer, context: Ctx) -> Page[PayoutView]:
    """A payout run: takes what closed days brought out of the revenue accounts."""
    require_may(principal, Action.CREDIT_MONEY, principal.organisation_id)
    minimum = body.minimum.amount("minimum") if body.minimum else 0

    def use_case(tx: Tx) -> Page[PayoutView]:
        named = body.organisations
        wanted = None if named is None else [tenancy.organisation(tx.conn, n).id for n in named]
        made = payouts.propose(
            tx,
            by=principal.user_id,
            organisation_ids=wanted,
            minimum=minimum,
            currency=body.currency,
        )
        for one in made:
            _audit(tx, principal, "payout.propose", one)
        return Page(items=[payout_view(one) for one in made])

    return await context.database.write(use_case)


def _audit(tx: Tx, principal: Principal, action: str, payout: Payout, why: str = "") -> None:
    detail: dict[str, object] = {"amount_micro_yuan": payout.amount_micro_yuan}
    if why:
        detail["reason"] = why
    owner = payout.organisation_id
    audit(tx, principal, action, "payout", payout.id, detail, organisation_id=owner)


@router.post("/payouts/{payout}/approve")
async def approve_payout(payout: Identity, principal: Writer, context: Ctx) -> PayoutView:
    """It may go to the bank."""
    require_may(principal, Action.CREDIT_MONEY, principal.organisation_id)

    def use_case(tx: Tx) -> PayoutView:
        moved = payouts.approve(tx, payout, by=principal.user_id)
        _audit(tx, principal, "payout.approve", moved)
        return payout_view(moved)

    return await context.database.write(use_case)


@router.post("/payouts/{payout}/paid")
async def confirm_payout(
    payout: Identity, body: Paid, principal: Writer, context: Ctx
) -> PayoutView:
    """The bank has moved it: entered by who neither proposed nor approved it. The same reference
    again changes nothing."""
    require_may(principal, Action.CREDIT_MONEY, principal.organisation_id)

    def use_case(tx: Tx) -> PayoutView:
        moved = payouts.confirm(
            tx,
            payout,
            bank_reference=body.bank_reference,
            by=principal.user_id,
            rule=four_eyes.found(tx.conn, principal.organisation_id),
        )
        _audit(tx, principal, "payout.paid", moved, body.bank_reference)
        return payout_view(moved)

    return await context.database.write(use_case)


@router.get("/payout-rule")
async def get_payout_rule(principal: Reader, context: Ctx) -> PayoutRuleView:
    """Whether payouts need four eyes. For the operator."""
    for_operators(principal)
    return await context.database.read(
        lambda conn: rule_view(four_eyes.found(conn, principal.organisation_id))
    )


@router.put("/payout-rule")
async def put_payout_rule(body: PayoutRuleGiven, principal: Writer, context: Ctx) -> PayoutRuleView:
    """Let the only operator release what he prepared, or ask for four eyes again. It is in force
    only while there is one."""
    require_may(principal, Action.CREDIT_MONEY, principal.organisation_id)

    def use_case(tx: Tx) -> PayoutRuleView:
        whose, by = principal.organisation_id, principal.user_id
        kept = four_eyes.keep(tx, whose, alone=body.alone, why=body.reason, by=by)
        detail = {"alone": body.alone, "reason": body.reason, "operators": kept.officers}
        audit(tx, principal, "payout.rule", "payout", whose, detail, organisation_id=whose)
        return rule_view(kept)

    return await context.database.write(use_case)


@router.post("/payouts/{payout}/failed")
async def fail_payout(payout: Identity, body: Why, principal: Writer, context: Ctx) -> PayoutView:
    """The bank did not move it, or sent it back: it is revenue again."""
    require_may(principal, Action.CREDIT_MONEY, principal.organisation_id)

    def use_case(tx: Tx) -> PayoutView:
        moved = payouts.fail(tx, payout, why=body.reason)
        _audit(tx, principal, "payout.failed", moved, body.reason)
        return payout_view(moved)

    return await context.database.write(use_case)


@router.post("/payouts/{payout}/cancel")
async def cancel_payout(payout: Identity, body: Why, principal: Writer, context: Ctx) -> PayoutView:
    """Before the bank has it."""
    require_may(principal, Action.CREDIT_MONEY, principal.organisation_id)

    def use_case(tx: Tx) -> PayoutView:
        moved = payouts.cancel(tx, payout, why=body.reason)
        _audit(tx, principal, "payout.cancel", moved, body.reason)
        return payout_view(moved)

    return await context.database.write(use_case)
