"""Intervals are right as often as they say: on exchangeable, drifting and jumping streams."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, sin
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suanwang.engines.estimation.estimator import Estimator
from suanwang.engines.estimation.model import JobFacts
from suanwang.engines.estimation.wait import Calibrator, Interval

HOUR_MS = 3_600_000
STREAM = 1500
Drift = Callable[[int], tuple[float, float]]
"""Mean and spread of the log error of the k-th forecast."""


def exchangeable(_: int) -> tuple[float, float]:
    return 0.5, 1.0


def creeping(k: int) -> tuple[float, float]:
    return k / 400, 0.7


def jumping(k: int) -> tuple[float, float]:
    return (0.0, 0.5) if k < STREAM // 2 else (2.0, 0.5)


def breathing(k: int) -> tuple[float, float]:
    return sin(k / 100), 0.3 if k // 300 % 2 else 1.5


def covered_share(drift: Drift, seed: int, confidence_percent: int) -> float:
    random, calibrator, inside, scored = Random(seed), Calibrator(confidence_percent), 0, 0
    for k in range(STREAM):
        forecast_s = random.randrange(60, 50_000)
        mean, spread = drift(k)
        actual_s = int(forecast_s * exp(random.gauss(mean, spread)))
        said = calibrator.predict(forecast_s)
        calibrator.observe(forecast_s, actual_s, said)
        if k >= 100:
            scored += 1
            inside += said.low_s <= actual_s <= said.high_s
    return inside / scored


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32))
@pytest.mark.parametrize("confidence_percent", [80, 90])
@pytest.mark.parametrize("drift", [exchangeable, creeping, jumping, breathing])
def test_a_calibrated_forecast_covers_what_it_promises(
    drift: Drift, confidence_percent: int, seed: int
) -> None:
    share = covered_share(drift, seed, confidence_percent)
    assert confidence_percent / 100 - 0.03 <= share <= confidence_percent / 100 + 0.03


def test_on_an_exchangeable_stream_the_interval_is_not_needlessly_wide() -> None:
    random, calibrator = Random(5), Calibrator()
    for _ in range(STREAM):
        actual_s = int(10_000 * exp(random.gauss(0, 1)))
        calibrator.observe(10_000, actual_s, calibrator.predict(10_000))
    said = calibrator.predict(10_000)
    # the true 5 and 95 % points are e^±1.645 = 1,930 and 51,800 seconds
    assert 1_200 < said.low_s < 3_000
    assert 35_000 < said.high_s < 75_000


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32))
def test_run_time_intervals_cover_what_they_promise(seed: int) -> None:
    """Two users of unlike habits, the second changing them half way."""
    random, estimator, inside = Random(seed), Estimator(), 0
    for k in range(STREAM):
        user = random.choice(["ada", "bob"])
        level = 6.0 if user == "ada" or k < STREAM // 2 else 8.0
        job = JobFacts(user, declared_limit_s=1_000_000, submitted_at_ms=k * HOUR_MS)
        said = estimator.estimate(job)
        runtime_s = int(exp(random.gauss(level, 0.8)))
        estimator.observe(job, runtime_s, said)
        inside += k >= 200 and said.low_s <= runtime_s <= said.high_s
    assert 0.86 <= inside / (STREAM - 200) <= 0.94


pairs = st.tuples(st.integers(0, 10**7), st.integers(0, 10**7))


@given(st.lists(pairs, max_size=60), st.integers(0, 10**9))
def test_calibrated_bounds_are_ordered_and_state_round_trips(
    history: list[tuple[int, int]], forecast_s: int
) -> None:
    calibrator = Calibrator()
    for forecast, actual in history:
        calibrator.observe(forecast, actual, calibrator.predict(forecast, "p"), "p")
    said: Interval = calibrator.predict(forecast_s, "p")
    assert 0 <= said.low_s <= said.median_s <= said.high_s
    restored = Calibrator.from_bytes(calibrator.to_bytes())
    assert restored.predict(forecast_s, "p") == said
    assert restored.to_bytes() == calibrator.to_bytes()
