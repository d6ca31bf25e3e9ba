"""Short builders for readable snapshots: one organisation, nodes of 8 cards, prices in yuan."""

from __future__ import annotations

from collections.abc import Iterable

from suanwang.engines.scheduling.model import (
    AcceleratorSpec,
    DemandClass,
    Node,
    Plan,
    Pool,
    Prices,
    QueueGroup,
    Request,
    Running,
    Snapshot,
)
from suanwang.kernel.resources import Resources

NOW_MS = 1_767_225_600_000
YUAN = 1_000_000
H100 = AcceleratorSpec("H100", 80 * 1024, 990_000)


def cards(count: int) -> Resources:
    """Cards with eight cores and 64 GiB each."""
    return Resources(8_000 * count, 65_536 * count, 0, 1_000 * count)


def node(name: str, size: int = 8, free: int | None = None) -> Node:
    return Node(name, cards(size), cards(size if free is None else free))


def pool(pool_id: str, nodes: Iterable[Node], *, yuan: int = 10, site: str = "") -> Pool:
    return Pool(
        pool_id,
        site or f"site-{pool_id}",
        "henan",
        "ai",
        "x86_64",
        tuple(nodes),
        Prices(accelerator_hour=yuan * YUAN),
        H100,
    )


def demand(class_id: str, count: int = 1, *, members: int = 1, hours: int = 1) -> DemandClass:
    seconds = hours * 3_600
    return DemandClass(class_id, (Request(cards(count)),), members, seconds, seconds)


def group(
    class_id: str,
    count: int = 1,
    *,
    organisation: str = "org",
    project: str = "project",
    user: str = "user",
    priority: int = 0,
    age_s: int = 0,
) -> QueueGroup:
    submitted_ms = NOW_MS - age_s * 1_000
    return QueueGroup(organisation, project, user, class_id, priority, count, submitted_ms)


def lease(
    lease_id: str,
    pool_id: str,
    node_id: str,
    count: int,
    *,
    organisation: str = "org",
    project: str = "project",
    user: str = "other",
    priority: int = 0,
    ran_s: int = 600,
    ends_in_s: int = 3_600,
    preemptible: bool = False,
) -> Running:
    return Running(
        lease_id,
        organisation,
        project,
        user,
        "gone",
        pool_id,
        priority,
        preemptible,
        ((node_id, 1),),
        cards(count),
        NOW_MS - ran_s * 1_000,
        NOW_MS + ends_in_s * 1_000,
        NOW_MS + ends_in_s * 500,
        NOW_MS - 1,
    )


def world(
    pools: Iterable[Pool],
    classes: Iterable[DemandClass],
    queue: Iterable[QueueGroup] = (),
    leases: Iterable[Running] = (),
) -> Snapshot:
    return Snapshot(tuple(pools), tuple(classes), tuple(queue), tuple(leases))


def started(made: Plan) -> list[tuple[str, str]]:
    """(class, pool) of each placement, in order."""
    return [(p.group[3], p.pool_id) for p in made.placements]
