"""Ids that grow, money that is never lost in rounding, hours that sum to the whole."""

from __future__ import annotations

import random as stdlib_random
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manual_clock import ManualClock
from suanwang.kernel.errors import InvalidInput
from suanwang.kernel.ids import ALPHABET, IdFactory, base32
from suanwang.kernel.money import MAX_AMOUNT, allot, format_yuan, parse_yuan, scale
from suanwang.kernel.time import MS_PER_HOUR, split_by_hour

amounts = st.integers(-MAX_AMOUNT, MAX_AMOUNT)


@given(st.lists(st.integers(-5_000, 5_000), min_size=1, max_size=200), st.integers(0, 2**32))
def test_ids_grow_whatever_the_clock_does(steps: list[int], seed: int) -> None:
    clock = ManualClock()
    ids = IdFactory(clock, stdlib_random.Random(seed))
    made = []
    for step in steps:
        clock.advance(ms=step)
        made.append(ids.new("job"))
    assert all(a < b for a, b in pairwise(made))
    assert {len(one) for one in made} == {len("job_") + 18}


def test_ids_of_one_millisecond_keep_their_order() -> None:
    ids = IdFactory(ManualClock(), stdlib_random.Random(1))
    made = [ids.new("task") for _ in range(20_000)]
    assert made == sorted(set(made))


@given(st.integers(0, 2**90 - 1))
def test_base32_sorts_as_numbers_do(value: int) -> None:
    text = base32(value, 18)
    assert len(text) == 18
    assert set(text) <= set(ALPHABET)
    assert base32(value + 1, 20) > base32(value, 20)


@given(amounts, st.integers(0, 10**9), st.integers(1, 10**9))
def test_scale_rounds_half_to_even_and_nothing_else_does(a: int, n: int, d: int) -> None:
    exact = Decimal(a * n) / Decimal(d)
    if abs(a * n) < 10**24:
        assert scale(a, n, d) == int(exact.quantize(Decimal(1), ROUND_HALF_EVEN))
    assert abs(scale(a, n, d) * d - a * n) * 2 <= d


@pytest.mark.parametrize("denominator", [0, -1])
def test_scale_has_a_positive_denominator(denominator: int) -> None:
    with pytest.raises(ValueError):
        scale(1, 1, denominator)


@given(amounts, st.lists(st.integers(0, 10**6), min_size=1, max_size=20))
def test_allot_gives_away_all_and_no_more(amount: int, weights: list[int]) -> None:
    if not sum(weights):
        with pytest.raises(ValueError):
            allot(amount, weights)
        return
    parts = allot(amount, weights)
    assert sum(parts) == amount
    for part, weight in zip(parts, weights, strict=True):
        share = amount * weight / sum(weights)
        assert abs(part - share) <= 1 + abs(share) * 1e-12
        assert weight or part in (0, 1)


def test_allot_settles_ties_by_position() -> None:
    assert allot(2, [1, 1, 1]) == [1, 1, 0]
    with pytest.raises(ValueError):
        allot(1, [2, -1])


@given(amounts)
def test_yuan_there_and_back(micro: int) -> None:
    assert parse_yuan(format_yuan(micro, decimals=6).replace(",", "")) == micro


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "0.0000001", "1e30", None, "1,5"])
def test_what_is_no_money(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_yuan(text)


def test_money_for_people() -> None:
    assert format_yuan(1_234_567_890_000) == "1,234,567.89"
    assert format_yuan(-5_000) == "0.00"
    assert format_yuan(-15_000) == "-0.02"
    assert format_yuan(1_500_000, decimals=0) == "2"


@given(st.integers(0, 10**13), st.integers(0, 50 * MS_PER_HOUR))
def test_hours_cover_the_span_without_gap_or_overlap(start: int, length: int) -> None:
    pieces = split_by_hour(start, start + length)
    assert sum(end - begin for _, begin, end in pieces) == length
    for hour, begin, end in pieces:
        assert hour * MS_PER_HOUR <= begin < end <= (hour + 1) * MS_PER_HOUR
    assert all(a[2] == b[1] for a, b in pairwise(pieces))
