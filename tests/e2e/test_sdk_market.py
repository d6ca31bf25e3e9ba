"""Each way to trade from a program: a real server and agent, and the SDK alone speaks to them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rig import until
from sdk_words import names_known
from sdk_world import (
    HOUR,
    PRODUCT,
    SELLER,
    Exchange,
    misfits,
    open_round,
)
from suanwang.edge.client.auctions import document_of
from suanwang.kernel.errors import Conflict, InvalidInput, NotFound, SuanwangError

pytestmark = pytest.mark.xdist_group("sdk")
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
YUAN = 1_000_000
TOO_DEAR = 20_000 * YUAN


def test_what_is_offered_is_found(exchange: Exchange) -> None:
    shapes = names_known()
    catalogue = exchange.firm.catalogue
    [offer] = catalogue.offers("zone:henan sort:price")
    assert (offer["site"], offer["pool"], offer["pool_id"]) == ("zhengzhou", "cpu", exchange.pool)
    assert exchange.firm.offers() == catalogue.offers()
    assert misfits(offer, shapes["Offer"]) == []
    cards = catalogue.search("gpu.domestic:yes gpu.memory>=64 sort:-gpu.fp16")
    assert {one["domestic"] for one in cards} == {True}
    for one in catalogue.search():
        assert misfits(one, shapes["Accelerator"]) == []
    assert misfits(catalogue.show(cards[0]["class"]), shapes["AcceleratorDetail"]) == []
    [core] = [one for one in catalogue.search() if one["class"] == "core"]
    assert core["offered_by"] == ["zhengzhou"]
    with pytest.raises(InvalidInput) as refused:
        catalogue.offers("gpu.memory>=")
    assert refused.value.field == "q"
    with pytest.raises(NotFound):
        catalogue.show("no-such-card")


def test_a_pool_is_measured(exchange: Exchange) -> None:
    shapes = names_known()
    catalogue = exchange.firm.catalogue
    asked = catalogue.measure("zhengzhou/cpu")
    assert misfits(asked, shapes["Bench"]) == []
    done = until(lambda: (one := catalogue.bench(asked["id"]))["state"] != "open" and one, "it ran")
    assert misfits(done, shapes["Bench"]) == []
    assert done["state"] == "taken", done
    assert [one["id"] for one in catalogue.benches(most=1)] == [asked["id"]]
    for one in catalogue.search():
        assert misfits(one, shapes["Accelerator"]) == []
    [offer] = catalogue.offers()
    assert misfits(offer, shapes["Offer"]) == []
    assert offer["measured"]


def test_from_a_listing_to_a_contract(exchange: Exchange) -> None:
    seller, firm = exchange.seller.listings, exchange.firm.listings
    starts = exchange.hour(3)
    listed = seller.post(
        exchange.pool,
        starts_at=starts,
        hours=12,
        lots=4,
        price=90_000,
        title="Cores by night",
        min_hours=2,
        terms={"cancel_hours": 1, "cancel_percent": 10},
    )
    assert listed["price"] == {"micro_yuan": 90_000, "yuan": "0.09"}
    assert listed["terms"]["credit_percent"] == 20, "what is not said is as usual"
    assert [one["id"] for one in firm.search()] == [listed["id"]]
    assert [one["lots"] for one in firm.show(listed["id"])["unsold"]] == [4] * 12

    bought = firm.buy(listed["id"], starts_at=starts, hours=2, lots=3, key="cores-1")
    assert bought["worth"]["micro_yuan"] == 3 * 2 * 90_000
    again = firm.buy(listed["id"], starts_at=starts, hours=2, lots=3, key="cores-1")
    assert again["id"] == bought["id"], "the same key is the same purchase"
    with pytest.raises(SuanwangError) as refused:
        firm.buy(listed["id"], starts_at=starts, hours=2, lots=3)
    assert (refused.value.reason, refused.value.field) == ("SoldOut", "lots")
    assert refused.value.hint
    with pytest.raises(InvalidInput) as naive:
        firm.buy(listed["id"], starts_at=starts.replace(tzinfo=None), hours=2, lots=1)
    assert (naive.value.reason, naive.value.field) == ("InvalidHour", "starts_at")

    [mine] = exchange.firm.contracts.search(role="buyer")
    [sold] = exchange.seller.contracts.search(role="seller")
    assert mine["id"] == sold["id"] == bought["id"]
    assert list(exchange.lab.contracts.search()) == []
    with pytest.raises(NotFound):
        exchange.lab.contracts.show(bought["id"])
    ended = exchange.firm.contracts.cancel(bought["id"])
    assert (ended["paid"]["micro_yuan"], ended["contract"]["phase"]) == (54_000, "cancelled")

    assert seller.close(listed["id"])["state"] == "closed"
    assert list(firm.search()) == []
    assert [one["id"] for one in firm.search(state="any")] == [listed["id"]]


def test_from_the_order_book_to_a_contract(exchange: Exchange) -> None:
    seller, firm = exchange.seller.market, exchange.firm.market
    name = exchange.instrument(5)
    found = firm.products()
    assert [f"{one['unit_class']}:{one['zone']}" for one in found["products"]] == [PRODUCT]
    assert f"{PRODUCT}:{found['periods'][0]['suffix']}".endswith(":1")
    for lots, price in ((2, 120_000), (1, "0.1")):
        assert seller.sell(name, lots, price, source=exchange.pool)["fills"] == []
    answer = firm.buy(name, 2, 110_000)
    [fill] = answer["fills"]
    assert (fill["lots"], fill["price"]["micro_yuan"]) == (1, 100_000), "the best price counts"
    order = answer["order"]
    assert order is not None
    assert (order["left"], order["state"]) == (1, "open")
    assert exchange.firm.contracts.show(fill["contract_id"])["origin"] == "book"

    book = firm.book(name, levels=5)
    assert [(one["price"]["micro_yuan"], one["lots"]) for one in book["asks"]] == [(120_000, 2)]
    assert [(one["price"]["micro_yuan"], one["lots"]) for one in book["bids"]] == [(110_000, 1)]
    [quoted] = [one for one in firm.instruments(zone="henan") if one["instrument"] == name]
    assert quoted["last_price"] == fill["price"]
    assert [one["id"] for one in firm.trades(instrument=name)] == [fill["trade_id"]]
    [candle] = firm.candles(name, days=1)
    assert (candle["closed"], candle["lots"]) == (fill["price"], 1)
    index = firm.reference_prices(unit_class="core", span="hour")
    assert {one["zone"] for one in index} == {"henan"}
    assert [one["zone"] for one in firm.glance()] == ["henan"]

    assert [one["id"] for one in firm.orders(state="open")] == [order["id"]]
    assert firm.cancel(order["id"])["state"] == "cancelled"
    assert firm.order(order["id"])["left"] == 0
    with pytest.raises(SuanwangError) as refused:
        firm.buy(name, 2, TOO_DEAR)
    assert refused.value.field == "price"


def test_a_batch_is_answered_order_by_order(exchange: Exchange) -> None:
    firm, name = exchange.firm.market, exchange.instrument(6)
    first, beyond, third = firm.place_all(
        [
            {"instrument": name, "side": "buy", "lots": 1, "price": 70_000, "key": "batch-1"},
            {"instrument": name, "side": "buy", "lots": 1, "price": TOO_DEAR, "key": "batch-2"},
            {"instrument": name, "side": "buy", "lots": 1, "price": "0.06", "key": "batch-3"},
        ]
    )
    assert first["order"]
    assert third["order"]
    assert beyond["order"] is None
    assert (beyond["field"], bool(beyond["reason"]), bool(beyond["detail"])) == (
        "price",
        True,
        True,
    )
    exchange.operator.market.steer(name, halted=True, reason="an exercise")
    with pytest.raises(Conflict) as refused:
        firm.buy(name, 1, 70_000)
    assert refused.value.reason == "Halted"
    steered = exchange.operator.market.steer(name, halted=False, high="5", reason="it is over")
    assert (steered["halted"], steered["high"]["micro_yuan"]) == (False, 5 * YUAN)
    freed = exchange.operator.market.steer(name, high=None, reason="as ever")
    assert freed["high"] != steered["high"]
    for one in firm.orders(state="open"):
        firm.cancel(one["id"])


def test_from_a_quotation_to_a_contract(exchange: Exchange) -> None:
    lab, seller = exchange.lab.quotations, exchange.seller.quotations
    deadline = exchange.now + 10 * MINUTE
    asked = lab.ask(
        [PRODUCT],
        starts_at=exchange.hour(4),
        hours=2,
        lots=2,
        deadline=deadline,
        ceiling=200_000,
        title="Two cores for an evening",
    )
    assert asked["buyers"] is not None
    assert asked["buyers"]["held"]["micro_yuan"] == 2 * 2 * 200_000
    assert [one["id"] for one in seller.search(state="open")] == [asked["id"]]
    assert [one["id"] for one in lab.search(which="asked")] == [asked["id"]]
    first = seller.quote(asked["id"], exchange.pool, 190_000)
    assert (first["price"], first["state"]) == (None, "sealed"), "nobody reads a sealed price"
    seller.withdraw(asked["id"], first["id"])
    quote = seller.quote(asked["id"], exchange.pool, "0.15", key="evening")
    with pytest.raises(SuanwangError) as refused:
        seller.quote(asked["id"], exchange.pool, 250_000)
    assert refused.value.field == "price"

    exchange.advance(deadline + MINUTE)
    opened = until(lambda: (one := lab.show(asked["id"]))["state"] != "open" and one, "it is over")
    assert opened["state"] == "awarded", opened["why"]
    [won] = [one for one in opened["opened"] if one["won_lots"]]
    assert won["id"] == quote["id"]
    contract = exchange.lab.contracts.show(won["contract_id"])
    assert (contract["origin"], contract["price"]["micro_yuan"]) == ("quotation", 150_000)

    again = lab.ask(
        [PRODUCT],
        starts_at=exchange.hour(4),
        hours=1,
        lots=1,
        deadline=exchange.now + 10 * MINUTE,
        expected="0.2",
        bond=1_000,
    )
    ended = lab.cancel(again["id"])
    assert (ended["enquiry"]["state"], ended["paid"]["micro_yuan"]) == ("cancelled", 0)


def test_from_a_deal_to_a_contract(exchange: Exchange) -> None:
    firm, seller = exchange.firm.deals, exchange.seller.deals
    span = {"starts_at": exchange.hour(4), "hours": 2, "lots": 1}
    until_then = exchange.now + HOUR
    proposed = firm.propose(
        "buy", SELLER.name, product=PRODUCT, price=50_000, valid_until=until_then, **span
    )
    [offered] = seller.search(box="in", state="open")
    assert (offered["id"], offered["your_turn"]) == (proposed["id"], True)
    countered = seller.counter(
        proposed["id"], 1, source=exchange.pool, price=80_000, valid_until=until_then, **span
    )
    with pytest.raises(Conflict) as stale:
        firm.accept(proposed["id"], 1)
    assert stale.value.reason == "ProposalChanged"
    agreed = firm.accept(proposed["id"], countered["number"])
    assert [one["state"] for one in agreed["history"]] == ["countered", "accepted"]
    contract = exchange.firm.contracts.show(str(agreed["contract_id"]))
    assert (contract["origin"], contract["price"]["micro_yuan"]) == ("bilateral", 80_000)

    for end, state in (("withdraw", "withdrawn"), ("reject", "rejected")):
        one = firm.propose(
            "buy", SELLER.name, product=PRODUCT, price=50_000, valid_until=until_then, **span
        )
        ended = firm.withdraw(one["id"]) if end == "withdraw" else seller.reject(one["id"], 1)
        assert firm.show(one["id"])["state"] == ended["state"] == state


def test_from_an_auction_to_a_contract(exchange: Exchange) -> None:
    day, _ = open_round(exchange, MINUTE)
    step = {"hours": [8, 10], "lots": 2}
    product = PRODUCT.replace(":", "@")
    exchange.seller.auctions.bid(
        day, document_of("sell", source=exchange.pool, curve=[{**step, "price": 70_000}])
    )
    firm = exchange.firm.auctions
    wanted = document_of("buy", curve=[{**step, "product": product, "price": 60_000}])
    bid = firm.bid(day, wanted, key="morning")
    assert bid["held"]["micro_yuan"] == 2 * 2 * 60_000
    assert firm.bid(day, wanted, key="morning")["repeated"]
    higher = document_of("buy", curve=[{**step, "product": product, "price": "0.09"}])
    assert firm.replace(day, bid["id"], higher)["version"] == 2
    other = exchange.lab.auctions.bid(day, wanted)
    assert exchange.lab.auctions.withdraw(day, other["id"])["state"] == "withdrawn"
    with pytest.raises(InvalidInput) as refused:
        firm.bid(day, {"side": "buy", "curve": [{"product": product, "lots": 1, "price": 1e-5}]})
    assert refused.value.field == "curve[0].price"

    operator = exchange.operator.auctions
    assert operator.close(day)["state"] == "closed"
    # the auctioneer may have been quicker than we are
    until(lambda: _cleared(exchange, day), "the round is cleared")
    told = firm.outcome(day, bid["id"])
    assert told["result"] is not None
    assert told["result"]["outcome"] == "accepted"
    assert [one["id"] for one in firm.bids(day)] == [bid["id"]]
    contracts = [exchange.firm.contracts.show(one) for one in told["result"]["contracts"]]
    assert {one["origin"] for one in contracts} == {"auction"}
    prices = {one["hour"]: one["price"] for one in firm.prices(day, product=product)}
    for hour in (8, 9):
        assert 70_000 <= (prices[hour] or {"micro_yuan": 0})["micro_yuan"] <= 90_000
    [curve] = firm.curves(day, hour=8)
    assert [one["lots"] for one in curve["supply"]] == [2]
    assert operator.replay(day)["same"]


def _cleared(exchange: Exchange, day: str) -> bool:
    auctions = exchange.operator.auctions
    if auctions.show(day)["state"] == "closed":
        try:
            auctions.clear(day)
        except Conflict:
            return False
    return auctions.show(day)["state"] == "cleared"


def test_a_contract_is_sold_on(exchange: Exchange) -> None:
    starts = exchange.hour(8)
    listed = exchange.seller.listings.post(
        exchange.pool, starts_at=starts, hours=4, lots=2, price=60_000
    )
    bought = exchange.firm.listings.buy(listed["id"], starts_at=starts, hours=4, lots=2)
    resold = exchange.firm.listings.post(
        bought["id"], starts_at=starts + HOUR, hours=2, lots=1, price=75_000
    )
    taken = exchange.lab.listings.buy(resold["id"], starts_at=starts + HOUR, hours=2, lots=1)
    assert exchange.lab.contracts.show(taken["id"])["backing_id"] == bought["id"]
    kept = exchange.firm.contracts.show(bought["id"])
    assert [one["lots"] for one in kept["resold"]] == [1, 1]
    with pytest.raises(SuanwangError) as refused:
        exchange.firm.listings.post(bought["id"], starts_at=starts, hours=4, lots=2, price=75_000)
    assert refused.value.field == "lots"
    exchange.seller.listings.close(listed["id"])


def test_the_operator_reads_of_abuse(exchange: Exchange) -> None:
    assert len(list(exchange.operator.market.alerts(closed=True, most=1))) <= 1
    with pytest.raises(NotFound):
        exchange.operator.market.close_alert("alert_0", "It was nothing.")
    with pytest.raises(SuanwangError) as refused:
        list(exchange.firm.market.alerts())
    assert refused.value.reason == "RoleTooLow"
