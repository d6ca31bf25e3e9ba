"""The query language by examples: what is found, and errors that point at the character."""

from __future__ import annotations

from decimal import Decimal

import pytest

from suanwang.trade.catalogue.query import (
    TEXT,
    Condition,
    Field,
    Kind,
    Query,
    QueryError,
    Row,
    Sort,
    Word,
    number_of,
    parse,
    print_query,
    search,
)

FIELDS = (
    Field("gpu.memory", Kind.NUMBER, ("memory",)),
    Field("price", Kind.NUMBER),
    Field("zone", Kind.TEXT, ("region",)),
    Field("gpu.domestic", Kind.FLAG, ("domestic",)),
)
ROWS: tuple[Row, ...] = (
    {TEXT: "a100 郑州", "gpu.memory": 80, "price": Decimal("12.5"), "zone": "henan"},
    {TEXT: "910B 庆阳", "gpu.memory": 64, "price": Decimal(9), "zone": "gansu"},
    {TEXT: "4090 one", "gpu.memory": 24, "price": Decimal(2), "zone": "henan"},
    {TEXT: "cpu only", "gpu.memory": None, "price": Decimal("0.1"), "zone": "Henan-2"},
)
DOMESTIC = (False, True, False, None)
GRID: tuple[Row, ...] = tuple(
    {**row, "gpu.domestic": flag} for row, flag in zip(ROWS, DOMESTIC, strict=True)
)


def found(text: str) -> list[int]:
    return [GRID.index(row) for row in search(parse(text, FIELDS), GRID, lambda row: row)]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("", [0, 1, 2, 3]),
        ("gpu.memory>=64 zone:henan price<30 sort:price", [0]),
        ("memory>=24 sort:price", [2, 1, 0]),
        ("sort:-gpu.memory", [0, 1, 2, 3]),
        ("sort:zone sort:price", [1, 2, 0, 3]),
        ("zone:henan", [0, 2, 3]),
        ("zone=henan", [0, 2]),
        ("ZONE:HENAN", [0, 2, 3]),
        ("zone!=henan", [1, 3]),
        ("zone=gansu,henan", [0, 1, 2]),
        ("zone!=gansu,henan", [3]),
        ("memory:64gb", [1]),
        ("memory!=64", [0, 2]),
        ("domestic:yes", [1]),
        ("domestic!=yes", [0, 2]),
        ("domestic:no", [0, 2]),
        ("郑州", [0]),
        ("b 91", [1]),
        ('"cpu only"', [3]),
        ("price>0.1 price<=9", [1, 2]),
        ("region:gansu,xinjiang", [1]),
        ("910B/B3", []),
    ],
)
def test_what_is_found_and_in_which_order(text: str, rows: list[int]) -> None:
    assert found(text) == rows


@pytest.mark.parametrize(
    ("text", "reason", "at", "hint"),
    [
        ("gpu.memry>=64", "UnknownField", 0, "Did you mean gpu.memory?"),
        ("zone:henan pric<30", "UnknownField", 11, "Did you mean price?"),
        ("xyzzyqq:1", "UnknownField", 0, "There are gpu.memory, price, zone, gpu.domestic."),
        ("sort:prise", "UnknownField", 5, "Did you mean price?"),
        ("price<", "ValueMissing", 6, "price<30"),
        ("price<30, zone:x", "ValueMissing", 9, "price<30"),
        ("sort:", "ValueMissing", 5, "price<30"),
        ("price<cheap", "NotANumber", 6, "price<64"),
        ("price<nan", "NotANumber", 6, "price<64"),
        ("price<1e999", "NotANumber", 6, "price<64"),
        ("domestic:maybe", "NotAFlag", 9, "gpu.domestic:yes or gpu.domestic:no"),
        ("zone>henan", "NoOrderInText", 4, "Write zone:VALUE."),
        ('zone:"he nan', "QuoteOpen", 5, 'Add a ".'),
        ("a" * 501, "QueryTooLong", 500, "Leave something out."),
    ],
)
def test_errors_name_the_reason_point_and_say_what_to_do(
    text: str, reason: str, at: int, hint: str
) -> None:
    with pytest.raises(QueryError) as caught:
        parse(text, FIELDS)
    error = caught.value
    assert (error.reason, error.at, error.field) == (reason, at, "q")
    assert hint in error.hint
    assert error.message.startswith(f"Character {at + 1}: ")
    assert error.status == 422


def test_terms_are_read_as_written() -> None:
    text = 'memory>=64 zone:"a b",c sort:-price "quoted \\" mark" plain'
    assert parse(text, FIELDS) == Query(
        (
            Condition("gpu.memory", ">=", ("64",)),
            Condition("zone", ":", ("a b", "c")),
            Sort("price", descending=True),
            Word('quoted " mark'),
            Word("plain"),
        )
    )


def test_a_word_that_looks_like_a_condition_is_quoted() -> None:
    query = Query((Word("price<30"), Word(""), Word("a,b")))
    assert print_query(query) == '"price<30" "" "a,b"'
    assert parse(print_query(query), FIELDS) == query


def test_numbers_are_decimal_and_finite() -> None:
    assert number_of("64g") == number_of("64GB") == number_of("64") == 64
    assert number_of("-0.5") == Decimal("-0.5")
    assert [number_of(text) for text in ("", "g", "1_0x", "inf", "NaN", "1e30")] == [None] * 6
