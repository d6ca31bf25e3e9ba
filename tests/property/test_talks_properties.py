"""Whatever is asked, quoted, proposed and answered, in whatever order: nothing stays locked."""

from __future__ import annotations

import asyncio
import random as stdlib_random
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from manual_clock import ManualClock
from suanwang.engines.matching.model import Side
from suanwang.kernel.errors import InvariantViolated, PermanentError
from suanwang.platform.database import InlineDatabase
from suanwang.trade.contracts.model import Party
from suanwang.trade.ledger import service as ledger
from suanwang.trade.market import deals, quotations
from suanwang.trade.market.deals_model import DealState
from suanwang.trade.market.model import Supply
from suanwang.trade.market.quotations_model import EnquiryState
from tables import fill
from talks_world import Talks
from trade_world import YUAN

T = TypeVar("T")
SMALL = st.integers(0, 3)
WORDS = [
    "ask",
    "quote",
    "quote",
    "quote",
    "retract",
    "cancel",
    "propose",
    "counter",
    "accept",
    "reject",
    "withdraw",
    "wait",
    "suspend",
    "close",
    "vanish",
    "spend",
]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(WORDS),
        SMALL,
        SMALL,
        st.integers(1, 9),
    ),
    max_size=40,
)


@dataclass
class Play:
    """Four parties with little money, two of them with a site, and what they did so far."""

    talks: Talks
    parties: list[Party] = field(default_factory=list)
    sites: list[Supply] = field(default_factory=list)
    enquiries: list[Any] = field(default_factory=list)
    quotes: list[Any] = field(default_factory=list)
    deals: list[Any] = field(default_factory=list)

    async def set_up(self) -> None:
        for at in range(4):
            self.parties.append(await self.talks.party(f"party-{at}", 150))
        for at in range(2):
            self.sites.append(await self.talks.site(self.parties[at], f"site-{at}"))

    async def step(self, what: str, one: int, other: int, size: int) -> None:
        try:
            await getattr(self, what)(one, other, size)
        except InvariantViolated:
            raise
        except PermanentError:
            pass  # refused by name: `check` sees that it left nothing behind

    def last(self, of: list[T], one: int) -> T | None:
        return of[-1 - one % len(of)] if of else None

    async def ask(self, one: int, other: int, size: int) -> None:
        given = self.talks.enquiry(self.sites[0], size, divisible=bool(other % 2))
        if other % 2:
            given = replace(given, min_lots=1 + size // 2)
        if other > 1:
            given = replace(given, ceiling=None, expected=5 * YUAN, bond=other * YUAN // 4)
        self.enquiries.append(await self.talks.ask(self.parties[one], given))

    async def quote(self, one: int, other: int, size: int) -> None:
        of = self.last(self.enquiries, other)
        if of is not None:
            lots = min(size, of.lots) if of.divisible else None
            self.quotes.append(
                await self.talks.quote(
                    self.parties[one], of, self.sites[one % 2], size + other / 4, lots=lots
                )
            )

    async def retract(self, one: int, other: int, size: int) -> None:
        of = self.last(self.quotes, one)
        if of is not None:
            await self.talks.write(lambda tx: quotations.withdraw(tx, of.enquiry_id, of.id))

    async def cancel(self, one: int, other: int, size: int) -> None:
        of = self.last(self.enquiries, one)
        if of is not None:
            await self.talks.write(lambda tx: quotations.cancel(tx, of.id))

    async def propose(self, one: int, other: int, size: int) -> None:
        side = Side.SELL if one < 2 and size % 2 else Side.BUY
        make = self.talks.offer if side is Side.SELL else self.talks.proposal
        given = make(self.sites[one % 2], lots=size, yuan=1 + other)
        self.deals.append(
            await self.talks.propose(self.parties[one], side, self.parties[other], given)
        )

    async def counter(self, one: int, other: int, size: int) -> None:
        of = self.last(self.deals, other)
        if of is not None:
            seller = (of.first == self.parties[one]) == (of.first_side is Side.SELL)
            make = self.talks.offer if seller else self.talks.proposal
            given = make(self.sites[one % 2], lots=size, yuan=2 + other)
            now = await self.talks.read(lambda c: deals.get(c, of.id))
            await self.talks.write(
                lambda tx: deals.counter(tx, self.parties[one], of.id, now.number, given)
            )

    async def accept(self, one: int, other: int, size: int) -> None:
        of = self.last(self.deals, other)
        if of is not None:
            now = await self.talks.read(lambda c: deals.get(c, of.id))
            source_id = self.sites[one % 2].source_id
            await self.talks.write(
                lambda tx: deals.accept(
                    tx, self.parties[one], of.id, now.number, source_id=source_id
                )
            )

    async def reject(self, one: int, other: int, size: int) -> None:
        of = self.last(self.deals, other)
        if of is not None:
            now = await self.talks.read(lambda c: deals.get(c, of.id))
            await self.talks.write(
                lambda tx: deals.reject(tx, self.parties[one], of.id, now.number)
            )

    async def withdraw(self, one: int, other: int, size: int) -> None:
        of = self.last(self.deals, other)
        if of is not None:
            await self.talks.write(lambda tx: deals.withdraw(tx, self.parties[one], of.id))

    async def wait(self, one: int, other: int, size: int) -> None:
        """With or without the leader."""
        self.talks.clock.advance(s=600 * size)
        if other:
            await self.talks.sweep()

    async def suspend(self, one: int, other: int, size: int) -> None:
        if size == 1:
            await self.talks.suspend(self.parties[one])

    async def close(self, one: int, other: int, size: int) -> None:
        if size == 1:
            await self.talks.close(self.parties[one])

    async def vanish(self, one: int, other: int, size: int) -> None:
        if size < 3:
            await self.talks.remove_pool(self.sites[one % 2])

    async def spend(self, one: int, other: int, size: int) -> None:
        """A project may go below what it has set aside: an operator's correction does that."""
        await self.talks.write(lambda tx: _take(tx, self.parties[one], size * 10 * YUAN))


def _take(tx: Any, party: Party, amount: int) -> None:
    key = tx.ids.new("spent")
    ledger.adjust(tx, party.project_id, -amount, key=key, description="spent")


async def play(steps: list[tuple[str, int, int, int]]) -> None:
    clock = ManualClock()
    database = InlineDatabase(clock, stdlib_random.Random(1))
    fill(database.engine)
    world = Play(Talks(database, clock))
    await world.set_up()
    try:
        for step in steps:
            await world.step(*step)
            await world.talks.check()
        clock.advance(s=4 * 3_600)
        await world.talks.sweep()
        await world.talks.check()
        for of in world.enquiries:
            assert (await world.talks.found(of)).state is not EnquiryState.OPEN
        for of in world.deals:
            ended = await world.talks.read(lambda c, one=of: deals.get(c, one.id))
            assert ended.state is not DealState.OPEN
    finally:
        await database.close()


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_nothing_is_held_or_pledged_that_no_open_thing_asks_for(
    steps: list[tuple[str, int, int, int]],
) -> None:
    asyncio.run(play(steps))
