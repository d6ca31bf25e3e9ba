"""One scheduling round: snapshot in, plan out. Pure, total, deterministic.

    1. promises    capacity that was preempted for a group goes to that group
    2. turns       the fair-share tree names a group; it starts up to one turn's worth of tasks on
                   its best-scoring pools that have room, beside the reservations
    3. blocked     a group that cannot go on leaves the order; the first ones get reservations
    4. refusals    for everything still waiting, a named reason
    5. preemption  what may stop so that blocked demand can start in a following round

Room, quotas and funds only shrink within a round, so a group or pool that failed once is never
tried again, and the refusals can be worded from the state at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass

from suanwang.engines.scheduling.arithmetic import UNBOUNDED
from suanwang.engines.scheduling.backfill import reserve_for
from suanwang.engines.scheduling.capacity import GridRoom, Start
from suanwang.engines.scheduling.card_choice import CardChoice
from suanwang.engines.scheduling.cards import KINDS, Cards
from suanwang.engines.scheduling.fairness import Kinds, ShareTree, share_seconds, turn_size
from suanwang.engines.scheduling.filters import Filters
from suanwang.engines.scheduling.limits import Limits
from suanwang.engines.scheduling.model import (
    DemandClass,
    Placement,
    Plan,
    Policy,
    Preemption,
    Promise,
    QueueGroup,
    Refusal,
    Request,
    Reservation,
    Snapshot,
    Weights,
    promise_order,
)
from suanwang.engines.scheduling.openings import Openings
from suanwang.engines.scheduling.pools import pool_columns, vector
from suanwang.engines.scheduling.preemption import Demander, Preemptions
from suanwang.engines.scheduling.refusals import RefusalBook, Standing
from suanwang.engines.scheduling.scoring import Asked, Ranking, declared_end_ms, rank
from suanwang.kernel.errors import require
from suanwang.kernel.resources import Resources

_FINE_UNIT = 1_000_000_000


def plan(snapshot: Snapshot, now_ms: int, seed: int = 0) -> Plan:
    """Plan one round. `seed` only rotates ties between shares of equal usage (0: by id)."""
    return Round(snapshot, now_ms, seed).run()


def reservation_layers(policy: Policy) -> int:
    return policy.reservations_per_pool if policy.backfill else 1


@dataclass(slots=True)
class Waiting:
    """A queue group during the round."""

    group: QueueGroup
    ranking: Ranking
    left: int
    turn: int
    charges: tuple[Kinds, ...]
    """Per alternative: what one task adds to its shares, 1e-9 share-seconds."""
    wholes: tuple[Resources, ...]
    """Per alternative: the resources of the whole gang."""
    capped: bool
    """A quota stands somewhere on its path."""
    funded: bool
    """Its project may run out of money."""


class Judgement:
    """How the classes are judged on the pools: free room has no part in it, so the rounds of a
    forecast, which differ by room alone, share one."""

    def __init__(self, snapshot: Snapshot) -> None:
        data_sites = sorted({s for c in snapshot.classes for i in c.inputs for s in i.at_sites})
        columns = pool_columns(snapshot.pools, snapshot.links, snapshot.default_link, data_sites)
        self.totals = Resources(*columns.totals)
        self.filters = Filters(columns)
        self.classes = {c.class_id: c for c in snapshot.classes}
        self.weights = dict(snapshot.weights)
        self.buyers = {p.part.project_id for p in columns.pools if p.part and p.part.project_id}
        self.rankings: dict[tuple[str, Weights, str], Ranking] = {}
        self.weighed: dict[str, tuple[int, tuple[Kinds, ...], tuple[Resources, ...]]] = {}

    def ranking_of(self, class_id: str, organisation_id: str, project_id: str) -> Ranking | None:
        """If it is known already."""
        return self.rankings.get((class_id, *self.seen_by(organisation_id, project_id)))

    def seen_by(self, organisation_id: str, project_id: str) -> tuple[Weights, str]:
        """What of an owner matters to how a class is judged."""
        buyer = project_id if project_id in self.buyers else ""
        return self.weights.get(organisation_id, Weights()), buyer

    def at(self) -> Judgement:
        """For another instant: a deadline may have come too near since."""
        out = copy(self)
        out.rankings = {
            key: ranking
            for key, ranking in self.rankings.items()
            if ranking.demand.deadline_ms is None
        }
        return out


class Round:
    """The state of one round; `run` may be called once."""

    def __init__(
        self,
        snapshot: Snapshot,
        now_ms: int,
        seed: int,
        judgement: Judgement | None = None,
        room: GridRoom | None = None,
    ) -> None:
        """`judgement`: of a snapshot with the same pools and classes; `room`: as it stands now."""
        self.snapshot = snapshot
        self.policy = snapshot.policy
        self.now_ms = now_ms
        judged = judgement or Judgement(snapshot)
        self.totals = judged.totals
        self.filters = judged.filters
        self.classes = judged.classes
        self._seen_by = judged.seen_by
        self._rankings = judged.rankings
        self._weighed = judged.weighed
        columns = self.filters.columns
        self.running = sorted(snapshot.running, key=lambda r: r.lease_id)
        layers = reservation_layers(self.policy)
        asked = (r.resources for c in snapshot.classes for r in c.alternatives)
        self.room = room or GridRoom(columns.pools, self.running, layers, now_ms, asked)
        self.limits = Limits(snapshot.quotas, snapshot.funds)
        self._openings = Openings(self.room, now_ms)
        queue = sorted((g for g in snapshot.queue if g.count > 0), key=lambda g: g.key)
        self.tree = ShareTree(queue, snapshot.shares, seed)
        self._rank_queue(queue)
        self.waiting = {g.key: self._waiting(g) for g in queue}
        require(len(self.waiting) == len(queue), "DuplicateGroup", "A queue group appears twice.")
        self.cards = (
            CardChoice(columns.pools, self._usual(queue))
            if self.policy.fragmentation_aware
            else None
        )
        self.placements: list[Placement] = []
        self.reservations: list[Reservation] = []
        self.blocked: list[Waiting] = []

    def run(self) -> Plan:
        self.start_all()
        refusals = self._refusals()
        return Plan(tuple(self.placements), refusals, self._preemptions(), tuple(self.reservations))

    def replay(self, made: Plan) -> None:
        """Bring a fresh round to the end of a plan that was made of the same snapshot."""
        index = {p.pool_id: i for i, p in enumerate(self.filters.columns.pools)}
        starts: dict[int, list[Start]] = {}
        for placed in made.placements:
            waiting = self.waiting[placed.group]
            demand, pool = waiting.ranking.demand, index[placed.pool_id]
            need = vector(demand.alternatives[placed.alternative].resources)
            end_ms = declared_end_ms(demand, self.now_ms)
            if self.room.width > KINDS:
                self.room.pools[pool].put(placed.node_members, need, end_ms, placed.cards)
            else:
                starts.setdefault(pool, []).append((placed.node_members, need, end_ms))
            waiting.left -= 1
            self._commit(waiting, placed.alternative * len(index) + pool, 1)
        self.placements.extend(made.placements)
        for pool, many in starts.items():
            self.room.pools[pool].put_all(many)
        for kept in made.reservations:
            demand, pool = self.waiting[kept.group].ranking.demand, index[kept.pool_id]
            any(
                self.room.pools[pool].reserve(
                    kept.start_at_ms, vector(request.resources), demand.members, kept.group
                )
                for request in demand.alternatives
            )

    def start_all(self) -> None:
        """Everything that starts in this round, and the reservations of what does not."""
        self._keep_promises()
        while (group := self.tree.next()) is not None:
            waiting = self.waiting[group.key]
            if len(self.placements) < self.policy.max_placements:
                goes_on = self._turn(waiting)
            else:
                goes_on = False
            if not goes_on and waiting.left > 0:
                self._block(waiting)
            self.tree.settle(group, retire=not goes_on)

    def _usual(self, queue: list[QueueGroup]) -> Iterator[tuple[Request, int]]:
        for group in queue:
            demand = self.classes[group.class_id]
            yield demand.alternatives[0], group.count * demand.members

    def _waiting(self, group: QueueGroup) -> Waiting:
        demand = self.classes.get(group.class_id)
        if demand is None:
            require(False, "UnknownClass", f"Group {group.key} refers to an absent class.")
            raise LookupError(group.class_id)
        ranking = self.ranking(demand, group)
        return Waiting(
            group,
            ranking,
            group.count,
            *self._weight(demand),
            bool(self.limits.quota_shares(group)),
            self.limits.funds(group.project_id) is not None,
        )

    def ranking(self, demand: DemandClass, group: QueueGroup) -> Ranking:
        """Of a class for the owner of a group."""
        seen_by = self._seen_by(group.organisation_id, group.project_id)
        key = (demand.class_id, *seen_by)
        if key not in self._rankings:
            self._rank([(demand, *seen_by)])
        return self._rankings[key]

    def _rank_queue(self, queue: list[QueueGroup]) -> None:
        asked = {
            (g.class_id, *self._seen_by(g.organisation_id, g.project_id)): None
            for g in queue
            if g.class_id in self.classes
        }
        for key in self._rankings:
            asked.pop(key, None)
        self._rank([(self.classes[id_], weights, buyer) for id_, weights, buyer in asked])

    def _rank(self, asked: list[Asked]) -> None:
        made = rank(self.filters, asked, self.policy.runtime_hold_percent, self.now_ms)
        for (demand, weights, buyer), ranking in zip(asked, made, strict=True):
            self._rankings[(demand.class_id, weights, buyer)] = ranking

    def _weight(self, demand: DemandClass) -> tuple[int, tuple[Kinds, ...], tuple[Resources, ...]]:
        """(tasks in a turn; per alternative, what a task adds to its shares, and its size)."""
        found = self._weighed.get(demand.class_id)
        if found is None:
            gangs = tuple(r.resources * demand.members for r in demand.alternatives)
            charges = tuple(
                share_seconds(gang, demand.expected_runtime_s, self.totals, unit=_FINE_UNIT)
                for gang in gangs
            )
            turn = turn_size(gangs[0], self.totals, self.policy.turn_share_ppm)
            found = (turn, charges, gangs)
            self._weighed[demand.class_id] = found
        return found

    def _keep_promises(self) -> None:
        pools = {p.pool_id: i for i, p in enumerate(self.filters.columns.pools)}
        for promise in sorted(self.snapshot.promises, key=promise_order):
            waiting = self.waiting.get(promise.group)
            pool = pools.get(promise.pool_id)
            if waiting is None or pool is None or waiting.left == 0:
                continue
            if not self._start_there(waiting, pool, promise):
                self._start_in(waiting, pool)
            if waiting.left == 0:
                self.tree.drop(waiting.group)

    def _start_in(self, waiting: Waiting, pool: int) -> None:
        """One task somewhere in that pool, if there is room for it."""
        for flat in waiting.ranking.order.tolist():
            if waiting.ranking.at(flat)[1] != pool or not self._allowed(waiting, flat):
                continue
            if self._start(waiting, flat, 1) == 1:
                return

    def _start_there(self, waiting: Waiting, index: int, promise: Promise) -> bool:
        """One task on the very nodes that were cleared for it, which may not be the tightest."""
        flat = promise.alternative * len(self.room.pools) + index
        demand, pool = waiting.ranking.demand, self.room.pools[index]
        if not promise.node_members or flat not in waiting.ranking.order:
            return False
        need = vector(demand.alternatives[promise.alternative].resources)
        end_ms = declared_end_ms(demand, self.now_ms)
        spread = pool.positions(promise.node_members)
        fit = pool.counts(pool.available(end_ms), need)
        if (
            sum(members for _, members in spread) != demand.members
            or any(fit[node] < members for node, members in spread)
            or not self._allowed(waiting, flat)
        ):
            return False
        cards = pool.put(promise.node_members, need, end_ms)
        self._note_started(waiting, flat, promise.node_members, cards, 1)
        self._settle(waiting, flat, 1)
        return True

    def _turn(self, waiting: Waiting) -> bool:
        """Start up to one turn of tasks; whether the group may have another turn."""
        room_in_plan = self.policy.max_placements - len(self.placements)
        want = min(waiting.turn, waiting.left, room_in_plan)
        shortlist = self._openings.shortlist(waiting.ranking)
        flats, full = shortlist.flats, shortlist.full
        pools = len(self.room.pools)
        quota = self._quota_rooms(waiting)
        at = 0
        while want > 0 and at < len(flats):
            flat = flats[at]
            alternative, pool = divmod(flat, pools)
            if full[alternative][pool] or self._openings.is_full(shortlist, alternative, pool):
                del flats[at]
                continue
            allowed = min(want, quota[alternative])
            if waiting.funded and allowed > 0:
                allowed = min(allowed, self._affordable(waiting, flat))
            if allowed <= 0:
                at += 1
                continue
            started = self._start(waiting, flat, allowed)
            want -= started
            if started and waiting.capped:
                quota = self._quota_rooms(waiting)
            if started < allowed:
                self._openings.note_full(shortlist, alternative, pool)
                del flats[at]
            elif want > 0:
                at += 1
        return want == 0 and waiting.left > 0

    def _quota_rooms(self, waiting: Waiting) -> list[int]:
        """Per alternative: how many more tasks the quotas allow."""
        if not waiting.capped:
            return [UNBOUNDED] * len(waiting.wholes)
        return [self.limits.quota_room(waiting.group, whole) for whole in waiting.wholes]

    def _affordable(self, waiting: Waiting, flat: int) -> int:
        return self.limits.funds_room(waiting.group.project_id, waiting.ranking.hold(flat))

    def _allowed(self, waiting: Waiting, flat: int) -> bool:
        """Whether quotas and funds would let one task start on this candidate."""
        whole = waiting.wholes[flat // len(self.room.pools)]
        if waiting.capped and self.limits.quota_room(waiting.group, whole) < 1:
            return False
        return not waiting.funded or self._affordable(waiting, flat) > 0

    def _start(self, waiting: Waiting, flat: int, limit: int) -> int:
        """Start up to `limit` tasks, which limits allow, on a candidate; how many fitted."""
        demand = waiting.ranking.demand
        alternative, index = waiting.ranking.at(flat)
        request = demand.alternatives[alternative]
        pool = self.room.pools[index]
        end_ms = declared_end_ms(demand, self.now_ms)
        started = 0
        if self.cards is not None and self.cards.applies(index, request, demand.members):
            taken = self.cards.take(pool, request, limit, end_ms)
        else:
            taken = pool.take(vector(request.resources), demand.members, limit, end_ms)
        if not taken:
            return 0
        ids = pool.node_ids
        for spread, times, cards in taken:
            members = tuple([(ids[node], count) for node, count in spread])
            self._note_started(waiting, flat, members, cards, times)
            started += times
        self._settle(waiting, flat, started)
        return started

    def _note_started(
        self,
        waiting: Waiting,
        flat: int,
        members: tuple[tuple[str, int], ...],
        cards: Cards,
        times: int,
    ) -> None:
        alternative, index = waiting.ranking.at(flat)
        pool_id = self.filters.columns.pools[index].pool_id
        score = waiting.ranking.score(flat)
        placed = Placement(waiting.group.key, pool_id, alternative, members, score, cards)
        self.placements.extend([placed] * times)

    def _settle(self, waiting: Waiting, flat: int, started: int) -> None:
        waiting.left -= started
        self._commit(waiting, flat, started)
        charge = waiting.charges[waiting.ranking.at(flat)[0]]
        self.tree.charge(waiting.group, charge, started)

    def _block(self, waiting: Waiting) -> None:
        self.blocked.append(waiting)
        if len(self.placements) >= self.policy.max_placements:
            return
        reservation = reserve_for(
            self.filters.columns,
            self.room,
            self.policy,
            waiting.group,
            waiting.ranking,
            self._affords(waiting),
            self.now_ms,
        )
        if reservation is not None:
            self.reservations.append(reservation)

    def _preemptions(self) -> tuple[Preemption, ...]:
        if not self.policy.preemption:
            return ()
        columns = self.filters.columns
        deciding = Preemptions(columns, self.room, self.tree, self.running, self.now_ms)
        return deciding.decide(
            Demander(w.group, w.ranking, w.charges, self._affords(w), self._committing(w))
            for w in self.blocked
        )

    def _affords(self, waiting: Waiting) -> Callable[[int], bool]:
        return lambda flat: self._allowed(waiting, flat)

    def _committing(self, waiting: Waiting) -> Callable[[int], None]:
        return lambda flat: self._commit(waiting, flat, 1)

    def _commit(self, waiting: Waiting, flat: int, times: int) -> None:
        if waiting.capped or waiting.funded:
            whole = waiting.wholes[flat // len(self.room.pools)]
            self.limits.spend(waiting.group, whole, waiting.ranking.hold(flat), times)

    def standing(self) -> Standing:
        """What refusals are worded from; to be asked at the end."""
        cut_short = len(self.placements) >= self.policy.max_placements
        return Standing(self.filters, self.room, self.limits, self.now_ms, cut_short)

    def _refusals(self) -> tuple[Refusal, ...]:
        book = RefusalBook(self.standing())
        return tuple(book.refusal(w.group, w.ranking, w.left) for w in self.blocked)
