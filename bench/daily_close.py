"""Time to close a day of ten million postings, on PostgreSQL.

The claim: at most 60 seconds, with a digest of every posting and a trial balance that sums to
zero. The limit measured beside it: a bare `SELECT sum(amount)` over the same rows, cold and warm
alike. Booking goes on meanwhile: a writer posts to the next day all the time, and the longest
that one of its transactions took is told.

    python bench/daily_close.py [--postings 10000000] [--accounts 2000]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
import time
from pathlib import Path

import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from components.postgres import PostgresServer, binaries
from suanwang.platform.clock import SystemClock, SystemRandom
from suanwang.platform.database import PostgresDatabase, Tx
from suanwang.platform.migrations import migrate
from suanwang.trade.billing.rules import day_of
from suanwang.trade.ledger import service as ledger
from suanwang.trade.settlement import closing, rules

FILL = """
INSERT INTO accounts SELECT 'acc_' || lpad(i::text, 18, '0'),
  CASE WHEN i = 0 THEN 'platform' ELSE 'project' END, 'own_' || lpad(i::text, 18, '0'),
  CASE WHEN i = 0 THEN 'fees' WHEN i <= {providers} THEN 'revenue' ELSE 'prepaid' END,
  'CNY', 'credit', 0, 0, 0, 1, {from_ms} FROM generate_series(0, {accounts}) AS i;
INSERT INTO ledger_entries SELECT 'ent_' || lpad(i::text, 18, '0'), 'charge:bench/' || i,
  'charge', {from_ms} + i::bigint * 86400000 / {entries}, {from_ms}, '', NULL
  FROM generate_series(0, {entries} - 1) AS i;
INSERT INTO postings SELECT 'acc_' || lpad(account::text, 18, '0'),
  {from_ms} + i::bigint * 86400000 / {entries}, 'ent_' || lpad(i::text, 18, '0'), 'charge', amount
  FROM generate_series(0, {entries} - 1) AS i, LATERAL (VALUES
    ({providers} + 1 + mod(i, {accounts} - {providers}), -1000000 - mod(i, 977)),
    (1 + mod(i, {providers}), 900000 + mod(i, 977)), (0, 100000)) AS posted (account, amount);
UPDATE accounts a SET balance = p.sum FROM (SELECT account_id, sum(amount) AS sum FROM postings
  GROUP BY 1) p WHERE p.account_id = a.id;
ANALYZE;
"""


def fill(database: PostgresDatabase, day: int, count: int, accounts: int) -> int:
    """Charges, each with three postings, evenly over the day; how many postings."""
    entries = count // 3
    sql = FILL.format(
        from_ms=rules.start_of(day),
        entries=entries,
        accounts=accounts,
        providers=max(1, accounts // 20),
    )
    with database.engine.begin() as connection:
        for statement in sql.split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement)
    return 3 * entries


def bare(database: PostgresDatabase, day: int) -> float:
    """Seconds of the sum alone."""
    query = sa.text("SELECT sum(amount) FROM postings WHERE at_ms >= :a AND at_ms < :b")
    began = time.perf_counter()
    span = {"a": rules.start_of(day), "b": rules.start_of(day + 1)}
    total = database.read_now(lambda conn: conn.execute(query, span).scalar_one())
    assert total == 0
    return time.perf_counter() - began


async def booking(database: PostgresDatabase, stop: asyncio.Event) -> list[float]:
    """A top-up after the other until told to stop; seconds of each."""
    spent = []
    while not stop.is_set():
        began = time.perf_counter()

        def pay(tx: Tx, number: int = len(spent)) -> None:
            ledger.top_up(tx, "prj_beside", 1_000_000, key=str(number))

        await database.write(pay)
        spent.append(time.perf_counter() - began)
        await asyncio.sleep(0.02)
    return spent


async def measure(url: str, postings: int, accounts: int) -> dict[str, object]:
    migrate(url)
    clock = SystemClock()
    database = PostgresDatabase(url, clock, SystemRandom())
    day = day_of(clock.now_ms()) - 1
    began = time.perf_counter()
    count = fill(database, day, postings, accounts)
    filled = time.perf_counter() - began
    limits = [bare(database, day) for _ in range(3)]
    stop = asyncio.Event()
    beside = asyncio.create_task(booking(database, stop))
    began = time.perf_counter()
    made = await closing.close_day(database, day, clock.now_ms(), by="bench")
    seconds = time.perf_counter() - began
    stop.set()
    waits = await beside
    began = time.perf_counter()
    again = await database.read(lambda conn: closing.recount(conn, day))
    recounted = time.perf_counter() - began
    assert again.digest == made.digest
    assert made.postings == count
    await database.close()
    return {
        "bench": "daily_close",
        "postings": count,
        "accounts": accounts,
        "close_s": round(seconds, 2),
        "recount_s": round(recounted, 2),
        "bare_sum_s": round(min(limits), 2),
        "ratio_to_bare_sum": round(seconds / min(limits), 1),
        "postings_per_s": round(count / seconds),
        "of_60_s": round(seconds / 60, 3),
        "booked_meanwhile": len(waits),
        "longest_booking_ms": round(1000 * max(waits), 1),
        "filled_s": round(filled, 1),
        "machine": platform.machine(),
        "python": platform.python_version(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--postings", type=int, default=10_000_000)
    parser.add_argument("--accounts", type=int, default=2_000)
    given = parser.parse_args()
    found = binaries()
    with PostgresServer(found.get("debian") or found["wheel"]) as server:
        print(json.dumps(asyncio.run(measure(server.url, given.postings, given.accounts))))


if __name__ == "__main__":
    main()
