"""Disputes over HTTP: the buyer opens and withdraws, the provider answers, the operator decides."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from sqlalchemy.engine import Connection

from suanwang.edge.api import views_billing as views
from suanwang.edge.api.money import Money, MoneyGiven
from suanwang.edge.api.paging import Page, Paging
from suanwang.edge.api.routes_billing import Ctx, Identity, Reader, Writer
from suanwang.platform.database import Tx
from suanwang.tenancy.audit import audit
from suanwang.tenancy.model import Action, Principal
from suanwang.tenancy.rules import may, not_found, require_may
from suanwang.trade.contracts import service as contracts
from suanwang.trade.settlement import disputes, rules
from suanwang.trade.settlement.model import (
    Dispute,
    DisputeEvent,
    DisputeReason,
    Subject,
    SubjectKind,
)

router = APIRouter(prefix="/v1", tags=["settlement"])
Words = Annotated[str, Field(min_length=1, max_length=2_000)]


def _contract_subject(conn: Connection, contract_id: str) -> Subject:
    """A contract as its buyer disputes it: what he has paid of its hours so far."""
    found = contracts.get(conn, contract_id)
    return disputes.subject_of_entries(
        conn,
        SubjectKind.CONTRACT,
        found.id,
        found.buyer.project_id,
        found.seller.organisation_id,
        contracts.charge_keys(conn, found),
    )


FINDERS: dict[SubjectKind, disputes.Find] = {
    SubjectKind.ENTRY: disputes.entry_subject,
    SubjectKind.CONTRACT: _contract_subject,
}


class DisputeRequest(BaseModel):
    subject_kind: SubjectKind = SubjectKind.ENTRY
    subject: Annotated[str, Field(min_length=1, max_length=128)]
    reason: DisputeReason
    amount: MoneyGiven | None = Field(default=None, description="All that it cost if absent.")
    text: Words


class Said(BaseModel):
    text: Words


class Decision(BaseModel):
    upheld: bool
    amount: MoneyGiven | None = Field(default=None, description="All that was claimed if absent.")
    text: Words


class EventView(BaseModel):
    number: int
    at: str
    actor_user_id: str
    state: str
    text: str


class DisputeView(BaseModel):
    id: str
    subject_kind: str
    subject: str
    project_id: str
    organisation_id: str
    provider_organisation_id: str
    reason: str
    state: str
    currency: str
    claimed: Money
    awarded: Money
    entry_id: str | None
    opened_at: str
    opened_by: str
    answer_by: str
    decide_by: str
    overdue: bool = Field(description="It is open past its time to be decided.")
    history: list[EventView] | None = None


def dispute_view(
    found: Dispute, now_ms: int, history: list[DisputeEvent] | None = None
) -> DisputeView:
    return DisputeView(
        id=found.id,
        subject_kind=found.subject_kind.value,
        subject=found.subject_id,
        project_id=found.project_id,
        organisation_id=found.organisation_id,
        provider_organisation_id=found.provider_organisation_id,
        reason=found.reason.value,
        state=found.state.value,
        currency=found.currency,
        claimed=Money.of(found.claimed_micro_yuan),
        awarded=Money.of(found.awarded_micro_yuan),
        entry_id=found.entry_id,
        opened_at=views.instant(found.opened_at_ms),
        opened_by=found.opened_by,
        answer_by=views.instant(found.answer_by_ms),
        decide_by=views.instant(found.decide_by_ms),
        overdue=found.state in rules.OPEN_DISPUTES and now_ms > found.decide_by_ms,
        history=None
        if history is None
        else [
            EventView(
                number=one.number,
                at=views.instant(one.at_ms),
                actor_user_id=one.actor_user_id,
                state=one.state.value,
                text=one.text,
            )
            for one in history
        ],
    )


def readable(conn: Connection, principal: Principal, dispute_id: str) -> Dispute:
    """Raises NotFound for those that are party to it on neither side."""
    found = disputes.find(conn, dispute_id)
    parties = (found.organisation_id, found.provider_organisation_id)
    if not any(may(principal, Action.READ_BILLING, one) for one in parties if one):
        raise not_found("dispute", dispute_id)
    return found


@router.get("/disputes")
async def list_disputes(
    principal: Reader,
    context: Ctx,
    page: Paging,
    open_only: Annotated[bool, Query(description="What waits for somebody.")] = False,
) -> Page[DisputeView]:
    """The latest first: one's own organisation's, as buyer or provider; the operator sees all."""
    require_may(principal, Action.READ_BILLING, principal.organisation_id)
    party = None if principal.is_operator else principal.organisation_id
    now_ms = context.clock.now_ms()

    def query(conn: Connection) -> Page[DisputeView]:
        found = disputes.disputes(
            conn, party=party, open_only=open_only, before=page.after, limit=page.fetch
        )
        return page.of(found, lambda one: one.id, lambda one: dispute_view(one, now_ms))

    return await context.database.read(query)


@router.get("/disputes/{dispute}")
async def get_dispute(dispute: Identity, principal: Reader, context: Ctx) -> DisputeView:
    """With its history."""
    now_ms = context.clock.now_ms()

    def query(conn: Connection) -> DisputeView:
        found = readable(conn, principal, dispute)
        return dispute_view(found, now_ms, disputes.history(conn, found.id))

    return await context.database.read(query)


@router.post("/disputes")
async def open_dispute(body: DisputeRequest, principal: Writer, context: Ctx) -> DisputeView:
    """Contest what one's project was charged."""
    amount = body.amount.amount("amount") if body.amount else None

    def use_case(tx: Tx) -> DisputeView:
        subject = disputes.subject_of(tx.conn, body.subject_kind, body.subject, FINDERS)
        require_may(
            principal,
            Action.WRITE_BILLING,
            subject.organisation_id,
            kind=body.subject_kind.value,
            identity=body.subject,
        )
        made = disputes.open_dispute(
            tx, subject, reason=body.reason, claimed=amount, text=body.text, by=principal.user_id
        )
        return _told(tx, principal, "dispute.open", made)

    return await context.database.write(use_case)


def _told(tx: Tx, principal: Principal, action: str, dispute: Dispute) -> DisputeView:
    detail = {
        "subject": dispute.subject_id,
        "claimed_micro_yuan": dispute.claimed_micro_yuan,
        "awarded_micro_yuan": dispute.awarded_micro_yuan,
    }
    owner = dispute.organisation_id
    audit(tx, principal, action, "dispute", dispute.id, detail, organisation_id=owner)
    return dispute_view(dispute, tx.now_ms, disputes.history(tx.conn, dispute.id))


@router.post("/disputes/{dispute}/answer")
async def answer_dispute(
    dispute: Identity, body: Said, principal: Writer, context: Ctx
) -> DisputeView:
    """The provider's word on it."""

    def use_case(tx: Tx) -> DisputeView:
        found = readable(tx.conn, principal, dispute)
        provider = found.provider_organisation_id
        action = Action.WRITE_BILLING if provider else Action.CREDIT_MONEY
        whose = provider or principal.organisation_id
        require_may(principal, action, whose, kind="dispute", identity=dispute)
        moved = disputes.answer(tx, dispute, text=body.text, by=principal.user_id)
        return _told(tx, principal, "dispute.answer", moved)

    return await context.database.write(use_case)


@router.post("/disputes/{dispute}/withdraw")
async def withdraw_dispute(
    dispute: Identity, body: Said, principal: Writer, context: Ctx
) -> DisputeView:
    """The buyer lets it be."""

    def use_case(tx: Tx) -> DisputeView:
        found = readable(tx.conn, principal, dispute)
        owner = found.organisation_id
        require_may(principal, Action.WRITE_BILLING, owner, kind="dispute", identity=dispute)
        moved = disputes.withdraw(tx, dispute, text=body.text, by=principal.user_id)
        return _told(tx, principal, "dispute.withdraw", moved)

    return await context.database.write(use_case)


@router.post("/disputes/{dispute}/decide")
async def decide_dispute(
    dispute: Identity, body: Decision, principal: Writer, context: Ctx
) -> DisputeView:
    """The operator's decision; upheld, the money goes back at once."""
    require_may(principal, Action.CREDIT_MONEY, principal.organisation_id)
    amount = body.amount.amount("amount") if body.amount else None

    def use_case(tx: Tx) -> DisputeView:
        by, text = principal.user_id, body.text
        if body.upheld:
            moved = disputes.uphold(tx, dispute, amount=amount, text=text, by=by, finders=FINDERS)
        else:
            moved = disputes.reject(tx, dispute, text=text, by=by)
        return _told(tx, principal, f"dispute.{moved.state.value}", moved)

    return await context.database.write(use_case)
