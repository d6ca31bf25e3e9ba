"""What does it cost to tell somebody why his job waits and when it may start?

The claim: at most 0.3 s of processor time with 10,000 queued jobs, at the front and at the back of
the queue, and not much more with 100,000. The limit measured beside it, in the same run on the same
snapshot, is one round of the planner, which a new answer would cost at least.

    python bench/explaining.py [--scene 0 ...]
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from planning import NOW_MS, snapshot
from suanwang.engines.scheduling.forecast import explain
from suanwang.engines.scheduling.plan import plan

SECONDS_ALLOWED = 0.3
SCENES = (
    # sites, nodes of each, queued jobs, classes, groups
    (3, 20, 10_000, 50, 200),
    (3, 20, 10_000, 500, 2_000),
    (100, 4, 10_000, 50, 200),
    (100, 4, 10_000, 500, 2_000),
    (3, 20, 100_000, 500, 2_000),
)
PLACES = {"front": 0, "middle": 50, "back": 100}


def measured(sites: int, nodes: int, demands: int, classes: int, groups: int) -> dict[str, Any]:
    given = snapshot(
        sites=sites, nodes=nodes, demands=demands, class_count=classes, group_count=groups
    )
    plan(given, NOW_MS)
    began = time.process_time()
    made = plan(given, NOW_MS)
    round_s = time.process_time() - began
    hopeful = [r.group for r in made.refusals if r.reason.value != "OverPriceCap"]
    said: dict[str, Any] = {"round_s": round(round_s, 3)}
    for name, percent in PLACES.items():
        group = hopeful[min(len(hopeful) - 1, len(hopeful) * percent // 100)]
        began = time.process_time()
        found = explain(given, made, group, NOW_MS)
        used_s = time.process_time() - began
        start = found.estimate and (found.estimate.expected_start_ms - NOW_MS) // 1_000
        said[name] = {
            "s": round(used_s, 3),
            "rounds": round(used_s / round_s, 1),
            "expected_in_s": start,
            "bounded": found.estimate is not None and found.estimate.latest_start_ms is not None,
        }
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scene", type=int, action="append", choices=range(len(SCENES)))
    given = parser.parse_args()
    report: dict[str, Any] = {"bench": "explaining"}
    worst = 0.0
    for index in given.scene or range(len(SCENES)):
        sites, nodes, demands, classes, groups = SCENES[index]
        said = measured(sites, nodes, demands, classes, groups)
        name = f"{sites} sites x {nodes} nodes, {demands} jobs of {classes} classes"
        print(f"{name}: {said}")
        report[name] = said
        worst = max(worst, *(said[place]["s"] for place in PLACES))
    report["worst_s"] = worst
    report["of_allowed_time"] = round(worst / SECONDS_ALLOWED, 2)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
