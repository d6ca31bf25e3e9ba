"""Orders a second through the API's batch endpoint, durable, over SQLite and PostgreSQL.

    python bench/trading.py [--batches 40] [--size 1000]

A seller and a buyer send batches in turn to four instruments, so that about half of the orders
trade: each trade is a contract, with capacity and money set aside. The limits measured beside it
in the same run: as many rows of orders written in bulk with one commit a batch (what the database
alone would take), and the same JSON parsed and validated (what HTTP alone would).
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from components.ports import reserve_ports
from components.postgres import PostgresServer, binaries
from rig import SERVE
from suanwang.bootstrap import first_start, make_context
from suanwang.edge.api.views_market import BatchRequest
from suanwang.engines.matching.model import Side
from suanwang.engines.matching.order_book import Stay
from suanwang.platform.database import Tx
from suanwang.platform.settings import Settings
from suanwang.tenancy import access, people
from suanwang.trade.contracts.model import Party
from suanwang.trade.market import orders_store
from suanwang.trade.market.instruments import name_of
from suanwang.trade.market.model import Instrument, Order, OrderState, Supply
from trade_world import Bazaar, card_pool

NODES = 4_000
"""Of eight cards each: what the batches offer in an hour is there."""
BOOKS = 4
WARM = 4


async def fill(settings: Settings) -> tuple[dict[str, str], Supply, list[Instrument]]:
    """A seller with a site as large as it takes, a buyer with money; tokens by name."""
    context = make_context(settings)
    await first_start(context)
    bazaar = Bazaar(context.database, context.clock, outbox=context.outbox)  # type: ignore[arg-type]
    tokens = {}
    parties = {}
    for name in ("seller", "buyer"):
        parties[name] = party = await bazaar.party(name, 1_000_000_000)

        def token(tx: Tx, of: Party = party) -> str:
            principal = access.principal_of(tx.conn, people.user(tx.conn, of.user_id))
            return access.issue_token(tx, principal, name="bench", days=1).secret

        tokens[name] = await context.database.write(token)
    site = await bazaar.site(parties["seller"], pool=card_pool(nodes=NODES))
    await context.database.close()
    return tokens, site, [bazaar.instrument(site, 30 + at) for at in range(BOOKS)]


@contextmanager
def served(settings: Settings) -> Iterator[None]:
    import msgspec

    words = [sys.executable, "-c", SERVE, msgspec.json.encode(settings).decode()]
    with subprocess.Popen(words, env=os.environ) as process:
        try:
            for _ in range(300):
                try:
                    _call(settings.port, "", "GET", "/healthz")
                    break
                except OSError:
                    time.sleep(0.1)
            yield
        finally:
            process.terminate()


def _call(port: int, token: str, method: str, path: str, body: bytes = b"") -> bytes:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    link.request(method, path, body, headers)
    answer = link.getresponse()
    told = answer.read()
    link.close()
    if answer.status >= 400:
        raise RuntimeError(told.decode())
    return told


def batches(site: Supply, books: list[Instrument], count: int, size: int) -> list[bytes]:
    """In turn the seller's and the buyer's, each for one instrument, prices around ten yuan."""
    dice = random.Random(1)
    made = []
    for at in range(count):
        side = "sell" if at % 2 == 0 else "buy"
        orders: list[dict[str, Any]] = []
        for _ in range(size):
            price = 10_000_000 + dice.randrange(-400, 401) * 1_000
            orders.append(
                {
                    "instrument": name_of(books[at // 2 % len(books)]),
                    "side": side,
                    "lots": dice.randrange(1, 3),
                    "price": {"micro_yuan": price},
                    "source": site.source_id if side == "sell" else None,
                }
            )
        made.append(json.dumps({"orders": orders}).encode())
    return made


def api_rate(settings: Settings, tokens: dict[str, str], bodies: list[bytes], size: int) -> Any:
    began, refused, fills = 0.0, 0, 0
    with served(settings):
        for at, body in enumerate(bodies):
            if at == WARM:
                began = time.perf_counter()
            who = tokens["seller" if at % 2 == 0 else "buyer"]
            answers = json.loads(_call(settings.port, who, "POST", "/v1/market/orders/batch", body))
            refused += sum(one["order"] is None for one in answers)
            fills += sum(len(one["fills"]) for one in answers)
        seconds = time.perf_counter() - began
    count = (len(bodies) - WARM) * size
    return {"orders_per_s": count / seconds, "refused": refused, "fills": fills}


def parse_rate(bodies: list[bytes], size: int) -> float:
    began = time.perf_counter()
    for body in bodies:
        BatchRequest.model_validate_json(body)
    return len(bodies) * size / (time.perf_counter() - began)


async def bare_rate(settings: Settings, book: Instrument, batches: int, size: int) -> float:
    """Rows of orders alone, a commit a batch."""
    context = make_context(settings)
    party = Party("org_bench", "prj_bench", "usr_bench")

    def use_case(tx: Tx) -> None:
        new = [
            Order(
                id=tx.ids.new("ord"),
                instrument=book,
                party=party,
                side=Side.BUY,
                limit=1,
                lots=1,
                left=0,
                traded=1,
                stay=Stay.REST,
                state=OrderState.FILLED,
                why="",
                source_id=None,
                pool_id=None,
                site_id=None,
                held_per_lot=1,
                sequence=0,
                placed_at_ms=tx.now_ms,
                ended_at_ms=tx.now_ms,
                key=None,
            )
            for _ in range(size)
        ]
        orders_store.insert_orders(tx.conn, new)

    began = time.perf_counter()
    for _ in range(batches):
        await context.database.write(use_case)
    seconds = time.perf_counter() - began
    await context.database.close()
    return batches * size / seconds


def measure(settings: Settings, count: int, size: int) -> dict[str, Any]:
    tokens, site, books = asyncio.run(fill(settings))
    bodies = batches(site, books, count + WARM, size)
    found: dict[str, Any] = api_rate(settings, tokens, bodies, size)
    found["bare_rows_per_s"] = asyncio.run(bare_rate(settings, books[0], count, size))
    found["parsed_per_s"] = parse_rate(bodies, size)
    found["of_bare_rows"] = found["orders_per_s"] / found["bare_rows_per_s"]
    return {
        name: round(value, 3 if value < 10 else 0) if isinstance(value, float) else value
        for name, value in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--size", type=int, default=1_000)
    args = parser.parse_args()
    quick = {"rate_limit_per_s": 1e6, "rate_limit_burst": 1_000_000, "telemetry": False}
    found: dict[str, Any] = {"bench": "trading", "size": args.size, "target_per_s": 5_000}
    with tempfile.TemporaryDirectory() as folder:
        [port] = reserve_ports(1)
        settings = Settings(state=folder, port=port, **quick)  # type: ignore[arg-type]
        found["sqlite"] = measure(settings, args.batches, args.size)
    for kind, programs in binaries().items():
        with tempfile.TemporaryDirectory() as folder, PostgresServer(programs) as server:
            [port] = reserve_ports(1)
            settings = Settings(state=folder, port=port, database=server.url, **quick)  # type: ignore[arg-type]
            found[f"postgresql-{kind}"] = measure(settings, args.batches, args.size)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
