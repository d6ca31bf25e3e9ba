"""The same services over SQLite and PostgreSQL: submission, rounds and reports by the second.

The claim: one code path serves both. Each is the other's peer; the limit measured beside them is
the bare database committing one small row at a time from as many threads.

    python bench/two_databases.py [--jobs 1000] [--users 8]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from components.postgres import PostgresServer, binaries
from jobs_world import Grid, pool, spec, wanted
from suanwang.grid.jobs.tables import share_usage
from suanwang.platform.clock import SystemClock, SystemRandom
from suanwang.platform.database import Tx, open_database
from suanwang.platform.migrations import migrate


async def _rate(work: Callable[[], Awaitable[object]], count: int, at_once: int) -> float:
    """Calls a second, `at_once` in flight."""
    left = iter(range(count))

    async def user() -> None:
        for _ in left:
            await work()

    began = time.perf_counter()
    await asyncio.gather(*(user() for _ in range(at_once)))
    return count / (time.perf_counter() - began)


async def measure(url: str, jobs: int, users: int) -> dict[str, float]:
    migrate(url)
    database = open_database(url, SystemClock(), SystemRandom())
    grid = await Grid(database, SystemClock()).found()
    book = await grid.site(pools=[pool(nodes=8, cpus=64)])
    figures: dict[str, float] = {}
    numbers = iter(range(10**9))

    async def bare() -> None:
        row = {"share_id": f"s{next(numbers)}", "value": 1, "at_ms": 1}

        def use_case(tx: Tx) -> None:
            tx.conn.execute(sa.insert(share_usage), [row])

        await database.write(use_case)

    figures["bare_commits_per_s"] = await _rate(bare, jobs, users)
    figures["single_submissions_per_s"] = await _rate(lambda: grid.submit(spec()), jobs, users)
    began = time.perf_counter()
    await grid.submit(*(spec() for _ in range(1_000)))
    figures["batched_submissions_per_s"] = 1_000 / (time.perf_counter() - began)
    began = time.perf_counter()
    await grid.submit(spec(array=10_000))
    figures["array_tasks_per_s"] = 10_000 / (time.perf_counter() - began)
    began, done = time.perf_counter(), 0
    while done < 4 * 512:
        await grid.dispatcher.round()
        orders = wanted(await book.poll())
        await book.finish(orders, seconds=1)
        done += len(orders)
    figures["leased_run_and_ended_per_s"] = done / (time.perf_counter() - began)
    began = time.perf_counter()
    facts = await grid.deliver()
    figures["charged_per_s"] = facts / (time.perf_counter() - began)
    wrong = await grid.violations()
    assert not wrong, wrong
    await database.close()
    return {name: round(value, 1) for name, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000)
    parser.add_argument("--users", type=int, default=8)
    given = parser.parse_args()
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        found["sqlite"] = asyncio.run(
            measure(f"sqlite:///{folder}/suan.db", given.jobs, given.users)
        )
    for kind, folder_of in binaries().items():
        with PostgresServer(folder_of) as server:
            found[f"postgresql-{kind}"] = asyncio.run(measure(server.url, given.jobs, given.users))
    for name in found["sqlite"]:
        row = "  ".join(f"{kind} {figures[name]:>9,.0f}" for kind, figures in found.items())
        print(f"{name:28} {row}")
    print(json.dumps({"bench": "two_databases", "python": platform.python_version(), **found}))


if __name__ == "__main__":
    main()
