"""What the grid offers now, pool by pool, and what the catalogue knows of its cards. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from suanwang.grid.jobs.snapshot import Gathered
from suanwang.kernel.resources import ZERO, Resources
from suanwang.protocol.messages import AcceleratorReport
from suanwang.trade.catalogue.cards import class_of, split_class
from suanwang.trade.catalogue.model import CORE, Band, Precision, UnitPrice
from suanwang.trade.catalogue.rules import band_of, unit_price
from suanwang.trade.catalogue.service import PoolFigure

MEGA_PER_GIGA = 1_000
Figures = Mapping[tuple[str, str], Mapping[str, PoolFigure]]
"""(pool, class) → precision → what it was measured at."""


def _vector(resources: Resources) -> dict[str, int]:
    return {
        "cpu_milli": resources.cpu_milli,
        "memory_mib": resources.memory_mib,
        "disk_mib": resources.disk_mib,
        "accelerator_milli": resources.accelerator_milli,
    }


def offers(gathered: Gathered, figures: Figures | None = None) -> list[dict[str, Any]]:
    """Pools by site name, with capacity, what is free of it for everybody, what contracts have or
    will have, prices (micro-yuan an hour), state, and the price of a normalised unit; throughput
    in millions of operations a second."""
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
                **_compared(pool.pool_id, card, pool.prices.accelerator_hour, figures or {}),
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


def _compared(
    pool_id: str, card: AcceleratorReport | None, price: int, figures: Figures
) -> dict[str, Any]:
    unit_class = class_of(card.model, card.memory_mib) if card else CORE
    measured = figures.get((pool_id, unit_class), {})
    if card is None:
        return {
            "unit_class": unit_class,
            "known": None,
            "peak": None,
            "measured": dict(measured),
            "unit_price": UnitPrice(),
        }
    known, gb = split_class(unit_class)
    peak = band_of(known, declared_mega=card.fp16_gflops * MEGA_PER_GIGA)
    fp16 = measured.get(Precision.FP16)
    speeds = [
        one.gb_s
        for memory in (known.memory if known else ())
        if memory.gb == gb
        for one in memory.bandwidths
    ]
    return {
        "unit_class": unit_class,
        "known": None
        if known is None
        else {
            "vendor": known.vendor,
            "stack": known.stack,
            "domestic": known.domestic,
            "memory_gb": gb,
            "bandwidth_gb_s": min(speeds, default=None),
        },
        "peak": peak,
        "measured": dict(measured),
        "unit_price": unit_price(price, peak, fp16.mega if fp16 else None),
    }


def band_view(band: Band | None) -> dict[str, Any] | None:
    """TFLOPS, for people and programs alike."""
    if band is None:
        return None
    return {
        "tera": band.mega / 1_000_000,
        "low_tera": band.low_mega / 1_000_000,
        "high_tera": band.high_mega / 1_000_000,
        "basis": band.basis.value,
        "sources_differ": band.is_wide,
    }


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
