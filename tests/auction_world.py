"""What tests of the call auction start from: a bazaar with an auctioneer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from suanwang.engines.matching.call_auction import Effort
from suanwang.kernel.time import MS_PER_HOUR
from suanwang.trade.contracts.model import ContractState, Party
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.model import RENT
from suanwang.trade.ledger.store import accounts
from suanwang.trade.market import auctions
from suanwang.trade.market.auction_bids import parse
from suanwang.trade.market.auction_clearing import Auctioneer
from suanwang.trade.market.auction_model import BidState, Result, Round, Standing
from suanwang.trade.market.auctions import Timetable
from trade_world import Bazaar

A100 = "a100-80g@henan"
FAR = "a100-80g@gansu"
H100 = "h100-80g@henan"
SMALL = Effort(rounds=20, patience=5, solves=200, fit_work=10_000)


@dataclass
class Hall(Bazaar):
    """A bazaar with rounds."""

    auctioneer: Auctioneer = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.auctioneer = self.another()

    def another(self) -> Auctioneer:
        """As another process has it."""
        return Auctioneer(self.database, self.clock, Timetable(), effort=SMALL)

    async def opened(self) -> Round:
        """The round that closes next."""
        await self.auctioneer.step()
        found = await self.read(auctions.rounds)
        return found[-1]

    async def bid(self, party: Party, round_: Round, **document: Any) -> Standing:
        made, _ = await self.write(lambda tx: auctions.place(tx, party, round_.id, parse(document)))
        return made

    async def shut(self, round_: Round) -> Round:
        return await self.write(lambda tx: auctions.close(tx, round_.id))

    async def cleared(self, round_: Round) -> Round:
        await self.shut(round_)
        return await self.auctioneer.clear(round_.id)

    async def order(self, one: Standing) -> Standing:
        return await self.read(lambda conn: auctions.order(conn, one.id))

    async def result(self, one: Standing) -> Result:
        found = await self.order(one)
        assert found.state is BidState.CLEARED
        assert found.result is not None
        return found.result

    async def round(self, one: Round) -> Round:
        return await self.read(lambda conn: auctions.round_of(conn, one.id))

    def to(self, at_ms: int) -> None:
        self.clock.advance(ms=at_ms - self.clock.now_ms())

    async def rent(self) -> int:
        """What the platform has of prices that differ between zones."""
        found = (await self.read(lambda c: ledger.find_accounts(c, [RENT]))).get(RENT)
        return found.balance_micro_yuan if found else 0

    async def held(self) -> int:
        """Micro-yuan, over all accounts."""
        query = sa.select(sa.func.coalesce(sa.func.sum(accounts.c.held), 0))
        return int(await self.read(lambda c: c.execute(query).scalar_one()))

    async def settle_all(self) -> None:
        """Every hour of every contract is delivered in full and paid."""
        signed = [one for one in await self.contracts() if one.state is ContractState.SIGNED]
        first = min(one.period.first_hour for one in signed)
        for hour in range(first, max(one.period.end_hour for one in signed)):
            self.to(hour * MS_PER_HOUR + 60_000)
            there = {
                one.id: one.lots
                for one in signed
                if one.period.first_hour <= hour < one.period.end_hour
            }
            await self.deliver(there)
            self.to((hour + 1) * MS_PER_HOUR + 120_000)
            await self.settle()
