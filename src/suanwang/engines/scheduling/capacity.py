"""Room in the pools during a round: what is free, what reservations need, where members go.

All nodes of the grid stand in one table, pool after pool, so that "which pools still hold one more
of these" is one vector operation; each pool works on its own slice of it.

Node choice (best fit): a gang goes to the tightest node that holds all of it; if none does, the
roomiest node takes what it can and the rest is placed the same way. Tightness is the free
accelerators, then cores, memory and disk, then the node's id.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from suanwang.engines.scheduling import cards
from suanwang.engines.scheduling.arithmetic import Ints
from suanwang.engines.scheduling.cards import KINDS, KNOWN, Cards
from suanwang.engines.scheduling.model import Node, Pool, Running
from suanwang.engines.scheduling.pools import Bools, copies, vector
from suanwang.engines.scheduling.releases import Releases
from suanwang.engines.scheduling.spreading import Spread, scatter, tightness
from suanwang.kernel.resources import Resources

Vector = tuple[int, int, int, int]

Owner = tuple[str, str, str, str, int]
"""A queue group's key."""


Start = tuple[tuple[tuple[str, int], ...], Vector, int]
"""((node id, members on it), ...), of one member, declared end."""


class Gang(NamedTuple):
    """What decides whether a pool has room for a task."""

    need: Vector
    """Of one member."""
    members: int
    end_ms: int
    """Declared."""


class Taken(NamedTuple):
    """Equal gangs started on the same nodes."""

    spread: Spread
    times: int
    cards: Cards = ()


NEVER_MS = 1 << 61
_PLENTY = 1 << 60


@dataclass(frozen=True, slots=True)
class Kept:
    """One reservation of a pool: room kept for a gang from an instant on."""

    owner: Owner
    start_ms: int
    spread: Spread
    amounts: Ints
    """Of each node of the spread."""


class PoolRoom:
    """One pool's slice of the grid's room."""

    def __init__(self, grid: GridRoom, index: int, pool: Pool, start: int, stop: int) -> None:
        self._grid = grid
        self.index = index
        self.node_ids = tuple(n.node_id for n in pool.nodes)
        self.free = grid.free[start:stop]
        self._slice = slice(start, stop)
        self.usable = grid.usable[start:stop]
        self._all_usable = bool(self.usable.all())
        self._positions: dict[str, int] | None = None
        self.releases = Releases(stop - start, grid.width)
        self.reserved = np.zeros((stop - start, grid.width), dtype=np.int64)
        self.changes = 0
        """Counts starts."""
        self.kept: list[Kept] = []
        """One per layer of the grid's tables."""
        self._peaks: list[tuple[int, list[int]]] = []

    def reopen(self) -> None:
        self.releases = Releases(len(self.node_ids), self._grid.width)
        self.reserved.fill(0)
        self.changes += 1
        self.kept = []
        self._peaks = []

    def available(self, end_ms: int) -> Ints:
        """Free now for work that ends by then, without touching what reservations need."""
        out = self.free
        for layer, kept in enumerate(self.kept):
            if kept.start_ms < end_ms:
                out = np.minimum(out, self.spare(layer))
        return out

    def may_hold(self, gang: Gang) -> bool:
        """False if no node had enough of some resource when last looked: room only shrinks."""
        a, b, c, d = gang.need
        for start_ms, (most_a, most_b, most_c, most_d, *_) in self._peaks:
            if start_ms < gang.end_ms and (a > most_a or b > most_b or c > most_c or d > most_d):
                return False
        return True

    def look(self) -> None:
        """Note the most that any node has of each resource: free, and beside each reservation."""
        tables = [(-1, self.free)]
        for layer, kept in enumerate(self.kept):
            tables.append((kept.start_ms, np.minimum(self.free, self.spare(layer))))
        if not self._all_usable:
            tables = [(start_ms, table[self.usable]) for start_ms, table in tables]
        self._peaks = [(at, table.max(axis=0, initial=-1).tolist()) for at, table in tables]

    def spare(self, layer: int) -> Ints:
        """What the layer's reservation leaves at its start."""
        return self._grid.spare[layer][self._slice]

    def kept_for(self, owner: Owner) -> Ints:
        """[node] what this group itself has reserved here."""
        out = np.zeros_like(self.reserved)
        for kept in self.kept:
            if kept.owner == owner:
                for (node, _), amount in zip(kept.spread, kept.amounts, strict=True):
                    out[node] += amount
        return out

    def positions(self, node_members: tuple[tuple[str, int], ...]) -> Spread:
        """Node ids turned into positions; nodes that left the pool are dropped."""
        if self._positions is None:
            self._positions = {node_id: i for i, node_id in enumerate(self.node_ids)}
        known = self._positions
        return tuple((known[n], m) for n, m in node_members if n in known)

    def now(self, position: int, node: Node) -> Node:
        """The pool's node of that position with what is free of it now."""
        a, b, c, d, *by_card = self.free[position].tolist()
        known = tuple(by_card[1 : 1 + len(node.cards)]) if by_card and by_card[0] else ()
        return replace(node, free=Resources(a, b, c, d), cards=known)

    def held_by(self, lease: Running) -> tuple[Spread, Ints]:
        """Where a lease's members are, and what they hold of each node."""
        return self.held(lease.node_members, lease.member_resources, lease.cards)

    def held(
        self, node_members: tuple[tuple[str, int], ...], need: Resources, on_cards: Cards
    ) -> tuple[Spread, Ints]:
        spread = self.positions(node_members)
        counts = np.array([members for _, members in spread], dtype=np.int64)
        amounts = counts[:, None] * self._grid.row(vector(need))
        if self._grid.width > KINDS and on_cards:
            named = zip(node_members, on_cards, strict=True)
            known = [taken for member, taken in named if self.positions((member,))]
            cards.charge(amounts, known, need.accelerator_milli)
        return spread, amounts

    def amounts(
        self, nodes: Ints, members: Ints, need: Vector, room: Ints, wishes: Cards = ()
    ) -> tuple[Ints, list[tuple[int, ...]]]:
        """What members take of each node, and which of its cards: free ones of that `room`."""
        out = members[:, None] * self._grid.row(need)
        if self._grid.width == KINDS or need[3] == 0:
            return out, []
        dealt = cards.deal(room[nodes], members.tolist(), need[3], wishes)
        cards.charge(out, dealt, need[3])
        return out, dealt

    def counts(self, room: Ints, need: Vector) -> Ints:
        fit = copies(room, need)
        return fit if self._all_usable else fit * self.usable

    def take(self, need: Vector, members: int, limit: int, end_ms: int) -> list[Taken]:
        """Start up to `limit` gangs that end by then."""
        fit = self.counts(self.available(end_ms), need)
        most = int(fit.max(initial=0))
        if most == 0:
            return []
        out: list[Taken] = []
        left = limit
        if most >= members:
            out = self._take_whole(fit, need, members, limit, end_ms)
            left -= sum([taken.times for taken in out])
            if left == 0 or members == 1:
                return out
            most = int(fit.max())
        if most and members % most == 0:
            even = self._take_even(fit, need, members, left, end_ms)
            out.extend(even)
            left -= len(even)
        for _ in range(left):
            spread = scatter(fit, self.free, members)
            if spread is None:
                break
            table = np.array(spread, dtype=np.int64)
            fit[table[:, 0]] -= table[:, 1]
            dealt = self._occupy(table[:, 0], table[:, 1], need, end_ms)
            out.append(Taken(spread, 1, tuple(dealt)))
        return out

    def _take_whole(
        self, fit: Ints, need: Vector, members: int, limit: int, end_ms: int
    ) -> list[Taken]:
        """Gangs that fit on one node. Filling the tightest node keeps it the tightest, so a whole
        batch is the nodes in order of tightness, each filled up. Keeps `fit` up to date."""
        whole = fit // members if members > 1 else fit
        nodes = whole.nonzero()[0]
        if len(nodes) > 1:
            nodes = nodes[tightness(self.free, nodes)]
        times = whole[nodes]
        after = times.cumsum()
        last = int(after.searchsorted(limit))
        if last < len(nodes):
            nodes, times = nodes[: last + 1], times[: last + 1]
            times[last] -= int(after[last]) - limit
        taken = times
        if members > 1:
            taken = times * members
            # a member less room on a node is exactly one copy less there
            fit[nodes] -= taken
        dealt = self._occupy(nodes, taken, need, end_ms)
        placed = zip(nodes.tolist(), times.tolist(), strict=True)
        if not dealt:
            return [Taken(((node, members),), count) for node, count in placed]
        return [
            Taken(((node, members),), 1, (mine,))
            for (node, count), given in zip(placed, dealt, strict=True)
            for mine in cards.by_gang(given, count)
        ]

    def _take_even(
        self, fit: Ints, need: Vector, members: int, limit: int, end_ms: int
    ) -> list[Taken]:
        """Gangs that fill the roomiest nodes without a rest: `scatter` would give them these nodes,
        in order of tightness, one gang after the other. Keeps `fit` up to date."""
        most = int(fit.max())
        each = members // most
        nodes = (fit == most).nonzero()[0]
        gangs = min(limit, len(nodes) // each)
        if gangs == 0:
            return []
        nodes = nodes[tightness(self.free, nodes)[: gangs * each]]
        nodes = np.sort(nodes.reshape(gangs, each), axis=1).reshape(-1)
        fit[nodes] = 0
        dealt = self._occupy(nodes, np.full(len(nodes), most), need, end_ms)
        names = nodes.tolist()
        return [
            Taken(tuple([(node, most) for node in names[i : i + each]]), 1, (*dealt[i : i + each],))
            for i in range(0, len(names), each)
        ]

    def _occupy(
        self, nodes: Ints, members: Ints, need: Vector, end_ms: int, wishes: Cards = ()
    ) -> list[tuple[int, ...]]:
        """Members start on nodes, each of which is named once; which cards of it they get."""
        room = self.available(end_ms) if self._grid.width > KINDS else self.free
        amounts, dealt = self.amounts(nodes, members, need, room, wishes)
        self.changes += 1
        self.free[nodes] -= amounts
        for layer, kept in enumerate(self.kept):
            if kept.start_ms < end_ms:
                self.spare(layer)[nodes] -= amounts
        self.releases.note(end_ms, nodes, amounts)
        return dealt

    def put(
        self,
        node_members: tuple[tuple[str, int], ...],
        need: Vector,
        end_ms: int,
        wishes: Cards = (),
    ) -> Cards:
        """Start members on these very nodes, on these cards unless reservations need them."""
        table = np.array(self.positions(node_members), dtype=np.int64).reshape(-1, 2)
        return tuple(self._occupy(table[:, 0], table[:, 1], need, end_ms, wishes))

    def put_all(self, starts: Sequence[Start]) -> None:
        """Start many gangs on their very nodes, before anything is reserved."""
        table = np.array(
            [
                (end_ms, node, a * m, b * m, c * m, d * m)
                for node_members, (a, b, c, d), end_ms in starts
                for node, m in self.positions(node_members)
            ],
            dtype=np.int64,
        ).reshape(-1, 6)
        self.changes += 1
        np.subtract.at(self.free, table[:, 1], table[:, 2:])
        self.releases.add(table[:, 0], table[:, 1], table[:, 2:])

    def earliest(self, need: Vector, members: int) -> int | None:
        """When, by declared ends, the gang fits beside every reservation made so far."""
        line = self.releases.timeline()
        if len(line.nodes) == 0:
            return None
        room = self.free - self.reserved
        at_first = self.counts(room, need)
        after = copies(room[line.nodes] + line.left, need)
        if not self._all_usable:
            after *= self.usable[line.nodes]
        # room only grows: each release adds what fits its node then, less what did before
        grown = after.copy()
        grown[1:] -= after[:-1]
        grown[line.first] = after[line.first] - at_first[line.nodes[line.first]]
        total = grown[line.by_time].cumsum() + at_first.sum()
        enough = int(total.searchsorted(members))
        return int(line.ends_ms[enough]) if enough < len(total) else None

    def reserve(self, start_ms: int, need: Vector, members: int, owner: Owner) -> bool:
        """Keep room for a gang from then on. Conservative: kept for good, and in every layer."""
        at_start = self.free + self.releases.until(start_ms)
        room = at_start - self.reserved
        spread = scatter(self.counts(room, need), room, members)
        if spread is None:
            return False
        table = np.array(spread, dtype=np.int64)
        amounts, _ = self.amounts(table[:, 0], table[:, 1], need, room)
        self.reserved[table[:, 0]] += amounts
        for layer in range(len(self.kept)):
            self.spare(layer)[table[:, 0]] -= amounts
        kept = Kept(owner, start_ms, spread, amounts)
        self._grid.add_reservation(self, kept, at_start - self.reserved)
        return True

    def close(self) -> None:
        """Nothing more starts here in this round."""
        nobody = ("", "", "", "", 0)
        self._grid.add_reservation(self, Kept(nobody, 0, (), self.reserved[:0]), self.free * 0 - 1)


class GridRoom:
    """All pools' nodes in one table."""

    def __init__(
        self,
        pools: Sequence[Pool],
        running: Sequence[Running],
        layers: int,
        now_ms: int,
        asked: Iterable[Resources],
    ) -> None:
        """`asked`: what members of the demands to come ask for."""
        nodes = [n for p in pools for n in p.nodes]
        self.width = cards.columns_needed(pools, running, asked)
        free: list[tuple[int, ...]] = [vector(n.free) for n in nodes]
        if self.width > KINDS:
            free = [(*vector(n.free), *cards.columns_of(n, self.width)) for n in nodes]
        # rows are nodes; stored by column, because the whole grid is scanned kind by kind
        self.free: Ints = np.asfortranarray(np.array(free, dtype=np.int64).reshape(-1, self.width))
        self.at_start = self.free.copy(order="F")
        self.usable: Bools = np.array([n.schedulable for n in nodes], dtype=bool)
        self.spare: list[Ints] = [
            np.full_like(self.free, _PLENTY, order="F") for _ in range(layers)
        ]
        self._starts: Ints = np.full((layers, len(pools)), NEVER_MS, dtype=np.int64)
        sizes = [len(p.nodes) for p in pools]
        self._owner: Ints = np.repeat(np.arange(len(pools)), sizes)
        self._size = len(pools)
        self.pools: list[PoolRoom] = []
        at = 0
        for index, (pool, size) in enumerate(zip(pools, sizes, strict=True)):
            self.pools.append(PoolRoom(self, index, pool, at, at + size))
            at += size
        self._layers = layers
        self._open = layers * len(pools)
        self._rows: dict[Vector, Ints] = {}
        self._note_running(pools, running, now_ms)

    def _note_running(self, pools: Sequence[Pool], running: Sequence[Running], now_ms: int) -> None:
        rows: dict[int, list[tuple[int, ...]]] = defaultdict(list)
        by_id = {p.pool_id: room for p, room in zip(pools, self.pools, strict=True)}
        for lease in running:
            room = by_id.get(lease.pool_id)
            if room is None:
                continue
            a, b, c, d = vector(lease.member_resources)
            end_ms = max(now_ms, lease.ends_by_ms)
            if self.width > KINDS:
                spread, amounts = room.held_by(lease)
                rows[room.index].extend(
                    [
                        (end_ms, node, *amount)
                        for (node, _), amount in zip(spread, amounts.tolist(), strict=True)
                    ]
                )
                continue
            rows[room.index].extend(
                [
                    (end_ms, node, a * m, b * m, c * m, d * m)
                    for node, m in room.positions(lease.node_members)
                ]
            )
        for index, noted in rows.items():
            table = np.array(noted, dtype=np.int64).reshape(-1, 2 + self.width)
            self.pools[index].releases.start_with(table[:, 0], table[:, 1], table[:, 2:])

    def reopen(self) -> None:
        """Begin another round with what is free now: no reservations, no releases noted."""
        self.at_start = self.free.copy(order="F")
        for spare in self.spare:
            spare.fill(_PLENTY)
        self._starts.fill(NEVER_MS)
        self._open = self._layers * self._size
        for pool in self.pools:
            pool.reopen()

    def row(self, need: Vector) -> Ints:
        found = self._rows.get(need)
        if found is None:
            found = np.array(need + (0,) * (self.width - KINDS), dtype=np.int64)
            self._rows[need] = found
        return found

    def open_reservations(self) -> int:
        return self._open

    def takes_reservation(self, pool: int) -> bool:
        return len(self.pools[pool].kept) < self._layers

    def add_reservation(self, room: PoolRoom, kept: Kept, spare: Ints) -> None:
        layer = len(room.kept)
        room.kept.append(kept)
        room.spare(layer)[:] = spare
        self._starts[layer, room.index] = kept.start_ms
        self._open -= 1

    def room_now(self, gang: Gang) -> Bools:
        """[pool] whether a gang could start now beside the reservations."""
        need, members, end_ms = gang
        able = self._able(self.free, need)
        touching = []
        for layer, starts in enumerate(self._starts):
            touched = starts < end_ms
            if touched.any():
                touching.append(layer)
                able &= self._able(self.spare[layer], need) | ~touched[self._owner]
        rows = np.flatnonzero(able)
        if members == 1 or len(rows) == 0:
            return self._any_by_pool(rows)
        room = _rows_of(self.free, rows)
        for layer in touching:
            touched = (self._starts[layer] < end_ms)[self._owner[rows]]
            spare = np.where(touched[:, None], _rows_of(self.spare[layer], rows), _PLENTY)
            room = np.minimum(room, spare)
        return self._sum_by_pool(rows, copies(room, need)) >= members

    def room_in(self, room: Ints, need: Vector, members: int) -> Bools:
        """[pool] whether a gang fits in such a table of free capacity."""
        rows = np.flatnonzero(self._able(room, need))
        if members == 1 or len(rows) == 0:
            return self._any_by_pool(rows)
        return self._sum_by_pool(rows, copies(_rows_of(room, rows), need)) >= members

    def _able(self, room: Ints, need: Vector) -> Bools:
        """[node] whether one copy fits: comparing is far cheaper than dividing."""
        able = self.usable.copy()
        for kind, part in enumerate(need):
            if part > 0:
                able &= room[:, kind] >= part
        if need[3] > 0 and room.shape[1] > KINDS:
            rows = (able & (room[:, KNOWN] > 0)).nonzero()[0]
            able[rows] = cards.copies_by_card(_rows_of(room, rows), need[3]) > 0
        return able

    def _any_by_pool(self, rows: NDArray[np.intp]) -> Bools:
        out = np.zeros(self._size, dtype=bool)
        out[self._owner[rows]] = True
        return out

    def _sum_by_pool(self, rows: NDArray[np.intp], per_node: Ints) -> Ints:
        sums = np.bincount(self._owner[rows], weights=per_node, minlength=self._size)
        return sums.astype(np.int64)


def _rows_of(table: Ints, rows: NDArray[np.intp]) -> Ints:
    """Some rows of a table that is stored by column."""
    return table.T.take(rows, axis=1).T
