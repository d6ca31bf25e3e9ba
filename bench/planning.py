"""One scheduling round of a national grid: how long, how much memory, the same plan?

The claim: 100,000 queued demands of 500 classes, 100 sites, 10,000 nodes of 8 cards, a third of
them busy, in at most 1.0 s and 1 GiB. The peer measured beside it is the plain reference planner
(tests/contract/engine), at a size that it can do; there both plans must be equal.

    python bench/planning.py [--sites 100] [--nodes 100] [--demands 100000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from contract.engine.reference_planner import reference_plan
from suanwang.engines.scheduling.model import (
    AcceleratorSpec,
    DemandClass,
    Funds,
    Input,
    Node,
    Plan,
    Policy,
    Pool,
    Prices,
    QueueGroup,
    Quota,
    Request,
    Running,
    Share,
    Snapshot,
)
from suanwang.engines.scheduling.plan import plan
from suanwang.kernel.resources import ZERO, Resources

NOW_MS = 1_767_225_600_000
NODE = Resources(128_000, 1_048_576, 4_194_304, 8_000)
MODELS = (
    AcceleratorSpec("H100", 81_920, 990_000),
    AcceleratorSpec("A100", 81_920, 312_000),
    AcceleratorSpec("Ascend 910B", 65_536, 320_000),
    AcceleratorSpec("MI300X", 196_608, 1_307_000),
)
REGIONS = ("henan", "gansu", "xinjiang", "guizhou", "ningxia")
SECONDS_ALLOWED = 1.0
MIB_ALLOWED = 1_024


def share_of_node(cards: int) -> Resources:
    return Resources(12_000 * max(1, cards), 98_304 * max(1, cards), 0, 1_000 * cards)


def grid(random_: random.Random, sites: int, nodes: int) -> tuple[list[Pool], list[Running]]:
    pools: list[Pool] = []
    leases: list[Running] = []
    for s in range(sites):
        pool_id, at = f"pool-{s:04d}", []
        for n in range(nodes):
            free = NODE
            if random_.random() < 0.34:
                need = share_of_node(random_.choice((2, 4, 8)))
                free = NODE - need
                leases.append(running(random_, f"lease-{s:04d}-{n:05d}", pool_id, n, need))
            at.append(Node(f"node-{n:05d}", NODE, free))
        spec = MODELS[s % len(MODELS)]
        prices = Prices(40_000 + 100 * s, 4_000, random_.randrange(3, 25) * 1_000_000)
        kind = "ai" if s % 3 else "super"
        region = REGIONS[s % len(REGIONS)]
        pools.append(
            Pool(pool_id, f"site-{s:04d}", region, kind, "x86_64", tuple(at), prices, spec)
        )
    return pools, leases


def running(
    random_: random.Random, lease_id: str, pool_id: str, node: int, need: Resources
) -> Running:
    owner = random_.randrange(50)
    began, left = random_.randrange(60_000, 7_200_000), random_.randrange(60_000, 36_000_000)
    return Running(
        lease_id,
        f"org-{owner:02d}",
        f"org-{owner:02d}-p0",
        f"org-{owner:02d}-p0-u0",
        "class-000",
        pool_id,
        0,
        random_.random() < 0.3,
        ((f"node-{node:05d}", 1),),
        need,
        NOW_MS - began,
        NOW_MS + left,
        NOW_MS + left // 2,
        NOW_MS - began + 1_800_000,
    )


def classes(random_: random.Random, count: int, sites: int) -> list[DemandClass]:
    out = []
    for c in range(count):
        cards = random_.choice((0, 1, 1, 1, 2, 4, 8, 8))
        declared = random_.choice((1_800, 7_200, 28_800, 86_400))
        data = random_.random() < 0.3
        out.append(
            DemandClass(
                f"class-{c:03d}",
                (Request(share_of_node(cards)), Request(share_of_node(2 * cards % 16)))[
                    : random_.choice((1, 1, 2))
                ],
                members=random_.choice((1, 1, 1, 1, 2, 4, 16)),
                max_runtime_s=declared,
                expected_runtime_s=declared * random_.choice((2, 5, 9)) // 10,
                max_rate_micro_yuan_per_hour=random_.choice((None, None, 30_000_000, 900_000_000)),
                regions=random_.choice(((), (), ("henan", "gansu"), ("xinjiang",))),
                preemptible=random_.random() < 0.3,
                inputs=(
                    (Input(random_.randrange(1, 10**6), (f"site-{random_.randrange(sites):04d}",)),)
                    if data
                    else ()
                ),
            )
        )
    return out


def snapshot(
    *, sites: int, nodes: int, demands: int, class_count: int, group_count: int, seed: int = 1
) -> Snapshot:
    random_ = random.Random(seed)
    pools, leases = grid(random_, sites, nodes)
    known = classes(random_, class_count, sites)
    groups: dict[tuple[str, str, str, str, int], QueueGroup] = {}
    shares: dict[str, Share] = {}
    while len(groups) < group_count:
        organisation = f"org-{random_.randrange(50):02d}"
        project = f"{organisation}-p{random_.randrange(4)}"
        user = f"{project}-u{random_.randrange(5)}"
        group = QueueGroup(
            organisation,
            project,
            user,
            random_.choice(known).class_id,
            random_.choice((0, 0, 10)),
            demands // group_count,
            NOW_MS - random_.randrange(10**7),
        )
        groups[group.key] = group
        for share, parent in ((organisation, None), (project, organisation), (user, project)):
            weight = random_.choice((1, 2, 5))
            shares[share] = Share(share, parent, weight, random_.randrange(10**6))
    projects = sorted(s.share_id for s in shares.values() if s.share_id.count("-") == 2)
    return Snapshot(
        pools=tuple(pools),
        classes=tuple(known),
        queue=tuple(groups[k] for k in sorted(groups)),
        running=tuple(leases),
        shares=tuple(shares[k] for k in sorted(shares)),
        quotas=tuple(Quota(f"org-{i:02d}", NODE * nodes * 8, ZERO) for i in range(0, 50, 5)),
        funds=tuple(Funds(p, 50_000 * 1_000_000) for p in projects if p[-1] in "02"),
    )


def timed(planner: Callable[[Snapshot, int], Plan], given: Snapshot) -> tuple[float, float, Plan]:
    """(wall seconds, processor seconds, plan)."""
    began, used = time.perf_counter(), time.process_time()
    made = planner(given, NOW_MS)
    return time.perf_counter() - began, time.process_time() - used, made


def machine_loop_ms() -> float:
    """A million additions: tells how busy or slow the machine was (an idle one needs 35 to 45)."""
    began, total = time.perf_counter(), 0
    for i in range(1_000_000):
        total += i
    return (time.perf_counter() - began) * 1_000


def same_plan(fast: Plan, plain: Plan) -> bool:
    bare = tuple(replace(r, detail="", verdicts=()) for r in fast.refusals)
    return replace(fast, refusals=bare, preemptions=()) == plain


def beside_the_reference() -> tuple[float, float, bool]:
    """(our seconds, the reference's, whether the plans are equal) at a size that it can do."""
    small = replace(
        snapshot(sites=6, nodes=6, demands=300, class_count=20, group_count=60),
        policy=Policy(fragmentation_aware=False),
    )
    timed(plan, small)
    fast_s, _, fast = timed(plan, small)
    plain_s, _, plain = timed(reference_plan, small)
    return fast_s, plain_s, same_plan(fast, plain)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sites", type=int, default=100)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--demands", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=500)
    parser.add_argument("--groups", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()

    fast_s, plain_s, equal = beside_the_reference()

    large = snapshot(
        sites=given.sites,
        nodes=given.nodes,
        demands=given.demands,
        class_count=given.classes,
        group_count=given.groups,
    )
    before_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    rounds = []
    loop_ms = machine_loop_ms()
    for _ in range(given.rounds):
        wall_s, used_s, made = timed(plan, large)
        rounds.append((wall_s, used_s))
        loop_ms = min(loop_ms, machine_loop_ms())
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    seconds = statistics.median(r[0] for r in rounds)
    processor_s = statistics.median(r[1] for r in rounds)
    worst, best = max(r[0] for r in rounds), min(r[0] for r in rounds)
    print(f"small: reference {plain_s:.3f} s, ours {fast_s:.3f} s, plans equal: {equal}")
    print(
        f"large: median {seconds:.3f} s, worst {worst:.3f} s, processor {processor_s:.3f} s, "
        f"peak {peak_mib:.0f} MiB; a plain loop took {loop_ms:.0f} ms at best"
    )
    print(
        f"       {len(made.placements)} started, {sum(r.count for r in made.refusals)} refused in "
        f"{len(made.refusals)} groups, {len(made.reservations)} reserved, "
        f"{len(made.preemptions)} preempted"
    )
    report = {
        "bench": "planning",
        "sites": given.sites,
        "nodes": given.sites * given.nodes,
        "demands": given.demands,
        "classes": given.classes,
        "groups": given.groups,
        "round_s_median": round(seconds, 3),
        "round_s_worst": round(worst, 3),
        "round_s_best": round(best, 3),
        "machine_loop_ms": round(loop_ms, 1),
        "round_processor_s": round(processor_s, 3),
        "of_allowed_time": round(seconds / SECONDS_ALLOWED, 3),
        "peak_mib": round(peak_mib),
        "round_mib": round(peak_mib - before_mib),
        "of_allowed_memory": round(peak_mib / MIB_ALLOWED, 3),
        "started": len(made.placements),
        "small_reference_s": round(plain_s, 4),
        "small_ours_s": round(fast_s, 4),
        "speed_ratio_small": round(plain_s / fast_s, 1),
        "same_plan": equal,
    }
    print(json.dumps(report))
    if not equal:
        raise SystemExit("the two planners disagree")


if __name__ == "__main__":
    main()
