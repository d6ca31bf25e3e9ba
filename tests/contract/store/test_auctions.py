"""The call auction over both databases: orders, clearing, contracts, and nothing left held."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from auction_world import A100, FAR, H100, Hall
from manual_clock import ManualClock
from suanwang.kernel.errors import Conflict, InvalidInput, LimitExceeded
from suanwang.platform.database import Tx
from suanwang.trade.contracts import service as contracts
from suanwang.trade.contracts.model import Origin
from suanwang.trade.market import auction_clearing, auctions
from suanwang.trade.market.auction_bids import parse
from suanwang.trade.market.auction_model import BidState, RoundState, ZoneLink
from trade_world import YUAN, card_pool

EVERYTHING: dict[str, Any] = {
    "side": "buy",
    "curve": [
        {
            "product": A100,
            "hours": [0, 2],
            "lots": 10,
            "price": 9,
            "instead": [{"product": H100, "price": 15}],
        }
    ],
    "blocks": [
        {"name": "day", "product": A100, "hours": [10, 14], "lots": 4, "price": 8, "group": "g"},
        {"name": "eve", "product": A100, "hours": [18, 22], "lots": 4, "price": 9, "group": "g"},
        {
            "name": "more",
            "parent": "eve",
            "price": 12,
            "least": 500,
            "profile": [
                {"product": A100, "hours": [18, 20], "lots": 2},
                {"product": H100, "hours": [18, 20], "lots": 2},
            ],
        },
    ],
}


@pytest.fixture
async def hall(any_database: Any, clock: ManualClock) -> Hall:
    return Hall(any_database, clock)


async def test_a_day_from_orders_to_paid_contracts(hall: Hall) -> None:
    seller, firm, school = [await hall.party(name) for name in ("centre", "firm", "school")]
    pool = await hall.site(seller)
    round_ = await hall.opened()
    ask = await hall.bid(
        seller,
        round_,
        side="sell",
        source=pool.source_id,
        curve=[
            {"hours": [8, 20], "lots": 4, "price": 6},
            {"hours": [8, 20], "lots": 4, "price": 8},
        ],
    )
    assert await hall.account(seller) == (10_000 * YUAN, 67_200_000)
    first = round_.first_hour + 8
    assert await hall.pledged(pool.source_id) == dict.fromkeys(range(first, first + 12), 8)
    curve = [{"product": A100, "hours": [8, 12], "lots": 3, "price": 10}]
    high = await hall.bid(firm, round_, side="buy", curve=curve)
    night = await hall.bid(
        school,
        round_,
        side="buy",
        blocks=[
            {"name": "any", "product": A100, "any": 4, "hours": [8, 20], "lots": 2, "price": 7}
        ],
    )
    curve = [{"product": A100, "lots": 1, "price": 5}]
    low = await hall.bid(school, round_, side="buy", curve=curve)
    assert await hall.account(school) == (10_000 * YUAN, (56 + 120) * YUAN)

    cleared = await hall.cleared(round_)
    assert cleared.state is RoundState.CLEARED
    assert cleared.cleared is not None
    assert cleared.cleared.traded == 20
    assert cleared.cleared.rent == 0
    bought = await hall.result(high)
    assert (bought.outcome, len(bought.parts)) == ("accepted", 4)
    assert (await hall.result(night)).outcome == "accepted"
    lost = await hall.result(low)
    assert lost.outcome == "none"
    assert {one.outcome for one in lost.parts} == {"price", "alone"}
    assert all(
        one.winning and one.winning > 5 * YUAN for one in lost.parts if one.outcome == "price"
    )

    signed = await hall.contracts()
    assert {one.origin for one in signed} == {Origin.AUCTION}
    assert sum(one.lots * one.period.hours for one in signed) == 20
    assert {one.pool_id for one in signed} == {pool.pool_id}
    sold = await hall.result(ask)
    assert set(sold.contracts) == {one.id for one in signed}
    assert sold.amount == sum(one.hourly * one.period.hours for one in signed)
    assert sold.amount == bought.amount + (await hall.result(night)).amount
    assert await hall.held() == sum(one.buyer_held + one.seller_held for one in signed)
    assert not any(one.rent for one in signed)
    assert sum((await hall.pledged(pool.source_id)).values()) == 20
    prices = await hall.read(lambda c: auctions.prices(c, cleared))
    assert {one.price for one in prices if one.lots} == {one.price for one in signed}
    await hall.check()

    await hall.settle_all()
    assert await hall.held() == 0
    assert await hall.account(firm) == (10_000 * YUAN - bought.amount, 0)
    await hall.check()


async def test_lots_from_another_zone_pay_rent_and_keep_the_books_balanced(hall: Hall) -> None:
    near, far, firm = (
        await hall.party("near"),
        await hall.party("far"),
        await hall.party("firm"),
    )
    here = await hall.site(near)
    there = await hall.site(far, "qingyang", zone="gansu")
    await hall.write(lambda tx: auctions.set_links(tx, [ZoneLink("gansu", "henan", 3, YUAN // 2)]))
    round_ = await hall.opened()
    assert round_.links == (ZoneLink("gansu", "henan", 3, YUAN // 2),)
    hours = [10, 12]
    for party, of, price in ((near, here, 9), (far, there, 4)):
        curve = [{"hours": hours, "lots": 8, "price": price}]
        await hall.bid(party, round_, side="sell", source=of.source_id, curve=curve)
    wanted = await hall.bid(
        firm, round_, side="buy", curve=[{"product": A100, "hours": hours, "lots": 5, "price": 20}]
    )
    cleared = await hall.cleared(round_)
    result = await hall.result(wanted)
    signed = await hall.contracts()
    assert sorted((one.pool_id, one.lots, one.period.hours) for one in signed) == sorted(
        [(here.pool_id, 2, 2), (there.pool_id, 3, 2)]
    )
    local = next(one.price for one in signed if one.pool_id == here.pool_id)
    abroad = next(one.price for one in signed if one.pool_id == there.pool_id)
    assert result.rent == 6 * (local - abroad)
    assert result.amount == 10 * local
    assert cleared.cleared is not None
    assert cleared.cleared.rent == result.rent
    assert {one.pool_id: one.rent for one in signed} == {
        here.pool_id: 0,
        there.pool_id: local - abroad,
    }
    assert await hall.rent() == 0  # it is owed for what is delivered
    assert await hall.account(firm) == (10_000 * YUAN, result.amount)
    await hall.check()
    await hall.settle_all()
    assert await hall.held() == 0
    assert await hall.rent() == result.rent
    assert (await hall.account(firm))[0] == 10_000 * YUAN - result.amount
    await hall.check()


async def test_no_rent_is_owed_for_what_did_not_come(hall: Hall) -> None:
    """Two hours from a cheaper zone: a third of the first is delivered, nobody looks at the
    second. What the buyer pays is what the seller gets and the rent of the lots that came."""
    near, far, firm = await hall.party("near"), await hall.party("far"), await hall.party("firm")
    here, there = await hall.site(near), await hall.site(far, "qingyang", zone="gansu")
    await hall.write(lambda tx: auctions.set_links(tx, [ZoneLink("gansu", "henan", 3, 0)]))
    round_ = await hall.opened()
    hours = [10, 12]
    for party, of, price in ((near, here, 9), (far, there, 4)):
        curve = [{"hours": hours, "lots": 8, "price": price}]
        await hall.bid(party, round_, side="sell", source=of.source_id, curve=curve)
    curve = [{"product": A100, "hours": hours, "lots": 5, "price": 20}]
    await hall.bid(firm, round_, side="buy", curve=curve)
    await hall.cleared(round_)
    signed = {one.pool_id: one for one in await hall.contracts()}
    abroad = signed[there.pool_id]
    assert abroad.hourly_rent > 0
    hall.to(abroad.period.from_ms + 60_000)
    await hall.deliver({abroad.id: 1})
    hall.to(abroad.period.until_ms + 120_000)
    await hall.settle()
    charged, rent = abroad.price, abroad.rent  # one lot of one hour
    assert await hall.rent() == rent
    credit = (abroad.hourly - charged) * abroad.terms.credit_percent // 100
    assert await hall.account(firm) == (10_000 * YUAN - charged - rent + credit, 0)
    assert await hall.held() == 0
    (first, second) = reversed(await hall.read(lambda c: contracts.hours_of(c, abroad.id)))
    assert (first.rent, second.rent) == (rent, 0)
    await hall.check()


async def test_everything_that_may_be_said_in_a_bid_clears(hall: Hall) -> None:
    """Substitution, groups, parents, minimum parts, profiles and sales of what one holds."""
    centre, firm, school = (
        await hall.party("centre"),
        await hall.party("firm"),
        await hall.party("school"),
    )
    a100 = await hall.site(centre)
    h100 = await hall.site(centre, "luoyang", card_pool(4, "H100"))
    assert str(h100.product) == H100
    round_ = await hall.opened()
    for of, price in ((a100, 6), (h100, 11)):
        curve = [{"lots": of.lots, "price": price}]
        await hall.bid(centre, round_, side="sell", source=of.source_id, curve=curve)
    either = await hall.bid(firm, round_, **EVERYTHING)
    assert either.held == (10 * 2 * 15 + 4 * 4 * 9 + 8 * 12) * YUAN
    await hall.cleared(round_)
    result = await hall.result(either)
    told = {(one.part, one.hour): one for one in result.parts}
    assert told["eve", None].outcome == "accepted"
    assert told["day", None].outcome == "group"
    assert told["more", None].outcome == "accepted"
    assert {told["curve[0]", hour].outcome for hour in (0, 1)} == {"accepted"}
    assert {product for one in result.parts for product, _, _ in one.lots} == {A100, H100}

    later = (await hall.read(auctions.rounds))[0]
    assert later.day > round_.day
    mine = next(one for one in await hall.contracts() if one.buyer == firm and one.lots > 2)
    with pytest.raises(InvalidInput, match="does not cover") as outside:
        await hall.bid(firm, later, side="sell", source=mine.id, curve=[{"lots": 1, "price": 20}])
    assert outside.value.field == "source"
    with pytest.raises(InvalidInput, match="cannot sell from"):
        await hall.bid(school, later, side="sell", source=mine.id, curve=[{"lots": 1, "price": 20}])
    await hall.check()


async def test_replaced_and_withdrawn_orders_give_back_what_they_held(hall: Hall) -> None:
    seller, firm = await hall.party("centre"), await hall.party("firm", 100)
    pool = await hall.site(seller)
    round_ = await hall.opened()
    curve = [{"product": A100, "hours": [0, 4], "lots": 2, "price": 10}]
    bid = await hall.bid(firm, round_, side="buy", curve=curve)
    dear = parse({"side": "buy", "curve": [{**curve[0], "lots": 3}]})
    with pytest.raises(LimitExceeded, match="takes 120"):
        await hall.write(lambda tx: auctions.replace_order(tx, bid, dear))
    assert await hall.account(firm) == (100 * YUAN, 80 * YUAN)
    cheap = parse({"side": "buy", "curve": [{**curve[0], "price": 12}]})
    changed = await hall.write(lambda tx: auctions.replace_order(tx, bid, cheap))
    assert (changed.id, changed.version, changed.held) == (bid.id, 2, 96 * YUAN)
    offer = {"side": "sell", "source": pool.source_id}
    ask = await hall.bid(seller, round_, **offer, curve=[{"lots": 6, "price": 9}])
    with pytest.raises(LimitExceeded, match="too few are unsold"):
        await hall.bid(seller, round_, **offer, curve=[{"lots": 3, "price": 9}])
    more = parse({**offer, "curve": [{"lots": 8, "price": 9}]})
    await hall.write(lambda tx: auctions.replace_order(tx, ask, more))
    assert set((await hall.pledged(pool.source_id)).values()) == {8}
    for one in (bid, ask):
        for _ in range(2):
            now = await hall.order(one)
            await hall.write(lambda tx, of=now: auctions.withdraw(tx, of))
    assert await hall.pledged(pool.source_id) == {}
    assert await hall.held() == 0
    with pytest.raises(Conflict, match="does not stand"):
        await hall.write(lambda tx: auctions.replace_order(tx, ask, more))


async def test_a_closed_round_takes_nothing_and_a_void_one_gives_everything_back(
    hall: Hall,
) -> None:
    seller, firm = await hall.party("centre"), await hall.party("firm")
    pool = await hall.site(seller)
    round_ = await hall.opened()
    curve = [{"product": A100, "lots": 2, "price": 10}]
    bid = await hall.bid(firm, round_, side="buy", curve=curve)
    offer = {"side": "sell", "source": pool.source_id, "curve": [{"lots": 2, "price": 9}]}
    await hall.bid(seller, round_, **offer)
    with pytest.raises(Conflict, match="only a closed one"):
        await hall.auctioneer.clear(round_.id)
    await hall.shut(round_)
    await hall.shut(round_)
    for refused in (
        lambda tx: auctions.place(tx, firm, round_.id, parse({"side": "buy", "curve": curve})),
        lambda tx: auctions.replace_order(tx, bid, bid.bid),
        lambda tx: auctions.withdraw(tx, bid),
        lambda tx: auctions.set_links(tx, [], round_.id),
    ):
        with pytest.raises(Conflict, match="takes no orders"):
            await hall.write(refused)
    ended = await hall.write(lambda tx: auctions.void(tx, round_.id, "a rehearsal"))
    assert (ended.state, ended.why) == (RoundState.VOID, "a rehearsal")
    assert (await hall.order(bid)).state is BidState.RETURNED
    assert await hall.held() == 0
    assert await hall.pledged(pool.source_id) == {}
    with pytest.raises(Conflict, match="is void"):
        await hall.write(lambda tx: auctions.close(tx, round_.id))


async def test_a_crash_leaves_the_round_closed_and_is_made_good(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    seller, firm = await hall.party("centre"), await hall.party("firm")
    pool = await hall.site(seller)
    round_ = await hall.opened()
    offer = {"side": "sell", "source": pool.source_id, "curve": [{"lots": 2, "price": 9}]}
    await hall.bid(seller, round_, **offer)
    curve = [{"product": A100, "lots": 2, "price": 10}]
    bid = await hall.bid(firm, round_, side="buy", curve=curve)
    await hall.shut(round_)
    before = (await hall.account(firm), await hall.account(seller))

    # the process dies between the engine and the writing
    gathered = await hall.read(lambda c: auction_clearing.gather(c, round_.id))
    lost = auction_clearing.decide(gathered, hall.auctioneer.effort)
    assert (await hall.round(round_)).state is RoundState.CLOSED

    # it dies while writing: after contracts, money and orders, before the round is marked
    def dies(*_: Any) -> None:
        raise ConnectionError("the process is no more")

    with monkeypatch.context() as patch:
        patch.setattr(auction_clearing.store, "insert_prices", dies)
        with pytest.raises(ConnectionError):
            await hall.auctioneer.clear(round_.id)
    assert (await hall.round(round_)).state is RoundState.CLOSED
    assert (await hall.order(bid)).state is BidState.STANDING
    assert await hall.contracts() == []
    assert (await hall.account(firm), await hall.account(seller)) == before
    await hall.check()

    # others take over, two at once: one of them clears it, once, and both are told
    found = await asyncio.gather(hall.another().clear(round_.id), hall.another().clear(round_.id))
    ended = await hall.round(round_)
    assert ended.cleared is not None
    assert found == [ended, ended]
    assert await hall.auctioneer.clear(round_.id) == ended
    assert ended.cleared.outcome_digest == lost.settlement.digest
    assert len(await hall.contracts()) == 1
    # what the dead one made is refused if it comes after all
    with pytest.raises(Conflict, match="is cleared"):
        await hall.write(lambda tx: auction_clearing.apply(tx, lost, engine="", took_ms=0))
    await hall.check()


async def test_rounds_open_close_and_clear_when_they_are_due(hall: Hall) -> None:
    seller, firm = await hall.party("centre"), await hall.party("firm")
    pool = await hall.site(seller)
    assert await hall.auctioneer.step()
    assert not await hall.auctioneer.step()
    later, round_ = await hall.read(auctions.rounds)
    assert later.first_hour - round_.first_hour == 24
    assert round_.closes_at_ms == (round_.first_hour - 13) * 3_600_000
    offer = {"side": "sell", "source": pool.source_id, "curve": [{"lots": 2, "price": 9}]}
    await hall.bid(seller, round_, **offer)
    await hall.bid(firm, round_, side="buy", curve=[{"product": A100, "lots": 2, "price": 10}])
    hall.to(round_.closes_at_ms)
    with pytest.raises(Conflict, match="takes no orders"):
        await hall.bid(firm, round_, side="buy", curve=[{"product": A100, "lots": 2, "price": 10}])
    assert await hall.auctioneer.step()
    assert (await hall.round(round_)).state is RoundState.CLEARED
    assert [one.state.value for one in await hall.read(auctions.rounds)] == [
        "open",
        "open",
        "cleared",
    ]
    (signed,) = await hall.contracts()
    assert (signed.period.hours, signed.lots) == (24, 2)
    # nobody cleared the next one in time
    hall.to(later.period.from_ms)
    await hall.auctioneer.step()
    assert (await hall.round(later)).state is RoundState.VOID


async def test_a_round_is_done_again_to_the_same_end(hall: Hall) -> None:
    seller, firm = await hall.party("centre"), await hall.party("firm")
    pool = await hall.site(seller)
    round_ = await hall.opened()
    offer = {"side": "sell", "source": pool.source_id, "curve": [{"lots": 5, "price": 9}]}
    await hall.bid(seller, round_, **offer)
    gone = await hall.bid(
        firm, round_, side="buy", curve=[{"product": A100, "lots": 1, "price": 99}]
    )
    await hall.bid(
        firm,
        round_,
        side="buy",
        blocks=[{"product": A100, "any": 8, "lots": 3, "price": 10}],
        curve=[{"product": A100, "lots": 3, "price": 9.5}],
    )
    await hall.write(lambda tx: auctions.withdraw(tx, gone))
    await hall.cleared(round_)
    found, orders = await hall.read(lambda c: auction_clearing.cleared_orders(c, round_.id))
    again = auction_clearing.replay(found, orders, auction_clearing.engine_digest())
    assert (again.same, again.same_engine) == (True, True)
    assert found.cleared is not None
    assert (again.welfare, again.bound) == (found.cleared.welfare, found.cleared.bound)
    fewer = auction_clearing.replay(found, orders[:1], "")
    assert (fewer.same_book, fewer.same_outcome, fewer.same_engine) == (False, False, False)


async def test_ones_own_offers_and_bids_do_not_become_contracts(hall: Hall) -> None:
    both, firm = await hall.party("both"), await hall.party("firm")
    pool = await hall.site(both)
    round_ = await hall.opened()
    hours = {"hours": [3, 4]}
    offer = {"side": "sell", "source": pool.source_id, "curve": [{**hours, "lots": 5, "price": 2}]}
    ask = await hall.bid(both, round_, **offer)
    own = await hall.bid(
        both, round_, side="buy", curve=[{**hours, "product": A100, "lots": 4, "price": 9}]
    )
    other = await hall.bid(
        firm, round_, side="buy", curve=[{**hours, "product": A100, "lots": 1, "price": 9}]
    )
    await hall.cleared(round_)
    (signed,) = await hall.contracts()
    assert (signed.lots, signed.buyer.project_id) == (1, firm.project_id)
    assert ((await hall.result(own)).own, (await hall.result(ask)).own) == (4, 4)
    assert (await hall.result(own)).amount == 0
    assert (await hall.result(other)).amount == signed.hourly
    assert await hall.pledged(pool.source_id) == {round_.first_hour + 3: 1}
    assert await hall.held() == signed.buyer_held + signed.seller_held
    await hall.check()


async def test_orders_of_a_key_and_of_nobody(hall: Hall) -> None:
    firm = await hall.party("firm")
    await hall.site(await hall.party("centre"))
    round_ = await hall.opened()
    bid = parse({"side": "buy", "curve": [{"product": A100, "lots": 1, "price": 1}]})

    def twice(tx: Tx) -> Any:
        return auctions.place(tx, firm, round_.day, bid, key="one")

    (first, repeated), (second, again) = await hall.write(twice), await hall.write(twice)
    assert (first.id, repeated, again) == (second.id, False, True)
    with pytest.raises(InvalidInput, match="Nobody delivers") as unknown:
        await hall.bid(firm, round_, side="buy", curve=[{"product": FAR, "lots": 1, "price": 1}])
    assert unknown.value.field == "curve[0].product"
    await hall.cleared(round_)
    result = await hall.result(first)
    assert {one.outcome for one in result.parts} == {"alone"}
    assert await hall.held() == 0
    empty = (await hall.read(auctions.rounds))[0]
    cleared = await hall.cleared(empty)
    assert (cleared.state, cleared.orders) == (RoundState.CLEARED, 0)
    assert await hall.read(contracts.page) == []
