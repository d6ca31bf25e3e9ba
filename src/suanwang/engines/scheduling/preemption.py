"""Which preemptible leases stop so that blocked demand can start in a following round.

Who may stop whom. Only non-preemptible demand preempts, and only preemptible leases are stopped,
after the run time they were guaranteed. So of two pieces of work at most one can ever stop the
other, and no two stop each other in turn. Beyond that one of these must hold:

    priority    the demand's priority is strictly higher than the lease's
    fair part   they belong to different projects, and where their branches of the share tree part,
                the demand's share with this task on top is still not above the lease's share
                without everything that would be stopped

Which ones. In each of the group's best pools that can do it: node by node the leases with the least
lost work (elapsed time x dominant part of the grid) until the gang fits, then whatever turns out
to be needless is let go again, the greatest loss first. The pool with the least loss is taken.
Reservations of other groups are respected; leases that are already stopping are waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from suanwang.engines.scheduling.arithmetic import Ints
from suanwang.engines.scheduling.capacity import GridRoom, PoolRoom, Vector
from suanwang.engines.scheduling.fairness import Kinds, ShareTree, share_seconds
from suanwang.engines.scheduling.model import Preemption, QueueGroup, Running
from suanwang.engines.scheduling.pools import PoolColumns, copies, vector
from suanwang.engines.scheduling.scoring import Ranking, declared_end_ms
from suanwang.engines.scheduling.spreading import Spread, scatter
from suanwang.kernel.resources import Resources
from suanwang.kernel.time import MS_PER_SECOND

GROUPS_CONSIDERED = 64
POOLS_CONSIDERED = 4
_FINE_UNIT = 1_000_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Victim:
    """A lease that may be stopped, seen from its pool."""

    lease: Running
    spread: tuple[tuple[int, int], ...]
    amounts: Ints
    """Of each node of the spread."""
    end_ms: int
    lost: int
    weight: Kinds
    """What the lease puts on its shares, start to expected end."""


@dataclass(frozen=True, slots=True)
class Demander:
    """A blocked group that may preempt."""

    group: QueueGroup
    ranking: Ranking
    charges: tuple[Kinds, ...]
    allowed: Callable[[int], bool]
    """Whether quotas and funds would let one more task start on the candidate."""
    commit: Callable[[int], None]
    """Set quota and funds aside for a task on the candidate."""


@dataclass(slots=True)
class Prospect:
    """A pool as it will be once everything stopping has stopped."""

    room: PoolRoom
    free: Ints
    spare: list[Ints]
    victims: list[Victim] = field(default_factory=list)

    def release(self, victim: Victim, sign: int) -> None:
        touched = [
            spare
            for kept, spare in zip(self.room.kept, self.spare, strict=True)
            if kept.start_ms < victim.end_ms
        ]
        for (node, _), amount in zip(victim.spread, victim.amounts * sign, strict=True):
            self.free[node] += amount
            for spare in touched:
                spare[node] += amount

    def occupy(
        self, spread: tuple[tuple[int, int], ...], need: Vector, end_ms: int, owner: QueueGroup
    ) -> None:
        table = np.array(spread, dtype=np.int64).reshape(-1, 2)
        room = self._open_to(slice(None), end_ms, owner)
        amounts, _ = self.room.amounts(table[:, 0], table[:, 1], need, room)
        self.free[table[:, 0]] -= amounts
        for kept, spare in zip(self.room.kept, self.spare, strict=True):
            if kept.start_ms < end_ms:
                spare[table[:, 0]] -= amounts

    def counts(self, need: Vector, end_ms: int, owner: QueueGroup) -> Ints:
        """[node] members that fit; what the owner itself reserved is open to it."""
        return self.room.counts(self._open_to(slice(None), end_ms, owner), need)

    def count(self, node: int, need: Vector, end_ms: int, owner: QueueGroup) -> int:
        """Of one node, which new work may start on."""
        return int(copies(self._open_to(slice(node, node + 1), end_ms, owner), need)[0])

    def _open_to(self, nodes: slice, end_ms: int, owner: QueueGroup) -> Ints:
        out, key = self.free[nodes], owner.key
        own: Ints | None = None
        for kept, spare in zip(self.room.kept, self.spare, strict=True):
            if kept.start_ms < end_ms and kept.owner != key:
                if own is None:
                    own = self.room.kept_for(key)[nodes]
                out = np.minimum(out, spare[nodes] + own)
        return out


class Preemptions:
    """Decides preemptions at the end of a round."""

    def __init__(
        self,
        columns: PoolColumns,
        room: GridRoom,
        tree: ShareTree,
        running: Sequence[Running],
        now_ms: int,
    ) -> None:
        self._columns = columns
        self._tree = tree
        self._now_ms = now_ms
        self._totals = Resources(*columns.totals)
        self._room = room
        self._prospects: dict[int, Prospect] = {}
        self._running: dict[str, list[Running]] = {}
        for lease in running:
            stoppable = lease.preemptible and lease.protected_until_ms <= now_ms
            if lease.stopping or stoppable:
                self._running.setdefault(lease.pool_id, []).append(lease)

    def decide(self, demanders: Iterable[Demander]) -> tuple[Preemption, ...]:
        out: list[Preemption] = []
        considered = 0
        for demander in demanders:
            if demander.ranking.demand.preemptible or not self._running:
                continue
            considered += 1
            if considered > GROUPS_CONSIDERED:
                break
            out.extend(self._one(demander))
        return tuple(out)

    def _one(self, demander: Demander) -> list[Preemption]:
        """Make way for one task of the group; the leases to stop, none if it need not or cannot."""
        demand = demander.ranking.demand
        end_ms = declared_end_ms(demand, self._now_ms)
        best: tuple[int, int, list[Victim]] | None = None
        considered = 0
        for order, flat in enumerate(demander.ranking.order.tolist()):
            alternative, pool = divmod(flat, len(self._columns.pools))
            if self._columns.pools[pool].pool_id not in self._running or not demander.allowed(flat):
                continue
            prospect = self._prospect(pool)
            need = vector(demand.alternatives[alternative].resources)
            chosen = self._choose(prospect, demander, alternative, need, end_ms)
            if chosen is None:
                continue
            considered += 1
            lost = sum(v.lost for v in chosen)
            if best is None or (lost, order) < best[:2]:
                best = (lost, order, chosen)
            if considered == POOLS_CONSIDERED or not chosen:
                break
        if best is None:
            return []
        _, order, chosen = best
        alternative, pool = divmod(int(demander.ranking.order[order]), len(self._columns.pools))
        prospect = self._prospect(pool)
        spread = self._apply(prospect, demander, alternative, chosen, end_ms)
        demander.commit(int(demander.ranking.order[order]))
        there = tuple((prospect.room.node_ids[node], members) for node, members in spread)
        key = demander.group.key
        return [Preemption(v.lease.lease_id, key, alternative, there) for v in chosen]

    def _prospect(self, pool: int) -> Prospect:
        found = self._prospects.get(pool)
        if found is None:
            room = self._room.pools[pool]
            found = Prospect(
                room, room.free.copy(), [room.spare(i).copy() for i in range(len(room.kept))]
            )
            for lease in self._running.get(self._columns.pools[pool].pool_id, []):
                victim = self._victim(room, lease)
                if lease.stopping:
                    found.release(victim, 1)
                else:
                    found.victims.append(victim)
            found.victims.sort(key=lambda v: (v.lost, v.lease.lease_id))
            self._prospects[pool] = found
        return found

    def _victim(self, room: PoolRoom, lease: Running) -> Victim:
        members = sum(m for _, m in lease.node_members)
        whole = lease.member_resources * members
        elapsed_s = max(0, self._now_ms - lease.started_at_ms) // MS_PER_SECOND
        expected_s = max(0, lease.expected_end_ms - lease.started_at_ms) // MS_PER_SECOND
        return Victim(
            lease,
            *room.held_by(lease),
            max(self._now_ms, lease.ends_by_ms),
            max(share_seconds(whole, elapsed_s, self._totals, unit=_FINE_UNIT)),
            share_seconds(whole, expected_s, self._totals, unit=_FINE_UNIT),
        )

    def _choose(
        self, at: Prospect, demander: Demander, alternative: int, need: Vector, end_ms: int
    ) -> list[Victim] | None:
        """A minimal set of victims that lets one task start in this pool, or None."""
        members = demander.ranking.demand.members
        open_victims = [v for v in at.victims if self._may_stop(demander, alternative, [v])]
        chosen: list[Victim] = []
        counts = at.counts(need, end_ms, demander.group)
        while int(counts.sum()) < members:
            step = _cheapest_step(at, demander, need, end_ms, counts, open_victims)
            if step is None:
                break
            for victim in step:
                at.release(victim, 1)
                open_victims.remove(victim)
            chosen.extend(step)
            counts = at.counts(need, end_ms, demander.group)
        fits = int(counts.sum()) >= members
        kept = list(chosen)
        for victim in sorted(chosen, key=lambda v: (v.lost, v.lease.lease_id), reverse=True):
            at.release(victim, -1)
            if fits and int(at.counts(need, end_ms, demander.group).sum()) >= members:
                kept.remove(victim)
            else:
                at.release(victim, 1)
        for victim in kept:
            at.release(victim, -1)
        if not fits or not self._may_stop(demander, alternative, kept):
            return None
        return kept

    def _may_stop(self, demander: Demander, alternative: int, victims: list[Victim]) -> bool:
        return all(
            v.lease.priority < demander.group.priority
            or self._owed(demander, alternative, v, victims)
            for v in victims
        )

    def _owed(
        self, demander: Demander, alternative: int, victim: Victim, victims: list[Victim]
    ) -> bool:
        group, lease = demander.group, victim.lease
        if (group.organisation_id, group.project_id) == (lease.organisation_id, lease.project_id):
            return False
        depth = 0 if group.organisation_id != lease.organisation_id else 1
        mine = self._tree.path(group)[depth]
        theirs = self._tree.path(lease)[depth]
        used = [a + b for a, b in zip(mine.used, demander.charges[alternative], strict=True)]
        # the least that may be left to them: usage need not be known by kind
        rest = max(theirs.used) - sum(
            max(other.weight) for other in victims if self._tree.path(other.lease)[depth] is theirs
        )
        return max(used) * theirs.weight <= rest * mine.weight

    def _apply(
        self,
        at: Prospect,
        demander: Demander,
        alternative: int,
        chosen: list[Victim],
        end_ms: int,
    ) -> Spread:
        for victim in chosen:
            at.release(victim, 1)
            at.victims.remove(victim)
            less = victim.weight
            self._tree.charge(victim.lease, (-less[0], -less[1], -less[2], -less[3]), 1)
        demand = demander.ranking.demand
        need = vector(demand.alternatives[alternative].resources)
        spread = scatter(at.counts(need, end_ms, demander.group), at.free, demand.members)
        at.occupy(spread or (), need, end_ms, demander.group)
        self._tree.charge(demander.group, demander.charges[alternative], 1)
        return spread or ()


def _cheapest_step(
    at: Prospect,
    demander: Demander,
    need: Vector,
    end_ms: int,
    counts: Ints,
    victims: list[Victim],
) -> list[Victim] | None:
    """On one node, the victims with the least lost work that make room for one member more."""
    by_node: dict[int, list[Victim]] = {}
    for victim in victims:
        for node, _ in victim.spread:
            by_node.setdefault(node, []).append(victim)
    best: tuple[int, int, list[Victim]] | None = None
    for node, here in sorted(by_node.items()):
        if not at.room.usable[node]:
            continue
        step: list[Victim] = []
        for victim in here:
            step.append(victim)
            at.release(victim, 1)
            if at.count(node, need, end_ms, demander.group) > int(counts[node]):
                lost = sum(v.lost for v in step)
                if best is None or (lost, node) < best[:2]:
                    best = (lost, node, list(step))
                break
        for victim in step:
            at.release(victim, -1)
    return None if best is None else best[2]
