"""Calibrated waits: the bare forecast, the learned correction, pools apart."""

from __future__ import annotations

import pytest

from suanwang.engines.estimation.wait import (
    ENOUGH_PAIRS,
    WINDOW,
    Calibrator,
    WaitEstimator,
    WaitFacts,
)
from suanwang.kernel.errors import InvalidInput


def test_the_point_prefers_the_planner_then_the_backlog() -> None:
    backlog = WaitFacts("p1", None, ahead_cpu_milli_s=7_200_000, capacity_cpu_milli=2000)
    assert backlog.point_s == 3600
    assert WaitFacts("p1", 60, 7_200_000, 2000).point_s == 60
    assert WaitFacts("p1", None, 7_200_000, 2000, fits_now=True).point_s == 0
    assert WaitFacts("p1", None, 7_200_000, 0).point_s == 0


def test_without_history_the_median_is_the_forecast_and_the_evidence_none() -> None:
    said = Calibrator().predict(3600)
    assert said.median_s == 3600
    assert said.low_s < 3600 < said.high_s
    assert said.evidence == 0


def test_a_forecast_that_is_always_half_is_doubled() -> None:
    calibrator = Calibrator()
    for k in range(100):
        forecast = 1000 + 10 * k
        calibrator.observe(forecast, 2 * forecast + 60, calibrator.predict(forecast))
    said = calibrator.predict(1800)
    assert said.median_s == pytest.approx(3660, rel=0.01)
    assert said.high_s < 4000


def test_pools_are_calibrated_apart_once_they_have_enough_pairs() -> None:
    waits = WaitEstimator()
    quick, slow = WaitFacts("quick", 600), WaitFacts("slow", 600)
    for _ in range(ENOUGH_PAIRS):
        waits.observe(quick, 60, waits.estimate(quick))
        waits.observe(slow, 6000, waits.estimate(slow))
    assert waits.estimate(quick).median_s < 120
    assert waits.estimate(slow).median_s > 5000
    assert waits.estimate(WaitFacts("new", 600)).evidence == 2 * ENOUGH_PAIRS


def test_only_the_latest_pairs_are_remembered() -> None:
    calibrator = Calibrator()
    for k in range(3 * WINDOW):
        calibrator.observe(100, 100 + k)
    assert calibrator.predict(100).evidence == WINDOW
    assert calibrator.predict(100).low_s > 100 + WINDOW


def test_a_run_of_misses_reaches_past_all_remembered_errors() -> None:
    calibrator = Calibrator()
    for _ in range(60):
        calibrator.observe(1000, 1000, calibrator.predict(1000))
    for _ in range(30):
        calibrator.observe(1000, 3000, calibrator.predict(0))
    assert calibrator.predict(1000).high_s > 3000


def test_damaged_state_is_refused() -> None:
    with pytest.raises(InvalidInput) as refused:
        Calibrator.from_bytes(b"\x93\x01")
    assert refused.value.reason == "UnreadableCalibratorState"
