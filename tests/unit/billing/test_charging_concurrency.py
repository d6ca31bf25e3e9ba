"""Charging on both databases with several workers, which deliver the same facts again and again."""

from __future__ import annotations

import asyncio

from billing_world import HOUR_0, HOUR_MS, POOL, PRICES, PROJECT, run_of, usage_of
from suanwang.platform.database import PostgresDatabase, SqliteDatabase
from suanwang.platform.outbox import Outbox
from suanwang.trade.billing import reports
from suanwang.trade.billing import service as billing
from suanwang.trade.billing.model import GroupBy, UsageRecorded
from suanwang.trade.ledger import service as ledger


async def test_parallel_charging_workers_charge_once(
    any_database: SqliteDatabase | PostgresDatabase,
) -> None:
    outbox = Outbox()
    billing.subscribe(outbox)
    prices = await any_database.write(lambda tx: billing.publish_prices(tx, POOL, PRICES))
    records = [
        usage_of(
            run_of(prices, lease_id=f"lea_{i}", job_id=f"job_{i % 3}"), HOUR_0, HOUR_0 + 1_000
        )[0]
        for i in range(120)
    ]
    accepted = await asyncio.gather(
        *(
            any_database.write(
                lambda tx, part=part: billing.record_usage(tx, outbox, part)  # type: ignore[misc]
            )
            for part in (records[:80], records[40:], records[::-1], records[20:100])
        )
    )
    assert sum(len(new) for new in accepted) == len(records)

    facts = [UsageRecorded(record) for record in records]
    await asyncio.gather(
        *(outbox.deliver(any_database, billing.CHARGE_SUBSCRIBER, limit=25) for _ in range(6)),
        *(
            any_database.write(lambda tx, part=part: billing.charge(tx, part))  # type: ignore[misc]
            for part in (facts[:50], facts[::-1], facts[30:])
        ),
    )
    while await outbox.deliver(any_database, billing.CHARGE_SUBSCRIBER, limit=50):
        pass
    assert await any_database.read(reports.verify) == []
    assert (await any_database.read(lambda c: ledger.funds(c, [PROJECT])))[PROJECT] == -120_000
    found = await any_database.read(lambda c: reports.statement(c, PROJECT, "2026-01", limit=2))
    assert found.charged_micro_yuan == 120_000
    assert [line.key for line in found.report.lines] == ["job_0", "job_1"]
    rest = await any_database.read(
        lambda c: reports.statement(c, PROJECT, "2026-01", after=found.report.next_after)
    )
    assert [line.key for line in rest.report.lines] == ["job_2"]
    assert rest.report.next_after is None


async def test_reports_agree_on_both_databases(
    any_database: SqliteDatabase | PostgresDatabase,
) -> None:
    outbox = Outbox()
    billing.subscribe(outbox)
    prices = await any_database.write(lambda tx: billing.publish_prices(tx, POOL, PRICES))
    records = usage_of(run_of(prices), HOUR_0, HOUR_0 + 20 * HOUR_MS + 1)
    await any_database.write(lambda tx: billing.record_usage(tx, outbox, records))
    await outbox.deliver(any_database, billing.CHARGE_SUBSCRIBER)
    for by in GroupBy:
        used = await any_database.read(
            lambda c, by=by: reports.usage_summary(  # type: ignore[misc]
                c, [PROJECT], HOUR_0, HOUR_0 + 100 * HOUR_MS, by=by
            )
        )
        assert sum(line.quantities.billable_seconds for line in used.lines) == 72_001
        assert sum(line.amount_micro_yuan for line in used.lines) == 72_001_000
    days = await any_database.read(
        lambda c: reports.statement(c, PROJECT, "2026-01", by=GroupBy.DAY, limit=1)
    )
    assert days.report.lines[0].key == "2026-01-01"
    assert days.report.lines[0].quantities.records == 16
    assert days.report.next_after == "2026-01-01"
    following = await any_database.read(
        lambda c: reports.statement(c, PROJECT, "2026-01", by=GroupBy.DAY, after="2026-01-01")
    )
    assert [line.key for line in following.report.lines] == ["2026-01-02"]
