"""Fragmentation-aware node choice: which node, and which card of it, a demand should take.

    packer = NodePacker(nodes, mix)                # one per pool and round; copies the nodes
    spots = packer.choose(need, members=4)         # None, or one Spot a member; changes nothing
    packer.place(need, spot); packer.release(need, spot)
    spots = packer.take(need, members=4)           # choose and place in one go

`nodes` are `PackNode`s (`PackNode.of` makes them from a pool's nodes; leave out what is not
schedulable), `mix` the usual demands (`DemandMix.of` counted needs of the queue and the running
set), `need` a `Need` (`Need.of` makes it from a request). The node whose `Measure` grows least
wins, ties go to the smallest node id; every feasible node is compared, none is sampled.

Speed: a class of equal needs keeps its score for every node; a later choice of that class looks
again only at the nodes that changed in between, and nodes in the same untouched state are scored
once. Cost per choice ~ changed nodes + one argmin, so ask for equal needs in a row where possible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from suanwang.engines.scheduling.packing_measure import UNIT, IntArray, Measure
from suanwang.engines.scheduling.packing_model import CARD, DemandMix, Need, PackNode, Spot
from suanwang.kernel.errors import require

NEVER = np.iinfo(np.int64).max
"""Score of a node that cannot take the need."""

CPU, MEMORY, DISK, LARGEST, WHOLE = range(5)
"""Columns of the free matrix; the last two are the fullest free card and the whole free cards."""


@dataclass(slots=True)
class _NeedClass:
    """Scores of one need on all nodes, right up to `seen` in the log of changes."""

    need: Need
    take: IntArray
    admitted: npt.NDArray[np.bool_] | None
    scores: IntArray
    seen: int


class NodePacker:
    """Mutable book of free capacity, with a node choice that leaves the least unusable."""

    def __init__(self, nodes: Sequence[PackNode], mix: DemandMix) -> None:
        self.nodes = tuple(sorted(nodes, key=lambda node: node.node_id))
        self._index = {node.node_id: i for i, node in enumerate(self.nodes)}
        require(len(self._index) == len(self.nodes), "NodeIdsUnique", "Node ids are unique.")
        count = len(self.nodes)
        models = tuple(sorted({node.model for node in self.nodes}))
        width = max((len(node.cards_milli) for node in self.nodes), default=0)
        self._measure = Measure(mix, models, width)
        self._model = np.array([models.index(node.model) for node in self.nodes], dtype=np.int64)
        self._bare = np.array([not node.cards_milli for node in self.nodes], dtype=bool)
        self._any_bare = bool(self._bare.any())
        self._cards = np.zeros((count, width), dtype=np.int64)
        self._free = np.zeros((count, 5), dtype=np.int64)
        self._total = np.zeros(count, dtype=np.int64)
        self._untouched = np.ones(count, dtype=bool)
        self._group = self._fill_and_group()
        self._value = self._values(np.arange(count), self._free[:, CPU], self._total, self._cards)
        self._log = np.zeros(1024, dtype=np.int64)
        self._changes = 0
        self._classes: dict[Need, _NeedClass] = {}

    def _fill_and_group(self) -> IntArray:
        """Loads the nodes; answers for each the number of its group of equal states."""
        groups: dict[tuple[int, int, int, str, tuple[int, ...]], int] = {}
        group = np.zeros(len(self.nodes), dtype=np.int64)
        for i, node in enumerate(self.nodes):
            require(
                all(0 <= c <= CARD for c in node.cards_milli),
                "CardRange",
                "A card is free between 0 and 1000 milli.",
            )
            self._cards[i, : len(node.cards_milli)] = node.cards_milli
            self._free[i, : DISK + 1] = node.cpu_milli, node.memory_mib, node.disk_mib
            state = (
                node.cpu_milli,
                node.memory_mib,
                node.disk_mib,
                node.model,
                node.cards_milli,
            )
            group[i] = groups.setdefault(state, len(groups))
        if self._cards.size:
            self._free[:, LARGEST] = self._cards.max(axis=1)
            self._free[:, WHOLE] = (self._cards == CARD).sum(axis=1)
            self._total[:] = self._cards.sum(axis=1)
        return group

    # Choice

    def choose(self, need: Need, members: int = 1) -> tuple[Spot, ...] | None:
        """Best spots for all members, or None if they do not all fit. Changes nothing."""
        if members == 1:
            spot = self._best(need)
            return None if spot is None else (spot,)
        spots = self.take(need, members)
        if spots is not None:
            self._undo(need, spots)
        return spots

    def take(self, need: Need, members: int = 1) -> tuple[Spot, ...] | None:
        """`choose` and `place` of all members, or None and nothing changed."""
        spots: list[Spot] = []
        for _ in range(members):
            spot = self._best(need)
            if spot is None:
                self._undo(need, spots)
                return None
            self.place(need, spot)
            spots.append(spot)
        return tuple(spots)

    def _undo(self, need: Need, spots: Sequence[Spot]) -> None:
        for spot in reversed(spots):
            self.release(need, spot)

    def score(self, need: Need, node_id: str) -> int | None:
        """Growth of the measure if the need went to this node, or None if it does not fit."""
        of_class = self._refreshed(need)
        value = int(of_class.scores[self._index[node_id]])
        return None if value == NEVER else value

    def _best(self, need: Need) -> Spot | None:
        if not self.nodes:
            return None
        scores = self._refreshed(need).scores
        node = int(scores.argmin())
        if scores[node] == NEVER:
            return None
        return Spot(self.nodes[node].node_id, self._best_cards(need, node))

    def _best_cards(self, need: Need, node: int) -> tuple[int, ...]:
        if not need.cards:
            return ()
        free: list[int] = self._cards[node].tolist()
        if need.card_milli == CARD:
            return tuple([i for i, milli in enumerate(free) if milli == CARD][: need.cards])
        left = int(self._free[node, CPU]) - need.cpu_milli
        row = int(self._measure.rows(self._model[node], np.int64(left)))  # type: ignore[arg-type]
        idle = self._measure.card[row]
        whole = self._measure.whole[row]
        count = int(self._free[node, WHOLE])
        opening = int(whole[count - 1] - whole[count]) if count else 0
        growth = [
            (int(idle[milli - need.card_milli]) - int(idle[milli]) + opening * (milli == CARD), i)
            for i, milli in enumerate(free)
            if milli >= need.card_milli
        ]
        return (min(growth)[1],)

    # Scores

    def _refreshed(self, need: Need) -> _NeedClass:
        of_class = self._classes.get(need)
        if of_class is None:
            of_class = self._first_scores(need)
            self._classes[need] = of_class
        elif of_class.seen < self._changes:
            stale = self._log[of_class.seen : self._changes]
            if len(stale) > 48:
                stale = np.unique(stale)
            of_class.scores[stale] = self._scores(of_class, stale)
        of_class.seen = self._changes
        return of_class

    def _first_scores(self, need: Need) -> _NeedClass:
        whole = need.cards if need.card_milli == CARD else 0
        take = [need.cpu_milli, need.memory_mib, need.disk_mib, need.card_milli, whole]
        admitted = None
        if need.models:
            fit = [model in need.models for model in self._measure.models]
            admitted = np.array(fit, dtype=bool)[self._model]
        scores = np.full(len(self.nodes), NEVER, dtype=np.int64)
        of_class = _NeedClass(need, np.array(take, dtype=np.int64), admitted, scores, 0)
        same = np.flatnonzero(self._untouched)
        _, first, inverse = np.unique(self._group[same], return_index=True, return_inverse=True)
        scores[same] = self._scores(of_class, same[first])[inverse]
        touched = np.flatnonzero(~self._untouched)
        scores[touched] = self._scores(of_class, touched)
        return of_class

    def _scores(self, of_class: _NeedClass, nodes: IntArray) -> IntArray:
        """Growth of the measure on each of these nodes; NEVER where the need does not fit."""
        left = self._free[nodes] - of_class.take
        fits = (left >= 0).all(axis=1)
        if of_class.admitted is not None:
            fits &= of_class.admitted[nodes]
        scores = np.full(len(nodes), NEVER, dtype=np.int64)
        at = nodes[fits]
        if len(at):
            need = of_class.need
            cpu = left[fits, CPU]
            total = self._total[at] - need.cards * need.card_milli
            if 0 < need.card_milli < CARD:
                after = self._values_with_share(at, cpu, total, need.card_milli)
            else:
                after = self._values(at, cpu, total, self._cards[at], need.cards)
            scores[fits] = after - self._value[at]
        return scores

    def _values(
        self, at: IntArray, cpu: IntArray, total: IntArray, cards: IntArray, taken: int = 0
    ) -> IntArray:
        """The measure of nodes with so much free CPU, once `taken` whole cards are gone."""
        measure = self._measure
        rows = measure.rows(self._model[at], cpu)
        value: IntArray = measure.card[rows[:, None], cards].sum(axis=1, dtype=np.int64)
        value += measure.stranded(total, cpu)
        if taken:
            value -= taken * measure.card[rows, CARD]
        if measure.has_gangs_of_cards:
            value += measure.whole[rows, self._free[at, WHOLE] - taken]
        if self._any_bare:
            value += np.where(self._bare[at], measure.bare(cpu), 0)
        return value

    def _values_with_share(
        self, at: IntArray, cpu: IntArray, total: IntArray, milli: int
    ) -> IntArray:
        """The same once a share is taken from the card where that costs least."""
        measure = self._measure
        rows = measure.rows(self._model[at], cpu)
        cards = self._cards[at]
        idle = measure.card[rows[:, None], cards]
        growth = measure.card[rows[:, None], np.maximum(cards - milli, 0)] - idle.astype(np.int64)
        if measure.has_gangs_of_cards:
            whole = self._free[at, WHOLE]
            opening = measure.whole[rows, np.maximum(whole - 1, 0)] - measure.whole[rows, whole]
            growth += np.where(cards == CARD, opening[:, None], 0)
        growth[cards < milli] = NEVER
        value: IntArray = idle.sum(axis=1, dtype=np.int64) + growth.min(axis=1)
        value += measure.stranded(total, cpu)
        if measure.has_gangs_of_cards:
            value += measure.whole[rows, whole]
        return value

    # The book

    def place(self, need: Need, spot: Spot) -> None:
        """Takes the need's resources at the spot; InvariantViolated when they are not free."""
        self._move(need, spot, 1)

    def release(self, need: Need, spot: Spot) -> None:
        """Gives back what a `place` of the same need and spot took."""
        self._move(need, spot, -1)

    def free(self, node_id: str) -> PackNode:
        """The node as it is now."""
        i = self._index[node_id]
        node = self.nodes[i]
        cpu, memory, disk = self._free[i, : DISK + 1].tolist()
        cards = tuple(self._cards[i, : len(node.cards_milli)].tolist())
        return PackNode(node_id, cpu, memory, disk, cards, node.model)

    def _move(self, need: Need, spot: Spot, sign: int) -> None:
        i = self._index[spot.node_id]
        cards: list[int] = self._cards[i].tolist()
        width = len(self.nodes[i].cards_milli)
        require(
            len(set(spot.cards)) == need.cards,
            "CardCount",
            "A need takes as many cards as it asks for.",
        )
        for card in spot.cards:
            require(0 <= card < width, "CardExists", "The card is one of the node's.")
            cards[card] -= sign * need.card_milli
            require(
                0 <= cards[card] <= CARD, "CardRange", "A card is free between 0 and 1000 milli."
            )
        row = self._free[i]
        cpu, memory, disk = row[: DISK + 1].tolist()
        cpu -= sign * need.cpu_milli
        memory -= sign * need.memory_mib
        disk -= sign * need.disk_mib
        require(min(cpu, memory, disk) >= 0, "NodeCapacity", "A node is never over capacity.")
        self._cards[i] = cards
        self._total[i] = total = sum(cards)
        row[:] = cpu, memory, disk, max(cards, default=0), cards.count(CARD)
        at = np.array([i])
        self._value[i] = self._values(at, np.array([cpu]), np.array([total]), self._cards[at])[0]
        self._untouched[i] = False
        if self._changes == len(self._log):
            self._log = np.concatenate([self._log, np.zeros_like(self._log)])
        self._log[self._changes] = i
        self._changes += 1


__all__ = ["NEVER", "UNIT", "DemandMix", "Need", "NodePacker", "PackNode", "Spot"]
