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
    Running,
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


@st.composite
def splintered_grids(draw: st.DrawFn) -> Snapshot:
    """Many pools whose free cards and free cores lie on different nodes, and classes of few sizes:
    what one class found full must hold for the others, and a pool that looks roomy may be full."""
    free = st.sampled_from(
        (
            Resources(8_000, 16_384, 4_096, 0),
            Resources(500, 16_384, 4_096, 4_000),
            Resources(2_000, 1_024, 4_096, 2_000),
            Resources(1_000, 4_096, 4_096, 1_000),
        )
    )
    pools = []
    leases = []
    for i in range(draw(st.integers(9, 14))):
        nodes = tuple(
            Node(f"n{k}", CAPACITY, draw(free), draw(st.sampled_from((True, True, True, False))))
            for k in range(draw(st.integers(1, 3)))
        )
        prices = Prices(accelerator_hour=draw(st.sampled_from((1_000, 2_000))))
        name = f"p{i:02d}"
        pools.append(Pool(name, f"s{i:02d}", "r", "ai", "x86_64", nodes, prices, H100))
        rest = CAPACITY - nodes[0].free
        ends_ms = NOW_MS + draw(st.sampled_from((500_000, 5_000_000)))
        owner = ("z", "z", "z", "gone", name)
        leases.append(
            Running(
                name, *owner, 0, False, (("n0", 1),), rest, NOW_MS - 1, ends_ms, ends_ms, NOW_MS
            )
        )
    sizes = (Resources(2_000, 0, 0, 1_000), Resources(1_000, 2_048, 0, 2_000))
    classes = tuple(
        DemandClass(
            f"c{i}",
            (Request(draw(st.sampled_from(sizes))),),
            draw(st.sampled_from((1, 1, 2))),
            max_runtime_s=draw(st.sampled_from((600, 3_600))),
            expected_runtime_s=600,
        )
        for i in range(5)
    )
    queue = tuple(
        QueueGroup(f"o{i % 2}", f"o{i % 2}p", "u", c.class_id, 0, draw(st.integers(1, 6)), i)
        for i, c in enumerate(classes)
    )
    policy = Policy(
        reservations_per_pool=draw(st.sampled_from((0, 1, 2))),
        turn_share_ppm=draw(st.sampled_from((1_000, 100_000))),
        fragmentation_aware=False,
    )
    return Snapshot(tuple(pools), classes, queue, tuple(leases), policy=policy)


@settings(max_examples=80, deadline=None)
@given(splintered_grids())
def test_same_plan_where_pools_only_look_roomy(snapshot: Snapshot) -> None:
    made = plan(snapshot, NOW_MS)
    assert comparable(made) == reference_plan(snapshot, NOW_MS)
    # nobody asks for a part of a card, so looking at fragments changes nothing
    aware = replace(snapshot, policy=replace(snapshot.policy, fragmentation_aware=True))
    assert plan(aware, NOW_MS) == made
