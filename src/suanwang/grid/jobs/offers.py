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
    """Pools by site name, with capacity, what is free of it for everybody, what contracts have or
    will have, prices (micro-yuan an hour) and state."""
    contracted, closing = _contracted(gathered), _closing(gathered)
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
                "contracted": contracted.get(pool.pool_id, {"lots": 0, "unit": "core"}),
                "closing": closing.get(pool.pool_id, []),
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


def _contracted(gathered: Gathered) -> dict[str, dict[str, Any]]:
    """Pool → lots that contracts have of it now, and what a lot is."""
    found: dict[str, dict[str, Any]] = {}
    for pool_id, claims in gathered.contracted.claims.items():
        for claim in claims:
            if claim.from_ms <= gathered.now_ms:
                unit = "core" if claim.by_core else "card"
                at = found.setdefault(pool_id, {"lots": 0, "unit": unit})
                at["lots"] += sum(lots for _, lots in gathered.there.get(claim.part_id, ()))
    return found


def _closing(gathered: Gathered) -> dict[str, list[dict[str, Any]]]:
    """Pool → what is free of it only until contracts begin."""
    found: dict[str, list[dict[str, Any]]] = {}
    for pool in gathered.snapshot.pools:
        if pool.part is None or pool.part.contract_id:
            continue
        free = sum((node.free for node in pool.nodes if node.schedulable), ZERO)
        if free != ZERO:
            soon = {"at_ms": pool.part.closes_at_ms, "free": _vector(free)}
            found.setdefault(pool.part.of, []).append(soon)
    return found


def _size(resources: Resources) -> tuple[int, int, int]:
    return resources.accelerator_milli, resources.cpu_milli, resources.memory_mib
