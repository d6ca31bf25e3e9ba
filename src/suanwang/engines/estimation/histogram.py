"""Run times on a logarithmic scale: four bins per doubling, from one second to about a year."""

from __future__ import annotations

from bisect import bisect_right
from functools import cache
from math import log1p

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float64]

BINS_PER_DOUBLING = 4
BIN_COUNT = 25 * BINS_PER_DOUBLING + 1
UNKNOWN_LIMIT_S = 7 * 86_400
"""Stands in for the limit of a job that declares none, and only while nothing has finished."""

_CENTRES: tuple[float, ...] = tuple(2.0 ** (k / BINS_PER_DOUBLING) for k in range(BIN_COUNT))
_EDGES: tuple[float, ...] = tuple(
    2.0 ** ((k + 0.5) / BINS_PER_DOUBLING) for k in range(BIN_COUNT - 1)
)


def bin_of(duration_s: float) -> int:
    """Anything below a second is in the first bin, anything above the scale in the last."""
    return bisect_right(_EDGES, duration_s)


def centre_s(index: int) -> int:
    return round(_CENTRES[index])


def lower_edge_s(index: int) -> int:
    return 0 if index == 0 else int(_EDGES[index - 1])


def upper_edge_s(index: int) -> int:
    if index >= BIN_COUNT - 1:
        return int(_CENTRES[-1] * 2)
    return int(_EDGES[index]) + 1


@cache
def limit_prior(limit_bin: int) -> Weights:
    """Guess before any history: P(run time ≤ x) = (log x / log limit)².

    Jobs end early far more often than late, and on a logarithmic scale; the square puts the
    median of a one-day limit near an hour.
    """
    top = log1p(_CENTRES[limit_bin])
    reached = [min(1.0, (log1p(edge) / top) ** 2) for edge in _EDGES[:limit_bin]] + [1.0]
    prior = np.zeros(BIN_COUNT)
    prior[: limit_bin + 1] = np.diff(np.array([0.0, *reached]))
    prior.setflags(write=False)
    return prior
