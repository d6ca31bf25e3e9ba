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

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop
from itertools import chain

from suanwang.engines.scheduling.eviction import Bed, choose_leavers
from suanwang.engines.scheduling.lots import (
    Lot,
    Vector,
    added,
    at_least_zero,
    by_cards,
    lots_in,
    lots_needed,
    of_lots,
    smaller,
    taken,
    vector_of,
)
from suanwang.engines.scheduling.model import Node, Part, Pool, Prices, Running
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


@dataclass(slots=True)
class _Slice:
    """A claim on one node."""

    lots: int
    claimed: Vector
    """All of its lots there."""
    guarded: Vector
    """Of them, what is free now."""


@dataclass(slots=True)
class _Bench:
    """A node at work: what is free of it for everybody, and the slices cut from it."""

    node: Node
    free: Vector
    leases: list[tuple[Running, Vector]] = field(default_factory=list)
    slices: dict[str, _Slice] = field(default_factory=dict)
    fits: dict[bool, int] = field(default_factory=dict)
    """By kind of lot (whether a core): how many are in `free`; emptied where that changes."""


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
        self._by_part = {claim.part_id: claim for claim in claims}
        self._held = held
        self._now_ms = now_ms
        self._benches = [_Bench(node, vector_of(node.free, node.cards)) for node in pool.nodes]
        by_id = {bench.node.node_id: bench for bench in self._benches}
        self._moved = dict(held)
        for lease in running:
            for at, (node_id, members) in enumerate(lease.node_members):
                bench = by_id.get(node_id)
                if bench is not None:
                    cards = lease.cards[at] if lease.cards else ()
                    size = len(bench.node.cards)
                    amount = taken(lease.member_resources, members, cards, size)
                    bench.leases.append((lease, amount))
        self._lots = {
            by_core: [Lot.of(bench.node.capacity, by_core) for bench in self._benches]
            for by_core in {claim.by_core for claim in claims}
        }
        self._leave: list[str] = []

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
        for bench, lot in zip(self._benches, self._lots[claim.by_core], strict=True):
            own = [
                a for lease, a in bench.leases if self._held.get(lease.lease_id) == claim.part_id
            ]
            if not own or lot is None:
                continue
            used = added(*own)
            lots = lots_needed(used, lot)
            claimed = of_lots(lot, lots, used, bench.free)
            guarded = smaller(bench.free, at_least_zero(added(claimed, used, sign=-1)))
            self._cut(bench, claim, _Slice(lots, claimed, by_cards(guarded)))

    def _fill(self, claim: Claim) -> None:
        """The lots that its leases do not need: free ones, on the roomiest nodes."""
        more = claim.lots - self._lots_of(claim)
        rooms = [bench.free for bench in self._benches]
        for at, lot, count in self._roomiest(claim, rooms, more):
            bench = self._benches[at]
            nothing = [0] * len(bench.free)
            cut = of_lots(lot, count, nothing, bench.free)
            self._cut(bench, claim, _Slice(count, cut, cut))
            more -= count
        if more > 0:
            self._make_way(claim, more, [bench.free for bench in self._benches])

    def _reserve(self, claim: Claim) -> None:
        """What of the free capacity has to be free again when the claim begins."""
        # most nodes have neither work nor claims: nothing comes back there
        back = [
            self._back(bench, claim) if bench.leases or bench.slices else None
            for bench in self._benches
        ]
        rooms = [
            bench.free if more is None else added(bench.free, more)
            for bench, more in zip(self._benches, back, strict=True)
        ]
        missing = claim.lots
        for at, lot, count in self._roomiest(claim, rooms, missing):
            bench = self._benches[at]
            claimed = of_lots(lot, count, [0] * len(bench.free), rooms[at], last=bench.free)
            coming = at_least_zero(back[at] or [0] * len(bench.free))
            guarded = at_least_zero(added(claimed, coming, sign=-1))
            guarded = by_cards(smaller(bench.free, guarded))
            self._cut(bench, claim, _Slice(count, claimed, guarded))
            self._rely(bench, claim, added(claimed, guarded, sign=-1))
            rooms[at] = added(rooms[at], claimed, sign=-1)
            missing -= count
        if missing > 0 and claim.from_ms - self._now_ms <= MAKE_WAY_MS:
            self._make_way(claim, missing, rooms)

    def _back(self, bench: _Bench, claim: Claim) -> Vector:
        """What comes free by the claim's beginning, less what other claims count on."""
        out = [0] * len(bench.free)
        begins_ms = claim.from_ms
        for lease, amount in bench.leases:
            if lease.ends_by_ms <= begins_ms:
                out = added(out, amount)
        for part_id, part in bench.slices.items():
            other = self._by_part[part_id]
            if other.until_ms <= begins_ms:
                out = added(out, part.guarded)
                continue
            stays = [
                amount
                for lease, amount in bench.leases
                if self._held.get(lease.lease_id) == other.part_id and lease.ends_by_ms > begins_ms
            ]
            counted_on = added(part.claimed, part.guarded, *stays, sign=-1)
            out = added(out, at_least_zero(counted_on), sign=-1)
        return out

    def _roomiest(
        self, claim: Claim, rooms: Sequence[Vector], most: int
    ) -> list[tuple[int, Lot, int]]:
        """(node, its lot, how many lots of the claim): as few nodes as can be."""
        lots = self._lots[claim.by_core]
        fits = [
            (-fit, at)
            for at, (bench, room) in enumerate(zip(self._benches, rooms, strict=True))
            if (fit := self._fit(bench, room, lots[at], claim.by_core)) > 0
        ]
        heapify(fits)  # few of thousands of nodes are looked at
        out = []
        while fits and most > 0:
            fit, at = heappop(fits)
            lot = lots[at]
            if lot is not None:
                out.append((at, lot, min(-fit, most)))
            most += fit
        return out

    @staticmethod
    def _fit(bench: _Bench, room: Vector, lot: Lot | None, by_core: bool) -> int:
        if lot is None or not bench.node.schedulable:
            return 0
        if room is not bench.free:
            return lots_in(room, lot)
        fit = bench.fits.get(by_core)
        if fit is None:
            fit = bench.fits[by_core] = lots_in(room, lot)
        return fit

    def _cut(self, bench: _Bench, claim: Claim, cut: _Slice) -> None:
        known = bench.slices.get(claim.part_id)
        bench.free = added(bench.free, cut.guarded, sign=-1)
        bench.fits.clear()
        if known is not None:
            cut = _Slice(
                known.lots + cut.lots,
                added(known.claimed, cut.claimed),
                added(known.guarded, cut.guarded),
            )
        bench.slices[claim.part_id] = cut

    def _rely(self, bench: _Bench, claim: Claim, counted_on: Vector) -> None:
        """Leases whose end the claim counts on free capacity of its part, not of the pool."""
        left = at_least_zero(counted_on)
        ending = [
            (lease, amount)
            for lease, amount in bench.leases
            if lease.ends_by_ms <= claim.from_ms and lease.lease_id not in self._moved
        ]
        for lease, amount in sorted(ending, key=lambda one: (-one[0].ends_by_ms, one[0].lease_id)):
            if any(has > 0 and needs > 0 for has, needs in zip(amount, left, strict=True)):
                left = at_least_zero(added(left, amount, sign=-1))
                self._moved[lease.lease_id] = closing_id(self._pool, claim.from_ms)

    def _make_way(self, claim: Claim, missing: int, rooms: Sequence[Vector]) -> None:
        beds = [
            Bed(room, lot, [one for one in bench.leases if one[0].lease_id not in self._held])
            for bench, lot, room in zip(
                self._benches, self._lots[claim.by_core], rooms, strict=True
            )
            if lot is not None and bench.node.schedulable
        ]
        self._leave += choose_leavers(
            beds, missing, max(claim.from_ms, self._now_ms), self._now_ms, self._leave
        )

    def _lots_of(self, claim: Claim) -> int:
        return sum(count for _, count in self._there(claim))

    def _there(self, claim: Claim) -> tuple[tuple[str, int], ...]:
        return tuple(
            (bench.node.node_id, bench.slices[claim.part_id].lots)
            for bench in self._benches
            if claim.part_id in bench.slices
        )

    def _rest(self) -> Pool:
        nodes = [_node(b.node, b.node.capacity, b.free) for b in self._benches]
        return replace(self._pool, nodes=tuple(nodes))

    def _closing(self, claims: Sequence[Claim]) -> Iterable[Pool]:
        """For each instant at which claims begin, what is free until then."""
        for begins_ms in sorted({claim.from_ms for claim in claims}):
            mine = [claim.part_id for claim in claims if claim.from_ms == begins_ms]
            nodes = []
            for bench in self._benches:
                cuts = [bench.slices[part] for part in mine if part in bench.slices]
                if cuts:
                    claimed = added(*(cut.claimed for cut in cuts))
                    guarded = added(*(cut.guarded for cut in cuts))
                    nodes.append(_node(bench.node, Resources(*claimed[:4]), guarded))
            name = closing_id(self._pool, begins_ms)
            if name not in self._moved.values() and all(n.free == ZERO for n in nodes):
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
        for bench in self._benches:
            cut = bench.slices.get(claim.part_id)
            shape = ideal.get(bench.node.node_id)
            if cut is None and shape is None:
                continue
            nothing = [0] * len(bench.free)
            claimed = cut.claimed if cut is not None else nothing
            free = cut.guarded if cut is not None and begun else nothing
            largest = [max(pair) for pair in zip(claimed, shape or nothing, strict=True)]
            nodes.append(_node(bench.node, Resources(*largest[:4]), free))
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

    def _ideal(self, claim: Claim) -> dict[str, Vector]:
        """Its lots on as few nodes as they could lie: that a piece of work is too large for the
        contract must not be said because of how they lie today."""
        own = [at for at, bench in enumerate(self._benches) if claim.part_id in bench.slices]
        others = (at for at in range(len(self._benches)) if at not in own)
        left = claim.lots
        out: dict[str, Vector] = {}
        for at in chain(own, others):
            if left <= 0:
                break
            lot = self._lots[claim.by_core][at]
            count = min(left, lot.units) if lot is not None else 0
            if lot is not None and count > 0:
                bench = self._benches[at]
                whole = vector_of(bench.node.capacity, [1_000] * len(bench.node.cards))
                out[bench.node.node_id] = of_lots(lot, count, [0] * len(whole), whole)
                left -= count
        return out


def closing_id(pool: Pool, at_ms: int) -> str:
    """The id of what is free of a pool until then."""
    return f"{pool.pool_id}<{at_ms // MS_PER_SECOND}"


def _node(node: Node, capacity: Resources, free: Vector) -> Node:
    cards = tuple(free[4:])
    milli = max(0, min(free[3], sum(cards))) if cards else free[3]
    left = Resources(free[0], free[1], free[2], milli)
    return replace(node, capacity=capacity, free=left, cards=cards)
