"""A queue played forward: when would a group start, if run times fell out like this?

The rounds are real rounds of the planner, in virtual time, over the same snapshot. What is guessed
is how long things run: a lognormal spread around the expected run time, cut at the declared one,
given that the work has already run for some time. Each play takes other fractions of it.
Nobody new arrives in a play, and nobody is preempted.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from dataclasses import dataclass, replace
from statistics import NormalDist

from suanwang.engines.scheduling.cards import changed
from suanwang.engines.scheduling.fairness import share_seconds
from suanwang.engines.scheduling.model import (
    DemandClass,
    Placement,
    Pool,
    QueueGroup,
    Running,
    Share,
    Snapshot,
)
from suanwang.engines.scheduling.plan import Round
from suanwang.kernel.money import scale
from suanwang.kernel.resources import Resources
from suanwang.kernel.time import MS_PER_SECOND

Key = tuple[str, str, str, str, int]

SPREAD = 0.6
"""Standard deviation of the logarithm of run time over expected run time."""

ROUNDS_PER_PLAY = 120
SMALL_NODES = 64
"""Up to this size a play looks at every end for 25 rounds, then steps by a tenth of the wait so
far; above it, for 5 rounds, then by a quarter."""

_NORMAL = NormalDist()


def runtime_s(expected_s: int, declared_s: int, elapsed_s: int, fraction: float) -> int:
    """The run time below which work like this ends in `fraction` of cases, having run so far."""
    if elapsed_s >= declared_s:
        return declared_s
    median = max(1, expected_s)
    gone = _NORMAL.cdf(math.log(elapsed_s / median) / SPREAD) if elapsed_s > 0 else 0.0
    level = min(max(gone + fraction * (1.0 - gone), 1e-9), 1.0 - 1e-9)
    length = math.ceil(median * math.exp(SPREAD * _NORMAL.inv_cdf(level)))
    return max(elapsed_s, min(declared_s, length))


def fraction(play: int, name: str) -> float:
    """A fixed, evenly spread number in (0, 1) for a piece of work in a play."""
    digest = hashlib.blake2b(f"{play}:{name}".encode(), digest_size=6).digest()
    return (int.from_bytes(digest, "big") + 0.5) / (1 << 48)


@dataclass(slots=True)
class Live:
    """Something that runs in a play."""

    lease: Running
    demand: DemandClass | None
    hold: int = 0
    """What its start took from the project's funds."""


class Play:
    """One way in which the queue could go on."""

    def __init__(
        self, snapshot: Snapshot, placements: tuple[Placement, ...], now_ms: int, play: int
    ) -> None:
        self._base = snapshot
        self._classes = {c.class_id: c for c in snapshot.classes}
        self._pools = {p.pool_id: p for p in snapshot.pools}
        self._left = {g.key: g.count for g in snapshot.queue}
        self._groups = {g.key: g for g in snapshot.queue}
        self._shares = {(s.parent_id, s.share_id): s for s in snapshot.shares}
        self._quotas = {q.share_id: q for q in snapshot.quotas}
        self._funds = {f.project_id: f for f in snapshot.funds}
        self._play = play
        self._now_ms = self._began_ms = now_ms
        self._live: dict[str, Live] = {}
        self._ends: list[tuple[int, str]] = []
        self._count = 0
        self._nodes = sum(len(p.nodes) for p in snapshot.pools)
        self._totals = Resources()
        for pool in snapshot.pools:
            for node in pool.nodes:
                self._totals = self._totals + node.capacity
        for lease in snapshot.running:
            self._run(lease, self._classes.get(lease.class_id))
        self._apply(placements)

    def first_start(self, group: Key) -> int | None:
        """When the group's next task starts; None if not within the rounds of a play."""
        for rounds in range(ROUNDS_PER_PLAY):
            if not self._ends:
                return None
            self._advance(rounds)
            round_ = Round(self._snapshot(), self._now_ms, 0)
            round_.start_all()
            if any(placed.group == group for placed in round_.placements):
                return self._now_ms
            self._apply(tuple(round_.placements))
        return None

    def _advance(self, rounds: int) -> None:
        """To the next end, and past the first rounds by a part of the wait at least."""
        small = self._nodes <= SMALL_NODES
        exact = rounds < (25 if small else 5)
        step_ms = 0 if exact else (self._now_ms - self._began_ms) // (10 if small else 4)
        until_ms = max(self._ends[0][0], self._now_ms + step_ms)
        while self._ends and self._ends[0][0] <= until_ms:
            _, lease_id = heapq.heappop(self._ends)
            self._end(self._live.pop(lease_id))
        self._now_ms = until_ms

    def _snapshot(self) -> Snapshot:
        base = self._base
        return replace(
            base,
            pools=tuple(self._pools.values()),
            queue=tuple(
                replace(g, count=self._left[k]) for k, g in self._groups.items() if self._left[k]
            ),
            running=tuple(live.lease for live in self._live.values()),
            shares=tuple(self._shares.values()),
            quotas=tuple(self._quotas.values()),
            funds=tuple(self._funds.values()),
            promises=(),
            policy=replace(base.policy, preemption=False),
        )

    def _run(self, lease: Running, demand: DemandClass | None, hold: int = 0) -> None:
        declared_s = max(1, (lease.ends_by_ms - lease.started_at_ms) // MS_PER_SECOND)
        expected_s = max(1, (lease.expected_end_ms - lease.started_at_ms) // MS_PER_SECOND)
        elapsed_s = max(0, self._now_ms - lease.started_at_ms) // MS_PER_SECOND
        part = fraction(self._play, lease.lease_id)
        length = runtime_s(min(expected_s, declared_s), declared_s, elapsed_s, part)
        end_ms = max(self._now_ms + 1, lease.started_at_ms + length * MS_PER_SECOND)
        self._live[lease.lease_id] = Live(lease, demand, hold)
        heapq.heappush(self._ends, (end_ms, lease.lease_id))

    def _apply(self, placements: tuple[Placement, ...]) -> None:
        for placed in placements:
            group = self._groups[placed.group]
            demand = self._classes[group.class_id]
            need = demand.alternatives[placed.alternative].resources
            self._count += 1
            lease = Running(
                f"play-{self._count:06d}",
                group.organisation_id,
                group.project_id,
                group.user_id,
                group.class_id,
                placed.pool_id,
                group.priority,
                demand.preemptible,
                placed.node_members,
                need,
                self._now_ms,
                self._now_ms + demand.max_runtime_s * MS_PER_SECOND,
                self._now_ms + demand.expected_runtime_s * MS_PER_SECOND,
                self._now_ms,
                cards=placed.cards,
            )
            self._left[placed.group] -= 1
            self._pools[placed.pool_id] = _with_free(self._pools[placed.pool_id], lease, -1)
            hold = scale(
                placed.score.rate_micro_yuan_per_hour,
                demand.max_runtime_s * self._base.policy.runtime_hold_percent,
                360_000,
            )
            self._run(lease, demand, hold)
            self._count_in(group, need * demand.members, demand.expected_runtime_s, hold)

    def _count_in(self, group: QueueGroup, whole: Resources, seconds: int, hold: int) -> None:
        path = (group.organisation_id, group.project_id, group.user_id)
        more = share_seconds(whole, seconds, self._totals)
        parent: str | None = None
        for share_id in path:
            at = self._shares.get((parent, share_id)) or Share(share_id, parent, 1)
            kinds = [a + b for a, b in zip(at.usage_by_kind, more, strict=True)]
            self._shares[(parent, share_id)] = replace(
                at, usage_by_kind=(kinds[0], kinds[1], kinds[2], kinds[3])
            )
            parent = share_id
        self._use_quota(path, whole)
        self._pay(group.project_id, -hold)

    def _end(self, live: Live) -> None:
        lease = live.lease
        self._pools[lease.pool_id] = _with_free(self._pools[lease.pool_id], lease, 1)
        members = sum(count for _, count in lease.node_members)
        path = (lease.organisation_id, lease.project_id, lease.user_id)
        self._use_quota(path, lease.member_resources * -members)
        declared_ms = max(1, lease.ends_by_ms - lease.started_at_ms)
        unused_ms = max(0, lease.ends_by_ms - self._now_ms)
        self._pay(lease.project_id, scale(live.hold, min(unused_ms, declared_ms), declared_ms))

    def _use_quota(self, path: tuple[str, str, str], more: Resources) -> None:
        for share_id in path:
            quota = self._quotas.get(share_id)
            if quota is not None:
                self._quotas[share_id] = replace(quota, used=quota.used + more)

    def _pay(self, project_id: str, amount: int) -> None:
        funds = self._funds.get(project_id)
        if funds is not None:
            available = funds.available_micro_yuan + amount
            self._funds[project_id] = replace(funds, available_micro_yuan=available)


def _with_free(pool: Pool, lease: Running, sign: int) -> Pool:
    taken = dict(lease.node_members)
    milli = lease.member_resources.accelerator_milli
    held = {name: c for (name, _), c in zip(lease.node_members, lease.cards, strict=False)}
    nodes = tuple(
        replace(
            node,
            free=node.free + lease.member_resources * (sign * taken[node.node_id]),
            cards=changed(node.cards, held.get(node.node_id, ()), milli, sign),
        )
        if node.node_id in taken
        else node
        for node in pool.nodes
    )
    return replace(pool, nodes=nodes)
