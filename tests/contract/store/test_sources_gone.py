"""What is offered from a source that is gone ends, by name, and is never sold; on both databases.

A source is gone when the contract behind it ended, or when its pool left, shrank below what is
pledged of it or became another product's.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from auction_world import A100, SMALL
from manual_clock import ManualClock
from suanwang.engines.matching.order_book import Stay
from suanwang.grid.sites import service as sites
from suanwang.kernel.errors import Conflict, StaleWrite
from suanwang.platform.database import Tx
from suanwang.trade.billing.rules import day_of
from suanwang.trade.catalogue.model import Period
from suanwang.trade.contracts import service as contracts
from suanwang.trade.contracts.model import Contract, Party
from suanwang.trade.market import auction_clearing, auctions, deals, leaving, listings, reading
from suanwang.trade.market.auction_bids import parse
from suanwang.trade.market.auction_clearing import Auctioneer
from suanwang.trade.market.auction_model import BidState, RoundState
from suanwang.trade.market.auctions import Timetable
from suanwang.trade.market.deals_model import DealState
from suanwang.trade.market.listings import ListingGiven
from suanwang.trade.market.model import Instrument, ListingState, Order, OrderState, Supply
from suanwang.trade.market.quotations_model import QuoteState
from talks_world import Talks
from trade_world import YUAN, buy, card_pool, sell

LOTS = 8


@dataclass
class Trade:
    """A seller with a pool, a firm that bought all of it for three days, and who buys from it."""

    talks: Talks
    centre: Party
    firm: Party
    school: Party
    site: Supply
    held: Contract
    hour: Instrument

    async def order(self, answer: Any) -> Order:
        return await self.talks.read(lambda c: reading.order(c, answer.order.id))

    async def withdraw(self) -> None:
        await self.talks.write(lambda tx: leaving.withdraw(tx, self.talks.books, self.held.id))

    def auctioneer(self) -> Auctioneer:
        return Auctioneer(self.talks.database, self.talks.clock, Timetable(), effort=SMALL)


@pytest.fixture
async def trade(any_database: Any, clock: ManualClock) -> Trade:
    talks = Talks(any_database, clock)
    centre, firm, school = [await talks.party(one) for one in ("centre", "firm", "school")]
    site = await talks.site(centre)
    window = Period(talks.hour(3), 72)
    given = ListingGiven(site.source_id, window, LOTS, 5 * YUAN)
    listed = await talks.write(lambda tx: listings.post(tx, centre, given))
    bought = await talks.write(lambda tx: listings.buy(tx, firm, listed.id, window, LOTS))
    await talks.write(lambda tx: listings.close(tx, listed.id))
    held = await talks.read(lambda c: contracts.get(c, bought))
    return Trade(talks, centre, firm, school, site, held, talks.instrument(site))


async def _open_round(trade: Trade) -> auctions.Round:
    day = auctions.day_text(day_of(trade.talks.clock.now_ms()) + 1)
    return await trade.talks.write(lambda tx: auctions.open_round(tx, day, Timetable()))


async def _bid(trade: Trade, party: Party, round_id: str, **document: Any) -> auctions.Standing:
    bid = parse(document)
    made, _ = await trade.talks.write(lambda tx: auctions.place(tx, party, round_id, bid))
    return made


async def test_a_withdrawn_contract_takes_everything_offered_from_it_along(trade: Trade) -> None:
    talks, firm = trade.talks, trade.firm
    (resting,) = await talks.place(firm, trade.hour, sell(trade.held.id, 2, 6))
    (own,) = await talks.place(firm, trade.hour, buy(1, 2))
    round_ = await _open_round(trade)
    offer = {"side": "sell", "source": trade.held.id, "curve": [{"lots": 1, "price": 3}]}
    bid = await _bid(trade, firm, round_.id, **offer)
    part = ListingGiven(trade.held.id, Period(trade.hour.period.first_hour, 4), 2, 9 * YUAN)
    listed = await talks.write(lambda tx: listings.post(tx, firm, part))
    bought = await talks.write(lambda tx: listings.buy(tx, trade.school, listed.id, part.window, 1))
    asked = await talks.ask(trade.school, talks.enquiry(trade.site, 1))
    await talks.quote(firm, asked, trade.held.id, 4)
    given = talks.proposal(trade.site, 1, product=None, source_id=trade.held.id)
    deal = await talks.propose(firm, sell(trade.site, 1, 1).side, trade.school, given)
    await talks.check()

    await trade.withdraw()

    ended = await trade.order(resting)
    assert (ended.state, ended.why, ended.left) == (OrderState.CANCELLED, "CapacityGone", 0)
    assert (await trade.order(own)).state is OrderState.OPEN
    assert (await talks.read(lambda c: auctions.order(c, bid.id))).state is BidState.GONE
    assert (await talks.read(lambda c: listings.get(c, listed.id))).state is ListingState.GONE
    assert await talks.outcomes(asked) == [(QuoteState.LOST.value, "CapacityGone", 0)]
    assert (await talks.read(lambda c: deals.get(c, deal.id))).state is DealState.WITHDRAWN
    # what was sold stays a contract: its buyer is credited hour by hour, by him who sold it on
    assert (await talks.read(lambda c: contracts.get(c, bought))).state.value == "signed"
    assert await talks.account(firm) == (
        (10_000 + 72 * LOTS) * YUAN,
        (await talks.read(lambda c: contracts.get(c, bought))).seller_held + 2 * YUAN,
    )
    await talks.check()
    with pytest.raises(Conflict, match="contract is cancelled"):
        await trade.withdraw()


async def test_a_book_sells_nothing_from_a_contract_that_ended(trade: Trade) -> None:
    """However the contract ended: here without anybody's telling the book."""
    talks = trade.talks
    (gone,) = await talks.place(trade.firm, trade.hour, sell(trade.held.id, 4, 6))
    other = await talks.party("other")
    farther = await talks.site(other, "kaifeng")
    (there,) = await talks.place(other, trade.hour, sell(farther, 4, 7))
    await talks.write(lambda tx: contracts.withdraw(tx, trade.held.id))
    (whole,) = await talks.place(trade.school, trade.hour, buy(6, 9, Stay.WHOLE))
    assert whole.reason == "NotWhole"
    (taken,) = await talks.place(trade.school, trade.hour, buy(3, 9))
    assert [(one.price, one.lots) for one in taken.trades] == [(7 * YUAN, 3)]
    ended = await trade.order(gone)
    assert (ended.state, ended.why, ended.traded) == (OrderState.CANCELLED, "CapacityGone", 0)
    assert (await trade.order(there)).left == 1
    await talks.check()


@pytest.mark.parametrize("what", ["left", "shrank", "other cards"])
async def test_a_book_sells_nothing_of_a_pool_that_is_gone(trade: Trade, what: str) -> None:
    talks = trade.talks
    other = await talks.party("other")
    pool = await talks.site(other, "kaifeng")
    (gone,) = await talks.place(other, trade.hour, sell(pool, 6, 6))
    reports = {
        "left": [],
        "shrank": [card_pool(5)],
        "other cards": [card_pool(model="H100")],
    }[what]
    await talks.write(lambda tx: sites.take_inventory(tx, pool.site_id, reports))
    (taken,) = await talks.place(trade.school, trade.hour, buy(3, 9))
    assert taken.order is not None
    assert (taken.trades, taken.order.state) == ((), OrderState.OPEN)
    ended = await trade.order(gone)
    assert (ended.state, ended.why) == (OrderState.CANCELLED, "CapacityGone")
    assert await talks.account(other) == (10_000 * YUAN, 0)
    await talks.check()


async def test_a_batch_goes_on_without_those_that_are_gone(trade: Trade) -> None:
    """Several sources fail one after the other; the batch's answers are those of what is left."""
    talks = trade.talks
    sellers = [await talks.party(f"seller-{at}") for at in range(3)]
    pools = [await talks.site(one, f"site-{at}") for at, one in enumerate(sellers)]
    for at, (one, pool) in enumerate(zip(sellers, pools, strict=True)):
        await talks.place(one, trade.hour, sell(pool, 2, 5 + at))
    for pool in pools[:2]:
        await talks.remove_pool(pool)
    answers = await talks.place(trade.school, trade.hour, buy(1, 9), buy(9999, 9999), buy(3, 9))
    assert [one.reason for one in answers] == [None, "InsufficientFunds", None]
    assert [[trade.lots for trade in one.trades] for one in answers] == [[1], [], [1]]
    assert {one.price for answer in answers for one in answer.trades} == {7 * YUAN}
    depth = await talks.read(lambda c: reading.depth(c, trade.hour))
    assert (depth.asks, [one.lots for one in depth.bids]) == ((), [2])
    await talks.check()


async def test_a_listing_whose_source_is_gone_sells_nothing(trade: Trade) -> None:
    talks, firm = trade.talks, trade.firm
    window = Period(trade.hour.period.first_hour, 4)
    given = ListingGiven(trade.held.id, window, 2, 9 * YUAN)
    listed = await talks.write(lambda tx: listings.post(tx, firm, given))
    await talks.write(lambda tx: contracts.withdraw(tx, trade.held.id))
    with pytest.raises(Conflict, match="not there any more") as refused:
        await talks.write(lambda tx: listings.buy(tx, trade.school, listed.id, window, 1))
    assert refused.value.reason == "CapacityGone"
    assert await talks.account(trade.school) == (10_000 * YUAN, 0)


@pytest.mark.parametrize("what", ["contract", "pool"])
async def test_a_round_clears_without_what_is_gone(trade: Trade, what: str) -> None:
    talks = trade.talks
    other = await talks.party("other")
    pool = await talks.site(other, "kaifeng")
    round_ = await _open_round(trade)
    hours = {"hours": [10, 12]}
    cheap = trade.held.id if what == "contract" else pool.source_id
    seller = trade.firm if what == "contract" else other
    third = await talks.party("third")
    stays = await talks.site(third, "luoyang")
    gone = await _bid(
        trade,
        seller,
        round_.id,
        side="sell",
        source=cheap,
        curve=[{**hours, "lots": 2, "price": 1}],
    )
    dear = await _bid(
        trade,
        third,
        round_.id,
        side="sell",
        source=stays.source_id,
        curve=[{**hours, "lots": 2, "price": 4}],
    )
    bid = await _bid(
        trade,
        trade.school,
        round_.id,
        side="buy",
        curve=[{**hours, "product": A100, "lots": 2, "price": 9}],
    )
    await talks.write(lambda tx: auctions.close(tx, round_.id))
    # read and decided before, written after: what was decided is not what is there
    gathered = await talks.read(lambda c: auction_clearing.gather(c, round_.id))
    early = auction_clearing.decide(gathered, SMALL)
    if what == "contract":
        await talks.write(lambda tx: contracts.withdraw(tx, trade.held.id))
    else:
        await talks.remove_pool(pool)
    with pytest.raises(StaleWrite):
        await talks.write(lambda tx: auction_clearing.apply(tx, early, engine="", took_ms=0))
    cleared = await trade.auctioneer().clear(round_.id)
    assert cleared.state is RoundState.CLEARED
    assert (await talks.read(lambda c: auctions.order(c, gone.id))).state is BidState.GONE
    for one in (dear, bid):
        assert (await talks.read(lambda c, of=one: auctions.order(c, of.id))).state is (
            BidState.CLEARED
        )
    sold = [one for one in await talks.contracts() if one.origin.value == "auction"]
    assert [(one.seller.project_id, one.lots) for one in sold] == [(third.project_id, 2)]
    await talks.check()


async def test_nobody_steps_back_from_what_he_sells_on_at_the_same_time(trade: Trade) -> None:
    """Cancelling and offering at once: one of the two is refused, or the offer ends with it."""
    talks, firm = trade.talks, trade.firm
    for at in range(6):
        trial = await _contract(trade, Period(talks.hour(100 + at), 1))
        there = Instrument(trade.site.product, trial.period)
        offered, left = await asyncio.gather(
            talks.place(firm, there, sell(trial.id, 1, 6)),
            talks.write(lambda tx, of=trial.id: contracts.cancel(tx, of)),
            return_exceptions=True,
        )
        state = (await talks.read(lambda c, of=trial.id: contracts.get(c, of))).state.value
        resting = not isinstance(offered, BaseException) and offered[0].order is not None
        assert (state == "cancelled") != resting, (state, offered, left)
    await talks.check()


async def _contract(trade: Trade, period: Period) -> Contract:
    talks = trade.talks
    given = ListingGiven(trade.site.source_id, period, 1, YUAN)

    def use_case(tx: Tx) -> str:
        listed = listings.post(tx, trade.centre, given)
        return listings.buy(tx, trade.firm, listed.id, period, 1)

    bought = await talks.write(use_case)
    return await talks.read(lambda c: contracts.get(c, bought))
