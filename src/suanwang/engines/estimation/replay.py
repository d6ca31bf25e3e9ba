"""Feeds a recorded stream of jobs to an estimator in the order in which things happened.

A job is estimated when it is submitted and learned when it ends; what ends at the very instant
of a submission is learned first. So no estimate can depend on a run time that was still unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from suanwang.engines.estimation.estimator import Estimator
from suanwang.engines.estimation.model import Estimate, JobFacts


@dataclass(frozen=True, slots=True)
class RecordedJob:
    """One line of a trace: the facts at submission, when it ended, how long it ran."""

    facts: JobFacts
    ended_at_ms: int
    runtime_s: int


def replay(jobs: Sequence[RecordedJob], estimator: Estimator) -> list[Estimate]:
    """The estimate each job got at its submission, in the order of `jobs`."""
    # At one instant: ends, then submissions, then the ends of jobs that took no time at all.
    # The index makes the order total.
    events = [(job.facts.submitted_at_ms, 1, i) for i, job in enumerate(jobs)]
    for i, job in enumerate(jobs):
        submitted = job.facts.submitted_at_ms
        events.append((job.ended_at_ms, 0, i) if job.ended_at_ms > submitted else (submitted, 2, i))
    said: dict[int, Estimate] = {}
    for _, kind, i in sorted(events):
        job = jobs[i]
        if kind == 1:
            said[i] = estimator.estimate(job.facts)
        else:
            estimator.observe(job.facts, job.runtime_s, said[i])
    return [said[i] for i in range(len(jobs))]
