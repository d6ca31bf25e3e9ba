"""Pool reports from what scontrol and squeue really printed."""

from __future__ import annotations

from pathlib import Path

from suanwang.agent.config import PoolConfig
from suanwang.agent.drivers.slurm import inventory, parse
from suanwang.protocol.messages import PoolReport, Quantity

RECORDED = Path(__file__).with_name("recorded")


def report(partition: str, mark: str = "suan/abc/") -> PoolReport:
    texts = [(RECORDED / f"{name}.txt").read_text() for name in ("nodes", "partitions", "pending")]
    config = parse.settings((RECORDED / "config.txt").read_text())
    pool = PoolConfig(name="p", driver="slurm", options={"partition": partition})
    ours = {"n1": Quantity(4000, 500)}
    [made] = inventory.reports([pool], texts[0], texts[1], texts[2], config, ours, mark)
    return made


def test_nodes_capacity_use_and_health() -> None:
    pool = report("main")
    n1, n2, n3 = pool.nodes
    assert n1.capacity == Quantity(4000, 2000, 0, 2000)
    assert n1.foreign == Quantity(0, 1500), "four cores and 500 MiB are ours"
    assert n2.foreign.cpu_milli == 4000
    assert not n3.up
    assert "disk=bad, swap it" in n3.detail
    assert pool.engine_version == "slurm 22.05.8"
    assert pool.architecture == "x86_64"


def test_limits_and_backlog_of_others() -> None:
    assert report("spot").max_runtime_s == 3600
    assert report("main").max_runtime_s is None
    # one core for a day (no limit was given) on the eight cores that are up; the rest is ours
    assert report("main").backlog_s == 86_400 // 8
    assert report("main", mark="suan/other/").backlog_s == (2 * 4 + 2 + 1) * 86_400 // 8


def test_a_partition_that_is_not_there_has_no_nodes() -> None:
    assert report("nowhere").nodes == []


def test_bounds() -> None:
    nodes, partitions = ((RECORDED / f"{n}.txt").read_text() for n in ("nodes", "partitions"))
    bounds = inventory.bounds(nodes, partitions, {})
    assert bounds["spot"].limit_s == 3600
    assert bounds["main"].largest == Quantity(4000, 2000, 0, 2000)
    assert bounds["main"].total == Quantity(12_000, 6000, 0, 6000)
