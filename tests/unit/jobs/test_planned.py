"""Who may be answered from which plan, and that one explanation serves everybody."""

from __future__ import annotations

from suanwang.engines.scheduling.plan import plan
from suanwang.grid.jobs.planned import PLANNED_KEPT_MS, ROUND_KEPT_MS, Planned
from suanwang.grid.jobs.snapshot import Gathered
from unit.scheduling.world import NOW_MS, demand, group, lease, node, pool, world

SNAPSHOT = world(
    [pool("p", [node("n", free=1)])],
    [demand("big", 8), demand("small", 1)],
    [group("big"), group("small")],
    [lease("r", "p", "n", 7)],
)
BIG, SMALL = (g.key for g in sorted(SNAPSHOT.queue, key=lambda g: g.class_id))
STRANGER = ("o", "p", "u", "c", 0)


def planned(*, applied: bool) -> Planned:
    return Planned(Gathered(SNAPSHOT), plan(SNAPSHOT, NOW_MS), NOW_MS, applied)


def test_a_round_is_asked_of_those_it_refused_and_not_of_those_it_placed() -> None:
    made = planned(applied=True)
    placed = {p.group for p in made.plan.placements}
    assert placed == {SMALL}
    assert made.knows(BIG, NOW_MS + ROUND_KEPT_MS)
    assert not made.knows(BIG, NOW_MS + ROUND_KEPT_MS + 1)
    assert not made.knows(SMALL, NOW_MS)
    assert made.knows(None, NOW_MS)


def test_a_plan_that_nobody_applied_is_asked_of_all_who_wait_but_for_less_time() -> None:
    made = planned(applied=False)
    assert made.knows(SMALL, NOW_MS + PLANNED_KEPT_MS)
    assert not made.knows(SMALL, NOW_MS + PLANNED_KEPT_MS + 1)
    assert not made.knows(STRANGER, NOW_MS)


def test_an_explanation_is_worked_out_once() -> None:
    made = planned(applied=True)
    said = made.explanation(BIG)
    assert said is not None
    assert said.estimate is not None
    assert made.explanation(BIG) is said
    assert made.explanation(STRANGER) is None
