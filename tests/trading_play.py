"""Everything that people and the leader do on the market, by number: for plays of random steps.

A step is a word and three small numbers (who, of which, how many). What is refused by name is
part of the play; what may never be is looked at by `check`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import sqlalchemy as sa

from auction_world import A100, SMALL
from suanwang.engines.matching.order_book import Stay
from suanwang.grid.sites import service as sites
from suanwang.kernel.errors import InvariantViolated, SuanwangError
from suanwang.trade.catalogue.model import Period
from suanwang.trade.contracts import service as contracts
from suanwang.trade.contracts.model import ContractState, Party
from suanwang.trade.contracts.store import capacity
from suanwang.trade.ledger.store import accounts
from suanwang.trade.market import (
    amending,
    auction_rules,
    auctions,
    deals,
    leaving,
    listings,
    quotations,
    reading,
)
from suanwang.trade.market.auction_bids import document_of, parse
from suanwang.trade.market.auction_clearing import Auctioneer
from suanwang.trade.market.auctions import Timetable
from suanwang.trade.market.books import Books
from suanwang.trade.market.listings import ListingGiven
from suanwang.trade.market.model import Instrument, ListingSearch, Supply
from talks_world import Talks
from trade_world import YUAN, buy, card_pool, sell

T = TypeVar("T")
EVERY = ListingSearch(state=None)
Step = tuple[str, int, int, int]
WORDS = (
    *("buys", "sells", "resells", "amends", "cancels") * 2,
    *("lists", "takes", "takes_back"),
    *("asks", "quotes", "quotes", "retracts", "drops"),
    *("proposes", "counters", "accepts", "refuses"),
    *(
        "opens",
        "bids",
        "bids",
        "bids",
        "offers",
        "replaces",
        "replaces",
        "leaves",
        "clears",
        "voids",
    ),
    *("steps_back", "gives_up", "waits", "waits", "delivers"),
    *("shrinks", "vanishes", "returns"),
)
STAYS = list(Stay)
CARDS = 24


@dataclass
class TradingPlay:
    """Four parties, the first two with a site; all ways of trading at once."""

    talks: Talks
    parties: list[Party] = field(default_factory=list)
    pools: list[Supply] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    processes: list[Books] = field(default_factory=lambda: [Books() for _ in range(3)])

    async def set_up(self) -> None:
        for at in range(4):
            self.parties.append(await self.talks.party(f"party-{at}", 5_000))
        for at in range(2):
            self.pools.append(
                await self.talks.site(self.parties[at], f"site-{at}", card_pool(CARDS))
            )

    async def step(self, step: Step) -> None:
        word, who, other, size = step
        try:
            done = await getattr(self, word)(who, other, size)
        except InvariantViolated:
            raise
        except SuanwangError:
            return  # refused by name: `check` sees that it left nothing behind
        if done is not None:
            self.counts[word] = self.counts.get(word, 0) + 1

    def hour(self, other: int) -> Instrument:
        """One of four hours of tomorrow: where all ways of trading meet."""
        first = self.first_hour + 2 * (other % 2)
        return Instrument(self.pools[0].product, Period(first + other // 2, 1))

    @property
    def _day(self) -> int:
        """The next one whose round takes orders still."""
        now_ms = self.talks.clock.now_ms()
        return auction_rules.due_days(now_ms, Timetable().close_hour, 1)[0]

    @property
    def day(self) -> str:
        return auctions.day_text(self._day)

    @property
    def first_hour(self) -> int:
        """Ten in the morning of that day."""
        return auction_rules.first_hour_of(self._day) + 10

    def books(self, who: int) -> Books:
        return self.processes[who % 3]

    async def rows(self, query: Any) -> list[Any]:
        return list(await self.talks.read(query))

    def one(self, of: Sequence[T], at: int) -> T | None:
        """The latest come first."""
        return of[at % len(of)] if of else None

    # --- books -----------------------------------------------------------------------------------

    async def _place(self, who: int, hour: Instrument, given: Any) -> Any:
        party, books = self.parties[who], self.books(who)
        (answer,) = await self.talks.write(lambda tx: books.place(tx, party, [(hour, given)]))
        return answer.order

    async def buys(self, who: int, other: int, size: int) -> Any:
        stay = STAYS[size % 4] if who == other else Stay.REST
        return await self._place(who, self.hour(other), buy(size, 3 + (size + other) % 4, stay))

    async def sells(self, who: int, other: int, size: int) -> Any:
        pool = self.pools[who % 2]
        return await self._place(who, self.hour(other), sell(pool, size, 3 + (size + who) % 4))

    async def resells(self, who: int, other: int, size: int) -> Any:
        held = self.one(await self._held(who), size)
        if held is None:
            return None
        hour = Instrument(held.product, Period(held.period.first_hour, 1))
        return await self._place(who, hour, sell(held.id, 1 + size % 3, 3 + other))

    async def _orders(self, who: int) -> list[Any]:
        mine = [self.parties[who].project_id]
        return await self.rows(lambda c: reading.orders(c, mine))

    async def amends(self, who: int, other: int, size: int) -> Any:
        order, books = self.one(await self._orders(who), other), self.books(who)
        if order is None:
            return None
        limit = None if size % 2 else (2 + size) * YUAN
        return await self.talks.write(
            lambda tx: amending.amend(tx, books, self.parties[who], order, size, limit)
        )

    async def cancels(self, who: int, other: int, size: int) -> Any:
        order, books = self.one(await self._orders(who), other), self.books(who)
        return order and await self.talks.write(lambda tx: books.cancel(tx, order))

    # --- listings --------------------------------------------------------------------------------

    async def lists(self, who: int, other: int, size: int) -> Any:
        held = self.one(await self._held(who), other) if size % 2 else None
        source, window = (
            (held.id, held.period) if held else (self.pools[who % 2].source_id, self._window())
        )
        given = ListingGiven(source, window, 1 + size % 4, (2 + other) * YUAN)
        return await self.talks.write(lambda tx: listings.post(tx, self.parties[who], given))

    def _window(self) -> Period:
        return Period(self.first_hour, 4)

    async def takes(self, who: int, other: int, size: int) -> Any:
        listed = self.one(await self.rows(listings.page), other)
        if listed is None:
            return None
        period = Period(listed.window.first_hour, 1 + size % listed.window.hours)
        return await self.talks.write(
            lambda tx: listings.buy(tx, self.parties[who], listed.id, period, 1 + size % 3)
        )

    async def takes_back(self, who: int, other: int, size: int) -> Any:
        listed = self.one(await self.rows(listings.page), other + size)
        return listed and await self.talks.write(lambda tx: listings.close(tx, listed.id))

    # --- talks -----------------------------------------------------------------------------------

    async def asks(self, who: int, other: int, size: int) -> Any:
        given = self.talks.enquiry(
            self.pools[0], size, period=self._window(), divisible=True, min_lots=1, ceiling=6 * YUAN
        )
        return await self.talks.ask(self.parties[who], given)

    async def quotes(self, who: int, other: int, size: int) -> Any:
        asked = self.one(await self.rows(quotations.page), other)
        held = self.one(await self._held(who), other) if size % 2 else None
        source = held.id if held else self.pools[who % 2].source_id
        return asked and await self.talks.quote(
            self.parties[who], asked, source, 2 + other, lots=min(size, asked.lots)
        )

    async def retracts(self, who: int, other: int, size: int) -> Any:
        for asked in (await self.rows(quotations.page))[:2]:
            quote = self.one(
                await self.rows(lambda c, of=asked: quotations.quotes_of(c, of.id)), other
            )
            if quote is not None:
                await self.talks.write(
                    lambda tx, of=quote: quotations.withdraw(tx, of.enquiry_id, of.id)
                )
        return None

    async def drops(self, who: int, other: int, size: int) -> Any:
        asked = self.one(await self.rows(quotations.page), other)
        return asked and await self.talks.write(lambda tx: quotations.cancel(tx, asked.id))

    async def proposes(self, who: int, other: int, size: int) -> Any:
        sells = who < 2 and size % 2
        make = self.talks.offer if sells else self.talks.proposal
        given = make(self.pools[who % 2], size, 2 + other, period=self._window())
        side = sell("x", 1, 1).side if sells else buy(1, 1).side
        return await self.talks.propose(self.parties[who], side, self.parties[other], given)

    async def _deal(self, other: int) -> Any:
        return self.one(await self.rows(deals.page), other // 2)

    async def _answerer(self, deal: Any, who: int, size: int) -> int:
        """Mostly whoever's turn it is."""
        last = (await self.talks.read(lambda c: deals.last_proposals(c, [deal])))[deal.id]
        first, other = deal.first.organisation_id, deal.other.organisation_id
        turn = other if last.by.organisation_id == first else first
        orgs = [one.organisation_id for one in self.parties]
        return orgs.index(turn) if size < 5 else who

    async def counters(self, who: int, other: int, size: int) -> Any:
        deal = await self._deal(other)
        if deal is None:
            return None
        who = await self._answerer(deal, who, size)
        sells = (deal.first == self.parties[who]) == (deal.first_side is sell("x", 1, 1).side)
        make = self.talks.offer if sells else self.talks.proposal
        given = make(self.pools[who % 2], size, 2 + other, period=self._window())
        return await self.talks.write(
            lambda tx: deals.counter(tx, self.parties[who], deal.id, deal.number, given)
        )

    async def accepts(self, who: int, other: int, size: int) -> Any:
        deal = await self._deal(other)
        if deal is None:
            return None
        who = await self._answerer(deal, who, size)
        source = self.pools[who % 2].source_id
        return await self.talks.write(
            lambda tx: deals.accept(tx, self.parties[who], deal.id, deal.number, source_id=source)
        )

    async def refuses(self, who: int, other: int, size: int) -> Any:
        deal = await self._deal(other)
        if deal is None:
            return None
        who = await self._answerer(deal, who, size)
        return await self.talks.write(
            lambda tx: (
                deals.reject(tx, self.parties[who], deal.id, deal.number)
                if size % 2
                else deals.withdraw(tx, self.parties[who], deal.id)
            )
        )

    # --- the round of tomorrow -------------------------------------------------------------------

    def auctioneer(self) -> Auctioneer:
        return Auctioneer(self.talks.database, self.talks.clock, Timetable(), effort=SMALL)

    async def opens(self, who: int, other: int, size: int) -> Any:
        return await self.talks.write(lambda tx: auctions.open_round(tx, self.day, Timetable()))

    async def _bid(self, who: int, document: dict[str, Any]) -> Any:
        bid = parse(document)
        return await self.talks.write(
            lambda tx: auctions.place(tx, self.parties[who], self.day, bid)
        )

    async def bids(self, who: int, other: int, size: int) -> Any:
        step = {"product": A100, "hours": [10, 11 + other], "lots": size, "price": 3 + other}
        return await self._bid(who, {"side": "buy", "curve": [step]})

    async def offers(self, who: int, other: int, size: int) -> Any:
        held = self.one(await self._held(who), other) if size % 2 else None
        source = held.id if held else self.pools[who % 2].source_id
        first = (held.period.first_hour + 8) % 24 if held else 10
        step = {"hours": [first, first + 1], "lots": 1 + size % 4, "price": 1 + other}
        return await self._bid(who, {"side": "sell", "source": source, "curve": [step]})

    async def _bids(self, who: int) -> list[Any]:
        mine = [self.parties[who].project_id]
        return await self.rows(lambda c: auctions.orders(c, mine))

    async def replaces(self, who: int, other: int, size: int) -> Any:
        bid = self.one([one for one in await self._bids(who) if one.held], other)
        if bid is None:
            return None
        given = document_of(bid.bid)
        given["curve"][0]["lots"] = size
        return await self.talks.write(lambda tx: auctions.replace_order(tx, bid, parse(given)))

    async def leaves(self, who: int, other: int, size: int) -> Any:
        bid = self.one([one for one in await self._bids(who) if one.held], other)
        return bid and await self.talks.write(lambda tx: auctions.withdraw(tx, bid))

    async def clears(self, who: int, other: int, size: int) -> Any:
        await self.talks.write(lambda tx: auctions.close(tx, self.day))
        return await self.auctioneer().clear(self.day) if size > 2 else None

    async def voids(self, who: int, other: int, size: int) -> Any:
        if size > 2:
            return None
        return await self.talks.write(lambda tx: auctions.void(tx, self.day, "play"))

    # --- contracts, time, sites ------------------------------------------------------------------

    async def _held(self, who: int) -> list[Any]:
        mine = [self.parties[who].project_id]
        signed = ContractState.SIGNED
        return await self.rows(lambda c: contracts.page(c, buyers=mine, state=signed))

    async def steps_back(self, who: int, other: int, size: int) -> Any:
        held = self.one(await self._held(who), other)
        return held and await self.talks.write(lambda tx: contracts.cancel(tx, held.id) or held)

    async def gives_up(self, who: int, other: int, size: int) -> Any:
        mine, signed = [self.parties[who].project_id], ContractState.SIGNED
        found = await self.rows(lambda c: contracts.page(c, sellers=mine, state=signed))
        sold, books = self.one(found, other), self.books(who)
        return sold and await self.talks.write(lambda tx: leaving.withdraw(tx, books, sold.id))

    async def waits(self, who: int, other: int, size: int) -> Any:
        self.talks.clock.advance(s=1_200 * size)
        if other:
            await self.lead()
        return True

    async def lead(self) -> None:
        await self.talks.expire_books()
        await self.talks.write(listings.expire)
        await self.talks.sweep()
        await self.auctioneer().step()
        await self.talks.settle()

    async def delivers(self, who: int, other: int, size: int) -> Any:
        """To the next hour of tomorrow's trade, where somebody looks what is there."""
        if size > 3:
            return None
        signed = await self.rows(lambda c: contracts.page(c, state=ContractState.SIGNED))
        now = self.talks.hour(0)
        hour = min((max(now, one.period.first_hour) for one in signed), default=now)
        if hour > now:
            self.talks.to_hour(hour, past_s=60)
        running = [one for one in signed if one.period.first_hour <= hour < one.period.end_hour]
        await self.talks.deliver({one.id: one.lots * other // 3 for one in running})
        await self.lead()
        return running or None

    async def _report(self, who: int, reports: list[Any]) -> Any:
        site_id = self.pools[who % 2].site_id
        return await self.talks.write(lambda tx: sites.take_inventory(tx, site_id, reports)) or None

    async def shrinks(self, who: int, other: int, size: int) -> Any:
        return await self._report(who, [card_pool(4 * other + 2)]) if size < 2 else None

    async def vanishes(self, who: int, other: int, size: int) -> Any:
        return await self._report(who, []) if size < 2 else None

    async def returns(self, who: int, other: int, size: int) -> Any:
        return await self._report(who, [card_pool(CARDS)])

    # --- what must hold --------------------------------------------------------------------------

    async def check(self) -> None:
        await self.talks.check()
        await self.talks.read(self._conserved)

    def _conserved(self, conn: sa.Connection) -> None:
        """Money is neither made nor lost, in no currency; nothing is promised twice."""
        columns = (accounts.c.currency, sa.func.sum(accounts.c.balance))
        sums = conn.execute(sa.select(*columns).group_by(accounts.c.currency)).all()
        assert all(total == 0 for _, total in sums), sums
        assert not conn.execute(sa.select(accounts.c.id).where(accounts.c.held < 0)).all()
        held = {one.id: one.lots for one in contracts.page(conn, limit=100_000)}
        of_listings = {one.id: one.lots for one in listings.page(conn, EVERY, limit=100_000)}
        most = {**held, **of_listings, **{one.source_id: CARDS for one in self.pools}}
        for source_id, hour, lots in conn.execute(sa.select(capacity)):
            assert 0 <= lots <= most[source_id], (source_id, hour, lots)

    async def end(self) -> None:
        """A month later nothing is open, and nobody has anything set aside."""
        await self.returns(0, 0, 0)
        self.talks.clock.advance(s=30 * 86_400)
        await self.lead()
        await self.check()
        query = sa.select(sa.func.coalesce(sa.func.sum(accounts.c.held), 0))
        assert not await self.talks.read(lambda c: c.execute(query).scalar_one())
