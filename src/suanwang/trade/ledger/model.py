"""The words of the ledger: accounts, entries and their postings.

A posting's amount is signed: positive is a credit (the platform owes its owner more), negative a
debit. An account's balance is the sum of its postings in that sign.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

CNY = "CNY"

PLATFORM_ID = "platform"
"""Owner id of the platform's own accounts."""


class OwnerKind(StrEnum):
    PROJECT = "project"
    ORGANISATION = "organisation"
    PLATFORM = "platform"
    PROGRAMME = "programme"
    """A policy programme: the purse behind vouchers and subsidies."""


class AccountKind(StrEnum):
    PREPAID = "prepaid"
    """What a project has paid in and not yet used."""
    REVENUE = "revenue"
    """What a provider has earned and not yet been paid."""
    FEES = "fees"
    """What the platform keeps of each charge."""
    CASH = "cash"
    """Money that came in from outside; the other side of every top-up."""
    SUBSIDY = "subsidy"
    """What a programme's funder owes for what was redeemed; in a currency of vouchers, what the
    programme has issued."""
    PAYABLE = "payable"
    """What a payout has taken out of a provider's revenue and the bank has not yet moved."""
    VOUCHERS = "vouchers"
    """What a project may still redeem of a programme, in that programme's own currency."""


class Side(StrEnum):
    """On which side the account grows."""

    CREDIT = "credit"
    DEBIT = "debit"


NORMAL_SIDES: Mapping[AccountKind, Side] = {
    AccountKind.PREPAID: Side.CREDIT,
    AccountKind.REVENUE: Side.CREDIT,
    AccountKind.FEES: Side.CREDIT,
    AccountKind.CASH: Side.DEBIT,
    AccountKind.SUBSIDY: Side.DEBIT,
    AccountKind.PAYABLE: Side.CREDIT,
    AccountKind.VOUCHERS: Side.CREDIT,
}


class EntryKind(StrEnum):
    TOP_UP = "top_up"
    CHARGE = "charge"
    TRANSFER = "transfer"
    """Between accounts of ours: a correction that the platform bears or keeps."""
    SLA_CREDIT = "sla_credit"
    """From a seller to a buyer, for capacity of a contract that was not there."""
    RENT = "rent"
    """From a buyer to the platform: what capacity from a cheaper zone costs more in his own, hour
    by hour as it is delivered."""
    CANCELLATION = "cancellation"
    """From a buyer who steps back from a contract, to its seller."""
    REVERSAL = "reversal"
    """Red letter: the negative of an earlier entry, which itself stays as it was."""
    PAYOUT = "payout"
    """A provider's revenue on its way to the bank, and its arrival there."""
    VOUCHER_ISSUE = "voucher_issue"
    """A programme's vouchers for a project."""
    VOUCHER_RETURN = "voucher_return"
    """Vouchers that expired or were taken back."""
    PROGRAMME_PAYOUT = "programme_payout"
    """A programme pays after the fact."""
    FUNDING = "funding"
    """A programme's funder pays what it owes."""
    CLAWBACK = "clawback"
    """A project pays back what a programme gave."""


@dataclass(frozen=True, slots=True, order=True)
class AccountKey:
    """What an account is, before it has an id. One account for each key."""

    owner_kind: OwnerKind
    owner_id: str
    kind: AccountKind
    currency: str = CNY


def project_key(project_id: str, currency: str = CNY) -> AccountKey:
    return AccountKey(OwnerKind.PROJECT, project_id, AccountKind.PREPAID, currency)


def revenue_key(organisation_id: str, currency: str = CNY) -> AccountKey:
    return AccountKey(OwnerKind.ORGANISATION, organisation_id, AccountKind.REVENUE, currency)


def payable_key(organisation_id: str, currency: str = CNY) -> AccountKey:
    return AccountKey(OwnerKind.ORGANISATION, organisation_id, AccountKind.PAYABLE, currency)


def subsidy_key(programme_id: str, funder: str) -> AccountKey:
    """Each funder has an account of its own, so that a split is seen on the books."""
    return AccountKey(OwnerKind.PROGRAMME, f"{programme_id}/{funder}", AccountKind.SUBSIDY)


def issued_key(programme_id: str, currency: str) -> AccountKey:
    return AccountKey(OwnerKind.PROGRAMME, programme_id, AccountKind.SUBSIDY, currency)


def vouchers_key(project_id: str, currency: str) -> AccountKey:
    return AccountKey(OwnerKind.PROJECT, project_id, AccountKind.VOUCHERS, currency)


CASH = AccountKey(OwnerKind.PLATFORM, PLATFORM_ID, AccountKind.CASH)
FEES = AccountKey(OwnerKind.PLATFORM, PLATFORM_ID, AccountKind.FEES)
RENT = AccountKey(OwnerKind.PLATFORM, f"{PLATFORM_ID}:rent", AccountKind.FEES)
"""What buyers paid for capacity that came to them from cheaper zones."""


@dataclass(frozen=True, slots=True)
class Account:
    """`balance` is a cache of the postings, `held` of the holds that are open."""

    id: str
    key: AccountKey
    normal_side: Side
    balance_micro_yuan: int
    held_micro_yuan: int
    credit_limit_micro_yuan: int
    version: int

    @property
    def available_micro_yuan(self) -> int:
        return self.balance_micro_yuan + self.credit_limit_micro_yuan - self.held_micro_yuan


@dataclass(frozen=True, slots=True)
class EntryDraft:
    """An entry to post. `key` names the event that it books: a second one with it is not posted."""

    key: str
    kind: EntryKind
    at_ms: int
    """Value instant: the period that the entry counts in. In a shut day it becomes the first
    instant that is open."""
    postings: tuple[tuple[str, int], ...]
    """(account id, signed micro-yuan), one per account, summing to zero in each currency."""
    description: str = ""
    reversal_of: str | None = None


@dataclass(frozen=True, slots=True)
class PostResult:
    """Key → entry id of what was posted now, and of what had been posted before."""

    posted: Mapping[str, str]
    repeated: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Entry:
    id: str
    key: str
    kind: EntryKind
    at_ms: int
    recorded_at_ms: int
    description: str
    reversal_of: str | None
    postings: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class AccountLine:
    """One posting as its account's owner reads it."""

    entry_id: str
    kind: EntryKind
    at_ms: int
    amount_micro_yuan: int
    description: str
    key: str
    """Names the event, for a charge its run."""
    reversed_by: str | None
    """The entry that undid it."""


@dataclass(frozen=True, slots=True)
class TrialLine:
    """Sum over the accounts of one kind. The lines of a currency sum to zero."""

    currency: str
    kind: AccountKind
    accounts: int
    balance_micro_yuan: int


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """Something that the auditor found wrong; there should be none."""

    what: str
    subject_id: str
    expected: int
    found: int


@dataclass(frozen=True, slots=True)
class Leaf:
    """The postings of one account in one UTC hour of a span: what a day's digest is made of."""

    account_id: str
    currency: str
    kind: AccountKind
    hour: int
    postings: int
    debit: int
    """Sum of the negative amounts; zero or less."""
    credit: int
    digest: str
    """SHA-256 of a line for each posting: entry, instant, kind and amount, parted by spaces, in
    order of instant and entry."""
