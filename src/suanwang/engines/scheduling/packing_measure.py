"""How much accelerator capacity a node will leave idle: integer tables, looked up at speed.

The yardstick of node choice, in millionths (`UNIT`) of a milli-accelerator. Placing a demand
changes the measure; the node where it grows least is taken. Its three terms (what the usual mix
cannot fill of each card, what demands for several cards lose, what the free CPU and memory
cannot feed) are derived in docs/mechanisms/packing.md.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from math import gcd
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from suanwang.engines.scheduling.packing_model import CARD, DemandMix, Need, PackNode

IntArray = npt.NDArray[np.int64]

UNIT = 1_000_000
"""Steps of the measure per milli-accelerator."""
MIX_TOTAL = 1_000_000
"""Weights are brought to this total: int64 sums stay exact and keep six digits."""
OFFERS = 40
"""Demands for a share that a card is offered to, on average, before its rest stays idle."""
STAGES = 4
"""Closing takes so many stages, which narrows the spread of the offers around their mean."""
KEPT_PERCENT = 30
"""How much of the claim that picky demands have on a model is held against others."""
MAX_LEVELS = 64
"""CPU thresholds that the tables tell apart; a longer mix is thinned evenly."""

WeightedNeeds = list[tuple[Need, int]]


class NodeState(NamedTuple):
    """Free resources of a node and their measure. `parts` are the cards partly free, in milli."""

    model: int
    cpu_milli: int
    memory_mib: int
    disk_mib: int
    whole: int
    parts: tuple[int, ...]
    largest: int
    total: int
    cards: int
    value: int


def _thinned(levels: list[int]) -> list[int]:
    if len(levels) <= MAX_LEVELS:
        return levels
    return [levels[i * len(levels) // MAX_LEVELS] for i in range(MAX_LEVELS)]


def _scaled(needs: WeightedNeeds) -> WeightedNeeds:
    total = sum(weight for _, weight in needs)
    scaled = [(need, weight * MIX_TOTAL // total) for need, weight in needs]
    return [(need, weight) for need, weight in scaled if weight > 0]


def _of_one(needs: WeightedNeeds) -> WeightedNeeds:
    return [(need, weight) for need, weight in needs if need.cards == 1]


class Measure:
    """The measure for one mix, on nodes with so many cards of each model (`cards_of`).

    A demand that needs more CPU than a node has free cannot use its cards, therefore there is a
    table row for each (model, CPU level); equal rows are one object.
    """

    def __init__(self, mix: DemandMix, cards_of: Mapping[str, int], max_cards: int) -> None:
        self.models = tuple(sorted(cards_of))
        self.max_cards = max_cards
        self._cards_of = cards_of
        with_cards = [(need, weight) for need, weight in mix.classes if need.cards]
        plain = [(n, w) for n, w in mix.classes if not n.cards and n.cpu_milli]
        cards = sum(need.accelerator_milli * weight for need, weight in with_cards)
        claims = [(need, self._claim(need, weight, cards)) for need, weight in with_cards]
        self._levels = _thinned(sorted({need.cpu_milli for need, _ in with_cards}))
        self._idle = self._idle_rows(_of_one(with_cards), _of_one(claims))
        self._together = self._together_rows(_scaled(with_cards), claims, max_cards)
        self._cpu_feeds = _feeds(cards, sum(n.cpu_milli * w for n, w in with_cards))
        self._memory_feeds = _feeds(cards, sum(n.memory_mib * w for n, w in with_cards))
        self._disk_feeds = _feeds(cards, sum(n.disk_mib * w for n, w in with_cards))
        self._plain_levels = _thinned(sorted({need.cpu_milli for need, _ in plain}))
        self._plain_refused = self._refused(plain)
        self._plain_worth = self._cpu_feeds or UNIT

    @classmethod
    def of(cls, nodes: Sequence[PackNode], mix: DemandMix) -> Measure:
        """Of nodes that may belong to many pools: one measure serves the packers of all."""
        cards_of = dict.fromkeys([node.model for node in nodes], 0)
        for node in nodes:
            cards_of[node.model] += len(node.cards_milli)
        return cls(mix, cards_of, max((len(node.cards_milli) for node in nodes), default=0))

    def _admits(self, need: Need) -> npt.NDArray[np.bool_]:
        """Where the need may run, as a matrix over (model, CPU level)."""
        model_ok = np.array([not need.models or m in need.models for m in self.models], dtype=bool)
        floor = [0, *self._levels]
        level_ok = np.array([i > 0 and need.cpu_milli <= c for i, c in enumerate(floor)])
        admitted: npt.NDArray[np.bool_] = model_ok[:, None] & level_ok[None, :]
        return admitted

    def _claim(self, need: Need, weight: int, asked: int) -> int:
        """UNITs of each card of the models it names that a picky need would take at full load.

        Its share of the cards asked for, over the share of the cards that it can use.
        """
        every = sum(self._cards_of.values())
        usable = sum(self._cards_of.get(model, 0) for model in need.models)
        if not 0 < usable < every:
            return 0
        mine = need.accelerator_milli * weight * every * UNIT
        return mine * KEPT_PERCENT // (100 * asked * usable)

    def _idle_rows(self, single: WeightedNeeds, claims: WeightedNeeds) -> list[list[list[int]]]:
        """Per model and CPU level: milli free on a card → what of it will stay idle, less what
        it is worth to picky demands."""
        needs = _scaled(single)
        sizes = sorted({need.card_milli for need, _ in single})
        weights = self._by_size(needs, sizes)
        both = np.concatenate([weights, self._by_size(claims, sizes)], axis=2)
        flat = both.reshape(both.shape[0] * both.shape[1], 2 * len(sizes))
        distinct, which = np.unique(flat, axis=0, return_inverse=True)
        shares = sum(weight for need, weight in needs if need.card_milli < CARD) or MIX_TOTAL
        closing = max(1, shares * STAGES // OFFERS)
        idle = idle_by_free(distinct[:, : len(sizes)], sizes, closing)
        free = np.arange(CARD + 1)
        for i, size in enumerate(sizes):
            idle -= distinct[:, len(sizes) + i, None] * np.where(free >= size, free, 0)
        rows: list[list[int]] = idle.tolist()
        models, levels = both.shape[:2]
        return [[rows[which.flat[m * levels + at]] for at in range(levels)] for m in range(models)]

    def _by_size(self, needs: WeightedNeeds, sizes: list[int]) -> IntArray:
        """[model, CPU level, size] the weight of the needs of that size that may run there."""
        out = np.zeros((len(self.models), len(self._levels) + 1, len(sizes)), dtype=np.int64)
        for need, weight in needs:
            out[:, :, sizes.index(need.card_milli)] += weight * self._admits(need)
        return out

    def _together_rows(
        self, needs: WeightedNeeds, claims: WeightedNeeds, max_cards: int
    ) -> list[list[list[int]]]:
        """Per model and CPU level: whole free cards of a node → minus their use to demands for
        several: those cards, times the share of the mix that can take them together (and what
        picky ones among them claim)."""
        shape = (len(self.models), len(self._levels) + 1, max_cards + 1)
        together = np.zeros(shape, dtype=np.int64)
        free = np.arange(max_cards + 1)
        per_milli = [(need, weight * UNIT // MIX_TOTAL) for need, weight in needs]
        for need, worth in per_milli + claims:
            if need.cards > 1:
                usable = np.where(free >= need.cards, free * CARD, 0)
                together -= self._admits(need)[:, :, None] * (usable * worth)
        rows: list[list[list[int]]] = together.tolist()
        return rows

    def _refused(self, plain: WeightedNeeds) -> list[int]:
        """Per level of free CPU: the share of demands without cards that it cannot take."""
        total = sum(weight for _, weight in plain)
        floors = [-1, *self._plain_levels]
        return [
            sum(w for n, w in plain if n.cpu_milli > floor) * UNIT // max(total, 1)
            for floor in floors
        ]

    def state(
        self, model: int, cpu: int, memory: int, disk: int, cards: Sequence[int]
    ) -> NodeState:
        """The state of a node with these free resources, the cards given one by one."""
        parts = tuple([milli for milli in cards if 0 < milli < CARD])
        whole = cards.count(CARD)
        largest = CARD if whole else max(parts, default=0)
        total = whole * CARD + sum(parts)
        if cards:
            level = bisect_right(self._levels, cpu)
            idle = self._idle[model][level]
            value = whole * idle[CARD] + self._together[model][level][whole]
            for part in parts:
                value += idle[part]
            value += self._stranded(total, cpu, memory, disk)
        else:
            value = self._plain_value(cpu)
        return NodeState(model, cpu, memory, disk, whole, parts, largest, total, len(cards), value)

    def best_after(self, state: NodeState, need: Need) -> tuple[int, int]:
        """The value once a fitting need is placed, and the free milli of the card it takes.

        A share goes to the card where the measure grows least, ties to the fuller card.
        """
        model, cpu, memory, disk, whole, parts, _, total, cards, _ = state
        cpu -= need.cpu_milli
        if not cards:
            return self._plain_value(cpu), 0
        level = bisect_right(self._levels, cpu)
        idle = self._idle[model][level]
        together = self._together[model][level]
        milli = need.card_milli
        value, card = 0, milli
        if milli == CARD:
            whole -= need.cards
        elif milli:
            value, card = self._best_card(idle, together, whole, parts, milli)
        value += whole * idle[CARD] + together[whole]
        for part in parts:
            value += idle[part]
        total -= need.cards * milli
        value += self._stranded(total, cpu, memory - need.memory_mib, disk - need.disk_mib)
        return value, card

    def _best_card(
        self, idle: list[int], together: list[int], whole: int, parts: tuple[int, ...], milli: int
    ) -> tuple[int, int]:
        growth, card = 0, 0
        if whole:
            growth = idle[CARD - milli] - idle[CARD] + together[whole - 1] - together[whole]
            card = CARD
        for part in parts:
            if part >= milli:
                grown = idle[part - milli] - idle[part]
                if not card or grown < growth or (grown == growth and part < card):
                    growth, card = grown, part
        return growth, card

    def _stranded(self, total: int, cpu: int, memory: int, disk: int) -> int:
        """Free accelerators beyond what the scarcest companion can feed at the usual ratio."""
        whole = fed = total * UNIT
        if self._cpu_feeds and cpu * self._cpu_feeds < fed:
            fed = cpu * self._cpu_feeds
        if self._memory_feeds and memory * self._memory_feeds < fed:
            fed = memory * self._memory_feeds
        if self._disk_feeds and disk * self._disk_feeds < fed:
            fed = disk * self._disk_feeds
        return whole - fed

    def _plain_value(self, cpu: int) -> int:
        """A node without cards: free CPU that demands cannot take, as accelerators by the ratio."""
        refused = self._plain_refused[bisect_right(self._plain_levels, cpu)]
        return cpu * refused * self._plain_worth // UNIT


def _feeds(accelerator_milli: int, companion: int) -> int:
    """UNITs of milli-accelerator that one unit of a companion keeps usable; 0 if nobody asks it."""
    return max(1, accelerator_milli * UNIT // companion) if companion else 0


def idle_by_free(weights: IntArray, sizes: list[int], closing: int) -> IntArray:
    """Expected idle milli (in UNITs) of a card with 0..1000 milli free, [weight row, free].

    A card meets demands of the given sizes with these weights until it closes:
    idle(r) = (closing · last(r) + Σ w·idle(r - m)) / (closing + Σ w), the sum over sizes m ≤ r,
    with `last` the previous stage's answer, at first r itself. Sizes are multiples of a step, so
    what lies between two multiples is idle for certain.
    """
    step = gcd(CARD, *sizes)
    counts = [size // step for size in sizes]
    steps = CARD // step
    sums = np.cumsum(weights, axis=1) + closing
    idle = np.tile(np.arange(steps + 1, dtype=np.int64) * (step * UNIT), (len(weights), 1))
    for _ in range(STAGES if sizes else 0):
        for free in range(counts[0], steps + 1):
            fitting = sum(count <= free for count in counts)
            rest = idle[:, [free - count for count in counts[:fitting]]]
            met = (weights[:, :fitting] * rest).sum(axis=1) + closing * idle[:, free]
            idle[:, free] = met // sums[:, fitting - 1]
    free_milli = np.arange(CARD + 1)
    every: IntArray = idle[:, free_milli // step] + free_milli % step * UNIT
    return every
