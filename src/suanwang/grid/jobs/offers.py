"""What the grid offers now, pool by pool. Pure."""

from __future__ import annotations

from typing import Any

from suanwang.grid.jobs.snapshot import Gathered
from suanwang.kernel.resources import ZERO, Resources


def _vector(resources: Resources) -> dict[str, int]:
    return {
        "cpu_milli": resources.cpu_milli,
        "memory_mib": resources.memory_mib,
        "disk_mib": resources.disk_mib,
        "accelerator_milli": resources.accelerator_milli,
    }


def offers(gathered: Gathered) -> list[dict[str, Any]]:
    """Pools by site name, with capacity, free resources, prices (micro-yuan an hour) and state."""
    rows = []
    for pool in gathered.snapshot.pools:
        if pool.part is not None:
            continue
        site = gathered.sites[pool.site_id]
        row = gathered.pools[pool.pool_id]
        capacity = free = largest = ZERO
        for node in pool.nodes:
            capacity = capacity + node.capacity
            if node.schedulable:
                free = free + node.free
                largest = max(largest, node.free, key=_size)
        card = row.accelerator
        rows.append(
            {
                "pool_id": pool.pool_id,
                "pool": row.name,
                "site_id": site.site_id,
                "site": site.name,
                "site_name": site.display_name,
                "region": site.region,
                "kind": pool.site_kind,
                "architecture": pool.architecture,
                "accelerator": None
                if card is None
                else {
                    "model": card.model,
                    "memory_mib": card.memory_mib,
                    "fp16_tflops": card.fp16_gflops / 1000,
                },
                "interconnect": row.interconnect,
                "isolation": row.isolation,
                "nodes": len(pool.nodes),
                "capacity": _vector(capacity),
                "free": _vector(free),
                "largest_free_node": _vector(largest),
                "backlog_s": pool.backlog_s,
                "max_runtime_s": pool.max_runtime_s,
                "state": "unreachable"
                if not pool.reachable
                else "draining"
                if pool.draining
                else "open",
                "prices": {
                    "core_hour": pool.prices.core_hour,
                    "memory_gib_hour": pool.prices.memory_gib_hour,
                    "accelerator_hour": pool.prices.accelerator_hour,
                },
            }
        )
    return sorted(rows, key=lambda row: (row["site"], row["pool"]))


def _size(resources: Resources) -> tuple[int, int, int]:
    return resources.accelerator_milli, resources.cpu_milli, resources.memory_mib
