"""From `scontrol show node`, `show partition` and the waiting jobs to pool reports. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from suanwang.agent.config import PoolConfig
from suanwang.agent.drivers.slurm import parse
from suanwang.agent.drivers.slurm.commands import partition_of
from suanwang.agent.drivers.slurm.parse import PendingLine
from suanwang.protocol.messages import (
    AcceleratorReport,
    NodeReport,
    PoolReport,
    PriceReport,
    Quantity,
)

_DOWN = {
    *("DOWN", "DRAIN", "DRAINED", "DRAINING", "ERROR", "FAIL", "FAILING", "FUTURE", "UNKNOWN"),
    *("NOT_RESPONDING", "INVAL", "INVALID_REG", "MAINT", "REBOOT_ISSUED", "REBOOT_REQUESTED"),
    *("POWERING_DOWN", "POWER_DOWN", "PERFCTRS"),
}
_STUCK = ("Dependency", "JobHeld", "BeginTime", "Reservation", "BadConstraints", "Invalid")
_UNLIMITED_S = 86_400
_MICRO = 1_000_000
_VENDORS = {"npu": "ascend", "dcu": "hygon", "mlu": "cambricon"}

_RESOURCES = (
    ("cpu_milli", "cores", 1000),
    ("memory_mib", "MiB", 1),
    ("accelerator_milli", "cards", 1000),
)

Use = Mapping[str, Quantity]
"""Node name → what our own runs hold of it."""


def reports(
    pools: Sequence[PoolConfig],
    nodes_text: str,
    partitions_text: str,
    pending_text: str,
    config: Mapping[str, str],
    ours: Use,
    mark: str,
) -> list[PoolReport]:
    """One report per pool; `mark` begins the comment of our own jobs."""
    nodes = [parse.key_values(line) for line in nodes_text.splitlines() if "NodeName=" in line]
    partitions = partition_facts(partitions_text)
    waiting = [line for line in parse.pending(pending_text) if not line.comment.startswith(mark)]
    return [
        _pool(pool, nodes, partitions.get(partition_of(pool), {}), waiting, config, ours)
        for pool in pools
    ]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one partition could give at best, whatever is up or free now."""

    limit_s: int | None = None
    largest: Quantity = field(default_factory=Quantity)
    """Of each resource the most that any one node has."""
    total: Quantity = field(default_factory=Quantity)

    def refuses(self, member: Quantity, members: int) -> str:
        """Why this can never be placed here; "" when it can."""
        for name, words, unit in _RESOURCES:
            need, one, all_of_it = (getattr(q, name) for q in (member, self.largest, self.total))
            if need > one:
                sizes = f"{need / unit:g} {words}, the largest node has {one / unit:g}"
                return f"a member needs {sizes}"
            if need * members > all_of_it:
                sizes = (
                    f"{need * members / unit:g} {words}, all nodes together {all_of_it / unit:g}"
                )
                return f"{members} members need {sizes}"
        return ""


def bounds(nodes_text: str, partitions_text: str, gres: Mapping[str, str]) -> dict[str, Bounds]:
    """By partition; `gres` says which generic resource counts as cards there."""
    nodes = [parse.key_values(line) for line in nodes_text.splitlines() if "NodeName=" in line]
    found = {}
    for name, facts in partition_facts(partitions_text).items():
        sizes = [
            capacity(node, gres.get(name, "gpu"))
            for node in nodes
            if name in node.get("Partitions", "").split(",")
        ]
        columns = [list(column) for column in zip(*map(_numbers, sizes), strict=True)]
        found[name] = Bounds(
            parse.duration_s(facts.get("MaxTime", "")),
            Quantity(*(max(column) for column in columns)),
            Quantity(*(sum(column) for column in columns)),
        )
    return found


def _numbers(quantity: Quantity) -> tuple[int, ...]:
    return (
        quantity.cpu_milli,
        quantity.memory_mib,
        quantity.disk_mib,
        quantity.accelerator_milli,
    )


def capacity(node: Mapping[str, str], gres: str) -> Quantity:
    """What Slurm gives out of a node: without specialised cores and memory."""
    count, _ = parse.gres(node.get("Gres", ""), gres)
    cpus = parse.whole(node.get("CPUEfctv")) or parse.whole(node.get("CPUTot"))
    return Quantity(
        cpu_milli=cpus * 1000,
        memory_mib=max(
            0, parse.whole(node.get("RealMemory")) - parse.whole(node.get("MemSpecLimit"))
        ),
        disk_mib=parse.whole(node.get("TmpDisk")),
        accelerator_milli=count * 1000,
    )


def partition_facts(text: str) -> dict[str, dict[str, str]]:
    """Partition name → its fields."""
    facts = (parse.key_values(line) for line in text.splitlines())
    return {each["PartitionName"]: each for each in facts if "PartitionName" in each}


def _pool(
    pool: PoolConfig,
    nodes: Sequence[Mapping[str, str]],
    partition: Mapping[str, str],
    waiting: Sequence[PendingLine],
    config: Mapping[str, str],
    ours: Use,
) -> PoolReport:
    name = partition_of(pool)
    members = [node for node in nodes if name in node.get("Partitions", "").split(",")]
    closed = "" if partition.get("State", "UP") == "UP" else f"partition is {partition['State']}"
    if not partition:
        closed = f"there is no partition {name}"
    gres = pool.options.get("gres", "gpu")
    rows = [_node(node, gres, ours.get(node.get("NodeName", "")), closed) for node in members]
    architectures = [node.get("Arch", "") for node in members if node.get("Arch")]
    limits = [parse.duration_s(partition.get("MaxTime", "")), pool.max_runtime_s]
    known = [limit for limit in limits if limit is not None]
    plugins = f"{config.get('TaskPlugin', '')} {config.get('ProctrackType', '')}"
    return PoolReport(
        name=pool.name,
        driver="slurm",
        architecture=architectures[0] if architectures else "",
        kind=pool.kind,
        nodes=rows,
        accelerator=_accelerator(pool, members, gres),
        interconnect=pool.interconnect,
        max_runtime_s=min(known) if known else None,
        backlog_s=backlog_s(name, waiting, rows, known),
        prices=_prices(pool),
        isolation="Slurm with cgroups" if "cgroup" in plugins else "Slurm without cgroups",
        engine_version=f"slurm {config.get('SLURM_VERSION', '')}".strip(),
    )


def _node(node: Mapping[str, str], gres: str, ours: Quantity | None, closed: str) -> NodeReport:
    own = ours or Quantity()
    used = Quantity(
        cpu_milli=parse.whole(node.get("CPUAlloc")) * 1000,
        memory_mib=parse.whole(node.get("AllocMem")),
        accelerator_milli=_cards_used(node, gres) * 1000,
    )
    foreign = Quantity(
        cpu_milli=max(0, used.cpu_milli - own.cpu_milli),
        memory_mib=max(0, used.memory_mib - own.memory_mib),
        accelerator_milli=max(0, used.accelerator_milli - own.accelerator_milli),
    )
    trouble = closed or _trouble(node)
    return NodeReport(
        node.get("NodeName", ""),
        capacity(node, gres),
        foreign,
        up=not trouble,
        detail=trouble,
    )


def _cards_used(node: Mapping[str, str], gres: str) -> int:
    used = node.get("GresUsed", "")
    if used:
        return parse.gres(used, gres)[0]
    for item in node.get("AllocTRES", "").split(","):
        name, _, count = item.partition("=")
        if name == f"gres/{gres}":
            return parse.whole(count)
    return 0


def _trouble(node: Mapping[str, str]) -> str:
    """Why a node takes no new work; "" when it does. A star marks one that does not respond."""
    state = node.get("State", "UNKNOWN")
    flags = {flag.rstrip("*~#!%$@^-").upper() for flag in state.split("+")}
    if "*" not in state and not flags & _DOWN:
        return ""
    reason = node.get("Reason", "")
    return f"{state.lower()}: {reason}" if reason else state.lower()


def _accelerator(
    pool: PoolConfig, nodes: Sequence[Mapping[str, str]], gres: str
) -> AcceleratorReport | None:
    """The operator's words first; without them what the GRES are called."""
    declared = pool.accelerator
    if declared is not None:
        return AcceleratorReport(
            declared.model,
            declared.vendor,
            declared.memory_gib * 1024,
            int(declared.fp16_tflops * 1000),
        )
    for node in nodes:
        count, kind = parse.gres(node.get("Gres", ""), gres)
        if count:
            return AcceleratorReport(kind or gres, _VENDORS.get(gres, ""))
    return None


def backlog_s(
    partition: str,
    waiting: Sequence[PendingLine],
    nodes: Sequence[NodeReport],
    limits: Sequence[int],
) -> int:
    """How long the pool's cores would need for what others have waiting, at its full time limit."""
    cores = sum(node.capacity.cpu_milli for node in nodes if node.up) // 1000
    if not cores:
        return 0
    longest = min([*limits, _UNLIMITED_S])
    work = sum(
        line.cpus * line.elements * (line.limit_s if line.limit_s is not None else longest)
        for line in waiting
        if partition in line.partitions and not line.reason.startswith(_STUCK)
    )
    return work // cores


def _prices(pool: PoolConfig) -> PriceReport | None:
    if pool.prices is None:
        return None
    return PriceReport(
        core_hour=round(pool.prices.core_hour * _MICRO),
        memory_gib_hour=round(pool.prices.memory_gib_hour * _MICRO),
        accelerator_hour=round(pool.prices.accelerator_hour * _MICRO),
    )
