"""The words of settlement: closes of days, payouts, invoices, disputes.

payout     proposed ──▶ approved ──▶ paid
               ├────▶ cancelled ◀──┤  (not yet at the bank)
                                   └──▶ failed        the bank sent it back

invoice    requested ──▶ issued ──▶ reversed          its red letters undo all of it
                └──▶ rejected

dispute    opened ──▶ answered ──▶ upheld | rejected
             ├───────────┴──────▶ withdrawn
             └──▶ upheld | rejected                   once the time to answer is over
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from suanwang.trade.ledger.model import AccountKind

# --- closes ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class CloseLine:
    """A line of a day's trial balance: opening + debit + credit = closing.

    Signed as postings are: credit is positive. The closings of a currency sum to zero.
    """

    currency: str
    kind: AccountKind
    accounts: int
    """That had postings on the day."""
    postings: int
    opening_micro_yuan: int
    debit_micro_yuan: int
    credit_micro_yuan: int
    closing_micro_yuan: int


@dataclass(frozen=True, slots=True)
class DayClose:
    """A calendar day in Asia/Shanghai that is closed. Never changed; the days are consecutive."""

    day: int
    """Days since 1970-01-01."""
    until_ms: int
    """End of the day: nothing is booked before it any more."""
    postings: int
    digest: str
    """SHA-256 over the previous digest, the lines, and a digest of each account and hour."""
    closed_at_ms: int
    closed_by: str
    lines: tuple[CloseLine, ...]


# --- payouts -----------------------------------------------------------------------------------


class PayoutState(StrEnum):
    PROPOSED = "proposed"
    APPROVED = "approved"
    PAID = "paid"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class PayoutLine:
    """`what` is earned (then `key` is the pool), another kind of entry, or brought_forward."""

    what: str
    key: str
    amount_micro_yuan: int


@dataclass(frozen=True, slots=True)
class Payout:
    """What a provider is paid in one transfer; `from_ms`–`until_ms` is what its lines tell of."""

    id: str
    run_id: str
    organisation_id: str
    currency: str
    amount_micro_yuan: int
    from_ms: int
    until_ms: int
    state: PayoutState
    proposed_at_ms: int
    proposed_by: str
    approved_by: str
    ended_at_ms: int | None
    bank_reference: str
    """Of the transfer; or, when it failed, what the bank said."""
    entry_id: str
    """What took it out of the revenue."""
    version: int = 1
    released_by: str = ""
    """Who saw it out: entered the bank's reference."""


@dataclass(frozen=True, slots=True)
class PayoutRule:
    """Whether an operator's only officer may release what he prepared, and why."""

    organisation_id: str
    alone: bool
    why: str
    changed_at_ms: int
    changed_by: str


# --- invoices ----------------------------------------------------------------------------------


class InvoiceState(StrEnum):
    REQUESTED = "requested"
    ISSUED = "issued"
    REJECTED = "rejected"
    REVERSED = "reversed"


class RedReason(StrEnum):
    """Why a red letter is asked for, as the tax channel knows it."""

    WRONG = "wrong"
    """开票有误"""
    RETURNED = "returned"
    """销货退回"""
    STOPPED = "stopped"
    """服务中止"""
    ALLOWANCE = "allowance"
    """销售折让"""


class TaxParty(msgspec.Struct, frozen=True):
    """Buyer or seller as the tax office knows them; only name and code must be there."""

    name: str
    code: str
    """统一社会信用代码."""
    address: str = ""
    phone: str = ""
    bank: str = ""
    bank_account: str = ""
    email: str = ""


class InvoiceLine(msgspec.Struct, frozen=True):
    """Amounts in fen: gross = net + tax. Negative on a red letter."""

    item: str
    """项目名称."""
    specification: str
    """规格型号: the pool."""
    unit: str
    quantity_milli: int
    gross_fen: int
    net_fen: int
    tax_fen: int
    of_line: int | None = None
    """On a red letter: number, from 0, of the line that it undoes; None: the one in its place."""


@dataclass(frozen=True, slots=True)
class Invoice:
    """Application data of an invoice, and what became of it at the tax channel."""

    id: str
    organisation_id: str
    project_id: str
    month: str
    buyer: TaxParty
    seller: TaxParty
    lines: tuple[InvoiceLine, ...]
    tax_percent: int
    gross_fen: int
    net_fen: int
    tax_fen: int
    state: InvoiceState
    requested_at_ms: int
    requested_by: str
    remark: str = ""
    number: str = ""
    issued_on: str = ""
    """Date on the invoice."""
    issued_by: str = ""
    refusal: str = ""
    reverses: str | None = None
    """The invoice whose red letter this is."""
    red_reason: RedReason | None = None
    version: int = 1


@dataclass(frozen=True, slots=True)
class Invoiceable:
    """A project's month in micro-yuan: what was paid for, and what of it may be invoiced.

    `left` = charged − relieved − unpaid − invoiced; below zero, money was given back after its
    invoice was issued, and a red letter is due.
    """

    charged: int
    """Charges of the month that stand, at list price."""
    relieved: int
    """The part that programmes paid: it is theirs, not the buyer's."""
    unpaid: int
    """By how much the account is below zero now."""
    invoiced: int

    @property
    def left(self) -> int:
        return self.charged - self.relieved - self.unpaid - self.invoiced


# --- disputes ----------------------------------------------------------------------------------


class DisputeState(StrEnum):
    OPENED = "opened"
    ANSWERED = "answered"
    UPHELD = "upheld"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


class DisputeReason(StrEnum):
    NOT_DELIVERED = "not_delivered"
    WRONG_QUANTITY = "wrong_quantity"
    WRONG_PRICE = "wrong_price"
    FAULTY = "faulty"
    """It ran, but not as it should."""
    CHARGED_TWICE = "charged_twice"
    NOT_MINE = "not_mine"
    OTHER = "other"


class SubjectKind(StrEnum):
    ENTRY = "entry"
    """Of the ledger: a charge, a fee."""
    CONTRACT = "contract"


@dataclass(frozen=True, slots=True)
class Subject:
    """What is disputed, as its own context tells it."""

    kind: SubjectKind
    id: str
    project_id: str
    organisation_id: str
    """The buyer's."""
    provider_organisation_id: str
    """The seller's; "" where the platform itself took the money."""
    amount_micro_yuan: int
    """What it cost: no more can be given back."""
    at_ms: int
    currency: str
    entry_ids: tuple[str, ...] = ()
    """Of the ledger, that took the money."""


@dataclass(frozen=True, slots=True)
class Credit:
    """What a dispute gave back of an entry that stands."""

    entry_id: str
    at_ms: int
    """The instant at which the entry counts: its month has so much less."""
    amount_micro_yuan: int


@dataclass(frozen=True, slots=True)
class Dispute:
    id: str
    subject_kind: SubjectKind
    subject_id: str
    project_id: str
    organisation_id: str
    provider_organisation_id: str
    reason: DisputeReason
    claimed_micro_yuan: int
    currency: str
    state: DisputeState
    opened_at_ms: int
    opened_by: str
    answer_by_ms: int
    decide_by_ms: int
    subject_at_ms: int = 0
    awarded_micro_yuan: int = 0
    credited_micro_yuan: int = 0
    """Of what was awarded: given back beside the disputed entry, which still stands."""
    entry_id: str | None = None
    """What gave the money back."""
    version: int = 1


@dataclass(frozen=True, slots=True)
class DisputeEvent:
    """One step of a dispute's history."""

    number: int
    at_ms: int
    actor_user_id: str
    state: DisputeState
    text: str
