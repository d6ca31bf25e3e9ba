"""Is the stated confidence true? Estimates made along a simulated queue against what happened."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from contract.engine.virtual_grid import Key, VirtualGrid, Work
from suanwang.engines.scheduling.forecast import CONFIDENCE_PERCENT, Estimate, estimate
from suanwang.engines.scheduling.model import (
    AcceleratorSpec,
    DemandClass,
    Node,
    Plan,
    Pool,
    Prices,
    Request,
    Snapshot,
)
from suanwang.kernel.resources import Resources

CARD = AcceleratorSpec("H100", 80_000, 900_000)
NODE = Resources(64_000, 0, 0, 8_000)


@dataclass
class Watch:
    """Takes an estimate of a waiting group now and then."""

    chance: random.Random
    taken: list[tuple[Key, int, Estimate]] = field(default_factory=list)
    started: dict[Key, list[int]] = field(default_factory=dict)

    def __call__(self, given: Snapshot, made: Plan, now_ms: int) -> None:
        for placed in made.placements:
            self.started.setdefault(placed.group, []).append(now_ms)
        waiting = [r.group for r in made.refusals]
        if waiting and self.chance.random() < 0.25:
            group = self.chance.choice(waiting)
            found = estimate(given, made, group, now_ms)
            assert found is not None
            self.taken.append((group, now_ms, found))


def scene(seed: int) -> tuple[VirtualGrid, Watch]:
    chance = random.Random(seed)
    classes = []
    for i in range(14):
        cards = chance.choice((1, 2, 4, 8))
        declared = chance.choice((3_600, 7_200, 14_400))
        classes.append(
            DemandClass(
                f"c{i:02d}",
                (Request(Resources(1_000, 0, 0, cards * 1_000)),),
                members=chance.choice((1, 1, 2)),
                max_runtime_s=declared,
                expected_runtime_s=declared // 3,
            )
        )
    nodes = tuple(Node(f"n{i}", NODE, NODE) for i in range(3))
    watch = Watch(chance)
    grid = VirtualGrid(
        (Pool("p", "s", "r", "ai", "x86_64", nodes, Prices(), CARD),),
        tuple(classes),
        on_round=watch,
    )
    return grid, watch


def fill(grid: VirtualGrid, seed: int) -> None:
    """Everything is submitted at the start: an estimate does not promise anything about new work.

    True run times are uniform around the expected one, a shape that the forecast does not assume.
    """
    chance = random.Random(seed + 1)
    for i, known in enumerate(grid.classes):
        for k in range(chance.choice((1, 2, 3))):
            length_s = chance.uniform(0.35, 1.65) * known.expected_runtime_s
            key = (f"o{i % 3}", f"o{i % 3}-p", f"o{i % 3}-u{i % 2}", known.class_id, 0)
            length_ms = int(min(length_s, known.max_runtime_s) * 1_000)
            grid.submit([Work(f"w{i:02d}-{k}", key, i, length_ms)])


def test_nine_in_ten_starts_are_within_the_stated_bound_and_half_around_the_median() -> None:
    within = early = bounded = total = 0
    for seed in range(1, 7):
        grid, watch = scene(seed)
        fill(grid, seed)
        grid.run()
        for group, at_ms, said in watch.taken:
            real_ms = next(t for t in watch.started[group] if t > at_ms)
            total += 1
            bounded += said.latest_start_ms is not None
            within += said.latest_start_ms is None or real_ms <= said.latest_start_ms
            early += real_ms <= said.expected_start_ms
    assert total >= 30
    assert bounded == total
    assert 100 * within / total >= CONFIDENCE_PERCENT - 12
    assert 35 <= 100 * early / total <= 70
