"""The routes of the call auction: who may do what, what is told to whom, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from auction_world import A100
from suanwang.trade.billing.rules import day_of
from suanwang.trade.market import auctions
from suanwang.trade.market.model import Supply
from trade_square import Square


async def _opened(square: Square, day: str) -> tuple[str, Supply]:
    """A round that was opened by hand; who sells and who buys in it."""
    seller = await square.settle_in("centre")
    await square.settle_in("firm")
    await square.settle_in("stranger")
    site = await square.bazaar.site(seller)
    opened = await square.post("operator", "/v1/auctions", {"day": day})
    assert opened["state"] == "open"
    return f"/v1/auctions/{opened['id']}", site


def _buy(**changes: Any) -> dict[str, Any]:
    step = {"product": A100, "hours": [8, 10], "lots": 2, "price": "12.5", **changes}
    return {"side": "buy", "curve": [step]}


def _day(square: Square, ahead: int = 3) -> str:
    return auctions.day_text(day_of(square.bazaar.clock.now_ms()) + ahead)


async def test_a_round_from_its_opening_to_its_prices(square: Square) -> None:
    day = _day(square)
    path, site = await _opened(square, day)
    offer = {"side": "sell", "source": site.source_id, "curve": [{"lots": 4, "price": 10}]}
    ask = await square.post("centre", f"{path}/orders", offer)
    assert ask["bid"]["curve"] == [{"product": A100, "hours": [0, 24], "lots": 4, "price": "10"}]
    bid = await square.post("firm", f"/v1/auctions/{day}/orders", {**_buy(), "key": "a"})
    assert (bid["state"], bid["held"]["yuan"], bid["repeated"]) == ("standing", "50.00", False)
    again = await square.post("firm", f"{path}/orders", {**_buy(), "key": "a"})
    assert (again["id"], again["repeated"]) == (bid["id"], True)
    mine = f"{path}/orders/{bid['id']}"
    changed = await square.post("firm", f"{mine}/replace", _buy(price=14, lots=3))
    assert (changed["version"], changed["held"]["yuan"]) == (2, "84.00")
    gone = await square.post("firm", f"{path}/orders", _buy(price=1))
    await square.post("firm", f"{path}/orders/{gone['id']}/withdraw")

    assert (await square.get("", f"{path}/prices"), await square.get("", f"{path}/curves")) == (
        [],
        [],
    )
    await square.post("operator", f"{path}/close")
    cleared = await square.post("operator", f"{path}/clear")
    assert (cleared["state"], cleared["orders"], cleared["cleared"]["traded"]) == ("cleared", 2, 6)
    assert 0 <= cleared["cleared"]["gap"] < 1e-6
    assert cleared["cleared"]["rent"]["yuan"] == "0.00"
    prices = await square.get("", f"{path}/prices?product={A100}")
    assert [one["hour"] for one in prices if one["price"]] == [8, 9]
    (curve,) = await square.get("", f"{path}/curves?hour=8")
    assert [(one["price"]["yuan"], one["lots"]) for one in curve["demand"]] == [("14.00", 3)]
    assert [(one["price"]["yuan"], one["lots"]) for one in curve["supply"]] == [("10.00", 4)]
    rounds = (await square.get("", "/v1/auctions"))["items"]
    assert [one["day"] for one in rounds] == [day]
    assert "org_" not in str([prices, curve, rounds])

    told = (await square.get("firm", f"{path}/orders"))["items"]
    assert [one["state"] for one in told] == ["withdrawn", "cleared"]
    result = told[1]["result"]
    assert (result["outcome"], len(result["contracts"])) == ("accepted", 1)
    contract = await square.get("firm", f"/v1/contracts/{result['contracts'][0]}")
    assert (contract["origin"], contract["lots"], contract["hours"]) == ("auction", 3, 2)
    again = await square.post("operator", f"{path}/replay")
    assert (again["same"], again["same_engine"]) == (True, True)


async def test_orders_are_their_own_projects_and_rounds_the_operators(square: Square) -> None:
    path, _ = await _opened(square, _day(square))
    bid = await square.post("firm", f"{path}/orders", _buy())
    mine = f"{path}/orders/{bid['id']}"
    assert (await square.call("", "GET", mine)).status_code == 401
    assert (await square.call("", "GET", f"{path}/orders")).status_code == 401
    assert (await square.get("stranger", f"{path}/orders"))["items"] == []
    assert (await square.call("stranger", "GET", mine)).status_code == 404
    for verb, body in (("replace", _buy()), ("withdraw", {})):
        assert (await square.refused("stranger", f"{mine}/{verb}", body))[0] == 404
    other = await square.post("operator", "/v1/auctions", {"day": _day(square, 4)})
    elsewhere = f"/v1/auctions/{other['id']}/orders/{bid['id']}"
    assert (await square.call("firm", "GET", elsewhere)).status_code == 404
    for where, body in (
        ("/v1/auctions", {"day": "2027-01-01"}),
        ("/v1/auctions/links", {"links": []}),
        (f"{path}/links", {"links": []}),
        (f"{path}/close", {}),
        (f"{path}/clear", {}),
        (f"{path}/void", {"reason": "x"}),
        (f"{path}/replay", {}),
    ):
        assert (await square.refused("firm", where, body))[0] == 403
    ended = await square.post("operator", f"{path}/void", {"reason": "a rehearsal"})
    assert (ended["state"], ended["why"]) == ("void", "a rehearsal")
    assert (await square.get("firm", mine))["state"] == "returned"
    assert await square.bazaar.account(square.parties["firm"]) == (10_000_000_000, 0)


async def test_what_is_refused_names_its_field_and_holds_nothing(square: Square) -> None:
    path, site = await _opened(square, _day(square))
    held = f"{path}/orders"
    sale = {"side": "sell", "curve": [{"lots": 1, "price": 1}]}
    for body, status, reason, field in (
        (_buy(lots=-1), 422, "InvalidBid", "curve[0].lots"),
        (_buy(lots=1 << 70), 422, "InvalidBid", "curve[0].lots"),
        (_buy(price="NaN"), 422, "InvalidBid", "curve[0].price"),
        (_buy(product="gold@henan"), 422, "UnknownProduct", "curve[0].product"),
        (_buy(lots=1_000_000, price=9_999), 422, "OrderTooLarge", "lots"),
        (_buy(lots=1_000), 429, "InsufficientFunds", None),
        ({**_buy(), "project": "prj_nobody"}, 404, "ProjectNotFound", "project"),
        ({**_buy(), "key": "a b"}, 422, "InvalidInput", "key"),
        ({**_buy(), "colour": "red"}, 422, "InvalidBid", "colour"),
        ({**sale, "source": site.source_id}, 422, "NotYourSource", "source"),
        ({**sale, "source": "con_" + "0" * 18}, 422, "NotYourSource", "source"),
    ):
        assert await square.refused("firm", held, body) == (status, reason, field)
    more = {**sale, "source": site.source_id, "curve": [{"lots": 9, "price": 1}]}
    assert (await square.refused("centre", held, more))[1] == "CapacitySold"
    assert await square.bazaar.account(square.parties["firm"]) == (10_000_000_000, 0)
    assert await square.bazaar.account(square.parties["centre"]) == (10_000_000_000, 0)

    answer = await square.client.post(
        held,
        content=b'{"side": "buy", "curve": [{"lots": 1, "price": NaN}]}',
        headers={
            "authorization": f"Bearer {square.tokens['firm']}",
            "content-type": "application/json",
        },
    )
    assert (answer.status_code, answer.json()["reason"]) == (422, "InvalidBid")
    big = {"side": "buy", "curve": [{"product": "x" * 11_000_000, "lots": 1, "price": 1}]}
    assert (await square.refused("firm", held, big))[0] == 413
    assert (await square.refused("firm", "/v1/auctions/2027-01-01/orders", _buy()))[0] == 404
    await square.post("operator", f"{path}/close")
    assert await square.refused("firm", held, _buy()) == (409, "RoundClosed", None)


@pytest.mark.parametrize(
    ("link", "field"),
    [
        ({"source": "a", "target": "a", "lots": 1}, "links[0].target"),
        ({"source": "a", "target": "b", "lots": 1 << 25}, "links[0].lots"),
        ({"source": "a", "target": "b", "lots": -1}, "links.0.lots"),
        ({"source": "a", "target": "b", "lots": 1, "cost": {"yuan": "-1"}}, "links[0].cost"),
    ],
)
async def test_links_are_the_operators_and_checked(
    square: Square, link: dict[str, Any], field: str
) -> None:
    told = await square.refused("operator", "/v1/auctions/links", {"links": [link]})
    assert told[2] == field
    good = {"source": "gansu", "target": "henan", "lots": 5, "cost": {"yuan": "0.5"}}
    assert (await square.post("operator", "/v1/auctions/links", {"links": [good]}))[0]["lots"] == 5
    assert (await square.get("", "/v1/auctions/links"))[0]["cost"]["yuan"] == "0.50"
    opened = await square.post("operator", "/v1/auctions", {"day": _day(square)})
    assert opened["links"][0]["target"] == "henan"
    path = f"/v1/auctions/{opened['id']}/links"
    assert (await square.post("operator", path, {"links": []}))["links"] == []
    twice = await square.refused("operator", "/v1/auctions", {"day": opened["day"]})
    assert twice[1] == "RoundExists"
    for day in ("soon", "2020-01-01"):
        assert (await square.refused("operator", "/v1/auctions", {"day": day}))[2] == "day"
