"""Calibrated waiting times: a point forecast corrected by how earlier forecasts turned out.

The planner's simulation (or, without one, the backlog divided by the capacity) says a number;
`Calibrator` learns from past (forecast, actual) pairs by how much such numbers are usually off and
answers a corrected median with an interval. It is generic over any forecast of a duration.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass
from math import ceil, exp, floor, log

import msgspec

from suanwang.engines.estimation.conformal import AdaptiveLevel
from suanwang.kernel.errors import InvalidInput

WINDOW = 400
"""Pairs remembered per group."""
ENOUGH_PAIRS = 40
"""Below this a group borrows the pairs of all groups."""
STEP = 0.01
OFFSET_S = 60
"""Errors are ratios of durations, each lengthened by this, so that a minute's error of a short
wait is no catastrophe."""
MARGIN_PER_LEVEL = 10.0
"""How fast (in log units) an interval grows past all remembered errors while the level is < 0."""
COLD_FACTOR = 8
COMMON = ""
STATE_VERSION = 1


@dataclass(frozen=True, slots=True)
class Interval:
    """low ≤ median ≤ high, in seconds. `evidence` = pairs behind it; 0 = the bare forecast."""

    median_s: int
    low_s: int
    high_s: int
    confidence_percent: int
    evidence: int


@dataclass(frozen=True, slots=True)
class WaitFacts:
    """A demand about to join a pool's queue; `forecast_s` is the planner's simulation, if any."""

    pool_id: str
    forecast_s: int | None = None
    ahead_cpu_milli_s: int = 0
    """Cores x expected remaining seconds of everything that runs or waits before it."""
    capacity_cpu_milli: int = 0
    fits_now: bool = False

    @property
    def point_s(self) -> int:
        if self.forecast_s is not None:
            return max(0, self.forecast_s)
        if self.fits_now or self.capacity_cpu_milli <= 0:
            return 0
        return self.ahead_cpu_milli_s // self.capacity_cpu_milli


class _State(msgspec.Struct, array_like=True, frozen=True):
    version: int
    confidence_percent: int
    groups: list[tuple[str, float, list[float]]]


class _Errors:
    """The latest errors of one group, in order of arrival and sorted, and its adaptive level."""

    __slots__ = ("arrived", "level", "ordered")

    def __init__(self, target: float) -> None:
        self.arrived: deque[float] = deque()
        self.ordered: list[float] = []
        self.level = AdaptiveLevel(target, STEP)

    def add(self, error: float) -> None:
        self.arrived.append(error)
        insort(self.ordered, error)
        if len(self.arrived) > WINDOW:
            del self.ordered[bisect_left(self.ordered, self.arrived.popleft())]

    def bounds(self) -> tuple[float, float, float]:
        """(low, median, high) error; the ranks of split conformal prediction on n + 1 values."""
        count = len(self.ordered)
        current = self.level.current
        tail = max(0.0, current) / 2
        low, high = floor((count + 1) * tail) - 1, ceil((count + 1) * (1 - tail)) - 1
        margin = max(0.0, -current) * MARGIN_PER_LEVEL
        return (
            self.ordered[max(0, low)] - margin,
            self.ordered[(count - 1) // 2],
            self.ordered[min(count - 1, high)] + margin,
        )


class Calibrator:
    """Online conformal wrapper of a point forecast of durations; groups adapt apart."""

    def __init__(self, confidence_percent: int = 90) -> None:
        self.confidence_percent = confidence_percent
        self._groups: dict[str, _Errors] = {}

    def predict(self, forecast_s: int, group: str = COMMON) -> Interval:
        errors = self._errors_for(group)
        base = max(0, forecast_s) + OFFSET_S
        if errors is None:
            low, median, high = base // COLD_FACTOR, base, base * COLD_FACTOR
            evidence = 0
        else:
            low, median, high = (floor(base * exp(min(30.0, e)) + 0.5) for e in errors.bounds())
            evidence = len(errors.ordered)
        return Interval(
            max(0, median - OFFSET_S),
            max(0, low - OFFSET_S),
            max(0, high - OFFSET_S),
            self.confidence_percent,
            evidence,
        )

    def observe(
        self, forecast_s: int, actual_s: int, said: Interval | None = None, group: str = COMMON
    ) -> None:
        """Learn a pair. `said` is what `predict` answered for it; without it no level moves."""
        error = log((max(0, actual_s) + OFFSET_S) / (max(0, forecast_s) + OFFSET_S))
        missed = said is not None and not said.low_s <= actual_s <= said.high_s
        for key in dict.fromkeys((COMMON, group)):
            errors = self._groups.get(key)
            if errors is None:
                errors = self._groups[key] = _Errors(1 - self.confidence_percent / 100)
            errors.add(error)
            if said is not None:
                errors.level.record(missed=missed)

    def _errors_for(self, group: str) -> _Errors | None:
        own = self._groups.get(group)
        if own is not None and len(own.ordered) >= ENOUGH_PAIRS:
            return own
        return self._groups.get(COMMON)

    def to_bytes(self) -> bytes:
        groups = [(key, e.level.current, list(e.arrived)) for key, e in self._groups.items()]
        return msgspec.msgpack.encode(_State(STATE_VERSION, self.confidence_percent, groups))

    @classmethod
    def from_bytes(cls, data: bytes) -> Calibrator:
        try:
            state = msgspec.msgpack.decode(data, type=_State)
        except msgspec.DecodeError as error:
            raise _unreadable(str(error)) from error
        if state.version != STATE_VERSION:
            raise _unreadable(f"version {state.version}, expected {STATE_VERSION}")
        calibrator = cls(state.confidence_percent)
        for key, level, arrived in state.groups:
            errors = calibrator._groups[key] = _Errors(1 - state.confidence_percent / 100)
            errors.level.current = level
            errors.arrived.extend(arrived)
            errors.ordered = sorted(arrived)
        return calibrator


class WaitEstimator:
    """Waiting time of a demand in a pool's queue; each pool is calibrated apart."""

    def __init__(self, calibrator: Calibrator | None = None) -> None:
        self.calibrator = calibrator or Calibrator()

    def estimate(self, facts: WaitFacts) -> Interval:
        return self.calibrator.predict(facts.point_s, facts.pool_id)

    def observe(self, facts: WaitFacts, wait_s: int, said: Interval | None = None) -> None:
        self.calibrator.observe(facts.point_s, wait_s, said, facts.pool_id)


def _unreadable(why: str) -> InvalidInput:
    return InvalidInput(
        "UnreadableCalibratorState",
        f"The saved state of the calibrator cannot be read: {why}.",
        hint="Start an empty calibrator and replay the known waits.",
    )
