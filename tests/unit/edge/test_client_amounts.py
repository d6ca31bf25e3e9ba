"""Money as programs give it to the SDK, and lists that end where they are told to."""

from __future__ import annotations

from typing import Any

import pytest

from suanwang.edge.client.amounts import money, yuan
from suanwang.edge.client.auctions import document_of
from suanwang.edge.client.http import Api
from suanwang.kernel.errors import InvalidInput


def test_an_integer_is_micro_yuan_and_a_text_is_yuan() -> None:
    assert money(None) is None
    assert money(1_500_000) == {"micro_yuan": 1_500_000}
    assert money("1.5") == {"yuan": "1.5"}
    assert money({"micro_yuan": -7, "yuan": "-0.000007"}) == {"micro_yuan": -7}
    assert [yuan(one) for one in (1_500_000, "1.5", {"micro_yuan": 9})] == [
        "1.500000",
        "1.5",
        "0.000009",
    ]
    assert yuan(12_345_000_001) == "12345.000001"


@pytest.mark.parametrize("given", [1.5, True, {"yuan": "1"}, {"micro_yuan": 1.0}])
def test_what_is_not_exact_is_refused(given: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        money(given)
    assert refused.value.reason == "AmountNotExact"


def test_a_bids_document_has_its_prices_in_yuan() -> None:
    step = {"product": "a100-80g@henan", "lots": 4, "price": 12_500_000}
    instead = [{"product": "h100-80g@henan", "price": "18"}]
    block = {"name": "night", "any": 8, "lots": 2, "price": 9_000_000}
    assert document_of("buy", curve=[{**step, "instead": instead}], blocks=[block]) == {
        "side": "buy",
        "curve": [{**step, "price": "12.500000", "instead": instead}],
        "blocks": [{**block, "price": "9.000000"}],
    }
    assert document_of("sell", source="pool_1", curve=[step])["source"] == "pool_1"
    assert step["price"] == 12_500_000, "what was given stays as it was"


class Shelf(Api):
    """A list of a thousand, five hundred a page."""

    def __init__(self) -> None:
        super().__init__("http://nowhere.invalid")
        self.asked: list[int] = []

    def get(self, path: str, query: Any = None) -> Any:
        first, size = int(query.get("cursor", 0)), int(query["limit"])
        self.asked.append(size)
        more = first + size < 1_000
        items = list(range(first, min(1_000, first + size)))
        return {"items": items, "next_cursor": str(first + size) if more else None}


@pytest.mark.parametrize(
    ("most", "found", "asked"),
    [(None, 1_000, [500, 500]), (0, 0, []), (3, 3, [3]), (500, 500, [500]), (501, 501, [500, 500])],
)
def test_a_list_ends_where_it_is_told_to(most: int | None, found: int, asked: list[int]) -> None:
    shelf = Shelf()
    assert list(shelf.pages("/x", most=most)) == list(range(found))
    assert shelf.asked == asked
