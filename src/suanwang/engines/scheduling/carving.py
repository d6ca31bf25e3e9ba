"""Contracts cut out of a pool: what each has now, and what must be free when the next begins.

A claim is a number of lots for one project from an instant until another. A lot is one unit of the
pool (a card; where cores are sold, a core) with its part of the node's other resources.

    running   what its own leases leave of their lots, then wholly free lots, is a part of its own
    upcoming  what would be free at its beginning if nothing more started (free now, or held by
              work that has to end before) is dealt out in order of beginnings; what of it is free
              now is a part that closes then, open to everybody

So nothing that starts meanwhile can be in a contract's way, and nothing stands idle before one.
A vector here is (cpu, memory, disk, accelerator), then each card where they are known one by one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby

from suanwang.engines.scheduling.eviction import Bed, choose_leavers
from suanwang.engines.scheduling.lots import (
    Lot,
    Vector,
    added,
    at_least_zero,
    by_cards,
    lots_needed,
    of_lots,
    smaller,
    taken,
    vector_of,
)
from suanwang.engines.scheduling.model import Node, Part, Pool, Prices, Running
from suanwang.engines.scheduling.seats import Seat, Seats, Slice
from suanwang.kernel.resources import ZERO, Resources
from suanwang.kernel.time import MS_PER_SECOND

MAKE_WAY_MS = 60_000
"""So long before a contract begins, what stands in its way is told to stop."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Lots of a pool for one project, for a time."""

    part_id: str
    contract_id: str
    project_id: str
    """Empty: kept, but nobody's to use now."""
    lots: int
    from_ms: int
    until_ms: int
    by_core: bool
    """A lot is a core; else it is a card."""


@dataclass(frozen=True, slots=True)
class Carved:
    """What became of one pool."""

    pools: tuple[Pool, ...]
    """The pool with what is left of it, then its parts."""
    moved: Mapping[str, str]
    """Lease → the part whose capacity it holds."""
    there: Mapping[str, tuple[tuple[str, int], ...]]
    """Part of a claim → (node id, lots held or free for it there; or by its beginning)."""
    leave: tuple[str, ...]
    """Preemptible leases that stand in a claim's way."""


def carve(
    pool: Pool,
    claims: Sequence[Claim],
    running: Iterable[Running],
    held: Mapping[str, str],
    now_ms: int,
) -> Carved:
    """`running`: of this pool alone; `held`: those of them on a contract → the claim's part."""
    return _Carving(pool, claims, running, held, now_ms).done()


class _Carving:
    def __init__(
        self,
        pool: Pool,
        claims: Sequence[Claim],
        running: Iterable[Running],
        held: Mapping[str, str],
        now_ms: int,
    ) -> None:
        self._pool = pool
        self._claims = sorted(claims, key=lambda c: (max(c.from_ms, now_ms), c.from_ms, c.part_id))
        self._held = held
        self._now_ms = now_ms
        self._seats = [Seat(node, vector_of(node.free, node.cards)) for node in pool.nodes]
        self._working: dict[str, list[int]] = defaultdict(list)
        """Part → the seats where its own leases are."""
        self._moved = dict(held)
        self._seat_leases(running)
        self._lots = {
            by_core: _lots_of(pool.nodes, by_core) for by_core in {one.by_core for one in claims}
        }
        self._rooms = Seats(self._seats, self._lots, held)
        self._leave: list[str] = []

    def _seat_leases(self, running: Iterable[Running]) -> None:
        by_id = {seat.node.node_id: at for at, seat in enumerate(self._seats)}
        for lease in running:
            for number, (node_id, members) in enumerate(lease.node_members):
                at = by_id.get(node_id)
                if at is None:
                    continue
                cards = lease.cards[number] if lease.cards else ()
                size = len(self._seats[at].node.cards)
                amount = taken(lease.member_resources, members, cards, size)
                self._seats[at].leases.append((lease, amount))
                if lease.lease_id in self._held:
                    self._working[self._held[lease.lease_id]].append(at)

    def done(self) -> Carved:
        now = [claim for claim in self._claims if claim.from_ms <= self._now_ms]
        for claim in now:
            self._round_up(claim)
        for claim in now:
            self._fill(claim)
        for claim in self._claims[len(now) :]:
            self._reserve(claim)
        parts = [*self._closing(self._claims[len(now) :])]
        parts += [self._own(claim) for claim in self._claims if claim.project_id]
        return Carved(
            (self._rest(), *sorted(parts, key=lambda part: part.pool_id)),
            self._moved,
            {claim.part_id: self._there(claim) for claim in self._claims},
            tuple(sorted(set(self._leave))),
        )

    def _round_up(self, claim: Claim) -> None:
        """Whole lots for what the claim's own leases hold; what they leave of them is its own."""
        for at in sorted(set(self._working.get(claim.part_id, ()))):
            seat, lot = self._seats[at], self._lots[claim.by_core][at]
            if lot is None:
                continue
            used = added(
                *(a for lease, a in seat.leases if self._held.get(lease.lease_id) == claim.part_id)
            )
            lots = lots_needed(used, lot)
            claimed = of_lots(lot, lots, used, seat.free)
            guarded = smaller(seat.free, at_least_zero(added(claimed, used, sign=-1)))
            self._cut(at, claim, lots, claimed, by_cards(guarded))

    def _fill(self, claim: Claim) -> None:
        """The lots that its leases do not need: free ones, on the roomiest nodes."""
        more = claim.lots - sum(count for _, count in self._there(claim))
        for at, lot, count in self._rooms.roomiest(claim.by_core, more):
            free = self._seats[at].free
            cut = of_lots(lot, count, [0] * len(free), free)
            self._cut(at, claim, count, cut, cut)
            more -= count
        if more > 0:
            self._make_way(claim, more)

    def _reserve(self, claim: Claim) -> None:
        """What of the free capacity has to be free again when the claim begins."""
        self._rooms.move_to(claim.from_ms)
        missing = claim.lots
        for at, lot, count in self._rooms.roomiest(claim.by_core, missing):
            seat = self._seats[at]
            nothing = [0] * len(seat.free)
            claimed = of_lots(lot, count, nothing, seat.room, last=seat.free)
            coming = at_least_zero(seat.back or nothing)
            guarded = at_least_zero(added(claimed, coming, sign=-1))
            guarded = by_cards(smaller(seat.free, guarded))
            self._cut(at, claim, count, claimed, guarded)
            self._rely(seat, claim, added(claimed, guarded, sign=-1))
            missing -= count
        if missing > 0 and claim.from_ms - self._now_ms <= MAKE_WAY_MS:
            self._make_way(claim, missing)

    def _cut(self, at: int, claim: Claim, lots: int, claimed: Vector, guarded: Vector) -> None:
        self._rooms.cut(at, claim.part_id, Slice(lots, claim.until_ms, claimed, guarded))

    def _rely(self, seat: Seat, claim: Claim, counted_on: Vector) -> None:
        """Leases whose end the claim counts on free capacity of its part, not of the pool."""
        left = at_least_zero(counted_on)
        ending = [
            (lease, amount)
            for lease, amount in seat.leases
            if lease.ends_by_ms <= claim.from_ms and lease.lease_id not in self._moved
        ]
        for lease, amount in sorted(ending, key=lambda one: (-one[0].ends_by_ms, one[0].lease_id)):
            if any(has > 0 and needs > 0 for has, needs in zip(amount, left, strict=True)):
                left = at_least_zero(added(left, amount, sign=-1))
                self._moved[lease.lease_id] = closing_id(self._pool, claim.from_ms)

    def _make_way(self, claim: Claim, missing: int) -> None:
        beds = [
            Bed(seat.room, lot, [one for one in seat.leases if one[0].lease_id not in self._held])
            for seat, lot in zip(self._seats, self._lots[claim.by_core], strict=True)
            if lot is not None and seat.node.schedulable
        ]
        self._leave += choose_leavers(
            beds, missing, max(claim.from_ms, self._now_ms), self._now_ms, self._leave
        )

    def _there(self, claim: Claim) -> tuple[tuple[str, int], ...]:
        cut = [self._seats[at] for at in self._rooms.of_part(claim.part_id)]
        return tuple((seat.node.node_id, seat.slices[claim.part_id].lots) for seat in cut)

    def _rest(self) -> Pool:
        nodes = [_node(s.node, s.node.capacity, s.free) for s in self._seats]
        return replace(self._pool, nodes=tuple(nodes))

    def _closing(self, claims: Sequence[Claim]) -> Iterable[Pool]:
        """For each instant at which claims begin, what is free until then."""
        relied_on = set(self._moved.values())
        for begins_ms, beginning in groupby(claims, key=lambda claim: claim.from_ms):
            cuts: dict[int, list[Slice]] = defaultdict(list)
            for claim in beginning:
                for at in self._rooms.of_part(claim.part_id):
                    cuts[at].append(self._seats[at].slices[claim.part_id])
            nodes = []
            for at in sorted(cuts):
                claimed = added(*(cut.claimed for cut in cuts[at]))
                guarded = added(*(cut.guarded for cut in cuts[at]))
                nodes.append(_node(self._seats[at].node, Resources(*claimed[:4]), guarded))
            name = closing_id(self._pool, begins_ms)
            if name not in relied_on and all(n.free == ZERO for n in nodes):
                continue
            yield replace(
                self._pool,
                pool_id=name,
                nodes=tuple(nodes),
                part=Part(self._pool.pool_id, closes_at_ms=begins_ms),
            )

    def _own(self, claim: Claim) -> Pool:
        """The claim's own part; while it has not begun, to be seen and not to be used."""
        begun = claim.from_ms <= self._now_ms
        ideal = self._ideal(claim)
        nodes = []
        for at in sorted(ideal.keys() | set(self._rooms.of_part(claim.part_id))):
            seat = self._seats[at]
            cut, shape = seat.slices.get(claim.part_id), ideal.get(at)
            nothing = [0] * len(seat.free)
            claimed = cut.claimed if cut is not None else nothing
            free = cut.guarded if cut is not None and begun else nothing
            largest = [max(pair) for pair in zip(claimed, shape or nothing, strict=True)]
            nodes.append(_node(seat.node, Resources(*largest[:4]), free))
        seconds = (claim.until_ms - max(self._now_ms, claim.from_ms)) // MS_PER_SECOND
        limit = self._pool.max_runtime_s
        return replace(
            self._pool,
            pool_id=claim.part_id,
            nodes=tuple(nodes),
            prices=Prices(),
            max_runtime_s=seconds if limit is None else min(limit, seconds),
            part=Part(
                self._pool.pool_id,
                claim.contract_id,
                claim.project_id,
                opens_at_ms=None if begun else claim.from_ms,
                closes_at_ms=claim.until_ms if begun else None,
            ),
        )

    def _ideal(self, claim: Claim) -> dict[int, Vector]:
        """Its lots on as few nodes as they could lie: that a piece of work is too large for the
        contract must not be said because of how they lie today."""
        own = self._rooms.of_part(claim.part_id)
        mine = set(own)
        left = claim.lots
        out: dict[int, Vector] = {}
        for at in chain(own, (at for at in range(len(self._seats)) if at not in mine)):
            if left <= 0:
                break
            lot = self._lots[claim.by_core][at]
            count = min(left, lot.units) if lot is not None else 0
            if lot is not None and count > 0:
                node = self._seats[at].node
                whole = vector_of(node.capacity, [1_000] * len(node.cards))
                out[at] = of_lots(lot, count, [0] * len(whole), whole)
                left -= count
        return out


def closing_id(pool: Pool, at_ms: int) -> str:
    """The id of what is free of a pool until then."""
    return f"{pool.pool_id}<{at_ms // MS_PER_SECOND}"


def _lots_of(nodes: Sequence[Node], by_core: bool) -> list[Lot | None]:
    """The lot of each; nodes of one kind share theirs."""
    kinds = {capacity: Lot.of(capacity, by_core) for capacity in {one.capacity for one in nodes}}
    return [kinds[node.capacity] for node in nodes]


def _node(node: Node, capacity: Resources, free: Vector) -> Node:
    cards = tuple(free[4:])
    milli = max(0, min(free[3], sum(cards))) if cards else free[3]
    left = Resources(free[0], free[1], free[2], milli)
    return replace(node, capacity=capacity, free=left, cards=cards)
