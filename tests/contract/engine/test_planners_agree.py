"""The fast planner and the plain reference give the same plan on random small snapshots."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from contract.engine.reference_planner import reference_plan
from contract.engine.snapshots import CAPACITY, H100, NOW_MS, snapshots
from suanwang.engines.scheduling.model import (
    DemandClass,
    Node,
    Plan,
    Policy,
    Pool,
    Prices,
    QueueGroup,
    Request,
    Snapshot,
)
from suanwang.engines.scheduling.plan import plan
from suanwang.kernel.resources import Resources


def comparable(made: Plan) -> Plan:
    """Details are words, verdicts and preemptions have tests of their own."""
    refusals = tuple(replace(r, detail="", verdicts=()) for r in made.refusals)
    return replace(made, refusals=refusals, preemptions=())


@settings(max_examples=120, deadline=None)
@given(snapshots(), st.sampled_from((0, 0, 7)))
def test_same_plan(snapshot: Snapshot, seed: int) -> None:
    assert comparable(plan(snapshot, NOW_MS, seed)) == reference_plan(snapshot, NOW_MS, seed)


@settings(max_examples=100, deadline=None)
@given(snapshots(plain=True))
def test_same_plan_where_most_demands_could_run(snapshot: Snapshot) -> None:
    assert comparable(plan(snapshot, NOW_MS)) == reference_plan(snapshot, NOW_MS)


@st.composite
def gang_worlds(draw: st.DrawFn) -> Snapshot:
    """Gangs over many unlike nodes of one pool, several gangs in a turn."""
    nodes = []
    for i in range(draw(st.integers(3, 9))):
        cores, cards = draw(st.sampled_from((4, 6, 8))), draw(st.sampled_from((2, 4, 4, 4)))
        free = Resources(cores * 1_000, 16_384, 4_096, cards * 1_000)
        nodes.append(Node(f"n{i}", CAPACITY, free))
    asked = draw(st.lists(st.tuples(st.sampled_from((1, 2, 4)), st.integers(2, 6)), max_size=3))
    classes = tuple(
        DemandClass(f"c{i}", (Request(Resources(500, 0, 0, cards * 1_000)),), members)
        for i, (cards, members) in enumerate(asked)
    )
    queue = tuple(QueueGroup("o", "p", f"u{i}", c.class_id, 0, 4, 0) for i, c in enumerate(classes))
    pool = Pool("p", "s", "r", "ai", "x86_64", tuple(nodes), Prices(), H100)
    policy = Policy(fragmentation_aware=False, turn_share_ppm=draw(st.sampled_from((1, 900_000))))
    return Snapshot((pool,), classes, queue, policy=policy)


@settings(max_examples=150, deadline=None)
@given(gang_worlds())
def test_same_plan_for_gangs_over_several_nodes(snapshot: Snapshot) -> None:
    assert comparable(plan(snapshot, NOW_MS)) == reference_plan(snapshot, NOW_MS)
