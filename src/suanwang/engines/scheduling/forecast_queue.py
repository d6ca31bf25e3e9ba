"""A queue played forward: when would a group start, if run times fell out like this?

The rounds are real rounds of the planner, in virtual time. How long things run is guessed
(`forecast_pace`); each play takes other fractions of it. Nobody new arrives in a play, nobody is
preempted, and nodes with shared cards are chosen by best fit.

The plays of a forecast differ by free room, shares, quotas and funds alone: how classes are judged
on pools is worked out once, and one table of nodes is kept up to date along a play.
`tests/contract/engine/plain_play.py` does the same by building a snapshot for every round.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from suanwang.engines.scheduling.arithmetic import Ints
from suanwang.engines.scheduling.capacity import GridRoom
from suanwang.engines.scheduling.cards import Cards
from suanwang.engines.scheduling.fairness import share_seconds
from suanwang.engines.scheduling.forecast_pace import Pace, fraction, in_a_row, row_s, runtime_s
from suanwang.engines.scheduling.model import (
    Placement,
    Policy,
    Running,
    Share,
    Snapshot,
)
from suanwang.engines.scheduling.plan import Judgement, Round, reservation_layers
from suanwang.kernel.money import scale
from suanwang.kernel.resources import Resources
from suanwang.kernel.time import MS_PER_SECOND

Key = tuple[str, str, str, str, int]
Path = tuple[str, str, str]

ROUNDS_PER_PLAY = 600
ROUND_WORK = 30
START_WORK = 3
RESERVATION_WORK = 10
"""A round, a start and a reservation in it cost as much as looking at so many groups."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Where plays begin: the end of a round."""

    snapshot: Snapshot
    placements: tuple[Placement, ...]
    """Of the round; they start now, and the queue still counts them."""
    now_ms: int
    pace: Pace
    judgement: Judgement

    def may_start(self, group: Key) -> bool:
        """False if every pool refuses its class: then it starts in no play."""
        ranking = self.judgement.ranking_of(group[3], group[0], group[1])
        return ranking is None or len(ranking.order) > 0


def played_policy(policy: Policy) -> Policy:
    return replace(policy, preemption=False, fragmentation_aware=False)


@dataclass(slots=True)
class Live:
    """Something that runs in a play."""

    pool: int | None
    """None: its pool is not played."""
    nodes: Ints
    amounts: Ints
    path: Path
    whole: Resources
    started_ms: int
    ends_by_ms: int
    hold: int = 0
    """What its start took from the project's funds."""


class Play:
    """One way in which the queue could go on. `work` counts the groups that were looked at."""

    def __init__(self, scene: Scene, play: int) -> None:
        base = scene.snapshot
        self._judged = scene.judgement
        self._pace = scene.pace
        self._base = replace(base, running=(), promises=(), policy=played_policy(base.policy))
        self._groups = {g.key: g for g in base.queue if g.count > 0}
        self._shares = {(s.parent_id, s.share_id): s for s in base.shares}
        self._quotas = {q.share_id: q for q in base.quotas}
        self._funds = {f.project_id: f for f in base.funds}
        self._play = play
        self._rounds = 0
        self.work = 0
        self.now_ms = self._began_ms = scene.now_ms
        self._live: dict[str, Live] = {}
        self._ends: list[tuple[int, str]] = []
        self._count = 0
        pools = self._judged.filters.columns.pools
        self._index = {p.pool_id: i for i, p in enumerate(pools)}
        asked = [r.resources for c in base.classes for r in c.alternatives]
        layers = reservation_layers(base.policy)
        self._room = GridRoom(pools, base.running, layers, self.now_ms, asked)
        none: Ints = np.zeros((0, self._room.width), dtype=np.int64)
        self._nowhere = (none[:, 0], none)
        """(nodes, amounts) of what is in no pool that is played."""
        self._running: list[dict[str, Live]] = [{} for _ in pools]
        self._releases: list[tuple[Ints, Ints, Ints] | None] = [None] * len(pools)
        for lease in base.running:
            self._goes_on(lease)
        self._start(scene.placements, 0, put=True)

    def first_start(self, group: Key) -> int | None:
        """When the group's next task starts; None if not within a play's rounds."""
        while not self.over:
            if self.starts_in_next_round(group):
                return self.now_ms
        return None

    @property
    def over(self) -> bool:
        """Nothing more happens, or it has gone on long enough."""
        return not self._ends or self._rounds == ROUNDS_PER_PLAY

    def starts_in_next_round(self, group: Key) -> bool:
        """Go one round on, to `now_ms`."""
        self._advance(self._rounds)
        round_ = self._round()
        round_.start_all()
        self.work += _work(round_)
        self._rounds += 1
        if any(placed.group == group for placed in round_.placements):
            return True
        waited_ms = self.now_ms - self._began_ms
        self._start(tuple(round_.placements), self._pace.step_ms(self._rounds, waited_ms))
        return False

    def _advance(self, rounds: int) -> None:
        """To the next end or a step on. An end that is nearer to this look than to the next counts
        already."""
        waited_ms = self.now_ms - self._began_ms
        until_ms = max(self._ends[0][0], self.now_ms + self._pace.step_ms(rounds, waited_ms))
        margin_ms = self._pace.step_ms(rounds, until_ms - self._began_ms) // 2
        while self._ends and self._ends[0][0] <= until_ms + margin_ms:
            _, lease_id = heapq.heappop(self._ends)
            self._end(lease_id, until_ms)
        self.now_ms = until_ms

    def _round(self) -> Round:
        self._room.reopen()
        for index, running in enumerate(self._running):
            ends, nodes, amounts = self._releases[index] or self._noted(index)
            if running:
                pool = self._room.pools[index]
                pool.releases.start_with(np.maximum(ends, self.now_ms), nodes, amounts)
        given = replace(
            self._base,
            queue=tuple(self._groups.values()),
            shares=tuple(self._shares.values()),
            quotas=tuple(self._quotas.values()),
            funds=tuple(self._funds.values()),
        )
        return Round(given, self.now_ms, 0, self._judged.at(), self._room)

    def _noted(self, pool: int) -> tuple[Ints, Ints, Ints]:
        """(declared end, node, amount) of what runs in a pool."""
        live = list(self._running[pool].values())
        if not live:
            nodes, amounts = self._nowhere
            return nodes, nodes, amounts
        ends: Ints = np.array([one.ends_by_ms for one in live], dtype=np.int64)
        ends = np.repeat(ends, [len(one.nodes) for one in live])
        nodes = np.concatenate([one.nodes for one in live])
        found = (ends, nodes, np.concatenate([one.amounts for one in live]))
        self._releases[pool] = found
        return found

    def _goes_on(self, lease: Running) -> None:
        declared_s = max(1, (lease.ends_by_ms - lease.started_at_ms) // MS_PER_SECOND)
        expected_s = max(1, (lease.expected_end_ms - lease.started_at_ms) // MS_PER_SECOND)
        elapsed_s = max(0, self.now_ms - lease.started_at_ms) // MS_PER_SECOND
        part = fraction(self._play, lease.lease_id)
        length_s = runtime_s(min(expected_s, declared_s), declared_s, elapsed_s, part)
        path = (lease.organisation_id, lease.project_id, lease.user_id)
        whole = lease.member_resources * sum(count for _, count in lease.node_members)
        live = self._placed(lease.pool_id, lease.node_members, lease.member_resources, lease.cards)
        self._run(
            lease.lease_id,
            replace(
                live,
                path=path,
                whole=whole,
                started_ms=lease.started_at_ms,
                ends_by_ms=lease.ends_by_ms,
            ),
            length_s,
        )

    def _placed(
        self,
        pool_id: str,
        node_members: tuple[tuple[str, int], ...],
        need: Resources,
        cards: Cards,
    ) -> Live:
        index = self._index.get(pool_id)
        if index is None:
            return Live(None, *self._nowhere, ("", "", ""), need, 0, 0)
        spread, amounts = self._room.pools[index].held(node_members, need, cards)
        table = np.array(spread, dtype=np.int64).reshape(-1, 2)
        return Live(index, table[:, 0], amounts, ("", "", ""), need, 0, 0)

    def _run(self, lease_id: str, live: Live, length_s: int) -> None:
        end_ms = max(self.now_ms + 1, live.started_ms + length_s * MS_PER_SECOND)
        self._live[lease_id] = live
        if live.pool is not None:
            self._running[live.pool][lease_id] = live
            self._releases[live.pool] = None
        heapq.heappush(self._ends, (end_ms, lease_id))

    def _start(self, placements: tuple[Placement, ...], step_ms: int, *, put: bool = False) -> None:
        """`put`: take the room as well; a round of the play has taken it already."""
        started: Counter[tuple[Key, int]] = Counter()
        to_come = Counter(placed.group for placed in placements)
        for placed in placements:
            group = self._groups[placed.group]
            demand = self._judged.classes[group.class_id]
            self._count += 1
            lease_id = f"play-{self._count:06d}"
            part = fraction(self._play, lease_id)
            to_come[placed.group] -= 1
            times = in_a_row(demand, group.count - to_come[placed.group], step_ms, part)
            self._groups[placed.group] = replace(group, count=group.count - times)
            need = demand.alternatives[placed.alternative].resources
            live = self._placed(placed.pool_id, placed.node_members, need, placed.cards)
            if put and live.pool is not None:
                self._room.pools[live.pool].free[live.nodes] -= live.amounts
            live.path = placed.group[:3]
            live.started_ms = self.now_ms
            live.ends_by_ms = self.now_ms + times * demand.max_runtime_s * MS_PER_SECOND
            if live.path[1] in self._funds:
                live.hold = times * scale(
                    placed.score.rate_micro_yuan_per_hour,
                    demand.max_runtime_s * self._base.policy.runtime_hold_percent,
                    360_000,
                )
                self._pay(live.path[1], -live.hold)
            if self._quotas:
                live.whole = need * demand.members
                self._use_quota(live.path, live.whole)
            self._run(lease_id, live, row_s(demand, times, part))
            started[(placed.group, placed.alternative)] += times
        for (key, alternative), times in started.items():
            self._count_in(key, alternative, times)

    def _count_in(self, key: Key, alternative: int, times: int) -> None:
        """Tasks of a group that start are use of its three shares."""
        demand = self._judged.classes[key[3]]
        whole = demand.alternatives[alternative].resources * demand.members
        more = share_seconds(whole, demand.expected_runtime_s, self._judged.totals)
        parent: str | None = None
        for share_id in key[:3]:
            at = self._shares.get((parent, share_id)) or Share(share_id, parent, 1)
            a, b, c, d = (u + m * times for u, m in zip(at.usage_by_kind, more, strict=True))
            self._shares[(parent, share_id)] = Share(
                at.share_id, at.parent_id, at.weight, at.usage, (a, b, c, d)
            )
            parent = share_id

    def _end(self, lease_id: str, at_ms: int) -> None:
        live = self._live.pop(lease_id)
        if live.pool is not None:
            self._room.pools[live.pool].free[live.nodes] += live.amounts
            del self._running[live.pool][lease_id]
            self._releases[live.pool] = None
        if self._quotas:
            self._use_quota(live.path, live.whole * -1)
        if live.hold:
            declared_ms = max(1, live.ends_by_ms - live.started_ms)
            unused_ms = max(0, live.ends_by_ms - at_ms)
            self._pay(live.path[1], scale(live.hold, min(unused_ms, declared_ms), declared_ms))

    def _use_quota(self, path: Path, more: Resources) -> None:
        for share_id in path:
            quota = self._quotas.get(share_id)
            if quota is not None:
                self._quotas[share_id] = replace(quota, used=quota.used + more)

    def _pay(self, project_id: str, amount: int) -> None:
        funds = self._funds.get(project_id)
        if funds is not None:
            available = funds.available_micro_yuan + amount
            self._funds[project_id] = replace(funds, available_micro_yuan=available)


def _work(round_: Round) -> int:
    return (
        ROUND_WORK
        + len(round_.blocked)
        + START_WORK * len(round_.placements)
        + RESERVATION_WORK * len(round_.reservations)
    )
