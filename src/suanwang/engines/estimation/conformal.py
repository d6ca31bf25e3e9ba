"""Adaptive conformal control: how wide must an interval be so that it is right as often as it says.

A predictor offers nested intervals by a miscoverage level. Each time an outcome is known, a miss
lowers the level (wider intervals) by step x (1 - target) and a hit raises it by step x target.
Over a long stream the share of misses tends to the target whatever the data do, provided only
that a level ≤ 0 asks for an interval that nearly always covers. See Gibbs and Candès 2021.
"""

from __future__ import annotations

LOWEST, HIGHEST = -0.2, 0.8
"""Below zero the interval is the widest on offer; the slack remembers a run of misses."""


class AdaptiveLevel:
    """Miscoverage level to ask of the predictor next; `target` is the wanted share of misses."""

    __slots__ = ("current", "step", "target")

    def __init__(self, target: float, step: float) -> None:
        self.target = target
        self.step = step
        self.current = target

    def record(self, *, missed: bool) -> None:
        moved = self.current + self.step * (self.target - missed)
        self.current = min(HIGHEST, max(LOWEST, moved))
