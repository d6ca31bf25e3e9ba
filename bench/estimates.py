"""Run-time and waiting-time estimates on a recorded trace, against the methods in use.

    python bench/estimates.py [trace.swf.gz]

Reads a Standard Workload Format trace (default: swf/wagap-2013.swf.gz under $SUAN_DATA or
../shared/data). Everything is online: a prediction made at a submission uses only jobs that had
ended by then. The first half of the jobs warms all methods up, the second half is scored.
Peers in the same run: the user's limit, Tsafrir's last-2 average, a constant minute and, where
LightGBM is installed, boosted trees refitted every thousand jobs.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections import defaultdict
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from suanwang.engines.estimation.conformal import AdaptiveLevel
from suanwang.engines.estimation.estimator import Estimator
from suanwang.engines.estimation.model import Estimate, JobFacts
from suanwang.engines.estimation.replay import RecordedJob, replay
from suanwang.engines.estimation.wait import Interval, WaitEstimator, WaitFacts

Column = NDArray[np.float64]
ROOT = Path(__file__).resolve().parent.parent
WITHIN_S = 600
ENDED, SUBMITTED, STARTED = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Trace:
    """Jobs by submission; columns in seconds, the limit is NaN where none was declared."""

    jobs: list[RecordedJob]
    queue: list[str]
    submit: Column
    wait: Column
    runtime: Column
    limit: Column
    cpus: Column

    def events(self, *, starts: bool = False) -> list[tuple[float, int, int]]:
        """(instant, kind, job) in order; a job that took no time ends after its submission."""
        events: list[tuple[float, int, int]] = []
        for i in range(len(self.jobs)):
            start = float(self.submit[i] + self.wait[i])
            end = start + float(self.runtime[i])
            events.append((float(self.submit[i]), SUBMITTED, i))
            events.append((end, ENDED if end > self.submit[i] and end > start else 3, i))
            if starts:
                events.append((start, STARTED, i))
        return sorted(events)


def trace_path() -> Path:
    if len(sys.argv) > 1:
        return Path(sys.argv[1])
    data = Path(os.environ.get("SUAN_DATA", ROOT.parent / "shared" / "data"))
    return data / "swf" / "wagap-2013.swf.gz"


def load(path: Path) -> Trace:
    """Jobs with a negative run time or wait (clock faults, cancelled in the queue) are left out."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt") as lines:
        rows = [line.split() for line in lines if line.strip() and not line.startswith(";")]
    rows = [r for r in rows if int(float(r[3])) >= 0 and int(float(r[2])) >= 0]
    rows.sort(key=lambda r: int(r[1]))
    jobs, queue = [], []
    for r in rows:
        # Column 18, where present, lists the nodes the job got: that is the future.
        kind = r[13:16] + r[19:21]
        limit = int(float(r[8]))
        facts = JobFacts(
            user_id=r[11],
            project_id=r[12],
            application="|".join(kind),
            cpu_milli=1000 * _cpus(r),
            memory_mib=max(0, int(float(r[9]))) >> 10,
            declared_limit_s=limit if limit > 0 else None,
            submitted_at_ms=1000 * int(r[1]),
        )
        ran = int(float(r[3]))
        end = int(r[1]) + int(float(r[2])) + ran
        jobs.append(RecordedJob(facts, 1000 * end, ran))
        queue.append(r[19] if len(r) > 19 else r[14])

    def column(index: int) -> Column:
        return np.array([float(r[index]) for r in rows])

    limits = column(8)
    limits[limits <= 0] = np.nan
    cpus = np.array([float(_cpus(r)) for r in rows])
    return Trace(jobs, queue, column(1), column(2), column(3), limits, cpus)


def _cpus(row: list[str]) -> int:
    asked = int(float(row[7]))
    return max(1, asked if asked > 0 else int(float(row[4])))


def last_two(trace: Trace) -> Column:
    """Mean of the user's two latest finished run times, cut at the limit; else the limit."""
    done: dict[str, list[float]] = defaultdict(list)
    everyone: list[float] = [0.0, 0.0]
    said = np.zeros(len(trace.jobs))
    for _, kind, i in trace.events():
        user = trace.jobs[i].facts.user_id
        if kind != SUBMITTED:
            done[user].append(float(trace.runtime[i]))
            everyone = [everyone[0] + float(trace.runtime[i]), everyone[1] + 1]
            continue
        limit = float(trace.limit[i])
        if done[user]:
            mean = sum(done[user][-2:]) / len(done[user][-2:])
            said[i] = mean if np.isnan(limit) else min(mean, limit)
        else:
            said[i] = everyone[0] / max(1.0, everyone[1]) if np.isnan(limit) else limit
    return said


def boosted_trees(trace: Trace, first: int) -> Column | None:
    """LightGBM, L1 on log run time, refitted every 1,000 submissions on what had ended.

    Of four sets of features tried this one does best for the peer on wagap-2013.
    """
    try:
        lightgbm = import_module("lightgbm")
    except ImportError:
        return None
    users, queues = _codes([job.facts.user_id for job in trace.jobs]), _codes(trace.queue)
    memory = np.array([float(job.facts.memory_mib) for job in trace.jobs])
    limit, recent = np.log1p(np.nan_to_num(trace.limit)), np.log1p(last_two(trace))
    features = np.stack([limit, trace.cpus, memory, recent, users, queues], axis=1)
    ended = trace.submit + trace.wait + trace.runtime
    said = np.zeros(len(trace.jobs))
    settings = {"objective": "l1", "learning_rate": 0.05, "min_data_in_leaf": 10, "verbose": -1}
    for at in range(first, len(trace.jobs), 1000):
        known = np.flatnonzero(ended[:at] <= trace.submit[at])
        data = lightgbm.Dataset(
            features[known], np.log1p(trace.runtime[known]), categorical_feature=[4, 5]
        )
        model = lightgbm.train({**settings, "num_threads": 1, "seed": 1}, data, 200)
        said[at : at + 1000] = np.expm1(model.predict(features[at : at + 1000]))
    return np.fmin(np.maximum(said, 0), trace.limit)


def _codes(names: list[str]) -> Column:
    seen: dict[str, int] = {}
    return np.array([float(seen.setdefault(name, len(seen))) for name in names])


def scaled_limit(trace: Trace) -> tuple[Column, Column]:
    """The plainest adaptive interval: 0 to c x limit, c moved up by a miss, down by a hit."""
    scale = AdaptiveLevel(0.1, 0.005)
    low, high = np.zeros(len(trace.jobs)), np.zeros(len(trace.jobs))
    for _, kind, i in trace.events():
        if kind == SUBMITTED:
            high[i] = min(1.0, 1.1 - scale.current) * np.nan_to_num(trace.limit[i])
        else:
            scale.record(missed=bool(trace.runtime[i] > high[i]))
    return low, high


def pinball(share: float, said: Column, actual: Column) -> float:
    gap = actual - said
    return float(np.maximum(share * gap, (share - 1) * gap).mean() / 60)


def interval_figures(low: Column, high: Column, trace: Trace, first: int) -> dict[str, float]:
    """Coverage is strict: a run beyond the limit (late kill) is a miss of any enforced bound."""
    low, high, actual = low[first:], high[first:], trace.runtime[first:]
    inside = (low <= actual) & (actual <= high)
    users = np.array([job.facts.user_id for job in trace.jobs[first:]])
    shares = [inside[users == u].mean() for u in sorted(set(users)) if (users == u).sum() >= 20]
    below, above = pinball(0.05, low, actual), pinball(0.95, high, actual)
    return {
        "coverage": round(float(inside.mean()), 4),
        "users_covered_80pct": round(float((np.array(shares) >= 0.8).mean()), 3) if shares else 1.0,
        "width_min": round(float((high - low).mean() / 60), 1),
        "width_of_limit": round(float((high - low).mean() / np.nanmean(trace.limit[first:])), 4),
        "log2_ratio": round(float(np.log2((high + 60) / (low + 60)).mean()), 2),
        "pinball_5_min": round(below, 1),
        "pinball_95_min": round(above, 1),
        "interval_score_min": round((below + above) * 20, 0),
    }


def point_figures(said: Column, trace: Trace, first: int) -> dict[str, float]:
    said, actual = said[first:], trace.runtime[first:]
    off = np.abs(said - actual) / 60
    similar = np.minimum(said + 1, actual + 1) / np.maximum(said + 1, actual + 1)
    return {
        "mae_min": round(float(off.mean()), 1),
        "median_error_min": round(float(np.median(off)), 1),
        "accuracy": round(float(similar.mean()), 3),
    }


class Backlog:
    """Cores x seconds ahead of a newcomer, if every job lasts as long as `expected` says."""

    def __init__(self, trace: Trace, expected: Column, capacity: float) -> None:
        self.trace, self.expected, self.capacity = trace, expected, capacity
        self.queued_jobs = 0
        self.queued = self.running_cpus = self.running_until = 0.0

    def facts(self, at: float, i: int) -> WaitFacts:
        ahead = self.queued + max(0.0, self.running_until - at * self.running_cpus)
        fits = not self.queued_jobs and self.running_cpus + self.trace.cpus[i] <= self.capacity
        return WaitFacts(
            self.trace.queue[i], None, int(1000 * ahead), int(1000 * self.capacity), bool(fits)
        )

    def apply(self, at: float, kind: int, i: int) -> None:
        cpus, lasts = float(self.trace.cpus[i]), float(self.expected[i])
        if kind == SUBMITTED:
            self.queued_jobs += 1
            self.queued += cpus * lasts
        elif kind == STARTED:
            self.queued_jobs -= 1
            self.queued -= cpus * lasts
            self.running_cpus += cpus
            self.running_until += cpus * (at + lasts)
        else:
            started = float(self.trace.submit[i] + self.trace.wait[i])
            self.running_cpus -= cpus
            self.running_until -= cpus * (started + lasts)


def most_cores_at_once(trace: Trace, until: int) -> float:
    busy = most = 0.0
    for _, kind, i in trace.events(starts=True):
        if i < until and kind != SUBMITTED:
            busy += trace.cpus[i] if kind == STARTED else -trace.cpus[i]
            most = max(most, busy)
    return most


def wait_figures(trace: Trace, medians: Column, first: int) -> dict[str, float]:
    """Share of waits told within ten minutes, by answers that know only what a newcomer sees: the
    backlog of user limits over the capacity, the same with our run times, and the latter after
    online calibration per queue."""
    capacity = most_cores_at_once(trace, first)
    naive = Backlog(trace, np.fmax(trace.limit, np.nan_to_num(trace.limit)), capacity)
    ours = Backlog(trace, medians, capacity)
    waits = WaitEstimator()
    facts: dict[int, WaitFacts] = {}
    said: dict[int, Interval] = {}
    points = np.zeros((3, len(trace.jobs)))
    for at, kind, i in trace.events(starts=True):
        if kind == SUBMITTED:
            facts[i] = ours.facts(at, i)
            said[i] = waits.estimate(facts[i])
            points[:, i] = naive.facts(at, i).point_s, facts[i].point_s, said[i].median_s
        elif kind == STARTED:
            waits.observe(facts[i], int(trace.wait[i]), said[i])
        naive.apply(at, kind, i)
        ours.apply(at, kind, i)
    near = (np.abs(points - trace.wait) <= WITHIN_S)[:, first:].mean(axis=1)
    inside = [said[i].low_s <= trace.wait[i] <= said[i].high_s for i in range(first, len(said))]
    names = ("backlog of limits", "backlog of ours", "calibrated")
    figures = {name: round(float(share), 3) for name, share in zip(names, near, strict=True)}
    at_once = float((trace.wait[first:] <= WITHIN_S).mean())
    coverage = round(float(np.mean(inside)), 3)
    return {"always at once": round(at_once, 3), **figures, "coverage": coverage}


def show(title: str, rows: dict[str, dict[str, float]]) -> None:
    print(f"\n{title}")
    heads = list(dict.fromkeys(head for row in rows.values() for head in row))
    print(" " * 22 + "".join(f"{head:>{max(10, len(head) + 2)}}" for head in heads))
    for name, row in rows.items():
        cells = "".join(f"{row.get(head, '-'):>{max(10, len(head) + 2)}}" for head in heads)
        print(f"{name:<22}{cells}")


def timed_replay(trace: Trace) -> tuple[list[Estimate], float]:
    started = perf_counter()
    said = replay(trace.jobs, Estimator())
    return said, (perf_counter() - started) / len(trace.jobs) * 1e6


def main() -> None:
    trace = load(trace_path())
    first = len(trace.jobs) // 2
    said, per_job_us = timed_replay(trace)
    median, low, high = (
        np.array([getattr(e, name) for e in said], dtype=np.float64)
        for name in ("median_s", "low_s", "high_s")
    )
    limit = np.nan_to_num(trace.limit)
    points = {
        "user limit": limit,
        "last-2 (Tsafrir)": last_two(trace),
        "always one minute": np.full(len(limit), 60.0),
        "ours": median,
    }
    trees = boosted_trees(trace, first)
    if trees is not None:
        points["LightGBM, refitted"] = trees
    scores = {name: point_figures(column, trace, first) for name, column in points.items()}
    scaled = scaled_limit(trace)
    spans = {
        "0 to limit": interval_figures(np.zeros(len(limit)), limit, trace, first),
        "0 to c x limit": interval_figures(*scaled, trace, first),
        "ours": interval_figures(low, high, trace, first),
    }
    print(f"{len(trace.jobs)} jobs, scored on the last {len(trace.jobs) - first}, minutes")
    show("run time", scores)
    show("90 % interval", spans)
    show("waits told within 10 min", {"share": wait_figures(trace, median, first)})
    ours = scores["ours"]["mae_min"]
    result = {
        "bench": "estimates",
        "jobs": len(trace.jobs),
        "mae_ours_over_last2": round(ours / scores["last-2 (Tsafrir)"]["mae_min"], 4),
        "mae_ours_over_user_limit": round(ours / max(1e-9, scores["user limit"]["mae_min"]), 4),
        **spans["ours"],
        "us_per_job": round(per_job_us, 1),
    }
    print("\n" + json.dumps(result))


if __name__ == "__main__":
    main()
