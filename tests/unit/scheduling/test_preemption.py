"""Who may be stopped for whom, and as little as possible."""

from __future__ import annotations

from dataclasses import replace

from suanwang.engines.scheduling.model import Funds, Promise, Running, Share, Snapshot
from suanwang.engines.scheduling.plan import plan
from unit.scheduling.world import NOW_MS, cards, demand, group, lease, node, pool, world


def stopped(snapshot: Snapshot) -> list[str]:
    return [p.lease_id for p in plan(snapshot, NOW_MS).preemptions]


def one_full_node(leases: tuple[Running, ...], *, priority: int = 5) -> Snapshot:
    used = sum(r.member_resources.accelerator_milli // 1_000 for r in leases)
    return world(
        [pool("p", [node("n", free=8 - used)])],
        [demand("big", 4)],
        [group("big", priority=priority)],
        leases,
    )


def spot(lease_id: str, count: int = 4, *, ran_s: int = 600, priority: int = 0) -> Running:
    return lease(lease_id, "p", "n", count, ran_s=ran_s, priority=priority, preemptible=True)


def test_higher_priority_stops_the_lease_with_the_least_lost_work() -> None:
    assert stopped(one_full_node((spot("old", ran_s=900), spot("young", ran_s=30)))) == ["young"]


def test_equal_priority_within_a_project_stops_nothing() -> None:
    assert stopped(one_full_node((spot("a"), spot("b")), priority=0)) == []


def test_protected_work_is_not_stopped() -> None:
    safe = replace(spot("a", 8), protected_until_ms=NOW_MS + 1)
    assert stopped(one_full_node((safe,))) == []


def test_work_that_is_not_preemptible_is_not_stopped() -> None:
    assert stopped(one_full_node((lease("a", "p", "n", 8),))) == []


def test_preemptible_demand_stops_nothing() -> None:
    snapshot = one_full_node((spot("a"), spot("b")))
    meek = replace(snapshot.classes[0], preemptible=True)
    assert stopped(replace(snapshot, classes=(meek,))) == []


def test_nobody_is_stopped_twice_over_while_a_lease_is_on_its_way_out() -> None:
    leaving = replace(spot("leaving"), stopping=True)
    assert stopped(one_full_node((leaving, spot("b")))) == []


def test_a_needless_victim_is_let_go_again() -> None:
    # the greedy order takes the two small ones first, then needs the big one, which is enough
    small = (spot("s1", 1, ran_s=10), spot("s2", 3, ran_s=20), spot("big", 4, ran_s=900))
    assert stopped(one_full_node(small)) == ["s1", "s2"]
    fixed = (lease("fixed", "p", "n", 3), spot("s", 1, ran_s=10), spot("big", 4, ran_s=900))
    assert stopped(one_full_node(fixed)) == ["big"]


def test_a_gang_is_made_way_for_on_several_nodes() -> None:
    snapshot = world(
        [pool("p", [node("n1", free=0), node("n2", free=0)])],
        [demand("gang", 8, members=2)],
        [group("gang", priority=1)],
        [
            lease("a", "p", "n1", 8, preemptible=True),
            lease("b", "p", "n2", 4, preemptible=True),
            lease("c", "p", "n2", 4, preemptible=True),
        ],
    )
    assert sorted(stopped(snapshot)) == ["a", "b", "c"]


def test_the_pool_with_the_least_lost_work_is_taken() -> None:
    snapshot = world(
        [pool("p", [node("n", free=0)], yuan=1), pool("q", [node("n", free=0)], yuan=9)],
        [demand("big", 8)],
        [group("big", priority=1)],
        [
            lease("long", "p", "n", 8, ran_s=9_000, preemptible=True),
            lease("short", "q", "n", 8, ran_s=60, preemptible=True),
        ],
    )
    assert stopped(snapshot) == ["short"]


def fair(own_usage: int, their_usage: int) -> Snapshot:
    snapshot = world(
        [pool("p", [node("n", free=0)])],
        [demand("big", 8)],
        [group("big", organisation="poor", project="poor-project")],
        [lease("rich-1", "p", "n", 8, organisation="rich", project="r", preemptible=True)],
    )
    shares = (Share("poor", None, 1, own_usage), Share("rich", None, 1, their_usage))
    return replace(snapshot, shares=shares)


def test_a_share_owed_its_part_stops_the_work_of_one_far_above_it() -> None:
    # the task weighs 3,600 share-seconds, so does the lease: 3.6 million milli-share-seconds
    assert stopped(fair(0, 7_400_000)) == ["rich-1"]


def test_shares_that_would_only_swap_places_stop_nothing() -> None:
    assert stopped(fair(0, 3_600_000)) == []


def test_what_was_preempted_for_a_group_goes_to_it_first() -> None:
    snapshot = world(
        [pool("p", [node("n")])],
        [demand("big", 8)],
        [group("big", organisation="a"), group("big", organisation="z", priority=5)],
    )
    assert plan(snapshot, NOW_MS).placements[0].group[0] == "a"
    promised = replace(snapshot, promises=(Promise(snapshot.queue[1].key, "p"),))
    assert plan(promised, NOW_MS).placements[0].group[0] == "z"


def test_no_preemption_for_demand_that_could_not_pay() -> None:
    snapshot = replace(one_full_node((spot("a"), spot("b"))), funds=(Funds("project", 5),))
    assert stopped(snapshot) == []


def test_a_zero_card_reservation_does_not_hide_victims() -> None:
    snapshot = one_full_node((spot("a"), spot("b")))
    assert snapshot.pools[0].nodes[0].free == cards(0)
    assert len(plan(snapshot, NOW_MS).reservations) == 1
    assert len(stopped(snapshot)) == 1
