"""Run seeds: `python -m suanwang.sim --seed 7`, or `--seeds 2000 --processes 2`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from suanwang.sim.scenario import Options, Outcome, run_seed


def _run(arguments: tuple[int, Options]) -> Outcome:
    return run_seed(*arguments)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m suanwang.sim", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many, counted from --seed")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=Options().jobs)
    parser.add_argument("--no-faults", action="store_true")
    parser.add_argument("--deaf", action="store_true", help="plant the bug that must be found")
    parser.add_argument("--trace", action="store_true", help="print what was done to the grid")
    args = parser.parse_args()
    options = Options(jobs=args.jobs, faults=not args.no_faults, deaf=args.deaf)
    started = time.perf_counter()
    work = [(seed, options) for seed in range(args.seed, args.seed + args.seeds)]
    bad = runs = 0
    if args.processes > 1:
        with ProcessPoolExecutor(args.processes) as pool:
            outcomes = list(pool.map(_run, work, chunksize=8))
    else:
        outcomes = [_run(item) for item in work]
    for outcome in outcomes:
        runs += outcome.runs
        if args.trace:
            print("\n".join(outcome.trace))
        if outcome.violations:
            bad += 1
            print(f"seed {outcome.seed}: {len(outcome.violations)} violations")
            for line in outcome.violations[:10]:
                print(f"  {line}")
    seconds = time.perf_counter() - started
    print(
        json.dumps(
            {
                "seeds": len(outcomes),
                "violating_seeds": bad,
                "runs": runs,
                "seeds_per_minute": round(60 * len(outcomes) / seconds, 1),
            }
        )
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
