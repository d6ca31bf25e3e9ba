"""Every stuck state that a market of this kind has met elsewhere, and that it is none here.

The states are those of Akash's flow (order, bid, lease, escrow), as its operators reported them:
losing bids that stayed open with their escrow locked, closings that came as events and were lost,
withdrawals that never fired, wrong reasons, bids that nobody closed after a silence, sellers who
were eaten up by deposits. Each test's name says which. In the end of each nothing is held or
pledged that no open thing asks for, to the micro-yuan and the lot (`Talks.check`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from auction_world import A100, SMALL
from manual_clock import ManualClock
from suanwang.engines.matching.model import Side
from suanwang.kernel.errors import Conflict
from suanwang.trade.billing.rules import day_of
from suanwang.trade.catalogue.model import Period
from suanwang.trade.contracts import service as contracts
from suanwang.trade.contracts.model import Contract, ContractState, Party
from suanwang.trade.market import auctions, deals, leaving, listings, quotations, reading
from suanwang.trade.market.auction_bids import parse
from suanwang.trade.market.auction_clearing import Auctioneer
from suanwang.trade.market.auction_model import BidState, Round, Standing
from suanwang.trade.market.auctions import Timetable
from suanwang.trade.market.listings import ListingGiven
from suanwang.trade.market.model import ListingState, OrderState, Supply
from suanwang.trade.market.quotations_model import EnquiryState
from talks_world import Talks
from trade_world import YUAN, buy, sell


@dataclass
class Scene:
    """A seller with a pool, and a buyer."""

    talks: Talks
    centre: Party
    firm: Party
    site: Supply

    @property
    def auctioneer(self) -> Auctioneer:
        return Auctioneer(self.talks.database, self.talks.clock, Timetable(), effort=SMALL)

    async def lead(self) -> None:
        """All that the leader does by itself, in any process."""
        talks = self.talks
        await talks.expire_books()
        await talks.write(listings.expire)
        await talks.sweep()
        await self.auctioneer.step()
        await talks.settle()

    async def nothing_is_held(self, *parties: Party) -> None:
        for one in parties or (self.centre, self.firm):
            assert (await self.talks.account(one))[1] == 0

    async def contract(self, ahead: int = 5, hours: int = 2, lots: int = 4) -> Contract:
        talks, window = self.talks, Period(self.talks.hour(ahead), hours)
        given = ListingGiven(self.site.source_id, window, lots, 5 * YUAN)

        def use_case(tx: Any) -> Contract:
            listed = listings.post(tx, self.centre, given)
            return contracts.get(tx.conn, listings.buy(tx, self.firm, listed.id, window, lots))

        return await talks.write(use_case)

    async def now(self, of: Contract) -> Contract:
        return await self.talks.read(lambda c: contracts.get(c, of.id))

    async def round(self) -> Round:
        day = auctions.day_text(day_of(self.talks.clock.now_ms()) + 2)
        return await self.talks.write(lambda tx: auctions.open_round(tx, day, Timetable()))

    async def bid(self, party: Party, of: Round, **document: Any) -> Standing:
        bid = parse(document)
        made, _ = await self.talks.write(lambda tx: auctions.place(tx, party, of.id, bid))
        return made

    async def standing(self, one: Standing) -> BidState:
        return (await self.talks.read(lambda c: auctions.order(c, one.id))).state


@pytest.fixture
async def scene(any_database: Any, clock: ManualClock) -> Scene:
    talks = Talks(any_database, clock)
    centre, firm = await talks.party("centre"), await talks.party("firm")
    return Scene(talks, centre, firm, await talks.site(centre))


async def test_losing_bids_stay_open_with_their_escrow_locked(scene: Scene) -> None:
    """Akash 441. Losers are free in the transaction that names the winner."""
    talks = scene.talks
    losers = [await talks.party(f"loser-{at}") for at in range(3)]
    pools = [await talks.site(one, f"site-{at}") for at, one in enumerate(losers)]
    asked = await talks.ask(scene.firm, talks.enquiry(scene.site, bond=YUAN))
    round_ = await scene.round()
    bids = []
    for one, pool in zip(losers, pools, strict=True):
        await talks.quote(one, asked, pool, 9)
        offer = {"side": "sell", "source": pool.source_id, "curve": [{"lots": 2, "price": 9}]}
        bids.append(await scene.bid(one, round_, **offer))
    await talks.quote(scene.centre, asked, scene.site, 5)
    await talks.to_deadline()
    assert (await talks.found(asked)).state is EnquiryState.AWARDED
    await talks.write(lambda tx: auctions.close(tx, round_.id))
    await scene.auctioneer.clear(round_.id)
    assert {await scene.standing(one) for one in bids} == {BidState.CLEARED}
    await scene.nothing_is_held(*losers)
    await talks.check()


async def test_a_bid_is_accepted_but_the_provider_is_gone_already(scene: Scene) -> None:
    """He is passed over; the next best has it."""
    talks = scene.talks
    other = await talks.party("other")
    there = await talks.site(other, "kaifeng")
    asked = await talks.ask(scene.firm, talks.enquiry(scene.site))
    await talks.quote(scene.centre, asked, scene.site, 4)
    await talks.quote(other, asked, there, 6)
    await talks.remove_pool(scene.site)
    await talks.to_deadline()
    assert await talks.outcomes(asked) == [("lost", "CapacityGone", 0), ("won", "", 4)]
    await scene.nothing_is_held(scene.centre)
    await talks.check()


async def test_the_provider_goes_after_the_lease_was_created(scene: Scene) -> None:
    """Hour by hour nothing is delivered, paid, and everything credited; then it is over."""
    talks = scene.talks
    signed = await scene.contract()
    await talks.remove_pool(scene.site)
    for hour in range(signed.period.first_hour, signed.period.end_hour):
        talks.to_hour(hour, past_s=60)
        await talks.deliver({signed.id: 0})
    talks.to_hour(signed.period.end_hour, past_s=120)
    await scene.lead()
    assert (await scene.now(signed)).state is ContractState.COMPLETED
    credit = 2 * 4 * YUAN  # a fifth of 5 yuan, four lots, two hours
    assert await talks.account(scene.firm) == (10_000 * YUAN + credit, 0)
    assert await talks.account(scene.centre) == (10_000 * YUAN - credit, 0)
    await talks.check()


async def test_a_lease_is_created_but_never_confirmed(scene: Scene) -> None:
    """Akash 435. Nobody has to act on a contract: unused, its hours pass, are paid and end it."""
    talks = scene.talks
    signed = await scene.contract()
    for hour in range(signed.period.first_hour, signed.period.end_hour):
        talks.to_hour(hour, past_s=60)
        await talks.deliver({signed.id: 4})
    talks.to_hour(signed.period.end_hour, past_s=120)
    await scene.lead()
    assert (await scene.now(signed)).state is ContractState.COMPLETED
    assert await talks.account(scene.firm) == ((10_000 - 40) * YUAN, 0)
    await scene.nothing_is_held()
    await talks.check()


async def test_a_proposal_is_never_answered(scene: Scene) -> None:
    talks = scene.talks
    made = [
        await talks.propose(scene.firm, Side.BUY, scene.centre, talks.proposal(scene.site)),
        await talks.propose(scene.centre, Side.SELL, scene.firm, talks.offer(scene.site)),
    ]
    talks.clock.advance(s=3_600)
    await scene.lead()
    states = [(await talks.read(lambda c, of=one.id: deals.get(c, of))).state for one in made]
    assert {one.value for one in states} == {"expired"}
    await scene.nothing_is_held()
    await talks.check()


async def test_escrow_is_drained_while_the_lease_runs(scene: Scene) -> None:
    """Akash 515. A contract's price is set aside as a whole; if an operator's correction takes the
    account below that, its hours are still paid in full, and it still ends by itself."""
    talks = scene.talks
    signed = await scene.contract()
    await talks.spend(scene.firm, 10_000)
    for hour in range(signed.period.first_hour, signed.period.end_hour):
        talks.to_hour(hour, past_s=60)
        await talks.deliver({signed.id: 4})
    talks.to_hour(signed.period.end_hour, past_s=120)
    await scene.lead()
    assert (await scene.now(signed)).state is ContractState.COMPLETED
    assert await talks.account(scene.firm) == (-40 * YUAN, 0)
    await talks.check()
    # he buys no more: neither from the book nor at once
    (refused,) = await talks.place(scene.firm, talks.instrument(scene.site), buy(1, 1))
    assert refused.reason == "InsufficientFunds"


@pytest.mark.parametrize("what", ["enquiry", "round", "listing", "book"])
async def test_an_order_is_closed_while_bids_are_open(scene: Scene, what: str) -> None:
    talks, firm, centre = scene.talks, scene.firm, scene.centre
    if what == "enquiry":
        asked = await talks.ask(firm, talks.enquiry(scene.site))
        await talks.quote(centre, asked, scene.site, 5)
        fee = await talks.write(lambda tx: quotations.cancel(tx, asked.id))
        assert fee
        assert await talks.outcomes(asked) == [("lost", "EnquiryCancelled", 0)]
    elif what == "round":
        round_ = await scene.round()
        offer = {"side": "sell", "source": scene.site.source_id}
        ask = await scene.bid(centre, round_, **offer, curve=[{"lots": 1, "price": 1}])
        curve = [{"product": A100, "lots": 1, "price": 1}]
        bid = await scene.bid(firm, round_, side="buy", curve=curve)
        await talks.write(lambda tx: auctions.void(tx, round_.id, "closed"))
        assert {await scene.standing(one) for one in (ask, bid)} == {BidState.RETURNED}
    elif what == "listing":
        given = ListingGiven(scene.site.source_id, Period(talks.hour(3), 4), 2, YUAN)
        listed = await talks.write(lambda tx: listings.post(tx, centre, given))
        await talks.write(lambda tx: listings.close(tx, listed.id))
        with pytest.raises(Conflict, match="not open any more"):
            await talks.write(lambda tx: listings.buy(tx, firm, listed.id, given.window, 1))
    else:
        hour = talks.instrument(scene.site)
        placed = await talks.place(firm, hour, buy(2, 3))
        placed += await talks.place(centre, hour, sell(scene.site, 2, 4))
        talks.to_hour(hour.period.first_hour)
        await scene.lead()
        for one in placed:
            assert one.order is not None
            found = await talks.read(lambda c, of=one.order.id: reading.order(c, of))
            assert (found.state, found.why) == (OrderState.EXPIRED, "DeliveryBegun")
    await scene.nothing_is_held()
    await talks.check()


@pytest.mark.parametrize("how", ["closed", "suspended", "withdrew"])
async def test_a_provider_closes_silently(scene: Scene, how: str) -> None:
    """Whoever asked of him is told, and nothing of theirs waits for him."""
    talks, firm = scene.talks, scene.firm
    asked = await talks.ask(firm, talks.enquiry(scene.site))
    await talks.quote(scene.centre, asked, scene.site, 4, lots=None)
    given = ListingGiven(scene.site.source_id, Period(talks.hour(3), 4), 2, YUAN)
    listed = await talks.write(lambda tx: listings.post(tx, scene.centre, given))
    if how == "closed":
        await talks.close(scene.centre)
    elif how == "suspended":
        await talks.suspend(scene.centre)
    else:
        await talks.remove_pool(scene.site)
    reasons = {
        "closed": "SellerProjectClosed",
        "suspended": "SellerSuspended",
        "withdrew": "CapacityGone",
    }
    with pytest.raises(Conflict) as refused:
        await talks.write(lambda tx: listings.buy(tx, firm, listed.id, given.window, 1))
    assert refused.value.reason == reasons[how]
    await talks.to_deadline()
    assert await talks.outcomes(asked) == [("lost", reasons[how], 0)]
    await scene.nothing_is_held()
    talks.to_hour(given.window.end_hour)
    await scene.lead()
    found = await talks.read(lambda c: listings.get(c, listed.id))
    assert found.state is ListingState.ENDED
    await talks.check()


@pytest.mark.parametrize("end", ["completed", "cancelled", "withdrawn", "terminated"])
async def test_a_deposit_is_stuck_after_the_close(scene: Scene, end: str) -> None:
    """Akash 114. Nobody withdraws a deposit: it is released by what ends the contract."""
    talks = scene.talks
    signed = await scene.contract(ahead=40)
    assert (await talks.account(scene.centre))[1] == 4 * YUAN
    if end == "cancelled":
        await talks.write(lambda tx: contracts.cancel(tx, signed.id))
    elif end == "withdrawn":
        await talks.write(lambda tx: leaving.withdraw(tx, talks.books, signed.id))
    elif end == "terminated":
        talks.to_hour(signed.period.first_hour, past_s=60)
        await talks.deliver({signed.id: 4})
        await talks.write(lambda tx: leaving.withdraw(tx, talks.books, signed.id))
    else:
        talks.to_hour(signed.period.end_hour, past_s=120)
        await scene.lead()
    names = {"withdrawn": "cancelled"}
    assert (await scene.now(signed)).state.value == names.get(end, end)
    await scene.nothing_is_held()
    await talks.check()


async def test_a_small_provider_is_drained_by_deposits(scene: Scene) -> None:
    """Akash 180. Who offers and does not win pays nothing, however often."""
    talks = scene.talks
    small = await talks.party("small", 10)
    pool = await talks.site(small, "small")
    hour = talks.instrument(pool, 200)
    for at in range(12):
        asked = await talks.ask(scene.firm, talks.enquiry(pool, 1))
        await talks.quote(small, asked, pool, 9.9)
        await talks.quote(scene.centre, asked, scene.site, 1, lots=1)
        (offered,) = await talks.place(small, hour, sell(pool, 2, 20 + at))
        await talks.to_deadline()
        order = offered.order
        assert order is not None
        await talks.write(lambda tx, of=order: talks.books.cancel(tx, of))
        assert await talks.account(small) == (10 * YUAN, 0)
        talks.clock.advance(s=6 * 3_600)
        await scene.lead()
    await talks.check()


async def test_a_close_has_the_wrong_reason(scene: Scene) -> None:
    """Akash 403. An order tells how it ended, and by whom."""
    talks = scene.talks
    hour = talks.instrument(scene.site)
    held = await scene.contract(ahead=5, hours=1, lots=2)
    offered = [
        *await talks.place(scene.firm, hour, sell(held.id, 1, 5), sell(held.id, 1, 6)),
        *await talks.place(scene.firm, hour, buy(1, 4)),
    ]
    ids = [one.order.id for one in offered if one.order is not None]
    first = offered[0].order
    assert first is not None
    await talks.write(lambda tx: talks.books.cancel(tx, first))
    await talks.write(lambda tx: leaving.withdraw(tx, talks.books, held.id))
    talks.to_hour(hour.period.first_hour)
    await scene.lead()
    found = [await talks.read(lambda c, of=one: reading.order(c, of)) for one in ids]
    assert [(one.state.value, one.why) for one in found] == [
        ("cancelled", "Cancelled"),
        ("cancelled", "CapacityGone"),
        ("expired", "DeliveryBegun"),
    ]
    await talks.check()


async def test_closings_come_while_nobody_listens(scene: Scene) -> None:
    """Akash 515. Nothing that ends is an event: it is looked for. A platform that was down over
    all deadlines finds every one of them as it comes back."""
    talks, firm, centre = scene.talks, scene.firm, scene.centre
    signed = await scene.contract()
    await talks.place(firm, talks.instrument(scene.site, 6), buy(2, 3))
    await talks.place(centre, talks.instrument(scene.site, 6), sell(scene.site, 1, 4))
    asked = await talks.ask(firm, talks.enquiry(scene.site, 1))
    await talks.quote(centre, asked, scene.site, 5)
    await talks.propose(firm, Side.BUY, centre, talks.proposal(scene.site))
    await talks.propose(centre, Side.SELL, firm, talks.offer(scene.site, 1))
    given = ListingGiven(scene.site.source_id, Period(talks.hour(3), 4), 1, YUAN)
    await talks.write(lambda tx: listings.post(tx, centre, given))
    round_ = await scene.round()
    curve = [{"product": A100, "lots": 1, "price": 1}]
    bid = await scene.bid(firm, round_, side="buy", curve=curve)
    talks.clock.advance(s=60 * 86_400)
    await scene.lead()
    assert (await scene.now(signed)).state is ContractState.COMPLETED
    assert (await talks.found(asked)).why == "TooLate"
    assert await scene.standing(bid) is BidState.RETURNED
    await scene.nothing_is_held()
    await talks.check()
