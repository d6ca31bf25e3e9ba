"""What tests of billing start from: one pool with prices, one project with money, runs on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from suanwang.engines.scheduling.model import Prices
from suanwang.kernel.resources import Resources
from suanwang.kernel.time import MS_PER_HOUR
from suanwang.platform.database import InlineDatabase, Tx
from suanwang.platform.outbox import Outbox
from suanwang.trade.billing import reports, rules
from suanwang.trade.billing import service as billing
from suanwang.trade.billing.model import GroupBy, Run, Statement, UsageRecord, UsageRecorded
from suanwang.trade.ledger import service as ledger

T = TypeVar("T")

PROJECT = "prj_a"
OTHER_PROJECT = "prj_b"
PROVIDER = "org_provider"
SITE = "ste_1"
POOL = "pol_1"
YUAN = 1_000_000
PRICES = Prices(core_hour=3_600_000, memory_gib_hour=0, accelerator_hour=36_000_000)
"""A core-second costs 1,000 micro-yuan, a card-second 10,000."""
HOUR_0 = 1_767_225_600_000
"""2026-01-01T00:00:00Z, a full hour; 08:00 in Shanghai."""


class Settable(Protocol):
    """A clock that a test may set."""

    at_ms: int


def run_of(price_list_id: str, **changes: Any) -> Run:
    run = Run(
        lease_id="lea_1",
        epoch=1,
        task_id="tsk_1",
        job_id="job_1",
        organisation_id="org_user",
        project_id=PROJECT,
        user_id="usr_1",
        provider_organisation_id=PROVIDER,
        site_id=SITE,
        pool_id=POOL,
        price_list_id=price_list_id,
        resources=Resources(cpu_milli=1_000, memory_mib=1_024),
        members=1,
        granted_at_ms=HOUR_0,
    )
    return replace(run, **changes)


def usage_of(
    run: Run, start_ms: int | None, end_ms: int, *, known_at_ms: int | None = None
) -> list[UsageRecord]:
    """Of a run between two instants, heard of at its end."""
    return rules.usage_of_run(
        run,
        started_at_ms=start_ms,
        ended_at_ms=end_ms,
        known_at_ms=end_ms if known_at_ms is None else known_at_ms,
    )


@dataclass
class World:
    """A database on the test's own thread, an outbox and the few calls that tests make often."""

    database: InlineDatabase
    outbox: Outbox = field(default_factory=Outbox)
    price_list_id: str = ""

    def __post_init__(self) -> None:
        billing.subscribe(self.outbox)
        self.price_list_id = self.write(lambda tx: billing.publish_prices(tx, POOL, PRICES))

    def write(self, use_case: Callable[[Tx], T]) -> T:
        return self.database.write_now(use_case)

    def run(self, **changes: Any) -> Run:
        return run_of(**{"price_list_id": self.price_list_id, **changes})

    def record(self, records: Sequence[UsageRecord]) -> list[UsageRecord]:
        return self.write(lambda tx: billing.record_usage(tx, self.outbox, records))

    async def deliver(self) -> int:
        return await self.outbox.deliver(self.database, billing.CHARGE_SUBSCRIBER)

    def charge(self, records: Sequence[UsageRecord]) -> None:
        facts = [UsageRecorded(record) for record in records]
        self.write(lambda tx: billing.charge(tx, facts))

    def charge_fully(self, run: Run, start_ms: int, end_ms: int) -> None:
        """Record a run and charge it, on the test's own thread."""
        records = usage_of(run, start_ms, end_ms)
        self.record(records)
        self.charge(records)

    async def settle(self, records: Sequence[UsageRecord]) -> None:
        """Record and charge."""
        self.record(records)
        await self.deliver()

    def hold(self, project_id: str, amount: int) -> None:
        def use_case(tx: Tx) -> None:
            account_id = ledger.project_accounts(tx, [project_id])[project_id]
            ledger.hold(tx, {account_id: amount})

        self.write(use_case)

    def top_up(self, amount: int, project_id: str = PROJECT, key: str = "1") -> None:
        self.write(lambda tx: ledger.top_up(tx, project_id, amount, key=key))

    def balance(self, project_id: str = PROJECT) -> int:
        account = self.database.read_now(lambda c: ledger.project_account(c, project_id))
        return account.balance_micro_yuan if account else 0

    def held(self, project_id: str = PROJECT) -> int:
        account = self.database.read_now(lambda c: ledger.project_account(c, project_id))
        return account.held_micro_yuan if account else 0

    def statement(self, month: str, by: GroupBy = GroupBy.JOB) -> Statement:
        return self.database.read_now(
            lambda c: reports.statement(c, PROJECT, month, by=by, limit=1_000)
        )

    def sound(self) -> bool:
        """Every balance follows from the postings, every posting from the charges."""
        return not self.database.read_now(reports.verify)


HOUR_MS = MS_PER_HOUR
