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

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from suanwang.engines.scheduling.packing_measure import IntArray, Measure, NodeState
from suanwang.engines.scheduling.packing_model import CARD, DemandMix, Need, PackNode, Spot
from suanwang.kernel.errors import require

NEVER = 1 << 62
"""Score of a node that cannot take the need."""


@dataclass(slots=True)
class _NeedClass:
    """Scores of one need on all nodes, right up to `seen` in the log of changes."""

    need: Need
    models: frozenset[int] | None
    scores: IntArray
    seen: int


class NodePacker:
    """Mutable book of free capacity, with a node choice that leaves the least unusable."""

    def __init__(self, nodes: Sequence[PackNode], mix: DemandMix) -> None:
        ordered = sorted(nodes, key=lambda node: node.node_id)
        self._ids = [node.node_id for node in ordered]
        self._index = {node_id: i for i, node_id in enumerate(self._ids)}
        require(len(self._index) == len(ordered), "NodeIdsUnique", "Node ids are unique.")
        models = tuple(sorted({node.model for node in ordered}))
        model_index = {model: i for i, model in enumerate(models)}
        widest = max((len(node.cards_milli) for node in ordered), default=0)
        self._measure = Measure(mix, models, widest)
        self._cards = [list(node.cards_milli) for node in ordered]
        self._states = [_state(model_index[node.model], node) for node in ordered]
        groups: dict[NodeState, int] = {}
        grouped = [groups.setdefault(state, len(groups)) for state in self._states]
        self._group = np.array(grouped, dtype=np.int64)
        self._group_states = list(groups)
        values = [self._measure.value(state) for state in self._group_states]
        self._values = [values[group] for group in grouped]
        self._log: list[int] = []
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
        elif known.seen < len(self._log):
            self._rescore(known, dict.fromkeys(self._log[known.seen :]))
            known.seen = len(self._log)
        return known

    def _first_scores(self, need: Need) -> _NeedClass:
        """Every group of untouched nodes once, then the touched nodes one by one."""
        models = None
        if need.models:
            named = enumerate(self._measure.models)
            models = frozenset(i for i, model in named if model in need.models)
        per_group = np.empty(len(self._group_states), dtype=np.int64)
        fresh = _NeedClass(need, models, per_group, len(self._log))
        for i, state in enumerate(self._group_states):
            per_group[i] = self._growth(fresh, state, self._measure.value(state))
        fresh.scores = per_group[self._group]
        self._rescore(fresh, dict.fromkeys(self._log))
        return fresh

    def _rescore(self, known: _NeedClass, nodes: Iterable[int]) -> None:
        scores, states, values = known.scores, self._states, self._values
        for node in nodes:
            scores[node] = self._growth(known, states[node], values[node])

    def _growth(self, known: _NeedClass, state: NodeState, value: int) -> int:
        need = known.need
        if (
            need.card_milli > state.largest
            or need.cpu_milli > state.cpu_milli
            or need.memory_mib > state.memory_mib
            or need.disk_mib > state.disk_mib
            or (need.card_milli == CARD and need.cards > state.whole)
            or (known.models is not None and state.model not in known.models)
        ):
            return NEVER
        return self._measure.best_after(state, need)[0] - value

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
        state = _cards_state(old.model, cpu, memory, disk, cards)
        self._cards[i] = cards
        self._states[i] = state
        self._values[i] = self._measure.value(state)
        self._log.append(i)


def _state(model: int, node: PackNode) -> NodeState:
    for milli in node.cards_milli:
        require(0 <= milli <= CARD, "CardRange", "A card has 0 to 1000 milli free.")
    return _cards_state(model, node.cpu_milli, node.memory_mib, node.disk_mib, node.cards_milli)


def _cards_state(model: int, cpu: int, memory: int, disk: int, cards: Sequence[int]) -> NodeState:
    parts = tuple([milli for milli in cards if 0 < milli < CARD])
    whole = cards.count(CARD)
    largest = CARD if whole else max(parts, default=0)
    total = whole * CARD + sum(parts)
    return NodeState(model, cpu, memory, disk, whole, parts, largest, total, len(cards))


__all__ = ["DemandMix", "Need", "NodePacker", "PackNode", "Spot"]
