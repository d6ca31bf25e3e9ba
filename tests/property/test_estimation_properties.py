"""What must hold for any stream of jobs: ordered bounds, determinism, saved state, no future."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from suanwang.engines.estimation.estimator import Estimator
from suanwang.engines.estimation.model import JobFacts
from suanwang.engines.estimation.replay import RecordedJob, replay

DAY_MS = 86_400_000

limits = st.none() | st.integers(0, 3_000_000)
runtimes = st.integers(0, 3_000_000) | st.sampled_from([0, 10**12])
facts = st.builds(
    JobFacts,
    user_id=st.sampled_from(["", "ada", "bob"]),
    project_id=st.sampled_from(["", "lab"]),
    application=st.sampled_from(["", "train"]),
    cpu_milli=st.sampled_from([0, 1000, 64_000]),
    members=st.integers(1, 3),
    declared_limit_s=limits,
    limit_enforced=st.booleans(),
    submitted_at_ms=st.integers(0, 10 * DAY_MS),
)


@st.composite
def recorded(draw: st.DrawFn) -> RecordedJob:
    job, waited, ran = draw(facts), draw(st.integers(1, DAY_MS)), draw(runtimes)
    return RecordedJob(job, job.submitted_at_ms + waited + 1000 * ran, ran)


@given(st.lists(st.tuples(facts, runtimes), max_size=40), facts)
def test_bounds_are_ordered_and_under_an_enforced_limit(
    history: list[tuple[JobFacts, int]], asked: JobFacts
) -> None:
    estimator = Estimator()
    for job, runtime_s in history:
        estimator.observe(job, runtime_s, estimator.estimate(job))
    said = estimator.estimate(asked)
    assert 0 <= said.low_s <= said.median_s <= said.high_s
    if asked.limit_enforced and asked.declared_limit_s is not None:
        assert said.high_s <= asked.declared_limit_s


@given(st.lists(recorded(), max_size=30))
def test_the_same_stream_gives_the_same_estimates_and_state(jobs: list[RecordedJob]) -> None:
    one, two = Estimator(), Estimator()
    assert replay(jobs, one) == replay(jobs, two)
    assert one.to_bytes() == two.to_bytes()


@given(st.lists(recorded(), max_size=30), st.lists(recorded(), max_size=10))
def test_a_saved_estimator_goes_on_as_if_never_saved(
    before: list[RecordedJob], after: list[RecordedJob]
) -> None:
    kept = Estimator(80, capacity=25)
    replay(before, kept)
    restored = Estimator.from_bytes(kept.to_bytes())
    assert restored.to_bytes() == kept.to_bytes()
    assert replay(after, restored) == replay(after, kept)
    assert restored.to_bytes() == kept.to_bytes()


@settings(max_examples=60)
@given(st.lists(recorded(), min_size=1, max_size=30), st.data())
def test_a_poisoned_future_changes_no_estimate_of_the_past(
    jobs: list[RecordedJob], data: st.DataObject
) -> None:
    """What has not ended by an instant gets another length; estimates made until then stand."""
    now_ms = data.draw(st.sampled_from([job.facts.submitted_at_ms for job in jobs]))
    poisoned = [
        job
        if job.ended_at_ms <= now_ms
        else replace(
            job,
            runtime_s=data.draw(runtimes),
            ended_at_ms=max(now_ms, job.facts.submitted_at_ms) + data.draw(st.integers(1, DAY_MS)),
        )
        for job in jobs
    ]
    truth, poison = replay(jobs, Estimator()), replay(poisoned, Estimator())
    for job, first, second in zip(jobs, truth, poison, strict=True):
        assert job.facts.submitted_at_ms > now_ms or first == second
