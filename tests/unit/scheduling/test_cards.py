"""A share of a card goes where one card has that much, whole cards where they are wholly free."""

from __future__ import annotations

from dataclasses import replace

import pytest

from suanwang.engines.scheduling.candidates import candidates
from suanwang.engines.scheduling.forecast import explain
from suanwang.engines.scheduling.model import (
    DemandClass,
    Node,
    Placement,
    Policy,
    RefusalReason,
    Request,
    Running,
    Snapshot,
)
from suanwang.engines.scheduling.plan import plan
from suanwang.kernel.resources import Resources
from unit.scheduling.world import NOW_MS, cards, group, lease, pool, world


def share(milli: int) -> Resources:
    return Resources(100, 64, 0, milli)


def asks(class_id: str, milli: int, members: int = 1) -> DemandClass:
    return DemandClass(class_id, (Request(share(milli)),), members)


def node(name: str, *free: int) -> Node:
    size = cards(len(free))
    left = replace(size, accelerator_milli=sum(free))
    return Node(name, size, left, cards=free)


def holds(lease_id: str, name: str, milli: int, card: int, *, ends_in_s: int = 600) -> Running:
    return replace(
        lease(lease_id, "p", name, 0, ends_in_s=ends_in_s),
        member_resources=share(milli),
        cards=((card,),),
    )


def made(snapshot: Snapshot, *, aware: bool) -> tuple[Placement, ...]:
    policy = replace(snapshot.policy, fragmentation_aware=aware)
    return plan(replace(snapshot, policy=policy), NOW_MS).placements


@pytest.mark.parametrize("aware", [False, True])
def test_halves_of_two_cards_are_not_one_share(aware: bool) -> None:
    halves = world([pool("p", [node("n", 500, 500)])], [asks("c", 600)], [group("c")])
    assert made(halves, aware=aware) == ()
    one = world([pool("p", [node("n", 400, 600)])], [asks("c", 600)], [group("c")])
    assert [p.cards for p in made(one, aware=aware)] == [((1,),)]


@pytest.mark.parametrize("aware", [False, True])
def test_whole_cards_need_wholly_free_ones(aware: bool) -> None:
    queue = [group("c", 3)]
    split = world([pool("p", [node("n", 1_000, 500, 500)])], [asks("c", 1_000)], queue)
    assert [p.cards for p in made(split, aware=aware)] == [((0,),)]


def test_a_share_goes_to_the_card_that_is_fullest() -> None:
    there = world([pool("p", [node("n", 1_000, 300, 500)])], [asks("c", 300)], [group("c", 2)])
    assert [p.cards for p in made(there, aware=False)] == [((1,),), ((2,),)]


def test_a_gang_of_shares_counts_what_each_card_holds() -> None:
    full = world([pool("p", [node("n", 1_000, 1_000)])], [asks("c", 600, 2)], [group("c")])
    assert [p.cards for p in made(full, aware=False)] == [((0, 1),)]
    never = world([pool("p", [node("n", 1_000, 1_000)])], [asks("c", 600, 3)], [group("c")])
    assert plan(never, NOW_MS).refusals[0].reason is RefusalReason.TOO_BIG_FOR_POOL


def test_who_waits_is_told_that_the_shares_are_split() -> None:
    halves = world([pool("p", [node("n", 500, 500)])], [asks("c", 600)], [group("c")])
    refusal = plan(halves, NOW_MS).refusals[0]
    assert refusal.reason is RefusalReason.FREE_SHARES_SPLIT
    assert refusal.detail == (
        "p has 0.6 cards, 0.1 cores, 0.062 GiB memory free in all, but split over several cards"
    )


def test_room_is_awaited_on_one_card() -> None:
    """The first lease that ends leaves its card too full for the share; the second does not."""
    there = world(
        [pool("p", [node("n", 400, 500)])],
        [asks("c", 600)],
        [group("c")],
        [
            holds("early", "n", 100, 0, ends_in_s=60),
            holds("late", "n", 500, 1, ends_in_s=900),
            holds("rest", "n", 500, 0, ends_in_s=9_000),
        ],
    )
    now = plan(there, NOW_MS)
    assert [r.start_at_ms for r in now.reservations] == [NOW_MS + 900_000]
    told = explain(there, now, group("c").key, NOW_MS)
    assert told.reason is RefusalReason.FREE_SHARES_SPLIT
    assert told.estimate is not None
    assert told.estimate.earliest_start_ms > NOW_MS + 60_000
    (verdict,) = candidates(there, asks("c", 600), "org", NOW_MS)
    assert verdict.reason is RefusalReason.NO_FREE_CAPACITY


def test_what_stops_for_a_share_is_what_frees_one_card() -> None:
    low = {"preemptible": True, "protected_until_ms": NOW_MS - 1}
    there = world(
        [pool("p", [node("n", 500, 300)])],
        [asks("c", 900)],
        [group("c", priority=5)],
        [
            replace(holds("a", "n", 300, 0), **low),
            replace(holds("b", "n", 700, 1), **low),
            replace(holds("c", "n", 200, 0), **low),
        ],
    )
    stopped = plan(there, NOW_MS).preemptions
    assert {p.lease_id for p in stopped} in ({"a", "c"}, {"b"})


def test_a_node_that_tells_its_total_only_is_planned_by_it() -> None:
    total = Node("n", cards(2), share(1_000) + Resources(900, 900))
    there = world([pool("p", [total])], [asks("c", 500)], [group("c", 2)])
    assert [p.cards for p in made(there, aware=False)] == [(), ()]
    assert plan(replace(there, policy=Policy()), NOW_MS).refusals == ()
