"""Every route that takes an order, bid, quote, deal or listing, with every field wrong in turn:
refused as problem+json that names the field, and nothing is set aside for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest

from auction_world import A100
from suanwang.trade.billing.rules import day_of
from suanwang.trade.catalogue.model import Period
from suanwang.trade.market import auctions
from suanwang.trade.market.instruments import suffix_of
from trade_square import Square, iso

NAN, HUGE, LONG = float("nan"), 1 << 70, "x" * 10_000
TEN_MEGABYTES = "x" * 10_000_000
INTEGERS = [0, -1, 1.5, "two", True, HUGE, NAN, [], {}]
MONEY: list[Any] = [
    {"yuan": "NaN"},
    {"yuan": "Infinity"},
    {"yuan": "-1"},
    {"yuan": "0"},
    {"yuan": "1e999999999"},
    {"yuan": "1e-999999999"},
    {"yuan": "1.0000001"},
    {"yuan": "cheap"},
    {"yuan": LONG},
    {"yuan": 3},
    {"micro_yuan": HUGE},
    {"micro_yuan": -1},
    {"micro_yuan": 1.5},
    {"micro_yuan": 1, "yuan": "1"},
    {},
    3,
    "3",
]
INSTANTS = [
    "2020-01-01T00:00:00Z",
    "soon",
    "2026-13-01T00:00:00Z",
    "0001-01-01T00:00:00Z",
    "2026-01-01T08:00:00",
    "9999-12-31T23:00:00Z",
    "",
]
TEXTS = [LONG, "a\x00b", "\ud800", 7, ["x"]]
NAMES = [*TEXTS, "no-such-one", "prj_0000000000000000"]
SOURCES = [*TEXTS, "", "no-such-one", "con_0000000000000000", "pool_0000000000000000"]
KEYS = ["", "with space", "k" * 65, "键", "a\x00b", 7]
PERCENTS = [-1, 101, 1.5, "ten", NAN, HUGE]
TERMS = {
    "terms.credit_percent": PERCENTS,
    "terms.deposit_percent": PERCENTS,
    "terms.cancel_percent": PERCENTS,
    "terms.cancel_hours": [-1, 9_001, 1.5, "ten", HUGE],
    "terms.surplus": [1],
}
SPAN = {"starts_at": INSTANTS, "hours": [*INTEGERS, 9_001]}
CARDS = {"unit_class": "a100-80g", "zone": "henan"}


@dataclass
class Case:
    """A body that would be taken, and values that are bad in a field of it."""

    path: str
    who: str
    body: dict[str, Any]
    bad: dict[str, list[Any]]
    method: str = "POST"


@dataclass
class Things:
    """What the routes are about."""

    square: Square
    source: str
    round: str
    order: str = ""
    bid: str = ""
    listing: str = ""
    enquiry: str = ""
    deal: str = ""

    def at(self, ahead: int) -> str:
        return iso(self.square.bazaar.hour(ahead))


@pytest.fixture
async def things(square: Square) -> Things:
    seller = await square.settle_in("centre")
    await square.settle_in("firm")
    site = await square.bazaar.site(seller)
    day = auctions.day_text(day_of(square.bazaar.clock.now_ms()) + 3)
    opened = await square.post("operator", "/v1/auctions", {"day": day})
    made = Things(square, site.source_id, f"/v1/auctions/{opened['id']}")
    made.order = (await square.post("firm", "/v1/market/orders", an_order(made).body))["order"][
        "id"
    ]
    made.bid = (await square.post("firm", f"{made.round}/orders", a_bid(made).body))["id"]
    made.listing = (await square.post("centre", "/v1/market/listings", a_listing(made).body))["id"]
    made.enquiry = (await square.post("firm", "/v1/quotations", an_enquiry(made).body))["id"]
    made.deal = (await square.post("firm", "/v1/deals", a_deal(made).body))["id"]
    return made


def an_order(things: Things) -> Case:
    suffix = suffix_of(Period(things.square.bazaar.hour(5), 1))
    return Case(
        "/v1/market/orders",
        "firm",
        {
            "instrument": f"a100-80g:henan:{suffix}",
            "side": "buy",
            "lots": 2,
            "price": {"yuan": "3"},
        },
        {
            "instrument": [
                "nonsense",
                "a100-80g:henan:2026130199:1",
                f"a100-80g:henan:{suffix[:-2]}:7",
                "a100-80g:henan:2099010100:1",
                f"b900-1g:henan:{suffix}",
                f"a100-80g:nowhere:{suffix}",
                f"a100-80g:he\x00nan:{suffix}",
                *TEXTS,
            ],
            "side": ["both", 1, LONG],
            "lots": [*INTEGERS, 1_000_001],
            "price": [*MONEY, {"yuan": "10001"}, {"yuan": "3.0001"}],
            "stay": ["for ever", 1, ["rest"]],
            "key": KEYS,
            "project": NAMES,
            "surplus": [1],
        },
    )


def an_offer(things: Things) -> Case:
    case = an_order(things)
    body = {**case.body, "side": "sell", "source": things.source, "price": {"yuan": "9"}}
    return Case(case.path, "centre", body, {"source": SOURCES, "lots": [0, -1, HUGE, 9]})


def an_amendment(things: Things) -> Case:
    return Case(
        f"/v1/market/orders/{things.order}",
        "firm",
        {"lots": 1},
        {
            "lots": [*INTEGERS, 1_000_001],
            "price": [*MONEY, {"yuan": "10001"}, {"yuan": "3.0001"}],
            "key": KEYS,
            "surplus": [1],
        },
        method="PATCH",
    )


def a_bid(things: Things) -> Case:
    prices = ["NaN", "Infinity", "-1", "0", "1e999999999", "1.0001", "cheap", NAN, 10_001, [], LONG]
    products = ["x", "nobody@has-it", "a100-80g@", *[one for one in TEXTS if one != "\ud800"]]
    hours = [[], [0], [5, 5], [9, 8], [-1, 3], [0, 25], [0.5, 2], "all", [0, HUGE]]
    block = {"name": "b", "product": A100, "any": 2, "lots": 1, "price": "1"}
    return Case(
        f"{things.round}/orders",
        "firm",
        {
            "side": "buy",
            "curve": [{"product": A100, "hours": [8, 10], "lots": 2, "price": "12.5"}],
            "blocks": [block],
        },
        {
            "side": ["both", 1],
            "curve.0.lots": [*INTEGERS, 1_000_001],
            "curve.0.price": prices,
            "curve.0.product": products,
            "curve.0.hours": hours,
            "curve.0.instead": [[{"product": A100, "price": 1}], [{"price": 1}], 3],
            "curve.0.surplus": [1],
            "blocks.0.lots": [*INTEGERS, 1_000_001],
            "blocks.0.price": prices,
            "blocks.0.product": products,
            "blocks.0.hours": hours,
            "blocks.0.any": [0, -1, 25, 1.5, HUGE],
            "blocks.0.least": [0, 1_001, -1, 1.5],
            "blocks.0.name": ["a b", LONG],
            "blocks.0.parent": ["b", "nobody", "a b"],
            "blocks.0.group": ["a b", LONG],
            "source": ["pool_1"],
            "key": KEYS,
            "project": NAMES,
            "surplus": [1],
        },
    )


def a_selling_bid(things: Things) -> Case:
    return Case(
        f"{things.round}/orders",
        "centre",
        {"side": "sell", "source": things.source, "curve": [{"lots": 1, "price": 3}]},
        {"source": SOURCES, "curve.0.lots": [0, -1, HUGE], "curve.0.product": ["h100-80g@henan"]},
    )


def another_bid(things: Things) -> Case:
    case = a_bid(things)
    del case.bad["project"], case.bad["key"]
    case.path = f"{things.round}/orders/{things.bid}/replace"
    return case


def a_listing(things: Things) -> Case:
    return Case(
        "/v1/market/listings",
        "centre",
        {
            "source": things.source,
            "starts_at": things.at(20),
            "hours": 10,
            "lots": 2,
            "price": {"yuan": "9"},
            "terms": {},
        },
        {
            **SPAN,
            **TERMS,
            "source": SOURCES,
            "lots": [*INTEGERS, 1_000_001, 9],
            "min_lots": [*INTEGERS, 3],
            "min_hours": [*INTEGERS, 11],
            "max_hours": [*INTEGERS, 9_001],
            "price": [*MONEY, {"yuan": "10001"}, {"yuan": "3.0001"}],
            "title": [LONG, "a\x00b", "\ud800", 7],
            "project": NAMES,
            "surplus": [1],
        },
    )


def a_purchase(things: Things) -> Case:
    return Case(
        f"/v1/market/listings/{things.listing}/buy",
        "firm",
        {"starts_at": things.at(20), "hours": 2, "lots": 1},
        {
            "starts_at": [*INSTANTS, things.at(19), things.at(29)],
            "hours": [*INTEGERS, 11],
            "lots": [*INTEGERS, 3],
            "key": KEYS,
            "project": NAMES,
            "surplus": [1],
        },
    )


def an_enquiry(things: Things) -> Case:
    return Case(
        "/v1/quotations",
        "firm",
        {
            "products": [dict(CARDS)],
            "starts_at": things.at(20),
            "hours": 2,
            "lots": 2,
            "ceiling": {"yuan": "9"},
            "deadline": things.at(4),
            "invited": [],
            "terms": {},
        },
        {
            **SPAN,
            **TERMS,
            "products": [[], [CARDS, CARDS], 3, [CARDS] * 101],
            "products.0.unit_class": ["", *TEXTS],
            "products.0.zone": ["", *TEXTS],
            "lots": [*INTEGERS, 1_000_001],
            "min_lots": [*INTEGERS, 3],
            "ceiling": [*MONEY, {"yuan": "10001"}, {"yuan": "3.0001"}],
            "bond": [one for one in MONEY if one not in ({"yuan": "0"},)],
            "deadline": [*INSTANTS, things.at(20)],
            "rule": ["first", 1],
            "invited": [["no-such-one"], ["a\x00b"], [LONG], 3, ["x"] * 501],
            "title": [LONG, "a\x00b", 7],
            "key": KEYS,
            "project": NAMES,
            "surplus": [1],
        },
    )


def a_quote(things: Things) -> Case:
    return Case(
        f"/v1/quotations/{things.enquiry}/quotes",
        "centre",
        {"source": things.source, "price": {"yuan": "5"}},
        {
            "source": SOURCES,
            "price": [*MONEY, {"yuan": "9.001"}, {"yuan": "3.0001"}],
            "lots": [*INTEGERS, 1, 3],
            "key": KEYS,
            "project": NAMES,
            "surplus": [1],
        },
    )


def a_deal(things: Things) -> Case:
    return Case(
        "/v1/deals",
        "firm",
        {
            "side": "buy",
            "to": "centre",
            "product": dict(CARDS),
            "starts_at": things.at(20),
            "hours": 2,
            "lots": 2,
            "price": {"yuan": "5"},
            "valid_until": things.at(4),
            "terms": {},
        },
        {
            **SPAN,
            **TERMS,
            "side": ["both", 1],
            "to": [*TEXTS, "no-such-one", "firm", ""],
            "to_project": NAMES,
            "product": [None, 3, {}],
            "product.unit_class": ["", *TEXTS],
            "source": [things.source],
            "lots": [*INTEGERS, 1_000_001],
            "price": [*MONEY, {"yuan": "10001"}, {"yuan": "3.0001"}],
            "valid_until": [*INSTANTS, things.at(21)],
            "note": [LONG, "a\x00b", 7],
            "key": KEYS,
            "project": NAMES,
            "surplus": [1],
        },
    )


def a_counter(things: Things) -> Case:
    body = {key: value for key, value in a_deal(things).body.items() if key not in ("side", "to")}
    return Case(
        f"/v1/deals/{things.deal}/counter",
        "centre",
        {**body, "number": 1, "source": things.source},
        {
            **SPAN,
            "number": [0, -1, 1.5, "one", HUGE, NAN],
            "source": SOURCES,
            "lots": [*INTEGERS, 9],
            "price": MONEY,
            "valid_until": INSTANTS,
            "surplus": [1],
        },
    )


def an_acceptance(things: Things) -> Case:
    return Case(
        f"/v1/deals/{things.deal}/accept",
        "centre",
        {"number": 1, "source": things.source},
        {"number": [0, 1.5, "one", HUGE], "source": SOURCES, "project": NAMES, "surplus": [1]},
    )


CASES: list[Callable[[Things], Case]] = [
    an_order,
    an_offer,
    an_amendment,
    a_bid,
    a_selling_bid,
    another_bid,
    a_listing,
    a_purchase,
    an_enquiry,
    a_quote,
    a_deal,
    a_counter,
    an_acceptance,
]


def _with(body: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    made = deepcopy(body)
    *way, last = path.split(".")
    inner: Any = made
    for name in way:
        inner = inner[int(name) if name.isdigit() else name]
    inner[last] = value
    return made


def _plain(name: str) -> str:
    """`curve[0].lots` and `curve.0.lots` are one."""
    return name.replace("[", ".").replace("]", "")


@pytest.mark.parametrize("make", CASES)
async def test_what_is_bad_is_named(things: Things, make: Callable[[Things], Case]) -> None:
    square, case = things.square, make(things)
    before = {name: await square.bazaar.account(of) for name, of in square.parties.items()}
    headers = {
        "authorization": f"Bearer {square.tokens[case.who]}",
        "content-type": "application/json",
    }
    wrong = []
    for path, values in case.bad.items():
        for value in values:
            text = json.dumps(_with(case.body, path, value))
            answer = await square.client.request(
                case.method, case.path, content=text, headers=headers
            )
            named = _plain(str(answer.json().get("field"))) if answer.status_code >= 400 else ""
            # a part of the field, or the whole of which it is a part
            is_named = named == path or named.startswith(f"{path}.") or path.startswith(f"{named}.")
            is_problem = answer.headers["content-type"] == "application/problem+json"
            if not (400 <= answer.status_code < 500 and is_problem and named and is_named):
                wrong.append(f"{path} {str(value)[:40]!r} {answer.status_code} {answer.text[:250]}")
    assert not wrong, "\n".join(wrong)
    after = {name: await square.bazaar.account(of) for name, of in square.parties.items()}
    assert after == before
    await square.bazaar.check()
    # and nothing of it was wrong but that
    assert (await square.call(case.who, case.method, case.path, case.body)).status_code < 300


@pytest.mark.parametrize("make", CASES)
async def test_ten_megabytes_are_refused(things: Things, make: Callable[[Things], Case]) -> None:
    case = make(things)
    body = {**case.body, "surplus": TEN_MEGABYTES}
    answer = await things.square.call(case.who, case.method, case.path, body)
    assert answer.status_code in (413, 422)
    assert answer.headers["content-type"] == "application/problem+json"
