"""What follows a trade, from a program: delivery, charges, disputes, programmes, a closed month."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from decimal import Decimal

import pytest

from rig import until
from sdk_world import (
    CORES,
    HOUR,
    LAB,
    SELLER,
    SETTINGS,
    Exchange,
)
from suanwang import Client
from suanwang.kernel.errors import Conflict, Forbidden, SuanwangError

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
    assert settlement.payout_rule()["in_force"]
    with pytest.raises(Forbidden) as alone:
        settlement.confirm_payout(again["id"], "bank-2")
    assert alone.value.reason == "FourEyes"
    assert settlement.set_payout_rule(alone=True, reason="An exercise.")["alone"]
    paid = settlement.confirm_payout(again["id"], "bank-2")
    assert (paid["state"], paid["bank_reference"]) == ("paid", "bank-2")


def _charges(client: Client, project: str, month: str) -> list[int]:
    found = client.billing.entries(project, month=month)
    return [one["amount"]["micro_yuan"] for one in found if one["kind"] == "charge"]


def _hours(exchange: Exchange, contract: str, buyer: str = "lab") -> list[dict[str, object]]:
    client: Client = getattr(exchange, buyer)
    found = client.contracts.show(contract)["hours_measured"]
    return [dict(one) for one in found] or [{"samples": 0, "settled": False}]
