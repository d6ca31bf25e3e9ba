"""Shapes of money: accounts, statements, usage, prices, the ledger."""

from __future__ import annotations

from typing import Literal, TypedDict

from suanwang.edge.client.views import Money


class Account(TypedDict):
    """available = balance + credit_limit − held; below zero, the project is in arrears."""

    project_id: str
    currency: str
    balance: Money
    held: Money
    credit_limit: Money
    available: Money
    in_arrears: bool


class Quantities(TypedDict):
    """Sums over usage records; allocation x time, and CPU time as measured."""

    records: int
    billable_seconds: int
    core_milli_seconds: int
    memory_mib_seconds: int
    accelerator_milli_seconds: int
    cpu_ms: int


class ReportLine(TypedDict):
    key: str
    """An id, or a date when grouped by day."""
    quantities: Quantities
    amount: Money


class Relief(TypedDict):
    """What one programme paid of the month's charges."""

    programme_id: str
    charges: int
    amount: Money


class Movement(TypedDict):
    """A posting that is no charge: a top-up, a transfer, a reversal."""

    entry_id: str
    kind: str
    at: str
    amount: Money
    description: str


Statement = TypedDict(
    "Statement",
    {
        "project_id": str,
        "month": str,
        "from": str,
        "until": str,
        "opening": Money,
        "topped_up": Money,
        "charged": Money,
        "adjusted": Money,
        "closing": Money,
        "listed": Money,
        "relieved": Money,
        "reliefs": list[Relief],
        "by": Literal["job", "pool", "day", "user", "project", "site"],
        "lines": list[ReportLine],
        "movements": list[Movement],
        "next_cursor": str | None,
    },
)


class TopUp(TypedDict):
    entry_id: str
    repeated: bool
    account: Account


class PriceList(TypedDict):
    """Per hour of a core, a GiB of memory, a card; billed by the second."""

    id: str
    pool_id: str
    version: int
    valid_from: str
    core_hour: Money
    memory_gib_hour: Money
    accelerator_hour: Money


class LedgerEntry(TypedDict):
    """A posting of the project's account."""

    entry_id: str
    kind: str
    at: str
    amount: Money
    description: str
    reference: str
    """What was booked: of a charge, its run."""
    reversed_by: str | None


class Booked(TypedDict):
    entry_id: str
    repeated: bool
    """It had been booked before; nothing changed."""


class TrialLine(TypedDict):
    currency: str
    kind: str
    accounts: int
    balance: Money
    """Positive: the platform owes; negative: it is owed."""


class Discrepancy(TypedDict):
    what: str
    subject_id: str
    expected: int
    found: int


class TrialBalance(TypedDict):
    lines: list[TrialLine]
    sums: dict[str, Money]
    """By currency; anything but zero is a fault."""
    discrepancies: list[Discrepancy] | None
    """With verify: what does not agree with the postings. Empty: all is well."""
