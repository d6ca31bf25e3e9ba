"""The call auction on a large book: how near to the bound, how long, how much memory.

    python bench/auction.py [--orders 10000] [--seed 1] [--shape made|traces] [--data DIR]

Shapes: `made` are books of a generator (`auction_books`), `traces` books drawn from real GPU traces
and electricity prices (`auction_traces`), which are read from DIR: by --data, $SUAN_DATA, or
../shared/data beside the repository; without them nothing is measured.

Thin books, where blocks decide: `--orders 100 --classes 1 --exact 120` has choices and prices in
one program beside ours (`tests/auction_exact.py`): the best that prices support, or what it is at
most.

Claims: with 10,000 orders at least 99.5 % of the bound within 30 s, with 100,000 at least 99 %
within 5 minutes and 4 GiB. The limit is the linear relaxation, whose welfare nothing exceeds. The
peer in the same run is the whole mixed-integer program given to HiGHS at once, for as long as ours
took but at least 30 s (100,000 orders: at least a minute); it has no prices to find and may leave
accepted blocks with a loss, so it solves the easier problem.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from pathlib import Path

import highspy
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import auction_traces
from auction_books import Market
from auction_exact import exact
from suanwang.engines.matching.call_auction import clear
from suanwang.engines.matching.model import Book, Outcome
from suanwang.engines.matching.program import Program, Solver
from suanwang.kernel.money import MICRO_PER_YUAN


def whole(book: Book, seconds: float) -> tuple[float, str]:
    """(welfare that the solver finds by itself, how it ended); no prices, losers allowed."""
    program = Program(book)
    model = program.model()
    kinds = [highspy.HighsVarType.kContinuous] * program.layout.end
    for at in range(program.layout.options, program.layout.links):
        kinds[at] = highspy.HighsVarType.kInteger
    model.integrality_ = kinds
    model.col_upper_ = np.concatenate(
        [np.array(model.col_upper_)[: program.layout.slack], np.zeros(2 * book.products)]
    )
    # the solver keeps its threads for the process: ours had asked for one
    highspy.Highs.resetGlobalScheduler(True)  # type: ignore[no-untyped-call]
    solver = Solver()
    solver.setOptionValue("threads", 2)
    solver.setOptionValue("time_limit", seconds)
    solver.passModel(model)
    solver.run()
    assert solver.getModelStatus() != highspy.HighsModelStatus.kNotset, "the peer did not run"
    info = solver.getInfo()
    return -info.objective_function_value * MICRO_PER_YUAN, str(solver.getModelStatus())


def book_of(given: argparse.Namespace) -> Book:
    orders, seed, data = given.orders, given.seed, given.data
    if given.shape == "made":
        return Market(orders, given.classes, given.zones, seed).book()
    lacking = auction_traces.missing(data)
    if lacking:
        raise SystemExit(f"skipped: no {', '.join(lacking)} in {data}; name the folder by --data")
    return auction_traces.TraceMarket(orders, auction_traces.read(data), seed).book()


def main() -> None:
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--orders", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shape", choices=("made", "traces"), default="made")
    parser.add_argument("--classes", type=int, default=5, help="of made books")
    parser.add_argument("--zones", type=int, default=4, help="of made books")
    parser.add_argument("--exact", type=float, default=0.0, help="seconds for the exact program")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SUAN_DATA", beside)))
    parser.add_argument("--no-peer", action="store_true", help="ours alone")
    given = parser.parse_args()
    book = book_of(given)
    began, used = time.perf_counter(), time.process_time()
    cleared = clear(book)
    took_s, used_s = time.perf_counter() - began, time.process_time() - used
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    best = exact(book, given.exact) if given.exact else None
    peer_s = max(took_s, 30.0 if given.orders <= 10_000 else 60.0)
    peer, ended = (0.0, "not run") if given.no_peer else whole(book, peer_s)
    print(
        json.dumps(
            {
                "bench": "auction",
                "shape": given.shape,
                "orders": given.orders,
                "seed": given.seed,
                "lines": len(book.lines),
                "blocks": len(book.blocks),
                "seconds": round(took_s, 1),
                "processor_s": round(used_s, 1),
                "peak_mib": peak_mib,
                "rounds": cleared.rounds,
                "of_bound_percent": round(100 * (1 - cleared.gap), 4),
                "peer_of_bound_percent": round(100 * peer / cleared.bound, 4),
                "exact_of_bound_percent": best and round(100 * best.welfare / cleared.bound, 4),
                "exact_at_most_percent": best and round(100 * best.bound / cleared.bound, 4),
                "peer_seconds": round(peer_s),
                "peer_status": ended,
                "paradoxically_rejected": sum(
                    award.outcome is Outcome.PARADOX for award in cleared.awards.values()
                ),
            }
        )
    )


if __name__ == "__main__":
    main()
