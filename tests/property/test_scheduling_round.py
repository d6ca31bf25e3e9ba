"""What every plan must satisfy, whatever the snapshot. Checked from the snapshot and plan alone."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from contract.engine.snapshots import NOW_MS, snapshots
from contract.engine.virtual_grid import VirtualGrid, Work
from suanwang.engines.scheduling.model import (
    AcceleratorSpec,
    DemandClass,
    Node,
    Placement,
    Plan,
    Policy,
    Pool,
    Prices,
    QueueGroup,
    Request,
    Reservation,
    Running,
    Snapshot,
)
from suanwang.engines.scheduling.plan import plan
from suanwang.grid.jobs.reconciler import promises_after
from suanwang.kernel.money import scale
from suanwang.kernel.resources import ZERO, Resources

CARD = AcceleratorSpec("H100", 80_000, 900_000)


def whole(snapshot: Snapshot, placed: Placement) -> Resources:
    known = {c.class_id: c for c in snapshot.classes}[placed.group[3]]
    return known.alternatives[placed.alternative].resources * known.members


def no_card_holds_more_than_it_has(snapshot: Snapshot, made: Plan) -> None:
    parts = any(
        r.resources.accelerator_milli % 1_000 for c in snapshot.classes for r in c.alternatives
    )
    left = {(p.pool_id, n.node_id): list(n.cards) for p in snapshot.pools for n in p.nodes}
    known = {c.class_id: c for c in snapshot.classes}
    for placed in made.placements:
        request = known[placed.group[3]].alternatives[placed.alternative]
        milli = request.resources.accelerator_milli
        for i, (node_id, members) in enumerate(placed.node_members):
            cards = left[(placed.pool_id, node_id)]
            if not (cards and milli and parts):
                continue
            assert len(placed.cards[i]) == members * max(1, milli // 1_000)
            for card in placed.cards[i]:
                cards[card] -= min(milli, 1_000)
            assert min(cards) >= 0


@settings(max_examples=60, deadline=None)
@given(snapshots(plain=True), st.booleans())
def test_capacity_gangs_counts_quotas_and_funds(snapshot: Snapshot, packed: bool) -> None:
    snapshot = replace(snapshot, policy=replace(snapshot.policy, fragmentation_aware=packed))
    made = plan(snapshot, NOW_MS)
    free = {(p.pool_id, n.node_id): n.free for p in snapshot.pools for n in p.nodes}
    open_nodes = {(p.pool_id, n.node_id) for p in snapshot.pools for n in p.nodes if n.schedulable}
    known = {c.class_id: c for c in snapshot.classes}
    for placed in made.placements:
        demand = known[placed.group[3]]
        assert sum(m for _, m in placed.node_members) == demand.members
        for node_id, members in placed.node_members:
            at = (placed.pool_id, node_id)
            assert at in open_nodes
            need = demand.alternatives[placed.alternative].resources * members
            free[at] = free[at] - need
            assert free[at].is_non_negative()
    no_card_holds_more_than_it_has(snapshot, made)
    started = Counter(p.group for p in made.placements)
    refused = {r.group: r.count for r in made.refusals}
    assert len(refused) == len(made.refusals)
    for group in snapshot.queue:
        assert started[group.key] + refused.get(group.key, 0) == group.count
    for quota in snapshot.quotas:
        more = ZERO
        for placed in made.placements:
            if quota.share_id in placed.group[:3]:
                more = more + whole(snapshot, placed)
        assert more == ZERO or (quota.used + more).fits_in(quota.limit)
    for funds in snapshot.funds:
        holds = [
            scale(
                p.score.rate_micro_yuan_per_hour,
                known[p.group[3]].max_runtime_s * snapshot.policy.runtime_hold_percent,
                360_000,
            )
            for p in made.placements
            if p.group[1] == funds.project_id
        ]
        assert not holds or sum(holds) <= funds.available_micro_yuan


@settings(max_examples=50, deadline=None)
@given(snapshots(plain=True), st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_the_input_does_not_matter(
    snapshot: Snapshot, chance: random.Random, packed: bool
) -> None:
    def mixed(items: tuple[object, ...]) -> tuple[object, ...]:
        return tuple(chance.sample(items, len(items)))

    snapshot = replace(snapshot, policy=replace(snapshot.policy, fragmentation_aware=packed))
    shuffled = replace(
        snapshot,
        pools=mixed(tuple(replace(p, nodes=mixed(p.nodes)) for p in snapshot.pools)),
        **{
            name: mixed(getattr(snapshot, name))
            for name in ("classes", "queue", "running", "shares", "quotas", "funds", "links")
        },
    )
    assert plan(shuffled, NOW_MS) == plan(snapshot, NOW_MS)
    assert plan(snapshot, NOW_MS) == plan(snapshot, NOW_MS)


@settings(max_examples=60, deadline=None)
@given(snapshots(plain=True))
def test_preemption_keeps_its_rules_and_wastes_nothing(snapshot: Snapshot) -> None:
    snapshot = replace(snapshot, policy=replace(snapshot.policy, preemption=True))
    made = plan(snapshot, NOW_MS)
    leases = {r.lease_id: r for r in snapshot.running}
    known = {c.class_id: c for c in snapshot.classes}
    stopped = [p.lease_id for p in made.preemptions]
    assert len(stopped) == len(set(stopped))
    for preemption in made.preemptions:
        lease = leases[preemption.lease_id]
        assert lease.preemptible
        assert not lease.stopping
        assert lease.protected_until_ms <= NOW_MS
        assert not known[preemption.for_group[3]].preemptible
        same = preemption.for_group[:2] == (lease.organisation_id, lease.project_id)
        assert preemption.for_group[4] > lease.priority or not same


def crowd(cards: tuple[int, ...], hours: tuple[int, ...], priority: int = 0) -> Snapshot:
    """Two nodes that are full of leases ending at different times, and work for them."""
    nodes, leases = [], []
    for i in range(2):
        for k in range(2):
            leases.append(
                Running(
                    f"r{i}{k}",
                    "o",
                    "p",
                    "u",
                    "gone",
                    "pool",
                    0,
                    True,
                    ((f"n{i}", 1),),
                    Resources(accelerator_milli=3_000),
                    NOW_MS - 60_000,
                    NOW_MS + (1 + i + 2 * k) * 3_600_000,
                    NOW_MS + 60_000,
                    NOW_MS,
                )
            )
        free = Resources(8_000, 0, 0, 2_000)
        nodes.append(Node(f"n{i}", Resources(8_000, 0, 0, 8_000), free))
    classes = tuple(
        DemandClass(f"c{i}", (Request(Resources(0, 0, 0, c * 1_000)),), 1, h * 3_600, h * 3_600)
        for i, (c, h) in enumerate(zip(cards, hours, strict=True))
    )
    queue = tuple(
        QueueGroup("o", "p", "u", c.class_id, priority, 2, NOW_MS - 100 + i)
        for i, c in enumerate(classes)
    )
    where = Pool("pool", "s", "r", "ai", "x86_64", tuple(nodes), Prices(), CARD)
    return Snapshot((where,), classes, queue, tuple(leases), policy=Policy(preemption=False))


def after(snapshot: Snapshot, made: Plan, now_ms: int) -> Snapshot:
    """The world at a later instant if everything runs as long as it declared."""
    known = {c.class_id: c for c in snapshot.classes}
    live = list(snapshot.running)
    for i, placed in enumerate(made.placements):
        demand = known[placed.group[3]]
        live.append(
            Running(
                f"{len(live)}-{i}-{placed.group[3]}",
                *placed.group[:4],
                placed.pool_id,
                0,
                False,
                placed.node_members,
                demand.alternatives[0].resources,
                NOW_MS,
                NOW_MS + demand.max_runtime_s * 1_000,
                NOW_MS,
                NOW_MS,
            )
        )
    live = [r for r in live if r.ends_by_ms > now_ms]
    nodes = []
    for node in snapshot.pools[0].nodes:
        free = node.capacity
        for lease in live:
            for node_id, members in lease.node_members:
                if node_id == node.node_id:
                    free = free - lease.member_resources * members
        nodes.append(replace(node, free=free))
    return replace(
        snapshot, pools=(replace(snapshot.pools[0], nodes=tuple(nodes)),), running=tuple(live)
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 8), st.integers(1, 9)), min_size=1, max_size=5),
    st.integers(1, 3),
    st.booleans(),
)
def test_a_reserved_start_is_kept_whatever_is_backfilled(
    asked: list[tuple[int, int]], per_pool: int, packed: bool
) -> None:
    snapshot = crowd(tuple(a for a, _ in asked), tuple(b for _, b in asked))
    policy = replace(snapshot.policy, reservations_per_pool=per_pool, fragmentation_aware=packed)
    snapshot = replace(snapshot, policy=policy)
    made = plan(snapshot, NOW_MS)
    for kept in made.reservations[:1]:
        head = next(g for g in snapshot.queue if g.key == kept.group)
        then = after(snapshot, made, kept.start_at_ms)
        alone = replace(then, queue=(replace(head, count=1),))
        assert len(plan(alone, kept.start_at_ms).placements) == 1


@example(asked=[(3, 1), (4, 1), (5, 1)])
@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 8), st.integers(1, 9)), min_size=1, max_size=5))
def test_a_preemption_gives_room_and_is_never_answered_by_another(
    asked: list[tuple[int, int]],
) -> None:
    snapshot = crowd(tuple(a for a, _ in asked), tuple(b for _, b in asked), priority=5)
    snapshot = replace(snapshot, policy=Policy(preemption=True))
    made = plan(snapshot, NOW_MS)
    stopped = {p.lease_id for p in made.preemptions}
    winners = {p.for_group for p in made.preemptions}
    # the world once they have stopped; what started runs, the stopped work queues again
    live = replace(
        snapshot, running=tuple(r for r in snapshot.running if r.lease_id not in stopped)
    )
    again = after(live, made, NOW_MS)
    started = Counter(p.group for p in made.placements)
    victims = DemandClass(
        "victim", (Request(Resources(0, 0, 0, 3_000)),), 1, 9_999, 9_999, preemptible=True
    )
    requeued = QueueGroup("o", "p", "u", "victim", 0, max(1, len(stopped)), 0)
    left = tuple(replace(g, count=g.count - started[g.key]) for g in snapshot.queue)
    promises = promises_after(snapshot, made)
    again = replace(
        again, classes=(*snapshot.classes, victims), queue=(*left, requeued), promises=promises
    )
    second = plan(again, NOW_MS)
    assert winners <= {p.group for p in second.placements}
    assert all(p.for_group[3] != "victim" for p in second.preemptions)


def test_nobody_starves_while_heavier_queues_keep_coming() -> None:
    """A lone task of an organisation starts though two others always have work waiting."""
    classes = tuple(
        DemandClass(f"c{k}", (Request(Resources(0, 0, 0, k * 1_000)),), 1, 3_600, 3_600)
        for k in (1, 2, 8)
    )
    nodes = tuple(
        Node(f"n{i}", Resources(8_000, 0, 0, 8_000), Resources(8_000, 0, 0, 8_000))
        for i in range(2)
    )
    grid = VirtualGrid((Pool("p", "s", "r", "ai", "x86_64", nodes, Prices(), CARD),), classes)
    chance = random.Random(5)
    for i in range(300):
        owner = chance.choice(("a", "b"))
        kind = chance.choice(("c1", "c2"))
        length_ms = chance.randrange(600_000, 3_600_000)
        key = (owner, f"{owner}p", f"{owner}u", kind, 9)
        grid.submit([Work(f"w{i:03d}", key, i * 60_000, length_ms)])
    big = ("z", "zp", "zu", "c8", 0)
    grid.submit([Work("big", big, 3_600_000, 3_600_000)])
    grid.run()
    waited_ms = next(r.started_ms - 3_600_000 for r in grid.done if r.work.work_id == "big")
    assert waited_ms <= 3_600_000
    assert len(grid.done) == 301


def test_the_crowd_is_crowded() -> None:
    made = plan(crowd((8, 1), (2, 9)), NOW_MS)
    assert made.reservations == (
        Reservation(("o", "p", "u", "c0", 0), "pool", NOW_MS + 3 * 3_600_000),
    )
