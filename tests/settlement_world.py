"""What tests of settlement start from: books with some days of charges, on any database."""

from __future__ import annotations

from typing import Any

from billing_world import HOUR_0, POOL, PRICES, PROJECT, PROVIDER, run_of, usage_of
from manual_clock import ManualClock
from suanwang.kernel.time import MS_PER_DAY, MS_PER_HOUR
from suanwang.platform.database import Tx
from suanwang.tenancy import store as tenancy_store
from suanwang.tenancy.model import (
    Organisation,
    OrganisationState,
    Project,
    ProjectState,
    ScoreWeights,
)
from suanwang.trade.billing import service as billing
from suanwang.trade.billing.model import UsageRecorded
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.model import revenue_key
from suanwang.trade.settlement import closing

DAY_0 = (HOUR_0 + 8 * MS_PER_HOUR) // MS_PER_DAY
"""2026-01-01 in Shanghai."""
REVENUE = revenue_key(PROVIDER)
HOURLY = 3_600_000
"""What an hour of one core costs."""


async def charge_day(
    database: Any, day: int, hours: int = 3, *, fee_percent: int = 0, tag: str = ""
) -> None:
    """A run of so many hours on that day, charged at once."""

    def use_case(tx: Tx) -> None:
        prices = billing.publish_prices(tx, POOL, PRICES)
        start_ms = HOUR_0 + (day - DAY_0) * MS_PER_DAY
        run = run_of(prices, lease_id=f"lea_{day}{tag}", job_id=f"job_{day}")
        records = usage_of(run, start_ms, start_ms + hours * MS_PER_HOUR)
        billing.charge(tx, [UsageRecorded(one) for one in records], fee_percent=fee_percent)
        billing.store.insert_usage(tx.conn, records)

    await database.write(use_case)


async def found_buyer(database: Any) -> None:
    """The organisation whose project pays."""

    def use_case(tx: Tx) -> None:
        made = Organisation(
            "org_user", "lab", "Lab", (), 1, ScoreWeights(), OrganisationState.ACTIVE, tx.now_ms
        )
        tenancy_store.insert_organisation(tx.conn, made)
        project = Project(
            PROJECT, made.id, "work", "Work", 1, None, 0, ProjectState.ACTIVE, tx.now_ms
        )
        tenancy_store.insert_project(tx.conn, project)

    await database.write(use_case)


async def top_up(database: Any, amount: int = 1_000_000_000) -> None:
    await database.write(lambda tx: ledger.top_up(tx, PROJECT, amount, key="first"))


async def close_until(database: Any, clock: ManualClock, day: int) -> None:
    """Every day up to this one, which is over."""
    clock.at_ms = max(clock.at_ms, HOUR_0 + (day + 1 - DAY_0) * MS_PER_DAY)
    while True:
        following = await database.read(closing.day_to_close)
        if following is None or following > day:
            return
        await closing.close_day(database, following, clock.at_ms, by="usr_op")


async def balance(database: Any, key: Any = REVENUE) -> int:
    found = await database.read(lambda conn: ledger.find_accounts(conn, [key]))
    return found[key].balance_micro_yuan if key in found else 0
