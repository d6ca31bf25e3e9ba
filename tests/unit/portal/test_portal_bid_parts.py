"""Parts of a bid are named as people would, in outcomes and in errors."""

from __future__ import annotations

import re
from typing import Any

import pytest

from suanwang.edge.portal import reasons
from suanwang.edge.portal.bid_parts import part_text, place_text, summary
from suanwang.kernel.errors import InvalidInput
from suanwang.trade.market.auction_bids import document_of, parse
from suanwang.trade.market.auction_model import PartResult

A100, H100 = "a100-80g@henan", "h100-80g@henan"
DOCUMENT: dict[str, Any] = {
    "side": "buy",
    "curve": [{"product": A100, "hours": [8, 20], "lots": 4, "price": 9}] * 2,
    "blocks": [
        {"product": A100, "hours": [0, 24], "any": 8, "lots": 2, "price": 9},
        {"name": "late", "product": A100, "hours": [22, 24], "lots": 2, "price": 9},
        {"price": 9, "profile": [{"product": A100, "hours": [0, 2], "lots": 1}] * 1},
    ],
}


def named(part: str, language: str = "en", lots: tuple[tuple[str, int, int], ...] = ()) -> str:
    document = document_of(parse(DOCUMENT))
    return part_text(language, document, PartResult(part, None, "accepted", 1, lots))


def test_parts_of_an_outcome() -> None:
    assert named("curve[1]") == "Curve step 2"
    assert named("curve[1]", "zh") == "曲线第 2 级"
    assert named("block-1") == "Block 1, any 8 h in a row between 00:00 and 24:00"
    served = tuple((A100, hour, 2) for hour in range(2, 10))
    assert named("block-1", lots=served) == "Block 1, 8 h from 02:00 to 10:00"
    assert named("late", "zh") == "块 2“late”，22:00 起 2 小时（至 24:00）"
    assert named("gone") == "gone"
    assert summary("en", DOCUMENT) == "curve of 2 · blocks: 3"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("curve[0].lots", "Curve step 1 · lots"),
        ("curve[1].instead[0].price", "Curve step 2 · substitute 1 · price"),
        ("blocks[1].hours", "Block 2 “late”, 2 h from 22:00 to 24:00 · hours"),
        ("blocks[2].profile[0].hours", "Block 3, in pieces: 1 · piece 1 · hours"),
        ("blocks[9].price", "Block 10 · price"),
        ("source", "source"),
    ],
)
def test_places_of_errors(path: str, said: str) -> None:
    assert place_text("en", path, DOCUMENT) == said
    assert not re.search(r"\[\d", place_text("zh", path, DOCUMENT))


STEP = {"product": A100, "hours": [8, 20], "lots": 4, "price": 9}
BLOCK = {**STEP, "name": "one"}
PIECE = {"product": A100, "hours": [0, 4], "lots": 1}


@pytest.mark.parametrize(
    "document",
    [
        {"side": "hold", "curve": [STEP]},
        {"side": "buy", "source": "pool_1", "curve": [STEP]},
        {"side": "sell", "curve": [STEP]},
        {"side": "sell", "source": "x" * 50, "curve": [STEP]},
        {"side": "buy"},
        {"side": "buy", "curve": [STEP] * 201},
        {"side": "buy", "curve": STEP},
        {"side": "buy", "curve": [{**STEP, "lots": "two"}]},
        {"side": "buy", "curve": [{**STEP, "lots": 0}]},
        {"side": "buy", "curve": [{**STEP, "price": [1]}]},
        {"side": "buy", "curve": [{**STEP, "price": "dear"}]},
        {"side": "buy", "curve": [{**STEP, "price": 0.0001}]},
        {"side": "buy", "curve": [{**STEP, "product": "a100"}]},
        {"side": "buy", "curve": [{**STEP, "hours": [20, 8]}]},
        {"side": "buy", "curve": [{**STEP, "colour": "red"}]},
        {"side": "buy", "curve": [{"product": A100}]},
        {"side": "buy", "curve": [{**STEP, "instead": [{"product": A100, "price": 9}]}]},
        {"side": "buy", "blocks": [{**BLOCK, "name": "no spaces"}]},
        {"side": "buy", "blocks": [BLOCK, BLOCK]},
        {"side": "buy", "blocks": [{**BLOCK, "least": 0}]},
        {"side": "buy", "blocks": [{**BLOCK, "any": 13}]},
        {"side": "buy", "blocks": [{**BLOCK, "parent": "two"}]},
        {"side": "buy", "blocks": [{**BLOCK, "parent": "one"}]},
        {"side": "buy", "blocks": [{**BLOCK, "lots": None}]},
        {"side": "buy", "blocks": [{**BLOCK, "profile": [PIECE]}]},
        {"side": "buy", "blocks": [{"price": 9, "profile": [PIECE, PIECE]}]},
        {
            "side": "buy",
            "blocks": [{"price": 9, "any": 2, "profile": [PIECE, {**PIECE, "hours": [4, 5]}]}],
        },
        {
            "side": "sell",
            "source": "p",
            "curve": [{**STEP, "instead": [{"product": H100, "price": 9}]}],
        },
    ],
)
def test_no_error_of_a_bid_speaks_english_to_a_chinese_reader(document: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(document)
    told = reasons.problem("zh", caught.value)
    for text in (told.title, told.hint, *told.fields.values()):
        assert re.search(r"[\u4e00-\u9fff]", text), f"{caught.value.message} -> {text}"
