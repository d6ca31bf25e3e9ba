"""A play as plainly as can be: a whole snapshot and a fresh round for every look.

What is guessed and how often it looks comes from `forecast_pace`, as in the fast play; everything
else is worked out anew. Both must answer the same.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, replace

from suanwang.engines.scheduling.cards import changed
from suanwang.engines.scheduling.fairness import share_seconds
from suanwang.engines.scheduling.forecast_pace import Pace, fraction, in_a_row, row_s, runtime_s
from suanwang.engines.scheduling.forecast_queue import Key, played_policy
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


@dataclass(slots=True)
class Live:
    """Something that runs in a play."""

    lease: Running
    hold: int = 0
    """What its start took from the project's funds."""


class PlainPlay:
    """One way in which the queue could go on."""

    def __init__(
        self,
        snapshot: Snapshot,
        placements: tuple[Placement, ...],
        now_ms: int,
        pace: Pace,
        play: int,
    ) -> None:
        self._pace = pace
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
        self._totals = Resources()
        for pool in snapshot.pools:
            for node in pool.nodes:
                self._totals = self._totals + node.capacity
        for lease in snapshot.running:
            self._run(lease, self._length(lease))
        self._apply(placements, 0)

    def first_start(self, group: Key, rounds: int) -> int | None:
        """When the group's next task starts; None if not within so many rounds."""
        for number in range(rounds):
            if not self._ends:
                return None
            self._advance(number)
            round_ = Round(self._snapshot(), self._now_ms, 0)
            round_.start_all()
            if any(placed.group == group for placed in round_.placements):
                return self._now_ms
            waited_ms = self._now_ms - self._began_ms
            self._apply(tuple(round_.placements), self._pace.step_ms(number + 1, waited_ms))
        return None

    def _advance(self, number: int) -> None:
        step_ms = self._pace.step_ms(number, self._now_ms - self._began_ms)
        until_ms = max(self._ends[0][0], self._now_ms + step_ms)
        early_ms = self._pace.step_ms(number, until_ms - self._began_ms) // 2
        ended = [end for end in sorted(self._ends) if end[0] <= until_ms + early_ms]
        self._now_ms = until_ms
        for _, lease_id in ended:
            self._end(self._live.pop(lease_id))
        self._ends = [end for end in sorted(self._ends) if end not in ended]

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
            policy=played_policy(base.policy),
        )

    def _length(self, lease: Running) -> int:
        declared_s = max(1, (lease.ends_by_ms - lease.started_at_ms) // MS_PER_SECOND)
        expected_s = max(1, (lease.expected_end_ms - lease.started_at_ms) // MS_PER_SECOND)
        elapsed_s = max(0, self._now_ms - lease.started_at_ms) // MS_PER_SECOND
        part = fraction(self._play, lease.lease_id)
        return runtime_s(min(expected_s, declared_s), declared_s, elapsed_s, part)

    def _run(self, lease: Running, length_s: int, hold: int = 0) -> None:
        end_ms = max(self._now_ms + 1, lease.started_at_ms + length_s * MS_PER_SECOND)
        self._live[lease.lease_id] = Live(lease, hold)
        heapq.heappush(self._ends, (end_ms, lease.lease_id))

    def _apply(self, placements: tuple[Placement, ...], step_ms: int) -> None:
        to_come = Counter(placed.group for placed in placements)
        for placed in placements:
            group = self._groups[placed.group]
            demand = self._classes[group.class_id]
            need = demand.alternatives[placed.alternative].resources
            self._count += 1
            lease_id = f"play-{self._count:06d}"
            part = fraction(self._play, lease_id)
            to_come[placed.group] -= 1
            left = self._left[placed.group] - to_come[placed.group]
            times = in_a_row(demand, left, step_ms, part)
            lease = Running(
                lease_id,
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
                self._now_ms + times * demand.max_runtime_s * MS_PER_SECOND,
                self._now_ms + times * demand.expected_runtime_s * MS_PER_SECOND,
                self._now_ms,
                cards=placed.cards,
            )
            self._left[placed.group] -= times
            self._pools[placed.pool_id] = _with_free(self._pools[placed.pool_id], lease, -1)
            hold = times * scale(
                placed.score.rate_micro_yuan_per_hour,
                demand.max_runtime_s * self._base.policy.runtime_hold_percent,
                360_000,
            )
            self._run(lease, row_s(demand, times, part), hold)
            self._count_in(group, demand, need, times, hold)

    def _count_in(
        self, group: QueueGroup, demand: DemandClass, need: Resources, times: int, hold: int
    ) -> None:
        path = (group.organisation_id, group.project_id, group.user_id)
        whole = need * demand.members
        more = share_seconds(whole, demand.expected_runtime_s, self._totals)
        parent: str | None = None
        for share_id in path:
            at = self._shares.get((parent, share_id)) or Share(share_id, parent, 1)
            kinds = [a + times * b for a, b in zip(at.usage_by_kind, more, strict=True)]
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
