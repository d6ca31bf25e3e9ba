"""Quotations over both databases: sealed until the deadline, awarded once, nothing stays locked."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from manual_clock import ManualClock
from suanwang.kernel.errors import (
    Conflict,
    InvalidInput,
    LimitExceeded,
    NotFound,
    SuanwangError,
    Unavailable,
)
from suanwang.tenancy.secrets_box import SecretsBox
from suanwang.trade.catalogue.model import Product
from suanwang.trade.contracts.model import Origin, Terms
from suanwang.trade.market import quotations, quotations_award
from suanwang.trade.market.quotations_model import EnquiryState, QuoteGiven, QuoteState, Rule
from suanwang.trade.market.quotations_store import quotes
from talks_world import Talks
from trade_world import YUAN, card_pool


@pytest.fixture
async def talks(any_database: Any, clock: ManualClock) -> Talks:
    return Talks(any_database, clock)


async def test_the_lowest_price_wins_and_the_losers_are_free_at_once(talks: Talks) -> None:
    """Akash: losing bids stayed open with their money locked."""
    buyer = await talks.party("firm")
    sellers = [await talks.party(f"centre-{at}") for at in range(3)]
    sites = [await talks.site(one, f"site-{at}") for at, one in enumerate(sellers)]
    asked = await talks.ask(buyer, talks.enquiry(sites[0]))
    assert await talks.account(buyer) == (10_000 * YUAN, 80 * YUAN)
    for seller, site, yuan in zip(sellers, sites, (8, 7, 7), strict=True):
        await talks.quote(seller, asked, site, yuan)
        # a tenth of the ceiling, whatever the price: what is held tells nothing
        assert await talks.account(seller) == (10_000 * YUAN, 8 * YUAN)
    await talks.sweep()
    assert (await talks.found(asked)).state is EnquiryState.OPEN
    await talks.check()
    await talks.to_deadline()
    ended = await talks.found(asked)
    assert (ended.state, ended.held) == (EnquiryState.AWARDED, 0)
    assert await talks.outcomes(asked) == [
        ("lost", "Outbid", 0),
        ("won", "", 4),
        ("lost", "Outbid", 0),
    ]
    (contract,) = await talks.contracts()
    assert (contract.origin, contract.reference) == (Origin.QUOTATION, asked.id)
    assert (contract.lots, contract.price, contract.seller) == (4, 7 * YUAN, sellers[1])
    assert await talks.account(buyer) == (10_000 * YUAN, 56 * YUAN)
    held = [(await talks.account(one))[1] for one in sellers]
    assert held == [0, 5_600_000, 0]
    assert await talks.pledged(sites[0].source_id) == {}
    assert set((await talks.pledged(sites[1].source_id)).values()) == {4}
    await talks.check()


async def test_a_price_is_nowhere_before_the_deadline(talks: Talks) -> None:
    buyer, seller = await talks.party("firm"), await talks.party("centre")
    site = await talks.site(seller)
    asked = await talks.ask(buyer, talks.enquiry(site))
    made = await talks.quote(seller, asked, site, 7.654)
    short = await talks.quote(seller, asked, site, 0.5)
    assert made.price is None
    assert len(made.sealed) == len(short.sealed)
    dumped = await talks.read(_everything)
    assert "7654000" not in dumped
    # moved to another quote it does not open
    moved = sa.update(quotes).where(quotes.c.state == "sealed").values(sealed=made.sealed)
    await talks.write(lambda tx: tx.conn.execute(moved))
    await talks.to_deadline()
    assert (await talks.outcomes(asked))[1] == ("lost", "SealDamaged", 0)
    assert (await talks.found(asked)).why == "NoValidQuote"
    await talks.check()


def _everything(conn: sa.Connection) -> str:
    """Every row of every table."""
    tables = sa.inspect(conn).get_table_names()
    return repr([conn.execute(sa.text(f"SELECT * FROM {name}")).all() for name in tables])


async def test_a_quote_is_replaced_and_withdrawn_before_the_deadline_only(talks: Talks) -> None:
    buyer, seller = await talks.party("firm"), await talks.party("centre")
    site = await talks.site(seller)
    asked = await talks.ask(buyer, talks.enquiry(site, 8))
    await talks.quote(seller, asked, site, 9)
    last = await talks.quote(seller, asked, site, 8)
    assert set((await talks.pledged(site.source_id)).values()) == {8}
    await talks.check()

    def withdraw(tx: Any) -> Any:
        return quotations.withdraw(tx, asked.id, last.id)

    assert (await talks.write(withdraw)).state is QuoteState.WITHDRAWN
    assert (await talks.write(withdraw)).state is QuoteState.WITHDRAWN
    await talks.check()
    again = await talks.quote(seller, asked, site, 7)
    talks.clock.advance(s=3_600)
    for late in (
        talks.quote(seller, asked, site, 6),
        talks.write(lambda tx: quotations.withdraw(tx, asked.id, again.id)),
        talks.write(lambda tx: quotations.cancel(tx, asked.id)),
    ):
        with pytest.raises(Conflict, match="deadline is over"):
            await late
    await talks.sweep()
    assert [state for state, *_ in await talks.outcomes(asked)] == ["replaced", "withdrawn", "won"]
    assert (await talks.contracts())[0].price == 7 * YUAN
    await talks.check()


async def test_without_a_quote_an_enquiry_fails_and_costs_nothing(talks: Talks) -> None:
    buyer = await talks.party("firm")
    site = await talks.site(await talks.party("centre"))
    asked = await talks.ask(buyer, talks.enquiry(site))
    await talks.to_deadline()
    ended = await talks.found(asked)
    assert (ended.state, ended.why) == (EnquiryState.FAILED, "NoQuotes")
    assert await talks.account(buyer) == (10_000 * YUAN, 0)


async def test_a_buyer_who_cancels_pays_those_who_have_quoted(talks: Talks) -> None:
    buyer = await talks.party("firm")
    sellers = [await talks.party(f"centre-{at}") for at in range(3)]
    sites = [await talks.site(one, f"site-{at}") for at, one in enumerate(sellers)]
    free = await talks.ask(buyer, talks.enquiry(sites[0]))
    assert await talks.write(lambda tx: quotations.cancel(tx, free.id)) == 0
    asked = await talks.ask(buyer, talks.enquiry(sites[0]))
    for seller, site in zip(sellers, sites, strict=True):
        await talks.quote(seller, asked, site, 9)
    assert await talks.write(lambda tx: quotations.cancel(tx, asked.id)) == 800_000
    assert await talks.write(lambda tx: quotations.cancel(tx, asked.id)) == 0
    assert await talks.account(buyer) == (9_999_200_000, 0)
    assert await talks.outcomes(asked) == [("lost", "EnquiryCancelled", 0)] * 3
    await talks.to_deadline()
    assert (await talks.found(asked)).state is EnquiryState.CANCELLED
    await talks.check()


async def test_a_winner_who_cannot_is_passed_over_and_named(talks: Talks) -> None:
    """The pool vanishes, the organisation is suspended, the project closed, the money gone."""
    buyer = await talks.party("firm")
    names = ("gone", "suspended", "closed", "poor", "good")
    sellers = {name: await talks.party(name, 80 if name == "poor" else 10_000) for name in names}
    sites = {name: await talks.site(sellers[name], f"site-{name}") for name in names}
    terms = Terms(deposit_percent=100)
    asked = await talks.ask(
        buyer, talks.enquiry(sites["good"], bond=YUAN, ceiling_public=False, terms=terms)
    )
    for at, name in enumerate(names):
        await talks.quote(sellers[name], asked, sites[name], (4, 4, 4, 9.5, 10)[at])
    await talks.quote(sellers["good"], asked, sites["good"], 9.75)
    await talks.remove_pool(sites["gone"])
    await talks.suspend(sellers["suspended"])
    await talks.close(sellers["closed"])
    # he needs 76 yuan as deposit and has 80, of which another purchase takes 20
    await talks.spend(sellers["poor"], 20)
    await talks.to_deadline()
    assert await talks.outcomes(asked) == [
        ("lost", "CapacityGone", 0),
        ("lost", "SellerSuspended", 0),
        ("lost", "SellerProjectClosed", 0),
        ("lost", "SellerWithoutDeposit", 0),
        ("replaced", "", 0),
        ("won", "", 4),
    ]
    assert (await talks.contracts())[0].seller_held == 78 * YUAN
    await talks.check()


@pytest.mark.parametrize("what", ["suspended", "closed"])
async def test_a_buyer_who_may_trade_no_more_locks_nobody(talks: Talks, what: str) -> None:
    buyer, seller = await talks.party("firm"), await talks.party("centre")
    site = await talks.site(seller)
    asked = await talks.ask(buyer, talks.enquiry(site))
    await talks.quote(seller, asked, site, 7)
    await (talks.suspend(buyer) if what == "suspended" else talks.close(buyer))
    await talks.to_deadline()
    why = "BuyerSuspended" if what == "suspended" else "BuyerProjectClosed"
    assert (await talks.found(asked)).why == why
    assert await talks.outcomes(asked) == [("lost", why, 0)]
    assert (await talks.read(lambda c: quotations.quotes_of(c, asked.id)))[0].price is None
    await talks.check()


async def test_a_buyer_without_ceiling_pays_earnest_and_the_rest_at_the_award(
    talks: Talks,
) -> None:
    rich, poor = await talks.party("firm"), await talks.party("poor", 20)
    seller = await talks.party("centre")
    site = await talks.site(seller)
    given = talks.enquiry(site, ceiling=None, expected=10 * YUAN, bond=0)
    asked = await talks.ask(rich, given)
    too_dear = await talks.ask(poor, given)
    assert await talks.account(poor) == (20 * YUAN, 16 * YUAN)
    await talks.quote(seller, asked, site, 15)
    await talks.quote(seller, too_dear, site, 14)
    await talks.to_deadline()
    assert await talks.account(rich) == (10_000 * YUAN, 120 * YUAN)
    assert (await talks.found(too_dear)).why == "BuyerWithoutMoney"
    assert await talks.account(poor) == (19_840_000, 0)  # who asked in vain pays as for cancelling
    await talks.check()


async def test_several_winners_fill_what_is_divisible(talks: Talks) -> None:
    buyer = await talks.party("firm")
    sellers = [await talks.party(f"centre-{at}") for at in range(3)]
    sites = [await talks.site(one, f"site-{at}") for at, one in enumerate(sellers)]
    given = talks.enquiry(sites[0], 12, divisible=True)
    asked = await talks.ask(buyer, given)
    short = await talks.ask(buyer, replace(given, lots=20, min_lots=14, bond=0))
    for at, lots in enumerate((4, 6, 8)):
        await talks.quote(sellers[at], asked, sites[at], 7 + at, lots=lots)
    await talks.quote(sellers[0], short, sites[0], 5, lots=4)
    await talks.to_deadline()
    assert await talks.outcomes(asked) == [("won", "", 4), ("won", "", 6), ("won", "", 2)]
    assert [one.price for one in await talks.contracts()] == [7 * YUAN, 8 * YUAN, 9 * YUAN]
    assert (await talks.found(short)).why == "TooFewLots"
    assert await talks.outcomes(short) == [("lost", "TooFewLots", 0)]
    assert set((await talks.pledged(sites[2].source_id)).values()) == {2}
    await talks.check()


async def test_unlike_classes_compare_by_the_unit_or_are_refused(talks: Talks) -> None:
    buyer, first, second = [await talks.party(name) for name in ("firm", "old", "new")]
    old = await talks.site(first, "old")
    new = await talks.site(second, "new", card_pool(model="H800"))
    both = talks.enquiry(old, products=(old.product, new.product), rule=Rule.LOWEST_PER_UNIT)
    with pytest.raises(InvalidInput, match="no figure") as refused:
        await talks.ask(buyer, both)
    assert (refused.value.reason, refused.value.field) == ("NoUnitFigure", "rule")
    figures = {old.product.unit_class: 312, new.product.unit_class: 989}.get
    asked = await talks.ask(buyer, both, figures=figures)
    by_lot = await talks.ask(buyer, replace(both, rule=Rule.LOWEST_PRICE))
    for of in (asked, by_lot):
        await talks.quote(first, of, old, 3)
        await talks.quote(second, of, new, 9)
    await talks.to_deadline()
    assert [state for state, *_ in await talks.outcomes(asked)] == ["lost", "won"]
    assert [state for state, *_ in await talks.outcomes(by_lot)] == ["won", "lost"]
    await talks.check()


async def test_two_processes_award_once(talks: Talks) -> None:
    buyer, seller = await talks.party("firm"), await talks.party("centre")
    site = await talks.site(seller)
    asked = await talks.ask(buyer, talks.enquiry(site))
    await talks.quote(seller, asked, site, 7)
    talks.clock.advance(s=3_600)
    other = Talks(talks.database, talks.clock, box=talks.box)
    await asyncio.gather(*(one.sweep() for one in (talks, other) * 3))
    assert len(await talks.contracts()) == 1
    assert await talks.account(buyer) == (10_000 * YUAN, 56 * YUAN)
    await talks.check()


async def test_quotes_cancels_and_awards_at_once_leave_nothing_locked(talks: Talks) -> None:
    buyer = await talks.party("firm")
    sellers = [await talks.party(f"centre-{at}") for at in range(4)]
    sites = [await talks.site(one, f"site-{at}") for at, one in enumerate(sellers)]
    asked = [await talks.ask(buyer, talks.enquiry(sites[0], 1)) for _ in range(3)]
    work: list[Any] = [
        talks.quote(seller, of, site, 5 + at)
        for of in asked
        for at, (seller, site) in enumerate(zip(sellers, sites, strict=True))
    ]
    work.insert(5, talks.write(lambda tx: quotations.cancel(tx, asked[1].id)))
    found = await asyncio.gather(*work, return_exceptions=True)
    assert all(isinstance(one, Conflict) for one in found if isinstance(one, Exception))
    await talks.check()
    await talks.to_deadline()
    assert [(await talks.found(one)).state.value for one in asked] == [
        "awarded",
        "cancelled",
        "awarded",
    ]
    await talks.check()


async def test_a_platform_that_was_down_over_the_deadline_gives_everything_back(
    talks: Talks,
) -> None:
    """Akash: what ended while nobody listened was never closed."""
    buyer, seller = await talks.party("firm"), await talks.party("centre")
    site = await talks.site(seller)
    late = await talks.ask(buyer, talks.enquiry(site))
    await talks.quote(seller, late, site, 7)
    in_time = await talks.ask(
        buyer, replace(talks.enquiry(site), period=replace(late.period, first_hour=talks.hour(9)))
    )
    await talks.quote(seller, in_time, site, 7)
    talks.to_hour(late.period.first_hour + 1)
    await talks.sweep()
    assert (await talks.found(late)).why == "TooLate"
    assert await talks.outcomes(late) == [("lost", "TooLate", 0)]
    assert (await talks.found(in_time)).state is EnquiryState.AWARDED
    assert await talks.account(buyer) == (10_000 * YUAN, 56 * YUAN)


async def test_a_lost_key_holds_an_award_up_but_locks_nothing_for_good(talks: Talks) -> None:
    buyer, seller = await talks.party("firm"), await talks.party("centre")
    site = await talks.site(seller)
    asked = await talks.ask(buyer, talks.enquiry(site))
    await talks.quote(seller, asked, site, 7)
    talks.clock.advance(s=3_600)
    without = SecretsBox({b"new0": b"0" * 32}, b"new0")
    with pytest.raises(Unavailable, match="not in the key file"):
        await talks.write(lambda tx: quotations_award.award(tx, without, asked.id))
    assert (await talks.found(asked)).state is EnquiryState.OPEN
    talks.to_hour(asked.period.first_hour)
    ended = await talks.write(lambda tx: quotations_award.award(tx, without, asked.id))
    assert (ended.state, ended.why) == (EnquiryState.FAILED, "TooLate")
    await talks.check()


async def test_the_same_key_is_the_same_enquiry_and_the_same_quote(talks: Talks) -> None:
    buyer, seller = await talks.party("firm"), await talks.party("centre")
    site = await talks.site(seller)
    given = talks.enquiry(site)
    both = await asyncio.gather(*(talks.ask(buyer, given, key="a") for _ in range(4)))
    assert len({one.id for one in both}) == 1
    assert await talks.account(buyer) == (10_000 * YUAN, 80 * YUAN)
    made = await asyncio.gather(*(talks.quote(seller, both[0], site, 7, key="q") for _ in range(4)))
    assert len({one.id for one in made}) == 1
    other = await talks.ask(buyer, given)
    with pytest.raises(Conflict, match="another enquiry"):
        await talks.quote(seller, other, site, 7, key="q")
    await talks.to_deadline()
    replayed = await talks.quote(seller, both[0], site, 7, key="q")
    assert (replayed.id, replayed.state) == (made[0].id, QuoteState.WON)
    assert (await talks.ask(buyer, given, key="a")).state is EnquiryState.AWARDED
    await talks.check()


async def test_what_is_refused_is_named_and_leaves_nothing_behind(talks: Talks) -> None:
    buyer, seller, stranger = [await talks.party(name) for name in ("firm", "centre", "stranger")]
    poor = await talks.party("poor", 1)
    site, his = await talks.site(seller), await talks.site(stranger, "his")
    good = talks.enquiry(site)
    for changes, field in (
        ({"lots": 0}, "lots"),
        ({"products": ()}, "products"),
        ({"ceiling": None}, "ceiling"),
        ({"ceiling": 1}, "ceiling"),
        ({"ceiling": 10 * YUAN, "ceiling_public": False}, "bond"),
        ({"bond": -1}, "bond"),
        ({"min_lots": 2}, "min_lots"),
        ({"deadline_ms": talks.clock.now_ms()}, "deadline"),
        ({"deadline_ms": good.period.from_ms}, "deadline"),
        ({"period": replace(good.period, hours=0)}, "hours"),
        ({"period": replace(good.period, first_hour=talks.hour(0))}, "starts_at"),
        ({"lots": 1_000_000, "period": replace(good.period, hours=8_784)}, "lots"),
        ({"invited": (buyer.organisation_id,)}, "invited"),
        ({"terms": Terms(credit_percent=101)}, "credit_percent"),
    ):
        with pytest.raises(InvalidInput) as refused:
            await talks.ask(buyer, replace(good, **changes))
        assert refused.value.field == field
    with pytest.raises(NotFound):
        await talks.ask(buyer, replace(good, invited=("nobody",)))
    with pytest.raises(LimitExceeded):
        await talks.ask(poor, good)
    asked = await talks.ask(buyer, replace(good, invited=("centre",)))
    with pytest.raises(NotFound, match="no enquiry"):
        await talks.quote(stranger, asked, his, 7)
    for source, yuan, lots, error in (
        (site, 10.001, None, "AboveCeiling"),
        (site, 0, None, "InvalidPrice"),
        (site, 7, 3, "InvalidLots"),
        (site, 7, 5, "InvalidLots"),
        (his, 7, None, "NotYourSource"),
    ):
        with pytest.raises(InvalidInput) as bad:
            await talks.quote(seller, asked, source, yuan, lots=lots)
        assert bad.value.reason == error
    elsewhere = replace(good, products=(Product("a100-80g", "beijing"),))
    with pytest.raises(InvalidInput, match="delivers"):
        await talks.quote(seller, await talks.ask(buyer, elsewhere), site, 7)
    with pytest.raises(SuanwangError):
        await talks.write(
            lambda tx: quotations.quote(
                tx, talks.box, buyer, asked.id, QuoteGiven(site.source_id, 7 * YUAN)
            )
        )
    await talks.check()
