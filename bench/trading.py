"""Orders a second through the API's batch endpoint, durable, over SQLite and PostgreSQL.

    python bench/trading.py [--batches 40] [--size 1000]

Pairs of a seller and a buyer, each with instruments of their own, send batches in turn, so that
about half of the orders trade: each trade is a contract, with capacity and money set aside. One
pair shows what a batch takes; two at once, what a server does while others wait for the database.
The limits measured beside it in the same run: as many rows of orders written in bulk with one
commit a batch (what the database alone would take), and the same JSON parsed and validated (what
HTTP alone would).
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
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
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
"""Of eight cards each, for each seller: what the batches offer in an hour is there."""
BOOKS = 4
"""Of a pair."""
PAIRS = 2
WARM = 4
ZONES = ("henan", "gansu")


@dataclass(frozen=True, slots=True)
class Pair:
    seller: str
    """Token."""
    buyer: str
    site: Supply
    books: list[Instrument]


async def fill(settings: Settings) -> list[Pair]:
    """Sellers with sites as large as it takes, buyers with money."""
    context = make_context(settings)
    await first_start(context)
    bazaar = Bazaar(context.database, context.clock, outbox=context.outbox)  # type: ignore[arg-type]
    pairs = []
    for at, zone in enumerate(ZONES[:PAIRS]):
        tokens = []
        parties = [await bazaar.party(f"{name}-{at}", 1_000_000_000) for name in ("sells", "buys")]
        for party in parties:

            def token(tx: Tx, of: Party = party) -> str:
                principal = access.principal_of(tx.conn, people.user(tx.conn, of.user_id))
                return access.issue_token(tx, principal, name="bench", days=1).secret

            tokens.append(await context.database.write(token))
        site = await bazaar.site(parties[0], f"site-{at}", card_pool(nodes=NODES), zone)
        books = [bazaar.instrument(site, 30 + hour) for hour in range(BOOKS)]
        pairs.append(Pair(tokens[0], tokens[1], site, books))
    await context.database.close()
    return pairs


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


def batches(pair: Pair, count: int, size: int) -> list[bytes]:
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
                    "instrument": name_of(pair.books[at // 2 % BOOKS]),
                    "side": side,
                    "lots": dice.randrange(1, 3),
                    "price": {"micro_yuan": price},
                    "source": pair.site.source_id if side == "sell" else None,
                }
            )
        made.append(json.dumps({"orders": orders}).encode())
    return made


def api_rate(settings: Settings, pairs: list[Pair], count: int, size: int) -> dict[str, Any]:
    """Of all pairs at once; each waits for an answer before it goes on."""
    bodies = [batches(pair, count + WARM, size) for pair in pairs]

    def run(at: int, first: int, last: int) -> tuple[int, int]:
        refused = fills = 0
        pair = pairs[at]
        for number in range(first, last):
            who = pair.seller if number % 2 == 0 else pair.buyer
            path, body = "/v1/market/orders/batch", bodies[at][number]
            answers = json.loads(_call(settings.port, who, "POST", path, body))
            refused += sum(one["order"] is None for one in answers)
            fills += sum(len(one["fills"]) for one in answers)
        return refused, fills

    with served(settings), ThreadPoolExecutor(len(pairs)) as senders:
        each = range(len(pairs))
        list(senders.map(lambda at: run(at, 0, WARM), each))
        began = time.perf_counter()
        found = list(senders.map(lambda at: run(at, WARM, WARM + count), each))
        seconds = time.perf_counter() - began
    return {
        "orders_per_s": len(pairs) * count * size / seconds,
        "refused": sum(refused for refused, _ in found),
        "fills": sum(fills for _, fills in found),
    }


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
    found: dict[str, Any] = {}
    pairs = asyncio.run(fill(settings))
    alone = api_rate(settings, pairs[:1], count, size)
    together = api_rate(settings, pairs, count, size)
    bodies = batches(pairs[0], count, size)
    found |= {f"one_pair_{name}": value for name, value in alone.items()}
    found |= {f"two_pairs_{name}": value for name, value in together.items()}
    found["bare_rows_per_s"] = asyncio.run(bare_rate(settings, pairs[0].books[0], count, size))
    found["parsed_per_s"] = parse_rate(bodies, size)
    for name in ("one_pair", "two_pairs"):
        rate = found[f"{name}_orders_per_s"]
        found[f"{name}_of_bare_rows"] = rate / found["bare_rows_per_s"]
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
