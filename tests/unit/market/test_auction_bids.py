"""Bids as people write them: what is refused names its field, what is taken says the same."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from suanwang.engines.matching.model import Side
from suanwang.kernel.errors import InvalidInput
from suanwang.trade.billing.rules import day_of
from suanwang.trade.catalogue.model import Product
from suanwang.trade.market import auction_rules as rules
from suanwang.trade.market.auction_bids import parse, ways, with_product
from suanwang.trade.market.auction_model import Bid, Instead, Part, Step

A100 = "a100-80g@henan"
H100 = "h100-80g@henan"


def step(**changes: Any) -> dict[str, Any]:
    return {"product": A100, "hours": [8, 20], "lots": 4, "price": "12.5", **changes}


def block(**changes: Any) -> dict[str, Any]:
    made = {"name": "b", "product": A100, "hours": [0, 8], "lots": 2, "price": 9, **changes}
    return {name: value for name, value in made.items() if value is not None}


def curve(**changes: Any) -> dict[str, Any]:
    return {"side": "buy", "curve": [step(**changes)]}


def blocks(*given: dict[str, Any]) -> dict[str, Any]:
    return {"side": "buy", "blocks": list(given)}


def test_a_bid_says_what_its_document_said() -> None:
    bid = parse(
        {
            "side": "buy",
            "curve": [step(instead=[{"product": H100, "price": 18.25}])],
            "blocks": [block(any=4, least=1000)],
        }
    )
    assert bid.side is Side.BUY
    assert bid.curve == (Step(A100, (8, 20), 4, 12_500_000, (Instead(H100, 18_250_000),)),)
    (made,) = bid.blocks
    assert (made.profile, made.any, made.price) == ((Part(A100, (0, 8), 2),), 4, 9_000_000)
    assert ways(made) == 5
    packed = msgspec.msgpack.encode(bid)
    assert msgspec.msgpack.decode(packed, type=Bid) == bid


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, None),
        ([], None),
        ("side: buy", None),
        ({"side": "hold", "curve": []}, "side"),
        ({"side": "buy"}, "curve"),
        ({"side": "buy", "curve": [step()], "extra": 1}, "extra"),
        ({"side": "sell", "curve": [step()]}, "source"),
        ({"side": "buy", "source": "pol_1", "curve": [step()]}, "source"),
        ({"side": "sell", "source": "p" * 41, "curve": [step()]}, "source"),
        (curve(lots=0), "curve[0].lots"),
        (curve(lots=-4), "curve[0].lots"),
        (curve(lots=1 << 70), "curve[0].lots"),
        (curve(lots=2.5), "curve[0].lots"),
        (curve(lots="4"), "curve[0].lots"),
        (curve(lots=True), "curve[0].lots"),
        (curve(lots=None), "curve[0].lots"),
        (curve(price=-1), "curve[0].price"),
        (curve(price=0), "curve[0].price"),
        (curve(price=float("nan")), "curve[0].price"),
        (curve(price=float("inf")), "curve[0].price"),
        (curve(price="NaN"), "curve[0].price"),
        (curve(price="1e400"), "curve[0].price"),
        (curve(price=10_000.001), "curve[0].price"),
        (curve(price="0.0001"), "curve[0].price"),
        (curve(price="1.2345"), "curve[0].price"),
        (curve(price=True), "curve[0].price"),
        (curve(hours=[20, 8]), "curve[0].hours"),
        (curve(hours=[0, 25]), "curve[0].hours"),
        (curve(hours=[-1, 3]), "curve[0].hours"),
        (curve(hours=[8]), "curve[0].hours"),
        (curve(product="a100"), "curve[0].product"),
        (curve(product="a100@he\nnan"), "curve[0].product"),
        (curve(product=""), "curve[0].product"),
        (curve(instead=[{"product": A100, "price": 1}]), "curve[0].instead[0].product"),
        (curve(instead=[{"product": H100, "price": 0}]), "curve[0].instead[0].price"),
        (curve(instead=[{"product": H100, "price": 1}] * 9), "curve[0].instead"),
        ({"side": "buy", "curve": [step()] * 201}, "curve"),
        ({"side": "buy", "blocks": [block()] * 51}, "blocks"),
        (blocks(block(), block()), "blocks[1].name"),
        (blocks(block(name="a b")), "blocks[0].name"),
        (blocks(block(lots=None)), "blocks[0].lots"),
        (blocks(block(least=0)), "blocks[0].least"),
        (blocks(block(least=1001)), "blocks[0].least"),
        (blocks(block(any=9)), "blocks[0].any"),
        (blocks(block(any=0)), "blocks[0].any"),
        (blocks(block(parent="b")), "blocks[0].parent"),
        (blocks(block(parent="c")), "blocks[0].parent"),
        (blocks(block(parent="c"), block(name="c", parent="b")), "blocks[0].parent"),
        (
            blocks(block(parent="c", group="g"), block(name="c", group="g")),
            "blocks[0].group",
        ),
        (
            blocks(block(profile=[{"product": A100, "hours": [0, 8], "lots": 2}])),
            "blocks[0].product",
        ),
        (
            blocks(
                {
                    "price": 9,
                    "profile": [
                        {"product": A100, "hours": [0, 8], "lots": 2},
                        {"product": A100, "hours": [7, 9], "lots": 2},
                    ],
                }
            ),
            "blocks[0].profile[1].hours",
        ),
        (
            {
                "side": "sell",
                "source": "pol_1",
                "curve": [step(instead=[{"product": H100, "price": 1}])],
            },
            "curve[0].instead",
        ),
        (blocks(*(block(name=f"b{at}", hours=[0, 24], any=1) for at in range(13))), "blocks"),
    ],
)
def test_what_is_wrong_is_refused_by_its_field(document: Any, field: str | None) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(document)
    assert refused.value.field == field
    assert refused.value.hint


def test_ten_megabytes_are_refused_before_they_are_reckoned_with() -> None:
    big = json.loads(json.dumps({"side": "buy", "curve": [step(product="x" * 10_000_000)]}))
    with pytest.raises(InvalidInput) as refused:
        parse(big)
    assert refused.value.field == "curve[0].product"
    assert len(refused.value.message) < 200
    with pytest.raises(InvalidInput) as long:
        parse({"side": "x" * 10_000_000, "curve": [step()]})
    assert len(long.value.message) < 300
    with pytest.raises(InvalidInput) as many:
        parse({"side": "buy", "curve": [step()] * 100_000})
    assert many.value.field == "curve"


def test_a_billion_yuan_is_too_much_for_an_order() -> None:
    bid = parse(curve(lots=1_000_000, price=10_000))
    with pytest.raises(InvalidInput, match="billion"):
        rules.set_aside(bid)


def test_a_seller_names_what_his_source_has_or_nothing() -> None:
    of = Product("a100-80g", "henan")
    plain = {"hours": [0, 4], "lots": 1, "price": 3}
    bid = parse(
        {"side": "sell", "source": "pol_1", "curve": [plain], "blocks": [{**plain, "name": "b"}]}
    )
    named = with_product(bid, of)
    assert {name for _, name in rules.named_in(named)} == {A100}
    other = parse({"side": "sell", "source": "pol_1", "curve": [{**plain, "product": H100}]})
    with pytest.raises(InvalidInput, match="not h100") as refused:
        with_product(other, of)
    assert refused.value.field == "curve[0].product"
    twice = parse(
        {
            "side": "sell",
            "source": "pol_1",
            "blocks": [
                {
                    "price": 3,
                    "profile": [
                        {"hours": [0, 4], "lots": 1},
                        {"hours": [2, 5], "lots": 1, "product": A100},
                    ],
                }
            ],
        }
    )
    with pytest.raises(InvalidInput, match="already"):
        with_product(twice, of)


def test_of_a_group_the_dearest_is_set_aside_and_the_widest_pledged() -> None:
    either = [
        block(name="day", hours=[8, 12], lots=4, price=8, group="g"),
        block(name="eve", hours=[10, 16], lots=2, price=9, group="g"),
        block(name="any", hours=[0, 24], lots=1, price=2, any=3),
    ]
    bid = parse(blocks(*either))
    assert rules.worth(bid) == (4 * 4 * 8 + 3 * 2) * 1_000_000
    assert rules.set_aside(bid) == rules.worth(bid)
    sale = with_product(
        parse({"side": "sell", "source": "pol_1", "blocks": either}), Product("a100-80g", "henan")
    )
    assert rules.envelope(sale) == [1] * 8 + [5] * 4 + [3] * 4 + [1] * 8
    assert rules.set_aside(sale) == rules.worth(bid) // 10


def test_days_are_those_of_shanghai() -> None:
    at = 1_764_547_200_000  # 2025-12-01T00:00Z, eight in the morning there
    day = day_of(at)
    assert rules.first_hour_of(day) * 3_600_000 == at - 8 * 3_600_000
    assert rules.due_days(at, 11, 2) == [day + 1, day + 2]
    assert rules.due_days(at + 3 * 3_600_000 - 1, 11, 1) == [day + 1]
    assert rules.due_days(at + 3 * 3_600_000, 11, 2) == [day + 2, day + 3]
