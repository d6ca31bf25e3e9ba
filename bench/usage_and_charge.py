"""CPU time that a finished job costs in usage and charge, on SQLite.

The claim: at most 150 microseconds a job, in batches as they come under load. The limit measured
beside it: Python's own sqlite3 writing the same rows (usage, fact, charge, entry, two postings)
into the same tables, with nothing decided and nothing checked.

    python bench/usage_and_charge.py [--jobs 10000] [--batch 500]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sqlite3
import tempfile
import time
from pathlib import Path

import msgspec

from suanwang.engines.scheduling.model import Prices
from suanwang.kernel.resources import Resources
from suanwang.platform.clock import SystemClock, SystemRandom
from suanwang.platform.database import InlineDatabase
from suanwang.platform.outbox import Outbox, outbox
from suanwang.platform.schema import metadata
from suanwang.trade.billing import reports, rules
from suanwang.trade.billing import service as billing
from suanwang.trade.billing.model import Run, UsageRecord, UsageRecorded
from suanwang.trade.billing.store import charges, usage
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.store import entries, postings

PROJECTS = [f"prj_{i:018d}" for i in range(10)]


def records_of(job: int, price_list_id: str, now_ms: int) -> list[UsageRecord]:
    run = Run(
        lease_id=f"lea_{job:018d}",
        epoch=1,
        task_id=f"tsk_{job:018d}",
        job_id=f"job_{job // 10:018d}",
        organisation_id="org_000000000000000001",
        project_id=PROJECTS[job % len(PROJECTS)],
        user_id="usr_000000000000000001",
        provider_organisation_id="org_000000000000000002",
        site_id="ste_000000000000000001",
        pool_id="pol_000000000000000001",
        price_list_id=price_list_id,
        resources=Resources(1_000, 1_024),
        members=1,
        granted_at_ms=now_ms - 5_000,
        held_micro_yuan=100,
        max_billable_s=3_600,
    )
    return rules.usage_of_run(
        run, started_at_ms=now_ms - 3_000, ended_at_ms=now_ms - 1_000, known_at_ms=now_ms
    )


async def ours(folder: Path, jobs: int, batch: int) -> float:
    """Seconds of CPU for all jobs."""
    clock = SystemClock()
    database = InlineDatabase(clock, SystemRandom(), url=f"sqlite:///{folder / 'ours.db'}")
    facts = Outbox()
    billing.subscribe(facts)
    metadata.create_all(database.engine)
    prices = database.write_now(lambda tx: billing.publish_prices(tx, "pol", Prices(50_000, 9_000)))
    accounts = database.write_now(lambda tx: ledger.project_accounts(tx, PROJECTS))
    database.write_now(lambda tx: ledger.hold(tx, dict.fromkeys(accounts.values(), 100 * jobs)))
    now_ms = clock.now_ms()
    began = time.process_time()
    for start in range(0, jobs, batch):
        records = [
            record
            for job in range(start, min(jobs, start + batch))
            for record in records_of(job, prices, now_ms)
        ]
        await database.write(lambda tx, part=records: billing.record_usage(tx, facts, part))  # type: ignore[misc]
        await facts.deliver(database, billing.CHARGE_SUBSCRIBER)
    spent = time.process_time() - began
    wrong = await database.read(reports.verify)
    assert not wrong, wrong
    await database.close()
    return spent


def bare(folder: Path, jobs: int, batch: int) -> float:
    """The same rows through sqlite3's executemany; seconds of CPU."""
    database = InlineDatabase(SystemClock(), SystemRandom(), url=f"sqlite:///{folder / 'bare.db'}")
    metadata.create_all(database.engine)
    database.engine.dispose()
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    insert = {
        table.name: f"INSERT INTO {table.name} ({', '.join(c.name for c in table.columns)}) "
        f"VALUES ({', '.join('?' * len(table.columns))})"
        for table in (usage, outbox, charges, entries, postings)
    }
    spent = 0.0
    for start in range(0, jobs, batch):
        found = [
            records_of(job, "prl", 1_767_225_600_000)[0] for job in range(start, start + batch)
        ]
        began = time.process_time()
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(insert["usage_records"], map(msgspec.structs.astuple, found))
        facts = [
            (None, "s", "t", msgspec.msgpack.encode(UsageRecorded(record)), 1) for record in found
        ]
        connection.executemany(insert["outbox"], facts)
        connection.execute("COMMIT")
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            insert["charges"],
            [(r.source, r.id, r.project_id, r.provider_organisation_id, 1, 14, 0) for r in found],
        )
        connection.executemany(
            insert["ledger_entries"],
            [
                (f"ent_{r.lease_id}", f"charge:{r.source}/{r.id}", "c", 1, 1, "", None)
                for r in found
            ],
        )
        connection.executemany(
            insert["postings"],
            [
                (account, 1, f"ent_{record.lease_id}", "charge", amount)
                for record in found
                for account, amount in ((record.project_id, -14), ("acc_revenue", 14))
            ],
        )
        connection.execute("DELETE FROM outbox")
        connection.execute("COMMIT")
        spent += time.process_time() - began
    connection.close()
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=500)
    given = parser.parse_args()
    jobs = given.jobs // given.batch * given.batch
    with tempfile.TemporaryDirectory() as folder:
        limit = bare(Path(folder), jobs, given.batch) / jobs * 1e6
        mine = asyncio.run(ours(Path(folder), jobs, given.batch)) / jobs * 1e6
    print(f"usage and charge  {mine:6.1f} µs of CPU a job, batches of {given.batch}")
    print(f"rows alone        {limit:6.1f} µs")
    print(f"ratio             {mine / limit:6.2f}")
    figures = {
        "bench": "usage_and_charge",
        "jobs": jobs,
        "batch": given.batch,
        "us_per_job": round(mine, 1),
        "rows_us_per_job": round(limit, 1),
        "ratio": round(mine / limit, 2),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
