"""Fragmentation-aware node choice: which node, and which card of it, a demand should take.

    packer = NodePacker(nodes, mix)                # one per pool and round; copies the nodes
    spots = packer.choose(need, members=4)         # None, or one Spot a member; changes nothing
    packer.place(need, spot); packer.release(need, spot)
    spots = packer.take(need, members=4)           # choose and place in one go

`nodes` are `PackNode`s (`PackNode.of` makes them from a pool's nodes; leave out what is not
schedulable), `mix` the usual demands (`DemandMix.of` counted needs of the queue and the running
set), `need` a `Need` (`Need.of` makes it from a request). `Measure.of(nodes_of_all_pools, mix)`
builds the tables once for many pools and then stands in the place of `mix`. The node whose
`Measure` grows least wins, ties go to the smallest node id; every feasible node is compared.

Speed: a class of equal needs keeps its score for every node; a later choice of that class looks
again only at the nodes that changed in between, and nodes in the same untouched state are scored
once. Cost per choice ~ changed nodes + one argmin, so ask for equal needs in a row where possible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from suanwang.engines.scheduling.packing_measure import IntArray, Measure, NodeState
from suanwang.engines.scheduling.packing_model import CARD, DemandMix, Need, PackNode, Spot
from suanwang.kernel.errors import require

NEVER = 1 << 62
"""Score of a node that cannot take the need."""


@dataclass(slots=True)
class _NeedClass:
    """Scores of one need on all nodes, right up to the change number `seen`."""

    need: Need
    models: frozenset[int] | None
    scores: IntArray
    seen: int


class NodePacker:
    """Mutable book of free capacity, with a node choice that leaves the least unusable."""

    def __init__(self, nodes: Sequence[PackNode], mix: DemandMix | Measure) -> None:
        ordered = sorted(nodes, key=lambda node: node.node_id)
        self._ids = [node.node_id for node in ordered]
        self._index = {node_id: i for i, node_id in enumerate(self._ids)}
        require(len(self._index) == len(ordered), "NodeIdsUnique", "Node ids are unique.")
        self._measure = mix if isinstance(mix, Measure) else Measure.of(ordered, mix)
        self._widest = max((len(node.cards_milli) for node in ordered), default=0)
        require(
            self._widest <= self._measure.max_cards,
            "MeasureCovers",
            "The measure covers the widest node.",
        )
        model_index = {model: i for i, model in enumerate(self._measure.models)}
        self._cards = [list(node.cards_milli) for node in ordered]
        self._states = [_loaded(self._measure, model_index[node.model], node) for node in ordered]
        groups: dict[NodeState, int] = {}
        grouped = [groups.setdefault(state, len(groups)) for state in self._states]
        self._group = np.array(grouped, dtype=np.int64)
        self._group_states = list(groups)
        self._changes = 0
        self._last_release = 0
        self._changed_at = np.zeros(len(ordered), dtype=np.int64)
        self._classes: dict[Need, _NeedClass] = {}

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
        """`choose` and `place` of all members, or None and nothing changed.

        A gang stays together where it can: as one need on one node, else by halves, so that
        eight members of one card take one node of eight cards rather than eight nodes.
        """
        if members == 1:
            only = self._best(need)
            if only is None:
                return None
            self.place(need, only)
            return (only,)
        spots: list[Spot] = []
        together = self._most_together(need, members)
        while len(spots) < members:
            together = min(together, members - len(spots))
            spot = self._best(need.times(together))
            if spot is not None:
                for member in _members(need, spot, together):
                    self.place(need, member)
                    spots.append(member)
            elif together > 1:
                together //= 2
            else:
                self._undo(need, spots)
                return None
        return tuple(spots)

    def _most_together(self, need: Need, members: int) -> int:
        if 0 < need.card_milli < CARD:
            return 1
        return max(1, min(members, self._widest // need.cards)) if need.cards else members

    def score(self, need: Need, node_id: str) -> int | None:
        """Growth of the measure if the need went to this node, or None if it does not fit."""
        value = int(self._refreshed(need).scores[self._index[node_id]])
        return None if value == NEVER else value

    def _undo(self, need: Need, spots: Sequence[Spot]) -> None:
        for spot in reversed(spots):
            self.release(need, spot)

    def _best(self, need: Need) -> Spot | None:
        if not self._ids:
            return None
        scores = self._refreshed(need).scores
        node = int(scores.argmin())
        if scores[node] == NEVER:
            return None
        return Spot(self._ids[node], self._best_cards(need, node))

    def _best_cards(self, need: Need, node: int) -> tuple[int, ...]:
        if not need.cards:
            return ()
        cards = self._cards[node]
        if need.card_milli == CARD:
            return tuple([i for i, milli in enumerate(cards) if milli == CARD][: need.cards])
        _, free = self._measure.best_after(self._states[node], need)
        return (cards.index(free),)

    # Scores

    def _refreshed(self, need: Need) -> _NeedClass:
        known = self._classes.get(need)
        if known is None:
            known = self._classes[need] = self._first_scores(need)
        elif known.seen < self._changes:
            self._rescore(known)
        return known

    def _first_scores(self, need: Need) -> _NeedClass:
        """Every group of untouched nodes once, then the touched nodes one by one."""
        models = None
        if need.models:
            named = enumerate(self._measure.models)
            models = frozenset(i for i, model in named if model in need.models)
        fresh = _NeedClass(need, models, self._group, 0)
        per_group = self._growths(fresh, self._group_states)
        fresh.scores = np.array(per_group, dtype=np.int64)[self._group]
        self._rescore(fresh)
        return fresh

    def _rescore(self, known: _NeedClass) -> None:
        """Looks again at the nodes that changed since this class last looked.

        A node that did not fit then fits now only if something was released since.
        """
        changed = self._changed_at > known.seen
        if known.seen >= self._last_release:
            changed &= known.scores != NEVER
        stale = changed.nonzero()[0]
        states = self._states
        growths = self._growths(known, [states[node] for node in stale.tolist()])
        known.scores[stale] = growths
        known.seen = self._changes

    def _growths(self, known: _NeedClass, states: Sequence[NodeState]) -> list[int]:
        """How much the measure grows if the need goes there; NEVER where it does not fit."""
        need, models = known.need, known.models
        card, whole = need.card_milli, need.cards if need.card_milli == CARD else 0
        cpu, memory, disk = need.cpu_milli, need.memory_mib, need.disk_mib
        best_after = self._measure.best_after
        growths: list[int] = []
        for state in states:
            model, has_cpu, has_memory, has_disk, has_whole, _, largest, _, _, value = state
            if (
                card > largest
                or cpu > has_cpu
                or whole > has_whole
                or memory > has_memory
                or disk > has_disk
                or (models is not None and model not in models)
            ):
                growths.append(NEVER)
            else:
                growths.append(best_after(state, need)[0] - value)
        return growths

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
        state = self._states[i]
        return PackNode(
            node_id,
            state.cpu_milli,
            state.memory_mib,
            state.disk_mib,
            tuple(self._cards[i]),
            self._measure.models[state.model],
        )

    def _move(self, need: Need, spot: Spot, sign: int) -> None:
        i = self._index[spot.node_id]
        old = self._states[i]
        cards = self._cards[i].copy()
        require(
            len(set(spot.cards)) == len(spot.cards) == need.cards,
            "CardCount",
            "A need takes as many different cards as it asks for.",
        )
        for card in spot.cards:
            require(0 <= card < len(cards), "CardExists", "The card is one of the node's.")
            cards[card] -= sign * need.card_milli
            require(0 <= cards[card] <= CARD, "CardRange", "A card has 0 to 1000 milli free.")
        cpu = old.cpu_milli - sign * need.cpu_milli
        memory = old.memory_mib - sign * need.memory_mib
        disk = old.disk_mib - sign * need.disk_mib
        require(
            cpu >= 0 and memory >= 0 and disk >= 0,
            "NodeCapacity",
            "A node is never over capacity.",
        )
        self._cards[i] = cards
        self._states[i] = self._measure.state(old.model, cpu, memory, disk, cards)
        self._changes += 1
        self._changed_at[i] = self._changes
        if sign < 0:
            self._last_release = self._changes


def _members(need: Need, spot: Spot, count: int) -> list[Spot]:
    """The cards of a joint spot dealt out to its members."""
    deal = [spot.cards[i * need.cards : (i + 1) * need.cards] for i in range(count)]
    return [Spot(spot.node_id, cards) for cards in deal]


def _loaded(measure: Measure, model: int, node: PackNode) -> NodeState:
    for milli in node.cards_milli:
        require(0 <= milli <= CARD, "CardRange", "A card has 0 to 1000 milli free.")
    cards = node.cards_milli
    return measure.state(model, node.cpu_milli, node.memory_mib, node.disk_mib, cards)


__all__ = ["DemandMix", "Measure", "Need", "NodePacker", "PackNode", "Spot"]
