"""The market's routes: who may do what, what is told to whom, what a bad call is answered."""

from __future__ import annotations

import math
from typing import Any

import pytest

from suanwang.edge.api.views_market import AnswerView
from suanwang.trade.market.instruments import name_of
from suanwang.trade.market.model import Supply
from trade_square import Square, iso


async def _opened(square: Square) -> tuple[Supply, str]:
    seller = await square.settle_in("centre")
    await square.settle_in("firm")
    site = await square.bazaar.site(seller)
    return site, name_of(square.bazaar.instrument(site))


def _order(instrument: str, side: str, lots: int, yuan: str | None, **more: Any) -> dict[str, Any]:
    body = {"instrument": instrument, "side": side, "lots": lots, **more}
    return body if yuan is None else {**body, "price": {"yuan": yuan}}


async def test_an_order_is_traded_and_everybody_sees_what_is_his(square: Square) -> None:
    site, hour = await _opened(square)
    offered = await square.post(
        "centre", "/v1/market/orders", _order(hour, "sell", 6, "8", source=site.source_id)
    )
    assert (offered["order"]["state"], offered["order"]["held"]["yuan"]) == ("open", "4.80")
    taken = await square.post("firm", "/v1/market/orders", _order(hour, "buy", 4, "9.5"))
    (fill,) = taken["fills"]
    assert (fill["price"]["yuan"], fill["lots"]) == ("8.00", 4)

    book = await square.get("", f"/v1/market/books/{hour}")
    assert [(one["price"]["yuan"], one["lots"]) for one in book["asks"]] == [("8.00", 2)]
    assert (book["bids"], book["last_price"]["yuan"], book["high"]["yuan"]) == ([], "8.00", "12.00")
    (board,) = await square.get("", "/v1/market/instruments?zone=henan")
    assert (board["instrument"], board["ask"]["yuan"], board["bid"]) == (hour, "8.00", None)
    tape = await square.get("", f"/v1/market/trades?instrument={hour}")
    assert "firm" not in str(tape)
    assert [one["lots"] for one in tape["items"]] == [4]

    for who in ("firm", "centre"):
        (contract,) = (await square.get(who, "/v1/contracts"))["items"]
        assert contract["id"] == fill["contract_id"]
        shown = await square.get(who, f"/v1/contracts/{contract['id']}")
        assert (shown["phase"], shown["worth"]["yuan"]) == ("upcoming", "32.00")
    assert (await square.get("firm", "/v1/contracts?role=seller"))["items"] == []
    await square.settle_in("stranger")
    assert (await square.get("stranger", "/v1/contracts"))["items"] == []
    order = taken["order"]["id"]
    for path in (f"/v1/contracts/{fill['contract_id']}", f"/v1/market/orders/{order}"):
        assert (await square.call("stranger", "GET", path)).status_code == 404
        assert (await square.call("", "GET", path)).status_code == 401
        assert (await square.call("operator", "GET", path)).status_code == 200

    order = offered["order"]["id"]
    assert (await square.refused("firm", f"/v1/market/orders/{order}/cancel", {}))[0] == 404
    ended = await square.post("centre", f"/v1/market/orders/{order}/cancel")
    assert (ended["state"], ended["traded"]) == ("cancelled", 4)
    assert [one["id"] for one in (await square.get("centre", "/v1/market/orders"))["items"]] == [
        order
    ]


async def test_a_batch_is_answered_one_by_one(square: Square) -> None:
    _, hour = await _opened(square)
    orders = [_order(hour, "buy", 1, f"{3 + at}", key=f"k{at}") for at in range(3)]
    orders.append(_order(hour, "buy", 1, None))
    answers = await square.post("firm", "/v1/market/orders/batch", {"orders": orders})
    assert [one["reason"] for one in answers] == [None, None, None, "NoPrice"]
    for one in answers:  # as it is declared, though nothing checks it on the way out
        assert AnswerView.model_validate(one).model_dump(mode="json") == one
    again = await square.post("firm", "/v1/market/orders/batch", {"orders": orders[:1]})
    assert (again[0]["repeated"], again[0]["order"]["id"]) == (True, answers[0]["order"]["id"])


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"lots": 0}, "InvalidLots", "lots"),
        ({"lots": -4}, "InvalidLots", "lots"),
        ({"lots": 1 << 40}, "InvalidInput", "lots"),
        ({"lots": 1.5}, "InvalidInput", "lots"),
        ({"lots": "4"}, "InvalidInput", "lots"),
        ({"price": {"yuan": "NaN"}}, "InvalidAmount", "price"),
        ({"price": {"yuan": "1e400"}}, "InvalidAmount", "price"),
        ({"price": {"yuan": "-3"}}, "InvalidPrice", "price"),
        ({"price": {"micro_yuan": math.pi}}, "InvalidInput", "price.micro_yuan"),
        ({"price": {"micro_yuan": 3_000_001}}, "InvalidTick", "price"),
        ({"price": {}}, "InvalidInput", "price"),
        ({"side": "hold"}, "InvalidInput", "side"),
        ({"stay": "for ever"}, "InvalidInput", "stay"),
        ({"instrument": "gold"}, "InvalidInstrument", "instrument"),
        ({"instrument": "a100-80g:henan:2026990199:1"}, "InvalidInstrument", "instrument"),
        ({"instrument": "x" * 141}, "InvalidInput", "instrument"),
        ({"side": "sell"}, "SourceMissing", "source"),
        ({"side": "sell", "source": "pool_x"}, "NotYourSource", "source"),
        ({"key": "with space"}, "InvalidInput", "key"),
        ({"colour": "red"}, "InvalidInput", "colour"),
        ({"project": "prj_nobody"}, "ProjectNotFound", "project"),
    ],
)
async def test_a_bad_order_names_its_field(
    square: Square, changes: dict[str, Any], reason: str, field: str | None
) -> None:
    _, hour = await _opened(square)
    body = {**_order(hour, "buy", 1, "3"), **changes}
    status, told, where = await square.refused("firm", "/v1/market/orders", body)
    assert (told, where) == (reason, field)
    assert 400 <= status < 500
    assert await square.bazaar.account(square.parties["firm"]) == (10_000_000_000, 0)


async def test_an_expired_or_huge_order_is_refused(square: Square) -> None:
    site, _ = await _opened(square)
    past = name_of(square.bazaar.instrument(site, 0))
    body = _order(past, "buy", 1, "3")
    assert (await square.refused("firm", "/v1/market/orders", body))[1] == "DeliveryBegun"
    huge = {"orders": [_order(past, "buy", 1, "3", key="k" * 64)] * 90_000}
    assert (await square.refused("firm", "/v1/market/orders/batch", huge))[0] in (413, 422)


async def test_listings_are_bought_at_once(square: Square) -> None:
    site, _ = await _opened(square)
    first = square.bazaar.hour(1)
    body = {
        "source": site.source_id,
        "starts_at": iso(first),
        "hours": 48,
        "lots": 6,
        "price": {"yuan": "9"},
        "min_hours": 2,
        "terms": {"credit_percent": 30},
    }
    listed = await square.post("centre", "/v1/market/listings", body)
    assert (listed["most_lots"], listed["terms"]["credit_percent"]) == (6, 30)
    path = f"/v1/market/listings/{listed['id']}"
    purchase = {"starts_at": iso(first + 3), "hours": 2, "lots": 4, "key": "p1"}
    contract = await square.post("firm", f"{path}/buy", purchase)
    assert (contract["worth"]["yuan"], contract["origin"]) == ("72.00", "listing")
    again = await square.post("firm", f"{path}/buy", purchase)
    assert again["id"] == contract["id"]
    shown = await square.get("", path)
    assert [one["lots"] for one in shown["unsold"][:6]] == [6, 6, 6, 2, 2, 6]
    for changes, reason, field in (
        ({"lots": 5}, "SoldOut", "lots"),
        ({"hours": 1}, "OutsideListing", "hours"),
        ({"starts_at": iso(first)[:-6] + "30:00Z"}, "InvalidHour", "starts_at"),
        ({"starts_at": "2026-01-01T08:00:00"}, "InvalidHour", "starts_at"),
        ({"starts_at": "soon"}, "InvalidInput", "starts_at"),
    ):
        given = {**purchase, "key": None, **changes}
        assert (await square.refused("firm", f"{path}/buy", given))[1:] == (reason, field)
    assert (await square.refused("firm", f"{path}/close", {}))[0] == 404
    closed = await square.post("centre", f"{path}/close")
    assert closed["state"] == "closed"
    assert (await square.get("", "/v1/market/listings"))["items"] == []
    [closed] = (await square.get("", "/v1/market/listings?state=any"))["items"]
    assert (closed["id"], closed["state"]) == (listed["id"], "closed")


async def test_stepping_back_from_a_contract(square: Square) -> None:
    site, _ = await _opened(square)
    first = square.bazaar.hour(60)
    body = {"source": site.source_id, "starts_at": iso(first), "hours": 4, "lots": 6}
    listed = await square.post("centre", "/v1/market/listings", {**body, "price": {"yuan": "9"}})
    purchase = {"starts_at": iso(first), "hours": 4, "lots": 2}
    buy = f"/v1/market/listings/{listed['id']}/buy"
    one, two = [await square.post("firm", buy, purchase) for _ in range(2)]
    assert (await square.refused("firm", f"/v1/contracts/{one['id']}/withdraw", {}))[0] == 404
    left = await square.post("firm", f"/v1/contracts/{one['id']}/cancel")
    assert (left["paid"]["yuan"], left["contract"]["phase"]) == ("3.60", "cancelled")
    given_up = await square.post("centre", f"/v1/contracts/{two['id']}/withdraw")
    assert (given_up["paid"]["yuan"], given_up["contract"]["held"]["yuan"]) == ("14.40", "0.00")
    await square.bazaar.check()


async def test_the_operator_halts_a_book(square: Square) -> None:
    _, hour = await _opened(square)
    steer = f"/v1/market/books/{hour}/steer"
    body = {"halted": True, "reason": "Strange prices"}
    assert (await square.refused("firm", steer, body))[0] == 403
    assert (await square.post("operator", steer, body))["halted"]
    order = _order(hour, "buy", 1, "3")
    assert (await square.refused("firm", "/v1/market/orders", order))[1] == "Halted"
    band = {"halted": False, "low": {"yuan": "4"}, "high": {"yuan": "6"}, "reason": "Calm again"}
    told = await square.post("operator", steer, band)
    assert (told["halted"], told["low"]["yuan"], told["high"]["yuan"]) == (False, "4.00", "6.00")
    assert (await square.refused("firm", "/v1/market/orders", order))[1] == "OutsideBand"
    kept = await square.post("operator", steer, {"low": None, "reason": "No floor"})
    assert (kept["low"]["yuan"], kept["high"]["yuan"]) == ("0.001", "6.00")
    await square.post("firm", "/v1/market/orders", order)


async def test_a_seller_is_known_by_what_he_delivered(square: Square) -> None:
    site, _ = await _opened(square)
    first = square.bazaar.hour(1)
    body = {"source": site.source_id, "starts_at": iso(first), "hours": 4, "lots": 4}
    listed = await square.post("centre", "/v1/market/listings", {**body, "price": {"yuan": "9"}})
    path = f"/v1/market/listings/{listed['id']}"
    assert (await square.get("", path))["delivered_percent"] is None
    purchase = {"starts_at": iso(first), "hours": 2, "lots": 4}
    bought = await square.post("firm", f"{path}/buy", purchase)
    for hour, lots in ((first, 4), (first + 1, 3)):
        square.bazaar.to_hour(hour, past_s=60)
        await square.bazaar.deliver({bought["id"]: lots})
    square.bazaar.to_hour(first + 2, past_s=90)
    await square.bazaar.settle()
    assert (await square.get("", path))["delivered_percent"] == 87.5
    (seller,) = await square.get("", "/v1/market/sellers")
    assert seller == {
        "organisation_id": square.parties["centre"].organisation_id,
        "hours": 2,
        "delivered_percent": 87.5,
    }
    square.bazaar.clock.advance(s=91 * 86_400)
    assert await square.get("", "/v1/market/sellers") == []


async def test_an_order_at_rest_is_amended_by_its_owner_alone(square: Square) -> None:
    _, hour = await _opened(square)
    placed = await square.post("firm", "/v1/market/orders", _order(hour, "buy", 4, "3"))
    path = f"/v1/market/orders/{placed['order']['id']}"
    fewer = await square.call("firm", "PATCH", path, {"lots": 2})
    told = fewer.json()
    assert (told["kept_place"], told["replaces"], told["order"]["left"]) == (True, None, 2)
    for who, status in (("centre", 404), ("", 401)):
        assert (await square.call(who, "PATCH", path, {"lots": 1})).status_code == status
    for body, field in (
        ({"lots": 0}, "lots"),
        ({"lots": 1.5}, "lots"),
        ({"lots": None, "price": {"yuan": "NaN"}}, "price"),
        ({"price": {"yuan": "-1"}}, "price"),
        ({"side": "sell"}, "side"),
        ({"key": "with space"}, "key"),
    ):
        answer = await square.call("firm", "PATCH", path, body)
        assert answer.status_code == 422, answer.text
        assert answer.json()["field"] == field
    dearer = (await square.call("firm", "PATCH", path, {"price": {"yuan": "4"}})).json()
    assert (dearer["kept_place"], dearer["replaces"]) == (False, placed["order"]["id"])
    assert dearer["order"]["price"]["yuan"] == "4.00"
    gone = await square.call("firm", "PATCH", path, {"lots": 1})
    assert (gone.status_code, gone.json()["reason"]) == (409, "OrderEnded")
    await square.bazaar.check()
