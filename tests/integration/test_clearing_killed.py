"""A process that clears a round is killed (SIGKILL) at every step: the round is closed with all
that it had, or cleared with all that follows, and never anything between."""

from __future__ import annotations

import asyncio
import random as stdlib_random
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from auction_world import A100, FAR, Hall
from manual_clock import ManualClock
from suanwang.platform.database import PostgresDatabase, SqliteDatabase
from suanwang.platform.migrations import load_tables
from suanwang.trade.contracts.store import capacity, contracts
from suanwang.trade.ledger.store import accounts
from suanwang.trade.market import auctions
from suanwang.trade.market.auction_model import BidState, RoundState, ZoneLink
from suanwang.trade.market.auction_store import orders, prices
from trade_world import YUAN

TESTS = Path(__file__).parent.parent
MOST_STEPS = 400


@dataclass
class Filed(Hall):
    """A hall whose database another process opens, too."""

    url: str = ""


@pytest.fixture
async def hall(database_url: str, clock: ManualClock) -> AsyncIterator[Filed]:
    kind = SqliteDatabase if database_url.startswith("sqlite") else PostgresDatabase
    database: Any = kind(database_url, clock, stdlib_random.Random(1))
    load_tables().create_all(database.engine)
    yield Filed(database, clock, url=database_url)
    await database.close()


async def _state(hall: Filed) -> Any:
    """All that a clearing writes."""

    def query(conn: sa.Connection) -> Any:
        columns = (accounts.c.owner_id, accounts.c.held, accounts.c.balance)
        return [
            list(conn.execute(sa.select(table).order_by(*table.primary_key)))
            for table in (orders, prices, capacity, contracts)
        ] + [list(conn.execute(sa.select(*columns).order_by(accounts.c.id)))]

    return await hall.read(query)


async def test_no_step_leaves_a_round_between(hall: Filed) -> None:
    seller, firm = await hall.party("centre"), await hall.party("firm")
    far = await hall.party("far")
    pool = await hall.site(seller)
    cheap = await hall.site(far, "qingyang", zone="gansu")
    links = [ZoneLink("gansu", "henan", 2, YUAN)]
    await hall.write(lambda tx: auctions.set_links(tx, links))
    round_ = await hall.opened()
    for party, source, price in ((seller, pool, 9), (far, cheap, 2)):
        offer = {"side": "sell", "source": source.source_id, "curve": [{"lots": 4, "price": price}]}
        await hall.bid(party, round_, **offer)
    for product, price in ((A100, 10), (FAR, 5)):
        curve = [{"product": product, "lots": 4, "price": price}]
        await hall.bid(firm, round_, side="buy", curve=curve)
    await hall.shut(round_)
    before = await _state(hall)

    told = await _kill_at_each_step(hall, round_.id, before)

    assert told > 20, "the steps were not counted"
    ended = await hall.round(round_)
    assert ended.state is RoundState.CLEARED
    assert ended.cleared is not None
    assert ended.cleared.rent > 0
    found = await hall.read(lambda c: auctions.orders(c, [firm.project_id, seller.project_id]))
    assert {one.state for one in found} == {BidState.CLEARED}
    signed = await hall.contracts()
    assert (
        sum(one.buyer_held + one.rent_held + one.seller_held for one in signed) == await hall.held()
    )
    await hall.check()


async def _kill_at_each_step(hall: Filed, name: str, before: Any) -> int:
    """After each killing everything is as before; in the end one gets through. The steps."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(TESTS / "components" / "mortal_clearing.py"),
        hall.url,
        name,
        str(hall.clock.now_ms()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": str(TESTS), "PATH": ""},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        for step in range(MOST_STEPS):
            process.stdin.write(f"{step}\n".encode())
            told = (await process.stdout.readline()).decode().strip()
            if told == "cleared":
                return step
            assert told == "killed", told
            found = await hall.read(lambda conn: auctions.round_of(conn, name))
            assert found.state is RoundState.CLOSED
            assert await _state(hall) == before, f"killed before step {step}"
    finally:
        process.kill()
        await process.wait()
    raise AssertionError("it never got through")
