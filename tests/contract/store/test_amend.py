"""Amending an order at rest, on both databases: what keeps its place, what loses it, what stays
as it was when the change is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from manual_clock import ManualClock
from suanwang.engines.matching.order_book import Stay
from suanwang.kernel.errors import Conflict, InvalidInput, SuanwangError
from suanwang.trade.contracts.model import Party
from suanwang.trade.market import amending, reading
from suanwang.trade.market.books import Books
from suanwang.trade.market.model import Amended, Order, OrderState
from talks_world import Talks
from trade_world import YUAN, buy, sell


@pytest.fixture
async def talks(any_database: Any, clock: ManualClock) -> Talks:
    return Talks(any_database, clock)


async def amend(
    talks: Talks, party: Party, order_id: str, books: Books | None = None, **change: Any
) -> Amended:
    if "yuan" in change:
        change["limit"] = int(change.pop("yuan") * YUAN)

    def use_case(tx: Any) -> Amended:
        found = reading.order(tx.conn, order_id)
        return amending.amend(tx, books or talks.books, party, found, **change)

    return await talks.write(use_case)


async def order(talks: Talks, order_id: str) -> Order:
    return await talks.read(lambda c: reading.order(c, order_id))


async def resting(talks: Talks, party: Party, hour: Any, *given: Any) -> list[str]:
    answers = await talks.place(party, hour, *given)
    return [one.order.id for one in answers if one.order is not None]


async def test_fewer_lots_keep_the_place(talks: Talks) -> None:
    firm, school, centre = [await talks.party(one) for one in ("firm", "school", "centre")]
    site = await talks.site(centre)
    hour = talks.instrument(site)
    (first,) = await resting(talks, firm, hour, buy(5, 6))
    (second,) = await resting(talks, school, hour, buy(5, 6))
    made = await amend(talks, firm, first, lots=3)
    assert made.kept_place
    assert made.answer.order is not None
    assert (made.answer.order.id, made.answer.order.lots, made.answer.order.left) == (first, 3, 3)
    assert await talks.account(firm) == (10_000 * YUAN, 18 * YUAN)
    await talks.check()
    # from the database as from memory
    for books in (talks.books, Books()):
        talks.books = books
        await talks.place(centre, hour, sell(site, 1, 6))
    assert [(await order(talks, one)).traded for one in (first, second)] == [2, 0]
    # what was traded is counted: of 3 lots 2 are gone
    again = await amend(talks, firm, first, lots=3)
    assert again.answer.order is not None
    assert (again.kept_place, again.answer.order.left) == (True, 1)
    with pytest.raises(Conflict, match="2 lots of the order are traded") as late:
        await amend(talks, firm, first, lots=2)
    assert (late.value.reason, late.value.field) == ("TradedAlready", "lots")
    await talks.check()


@pytest.mark.parametrize(
    "change", [{"lots": 6}, {"yuan": 5.5}, {"yuan": 6.5}, {"lots": 4, "yuan": 7}]
)
async def test_another_price_or_more_lots_lose_it(talks: Talks, change: dict[str, Any]) -> None:
    firm, school, centre = [await talks.party(one) for one in ("firm", "school", "centre")]
    site = await talks.site(centre)
    hour = talks.instrument(site)
    (first,) = await resting(talks, firm, hour, buy(5, 6))
    yuan = change.get("yuan", 6)
    (behind,) = await resting(talks, school, hour, buy(1, yuan))
    made = await amend(talks, firm, first, **dict(change))
    new = made.answer.order
    assert new is not None
    lots = change.get("lots", 5)
    assert (made.kept_place, new.left, new.limit) == (False, lots, int(yuan * YUAN))
    assert new.id != first
    ended = await order(talks, first)
    assert (ended.state, ended.why, ended.left) == (OrderState.CANCELLED, "Amended", 0)
    assert await talks.account(firm) == (10_000 * YUAN, int(lots * yuan * YUAN))
    await talks.place(centre, hour, sell(site, 1, yuan))
    assert [(await order(talks, one)).traded for one in (behind, new.id)] == [1, 0]
    await talks.check()


async def test_what_is_refused_changes_nothing(talks: Talks) -> None:
    poor, centre = await talks.party("poor", 20), await talks.party("centre")
    site = await talks.site(centre)
    hour = talks.instrument(site)
    (bid,) = await resting(talks, poor, hour, buy(2, 6))
    (ask,) = await resting(talks, centre, hour, sell(site, 6, 9, Stay.MAKER))
    (own,) = await resting(talks, centre, hour, sell(site, 2, 12))
    before = await talks.account(poor), await talks.account(centre)
    for party, one, change, reason in (
        (poor, bid, {"lots": 4}, "InsufficientFunds"),
        (poor, bid, {"lots": 0}, "InvalidLots"),
        (poor, bid, {"lots": -3}, "InvalidLots"),
        (poor, bid, {"yuan": 6.0001}, "InvalidTick"),
        (poor, bid, {"yuan": 0}, "InvalidPrice"),
        (centre, ask, {"lots": 7}, "CapacitySold"),
        (centre, ask, {"yuan": 5}, "WouldTrade"),
    ):
        with pytest.raises(SuanwangError) as refused:
            await amend(talks, party, one, **change)
        assert refused.value.reason == reason
        assert isinstance(refused.value, InvalidInput | Conflict)
    assert before == (await talks.account(poor), await talks.account(centre))
    assert [(await order(talks, one)).state.value for one in (bid, ask, own)] == ["open"] * 3
    # money that is set aside already serves: 20 yuan are enough for what costs 20
    dearer = await amend(talks, poor, bid, yuan=8.999)
    assert dearer.answer.order is not None
    bid = dearer.answer.order.id
    await talks.write(lambda tx: talks.books.steer(tx, hour, halted=True))
    with pytest.raises(Conflict) as halted:
        await amend(talks, poor, bid, yuan=5)
    assert halted.value.reason == "Halted"
    assert (await amend(talks, poor, bid, lots=1)).kept_place
    await talks.check()
    talks.to_hour(hour.period.first_hour)
    await talks.expire_books()
    with pytest.raises(Conflict, match="not in the book"):
        await amend(talks, poor, bid, lots=1)


async def test_a_dearer_bid_trades_at_once(talks: Talks) -> None:
    firm, centre = await talks.party("firm"), await talks.party("centre")
    site = await talks.site(centre)
    hour = talks.instrument(site)
    (bid,) = await resting(talks, firm, hour, buy(5, 6))
    await talks.place(centre, hour, sell(site, 3, 8))
    made = await amend(talks, firm, bid, yuan=8.5)
    assert [(one.price, one.lots) for one in made.answer.trades] == [(8 * YUAN, 3)]
    assert made.answer.order is not None
    assert (made.answer.order.traded, made.answer.order.left) == (3, 2)
    # with oneself not even so
    (own,) = await resting(talks, centre, hour, buy(1, 5))
    await talks.place(centre, hour, sell(site, 1, 9))
    stopped = await amend(talks, centre, own, yuan=9)
    assert stopped.answer.order is not None
    assert (stopped.answer.order.state, stopped.answer.order.why) == (
        OrderState.CANCELLED,
        "SelfTrade",
    )
    await talks.check()


async def test_a_change_that_is_sent_again_is_made_once(talks: Talks) -> None:
    firm = await talks.party("firm")
    site = await talks.site(await talks.party("centre"))
    hour = talks.instrument(site)
    (bid,) = await resting(talks, firm, hour, buy(5, 6))
    first = await amend(talks, firm, bid, yuan=7, key="once")
    # by another process, after a restart
    again = await amend(talks, firm, bid, Books(), yuan=7, key="once")
    assert first.answer.order is not None
    assert again.answer.order is not None
    assert (again.answer.order.id, again.answer.repeated) == (first.answer.order.id, True)
    with pytest.raises(Conflict, match="not in the book"):
        await amend(talks, firm, bid, yuan=7)
    assert await talks.account(firm) == (10_000 * YUAN, 35 * YUAN)


async def test_changes_fills_and_cancels_at_once(talks: Talks) -> None:
    """Whichever comes first: nothing is traded twice, nothing is left set aside."""
    firm, centre = await talks.party("firm"), await talks.party("centre")
    site = await talks.site(centre)
    for ahead in range(5, 11):
        hour = talks.instrument(site, ahead)
        (bid,) = await resting(talks, firm, hour, buy(6, 6))
        books = [Books() for _ in range(4)]

        def cancel(tx: Any, one: str = bid, by: Books = books[0]) -> Any:
            return by.cancel(tx, reading.order(tx.conn, one))

        found = await asyncio.gather(
            amend(talks, firm, bid, books[1], lots=4),
            amend(talks, firm, bid, books[2], yuan=7),
            talks.place(centre, hour, sell(site, 3, 6)),
            talks.write(cancel),
            return_exceptions=True,
        )
        assert all(not isinstance(one, Exception) or isinstance(one, Conflict) for one in found)
        await talks.check()
    for one in await talks.read(lambda c: reading.orders(c, [firm.project_id])):
        assert one.traded + one.left <= one.lots
