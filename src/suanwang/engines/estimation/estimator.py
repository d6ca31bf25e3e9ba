"""The run-time estimator: similarity gives the distribution, conformal control the interval."""

from __future__ import annotations

import msgspec
import numpy as np

from suanwang.engines.estimation.conformal import AdaptiveLevel
from suanwang.engines.estimation.histogram import centre_s, lower_edge_s, upper_edge_s
from suanwang.engines.estimation.model import Estimate, JobFacts
from suanwang.engines.estimation.similarity import History, SimilarityMemory
from suanwang.kernel.errors import InvalidInput

STATE_VERSION = 1
DEFAULT_CAPACITY = 20_000
STEP = 0.003
"""Of the adaptive level: a few hundred finished jobs move the interval noticeably."""


class _HistoryState(msgspec.Struct, array_like=True, frozen=True):
    key: str
    unit: float
    total: float
    weights: dict[int, float]
    bursts: dict[int, int]


class _State(msgspec.Struct, array_like=True, frozen=True):
    version: int
    confidence_percent: int
    capacity: int
    level: float
    histories: list[_HistoryState]


class Estimator:
    """Learns from finished jobs in the order in which they finish; deterministic."""

    def __init__(self, confidence_percent: int = 90, capacity: int = DEFAULT_CAPACITY) -> None:
        self.confidence_percent = confidence_percent
        self._memory = SimilarityMemory(capacity)
        self._level = AdaptiveLevel(1 - confidence_percent / 100, STEP)

    def estimate(self, facts: JobFacts) -> Estimate:
        mixture = self._memory.mixture(facts)
        level = max(0.0, self._level.current)
        reached = mixture.weights.cumsum()
        # The tiny slack keeps rounding of the sum from pushing a quantile one bin up
        wanted = np.array([level / 2, 0.5, 1 - level / 2]) * reached[-1] - 1e-12
        low, median, high = reached.searchsorted(wanted).tolist()
        low_s = lower_edge_s(low) if level > 0 else 0
        median_s, high_s = centre_s(median), upper_edge_s(high)
        if facts.declared_limit_s is not None and facts.limit_enforced:
            limit = max(0, facts.declared_limit_s)
            if level <= 0:
                high_s = limit
            low_s, median_s, high_s = min(low_s, limit), min(median_s, limit), min(high_s, limit)
        return Estimate(
            median_s,
            low_s,
            high_s,
            self.confidence_percent,
            mixture.basis,
            round(mixture.evidence),
        )

    def observe(self, facts: JobFacts, runtime_s: int, said: Estimate | None = None) -> None:
        """Learn a finished job. `said` is the estimate given for it; without it, no calibration."""
        runtime_s = max(0, runtime_s)
        if said is not None:
            missed = not said.low_s <= runtime_s <= said.high_s
            self._level.record(missed=missed)
        self._memory.add(facts, runtime_s)

    def to_bytes(self) -> bytes:
        state = _State(
            STATE_VERSION,
            self.confidence_percent,
            self._memory.capacity,
            self._level.current,
            [_dump(key, history) for key, history in self._memory.histories.items()],
        )
        return msgspec.msgpack.encode(state)

    @classmethod
    def from_bytes(cls, data: bytes) -> Estimator:
        try:
            state = msgspec.msgpack.decode(data, type=_State)
        except msgspec.DecodeError as error:
            raise _unreadable(str(error)) from error
        if state.version != STATE_VERSION:
            raise _unreadable(f"version {state.version}, expected {STATE_VERSION}")
        estimator = cls(state.confidence_percent, state.capacity)
        estimator._level.current = state.level
        for dumped in state.histories:
            estimator._memory.histories[dumped.key] = _load(dumped)
        return estimator


def _dump(key: str, history: History) -> _HistoryState:
    filled = {int(i): float(history.weights[i]) for i in history.weights.nonzero()[0]}
    return _HistoryState(key, history.unit, history.total, filled, dict(history.bursts))


def _load(dumped: _HistoryState) -> History:
    history = History()
    history.unit, history.total = dumped.unit, dumped.total
    for index, weight in dumped.weights.items():
        history.weights[index] = weight
    history.bursts = dict(dumped.bursts)
    return history


def _unreadable(why: str) -> InvalidInput:
    return InvalidInput(
        "UnreadableEstimatorState",
        f"The saved state of the estimator cannot be read: {why}.",
        hint="Start an empty estimator and replay the finished jobs.",
    )
