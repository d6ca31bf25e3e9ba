"""When room comes free again: what leaves which node, by declared ends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from suanwang.engines.scheduling.arithmetic import Ints

_NONE: Ints = np.zeros(0, dtype=np.int64)


class Releases:
    """When members leave their nodes, by declared ends. Columns are built when first asked for."""

    def __init__(self, size: int, width: int) -> None:
        self._shape = (size, width)
        self._first: tuple[Ints, Ints, Ints] = (_NONE, _NONE, np.zeros((0, width), np.int64))
        self._noted: list[tuple[int, Ints, Ints]] = []
        self._columns: tuple[Ints, Ints, Ints] | None = None
        self._timeline: Timeline | None = None

    def start_with(self, ends_ms: Ints, nodes: Ints, amounts: Ints) -> None:
        self._first = (ends_ms, nodes, amounts)

    def add(self, ends_ms: Ints, nodes: Ints, amounts: Ints) -> None:
        first = zip(self._first, (ends_ms, nodes, amounts), strict=True)
        known, where, what = (np.concatenate(pair) for pair in first)
        self._first = (known, where, what)
        self._columns = self._timeline = None

    def note(self, at_ms: int, nodes: Ints, amounts: Ints) -> None:
        """`amounts[i]` leaves `nodes[i]` then."""
        self._noted.append((at_ms, nodes, amounts))
        self._columns = self._timeline = None

    def until(self, at_ms: int) -> Ints:
        """[node] what has left by then."""
        ends, nodes, amounts = self._sorted()
        stop = int(np.searchsorted(ends, at_ms, side="right"))
        out = np.zeros(self._shape, dtype=np.int64)
        np.add.at(out, nodes[:stop], amounts[:stop])
        return out

    def timeline(self) -> Timeline:
        if self._timeline is None:
            ends, nodes, amounts = self._sorted()
            by_node = nodes.argsort(kind="stable")
            ends, nodes = ends[by_node], nodes[by_node]
            begins = np.ones(len(nodes), dtype=bool)
            begins[1:] = nodes[1:] != nodes[:-1]
            first = begins.nonzero()[0]
            left = amounts[by_node].cumsum(axis=0)
            before = np.zeros((len(first), self._shape[1]), dtype=np.int64)
            before[1:] = left[first[1:] - 1]
            left -= before[begins.cumsum() - 1]
            by_time = ends.argsort(kind="stable")
            self._timeline = Timeline(nodes, left, first, by_time, ends[by_time])
        return self._timeline

    def _sorted(self) -> tuple[Ints, Ints, Ints]:
        """By end: (end, node, amount)."""
        if self._columns is None:
            ends, nodes, amounts = self._first
            if self._noted:
                late, where, what = zip(*self._noted, strict=True)
                ends = np.concatenate((ends, np.repeat(late, [len(n) for n in where])))
                nodes, amounts = np.concatenate((nodes, *where)), np.concatenate((amounts, *what))
            order = ends.argsort(kind="stable")
            self._first = (ends, nodes, amounts)
            self._noted = []
            self._columns = (ends[order], nodes[order], amounts[order])
        return self._columns


@dataclass(frozen=True, slots=True)
class Timeline:
    """Releases node by node, each with what has left the node by then."""

    nodes: Ints
    left: Ints
    first: NDArray[np.intp]
    """Where each node's releases begin."""
    by_time: NDArray[np.intp]
    ends_ms: Ints
    """In order of time."""
