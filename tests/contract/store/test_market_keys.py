"""Keys of callers over both databases: once, whoever comes, and never another thing's answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from auction_world import A100
from manual_clock import ManualClock
from suanwang.engines.matching.model import Side
from suanwang.kernel.errors import Conflict
from suanwang.platform.database import Tx
from suanwang.trade.billing.rules import day_of
from suanwang.trade.catalogue.model import Period
from suanwang.trade.market import auctions, listings
from suanwang.trade.market.auction_bids import parse
from suanwang.trade.market.auctions import Timetable
from suanwang.trade.market.books import Books
from suanwang.trade.market.listings import ListingGiven
from talks_world import Talks
from trade_world import YUAN, Bazaar, buy, sell


@pytest.fixture
async def talks(any_database: Any, clock: ManualClock) -> Talks:
    return Talks(any_database, clock)


async def test_a_key_sent_many_times_at_once_is_one_order(talks: Talks) -> None:
    firm = await talks.party("firm")
    site = await talks.site(await talks.party("centre"))
    hour = talks.instrument(site)
    processes = [Bazaar(talks.database, talks.clock, books=Books()) for _ in range(3)]
    found = await asyncio.gather(
        *(processes[at % 3].place(firm, hour, buy(1, 3, key="once")) for at in range(12))
    )
    told = [answer.order.id for (answer,) in found if answer.order is not None]
    assert (len(told), len(set(told))) == (12, 1)
    assert sum(not answer.repeated for (answer,) in found) == 1
    assert await talks.account(firm) == (10_000 * YUAN, 3 * YUAN)


async def test_a_key_of_one_thing_is_refused_for_another(talks: Talks) -> None:
    """A caller who mixes his keys up is told so, and not shown something that he did not ask."""
    seller, firm = await talks.party("centre"), await talks.party("firm")
    site = await talks.site(seller)
    hour, later = talks.instrument(site), talks.instrument(site, 6)
    await talks.place(firm, hour, buy(1, 3, key="k"))
    (other,) = await talks.place(firm, later, buy(1, 3, key="k"))
    assert (other.order, other.reason, other.field) == (None, "KeyReused", "key")
    (sold,) = await talks.place(firm, hour, sell("con_any", 1, 3, key="k"))
    assert sold.reason == "KeyReused"
    # the same order with another price or size is still that order: it may have been sent again
    # by a program that lost its answer and reckons anew
    (again,) = await talks.place(firm, hour, buy(2, 4, key="k"))
    assert again.repeated

    window = Period(talks.hour(2), 4)
    given = ListingGiven(site.source_id, window, 2, 9 * YUAN)
    one, two = [await talks.write(lambda tx: listings.post(tx, seller, given)) for _ in range(2)]
    await talks.write(lambda tx: listings.buy(tx, firm, one.id, window, 1, key="p"))
    with pytest.raises(Conflict, match="another listing") as reused:
        await talks.write(lambda tx: listings.buy(tx, firm, two.id, window, 1, key="p"))
    assert (reused.value.reason, reused.value.field) == ("KeyReused", "key")

    school = await talks.party("school")
    await talks.propose(firm, Side.BUY, seller, talks.proposal(site), key="d")
    with pytest.raises(Conflict, match="another deal"):
        await talks.propose(firm, Side.BUY, school, talks.proposal(site), key="d")

    rounds = [await talks.write(lambda tx, d=day: _opened(tx, d)) for day in (3, 4)]
    bid = parse({"side": "buy", "curve": [{"product": A100, "lots": 1, "price": 1}]})
    await talks.write(lambda tx: auctions.place(tx, firm, rounds[0], bid, key="a"))
    with pytest.raises(Conflict, match="another round"):
        await talks.write(lambda tx: auctions.place(tx, firm, rounds[1], bid, key="a"))
    await talks.check()


def _opened(tx: Tx, ahead: int) -> str:
    day = auctions.day_text(day_of(tx.now_ms) + ahead)
    return auctions.open_round(tx, day, Timetable()).id


async def test_a_key_belongs_to_its_project(talks: Talks) -> None:
    firm, other = await talks.party("firm"), await talks.party("other")
    site = await talks.site(await talks.party("centre"))
    hour = talks.instrument(site)
    (mine,) = await talks.place(firm, hour, buy(1, 3, key="k"))
    (his,) = await talks.place(other, hour, buy(1, 3, key="k"))
    assert mine.order is not None
    assert his.order is not None
    assert (his.repeated, his.order.id != mine.order.id) == (False, True)


async def test_one_day_opened_by_two_at_once_is_one_round(talks: Talks) -> None:
    found = await asyncio.gather(
        *(talks.write(lambda tx: _opened(tx, 5)) for _ in range(6)), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in found) == ["Conflict"] * 5 + ["str"]
