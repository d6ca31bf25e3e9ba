"""Small random snapshots for hypothesis: crowded, with every feature switched on now and then."""

from __future__ import annotations

from hypothesis import strategies as st

from suanwang.engines.scheduling.model import (
    AcceleratorSpec,
    DemandClass,
    Funds,
    Input,
    Link,
    Node,
    Part,
    Policy,
    Pool,
    Prices,
    Promise,
    QueueGroup,
    Quota,
    Request,
    Running,
    Share,
    Snapshot,
    Weights,
)
from suanwang.kernel.resources import ZERO, Resources

NOW_MS = 1_767_225_600_000
SITES = ("s1", "s2", "s3")
REGIONS = ("east", "west")
ORGANISATIONS = ("o1", "o2")
PROJECTS = {"o1": ("pa", "pb"), "o2": ("pc",)}
USERS = ("u1", "u2")
CAPACITY = Resources(8_000, 16_384, 4_096, 4_000)
H100 = AcceleratorSpec("H100", 80_000, 900_000)
A100 = AcceleratorSpec("A100", 40_000, 300_000)


def quantities(cards: int = 4) -> st.SearchStrategy[Resources]:
    return st.builds(
        Resources,
        cpu_milli=st.sampled_from((500, 1_000, 2_000, 4_000)),
        memory_mib=st.sampled_from((0, 1_024, 4_096)),
        disk_mib=st.sampled_from((0, 0, 1_024)),
        accelerator_milli=st.sampled_from((0, 300, 500, 600, 1_000, 2_000, cards * 1_000)),
    )


def requests() -> st.SearchStrategy[Request]:
    return st.builds(
        Request,
        resources=quantities(5),
        accelerator_models=st.sampled_from(((), (), ("H100",), ("A100", "H100"))),
        min_accelerator_memory_mib=st.sampled_from((0, 0, 60_000)),
    )


def inputs() -> st.SearchStrategy[Input]:
    return st.builds(
        Input,
        size_mib=st.sampled_from((1, 700, 50_000)),
        at_sites=st.sampled_from(((), ("s1",), ("s2", "s3"), ("s9",))),
        residency_regions=st.sampled_from(((), (), ("east",))),
    )


@st.composite
def classes(draw: st.DrawFn, class_id: str, *, plain: bool = False) -> DemandClass:
    declared = draw(st.sampled_from((600, 3_600, 7_200, 36_000)))
    rare = st.just(False) if plain else st.sampled_from((False, False, False, True))
    wanted = st.builds(Request, quantities()) if plain else requests()
    return DemandClass(
        class_id,
        tuple(draw(st.lists(wanted, min_size=1, max_size=2))),
        members=draw(st.sampled_from((1, 1, 1, 2, 3, 5))),
        max_runtime_s=declared,
        expected_runtime_s=draw(st.sampled_from((declared, declared // 2))),
        max_rate_micro_yuan_per_hour=2_500_000 if draw(rare) else None,
        deadline_ms=NOW_MS + 4_000_000 if draw(rare) else None,
        regions=("east",) if draw(rare) else (),
        site_kinds=("ai",) if draw(rare) else (),
        architectures=("x86_64",) if draw(rare) else (),
        sites=("s1", "s2") if draw(rare) else (),
        excluded_sites=("s2",) if draw(rare) else (),
        pools=("p0", "p1") if draw(rare) else (),
        preemptible=draw(st.booleans()),
        contract=draw(st.sampled_from(("con", "none"))) if draw(rare) else "",
        inputs=(draw(inputs()),) if draw(rare) else (),
    )


@st.composite
def pools(draw: st.DrawFn, pool_id: str, *, plain: bool = False) -> Pool:
    nodes = tuple(
        Node(f"n{i}", CAPACITY, CAPACITY, draw(st.sampled_from((True, True, True, False))))
        for i in range(draw(st.integers(1 if plain else 0, 3)))
    )
    rare = st.just(False) if plain else st.sampled_from((False, False, False, False, True))
    return Pool(
        pool_id,
        draw(st.sampled_from(SITES)),
        draw(st.sampled_from(REGIONS)),
        draw(st.sampled_from(("ai", "super"))),
        draw(st.sampled_from(("x86_64", "aarch64"))),
        nodes,
        draw(st.builds(Prices, st.just(100_000), st.just(7), st.sampled_from((0, 333, 5_000_000)))),
        H100 if plain else draw(st.sampled_from((None, H100, A100, H100))),
        reachable=not draw(rare),
        draining=draw(rare),
        max_runtime_s=7_200 if draw(rare) else None,
        backlog_s=600 if draw(rare) else 0,
        part=draw(parts()) if draw(rare) else None,
    )


def parts() -> st.SearchStrategy[Part]:
    """Of some pool that need not be there."""
    return st.builds(
        Part,
        st.just("p"),
        contract_id=st.sampled_from(("", "con")),
        project_id=st.sampled_from(("", "pa", "pc")),
        opens_at_ms=st.sampled_from((None, None, NOW_MS - 1, NOW_MS + 1)),
        closes_at_ms=st.sampled_from((None, NOW_MS + 3_600_000, NOW_MS + 7_200_000)),
    )


@st.composite
def running(draw: st.DrawFn, pools_: list[Pool]) -> tuple[list[Pool], list[Running]]:
    """Random leases, and the pools with what is left free."""
    leases: list[Running] = []
    out: list[Pool] = []
    for pool in pools_:
        nodes = []
        for node in pool.nodes:
            free, cards = node.free, [1_000] * 4 if draw(st.booleans()) else []
            for k in range(draw(st.integers(0, 2))):
                need = draw(quantities())
                if not need.fits_in(free):
                    continue
                held: tuple[tuple[int, ...], ...] = ()
                if cards and need.accelerator_milli:
                    share = min(1_000, need.accelerator_milli)
                    open_cards = [i for i, milli in enumerate(cards) if milli >= share]
                    # not where the planner would have put it: cards are as the past has left them
                    chosen = open_cards[-(need.accelerator_milli // share) :]
                    if len(chosen) * share < need.accelerator_milli:
                        continue
                    for card in chosen:
                        cards[card] -= share
                    held = (tuple(chosen),)
                free = free - need
                organisation = draw(st.sampled_from(ORGANISATIONS))
                declared = NOW_MS + draw(st.sampled_from((-5_000, 500_000, 900_000, 9_000_000)))
                leases.append(
                    Running(
                        f"{pool.pool_id}-{node.node_id}-{k}",
                        organisation,
                        draw(st.sampled_from(PROJECTS[organisation])),
                        draw(st.sampled_from(USERS)),
                        "c0",
                        pool.pool_id,
                        draw(st.sampled_from((0, 5))),
                        draw(st.booleans()),
                        ((node.node_id, 1),),
                        need,
                        NOW_MS - draw(st.sampled_from((10_000, 1_000_000))),
                        declared,
                        declared - 100_000,
                        NOW_MS + draw(st.sampled_from((-1, 0, 60_000))),
                        stopping=draw(st.sampled_from((False, False, False, True))),
                        cards=held,
                    )
                )
            nodes.append(Node(node.node_id, node.capacity, free, node.schedulable, tuple(cards)))
        out.append(
            Pool(
                pool.pool_id,
                pool.site_id,
                pool.region,
                pool.site_kind,
                pool.architecture,
                tuple(nodes),
                pool.prices,
                pool.accelerator,
                pool.reachable,
                pool.draining,
                pool.max_runtime_s,
                pool.backlog_s,
                pool.part,
            )
        )
    return out, leases


@st.composite
def queues(draw: st.DrawFn, class_ids: list[str]) -> list[QueueGroup]:
    groups: dict[tuple[str, str, str, str, int], QueueGroup] = {}
    for _ in range(draw(st.integers(0, 8))):
        organisation = draw(st.sampled_from(ORGANISATIONS))
        group = QueueGroup(
            organisation,
            draw(st.sampled_from(PROJECTS[organisation])),
            draw(st.sampled_from(USERS)),
            draw(st.sampled_from(class_ids)),
            draw(st.sampled_from((0, 0, 5, 10))),
            draw(st.integers(0, 5)),
            NOW_MS - draw(st.sampled_from((0, 1_000, 90_000))),
        )
        groups.setdefault(group.key, group)
    return list(groups.values())


@st.composite
def shares(draw: st.DrawFn) -> list[Share]:
    out = []
    usage = st.sampled_from((0, 0, 10, 5_000))
    for organisation in ORGANISATIONS:
        out.append(Share(organisation, None, draw(st.sampled_from((1, 3))), draw(usage)))
        for project in PROJECTS[organisation]:
            kinds = (draw(usage), 0, 0, draw(usage))
            weight = draw(st.sampled_from((1, 2)))
            out.append(Share(project, organisation, weight, usage_by_kind=kinds))
            out.append(Share("u1", project, 1, draw(usage)))
    return out


def policies() -> st.SearchStrategy[Policy]:
    return st.builds(
        Policy,
        max_placements=st.sampled_from((100_000, 100_000, 3)),
        preemption=st.booleans(),
        backfill=st.sampled_from((True, True, True, False)),
        reservations_per_pool=st.sampled_from((0, 1, 1, 2, 3)),
        fragmentation_aware=st.just(False),
        runtime_hold_percent=st.sampled_from((100, 50)),
        turn_share_ppm=st.sampled_from((1_000, 200_000, 500_000)),
    )


@st.composite
def snapshots(draw: st.DrawFn, *, plain: bool = False) -> Snapshot:
    """`plain` leaves out the constraints that make most demands impossible."""
    bare = [
        draw(pools(f"p{i}", plain=plain))
        for i in range(draw(st.integers(0 if not plain else 1, 3)))
    ]
    filled, leases = draw(running(bare))
    class_ids = [f"c{i}" for i in range(draw(st.integers(1, 4)))]
    queue = draw(queues(class_ids))
    quota = st.sampled_from((Resources(6_000, 65_536, 65_536, 3_000), CAPACITY, CAPACITY * 9))
    limited = draw(st.lists(st.sampled_from(("o1", "pa", "u1")), unique=True, max_size=2))
    paid = draw(st.lists(st.sampled_from(("pa", "pb", "pc")), unique=True, max_size=2))
    money = st.sampled_from((-1, 0, 700_000, 40_000_000))
    promised = queue[:1] if queue and draw(st.booleans()) and filled else []
    return Snapshot(
        pools=tuple(filled),
        classes=tuple(draw(classes(c, plain=plain)) for c in class_ids),
        queue=tuple(queue),
        running=tuple(leases),
        shares=tuple(draw(shares())),
        quotas=tuple(Quota(s, draw(quota), ZERO) for s in sorted(limited)),
        funds=tuple(Funds(p, draw(money)) for p in sorted(paid)),
        links=(Link("s1", "s2", 90_000, 40_000), Link("s3", "s2", 90_000, 30_000)),
        promises=tuple(Promise(g.key, filled[0].pool_id) for g in promised),
        weights=(("o1", Weights(50, 3_000_000, 200)),) if draw(st.booleans()) else (),
        policy=draw(policies()),
    )
