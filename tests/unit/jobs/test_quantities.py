"""Sizes and durations as people write them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suanwang.grid.jobs.quantities import MAX_DURATION_S, MAX_SIZE_MIB, parse_mib, parse_seconds


@pytest.mark.parametrize(
    ("text", "mib"),
    [
        ("512MiB", 512),
        ("512 mb", 512),
        ("1.5GiB", 1_536),
        ("64", 65_536),
        (64, 65_536),
        (0.5, 512),
        ("2T", 2 * 1024 * 1024),
        ("0", 0),
        ("0.0001", 1),
        (0, 0),
    ],
)
def test_sizes(text: Any, mib: int) -> None:
    assert parse_mib(text) == mib


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        (90, 90),
        ("90s", 90),
        ("15m", 900),
        ("1h30m", 5_400),
        ("2d", 172_800),
        ("1w", 604_800),
    ],
)
def test_durations(text: Any, seconds: int) -> None:
    assert parse_seconds(text) == seconds


BAD: list[Any] = [
    "",
    " ",
    "x",
    "-1",
    "1 2",
    "1e400",
    "nan",
    "inf",
    None,
    [],
    {},
    True,
    "1h x",
    "9" * 5_000,
]


@pytest.mark.parametrize("text", BAD, ids=repr)
def test_nonsense_is_a_value_error(text: Any) -> None:
    with pytest.raises(ValueError):
        parse_mib(text)
    with pytest.raises(ValueError):
        parse_seconds(text)


@given(
    st.one_of(st.text(max_size=40), st.floats(), st.integers(), st.from_regex(r"\d+[smhdwGMT]*"))
)
def test_anything_is_a_bounded_number_or_a_value_error(given_text: Any) -> None:
    for parse, most in ((parse_mib, MAX_SIZE_MIB), (parse_seconds, MAX_DURATION_S)):
        try:
            value = parse(given_text)
        except ValueError:
            continue
        assert 0 <= value <= most
