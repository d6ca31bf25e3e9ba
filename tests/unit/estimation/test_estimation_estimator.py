"""The estimator as its caller sees it: cold start, learning, calibration, saved state."""

from __future__ import annotations

import msgspec
import pytest

from suanwang.engines.estimation.estimator import Estimator
from suanwang.engines.estimation.model import Basis, Estimate, JobFacts
from suanwang.engines.estimation.replay import RecordedJob, replay
from suanwang.kernel.errors import InvalidInput

HOUR_MS = 3_600_000


def facts(user: str = "ada", limit: int | None = 7200, hour: int = 0) -> JobFacts:
    return JobFacts(
        user, "lab", "train", 4000, declared_limit_s=limit, submitted_at_ms=hour * HOUR_MS
    )


def taught(count: int, runtime_s: int) -> Estimator:
    estimator = Estimator()
    for hour in range(count):
        job = facts(hour=hour)
        estimator.observe(job, runtime_s, estimator.estimate(job))
    return estimator


def test_a_cold_start_guesses_from_the_limit_and_says_so() -> None:
    day, week = (
        Estimator().estimate(facts(limit=86_400)),
        Estimator().estimate(facts(limit=604_800)),
    )
    assert day.basis is Basis.LIMIT_GUESS
    assert day.evidence == 0
    assert 0 < day.median_s < week.median_s < 604_800
    assert day.high_s <= 86_400


def test_a_job_without_a_limit_still_gets_a_guess() -> None:
    said = Estimator().estimate(facts(limit=None))
    assert said.basis is Basis.LIMIT_GUESS
    assert 0 <= said.low_s < said.median_s < said.high_s


def test_it_learns_a_regular_job() -> None:
    said = taught(60, 1800).estimate(facts())
    assert said.basis is Basis.SAME_TEMPLATE
    assert said.median_s == pytest.approx(1800, rel=0.1)
    assert said.low_s <= 1800 <= said.high_s
    assert said.evidence > 30


def test_a_new_user_gets_what_others_with_such_limits_got() -> None:
    said = taught(60, 1800).estimate(JobFacts("zoe", declared_limit_s=7000))
    assert said.basis is Basis.SIMILAR_LIMITS
    assert said.median_s == pytest.approx(1800, rel=0.1)


def test_an_enforced_limit_bounds_all_three_figures() -> None:
    estimator = taught(60, 1800)
    for limit in (0, 1, 100, 1799):
        said = estimator.estimate(facts(limit=limit))
        assert said.low_s <= said.median_s <= said.high_s <= limit


def test_misses_widen_and_hits_narrow_the_interval() -> None:
    calm, startled = Estimator(), Estimator()
    for hour in range(300):
        runtime_s = (60, 600, 1800, 3600, 6000)[hour % 5]
        hit, miss = Estimate(60, 0, 7200, 90, Basis.USER), Estimate(5, 1, 9, 90, Basis.USER)
        calm.observe(facts(hour=hour), runtime_s, hit)
        startled.observe(facts(hour=hour), runtime_s, miss)
    narrow, wide = calm.estimate(facts()), startled.estimate(facts())
    assert narrow.median_s == wide.median_s
    assert (wide.low_s, wide.high_s) == (0, 7200)
    assert wide.high_s - wide.low_s > narrow.high_s - narrow.low_s


def test_without_the_given_estimate_only_the_distribution_learns() -> None:
    with_it, without = Estimator(), Estimator()
    missed = Estimate(5, 1, 9, 90, Basis.USER)
    for hour in range(40):
        with_it.observe(facts(hour=hour), 1800, missed)
        without.observe(facts(hour=hour), 1800)
    assert with_it.estimate(facts()).median_s == without.estimate(facts()).median_s
    assert with_it.estimate(facts()).high_s > without.estimate(facts()).high_s


@pytest.mark.parametrize("runtime_s", [-1_360_000_000, 0, 10**15])
def test_absurd_run_times_do_no_harm(runtime_s: int) -> None:
    said = taught(5, runtime_s).estimate(facts())
    assert 0 <= said.low_s <= said.median_s <= said.high_s <= 7200


def test_state_of_another_version_is_refused() -> None:
    state = msgspec.msgpack.decode(Estimator().to_bytes())
    state[0] = 99
    with pytest.raises(InvalidInput, match="version 99"):
        Estimator.from_bytes(msgspec.msgpack.encode(state))


def test_damaged_state_is_refused() -> None:
    with pytest.raises(InvalidInput) as refused:
        Estimator.from_bytes(taught(3, 60).to_bytes()[:-4])
    assert refused.value.reason == "UnreadableEstimatorState"


def test_replay_learns_a_job_of_no_duration_only_after_estimating_it() -> None:
    job = RecordedJob(facts(), facts().submitted_at_ms, 0)
    assert replay([job], Estimator())[0].basis is Basis.LIMIT_GUESS


def test_replay_knows_what_ended_at_the_instant_of_submission() -> None:
    first = RecordedJob(facts(hour=0), HOUR_MS, 3600)
    said = replay([first, RecordedJob(facts(hour=1), 3 * HOUR_MS, 7200)], Estimator())
    assert said[0] != said[1]
