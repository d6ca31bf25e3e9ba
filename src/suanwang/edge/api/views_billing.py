"""What the routes of money take and give, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, Field

from suanwang.edge.api.money import Money, MoneyGiven
from suanwang.edge.api.paging import Page, encode_cursor
from suanwang.kernel.money import MAX_AMOUNT
from suanwang.trade.billing.model import GroupBy, PriceList, Quantities, Report, Statement
from suanwang.trade.ledger.model import CNY, Account, AccountLine

REVENUE_BY = frozenset({GroupBy.POOL, GroupBy.SITE, GroupBy.DAY})
"""A provider learns what its machines earned, not who its customers' users are."""


class StatementBy(StrEnum):
    JOB = "job"
    POOL = "pool"
    DAY = "day"
    USER = "user"


class AccountView(BaseModel):
    """available = balance + credit_limit − held; below zero, the project is in arrears."""

    project_id: str
    currency: str
    balance: Money
    held: Money
    credit_limit: Money
    available: Money
    in_arrears: bool


class QuantitiesView(BaseModel):
    """Sums over usage records; allocation x time, and CPU time as measured."""

    records: int
    billable_seconds: int
    core_milli_seconds: int
    memory_mib_seconds: int
    accelerator_milli_seconds: int
    cpu_ms: int


class ReportLineView(BaseModel):
    key: str = Field(description="An id, or a date when grouped by day.")
    quantities: QuantitiesView
    amount: Money


class MovementView(BaseModel):
    """A posting that is no charge: a top-up, a transfer, a reversal."""

    entry_id: str
    kind: str
    at: str
    amount: Money
    description: str


class ReliefView(BaseModel):
    """What one programme paid of the month's charges."""

    programme_id: str
    charges: int
    amount: Money


class StatementView(BaseModel):
    project_id: str
    month: str
    from_: str = Field(serialization_alias="from")
    until: str
    opening: Money
    topped_up: Money
    charged: Money = Field(description="What is due for the month: listed − relieved.")
    adjusted: Money
    closing: Money
    listed: Money = Field(description="At list price: what the lines sum to.")
    relieved: Money = Field(description="Of that, paid by programmes: listed − charged.")
    reliefs: list[ReliefView]
    by: GroupBy
    lines: list[ReportLineView]
    movements: list[MovementView] = Field(description="On the first page only.")
    next_cursor: str | None


class PriceListView(BaseModel):
    """Per hour of a core, a GiB of memory, a card; billed by the second."""

    id: str
    pool_id: str
    version: int
    valid_from: str
    core_hour: Money
    memory_gib_hour: Money
    accelerator_hour: Money


Price = Annotated[int, Field(ge=0, le=MAX_AMOUNT)]


class Terms(BaseModel, frozen=True):
    core_hour: Price
    memory_gib_hour: Price
    accelerator_hour: Price


class PricesGiven(BaseModel):
    """What is left out costs nothing."""

    core_hour: MoneyGiven | None = None
    memory_gib_hour: MoneyGiven | None = None
    accelerator_hour: MoneyGiven | None = None

    def terms(self) -> Terms:
        amounts: dict[str, Any] = {
            name: given.amount(name) if (given := getattr(self, name)) else 0
            for name in Terms.model_fields
        }
        return Terms.model_construct(None, **amounts)


class TopUp(BaseModel):
    amount: MoneyGiven
    payment_reference: str = Field(
        min_length=1,
        max_length=64,
        pattern=r"^[!-~]+$",
        description="The payment's own number. Repeat it to try again: it is booked once.",
    )
    description: str = Field(default="", max_length=500)


class TopUpView(BaseModel):
    entry_id: str
    repeated: bool
    account: AccountView


class CreditLimit(BaseModel):
    credit_limit: MoneyGiven


def instant(at_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def account(project_id: str, found: Account | None) -> AccountView:
    """A project that never had money has an account of zeros."""
    balance, held, limit = (
        (found.balance_micro_yuan, found.held_micro_yuan, found.credit_limit_micro_yuan)
        if found
        else (0, 0, 0)
    )
    return AccountView(
        project_id=project_id,
        currency=found.key.currency if found else CNY,
        balance=Money.of(balance),
        held=Money.of(held),
        credit_limit=Money.of(limit),
        available=Money.of(balance + limit - held),
        in_arrears=balance + limit - held < 0,
    )


def _quantities(found: Quantities) -> QuantitiesView:
    return QuantitiesView(
        records=found.records,
        billable_seconds=found.billable_seconds,
        core_milli_seconds=found.core_milli_seconds,
        memory_mib_seconds=found.memory_mib_seconds,
        accelerator_milli_seconds=found.accelerator_milli_seconds,
        cpu_ms=found.cpu_ms,
    )


def lines_of(report: Report) -> list[ReportLineView]:
    return [
        ReportLineView(
            key=line.key,
            quantities=_quantities(line.quantities),
            amount=Money.of(line.amount_micro_yuan),
        )
        for line in report.lines
    ]


def _cursor(report: Report) -> str | None:
    return None if report.next_after is None else encode_cursor(report.next_after)


def page_of(report: Report) -> Page[ReportLineView]:
    return Page(items=lines_of(report), next_cursor=_cursor(report))


def statement(found: Statement, movements: Sequence[AccountLine]) -> StatementView:
    return StatementView(
        project_id=found.project_id,
        month=found.month,
        from_=instant(found.from_ms),
        until=instant(found.until_ms),
        opening=Money.of(found.opening_micro_yuan),
        topped_up=Money.of(found.topped_up_micro_yuan),
        charged=Money.of(found.charged_micro_yuan),
        adjusted=Money.of(found.adjusted_micro_yuan),
        closing=Money.of(found.closing_micro_yuan),
        listed=Money.of(found.listed_micro_yuan),
        relieved=Money.of(found.relieved_micro_yuan),
        reliefs=[
            ReliefView(
                programme_id=one.programme_id,
                charges=one.charges,
                amount=Money.of(one.amount_micro_yuan),
            )
            for one in found.reliefs
        ],
        by=found.report.by,
        lines=lines_of(found.report),
        movements=[
            MovementView(
                entry_id=line.entry_id,
                kind=line.kind.value,
                at=instant(line.at_ms),
                amount=Money.of(line.amount_micro_yuan),
                description=line.description,
            )
            for line in movements
        ],
        next_cursor=_cursor(found.report),
    )


def price_list(found: PriceList) -> PriceListView:
    return PriceListView(
        id=found.id,
        pool_id=found.pool_id,
        version=found.version,
        valid_from=instant(found.valid_from_ms),
        core_hour=Money.of(found.core_hour),
        memory_gib_hour=Money.of(found.memory_gib_hour),
        accelerator_hour=Money.of(found.accelerator_hour),
    )
