"""One round: whose turn, where, with what score, and what is said to those who wait."""

from __future__ import annotations

from dataclasses import replace

import pytest

from suanwang.engines.scheduling.model import (
    DemandClass,
    Funds,
    Input,
    Link,
    Policy,
    Pool,
    Quota,
    RefusalReason,
    Request,
    Share,
    Snapshot,
    Weights,
)
from suanwang.engines.scheduling.plan import plan
from suanwang.kernel.errors import InvariantViolated
from suanwang.kernel.resources import ZERO, Resources
from unit.scheduling.world import (
    NOW_MS,
    YUAN,
    cards,
    demand,
    group,
    lease,
    node,
    pool,
    started,
    world,
)

R = RefusalReason


def test_the_cheapest_pool_wins_and_the_dearer_one_takes_the_overflow() -> None:
    snapshot = world(
        [pool("dear", [node("n")], yuan=9), pool("cheap", [node("n")], yuan=2)],
        [demand("c", 4)],
        [group("c", 3)],
    )
    assert started(plan(snapshot, NOW_MS)) == [("c", "cheap"), ("c", "cheap"), ("c", "dear")]


def test_the_score_is_money_plus_waiting_plus_transfer() -> None:
    there = Input(10 * 1_024, at_sites=("far",))
    near = replace(pool("p", [node("n")], yuan=3), backlog_s=1_800)
    snapshot = replace(
        world([near], [replace(demand("c", 2), inputs=(there,))], [group("c")]),
        links=(Link("far", near.site_id, 20_000, 60_000),),
        weights=(("org", Weights(100, 2 * YUAN, 50)),),
    )
    score = plan(snapshot, NOW_MS).placements[0].score
    assert score.rate_micro_yuan_per_hour == score.money == 6 * YUAN
    assert score.expected_wait_s == 1_800 + 600
    assert score.wait == 1_333_333
    assert score.transfer == 100_000
    assert score.total == score.money + score.wait + score.transfer


def test_data_nearby_can_outweigh_a_lower_price() -> None:
    big = Input(2_000 * 1_024, at_sites=("site-dear",))
    snapshot = world(
        [pool("dear", [node("n")], yuan=9), pool("cheap", [node("n")], yuan=2)],
        [replace(demand("c", 1), inputs=(big,))],
        [group("c")],
    )
    assert started(plan(snapshot, NOW_MS)) == [("c", "dear")]


def test_the_cheapest_source_of_the_data_is_used() -> None:
    item = Input(1_024, at_sites=("a", "b"))
    target = pool("p", [node("n")])
    snapshot = replace(
        world([target], [replace(demand("c", 1), inputs=(item,))], [group("c")]),
        links=(Link("a", target.site_id, 900, 1_000), Link("b", target.site_id, 700, 5_000)),
    )
    score = plan(snapshot, NOW_MS).placements[0].score
    assert (score.transfer, score.expected_wait_s) == (700, 5)


def test_a_gang_starts_whole_over_few_nodes_or_not_at_all() -> None:
    nodes = [node("n1", free=3), node("n2", free=6), node("n3", free=4)]
    snapshot = world([pool("p", nodes)], [demand("g", 2, members=4)], [group("g", 2)])
    made = plan(snapshot, NOW_MS)
    assert [p.node_members for p in made.placements] == [(("n1", 1), ("n2", 3))]
    assert [(r.count, r.reason) for r in made.refusals] == [(1, R.NO_FREE_CAPACITY)]


def test_a_gang_does_not_straddle_pools() -> None:
    snapshot = world(
        [pool("p", [node("n")]), pool("q", [node("n")])],
        [demand("g", 8, members=2)],
        [group("g")],
    )
    refusal = plan(snapshot, NOW_MS).refusals[0]
    assert refusal.reason is R.TOO_BIG_FOR_POOL
    assert "at most 1 members" in refusal.detail


def test_the_tightest_node_is_filled_first() -> None:
    nodes = [node("n1"), node("n2", free=2), node("n3", free=5)]
    snapshot = world([pool("p", nodes)], [demand("c", 1)], [group("c", 4)])
    taken = [p.node_members[0][0] for p in plan(snapshot, NOW_MS).placements]
    assert taken == ["n2", "n2", "n3", "n3"]


def test_organisations_take_turns_by_usage_per_weight() -> None:
    snapshot = replace(
        world(
            [pool("p", [node("n")])],
            [demand("c", 1)],
            [group("c", 9, organisation="a"), group("c", 9, organisation="b")],
        ),
        shares=(Share("a", None, 3), Share("b", None, 1)),
    )
    owners = [p.group[0] for p in plan(snapshot, NOW_MS).placements]
    assert sorted(owners) == ["a"] * 6 + ["b"] * 2


def test_past_usage_counts_against_a_share() -> None:
    snapshot = replace(
        world(
            [pool("p", [node("n")])],
            [demand("c", 8)],
            [group("c", organisation="a"), group("c", organisation="b")],
        ),
        shares=(Share("a", None, 1, usage=10), Share("b", None, 1)),
    )
    made = plan(snapshot, NOW_MS)
    assert made.placements[0].group[0] == "b"
    assert made.refusals[0].reason is R.BEHIND_IN_FAIR_SHARE


def test_the_dominant_resource_decides_not_the_sum() -> None:
    shares = (
        Share("a", None, 1, usage_by_kind=(60, 0, 0, 60)),
        Share("b", None, 1, usage_by_kind=(0, 0, 0, 70)),
    )
    snapshot = replace(
        world(
            [pool("p", [node("n")])],
            [demand("c", 8)],
            [group("c", organisation="a"), group("c", organisation="b")],
        ),
        shares=shares,
    )
    assert plan(snapshot, NOW_MS).placements[0].group[0] == "a"


def test_priority_counts_inside_a_project_before_the_users_shares() -> None:
    queue = [
        group("c", user="heavy", priority=9),
        group("c", user="light"),
        group("c", organisation="other", project="else"),
    ]
    snapshot = replace(
        world([pool("p", [node("n", free=2)])], [demand("c", 1)], queue),
        shares=(Share("heavy", "project", 1, usage=99), Share("other", None, 1, usage=10**9)),
    )
    assert [p.group[2] for p in plan(snapshot, NOW_MS).placements] == ["heavy", "light"]


def test_within_a_user_the_older_group_goes_first() -> None:
    snapshot = world(
        [pool("p", [node("n", free=1)])],
        [demand("a", 1), demand("b", 1)],
        [group("a", age_s=10), group("b", age_s=20)],
    )
    assert started(plan(snapshot, NOW_MS)) == [("b", "p")]


@pytest.mark.parametrize(("share", "expected"), [("org", 2), ("project", 2), ("user", 2)])
def test_a_quota_at_any_level_stops_further_starts(share: str, expected: int) -> None:
    snapshot = replace(
        world([pool("p", [node("n")])], [demand("c", 1)], [group("c", 5)]),
        quotas=(Quota(share, cards(3), cards(1)),),
    )
    made = plan(snapshot, NOW_MS)
    assert len(made.placements) == expected
    assert made.refusals[0].reason is R.QUOTA_EXCEEDED
    assert made.refusals[0].detail == (
        f"quota of {share} has nothing left, you asked 1 cards, 8 cores, 64 GiB memory"
    )


def test_funds_shrink_as_the_round_starts_things() -> None:
    snapshot = replace(
        world([pool("p", [node("n")], yuan=10)], [demand("c", 1, hours=2)], [group("c", 5)]),
        funds=(Funds("project", 45 * YUAN),),
    )
    made = plan(snapshot, NOW_MS)
    assert len(made.placements) == 2
    assert made.refusals[0].reason is R.INSUFFICIENT_FUNDS
    assert "needs 20.00 yuan free, project project has 5.00" in made.refusals[0].detail


def test_only_part_of_the_declared_time_may_have_to_be_funded() -> None:
    snapshot = replace(
        world([pool("p", [node("n")], yuan=10)], [demand("c", 1, hours=2)], [group("c", 5)]),
        funds=(Funds("project", 20 * YUAN),),
        policy=Policy(runtime_hold_percent=25),
    )
    assert len(plan(snapshot, NOW_MS).placements) == 4


def test_arrears_stop_even_what_costs_nothing() -> None:
    snapshot = replace(
        world([pool("p", [node("n")], yuan=0)], [demand("c", 1)], [group("c")]),
        funds=(Funds("project", -1),),
    )
    assert plan(snapshot, NOW_MS).refusals[0].reason is R.INSUFFICIENT_FUNDS


def base(**changes: object) -> Pool:
    return replace(pool("p", [node("n")], yuan=20), **changes)


@pytest.mark.parametrize(
    ("asked", "where", "reason", "words"),
    [
        ({"sites": ("x",)}, {}, R.SITE_NOT_ALLOWED, "not among those you allow: x"),
        ({"excluded_sites": ("site-p",)}, {}, R.SITE_NOT_ALLOWED, "you excluded site site-p"),
        ({"pools": ("x",)}, {}, R.SITE_NOT_ALLOWED, "pool p is not among those you allow: x"),
        ({"regions": ("gansu",)}, {}, R.REGION_NOT_ALLOWED, "is in henan, you allow gansu"),
        ({"site_kinds": ("super",)}, {}, R.SITE_KIND_NOT_ALLOWED, "of kind ai"),
        ({"architectures": ("aarch64",)}, {}, R.ARCHITECTURE, "is x86_64, you allow aarch64"),
        (
            {"inputs": (Input(1, residency_regions=("gansu",)),)},
            {},
            R.DATA_RESIDENCY,
            "may not leave gansu",
        ),
        (
            {"alternatives": (Request(cards(1), accelerator_models=("910B",)),)},
            {},
            R.ACCELERATOR_MODEL,
            "has H100, you asked for 910B",
        ),
        ({}, {"accelerator": None}, R.ACCELERATOR_MODEL, "has no accelerators"),
        (
            {"alternatives": (Request(cards(1), min_accelerator_memory_mib=100 * 1_024),)},
            {},
            R.ACCELERATOR_TOO_SMALL,
            "cards have 80 GiB, you asked 100 GiB",
        ),
        (
            {"alternatives": (Request(Resources(accelerator_milli=16_000)),)},
            {},
            R.TOO_BIG_FOR_NODE,
            "largest node has 8 cards, you asked 16",
        ),
        ({"members": 9}, {}, R.TOO_BIG_FOR_POOL, "holds at most 8 members"),
        ({}, {"max_runtime_s": 60}, R.RUNTIME_OVER_LIMIT, "at most 60 s, you declared 60 min"),
        (
            {"max_rate_micro_yuan_per_hour": 15 * YUAN},
            {},
            R.OVER_PRICE_CAP,
            "cheapest match costs 20.00 yuan/h, your cap is 15.00 yuan/h",
        ),
        ({}, {"reachable": False}, R.SITE_UNREACHABLE, "site site-p does not answer"),
        ({}, {"draining": True}, R.SITE_DRAINING, "site site-p is being drained"),
        ({"deadline_ms": NOW_MS + 3_000_000}, {}, R.PAST_DEADLINE, "10 min after your deadline"),
    ],
)
def test_each_hard_filter_names_its_reason_with_a_figure(
    asked: dict[str, object], where: dict[str, object], reason: RefusalReason, words: str
) -> None:
    wanted: DemandClass = replace(demand("c", 1), **asked)
    refusal = plan(world([base(**where)], [wanted], [group("c")]), NOW_MS).refusals[0]
    assert refusal.reason is reason
    assert words in refusal.detail


def test_without_any_pool_it_says_so() -> None:
    refusal = plan(world([], [demand("c", 1)], [group("c")]), NOW_MS).refusals[0]
    assert refusal.reason is R.NO_SITES


def test_a_pool_that_is_only_busy_speaks_before_one_that_can_never() -> None:
    snapshot = world(
        [pool("busy", [node("n", free=0)]), base(region="gansu")],
        [replace(demand("c", 1), regions=("henan",))],
        [group("c")],
    )
    refusal = plan(snapshot, NOW_MS).refusals[0]
    assert refusal.reason is R.NO_FREE_CAPACITY
    assert [v.reason for v in refusal.verdicts] == [R.NO_FREE_CAPACITY, R.REGION_NOT_ALLOWED]


def test_short_work_fills_the_hole_before_a_reserved_start_and_long_work_does_not() -> None:
    snapshot = world(
        [pool("p", [node("n", free=4)])],
        [demand("big", 8, hours=9), demand("short", 4, hours=1), demand("long", 4, hours=3)],
        [group("big", age_s=99), group("short", age_s=1), group("long", age_s=50)],
        [lease("r", "p", "n", 4, ends_in_s=2 * 3_600)],
    )
    made = plan(snapshot, NOW_MS)
    assert started(made) == [("short", "p")]
    assert [(r.group[3], r.start_at_ms) for r in made.reservations] == [
        ("big", NOW_MS + 2 * 3_600_000)
    ]
    assert [r.reason for r in made.refusals] == [R.NO_FREE_CAPACITY, R.BEHIND_IN_FAIR_SHARE]
    alone = plan(replace(snapshot, queue=snapshot.queue[::2]), NOW_MS)
    assert alone.placements == ()
    assert alone.refusals[1].reason is R.RESERVED_FOR_EARLIER
    assert "kept for an earlier demand" in alone.refusals[1].detail


def test_long_work_may_use_what_the_reserved_gang_leaves() -> None:
    snapshot = world(
        [pool("p", [node("n1", free=4), node("n2", free=3)])],
        [demand("big", 8, hours=9), demand("long", 3, hours=30)],
        [group("big", age_s=99), group("long", 2)],
        [
            lease("r1", "p", "n1", 4, ends_in_s=3_600),
            lease("r2", "p", "n2", 5, ends_in_s=7_200),
        ],
    )
    made = plan(snapshot, NOW_MS)
    assert [p.node_members for p in made.placements] == [(("n2", 1),)]
    assert made.refusals[1].reason is R.RESERVED_FOR_EARLIER


def test_without_backfill_nothing_overtakes_a_blocked_head() -> None:
    snapshot = replace(
        world(
            [pool("p", [node("n", free=4)])],
            [demand("big", 8), demand("small", 1)],
            [group("big", age_s=9), group("small")],
            [lease("r", "p", "n", 4)],
        ),
        policy=Policy(backfill=False),
    )
    made = plan(snapshot, NOW_MS)
    assert made.placements == ()
    assert len(made.reservations) == 1


def test_a_snapshot_that_names_a_group_twice_is_refused() -> None:
    with pytest.raises(InvariantViolated):
        plan(world([], [demand("c", 1)], [group("c"), group("c")]), NOW_MS)


def test_a_cordoned_node_takes_nothing_and_counts_as_capacity() -> None:
    closed = replace(node("n"), schedulable=False)
    snapshot = world([pool("p", [closed])], [demand("c", 1)], [group("c")])
    assert plan(snapshot, NOW_MS).refusals[0].reason is R.NO_FREE_CAPACITY


def test_the_limit_of_placements_holds() -> None:
    snapshot = replace(
        world([pool("p", [node("n")])], [demand("c", 1)], [group("c", 5)]),
        policy=Policy(max_placements=3),
    )
    made = plan(snapshot, NOW_MS)
    assert len(made.placements) == 3
    assert [(r.count, r.reason) for r in made.refusals] == [(2, R.BEHIND_IN_FAIR_SHARE)]


def test_the_seed_rotates_ties_between_shares() -> None:
    names = [f"org-{i}" for i in range(9)]
    snapshot: Snapshot = world(
        [pool("p", [node("n", free=1)])],
        [demand("c", 1)],
        [group("c", organisation=o) for o in names],
    )
    winners = {plan(snapshot, NOW_MS, seed).placements[0].group[0] for seed in range(12)}
    assert plan(snapshot, NOW_MS, 0).placements[0].group[0] == "org-0"
    assert len(winners) > 3


def test_an_empty_quota_refuses() -> None:
    snapshot = replace(
        world([pool("p", [node("n")])], [demand("c", 1)], [group("c")]),
        quotas=(Quota("org", ZERO, ZERO),),
    )
    assert plan(snapshot, NOW_MS).refusals[0].reason is R.QUOTA_EXCEEDED
