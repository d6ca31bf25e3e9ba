"""A grid in virtual time around the planner: submits, rounds, starts and ends, and its own books.

It keeps its own account of what is free and who used what, so it also checks the planner: a plan
that goes over a node's capacity stops it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from suanwang.engines.scheduling.fairness import decayed, share_seconds
from suanwang.engines.scheduling.model import (
    DemandClass,
    Placement,
    Plan,
    Policy,
    Pool,
    QueueGroup,
    Running,
    Share,
    Snapshot,
)
from suanwang.engines.scheduling.plan import plan
from suanwang.kernel.resources import ZERO, Resources

Key = tuple[str, str, str, str, int]


@dataclass(frozen=True, slots=True)
class Work:
    """One task as it will really happen: its true run time is the grid's secret."""

    work_id: str
    key: Key
    submitted_ms: int
    runtime_ms: int


@dataclass(slots=True)
class Record:
    work: Work
    started_ms: int
    ended_ms: int


@dataclass
class VirtualGrid:
    """Feed it with `submit`, then `run`."""

    pools: tuple[Pool, ...]
    classes: tuple[DemandClass, ...]
    shares: tuple[Share, ...] = ()
    policy: Policy = field(default_factory=Policy)
    half_life_s: int = 7 * 86_400
    round_every_ms: int = 0
    """Rounds are at least so far apart."""
    now_ms: int = 0
    rounds: int = 0
    done: list[Record] = field(default_factory=list)
    on_round: Callable[[Snapshot, Plan, int], None] | None = None

    def __post_init__(self) -> None:
        self._free = {(p.pool_id, n.node_id): n.free for p in self.pools for n in p.nodes}
        self._known = {c.class_id: c for c in self.classes}
        self._arrivals: list[tuple[int, str, Work]] = []
        self._ends: list[tuple[int, str]] = []
        self._waiting: dict[Key, list[Work]] = {}
        self._live: dict[str, tuple[Running, Work]] = {}
        self._usage: dict[tuple[str | None, str], tuple[int, ...]] = {}
        self._usage_at_ms = 0
        self._totals = ZERO
        for pool in self.pools:
            for node in pool.nodes:
                self._totals = self._totals + node.capacity

    def submit(self, work: Iterable[Work]) -> None:
        for item in work:
            heapq.heappush(self._arrivals, (item.submitted_ms, item.work_id, item))

    def run(self, until_ms: int = 1 << 60) -> None:
        """Until nothing is left to happen, or that instant."""
        next_round_ms = self.now_ms
        while self._arrivals or self._ends:
            instants = [heap[0][0] for heap in (self._arrivals, self._ends) if heap]
            at_ms = max(min(instants), next_round_ms)
            if at_ms > until_ms:
                return
            self.now_ms = at_ms
            self._take_in()
            self._round()
            next_round_ms = at_ms + max(1, self.round_every_ms)

    def waiting(self) -> int:
        return sum(len(works) for works in self._waiting.values())

    def snapshot(self) -> Snapshot:
        queue = [
            QueueGroup(*key[:4], key[4], len(works), works[0].submitted_ms)
            for key, works in sorted(self._waiting.items())
            if works
        ]
        pools = tuple(
            replace(
                p, nodes=tuple(replace(n, free=self._free[p.pool_id, n.node_id]) for n in p.nodes)
            )
            for p in self.pools
        )
        return Snapshot(
            pools=pools,
            classes=self.classes,
            queue=tuple(queue),
            running=tuple(lease for _, (lease, _) in sorted(self._live.items())),
            shares=self._shares(),
            policy=self.policy,
        )

    def _take_in(self) -> None:
        while self._arrivals and self._arrivals[0][0] <= self.now_ms:
            _, _, work = heapq.heappop(self._arrivals)
            self._waiting.setdefault(work.key, []).append(work)
        while self._ends and self._ends[0][0] <= self.now_ms:
            ended_ms, lease_id = heapq.heappop(self._ends)
            lease, work = self._live.pop(lease_id)
            for node_id, members in lease.node_members:
                self._free[lease.pool_id, node_id] += lease.member_resources * members
            self.done.append(Record(work, lease.started_at_ms, ended_ms))

    def _round(self) -> None:
        given = self.snapshot()
        made = plan(given, self.now_ms)
        self.rounds += 1
        if self.on_round is not None:
            self.on_round(given, made, self.now_ms)
        for placed in made.placements:
            self._start(placed)

    def _start(self, placed: Placement) -> None:
        work = self._waiting[placed.group].pop(0)
        demand = self._known[placed.group[3]]
        need = demand.alternatives[placed.alternative].resources
        for node_id, members in placed.node_members:
            left = self._free[placed.pool_id, node_id] - need * members
            assert left.is_non_negative(), f"{placed.pool_id}/{node_id} is over capacity"
            self._free[placed.pool_id, node_id] = left
        assert sum(m for _, m in placed.node_members) == demand.members, "a gang was torn"
        self._use(placed.group, need * demand.members, demand.expected_runtime_s)
        lease = Running(
            work.work_id,
            *placed.group[:4],
            placed.pool_id,
            placed.group[4],
            demand.preemptible,
            placed.node_members,
            need,
            self.now_ms,
            self.now_ms + demand.max_runtime_s * 1_000,
            self.now_ms + demand.expected_runtime_s * 1_000,
            self.now_ms,
        )
        self._live[work.work_id] = (lease, work)
        heapq.heappush(self._ends, (self.now_ms + work.runtime_ms, work.work_id))

    def _use(self, key: Key, whole: Resources, seconds: int) -> None:
        more = share_seconds(whole, seconds, self._totals)
        parent: str | None = None
        for share in key[:3]:
            had = self._usage.get((parent, share), (0, 0, 0, 0))
            self._usage[parent, share] = tuple(a + b for a, b in zip(had, more, strict=True))
            parent = share

    def _shares(self) -> tuple[Share, ...]:
        gone_ms = self.now_ms - self._usage_at_ms
        if gone_ms * 50 > self.half_life_s * 1_000:
            self._usage = {
                share: tuple(decayed(u, gone_ms, self.half_life_s) for u in used)
                for share, used in self._usage.items()
            }
            self._usage_at_ms = self.now_ms
        weights = {(s.parent_id, s.share_id): s.weight for s in self.shares}
        out = []
        for at in sorted({*weights, *self._usage}, key=lambda s: (s[0] or "", s[1])):
            a, b, c, d = self._usage.get(at, (0, 0, 0, 0))
            out.append(Share(at[1], at[0], weights.get(at, 1), usage_by_kind=(a, b, c, d)))
        return tuple(out)
