"""The continuous market over both databases: orders, trades, contracts, money and capacity."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from manual_clock import ManualClock
from suanwang.engines.matching.order_book import Stay
from suanwang.kernel.errors import Conflict, InvalidInput
from suanwang.trade.catalogue.model import Period
from suanwang.trade.market import orders_store as store
from suanwang.trade.market import reading
from suanwang.trade.market.books import Books
from suanwang.trade.market.instruments import name_of
from suanwang.trade.market.model import OrderState
from trade_world import YUAN, Bazaar, buy, sell


@pytest.fixture
async def bazaar(any_database: Any, clock: ManualClock) -> Bazaar:
    return Bazaar(any_database, clock)


async def test_an_order_becomes_a_trade_a_contract_and_a_charge(bazaar: Bazaar) -> None:
    seller, buyer = await bazaar.party("centre"), await bazaar.party("firm")
    site = await bazaar.site(seller)
    hour = bazaar.instrument(site)
    (offered,) = await bazaar.place(seller, hour, sell(site, 6, 8))
    assert offered.order is not None
    assert offered.order.state is OrderState.OPEN
    assert await bazaar.account(seller) == (10_000 * YUAN, 4_800_000)
    assert await bazaar.pledged(site.source_id) == {hour.period.first_hour: 6}

    (taken,) = await bazaar.place(buyer, hour, buy(4, 10))
    assert taken.order is not None
    assert taken.order.state is OrderState.FILLED
    assert [(one.price, one.lots) for one in taken.trades] == [(8 * YUAN, 4)]
    (contract,) = await bazaar.contracts()
    assert (contract.lots, contract.price, contract.pool_id) == (4, 8 * YUAN, site.pool_id)
    assert taken.trades[0].contract_id == contract.id
    assert await bazaar.account(buyer) == (10_000 * YUAN, 32 * YUAN)
    await bazaar.check()

    bazaar.to_hour(hour.period.first_hour, past_s=30)
    await bazaar.expire_books()
    assert await bazaar.account(seller) == (10_000 * YUAN, 3_200_000)
    await bazaar.deliver({contract.id: 4})
    bazaar.to_hour(hour.period.end_hour, past_s=90)
    await bazaar.settle()
    assert await bazaar.account(buyer) == (9_968 * YUAN, 0)
    assert await bazaar.account(seller) == (10_000 * YUAN, 0)
    await bazaar.check()


async def test_what_is_refused_is_named_and_leaves_nothing_behind(bazaar: Bazaar) -> None:
    seller, poor = await bazaar.party("centre"), await bazaar.party("student", 5)
    site = await bazaar.site(seller)
    hour = bazaar.instrument(site)
    answers = await bazaar.place(
        poor,
        hour,
        buy(1, 6),
        buy(1, 4),
        buy(0, 4),
        buy(1, 4.0001),
        buy(1, None),
        buy(1, 4, Stay.WHOLE),
    )
    assert [one.reason for one in answers] == [
        "InsufficientFunds",
        None,
        "InvalidLots",
        "InvalidTick",
        "NoPrice",
        "InsufficientFunds",
    ]
    assert await bazaar.account(poor) == (5 * YUAN, 4 * YUAN)
    answers = await bazaar.place(seller, hour, sell(site, 5, 9), sell(site, 5, 9.5))
    assert [one.reason for one in answers] == [None, "CapacitySold"]
    assert (await bazaar.place(seller, hour, sell(site, 3, 4, Stay.MAKER)))[
        0
    ].reason == "WouldTrade"
    assert await bazaar.account(seller) == (10_000 * YUAN, 4_500_000)
    assert await bazaar.pledged(site.source_id) == {hour.period.first_hour: 5}
    with pytest.raises(InvalidInput, match="cannot sell from"):
        await bazaar.place(poor, hour, sell(site, 1, 3))
    far = replace(hour, period=Period(hour.period.first_hour, 2))
    with pytest.raises(InvalidInput, match="standard period"):
        await bazaar.place(poor, far, buy(1, 1))
    past = replace(hour, period=Period(bazaar.hour(0), 1))
    with pytest.raises(Conflict, match="has begun"):
        await bazaar.place(poor, past, buy(1, 1))
    await bazaar.check()


async def test_the_same_key_is_the_same_order(bazaar: Bazaar) -> None:
    buyer = await bazaar.party("firm")
    site = await bazaar.site(await bazaar.party("centre"))
    hour = bazaar.instrument(site)
    (first,) = await bazaar.place(buyer, hour, buy(1, 3, key="a"))
    again, twice, other = await bazaar.place(
        buyer, hour, buy(1, 3, key="a"), buy(1, 3, key="b"), buy(1, 3, key="b")
    )
    assert first.order is not None
    assert again.order is not None
    assert (again.repeated, again.order.id) == (True, first.order.id)
    assert (twice.reason, other.reason) == (None, "KeyTwice")
    assert await bazaar.account(buyer) == (10_000 * YUAN, 6 * YUAN)


async def test_cancelling_gives_everything_back_once(bazaar: Bazaar) -> None:
    seller = await bazaar.party("centre")
    site = await bazaar.site(seller)
    hour = bazaar.instrument(site)
    (placed,) = await bazaar.place(seller, hour, sell(site, 6, 8))
    assert placed.order is not None
    order_id = placed.order.id

    def cancel(tx: Any) -> Any:
        return bazaar.books.cancel(tx, reading.order(tx.conn, order_id))

    ended = await bazaar.write(cancel)
    assert (ended.state, ended.left) == (OrderState.CANCELLED, 0)
    with pytest.raises(Conflict, match="not in the book"):
        await bazaar.write(cancel)
    assert await bazaar.account(seller) == (10_000 * YUAN, 0)
    assert await bazaar.pledged(site.source_id) == {}


async def test_two_processes_match_as_one(bazaar: Bazaar) -> None:
    """Each has books of its own in memory; together they trade what one would."""
    seller = await bazaar.party("centre")
    site = await bazaar.site(seller)
    hour = bazaar.instrument(site)
    await bazaar.place(seller, hour, sell(site, 8, 5))
    buyers = [await bazaar.party(f"firm-{at}") for at in range(6)]
    other = Bazaar(bazaar.database, bazaar.clock, books=Books())
    processes = [bazaar, other]
    answers = await asyncio.gather(
        *(
            processes[at % 2].place(one, hour, buy(1, 5 + at % 2), buy(1, 6 + at % 2))
            for at, one in enumerate(buyers)
        )
    )
    traded = sum(trade.lots for batch in answers for one in batch for trade in one.trades)
    assert traded == 8
    assert sum(one.lots for one in await bazaar.contracts()) == 8
    left = await bazaar.read(lambda c: store.resting(c, name_of(hour)))
    assert sum(one.left for one in left) == 4
    await bazaar.check()


async def test_a_contract_is_sold_on_through_the_book(bazaar: Bazaar) -> None:
    seller, firm, school = (
        await bazaar.party("centre"),
        await bazaar.party("firm"),
        await bazaar.party("school"),
    )
    site = await bazaar.site(seller)
    hour = bazaar.instrument(site)
    await bazaar.place(seller, hour, sell(site, 8, 5))
    await bazaar.place(firm, hour, buy(8, 5))
    (held,) = await bazaar.contracts()
    (offered,) = await bazaar.place(firm, hour, sell(held.id, 3, 6))
    assert offered.reason is None
    await bazaar.place(school, hour, buy(3, 7))
    on = next(one for one in await bazaar.contracts() if one.id != held.id)
    assert (on.backing_id, on.price, on.pool_id) == (held.id, 6 * YUAN, site.pool_id)
    (more,) = await bazaar.place(firm, hour, sell(held.id, 6, 6))
    assert more.reason == "CapacitySold"
    bazaar.to_hour(hour.period.first_hour, past_s=30)
    await bazaar.deliver({held.id: 8, on.id: 3})
    bazaar.to_hour(hour.period.end_hour, past_s=90)
    await bazaar.settle()
    assert await bazaar.account(firm) == (9_960 * YUAN, 0)
    assert await bazaar.account(school) == (9_982 * YUAN, 0)
    await bazaar.check()
