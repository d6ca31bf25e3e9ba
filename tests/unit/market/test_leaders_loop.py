"""The leader's loop of the market: what cannot be ended holds up nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from auction_world import A100, SMALL
from manual_clock import ManualClock
from suanwang.bootstrap import Loops, make_context
from suanwang.edge.api.context import Context
from suanwang.platform.settings import load_settings
from suanwang.trade.billing.rules import day_of
from suanwang.trade.catalogue.model import Period
from suanwang.trade.market import auctions, deals, listings, reading
from suanwang.trade.market.auction_bids import parse
from suanwang.trade.market.auction_model import RoundState
from suanwang.trade.market.auction_store import rounds
from suanwang.trade.market.deals_model import DealState
from suanwang.trade.market.listings import ListingGiven
from suanwang.trade.market.model import ListingState, OrderState
from suanwang.trade.market.orders_store import orders
from suanwang.trade.market.quotations_model import EnquiryState
from talks_world import Talks
from trade_world import YUAN, buy, card_pool, sell


@pytest.fixture
async def context(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Context]:
    made = make_context(load_settings(environ={}, state=str(tmp_path)), clock)
    yield made
    await made.database.close()


async def test_a_book_out_of_order_is_closed_and_holds_up_nothing(
    context: Context, clock: ManualClock
) -> None:
    """Rows that are no book (a defect, a hand in the database): at its hour it gives everything
    back like any other, and whatever else is due ends."""
    talks = Talks(context.database, clock, context.books, context.outbox, box=context.secrets)
    firm, centre = await talks.party("firm"), await talks.party("centre")
    site = await talks.site(centre, pool=card_pool(32))
    crossed, other = talks.instrument(site, 2), talks.instrument(site, 3)
    placed = []
    for hour in (crossed, other):
        placed += await talks.place(firm, hour, buy(2, 6))
        placed += await talks.place(centre, hour, sell(site, 2, 8))
    first = placed[0].order
    assert first is not None
    dear = orders.c.id == first.id
    await talks.write(
        lambda tx: tx.conn.execute(sa.update(orders).where(dear).values(limit_price=9 * YUAN))
    )
    context.books._kept.clear()  # as after a restart
    given = ListingGiven(site.source_id, Period(talks.hour(1), 1), 1, YUAN)
    listed = await talks.write(lambda tx: listings.post(tx, centre, given))
    asked = await talks.ask(firm, talks.enquiry(site))
    deal = await talks.propose(firm, buy(1, 1).side, centre, talks.proposal(site))
    talks.to_hour(talks.hour(4))
    await Loops(context)._end_what_is_due(clock.now_ms())
    for one in placed:
        assert one.order is not None
        found = await talks.read(lambda c, of=one.order.id: reading.order(c, of))
        assert (found.state, found.left) == (OrderState.EXPIRED, 0)
    assert (await talks.read(lambda c: listings.get(c, listed.id))).state is ListingState.ENDED
    assert (await talks.found(asked)).state is EnquiryState.FAILED
    assert (await talks.read(lambda c: deals.get(c, deal.id))).state is DealState.EXPIRED
    await talks.check()


async def test_a_round_that_cannot_be_cleared_holds_up_no_other(
    context: Context, clock: ManualClock
) -> None:
    talks = Talks(context.database, clock, context.books, context.outbox)
    firm = await talks.party("firm")
    await talks.site(await talks.party("centre"))
    today = day_of(clock.now_ms())
    timetable = context.auctioneer.timetable

    def opened(tx: Any, ahead: int) -> Any:
        return auctions.open_round(tx, auctions.day_text(today + ahead), timetable)

    bad, good = [await talks.write(lambda tx, d=days: opened(tx, d)) for days in (5, 6)]
    bid = parse({"side": "buy", "curve": [{"product": A100, "lots": 1, "price": 1}]})
    for one in (bad, good):
        await talks.write(lambda tx, of=one.id: auctions.place(tx, firm, of, bid))
        await talks.write(lambda tx, of=one.id: auctions.close(tx, of))
    # a price below nothing: the engine refuses the whole book
    await talks.write(
        lambda tx: tx.conn.execute(
            sa.update(rounds)
            .where(rounds.c.id == bad.id)
            .values(links=[auctions.ZoneLink("henan", "henan", 1, -1)])
        )
    )
    context.auctioneer.effort = SMALL
    await context.auctioneer.step()
    states = [
        (await talks.read(lambda c, of=one.id: auctions.round_of(c, of))).state
        for one in (bad, good)
    ]
    assert states == [RoundState.CLOSED, RoundState.CLEARED]
