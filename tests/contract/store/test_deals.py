"""Bilateral deals over both databases: one side's word is set aside, the other's yes signs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from manual_clock import ManualClock
from suanwang.engines.matching.model import Side
from suanwang.kernel.errors import Conflict, InvalidInput, LimitExceeded, NotFound
from suanwang.trade.contracts.model import Origin
from suanwang.trade.market import deals
from suanwang.trade.market.deals_model import DealState
from talks_world import HOUR_S, Talks
from trade_world import YUAN


@pytest.fixture
async def talks(any_database: Any, clock: ManualClock) -> Talks:
    return Talks(any_database, clock)


async def test_a_buyers_proposal_is_accepted_with_a_source(talks: Talks) -> None:
    buyer, seller = await talks.party("firm"), await talks.party("centre")
    site = await talks.site(seller)
    made = await talks.propose(buyer, Side.BUY, seller, talks.proposal(site))
    assert await talks.account(buyer) == (10_000 * YUAN, 24 * YUAN)
    with pytest.raises(InvalidInput, match="says what it sells from"):
        await talks.write(lambda tx: deals.accept(tx, seller, made.id, 1))

    def accept(tx: Any) -> Any:
        return deals.accept(tx, seller, made.id, 1, source_id=site.source_id)

    done = await talks.write(accept)
    assert (await talks.write(accept)).contract_id == done.contract_id
    (contract,) = await talks.contracts()
    assert (contract.origin, contract.id) == (Origin.BILATERAL, done.contract_id)
    assert (contract.buyer, contract.seller, contract.price) == (buyer, seller, 6 * YUAN)
    assert await talks.account(seller) == (10_000 * YUAN, 2_400_000)
    await talks.check()


async def test_proposals_go_to_and_fro_and_only_the_last_locks(talks: Talks) -> None:
    buyer, seller = await talks.party("firm"), await talks.party("centre")
    site = await talks.site(seller)
    made = await talks.propose(seller, Side.SELL, buyer, talks.offer(site, yuan=9))
    assert set((await talks.pledged(site.source_id)).values()) == {2}
    lower = talks.proposal(site, lots=3, yuan=5, note="for three")
    await talks.write(lambda tx: deals.counter(tx, buyer, made.id, 1, lower))
    again = await talks.write(lambda tx: deals.counter(tx, buyer, made.id, 1, lower))
    assert again.number == 2
    assert await talks.account(seller) == (10_000 * YUAN, 0)
    assert await talks.pledged(site.source_id) == {}
    assert await talks.account(buyer) == (10_000 * YUAN, 30 * YUAN)
    await talks.check()
    middle = talks.offer(site, lots=3, yuan=7)
    await talks.write(lambda tx: deals.counter(tx, seller, made.id, 2, middle))
    with pytest.raises(Conflict, match="number 3, not 1"):
        await talks.write(lambda tx: deals.accept(tx, buyer, made.id, 1))
    with pytest.raises(Conflict, match="your own side's"):
        await talks.write(lambda tx: deals.accept(tx, seller, made.id, 3))
    await talks.check()
    await talks.write(lambda tx: deals.accept(tx, buyer, made.id, 3))
    said = await talks.read(lambda c: deals.history(c, made.id))
    assert [(one.number, one.price // YUAN, one.state.value) for one in said] == [
        (1, 9, "countered"),
        (2, 5, "countered"),
        (3, 7, "accepted"),
    ]
    await talks.check()


async def test_a_deal_ends_by_no_by_withdrawal_or_by_itself(talks: Talks) -> None:
    buyer, seller = await talks.party("firm"), await talks.party("centre")
    site = await talks.site(seller)
    ids = [
        (await talks.propose(buyer, Side.BUY, seller, talks.proposal(site))).id for _ in range(3)
    ]
    for _ in range(2):
        await talks.write(lambda tx: deals.reject(tx, seller, ids[0], 1))
        await talks.write(lambda tx: deals.withdraw(tx, buyer, ids[1]))
    with pytest.raises(Conflict, match="other side's"):
        await talks.write(lambda tx: deals.withdraw(tx, seller, ids[2]))
    await talks.check()
    talks.clock.advance(s=HOUR_S)
    with pytest.raises(Conflict, match="valid no more"):
        await talks.write(lambda tx: deals.accept(tx, seller, ids[2], 1, source_id=site.source_id))
    await talks.sweep()
    await talks.sweep()
    found = [await talks.read(lambda c, of=one: deals.get(c, of)) for one in ids]
    assert [one.state for one in found] == [
        DealState.REJECTED,
        DealState.WITHDRAWN,
        DealState.EXPIRED,
    ]
    assert await talks.account(buyer) == (10_000 * YUAN, 0)
    await talks.check()


async def test_what_was_left_over_a_standstill_goes_back(talks: Talks) -> None:
    buyer, seller = await talks.party("firm"), await talks.party("centre")
    site = await talks.site(seller)
    made = await talks.propose(seller, Side.SELL, buyer, talks.offer(site))
    talks.to_hour(talks.hour(30))
    await talks.sweep()
    assert (await talks.read(lambda c: deals.get(c, made.id))).state is DealState.EXPIRED
    assert await talks.account(seller) == (10_000 * YUAN, 0)


@pytest.mark.parametrize("what", ["suspended", "closed", "gone"])
async def test_a_word_that_cannot_be_kept_is_not_taken(talks: Talks, what: str) -> None:
    buyer, seller = await talks.party("firm"), await talks.party("centre")
    site = await talks.site(seller)
    made = await talks.propose(seller, Side.SELL, buyer, talks.offer(site))
    if what == "gone":
        await talks.remove_pool(site)
    else:
        await (talks.suspend(seller) if what == "suspended" else talks.close(seller))
    with pytest.raises(Conflict) as refused:
        await talks.write(lambda tx: deals.accept(tx, buyer, made.id, 1))
    assert (
        refused.value.reason
        == {
            "suspended": "OtherSideSuspended",
            "closed": "OtherSideClosed",
            "gone": "CapacityGone",
        }[what]
    )
    assert await talks.account(buyer) == (10_000 * YUAN, 0)
    talks.clock.advance(s=HOUR_S)
    await talks.sweep()
    assert await talks.account(seller) == (10_000 * YUAN, 0)
    await talks.check()


async def test_yes_and_no_and_withdrawal_at_once_end_it_once(talks: Talks) -> None:
    buyer, seller = await talks.party("firm"), await talks.party("centre")
    site = await talks.site(seller)
    for _ in range(3):
        made = await talks.propose(seller, Side.SELL, buyer, talks.offer(site))
        await asyncio.gather(
            talks.write(lambda tx, of=made.id: deals.accept(tx, buyer, of, 1)),
            talks.write(lambda tx, of=made.id: deals.withdraw(tx, seller, of)),
            talks.write(lambda tx, of=made.id: deals.accept(tx, buyer, of, 1)),
            talks.write(lambda tx, of=made.id: deals.reject(tx, buyer, of, 1)),
            return_exceptions=True,
        )
        ended = await talks.read(lambda c, of=made.id: deals.get(c, of))
        assert ended.state is not DealState.OPEN
        assert (ended.contract_id is not None) == (ended.state is DealState.ACCEPTED)
        await talks.check()


async def test_the_same_key_is_the_same_deal(talks: Talks) -> None:
    buyer, seller = await talks.party("firm"), await talks.party("centre")
    site = await talks.site(seller)
    given = talks.proposal(site)
    made = await asyncio.gather(
        *(talks.propose(buyer, Side.BUY, seller, given, key="a") for _ in range(4))
    )
    assert len({one.id for one in made}) == 1
    assert await talks.account(buyer) == (10_000 * YUAN, 24 * YUAN)


async def test_what_is_refused_is_named_and_leaves_nothing(talks: Talks) -> None:
    buyer, seller = await talks.party("firm"), await talks.party("centre")
    poor = await talks.party("poor", 1)
    site = await talks.site(seller)
    good = talks.proposal(site)
    for changes, field in (
        ({"lots": 0}, "lots"),
        ({"price": 1}, "price"),
        ({"valid_until_ms": talks.clock.now_ms()}, "valid_until"),
        ({"valid_until_ms": good.period.from_ms + 1}, "valid_until"),
        ({"source_id": site.source_id}, "source"),
        ({"product": None}, "product"),
        ({"note": "x" * 501}, "note"),
    ):
        with pytest.raises(InvalidInput) as refused:
            await talks.propose(buyer, Side.BUY, seller, replace(good, **changes))
        assert refused.value.field == field
    with pytest.raises(InvalidInput, match="with himself"):
        await talks.propose(buyer, Side.BUY, buyer, good)
    with pytest.raises(LimitExceeded):
        await talks.propose(poor, Side.BUY, seller, good)
    with pytest.raises(LimitExceeded, match="too few are unsold"):
        await talks.propose(seller, Side.SELL, buyer, talks.offer(site, lots=9))
    made = await talks.propose(buyer, Side.BUY, seller, good)
    with pytest.raises(NotFound):
        await talks.write(lambda tx: deals.reject(tx, poor, made.id, 1))
    await talks.check()
