"""Shared cards: parts of a card are gathered so that whole cards stay whole."""

from __future__ import annotations

from dataclasses import replace

from suanwang.engines.scheduling.model import Node, Policy, Request, Snapshot
from suanwang.engines.scheduling.plan import plan
from suanwang.kernel.resources import Resources
from unit.scheduling.world import NOW_MS, cards, demand, group, lease, pool, world

HALF = Request(Resources(1_000, 1_024, 0, 500))


def mixed(aware: bool) -> Snapshot:
    """n1 is the tighter node and has whole cards only; n2 has a half card left."""
    fitting = Node("n2", cards(8), Resources(40_000, 200_000, 0, 3_500))
    whole = Node("n1", cards(8), Resources(40_000, 200_000, 0, 3_000))
    return replace(
        world(
            [pool("p", [whole, fitting])],
            [replace(demand("half"), alternatives=(HALF,)), demand("whole", 1)],
            [group("half", age_s=9), group("whole", 20)],
            [lease("r", "p", "n2", 4)],
        ),
        policy=Policy(fragmentation_aware=aware),
    )


def test_a_part_goes_where_a_part_is_left() -> None:
    plain = plan(mixed(False), NOW_MS).placements
    aware = plan(mixed(True), NOW_MS).placements
    assert plain[0].node_members == (("n1", 1),)
    assert aware[0].node_members == (("n2", 1),)
    assert len(plain) == 6
    assert len(aware) == 7
