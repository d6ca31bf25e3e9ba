"""Peers of bench/packing.py: FGD, best fit and random, written for the comparison only.

FGD after its paper ("Beware of Fragmentation", USENIX ATC'23): a node's fragmentation is the free
GPU that the typical pods (the most frequent 95 %) cannot use, weighted by their frequency; a pod
goes where it grows least, through a sigmoid in whole per cents, ties to the smallest name.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from suanwang.engines.scheduling.packing import Need, PackNode

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

CARDS = 8
CARD = 1000
TYPICAL = 0.95


class Cluster:
    """Free resources as arrays, nodes by name."""

    def __init__(self, nodes: Sequence[PackNode]) -> None:
        ordered = sorted(nodes, key=lambda node: node.node_id)
        self.names = [node.model for node in ordered]
        self.models = sorted(set(self.names))
        self.model: Ints = np.array([self.models.index(name) for name in self.names])
        self.cpu: Ints = np.array([node.cpu_milli for node in ordered])
        self.memory: Ints = np.array([node.memory_mib for node in ordered])
        self.cards: Ints = np.zeros((len(ordered), CARDS), dtype=np.int64)
        for i, node in enumerate(ordered):
            self.cards[i, : len(node.cards_milli)] = node.cards_milli
        self.whole: Ints = (self.cards == CARD).sum(axis=1)
        self.largest: Ints = self.cards.max(axis=1)

    def admits(self, need: Need) -> Bools:
        return np.array([not need.models or model in need.models for model in self.models])

    def fits(self, need: Need, at: Ints) -> Bools:
        ok: Bools = (self.cpu[at] >= need.cpu_milli) & (self.memory[at] >= need.memory_mib)
        if need.card_milli == CARD:
            ok &= self.whole[at] >= need.cards
        elif need.cards:
            ok &= self.largest[at] >= need.card_milli
        if need.models:
            ok &= self.admits(need)[self.model[at]]
        return ok

    def place(self, need: Need, node: int, card: int) -> None:
        self.cpu[node] -= need.cpu_milli
        self.memory[node] -= need.memory_mib
        if need.card_milli == CARD:
            self.cards[node, np.flatnonzero(self.cards[node] == CARD)[: need.cards]] = 0
        elif need.cards:
            self.cards[node, card] -= need.card_milli
        self.whole[node] = int((self.cards[node] == CARD).sum())
        self.largest[node] = int(self.cards[node].max())

    def fullest_card(self, need: Need, node: int) -> int:
        free = self.cards[node]
        return int(np.where(free >= need.card_milli, free, CARD + 1).argmin())


class RandomPeer:
    def __init__(self, nodes: Sequence[PackNode], _: Sequence[Need], seed: int) -> None:
        self._cluster = Cluster(nodes)
        self._all = np.arange(len(nodes))
        self._rng = random.Random(seed)

    def __call__(self, need: Need) -> bool:
        fitting = np.flatnonzero(self._cluster.fits(need, self._all))
        if not len(fitting):
            return False
        node = int(fitting[self._rng.randrange(len(fitting))])
        self._cluster.place(need, node, self._cluster.fullest_card(need, node))
        return True


class BestFitPeer:
    def __init__(self, nodes: Sequence[PackNode], _: Sequence[Need], __: int) -> None:
        self._cluster = Cluster(nodes)
        self._all = np.arange(len(nodes))

    def __call__(self, need: Need) -> bool:
        cluster = self._cluster
        fits = cluster.fits(need, self._all)
        if not fits.any():
            return False
        cpu_left = cluster.cpu - need.cpu_milli
        gpu_left = cluster.cards.sum(axis=1) - need.accelerator_milli
        tight = (100 * (1 - 0.5 * cpu_left / 128_000 - 0.5 * gpu_left / 8_000)).astype(np.int64)
        node = int(np.where(fits, tight, -1).argmax())
        cluster.place(need, node, cluster.fullest_card(need, node))
        return True


class FgdPeer:
    """Scores are kept by pod class and renewed where a node has changed, as a fair courtesy."""

    def __init__(self, nodes: Sequence[PackNode], pods: Sequence[Need], _: int) -> None:
        self._cluster = Cluster(nodes)
        self._kept: dict[Need, tuple[Ints, Ints, int]] = {}
        self._log: list[int] = []
        kinds = Counter((n.cpu_milli, n.cards, n.card_milli, n.models) for n in pods)
        typical: list[tuple[Need, int]] = []
        covered = 0
        for (cpu, cards, milli, models), count in sorted(
            kinds.items(), key=lambda item: (-item[1], item[0])
        ):
            if covered >= TYPICAL * len(pods):
                break
            typical.append((Need(cpu, 0, 0, cards, milli, models), count))
            covered += count
        self._cpu = np.array([need.cpu_milli for need, _ in typical])
        self._number = np.array([need.cards for need, _ in typical])
        self._milli = np.array([need.card_milli for need, _ in typical])
        self._share = np.array([count / covered for _, count in typical])
        self._admits = np.array([self._cluster.admits(need) for need, _ in typical])

    def __call__(self, need: Need) -> bool:
        cluster = self._cluster
        scores, cards, seen = self._kept.get(need) or (
            np.full(len(cluster.cpu), -1),
            np.zeros(len(cluster.cpu), dtype=np.int64),
            -1,
        )
        stale = np.unique(self._log[seen:]) if seen >= 0 else np.arange(len(cluster.cpu))
        if len(stale):
            stale = stale.astype(np.int64)
            scores[stale] = -1
            at = stale[cluster.fits(need, stale)]
            if len(at):
                scores[at], cards[at] = self._score(need, at)
        self._kept[need] = (scores, cards, len(self._log))
        node = int(scores.argmax())
        if scores[node] < 0:
            return False
        cluster.place(need, node, int(cards[node]))
        self._log.append(node)
        return True

    def _score(self, need: Need, at: Ints) -> tuple[Ints, Ints]:
        cluster = self._cluster
        cpu, model, cards = cluster.cpu[at] - need.cpu_milli, cluster.model[at], cluster.cards[at]
        before = self._fragmented(cluster.cpu[at], model, cards)
        if 0 < need.card_milli < CARD:
            after = np.repeat(cards[:, None, :], CARDS, axis=1)
            each = np.arange(CARDS)
            after[:, each, each] -= need.card_milli
            flat = self._fragmented(
                np.repeat(cpu, CARDS), np.repeat(model, CARDS), after.reshape(-1, CARDS)
            ).reshape(-1, CARDS)
            scores = _percent(before[:, None] - flat)
            scores[cards < need.card_milli] = -1
            return scores.max(axis=1), scores.argmax(axis=1)
        left = cards.copy()
        if need.cards:
            full = (left == CARD).cumsum(axis=1)
            left[(left == CARD) & (full <= need.cards)] = 0
        return _percent(before - self._fragmented(cpu, model, left)), np.zeros_like(at)

    def _fragmented(self, cpu: Ints, model: Ints, cards: Ints) -> Floats:
        usable_cards = np.where(
            cards[:, None, :] >= np.maximum(self._milli, 1)[None, :, None], cards[:, None, :], 0
        )
        whole = (cards == CARD).sum(axis=1)
        runs = (self._cpu <= cpu[:, None]) & self._admits[:, model].T & (self._number > 0)
        runs &= (self._number <= 1) | (whole[:, None] >= self._number)
        usable = np.where(runs, usable_cards.sum(axis=2), 0)
        out: Floats = cards.sum(axis=1) - usable @ self._share
        return out


def _percent(gain: Floats) -> Ints:
    out: Ints = (100 / (1 + np.exp(-gain / 1000))).astype(np.int64)
    return out
