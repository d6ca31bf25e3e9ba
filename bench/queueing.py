"""Kueue's published load, replayed in virtual time with our rounds: how full is the quota kept?

The load is that of kubernetes-sigs/kueue, test/performance/scheduler/configs/baseline: 5 cohorts of
6 cluster queues; each queue has a quota of 20, may borrow 100 in its cohort, and gets 350 small
(1 unit, 200 ms, every 100 ms), 100 medium (5 units, 500 ms, every 500 ms) and 50 large workloads
(20 units, 1,000 ms, every 1,200 ms): 15,000 in all. Here a cohort is an organisation with a pool of
its own, a cluster queue is a project, and a thousandth of a second is a second.

The limit beside it: work that arrives at or after an instant cannot be done before that instant
plus the work over the quota. Kueue's own runs (rangespec.yaml beside the generator, 5 runs of
351 s on real API servers) are quoted, not measured: they contain what we do not have here, an API
server and real waiting, so only the use of the quota compares.

    python bench/queueing.py [--declared 1.0]     declared run time over the real one
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from contract.engine.virtual_grid import Record, VirtualGrid, Work
from suanwang.engines.scheduling.model import DemandClass, Node, Pool, Prices, Request, Share
from suanwang.kernel.resources import Resources

COHORTS, QUEUES, QUOTA = 5, 6, 20
KINDS = (
    # name, units, run time, priority, how many, every
    ("small", 1, 200, 50, 350, 100),
    ("medium", 5, 500, 100, 100, 500),
    ("large", 20, 1_000, 200, 50, 1_200),
)
MS = 1_000
"""A millisecond of the load is a second here."""

KUEUE_WALL_S = 351.1164
KUEUE_USE_PERCENT = 58.7
KUEUE_WAIT_S = {"small": 215.468, "medium": 76.768, "large": 6.666}
MAKESPAN_ALLOWED = 1.05


def grid(declared: float) -> VirtualGrid:
    pools, classes, shares = [], [], []
    for c in range(COHORTS):
        room = Resources(cpu_milli=1_000 * QUOTA * QUEUES)
        node = Node("node", room, room)
        pools.append(Pool(f"cohort-{c}", f"site-{c}", "r", "k", "x86_64", (node,), Prices()))
        shares.append(Share(f"cohort-{c}", None, 1))
        for name, units, runtime, _, _, _ in KINDS:
            bound_s = int(runtime * declared)
            request = Request(Resources(cpu_milli=1_000 * units))
            classes.append(
                DemandClass(
                    f"{name}-{c}",
                    (request,),
                    1,
                    bound_s,
                    min(runtime, bound_s),
                    sites=(f"site-{c}",),
                )
            )
    return VirtualGrid(tuple(pools), tuple(classes), tuple(shares))


def load() -> list[Work]:
    out = []
    for c in range(COHORTS):
        for q in range(QUEUES):
            for name, _, runtime, priority, count, every in KINDS:
                owner = (f"cohort-{c}", f"queue-{c}-{q}", f"queue-{c}-{q}-user", f"{name}-{c}")
                out.extend(
                    Work(
                        f"{name}-{c}-{q}-{i:03d}",
                        (*owner, priority),
                        (i + 1) * every * MS,
                        runtime * MS,
                    )
                    for i in range(count)
                )
    return out


def bound_ms(works: list[Work]) -> int:
    """No cohort is done before this: for every instant, the work still to come over the quota."""
    units = {name: units for name, units, *_ in KINDS}
    latest = 0
    for c in range(COHORTS):
        mine = sorted(
            (w for w in works if w.key[0] == f"cohort-{c}"), key=lambda w: -w.submitted_ms
        )
        to_come = 0
        for work in mine:
            to_come += work.runtime_ms * units[work.work_id.split("-")[0]]
            through_ms = work.submitted_ms + -(-to_come // (QUOTA * QUEUES))
            latest = max(latest, through_ms, work.submitted_ms + work.runtime_ms)
    return latest


def waits_s(done: list[Record], name: str) -> list[float]:
    return [
        (r.started_ms - r.work.submitted_ms) / MS / 1_000
        for r in done
        if r.work.work_id.startswith(name)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--declared", type=float, default=1.0)
    given = parser.parse_args()
    works = load()
    at = grid(given.declared)
    at.submit(works)
    began, used = time.perf_counter(), time.process_time()
    at.run()
    wall_s, processor_s = time.perf_counter() - began, time.process_time() - used

    units = {name: units for name, units, *_ in KINDS}
    done_ms = max(r.ended_ms for r in at.done)
    limit_ms = bound_ms(works)
    work = sum(w.runtime_ms * units[w.work_id.split("-")[0]] for w in works)
    use = work / (done_ms * QUOTA * QUEUES * COHORTS)
    best_use = work / (limit_ms * QUOTA * QUEUES * COHORTS)
    queues = sorted({w.key[1] for w in works})
    last_ms = {q: max(r.ended_ms for r in at.done if r.work.key[1] == q) for q in queues}
    spread = max(last_ms.values()) / min(last_ms.values())
    longest_s = max((r.started_ms - r.work.submitted_ms) / MS / 1_000 for r in at.done)
    ratio = done_ms / limit_ms
    print(
        f"makespan {done_ms / MS / 1_000:.1f} s of load time, the quota bound is "
        f"{limit_ms / MS / 1_000:.1f} s: {ratio:.3f} of it"
    )
    print(
        f"use of the quota {100 * use:.1f} %, possible {100 * best_use:.1f} %, "
        f"Kueue's published {KUEUE_USE_PERCENT} %"
    )
    for name, *_ in KINDS:
        mine = waits_s(at.done, name)
        print(
            f"{name:7} mean wait {statistics.mean(mine):7.2f} s, longest {max(mine):6.2f} s; "
            f"Kueue's published mean {KUEUE_WAIT_S[name]} s"
        )
    print(
        f"{at.rounds} rounds in {wall_s:.1f} s ({processor_s:.1f} s processor): "
        f"{len(at.done) / wall_s:.0f} admissions/s, Kueue's {15_000 / KUEUE_WALL_S:.0f}"
    )
    report = {
        "bench": "queueing",
        "workloads": len(works),
        "declared_over_real": given.declared,
        "makespan_over_bound": round(ratio, 4),
        "use_percent": round(100 * use, 1),
        "possible_use_percent": round(100 * best_use, 1),
        "kueue_use_percent": KUEUE_USE_PERCENT,
        "admissions_per_s": round(len(at.done) / wall_s),
        "kueue_admissions_per_s": round(15_000 / KUEUE_WALL_S),
        "mean_wait_s": {n: round(statistics.mean(waits_s(at.done, n)), 2) for n, *_ in KINDS},
        "longest_wait_s": round(longest_s, 2),
        "last_queue_over_first": round(spread, 3),
        "rounds": at.rounds,
        "round_ms_mean": round(1_000 * wall_s / at.rounds, 2),
    }
    print(json.dumps(report))
    if len(at.done) != len(works) or ratio > MAKESPAN_ALLOWED:
        raise SystemExit("not everything was done within 1.05 of the bound")


if __name__ == "__main__":
    main()
