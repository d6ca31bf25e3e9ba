"""What thousands of contracts cost a round and a look at them.

    python bench/contracts.py [--contracts 10000] [--nodes 4000]

A pool of nodes with eight cards each. A tenth of the contracts run now, the others begin in the
week to come, for one to 24 hours each; one in ten of those that run is sold on in part for its
next hour. The limit in the same run: the same pool gathered with no contract at all. A look is
made once a minute, a round whenever work waits.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from contract_world import Place, sign
from suanwang.bootstrap import first_start, make_context
from suanwang.engines.scheduling.model import Policy
from suanwang.engines.scheduling.plan import plan
from suanwang.grid.jobs.delivery import look
from suanwang.grid.jobs.snapshot import gather
from suanwang.platform.database import Tx
from suanwang.platform.settings import Settings
from suanwang.trade.contracts.model import Contract, Party
from trade_world import CARDS, Bazaar, card_pool

ROUNDS = 5
RUNNING = 10
"""One contract in so many runs now."""
AHEAD_HOURS = 160
BATCH = 500


async def measured(context: Any, query: Callable[[Any, int], Any]) -> tuple[float, Any]:
    """Median processor time in milliseconds, and what was found."""
    seconds, found = [], None
    for _ in range(ROUNDS):
        now_ms = context.clock.now_ms()
        began = time.process_time()
        found = await context.database.read(lambda conn, at=now_ms: query(conn, at))
        seconds.append(time.process_time() - began)
    return 1_000 * statistics.median(seconds), found


async def run(settings: Settings, count: int, nodes: int) -> dict[str, Any]:
    context = make_context(settings)
    await first_start(context)
    bazaar = Bazaar(context.database, context.clock, outbox=context.outbox)  # type: ignore[arg-type]
    seller, buyer, other = [
        await bazaar.party(name, 2_000_000_000) for name in ("seller", "buyer", "other")
    ]
    supply = await bazaar.site(seller, pool=card_pool(nodes=nodes))
    place = Place(
        supply.site_id,
        supply.pool_id,
        nodes * CARDS,
        supply.product.unit_class,
        supply.product.zone,
    )
    dice = random.Random(1)
    policy = Policy()
    bare_ms, _ = await measured(context, lambda conn, now_ms: gather(conn, now_ms, policy))

    def some(tx: Tx, many: int) -> None:
        for at in range(many):
            begins = 0 if at % RUNNING == 0 else dice.randrange(1, AHEAD_HOURS)
            hours = dice.choice((1, 1, 1, 2, 4, 24))
            lots = dice.randrange(1, 4)
            one = sign(tx, place, buyer, seller, lots=lots, begins=begins, hours=hours + 1)
            if begins == 0 and at % (10 * RUNNING) == 0:
                sold_on(tx, one, buyer, other)

    def sold_on(tx: Tx, one: Contract, seller: Party, buyer: Party) -> None:
        sign(tx, place, buyer, seller, lots=1, begins=1, hours=1, backing=one)

    for start in range(0, count, BATCH):
        many = min(BATCH, count - start)
        await context.database.write(lambda tx, of=many: some(tx, of))
    gather_ms, gathered = await measured(context, lambda conn, now_ms: gather(conn, now_ms, policy))
    look_ms, seen = await measured(context, look)
    began = time.process_time()
    plan(gathered.snapshot, gathered.now_ms)
    plan_ms = 1_000 * (time.process_time() - began)
    await context.database.close()
    return {
        "gather_ms": round(gather_ms, 1),
        "bare_gather_ms": round(bare_ms, 1),
        "of_bare": round(gather_ms / bare_ms, 2),
        "look_ms": round(look_ms, 1),
        "plan_ms": round(plan_ms, 1),
        "running": len(seen.there),
        "parts": len(gathered.snapshot.pools) - 1,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--contracts", type=int, default=10_000)
    parser.add_argument("--nodes", type=int, default=4_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(state=folder, telemetry=False)
        found = asyncio.run(run(settings, args.contracts, args.nodes))
    told = {"bench": "contracts", "contracts": args.contracts, "nodes": args.nodes} | found
    print(json.dumps(told))


if __name__ == "__main__":
    main()
