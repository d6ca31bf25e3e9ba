"""1,000 redemptions at once against one budget, on both databases.

The claim: never overspent, no redemption lost, at a rate that the database's commits bound. Each
redemption is a charge of its own: usage priced, relief worked out, budget and grant drawn, one
entry posted. The limit measured in the same run is the bare database committing one small row at
a time, as many at once.

    python bench/vouchers.py [--redemptions 1000]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from billing_world import HOUR_0, POOL, PRICES, YUAN, run_of, usage_of
from components.postgres import PostgresServer, binaries
from manual_clock import ManualClock
from policy_world import USER, YEAR, document, profile_of, provider_of, request_of
from suanwang.grid.jobs.tables import share_usage
from suanwang.platform.clock import SystemRandom
from suanwang.platform.database import Tx, open_database
from suanwang.platform.migrations import migrate
from suanwang.platform.outbox import Outbox
from suanwang.trade.billing import reports
from suanwang.trade.billing import service as billing
from suanwang.trade.billing.model import UsageRecord, UsageRecorded
from suanwang.trade.ledger import service as ledger
from suanwang.trade.policy import redemption, service
from suanwang.trade.policy.model import Figures, Mode

PROJECTS = 50
SECONDS = 1_000
"""Of one core at a thousand micro-yuan: a charge of one yuan."""
PERCENT = 50
EACH = YUAN * PERCENT // 100


async def _rate(database: Any, use_cases: list[Callable[[Tx], Any]]) -> float:
    """All at once; commits a second."""
    began = time.perf_counter()
    await asyncio.gather(*(database.write(one) for one in use_cases))
    return len(use_cases) / (time.perf_counter() - began)


def _bare(tx: Tx, number: int) -> None:
    row = {"share_id": f"s{number}", "value": 1, "at_ms": 1}
    tx.conn.execute(sa.insert(share_usage), [row])


def _prepare(tx: Tx, mode: Mode, pool: int, programme_id: str) -> str:
    programme = msgspec.structs.replace(document("beijing-etown"), id=programme_id, mode=mode)
    service.publish(tx, programme, "usr_o")
    service.open_budget(tx, programme.id, YEAR, pool)
    service.put_profile(tx, provider_of(), verified_by="usr_o")
    service.put_profile(tx, profile_of(region="beijing/etown"), verified_by="usr_o")
    for number in range(PROJECTS):
        wanted = request_of(pool // YUAN * 2 // PROJECTS, contract=f"HT-{number}")
        made = service.apply(
            tx, programme.id, USER, f"prj_{programme_id}_{number}", "usr_1", wanted
        )
        service.grant(tx, made.id, "usr_o", Figures(percent=PERCENT))
    return billing.publish_prices(tx, POOL, PRICES)


def _usage(prices: str, count: int, programme_id: str) -> list[UsageRecord]:
    end_ms = HOUR_0 + SECONDS * 1_000
    return [
        usage_of(
            run_of(
                prices,
                lease_id=f"lea_{programme_id}_{n}",
                project_id=f"prj_{programme_id}_{n % PROJECTS}",
            ),
            HOUR_0,
            end_ms,
        )[0]
        for n in range(count)
    ]


async def _redeem(database: Any, mode: Mode, count: int, pool: int) -> float:
    programme_id = f"bench-{mode}"
    prepare = partial(_prepare, mode=mode, pool=pool, programme_id=programme_id)
    prices = await database.write(prepare)
    records = _usage(prices, count, programme_id)
    await database.write(lambda tx: billing.record_usage(tx, Outbox(), records))
    rate = await _rate(
        database,
        [
            partial(billing.charge, facts=[UsageRecorded(one)], relieve=redemption.relieve)
            for one in records
        ],
    )
    await _check(database, count, pool, programme_id)
    return rate


async def _plain(database: Any, count: int) -> float:
    """The same charges where nobody has a grant: what relief adds is the difference."""
    prices = await database.write(lambda tx: billing.publish_prices(tx, POOL, PRICES))
    end_ms = HOUR_0 + SECONDS * 1_000
    runs = [
        run_of(prices, lease_id=f"lea_plain_{n}", project_id=f"prj_plain_{n % PROJECTS}")
        for n in range(count)
    ]
    records = [usage_of(run, HOUR_0, end_ms)[0] for run in runs]
    await database.write(lambda tx: billing.record_usage(tx, Outbox(), records))
    charges = [
        partial(billing.charge, facts=[UsageRecorded(one)], relieve=redemption.relieve)
        for one in records
    ]
    return await _rate(database, charges)


async def _in_batches(database: Any, count: int) -> float:
    """As the outbox delivers: many facts in one transaction. Redemptions a second."""
    mode = Mode.VOUCHER
    programme_id = "batches"
    prices = await database.write(
        partial(_prepare, mode=mode, pool=count * EACH, programme_id=programme_id)
    )
    records = _usage(prices, count, programme_id)
    await database.write(lambda tx: billing.record_usage(tx, Outbox(), records))
    facts = [UsageRecorded(one) for one in records]
    began = time.perf_counter()
    for start in range(0, count, 500):
        part = facts[start : start + 500]
        charge = partial(billing.charge, facts=part, relieve=redemption.relieve)
        await database.write(charge)
    rate = count / (time.perf_counter() - began)
    await _check(database, count, count * EACH, programme_id)
    return rate


async def _check(database: Any, count: int, pool: int, programme_id: str) -> None:
    """Never overspent, nothing lost; the books agree and every currency sums to zero."""
    (budget,) = await database.read(lambda conn: service.budgets(conn, programme_id))
    due = min(count * EACH, pool)
    assert budget.redeemed_micro_yuan == due, (budget, due)
    assert budget.committed_micro_yuan <= pool
    grants = await database.read(lambda conn: service.grants(conn, programme_id=programme_id))
    assert sum(one.redeemed_micro_yuan for one in grants) == due
    programme = await database.read(lambda conn: redemption.checking.programme(conn, programme_id))
    owed = await database.read(lambda conn: redemption.owed(conn, programme))
    assert sum(owed.values()) == due
    assert await database.read(reports.verify) == []
    sums: dict[str, int] = {}
    for line in await database.read(ledger.trial_balance):
        sums[line.currency] = sums.get(line.currency, 0) + line.balance_micro_yuan
    assert not any(sums.values()), sums


async def measure(url: str, count: int) -> dict[str, float]:
    migrate(url)
    clock = ManualClock()
    clock.at_ms = HOUR_0
    database = open_database(url, clock, SystemRandom())
    figures: dict[str, float] = {}
    bare = [partial(_bare, number=n) for n in range(count)]
    figures["bare_commits_per_s"] = await _rate(database, bare)
    # half of what is asked for: the pool runs out under way
    half = count * EACH // 2
    figures["instant_deductions_per_s"] = await _redeem(database, Mode.INSTANT, count, half)
    whole = count * EACH
    figures["voucher_redemptions_per_s"] = await _redeem(database, Mode.VOUCHER, count, whole)
    figures["voucher_redemptions_in_batches_per_s"] = await _in_batches(database, 5 * count)
    figures["charges_without_a_programme_per_s"] = await _plain(database, count)
    await database.close()
    for name in ("instant_deductions", "voucher_redemptions"):
        figures[f"{name}_of_bare"] = figures[f"{name}_per_s"] / figures["bare_commits_per_s"]
    return {name: round(value, 3) for name, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--redemptions", type=int, default=1_000)
    given = parser.parse_args()
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/suan.db"
        found["sqlite"] = asyncio.run(measure(url, given.redemptions))
    for kind, folder_of in binaries().items():
        with PostgresServer(folder_of) as server:
            found[f"postgresql-{kind}"] = asyncio.run(measure(server.url, given.redemptions))
    for name in found["sqlite"]:
        row = "  ".join(f"{kind} {figures[name]:>9,.2f}" for kind, figures in found.items())
        print(f"{name:28} {row}")
    print(json.dumps({"bench": "vouchers", "python": platform.python_version(), **found}))


if __name__ == "__main__":
    main()
