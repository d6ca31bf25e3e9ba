"""How much accelerator capacity a node state will leave idle, as integer tables looked up at speed.

The yardstick of node choice: the milli-accelerators of a node that the usual mix of demands will
never use, in millionths (`UNIT`). Placing a demand changes the measure; the node where it grows
least is taken. docs/mechanisms/packing.md derives the three terms.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from suanwang.engines.scheduling.packing_model import CARD, DemandMix, Need

IntArray = npt.NDArray[np.int64]

UNIT = 1_000_000
"""Steps of the measure per milli-accelerator."""
MIX_TOTAL = 1_000_000
"""Weights of the mix are brought to this total, so that integer arithmetic keeps six digits."""
CLOSING = MIX_TOTAL // 100
"""Weight of 'nobody comes any more': a card is offered to a hundred demands on average."""
MAX_LEVELS = 64
"""CPU thresholds that the tables tell apart; a longer mix is thinned evenly."""


def _normalised(mix: DemandMix) -> list[tuple[Need, int]]:
    total = sum(weight for _, weight in mix.classes)
    scaled = [(need, weight * MIX_TOTAL // total) for need, weight in mix.classes]
    return [(need, weight) for need, weight in scaled if weight > 0]


def _thinned(levels: list[int]) -> list[int]:
    if len(levels) <= MAX_LEVELS:
        return levels
    return [levels[i * len(levels) // MAX_LEVELS] for i in range(MAX_LEVELS)]


class Measure:
    """Tables for one mix and the accelerator models present (`models`, sorted).

    A table row is a pair (model, CPU level): `row(model, cpu)`. `card[row, r]` is what a card
    with r milli free will leave idle; `whole[row, n]` what n wholly free cards on one node are
    worth to demands for several (negative). Both in UNIT per milli.
    """

    def __init__(self, mix: DemandMix, models: tuple[str, ...], max_cards: int) -> None:
        needs = _normalised(mix)
        with_cards = [(need, weight) for need, weight in needs if need.cards]
        self.models = models
        self.levels: IntArray = np.array(
            _thinned(sorted({need.cpu_milli for need, _ in with_cards})), dtype=np.int64
        )
        self.rows_per_model = len(self.levels) + 1
        self.card = self._card_table([(n, w) for n, w in with_cards if n.cards == 1])
        self.whole = self._whole_table([(n, w) for n, w in with_cards if n.cards > 1], max_cards)
        self.has_gangs_of_cards = bool(self.whole.any())
        asked = sum(n.accelerator_milli * w for n, w in with_cards)
        self.cpu_worth = _worth(asked, sum(n.cpu_milli * w for n, w in with_cards))
        """UNITs of accelerator that one milli-core keeps usable in the mix."""
        self.bare_levels, self.bare_missing = self._bare_table(needs)

    def _admits(self, need: Need) -> npt.NDArray[np.bool_]:
        """(model, level) pairs on which the need may run, as a matrix."""
        model_ok = np.array([not need.models or m in need.models for m in self.models], dtype=bool)
        level_ok = np.zeros(self.rows_per_model, dtype=bool)
        level_ok[int(np.searchsorted(self.levels, need.cpu_milli)) + 1 :] = True
        return np.logical_and.outer(model_ok, level_ok)

    def _card_table(self, single: list[tuple[Need, int]]) -> npt.NDArray[np.int32]:
        """idle(r) = (closing·r + Σ w·idle(r - m)) / (closing + Σ w) over the demands that fit."""
        shape = (len(self.models), self.rows_per_model)
        sizes = sorted({need.card_milli for need, _ in single})
        weights = np.zeros((*shape, len(sizes)), dtype=np.int64)
        for need, weight in single:
            weights[:, :, sizes.index(need.card_milli)] += weight * self._admits(need)
        idle = np.empty((*shape, CARD + 1), dtype=np.int64)
        idle[:] = np.arange(CARD + 1) * UNIT
        reached = np.cumsum(weights, axis=2) + CLOSING
        for free in range(sizes[0] if sizes else CARD + 1, CARD + 1):
            fitting = sum(1 for size in sizes if size <= free)
            rest = idle[:, :, [free - size for size in sizes[:fitting]]]
            total = (weights[:, :, :fitting] * rest).sum(axis=2) + CLOSING * UNIT * free
            idle[:, :, free] = total // reached[:, :, fitting - 1]
        return idle.reshape(-1, CARD + 1).astype(np.int32)

    def _whole_table(self, several: list[tuple[Need, int]], max_cards: int) -> IntArray:
        """Minus the whole free cards, times the share of the mix that can use them together."""
        worth = np.zeros((len(self.models), self.rows_per_model, max_cards + 1), dtype=np.int64)
        for need, weight in several:
            free = np.arange(max_cards + 1)
            gain = np.where(free >= need.cards, free * CARD, 0) * (weight * UNIT // MIX_TOTAL)
            worth -= self._admits(need)[:, :, None] * gain[None, None, :]
        return worth.reshape(-1, max_cards + 1)

    def _bare_table(self, needs: list[tuple[Need, int]]) -> tuple[IntArray, IntArray]:
        """For nodes without cards: the share of CPU demands that a given free CPU cannot take."""
        plain = [(need, weight) for need, weight in needs if not need.cards and need.cpu_milli]
        levels = _thinned(sorted({need.cpu_milli for need, _ in plain}))
        total = sum(weight for _, weight in plain)
        missing = [
            sum(w for n, w in plain if n.cpu_milli > level) * UNIT // total for level in levels
        ]
        return (
            np.array(levels, dtype=np.int64),
            np.array([UNIT if total else 0, *missing], dtype=np.int64),
        )

    def rows(self, model: IntArray, cpu_milli: IntArray) -> IntArray:
        level: IntArray = np.searchsorted(self.levels, cpu_milli, side="right")
        return model * self.rows_per_model + level

    def stranded(self, accelerator_milli: IntArray, cpu_milli: IntArray) -> IntArray:
        """Free accelerators beyond what the free CPU can feed at the mix's usual ratio."""
        out: IntArray = np.maximum(accelerator_milli * UNIT - cpu_milli * self.cpu_worth, 0)
        return out

    def bare(self, cpu_milli: IntArray) -> IntArray:
        """Fragmentation of a node without cards, brought to accelerators by the usual ratio."""
        level = np.searchsorted(self.bare_levels, cpu_milli, side="right")
        out: IntArray = cpu_milli * self.bare_missing[level] // CARD
        return out


def _worth(accelerator_milli: int, cpu_milli: int) -> int:
    """Without CPU in the mix nothing is stranded by it: a milli-core keeps everything usable."""
    return accelerator_milli * UNIT // cpu_milli if cpu_milli else UNIT * CARD * CARD
