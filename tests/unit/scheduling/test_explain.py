"""Why it waits, until when, and what would help; every remedy is one that works."""

from __future__ import annotations

from dataclasses import replace

import pytest

from suanwang.engines.scheduling.forecast import Explanation, explain
from suanwang.engines.scheduling.forecast_pace import runtime_s
from suanwang.engines.scheduling.model import (
    AcceleratorSpec,
    Funds,
    RefusalReason,
    Request,
    Snapshot,
)
from suanwang.engines.scheduling.plan import plan
from suanwang.kernel.errors import NotFound
from unit.scheduling.world import NOW_MS, YUAN, cards, demand, group, lease, node, pool, world


def explained(snapshot: Snapshot, at: int = 0) -> Explanation:
    return explain(snapshot, plan(snapshot, NOW_MS), snapshot.queue[at].key, NOW_MS)


def remedies(snapshot: Snapshot) -> dict[str, str]:
    return {r.kind: r.sentence for r in explained(snapshot).remedies}


def works(snapshot: Snapshot, explanation: Explanation) -> None:
    """Each remedy, put into the snapshot, starts the task at the time it says (now)."""
    for remedy in explanation.remedies:
        if remedy.start_at_ms == NOW_MS and remedy.kind != "TopUp":
            others = tuple(c for c in snapshot.classes if c.class_id != remedy.demand.class_id)
            changed = replace(snapshot, classes=(*others, remedy.demand))
            made = plan(changed, NOW_MS)
            assert any(p.group == explanation.group for p in made.placements), remedy


def test_a_running_lease_gives_an_estimate_and_a_reserved_start() -> None:
    snapshot = world(
        [pool("p", [node("n", free=0)])],
        [demand("c", 8)],
        [group("c")],
        [lease("r", "p", "n", 8, ran_s=0, ends_in_s=7_200)],
    )
    said = explained(snapshot)
    assert said.reason is RefusalReason.NO_FREE_CAPACITY
    assert said.reserved_start_ms == NOW_MS + 7_200_000
    assert said.estimate is not None
    assert said.estimate.latest_start_ms is not None
    assert NOW_MS < said.estimate.earliest_start_ms <= said.estimate.expected_start_ms
    assert said.estimate.expected_start_ms < said.estimate.latest_start_ms <= NOW_MS + 7_200_000


def test_raising_the_price_cap_helps_by_the_named_amount() -> None:
    wanted = replace(demand("c", 1), max_rate_micro_yuan_per_hour=5 * YUAN)
    snapshot = world(
        [
            pool("p", [node("n")], yuan=7),
            pool("q", [node("n")], yuan=9),
            pool("full", [node("n", free=0)], yuan=6),
        ],
        [wanted],
        [group("c")],
    )
    assert remedies(snapshot) == {"PriceCap": "raise the price cap to 7.00 yuan/h"}
    works(snapshot, explained(snapshot))


def test_another_region_helps_only_where_there_is_room() -> None:
    def there(name: str, region: str, free: int) -> object:
        return replace(pool(name, [node("n", free=free)]), region=region)

    snapshot = world(
        [there("a", "henan", 0), there("b", "gansu", 0), there("c", "xinjiang", 8)],
        [replace(demand("c", 1), regions=("henan",))],
        [group("c")],
    )
    assert remedies(snapshot) == {"Region": "allow region xinjiang"}
    works(snapshot, explained(snapshot))


def test_fewer_cards_or_members_fit_what_is_free() -> None:
    snapshot = world([pool("p", [node("n", free=3)])], [demand("c", 8)], [group("c")])
    assert remedies(snapshot) == {"Size": "ask for at most 3 cards instead of 8"}
    works(snapshot, explained(snapshot))
    gang = world([pool("p", [node("n", free=6)])], [demand("g", 2, members=4)], [group("g")])
    assert remedies(gang)["Members"] == "ask for at most 3 members instead of 4"
    works(gang, explained(gang))


def test_a_shorter_run_time_slips_in_before_a_reserved_start() -> None:
    snapshot = world(
        [pool("p", [node("n", free=4)])],
        [demand("big", 8, hours=9), demand("c", 4, hours=5)],
        [group("c"), group("big", age_s=99)],
        [lease("r", "p", "n", 4, ends_in_s=2 * 3_600)],
    )
    assert remedies(snapshot) == {"Runtime": "declare a run time of at most 2 h"}
    works(snapshot, explained(snapshot))


def test_a_top_up_names_what_is_missing() -> None:
    snapshot = replace(
        world([pool("p", [node("n")], yuan=10)], [demand("c", 1, hours=2)], [group("c")]),
        funds=(Funds("project", 5 * YUAN),),
    )
    assert remedies(snapshot)["TopUp"] == "top up project project by 15.00 yuan"


def test_demand_that_can_never_start_is_told_what_would_give_it_a_start_in_sight() -> None:
    other = AcceleratorSpec("910B", 65_536, 320_000)
    snapshot = world(
        [replace(pool("p", [node("n", free=0)]), accelerator=other)],
        [replace(demand("c", 1), alternatives=(Request(cards(1), ("H100",)),))],
        [group("c")],
        [lease("r", "p", "n", 8)],
    )
    said = explained(snapshot)
    assert said.reason is RefusalReason.ACCELERATOR_MODEL
    assert said.estimate is None
    assert [(r.sentence, r.start_at_ms) for r in said.remedies] == [
        ("accept accelerators of model 910B", NOW_MS + 3_600_000)
    ]


def test_a_later_deadline() -> None:
    wanted = replace(demand("c", 1, hours=2), deadline_ms=NOW_MS + 3_600_000)
    snapshot = world([pool("p", [node("n")])], [wanted], [group("c")])
    assert remedies(snapshot) == {"Deadline": "move the deadline back by 60 min"}
    works(snapshot, explained(snapshot))


def test_what_starts_now_has_nothing_to_explain_and_strangers_are_not_found() -> None:
    snapshot = world([pool("p", [node("n")])], [demand("c", 1)], [group("c")])
    assert explained(snapshot).reason is None
    with pytest.raises(NotFound):
        explain(snapshot, plan(snapshot, NOW_MS), ("a", "b", "c", "d", 0), NOW_MS)


def test_without_pools_the_reason_is_still_told() -> None:
    said = explained(world([], [demand("c", 1)], [group("c")]))
    assert (said.reason, said.estimate, said.verdicts) == (RefusalReason.NO_SITES, None, ())


def test_work_that_has_run_long_is_expected_to_run_on() -> None:
    assert runtime_s(1_000, 10_000, 0, 0.5) in (1_000, 1_001)
    assert runtime_s(1_000, 10_000, 3_000, 0.5) > 3_000
    assert runtime_s(1_000, 2_000, 0, 0.999) == 2_000
    assert runtime_s(1_000, 2_000, 5_000, 0.5) == 2_000
