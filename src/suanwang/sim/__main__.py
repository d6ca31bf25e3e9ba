"""Run seeds: `python -m suanwang.sim --seed 7`, or `--seeds 2000` on all cores."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from rich.console import Console
from rich.progress import track

from suanwang.sim.scenario import Options, Outcome, run_seed

CHUNK = 4
SHOWN = 10


def quiet() -> None:
    """Thousands of warnings of cut lines say nothing here."""
    logging.disable(logging.ERROR)


def _run(arguments: tuple[int, Options]) -> Outcome:
    return run_seed(*arguments)


def outcomes(work: list[tuple[int, Options]], processes: int) -> Iterator[Outcome]:
    """In order of seeds, as they come."""
    if processes <= 1 or len(work) == 1:
        quiet()
        yield from map(_run, work)
        return
    with ProcessPoolExecutor(processes, initializer=quiet) as pool:
        yield from pool.map(_run, work, chunksize=CHUNK)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m suanwang.sim", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many, counted from --seed")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--jobs", type=int, default=Options().jobs)
    parser.add_argument("--no-faults", action="store_true")
    parser.add_argument("--deaf", action="store_true", help="plant the bug that must be found")
    parser.add_argument("--trace", action="store_true", help="print what was done to the grid")
    args = parser.parse_args()
    options = Options(jobs=args.jobs, faults=not args.no_faults, deaf=args.deaf)
    work = [(seed, options) for seed in range(args.seed, args.seed + args.seeds)]
    console = Console(stderr=True)
    started = time.perf_counter()
    bad: list[int] = []
    runs = 0
    virtual_s = 0.0
    seen: Counter[str] = Counter()
    for outcome in track(
        outcomes(work, args.processes),
        "seeds",
        total=len(work),
        console=console,
        disable=not console.is_terminal,
    ):
        runs += outcome.runs
        virtual_s += outcome.virtual_s
        seen.update(outcome.seen)
        if args.trace:
            print("\n".join(outcome.trace))
        if outcome.violations:
            bad.append(outcome.seed)
            print(f"seed {outcome.seed}: {len(outcome.violations)} violations", flush=True)
            for line in outcome.violations[:SHOWN]:
                print(f"  {line}", flush=True)
    seconds = time.perf_counter() - started
    figures = {
        "seeds": len(work),
        "violating_seeds": bad,
        "runs": runs,
        "virtual_hours": round(virtual_s / 3600, 1),
        "seeds_per_minute": round(60 * len(work) / seconds, 1),
        "seen": dict(sorted(seen.items())),
    }
    print(json.dumps(figures))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
