"""Contracts over both databases: capacity sold once, hours settled once, nothing left held."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa

from manual_clock import ManualClock
from suanwang.kernel.errors import Conflict, LimitExceeded
from suanwang.kernel.time import MS_PER_HOUR, hour_of
from suanwang.platform.database import Tx
from suanwang.platform.outbox import Outbox
from suanwang.trade.billing import reports
from suanwang.trade.billing import service as billing
from suanwang.trade.billing.rules import month_bounds, month_of
from suanwang.trade.catalogue.model import Period, Product
from suanwang.trade.contracts import service as contracts
from suanwang.trade.contracts.model import Contract, ContractState, Draft, Origin, Party, Terms
from suanwang.trade.contracts.rules import funded
from suanwang.trade.contracts.service import Source
from suanwang.trade.contracts.store import capacity
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.model import RENT

T = TypeVar("T")
YUAN = 1_000_000
BUYER = Party("org_buyer", "prj_buyer", "usr_1")
SELLER = Party("org_seller", "prj_seller", "usr_2")
POOL = Source("pol_1", 8)
TERMS = Terms(credit_percent=20, deposit_percent=10, cancel_hours=2, cancel_percent=5)


class Market:
    def __init__(self, database: Any, clock: ManualClock) -> None:
        self.database, self.clock = database, clock
        self.outbox = Outbox()
        billing.subscribe(self.outbox)
        self.first = hour_of(clock.now_ms()) + 3

    async def write(self, use_case: Callable[[Tx], T]) -> T:
        found: T = await self.database.write(use_case)
        return found

    async def fund(self) -> None:
        for project in (BUYER.project_id, SELLER.project_id):
            await self.write(lambda tx, of=project: ledger.top_up(tx, of, 1_000 * YUAN, key="1"))

    def draft(self, **changes: Any) -> Draft:
        made = Draft(
            origin=Origin.LISTING,
            reference="lst_1",
            buyer=BUYER,
            seller=SELLER,
            site_id="ste_1",
            pool_id=POOL.id,
            product=Product("a100-80g", "henan"),
            period=Period(self.first, 4),
            lots=3,
            price=2 * YUAN,
            terms=TERMS,
        )
        return funded(replace(made, **changes))

    async def sign(self, draft: Draft) -> Contract:
        """As a way of trading does it: capacity and money first."""

        def use_case(tx: Tx) -> Contract:
            backing = draft.backing_id
            source = Source(backing, 3) if backing else POOL
            contracts.pledge(tx, source, draft.period, draft.lots)
            accounts = ledger.project_accounts(
                tx, [draft.buyer.project_id, draft.seller.project_id]
            )
            ledger.hold(
                tx,
                {
                    accounts[draft.buyer.project_id]: draft.worth + draft.whole_rent,
                    accounts[draft.seller.project_id]: draft.deposit,
                },
            )
            return contracts.get(tx.conn, contracts.sign(tx, [draft])[0])

        return await self.write(use_case)

    async def look(self, contract: Contract, lots: int, times: int = 1) -> None:
        for _ in range(times):
            await self.write(lambda tx: contracts.note_samples(tx, {contract.id: lots}))

    async def settle(self) -> None:
        while await self.write(lambda tx: contracts.settle(tx, self.outbox)):
            pass
        while await self.outbox.deliver(self.database, billing.CHARGE_SUBSCRIBER):
            pass

    def to_hour(self, hour: int, *, past_s: int = 0) -> None:
        self.clock.advance(s=(hour * MS_PER_HOUR - self.clock.now_ms()) // 1_000 + past_s)

    async def account(self, project: str) -> tuple[int, int]:
        found = await self.database.read(lambda c: ledger.project_account(c, project))
        assert found is not None
        return found.balance_micro_yuan, found.held_micro_yuan

    async def contract(self, contract_id: str) -> Contract:
        found: Contract = await self.database.read(lambda c: contracts.get(c, contract_id))
        return found

    async def rent(self) -> int:
        found = await self.database.read(lambda c: ledger.find_accounts(c, [RENT]))
        return found[RENT].balance_micro_yuan if found else 0

    async def check(self) -> None:
        assert await self.database.read(reports.verify) == []


@pytest.fixture
async def market(any_database: Any, clock: ManualClock) -> Market:
    made = Market(any_database, clock)
    await made.fund()
    return made


async def test_delivered_hours_are_paid_and_missing_ones_credited(market: Market) -> None:
    signed = await market.sign(market.draft())
    assert await market.account(BUYER.project_id) == (1_000 * YUAN, 24 * YUAN)
    assert await market.account(SELLER.project_id) == (1_000 * YUAN, 2_400_000)
    for hour, lots in enumerate((3, 0, 1)):
        market.to_hour(market.first + hour, past_s=60)
        await market.look(signed, lots, 4)
    market.to_hour(market.first + 4, past_s=120)  # nobody looked in the last hour
    await market.settle()
    ended = await market.contract(signed.id)
    assert (ended.state, ended.settled_hours) == (ContractState.COMPLETED, 4)
    hours = await market.database.read(lambda c: contracts.hours_of(c, signed.id))
    assert [(one.charged, one.credited) for one in reversed(hours)] == [
        (6 * YUAN, 0),
        (0, 1_200_000),
        (2 * YUAN, 800_000),
        (0, 0),
    ]
    assert await market.account(BUYER.project_id) == (994 * YUAN, 0)
    assert await market.account(SELLER.project_id) == (998 * YUAN, 0)
    await market.check()


async def test_rent_is_owed_in_the_measure_of_delivery(market: Market) -> None:
    """Three lots at 2 yuan and 0.333333 of rent: all, none, one, and an hour nobody looked at. To
    the micro-yuan, what the buyer lost is what the seller and the platform got."""
    signed = await market.sign(market.draft(rent=333_333))
    assert await market.account(BUYER.project_id) == (1_000 * YUAN, 24 * YUAN + 12 * 333_333)
    for hour, lots in enumerate((3, 0, 1)):
        market.to_hour(market.first + hour, past_s=60)
        await market.look(signed, lots, 4)
    market.to_hour(market.first + 4, past_s=120)
    await market.settle()
    hours = await market.database.read(lambda c: contracts.hours_of(c, signed.id))
    assert [one.rent for one in reversed(hours)] == [999_999, 0, 333_333, 0]
    assert await market.rent() == 4 * 333_333
    assert await market.account(BUYER.project_id) == (994 * YUAN - 4 * 333_333, 0)
    assert await market.account(SELLER.project_id) == (998 * YUAN, 0)
    ended = await market.contract(signed.id)
    assert (ended.state, ended.rent_held) == (ContractState.COMPLETED, 0)
    await market.check()


async def test_who_cancels_pays_for_the_link_and_who_is_left_does_not(market: Market) -> None:
    mine = await market.sign(market.draft(rent=500_000))
    cost = await market.write(lambda tx: contracts.cancel(tx, mine.id))
    assert cost == 1_200_000 + 6 * YUAN
    assert await market.rent() == 12 * 500_000
    assert await market.account(BUYER.project_id) == (1_000 * YUAN - cost, 0)
    left = await market.sign(market.draft(rent=500_000))
    credit = await market.write(lambda tx: contracts.withdraw(tx, left.id))
    assert await market.rent() == 6 * YUAN
    assert await market.account(BUYER.project_id) == (1_000 * YUAN - cost + credit, 0)
    await market.check()


async def test_rent_counts_in_the_month_of_its_hour(market: Market) -> None:
    """The last hour of a month in Shanghai is settled in the next one."""
    last = hour_of(month_bounds(month_of(market.clock.now_ms()))[1]) - 1
    signed = await market.sign(market.draft(period=Period(last, 1), rent=1_000))
    market.to_hour(last, past_s=60)
    await market.look(signed, 3)
    market.to_hour(last + 1, past_s=120)
    await market.settle()
    account = await market.database.read(lambda c: ledger.project_account(c, BUYER.project_id))
    span = last * MS_PER_HOUR, (last + 1) * MS_PER_HOUR
    lines = await market.database.read(lambda c: ledger.account_lines(c, account.id, *span))
    assert sorted((one.kind.value, one.amount_micro_yuan) for one in lines) == [
        ("charge", -6 * YUAN),
        ("rent", -3_000),
    ]


async def test_settling_twice_at_once_settles_an_hour_once(market: Market) -> None:
    signed = await market.sign(market.draft())
    market.to_hour(market.first, past_s=60)
    await market.look(signed, 3)
    market.to_hour(market.first + 4, past_s=120)
    await asyncio.gather(*(market.settle() for _ in range(4)))
    assert await market.account(BUYER.project_id) == (994 * YUAN, 0)
    await market.check()


async def test_capacity_is_not_sold_twice(market: Market) -> None:
    tries = (market.sign(market.draft(lots=3)) for _ in range(5))
    found = await asyncio.gather(*tries, return_exceptions=True)
    refused = [one.reason for one in found if isinstance(one, LimitExceeded)]
    assert refused == ["CapacitySold"] * 3  # of eight lots
    left = await market.database.read(lambda c: c.execute(sa.select(capacity)).all())
    assert {lots for _, _, lots in left} == {6}


async def test_the_buyer_may_step_back_in_time_for_a_fee(market: Market) -> None:
    signed = await market.sign(market.draft())
    fee = await market.write(lambda tx: contracts.cancel(tx, signed.id))
    assert fee == 1_200_000
    assert await market.account(BUYER.project_id) == (1_000 * YUAN - fee, 0)
    assert await market.account(SELLER.project_id) == (1_000 * YUAN, 0)
    again = await market.sign(market.draft(lots=8))
    market.to_hour(market.first - 1)
    with pytest.raises(Conflict, match="2 hours before"):
        await market.write(lambda tx: contracts.cancel(tx, again.id))
    with pytest.raises(Conflict, match="cancelled"):
        await market.write(lambda tx: contracts.cancel(tx, signed.id))
    await market.check()


async def test_a_seller_who_withdraws_pays_for_every_hour_left(market: Market) -> None:
    signed = await market.sign(market.draft())
    market.to_hour(market.first, past_s=60)
    await market.look(signed, 3)
    market.to_hour(market.first + 1, past_s=120)
    await market.settle()
    credit = await market.write(lambda tx: contracts.withdraw(tx, signed.id))
    assert credit == 3_600_000
    ended = await market.contract(signed.id)
    assert (ended.state, ended.buyer_held, ended.seller_held) == (ContractState.TERMINATED, 0, 0)
    assert await market.account(BUYER.project_id) == (994 * YUAN + credit, 0)
    assert await market.account(SELLER.project_id) == (1_000 * YUAN - credit, 0)
    market.to_hour(market.first + 4, past_s=120)
    await market.settle()
    assert (await market.contract(signed.id)).settled_hours == 1
    await market.check()


async def test_a_contract_is_sold_on_for_some_of_its_hours_and_lots(market: Market) -> None:
    signed = await market.sign(market.draft())
    third = Party("org_third", "prj_third", "usr_3")
    await market.write(lambda tx: ledger.top_up(tx, third.project_id, 50 * YUAN, key="1"))
    on = market.draft(
        buyer=third,
        seller=BUYER,
        period=Period(market.first + 2, 2),
        lots=2,
        price=3 * YUAN,
        backing_id=signed.id,
    )
    sold_on = await market.sign(on)
    with pytest.raises(LimitExceeded):
        await market.sign(replace(on, period=Period(market.first + 1, 2)))
    with pytest.raises(Conflict, match="sold on"):
        await market.write(lambda tx: contracts.cancel(tx, signed.id))
    for hour in range(4):
        market.to_hour(market.first + hour, past_s=60)
        await market.look(signed, 3)
        if hour >= 2:
            await market.look(sold_on, 2)
    market.to_hour(market.first + 4, past_s=120)
    await market.settle()
    assert await market.account(third.project_id) == (38 * YUAN, 0)
    assert await market.account(BUYER.project_id) == (976 * YUAN, 0)
    await market.check()
