"""Each way to trade from a program: a real server and agent, and the SDK alone speaks to them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pytest

from rig import until
from sdk_words import names_known
from sdk_world import (
    CORES,
    HOUR,
    LAB,
    PRODUCT,
    SELLER,
    SETTINGS,
    Exchange,
    exchange_in,
    misfits,
    open_round,
)
from suanwang import Client
from suanwang.edge.client.auctions import document_of
from suanwang.kernel.errors import Conflict, InvalidInput, NotFound, SuanwangError

pytestmark = pytest.mark.xdist_group("sdk")
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
YUAN = 1_000_000
PROFILES = {
    name: {
        "name": name,
        "uscc": SETTINGS["seller"].code,
        "region": "henan/zhengzhou",
        **more,
    }
    for name, more in (
        (LAB.name, {"kind": "university"}),
        (SELLER.name, {"kind": "institute", "facility": {"kind": "supercomputing"}}),
    )
}
TOO_DEAR = 20_000 * YUAN


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    with exchange_in(tmp_path_factory.mktemp("exchange")) as made:
        yield made


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

    bought = firm.buy(listed["id"], starts_at=starts, hours=2, lots=3, key="night-1")
    assert bought["worth"]["micro_yuan"] == 3 * 2 * 90_000
    again = firm.buy(listed["id"], starts_at=starts, hours=2, lots=3, key="night-1")
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


def test_an_hour_is_delivered_paid_and_settled(exchange: Exchange) -> None:
    starts = exchange.hour(2)
    listed = exchange.seller.listings.post(
        exchange.pool, starts_at=starts, hours=1, lots=CORES, price=100_000
    )
    bought = exchange.lab.listings.buy(listed["id"], starts_at=starts, hours=1, lots=2)
    exchange.advance(starts + 5 * SECOND)
    until(lambda: _hours(exchange, bought["id"])[0]["samples"], "the contract was looked at")
    exchange.advance(starts + HOUR + 90 * SECOND)
    until(lambda: _hours(exchange, bought["id"])[0]["settled"], "its hour is settled")
    [hour] = _hours(exchange, bought["id"])
    assert (hour["delivered_percent"], hour["charged"]["micro_yuan"]) == (100, 200_000)
    [rated] = exchange.lab.market.sellers()
    assert rated["delivered_percent"] == 100

    # what else was bought may have been delivered meanwhile: the accounts must agree
    lab = exchange.lab.billing
    month = exchange.month
    until(lambda: -200_000 in _charges(exchange.lab, "genomes", month), "the hour is charged")
    statement = lab.statement("genomes", month=month, by="pool")
    charged = statement["charged"]["micro_yuan"]
    assert sum(one["amount"]["micro_yuan"] for one in statement["lines"]) == charged
    assert -sum(_charges(exchange.lab, "genomes", month)) == charged
    account = lab.account("genomes")
    assert account["balance"] == statement["closing"]
    assert [one["currency"] for one in lab.accounts("genomes")] == ["CNY"]
    used = list(lab.usage("genomes", month=month, by="pool"))
    assert [one["key"] for one in used] == [exchange.pool]
    text = b"".join(exchange.lab.settlement.focus_of_project("genomes", month=month)).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert sum(Decimal(one["BilledCost"]) for one in rows) * YUAN == charged

    dispute = exchange.lab.disputes.open(
        bought["id"], "not_delivered", "It was slow.", subject_kind="contract", amount=50_000
    )
    assert exchange.seller.disputes.answer(dispute["id"], "It was not.")["state"] == "answered"
    upheld = exchange.operator.disputes.decide(
        dispute["id"], upheld=True, text="A little.", amount=20_000
    )
    assert (upheld["state"], upheld["awarded"]["micro_yuan"]) == ("upheld", 20_000)
    assert [one["id"] for one in exchange.lab.disputes.search()] == [dispute["id"]]
    with pytest.raises(Conflict) as refused:
        exchange.lab.disputes.withdraw(dispute["id"], "Never mind.")
    assert refused.value.hint


def test_what_a_programme_pays(exchange: Exchange) -> None:
    operator, lab = exchange.operator.programmes, exchange.lab.programmes
    assert "henan" in [one["id"] for one in lab.search()]
    programme = lab.show("henan")
    assert programme["words"][0]["sentences"][0]["en"]
    request = {"amount": 100 * YUAN, "provider": SELLER.name}
    with pytest.raises(Conflict) as nobody:
        lab.check("henan", **request)
    assert nobody.value.hint
    assert lab.profile(LAB.name) is None
    operator.state_profile(LAB.name, {**PROFILES[LAB.name], "region": "hubei/wuhan"})
    unknown = lab.check("henan", **request)
    assert not unknown["eligible"]
    assert all(one["reason"] and one["hint"]["en"] for one in unknown["refusals"])
    with pytest.raises(SuanwangError) as refused:
        lab.apply("henan", **request)
    assert refused.value.reason == unknown["refusals"][0]["reason"]

    for name, profile in PROFILES.items():
        operator.state_profile(name, profile)
    stated = lab.profile(LAB.name)
    assert stated is not None
    assert stated["verified_at"], "the operator has stated it"
    year = exchange.now.year
    assert operator.set_budget("henan", year)["committed"]["micro_yuan"] == 0
    told = lab.check("henan", **request)
    assert told["eligible"], told["refusals"]
    applied = lab.apply("henan", **request)
    assert lab.application(applied["id"])["state"] == "submitted"
    assert lab.withdraw(applied["id"])["state"] == "withdrawn"
    again, third = (lab.apply("henan", **request) for _ in range(2))
    assert operator.refuse(third["id"], "Twice the same.")["remark"] == "Twice the same."
    granted = operator.grant(again["id"], remark="Good luck.")
    assert [one["state"] for one in lab.applications()] == ["refused", "granted", "withdrawn"]
    [voucher] = exchange.lab.vouchers.search()
    assert (voucher["id"], voucher["amount"]) == (granted["id"], told["amount"])
    assert exchange.lab.vouchers.show(voucher["id"])["redemptions"] == []
    assert exchange.firm.vouchers.search() == []

    today = f"{exchange.now + 8 * HOUR:%Y-%m-%d}"
    supposed = operator.what_if("henan", from_day="2026-01-01", until_day=today, budget="1000")
    assert supposed["pool"] == {"micro_yuan": 1_000 * YUAN, "yuan": "1000.00"}


def test_a_month_is_closed_invoiced_and_paid_out(exchange: Exchange) -> None:
    """Of what the other tests have bought; it puts the clock a month forward, so it is the last."""
    starts = exchange.hour(2)
    listed = exchange.seller.listings.post(
        exchange.pool, starts_at=starts, hours=1, lots=1, price=3 * YUAN
    )
    bought = exchange.firm.listings.buy(listed["id"], starts_at=starts, hours=1, lots=1)
    exchange.advance(starts + 5 * SECOND)
    until(lambda: _hours(exchange, bought["id"], "firm")[0]["samples"], "it was looked at")
    exchange.advance(starts + HOUR + 90 * SECOND)
    until(lambda: _hours(exchange, bought["id"], "firm")[0]["settled"], "its hour is settled")
    month = exchange.month
    until(lambda: -3 * YUAN in _charges(exchange.firm, "wings", month), "the hour is charged")
    exchange.advance((exchange.now.replace(day=1) + timedelta(days=33)).replace(day=2))

    settlement = exchange.operator.settlement
    closed = settlement.close_day()
    while closed["day"][:7] <= month:
        closed = settlement.close_day()
    assert settlement.close(closed["day"], recount=True)["recounted"] is True
    assert next(settlement.closes())["day"] == closed["day"]
    books = exchange.operator.billing.trial_balance(verify=True)
    assert (books["discrepancies"], books["sums"]["CNY"]["micro_yuan"]) == ([], 0)

    firm = exchange.firm.invoices
    organisation = exchange.firm.contracts.show(bought["id"])["buyer_organisation_id"]
    firm.state_buyer(organisation, {"name": "Design firm", "code": SETTINGS["seller"].code})
    may_be = firm.invoiceable("wings", month)
    asked = firm.request("wings", month, remark="For November")
    assert asked["gross_fen"] * 10_000 <= may_be["left"]["micro_yuan"]
    assert asked["buyer"]["name"] == "Design firm"
    assert b"Design firm" in firm.data_json(asked["id"])
    assert firm.data_xml(asked["id"]).startswith(b"<")
    issued = exchange.operator.invoices.issue(asked["id"], "12345678901234567890")
    assert firm.show(asked["id"])["number"] == issued["number"]
    red = firm.reverse(asked["id"], "stopped")
    assert red["reverses"] == asked["id"]
    assert [one["id"] for one in firm.search()] == [red["id"], asked["id"]]

    [proposed] = settlement.propose_payouts(minimum=YUAN)
    assert proposed["organisation_id"] != organisation
    [seen] = exchange.seller.settlement.payouts(state="proposed")
    assert exchange.seller.settlement.payout(seen["id"])["lines"]
    with pytest.raises(Conflict) as early:
        settlement.confirm_payout(seen["id"], "bank-1")
    assert early.value.hint
    assert settlement.approve_payout(seen["id"])["state"] == "approved"
    assert settlement.fail_payout(seen["id"], "Account closed.")["state"] == "failed"
    [again] = settlement.propose_payouts(organisations=[SELLER.name])
    assert again["amount"] == seen["amount"]
    settlement.approve_payout(again["id"])
    paid = settlement.confirm_payout(again["id"], "bank-2")
    assert (paid["state"], paid["bank_reference"]) == ("paid", "bank-2")


def _charges(client: Client, project: str, month: str) -> list[int]:
    found = client.billing.entries(project, month=month)
    return [one["amount"]["micro_yuan"] for one in found if one["kind"] == "charge"]


def _hours(exchange: Exchange, contract: str, buyer: str = "lab") -> list[dict[str, object]]:
    client: Client = getattr(exchange, buyer)
    found = client.contracts.show(contract)["hours_measured"]
    return [dict(one) for one in found] or [{"samples": 0, "settled": False}]
