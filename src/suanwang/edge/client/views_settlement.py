"""Shapes of settlement: closed days, payouts, invoices, disputes."""

from __future__ import annotations

from typing import TypedDict

from suanwang.edge.client.views import Money


class CloseLine(TypedDict):
    """opening + debit + credit = closing; positive: the platform owes."""

    currency: str
    kind: str
    accounts: int
    """That had postings on the day."""
    postings: int
    opening: Money
    debit: Money
    credit: Money
    closing: Money


class Close(TypedDict):
    day: str
    until: str
    """Nothing is booked before it any more."""
    postings: int
    digest: str
    closed_at: str
    closed_by: str
    lines: list[CloseLine]
    recounted: bool | None
    """With recount: the postings still say the same."""


class PayoutLine(TypedDict):
    what: str
    """earned (key: the pool), another kind, or brought_forward."""
    key: str
    amount: Money


Payout = TypedDict(
    "Payout",
    {
        "id": str,
        "run_id": str,
        "organisation_id": str,
        "currency": str,
        "amount": Money,
        "from": str | None,
        "until": str,
        "state": str,
        "proposed_at": str,
        "proposed_by": str,
        "approved_by": str,
        "released_by": str,
        "ended_at": str | None,
        "bank_reference": str,
        "entry_id": str,
        "lines": list[PayoutLine] | None,
    },
)


class PayoutRule(TypedDict):
    """Four eyes: who proposed or approved a payout does not release it."""

    alone: bool
    """It was allowed that the only operator does both."""
    in_force: bool
    operators: int
    reason: str
    changed_at: str | None
    changed_by: str


class Party(TypedDict):
    """Name and unified social credit code; the rest may be empty."""

    name: str
    code: str
    """统一社会信用代码."""
    address: str
    phone: str
    bank: str
    bank_account: str
    email: str


class Invoiceable(TypedDict):
    """left = charged − relieved − unpaid − invoiced."""

    project_id: str
    month: str
    charged: Money
    relieved: Money
    unpaid: Money
    invoiced: Money
    left: Money


class InvoiceLine(TypedDict):
    item: str
    specification: str
    unit: str
    quantity: str
    net: str
    """Yuan without tax."""
    tax: str
    gross: str


class Invoice(TypedDict):
    """Amounts in yuan to the fen; gross = net + tax, for each line and the whole."""

    id: str
    organisation_id: str
    project_id: str
    month: str
    state: str
    buyer: Party
    seller: Party
    tax_percent: int
    net: str
    tax: str
    gross: str
    gross_fen: int
    capitals: str
    number: str
    issued_on: str
    issued_by: str
    requested_at: str
    requested_by: str
    remark: str
    refusal: str
    reverses: str | None
    red_reason: str | None
    lines: list[InvoiceLine]
    red_letters: list[str]
    """Of an invoice: ids of those that are asked for or issued."""
    undone: str
    """What issued red letters undo of it, in yuan."""
    undone_fen: int


class DisputeEvent(TypedDict):
    number: int
    at: str
    actor_user_id: str
    state: str
    text: str


class Dispute(TypedDict):
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
    overdue: bool
    """It is open past its time to be decided."""
    history: list[DisputeEvent] | None
