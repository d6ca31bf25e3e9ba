"""The snapshot's pools as columns, in id order: a class is judged on all of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from suanwang.engines.scheduling.arithmetic import UNBOUNDED, Ints
from suanwang.engines.scheduling.cards import KINDS, KNOWN, copies_by_card
from suanwang.engines.scheduling.model import Link, Node, Pool, Prices
from suanwang.kernel.resources import Resources

NO_LIMIT = 1 << 60

Bools = NDArray[np.bool_]


def vector(resources: Resources) -> tuple[int, int, int, int]:
    """(cpu, memory, disk, accelerator): the order of every resource column here."""
    return (
        resources.cpu_milli,
        resources.memory_mib,
        resources.disk_mib,
        resources.accelerator_milli,
    )


def copies(free: Ints, need: tuple[int, int, int, int]) -> Ints:
    """How many of `need` fit in each row of `free`; a vector of zeros fits without bound."""
    out: Ints | None = None
    for kind in range(4):
        if need[kind] > 0:
            fit = free[:, kind] // need[kind]
            out = fit if out is None else np.minimum(out, fit)
    if out is None:
        return np.full(len(free), UNBOUNDED, dtype=np.int64)
    if need[3] > 0 and free.shape[1] > KINDS:
        by_card = np.minimum(out, copies_by_card(free, need[3]))
        out = np.where(free[:, KNOWN] > 0, by_card, out)
    return np.maximum(out, 0)


@dataclass(frozen=True, slots=True)
class PoolColumns:
    """One entry per pool. `shapes` lists each pool's distinct node capacities."""

    pools: tuple[Pool, ...]
    regions: tuple[str, ...]
    sites: tuple[str, ...]
    site_index: Ints
    """Of each pool's site in `site_ids`."""
    site_ids: tuple[str, ...]
    accelerator_memory_mib: Ints
    accelerator_gflops: Ints
    max_runtime_s: Ints
    reachable: Bools
    draining: Bools
    backlog_s: Ints
    price_lists: tuple[Prices, ...]
    price_index: Ints
    shapes: Ints
    shape_count: Ints
    shape_start: Ints
    links_money: Ints
    """[from site, to site] micro-yuan per GiB; 0 on the diagonal."""
    links_ms: Ints
    default_link: Link
    parted: bool
    """Some are parts of others."""
    totals: tuple[int, int, int, int]
    """Capacity of the whole grid, at least 1 of each kind."""


def pool_columns(
    pools: Sequence[Pool], links: Sequence[Link], default_link: Link, extra_sites: Sequence[str]
) -> PoolColumns:
    """`extra_sites` hold data but no pool of this snapshot."""
    ordered = tuple(_with_sorted_nodes(p) for p in sorted(pools, key=lambda p: p.pool_id))
    site_ids = tuple(sorted({p.site_id for p in ordered} | set(extra_sites)))
    position = {site: i for i, site in enumerate(site_ids)}
    price_lists = tuple(dict.fromkeys(p.prices for p in ordered))
    price_position = {prices: i for i, prices in enumerate(price_lists)}
    rows: list[tuple[int, int, int, int]] = []
    counts: list[int] = []
    starts: list[int] = []
    totals = [0, 0, 0, 0]
    for pool in ordered:
        starts.append(len(rows))
        shapes = _shapes(pool.nodes)
        for shape, count in shapes or [((0, 0, 0, 0), 0)]:
            rows.append(shape)
            counts.append(count)
            if pool.part is None:
                totals = [t + s * count for t, s in zip(totals, shape, strict=True)]
    money, ms = _link_tables(site_ids, position, links, default_link)
    return PoolColumns(
        pools=ordered,
        regions=tuple(p.region for p in ordered),
        sites=tuple(p.site_id for p in ordered),
        site_index=_ints([position[p.site_id] for p in ordered]),
        site_ids=site_ids,
        accelerator_memory_mib=_ints(
            [p.accelerator.memory_mib if p.accelerator else 0 for p in ordered]
        ),
        accelerator_gflops=_ints(
            [p.accelerator.fp16_gflops if p.accelerator else 0 for p in ordered]
        ),
        max_runtime_s=_ints(
            [NO_LIMIT if p.max_runtime_s is None else p.max_runtime_s for p in ordered]
        ),
        reachable=np.array([p.reachable for p in ordered], dtype=bool),
        draining=np.array([p.draining for p in ordered], dtype=bool),
        backlog_s=_ints([p.backlog_s for p in ordered]),
        price_lists=price_lists,
        price_index=_ints([price_position[p.prices] for p in ordered]),
        shapes=_ints(rows).reshape(len(rows), 4),
        shape_count=_ints(counts),
        shape_start=_ints(starts),
        links_money=money,
        links_ms=ms,
        default_link=default_link,
        parted=any(p.part is not None for p in ordered),
        totals=(max(1, totals[0]), max(1, totals[1]), max(1, totals[2]), max(1, totals[3])),
    )


def _with_sorted_nodes(pool: Pool) -> Pool:
    ids = [n.node_id for n in pool.nodes]
    if all(a < b for a, b in pairwise(ids)):
        return pool
    return replace(pool, nodes=tuple(sorted(pool.nodes, key=lambda n: n.node_id)))


def _ints(values: Sequence[object]) -> Ints:
    return np.array(values, dtype=np.int64)


def _shapes(nodes: Sequence[Node]) -> list[tuple[tuple[int, int, int, int], int]]:
    counts: dict[tuple[int, int, int, int], int] = {}
    for node in nodes:
        shape = vector(node.capacity)
        counts[shape] = counts.get(shape, 0) + 1
    return sorted(counts.items())


def _link_tables(
    site_ids: tuple[str, ...],
    position: dict[str, int],
    links: Sequence[Link],
    default_link: Link,
) -> tuple[Ints, Ints]:
    size = len(site_ids)
    money = np.full((size, size), default_link.micro_yuan_per_gib, dtype=np.int64)
    ms = np.full((size, size), default_link.ms_per_gib, dtype=np.int64)
    np.fill_diagonal(money, 0)
    np.fill_diagonal(ms, 0)
    for link in sorted(links, key=lambda k: (k.from_site, k.to_site)):
        if link.from_site in position and link.to_site in position:
            if link.from_site == link.to_site:
                continue
            at = (position[link.from_site], position[link.to_site])
            money[at] = link.micro_yuan_per_gib
            ms[at] = link.ms_per_gib
    return money, ms
