"""The words of billing: price lists, usage records, charges and the reports over them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import msgspec

from suanwang.kernel.resources import Resources
from suanwang.trade.ledger.model import AccountKey


class HourlyPrices(Protocol):
    """Micro-yuan per hour of a whole core, GiB, card. A scheduling `Prices` is one as well."""

    @property
    def core_hour(self) -> int: ...
    @property
    def memory_gib_hour(self) -> int: ...
    @property
    def accelerator_hour(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Rates:
    """Hourly prices, and nothing more."""

    core_hour: int = 0
    memory_gib_hour: int = 0
    accelerator_hour: int = 0


@dataclass(frozen=True, slots=True)
class PriceList:
    """One version of a pool's prices; never changed nor deleted. Time is billed by the second."""

    id: str
    pool_id: str
    version: int
    valid_from_ms: int
    core_hour: int
    memory_gib_hour: int
    accelerator_hour: int


@dataclass(frozen=True, slots=True)
class Run:
    """What billing must know of a lease that was run: whose it was, what it took, which prices."""

    lease_id: str
    epoch: int
    task_id: str
    job_id: str
    organisation_id: str
    project_id: str
    user_id: str
    provider_organisation_id: str
    site_id: str
    pool_id: str
    price_list_id: str
    """Of the lease's grant: it holds to the end, whatever is published later."""
    resources: Resources
    """Of one member."""
    members: int
    granted_at_ms: int
    held_micro_yuan: int = 0
    """What is still set aside; hours give back their part, the final record the rest."""
    max_billable_s: int | None = None
    """The provider, not the project, bears what a run takes beyond this."""


class UsageRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one lease used in one UTC hour. No money in it but the part of the hold that it ends.

    Unique by (source, id): source is the site, id "<lease>.<epoch>.<hour index>".
    """

    source: str
    id: str
    lease_id: str
    epoch: int
    task_id: str
    job_id: str
    organisation_id: str
    project_id: str
    user_id: str
    provider_organisation_id: str
    site_id: str
    pool_id: str
    price_list_id: str
    hour: int
    start_ms: int
    end_ms: int
    billable_seconds: int
    core_milli_seconds: int
    memory_mib_seconds: int
    accelerator_milli_seconds: int
    cpu_ms: int = 0
    """CPU time measured at the site over the whole run; on the final record only."""
    final: bool = False
    """The last of its lease and epoch; nothing is accepted after it."""
    hold_release_micro_yuan: int = 0


class UsageRecorded(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Fact: a usage record was accepted, for the first and only time."""

    record: UsageRecord


@dataclass(frozen=True, slots=True)
class Charge:
    """The price of one usage record. The provider gets amount − fee."""

    source: str
    usage_id: str
    project_id: str
    provider_organisation_id: str
    at_ms: int
    amount_micro_yuan: int
    fee_micro_yuan: int


@dataclass(frozen=True, slots=True)
class Relief:
    """What a programme pays of one charge, and where it comes from.

    `postings` are all that its part of the entry has beside what the project pays less: in CNY
    they sum to −amount, in every other currency to zero.
    """

    programme_id: str
    grant_id: str
    amount_micro_yuan: int
    postings: tuple[tuple[AccountKey, int], ...]


@dataclass(frozen=True, slots=True)
class RelievedLine:
    """What one programme paid of a project's charges."""

    programme_id: str
    charges: int
    amount_micro_yuan: int


@dataclass(frozen=True, slots=True)
class PastCharge:
    """What a project was charged on a day for one provider's pool, at list price."""

    day: int
    """Number of the calendar day in Asia/Shanghai."""
    organisation_id: str
    project_id: str
    provider_organisation_id: str
    pool_id: str
    charges: int
    amount_micro_yuan: int


class Trouble(StrEnum):
    """Why a usage record could not be settled as it should."""

    UNKNOWN_PRICE_LIST = "UnknownPriceList"
    """Not charged; charge it once the price list is found."""
    HOLD_TOO_SMALL = "HoldTooSmall"
    """Charged; but less was held than it said was to be released."""
    ENDED_BEFORE_METERED = "EndedBeforeMetered"
    """The site put the end of a run before hours that it had vouched for; they stay charged."""


@dataclass(frozen=True, slots=True)
class UsageTrouble:
    source: str
    usage_id: str
    reason: Trouble
    at_ms: int


class GroupBy(StrEnum):
    """What a line of a report stands for."""

    JOB = "job"
    POOL = "pool"
    DAY = "day"
    """Calendar day in Asia/Shanghai."""
    USER = "user"
    PROJECT = "project"
    SITE = "site"


@dataclass(frozen=True, slots=True)
class Quantities:
    records: int = 0
    billable_seconds: int = 0
    core_milli_seconds: int = 0
    memory_mib_seconds: int = 0
    accelerator_milli_seconds: int = 0
    cpu_ms: int = 0


@dataclass(frozen=True, slots=True)
class ReportLine:
    """`key` is an id, or a date (YYYY-MM-DD) when grouped by day."""

    key: str
    quantities: Quantities
    amount_micro_yuan: int


@dataclass(frozen=True, slots=True)
class Report:
    """One page of lines in order of key; `next_after` asks for the following page."""

    by: GroupBy
    lines: tuple[ReportLine, ...]
    next_after: str | None


@dataclass(frozen=True, slots=True)
class PricedUsage:
    """A usage record with its charge and the price list that it was charged by."""

    record: UsageRecord
    at_ms: int
    amount_micro_yuan: int
    fee_micro_yuan: int
    prices: PriceList
    relieved_micro_yuan: int = 0
    """Of the amount, what programmes paid."""

    @property
    def place(self) -> tuple[int, str, str]:
        """Where it stands in the order of a listing."""
        return self.at_ms, self.record.source, self.record.id


@dataclass(frozen=True, slots=True)
class Statement:
    """A project's month: opening + topped up − charged + adjusted = closing, to the micro-yuan.

    The lines are at list price; what programmes paid of it is no part of `charged`.
    """

    project_id: str
    month: str
    from_ms: int
    until_ms: int
    opening_micro_yuan: int
    topped_up_micro_yuan: int
    charged_micro_yuan: int
    adjusted_micro_yuan: int
    """Reversals and transfers."""
    closing_micro_yuan: int
    report: Report
    reliefs: tuple[RelievedLine, ...] = ()

    @property
    def relieved_micro_yuan(self) -> int:
        return sum(one.amount_micro_yuan for one in self.reliefs)

    @property
    def listed_micro_yuan(self) -> int:
        """At list price: what the lines sum to."""
        return self.charged_micro_yuan + self.relieved_micro_yuan


@dataclass(frozen=True, slots=True)
class Arrears:
    """A project that has less than nothing left. It is a state, read from the balance each time."""

    project_id: str
    short_micro_yuan: int
