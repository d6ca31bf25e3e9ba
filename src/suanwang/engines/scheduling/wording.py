"""The figure behind a reason, in words: what the pool has against what was asked."""

from __future__ import annotations

from suanwang.engines.scheduling.filters import Filters
from suanwang.engines.scheduling.model import (
    NO_CONTRACT,
    DemandClass,
    Pool,
    RefusalReason,
    Request,
)
from suanwang.engines.scheduling.scoring import Ranking
from suanwang.kernel.money import format_yuan
from suanwang.kernel.resources import Resources
from suanwang.kernel.time import MS_PER_SECOND


def quantity(milli: int) -> str:
    """1500 -> '1.5': thousandths without idle zeros."""
    whole, rest = divmod(milli, 1_000)
    return f"{whole}.{rest:03d}".rstrip("0") if rest else str(whole)


def duration(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 2 * 3_600:
        return f"{seconds // 60} min"
    if seconds < 48 * 3_600:
        return f"{quantity(seconds * 10 // 3_600 * 100)} h"
    return f"{quantity(seconds * 10 // 86_400 * 100)} days"


def resources(need: Resources) -> str:
    parts = []
    if need.accelerator_milli:
        parts.append(f"{quantity(need.accelerator_milli)} cards")
    if need.cpu_milli:
        parts.append(f"{quantity(need.cpu_milli)} cores")
    if need.memory_mib:
        parts.append(f"{quantity(need.memory_mib * 1_000 // 1_024)} GiB memory")
    if need.disk_mib:
        parts.append(f"{quantity(need.disk_mib * 1_000 // 1_024)} GiB disk")
    return ", ".join(parts) or "nothing"


def _listed(texts: tuple[str, ...]) -> str:
    return ", ".join(texts)


def called(pool: Pool) -> str:
    """By its own id; what is free until a contract begins goes by that of the whole pool."""
    part = pool.part
    return pool.pool_id if part is None or part.contract_id else part.of


def detail(
    filters: Filters,
    ranking: Ranking,
    alternative: int,
    pool: int,
    reason: RefusalReason,
    now_ms: int,
) -> str:
    demand = ranking.demand
    where = filters.columns.pools[pool]
    request = demand.alternatives[alternative]
    if reason in _PLACE:
        return _place(demand, where, reason)
    if reason in _SIZE:
        return _size(filters, demand, request, pool, reason)
    match reason:
        case RefusalReason.OVER_PRICE_CAP:
            cap = demand.max_rate_micro_yuan_per_hour or 0
            rate = int(ranking.rates[alternative, pool])
            return (
                f"{called(where)} costs {format_yuan(rate)} yuan/h, "
                f"your cap is {format_yuan(cap)} yuan/h"
            )
        case RefusalReason.RUNTIME_OVER_LIMIT:
            return (
                f"pool {called(where)} runs work for at most {duration(where.max_runtime_s or 0)}, "
                f"you declared {duration(demand.max_runtime_s)}"
            )
        case RefusalReason.NOT_ON_CONTRACT:
            if demand.contract == NO_CONTRACT:
                return f"{called(where)} is under contract, you want no contract's capacity"
            return f"you asked for contract {demand.contract} alone, which has ended or is not here"
        case RefusalReason.CONTRACT_NOT_BEGUN | RefusalReason.RUNS_INTO_CONTRACT:
            return _contract(demand, where, int(ranking.wait_s[pool]), now_ms)
        case RefusalReason.SITE_UNREACHABLE:
            return f"site {where.site_id} does not answer at present"
        case RefusalReason.SITE_DRAINING:
            return f"site {where.site_id} is being drained and takes no new work"
        case RefusalReason.PAST_DEADLINE:
            wait_s = int(ranking.wait_s[pool])
            done_ms = now_ms + (wait_s + demand.expected_runtime_s) * MS_PER_SECOND
            late_s = (done_ms - (demand.deadline_ms or 0)) // MS_PER_SECOND
            return f"started now it would end {duration(late_s)} after your deadline"
        case _:
            return ""


def _contract(demand: DemandClass, where: Pool, wait_s: int, now_ms: int) -> str:
    part = where.part
    if part is None:
        return ""
    if part.opens_at_ms is not None and part.opens_at_ms > now_ms:
        left_s = (part.opens_at_ms - now_ms) // MS_PER_SECOND
        return f"contract {part.contract_id} begins in {duration(left_s)}"
    left_s = max(0, (part.closes_at_ms or 0) - now_ms) // MS_PER_SECOND
    what = f"contract {part.contract_id} has" if part.contract_id else f"{part.of} is free for"
    until = "left" if part.contract_id else "until a contract begins"
    asked = duration(demand.max_runtime_s + wait_s)
    return f"{what} {duration(left_s)} {until}, you declared {asked} with what goes before"


_PLACE = (
    RefusalReason.SITE_NOT_ALLOWED,
    RefusalReason.REGION_NOT_ALLOWED,
    RefusalReason.SITE_KIND_NOT_ALLOWED,
    RefusalReason.ARCHITECTURE,
    RefusalReason.DATA_RESIDENCY,
)


def _place(demand: DemandClass, where: Pool, reason: RefusalReason) -> str:
    match reason:
        case RefusalReason.SITE_NOT_ALLOWED:
            if where.site_id in demand.excluded_sites:
                return f"you excluded site {where.site_id}"
            if demand.pools and where.pool_id not in demand.pools:
                return f"pool {where.pool_id} is not among those you allow: {_listed(demand.pools)}"
            return f"site {where.site_id} is not among those you allow: {_listed(demand.sites)}"
        case RefusalReason.REGION_NOT_ALLOWED:
            return f"pool {called(where)} is in {where.region}, you allow {_listed(demand.regions)}"
        case RefusalReason.SITE_KIND_NOT_ALLOWED:
            return (
                f"pool {called(where)} is of kind {where.site_kind}, "
                f"you allow {_listed(demand.site_kinds)}"
            )
        case RefusalReason.ARCHITECTURE:
            return (
                f"pool {called(where)} is {where.architecture}, "
                f"you allow {_listed(demand.architectures)}"
            )
        case _:
            stuck = next(
                i
                for i in demand.inputs
                if i.residency_regions and where.region not in i.residency_regions
            )
            return (
                f"your data may not leave {_listed(stuck.residency_regions)}, "
                f"pool {called(where)} is in {where.region}"
            )


_SIZE = (
    RefusalReason.ACCELERATOR_MODEL,
    RefusalReason.ACCELERATOR_TOO_SMALL,
    RefusalReason.TOO_BIG_FOR_NODE,
    RefusalReason.TOO_BIG_FOR_POOL,
)


def _size(
    filters: Filters, demand: DemandClass, request: Request, pool: int, reason: RefusalReason
) -> str:
    where = filters.columns.pools[pool]
    spec = where.accelerator
    match reason:
        case RefusalReason.ACCELERATOR_MODEL:
            has = spec.model if spec else "no accelerators"
            asked = _listed(request.accelerator_models) or "an accelerator"
            return f"pool {called(where)} has {has}, you asked for {asked}"
        case RefusalReason.ACCELERATOR_TOO_SMALL:
            memory = spec.memory_mib if spec else 0
            gflops = spec.fp16_gflops if spec else 0
            if memory < request.min_accelerator_memory_mib:
                return (
                    f"cards have {quantity(memory * 1_000 // 1_024)} GiB, you asked "
                    f"{quantity(request.min_accelerator_memory_mib * 1_000 // 1_024)} GiB"
                )
            return (
                f"cards do {quantity(gflops)} TFLOPS (FP16), you asked "
                f"{quantity(request.min_fp16_gflops)}"
            )
        case RefusalReason.TOO_BIG_FOR_NODE:
            return _node_shortage(where, request.resources)
        case _:
            most = int(filters.fits(request.resources)[1][pool])
            return (
                f"pool {called(where)} holds at most {most} members of this size when empty, "
                f"you asked {demand.members}"
            )


def _node_shortage(where: Pool, need: Resources) -> str:
    """Name the resource that the roomiest node lacks most, by proportion."""
    capacities = [n.capacity for n in where.nodes]
    if not capacities:
        return f"pool {called(where)} has no nodes"
    kinds = (
        ("cards", need.accelerator_milli, max(c.accelerator_milli for c in capacities), 1_000),
        ("cores", need.cpu_milli, max(c.cpu_milli for c in capacities), 1_000),
        ("GiB memory", need.memory_mib, max(c.memory_mib for c in capacities), 1_024),
        ("GiB disk", need.disk_mib, max(c.disk_mib for c in capacities), 1_024),
    )
    short = [k for k in kinds if k[1] > k[2]]
    if not short:
        return f"no single node has {resources(need)} together"
    name, asked, has, unit = max(short, key=lambda k: (k[1] * 1_000_000 // max(1, k[2]), k[0]))
    figures = quantity(has * 1_000 // unit), quantity(asked * 1_000 // unit)
    return f"largest node has {figures[0]} {name}, you asked {figures[1]}"
