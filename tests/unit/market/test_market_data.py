"""Candles, the reference price and surveillance over what was truly traded."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_abuse import bait, look_over, suspects
from suanwang.engines.matching.order_book import Stay
from suanwang.kernel.time import MS_PER_DAY
from suanwang.trade.catalogue.model import Product
from suanwang.trade.market import reading
from suanwang.trade.market.amending import amend
from suanwang.trade.market.figures import ENOUGH, index_of
from suanwang.trade.market.instruments import name_of
from suanwang.trade.market.model import OrderState
from trade_square import Square
from trade_world import buy, sell

A100 = Product("a100-80g", "henan")


async def test_what_was_traded_is_told_to_everybody(square: Square) -> None:
    seller, firm = await square.settle_in("centre"), await square.settle_in("firm")
    bazaar = square.bazaar
    site = await bazaar.site(seller)
    hour = bazaar.instrument(site, 48)
    for yuan in (8, 10, 9):
        await bazaar.place(seller, hour, sell(site, 2, yuan))
        await bazaar.place(firm, hour, buy(2, yuan))
        bazaar.clock.advance(s=600)
    (candle,) = await square.get("", f"/v1/market/history?instrument={name_of(hour)}")
    prices = [candle[name]["yuan"] for name in ("opened", "highest", "lowest", "closed")]
    assert (prices, candle["lots"]) == (["8.00", "10.00", "8.00", "9.00"], 6)
    (point,) = await square.get("", "/v1/market/index?unit_class=a100-80g")
    assert (point["price"]["yuan"], point["lot_hours"], point["is_thin"]) == ("9.00", 6, False)
    (glance,) = await square.get("", "/v1/market/glance")
    assert (glance["price"]["yuan"], glance["change_percent"]) == ("9.00", None)
    bazaar.clock.advance(s=MS_PER_DAY // 1_000)
    later = bazaar.instrument(site, 30)
    await bazaar.place(seller, later, sell(site, 1, 18))
    await bazaar.place(firm, later, buy(1, 18))
    (glance,) = await square.get("", "/v1/market/glance")
    assert glance["change_percent"] == 100
    thin = (await square.get("", "/v1/market/index"))[-1]
    assert (thin["price"]["yuan"], thin["standing"]["yuan"]) == ("18.00", "9.00")


@given(
    st.lists(
        st.tuples(st.integers(1, 10**10), st.integers(1, 10**6), st.integers(1, 50)), min_size=1
    )
)
def test_the_reference_price_is_between_the_prices(made: list[tuple[int, int, int]]) -> None:
    rows = sorted((A100, 0, *one) for one in made)
    (point,) = index_of(rows)
    assert point == index_of(rows[::-1])[0]
    assert point.lowest <= point.price <= point.highest
    assert point.is_thin == (sum(count for _, _, count in made) < ENOUGH)
    assert (point.standing is None) == point.is_thin


async def test_selling_there_and_back_is_noticed(square: Square) -> None:
    seller, firm = await square.settle_in("centre"), await square.settle_in("firm")
    bazaar = square.bazaar
    site = await bazaar.site(seller)
    hour = bazaar.instrument(site, 48)
    await bazaar.place(seller, hour, sell(site, 6, 8))
    await bazaar.place(firm, hour, buy(6, 8))
    (held,) = await bazaar.contracts()
    assert await _alerts(square) == []
    await bazaar.place(firm, hour, sell(held.id, 2, 9))
    await bazaar.place(seller, hour, buy(2, 9))
    assert await _alerts(square) == []  # a third of it: somebody changed his mind
    await bazaar.place(firm, hour, sell(held.id, 2, 9))
    await bazaar.place(seller, hour, buy(2, 9))
    (alert,) = await _alerts(square)
    assert alert["kind"] == "RoundTrip"
    assert set(alert["organisations"]) == {seller.organisation_id, firm.organisation_id}
    assert len(alert["evidence"]) == 3
    assert len(await _alerts(square)) == 1
    assert (await square.call("firm", "GET", "/v1/market/alerts")).status_code == 403
    closed = await square.call(
        "operator", "POST", f"/v1/market/alerts/{alert['id']}/close", {"note": "A mistake"}
    )
    assert closed.status_code == 204
    assert await _alerts(square) == []
    path = f"/v1/market/alerts/{alert['id']}/close"
    assert await square.refused("operator", path, {"note": "Again"}) == (409, "AlertClosed", None)
    missing = "/v1/market/alerts/alt_none/close"
    assert (await square.refused("operator", missing, {"note": "x"}))[1] == "AlertNotFound"


async def test_orders_that_were_only_to_be_seen_are_noticed(square: Square) -> None:
    hour = await suspects(square)
    for _ in range(3):
        assert "Spoofing" not in [alert["kind"] for alert in await _alerts(square)]
        await bait(square, hour)
    kinds = {alert["kind"]: alert for alert in await _alerts(square)}
    assert set(kinds) == {"RoundTrip", "Spoofing"}
    firm = square.parties["firm"]
    assert kinds["Spoofing"]["organisations"] == [firm.organisation_id]


@pytest.mark.parametrize("how", ["immediate", "self-trade", "amended", "gone"])
async def test_only_what_its_owner_took_back_was_bait(square: Square, how: str) -> None:
    """An order that never stood in the book, or that the market ended, deceived nobody."""
    seller, firm = await square.settle_in("centre"), await square.settle_in("firm")
    bazaar = square.bazaar
    site = await bazaar.site(seller)
    hour = bazaar.instrument(site, 48)
    for at in range(3):
        await bazaar.place(firm, hour, buy(1, 5))
        await bazaar.place(seller, hour, sell(site, 1, 5))
        held = (await bazaar.contracts())[-1]
        await bazaar.place(firm, hour, sell(held.id, 1, 6))
        if how == "immediate":
            (taken,) = await bazaar.place(firm, hour, buy(500, 4, Stay.IMMEDIATE))
            ended = taken.order
        elif how == "self-trade":
            (taken,) = await bazaar.place(firm, hour, buy(500, 6))
            ended = taken.order
        elif how == "amended":
            (bait,) = await bazaar.place(firm, hour, buy(500, 4))
            assert bait.order is not None
            change = partial(amend, books=bazaar.books, party=firm, order=bait.order)
            made = await bazaar.write(partial(change, limit=3_900_000 - at * 1_000))
            assert made.answer.order is not None
            await bazaar.write(partial(change, order=made.answer.order, limit=3_000_000))
            ended = await bazaar.read(lambda c, of=bait.order.id: reading.order(c, of))
        else:
            (bait,) = await bazaar.place(firm, hour, buy(500, 4))
            assert bait.order is not None
            order = replace(bait.order)
            ended = await bazaar.write(
                lambda tx, of=order: bazaar.books.cancel(tx, of, "CapacityGone")
            )
        assert ended is not None
        assert ended.state is OrderState.CANCELLED
        await bazaar.place(seller, hour, buy(1, 6))
    kinds = {alert["kind"] for alert in await _alerts(square)}
    # to another price is taken back, too
    assert ("Spoofing" in kinds) == (how == "amended")


async def test_an_alert_is_told_with_what_it_rests_on(square: Square) -> None:
    hour = await suspects(square)
    for _ in range(3):
        await bait(square, hour)
    assert len(await _alerts(square)) == 2
    firm, centre = (square.parties[who].organisation_id for who in ("firm", "centre"))
    for query, count in (
        ("unit_class=a100-80g&zone=henan", 2),
        ("zone=gansu", 0),
        ("kind=Spoofing", 1),
        ("closed=true&limit=1", 1),
    ):
        told = await square.get("operator", f"/v1/market/alerts?{query}")
        assert len(told["items"]) == count, query
    assert told["next_cursor"]
    path = await _path_of(square, "Spoofing")
    spoof = await square.get("operator", path)
    assert [one["lots"] for one in spoof["orders"]] == [500] * 3
    assert {one["organisation_id"] for one in spoof["orders"]} == {firm}
    assert {one["seller_organisation_id"] for one in spoof["trades"]} == {firm}
    assert {one["buyer_organisation_id"] for one in spoof["trades"]} == {centre}
    assert [one["price"]["yuan"] for one in spoof["trades"]] == ["6.00"] * 3
    became = {one["id"] for one in spoof["contracts"]}
    assert {one["contract_id"] for one in spoof["trades"]} == became
    trip = await square.get("operator", await _path_of(square, "RoundTrip"))
    assert trip["orders"] == trip["trades"] == []
    assert {one["id"] for one in trip["contracts"]} == set(trip["evidence"])
    assert (await square.call("firm", "GET", path)).status_code == 403


async def _path_of(square: Square, kind: str) -> str:
    (one,) = (await square.get("operator", f"/v1/market/alerts?kind={kind}"))["items"]
    return f"/v1/market/alerts/{one['id']}"


async def _alerts(square: Square) -> list[dict[str, object]]:
    await look_over(square)
    told: list[dict[str, object]] = (await square.get("operator", "/v1/market/alerts"))["items"]
    return told
