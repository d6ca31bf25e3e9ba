"""Listings over both databases: sold at once, never oversold, taken back without loss."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from manual_clock import ManualClock
from suanwang.kernel.errors import Conflict, InvalidInput, LimitExceeded
from suanwang.trade.catalogue.model import Period
from suanwang.trade.contracts import service as contracts
from suanwang.trade.market import listings
from suanwang.trade.market.listings import ListingGiven
from suanwang.trade.market.model import ListingSearch, ListingSort, ListingState, Term
from trade_world import YUAN, Bazaar, card_pool


@pytest.fixture
async def bazaar(any_database: Any, clock: ManualClock) -> Bazaar:
    return Bazaar(any_database, clock)


async def test_a_listing_is_bought_hour_by_hour_until_it_is_sold_out(bazaar: Bazaar) -> None:
    seller = await bazaar.party("centre")
    site = await bazaar.site(seller)
    first = bazaar.hour(1)
    given = ListingGiven(site.source_id, Period(first, 24), 6, 9 * YUAN, min_hours=2)
    listed = await bazaar.write(lambda tx: listings.post(tx, seller, given))
    assert await bazaar.pledged(site.source_id) == {first + at: 6 for at in range(24)}
    firms = [await bazaar.party(f"firm-{at}") for at in range(4)]
    period = Period(first + 2, 3)
    bought = await asyncio.gather(
        *(
            bazaar.write(lambda tx, of=firm: listings.buy(tx, of, listed.id, period, 2, key="1"))
            for firm in firms
        ),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in bought) == ["LimitExceeded", "str", "str", "str"]
    lucky = next(firm for firm, one in zip(firms, bought, strict=True) if isinstance(one, str))
    again = await bazaar.write(lambda tx: listings.buy(tx, lucky, listed.id, period, 2, key="1"))
    assert again in bought
    assert await bazaar.account(lucky) == (10_000 * YUAN, 54 * YUAN)
    left = (await bazaar.read(lambda c: listings.unsold(c, [listed])))[listed.id]
    assert [lots for _, lots in left[:6]] == [6, 6, 0, 0, 0, 6]

    await bazaar.write(lambda tx: listings.close(tx, listed.id))
    await bazaar.write(lambda tx: listings.close(tx, listed.id))
    assert await bazaar.pledged(site.source_id) == {first + at: 6 for at in (2, 3, 4)}
    with pytest.raises(Conflict, match="not open"):
        await bazaar.write(lambda tx: listings.buy(tx, lucky, listed.id, Period(first, 2), 1))
    await bazaar.check()


async def test_a_purchase_that_does_not_fit_says_why(bazaar: Bazaar) -> None:
    seller, firm, poor = (
        await bazaar.party("centre"),
        await bazaar.party("firm"),
        await bazaar.party("poor", 1),
    )
    site = await bazaar.site(seller)
    first = bazaar.hour(1)
    good = ListingGiven(site.source_id, Period(first, 8), 4, 9 * YUAN, min_lots=2, max_hours=4)
    listed = await bazaar.write(lambda tx: listings.post(tx, seller, good))
    for period, lots, field in (
        (Period(first, 1), 1, "lots"),
        (Period(first, 5), 2, "hours"),
        (Period(first + 7, 2), 2, "starts_at"),
        (Period(first - 1, 2), 2, "starts_at"),
    ):
        with pytest.raises(InvalidInput) as refused:
            await bazaar.write(lambda tx, p=period, n=lots: listings.buy(tx, firm, listed.id, p, n))
        assert refused.value.field == field
    with pytest.raises(LimitExceeded, match=r"takes 18\.00 yuan"):
        await bazaar.write(lambda tx: listings.buy(tx, poor, listed.id, Period(first, 1), 2))
    with pytest.raises(InvalidInput, match="own organisation"):
        await bazaar.write(lambda tx: listings.buy(tx, seller, listed.id, Period(first, 1), 2))
    for changes, field in (
        ({"lots": 0}, "lots"),
        ({"min_lots": 9}, "min_lots"),
        ({"price": 1}, "price"),
        ({"window": Period(first - 1, 2)}, "starts_at"),
        ({"terms": replace(good.terms, credit_percent=101)}, "credit_percent"),
    ):
        with pytest.raises(InvalidInput) as refused:
            await bazaar.write(lambda tx, c=changes: listings.post(tx, seller, replace(good, **c)))
        assert refused.value.field == field
    with pytest.raises(LimitExceeded, match="too few are unsold"):
        await bazaar.write(lambda tx: listings.post(tx, seller, replace(good, lots=5)))
    assert await bazaar.account(firm) == (10_000 * YUAN, 0)


async def test_a_cancelled_purchase_is_the_pools_again_and_not_the_listings(
    bazaar: Bazaar,
) -> None:
    seller, firm = await bazaar.party("centre"), await bazaar.party("firm")
    site = await bazaar.site(seller)
    first = bazaar.hour(60)
    given = ListingGiven(site.source_id, Period(first, 2), 6, 9 * YUAN)
    listed = await bazaar.write(lambda tx: listings.post(tx, seller, given))
    bought = await bazaar.write(lambda tx: listings.buy(tx, firm, listed.id, Period(first, 2), 4))
    await bazaar.write(lambda tx: contracts.cancel(tx, bought))
    assert await bazaar.pledged(site.source_id) == {first: 2, first + 1: 2}
    await bazaar.write(lambda tx: listings.close(tx, listed.id))
    assert await bazaar.pledged(site.source_id) == {}
    await bazaar.check()


async def test_listings_are_searched_sorted_and_paged_in_the_database(bazaar: Bazaar) -> None:
    seller, other = await bazaar.party("centre"), await bazaar.party("valley")
    site = await bazaar.site(seller, pool=card_pool(200))
    far = await bazaar.site(other, "gansu-1", zone="gansu")
    first = bazaar.hour(1)
    for at in range(60):
        given = ListingGiven(
            site.source_id,
            Period(first + at % 7, 2),
            1 + at % 3,
            (5 + at % 10) * YUAN,
            title=f"Rack {at:02d} 100% green_power" if at % 2 else "夜间低谷",
        )
        await bazaar.write(lambda tx, of=given: listings.post(tx, seller, of))
    lone = ListingGiven(far.source_id, Period(first, 1), 1, YUAN, title="Lone")
    await bazaar.write(lambda tx: listings.post(tx, other, lone))

    async def walk(size: int = 7, **wanted: Any) -> list[Any]:
        search, after, found = ListingSearch(**wanted), None, []
        while True:
            page = await bazaar.read(
                lambda conn: listings.page(conn, search, after=after, limit=size)  # noqa: B023
            )
            found += page
            if len(page) < size:
                return found
            after = listings.place_of(page[-1], search.sort)

    everything = await walk()
    assert [one.id for one in everything] == sorted((one.id for one in everything), reverse=True)
    for sort, key in (
        (ListingSort.PRICE, lambda one: (one.price, one.id)),
        (ListingSort.STARTS, lambda one: (one.window.first_hour, one.id)),
        (ListingSort.LOTS, lambda one: (-one.lots, one.id)),
    ):
        found = await walk(sort=sort)
        assert found == sorted(everything, key=key)
        assert len(found) == 61
    for terms, count in (
        ([Term("夜间")], 30),
        ([Term("RACK"), Term("100%")], 30),
        ([Term("rack 0")], 5),
        ([Term("%")], 30),
        ([Term("n_p")], 30),
        ([Term("n?p")], 0),
        ([Term("nowhere", (far.site_id,))], 1),
        ([Term(everything[3].id)], 1),
    ):
        assert len(await walk(terms=tuple(terms))) == count, terms
    assert len(await walk(organisation_id=other.organisation_id)) == 1
    assert await walk(zone="nowhere") == []
    assert (await bazaar.read(listings.cheapest))[far.product] == YUAN
    for wrong in ("price:1:lst_1", "1", "newest:x:lst_1"):
        with pytest.raises(InvalidInput) as refused:
            await bazaar.read(lambda conn, of=wrong: listings.page(conn, after=of))
        assert refused.value.field == "cursor"


async def test_a_window_that_is_over_ends_its_listing(bazaar: Bazaar) -> None:
    seller = await bazaar.party("centre")
    site = await bazaar.site(seller)
    first = bazaar.hour(1)
    given = ListingGiven(site.source_id, Period(first, 2), 6, 9 * YUAN)
    listed = await bazaar.write(lambda tx: listings.post(tx, seller, given))
    bazaar.to_hour(first + 2)
    await bazaar.write(listings.expire)
    found = await bazaar.read(lambda c: listings.get(c, listed.id))
    assert found.state is ListingState.ENDED
    assert await bazaar.read(listings.page) == []
