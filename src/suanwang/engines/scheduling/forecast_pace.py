"""What a play guesses of run times, and how closely it looks.

Run times are lognormal around the expected one, cut at the declared one, given that the work has
already run for some time. Near by, a play looks at every end; further off it looks less and less
often, in steps that are a part of the wait so far. So that no place stands idle between two looks,
an end counts at the look that is nearest to it, and a start far away stands for as many tasks of
its group, one after another, as fill the step.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from statistics import NormalDist

from suanwang.engines.scheduling.model import DemandClass
from suanwang.kernel.time import MS_PER_SECOND

SPREAD = 0.6
"""Standard deviation of the logarithm of run time over expected run time."""

DRAWS_IN_A_ROW = 4
"""The mean of so many, evenly spread, stands for the mean of a longer row."""

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Pace:
    """Every end for `exact_rounds`, then steps of the wait so far over `step_divisor`."""

    exact_rounds: int
    step_divisor: int

    def step_ms(self, rounds: int, waited_ms: int) -> int:
        """Before the round of that number; 0: to the next end."""
        return 0 if rounds < self.exact_rounds else waited_ms // self.step_divisor


CLOSE = Pace(25, 10)
WIDE = Pace(25, 20)


def runtime_s(expected_s: int, declared_s: int, elapsed_s: int, fraction: float) -> int:
    """The run time below which work like this ends in `fraction` of cases, having run so far."""
    if elapsed_s >= declared_s:
        return declared_s
    median = max(1, expected_s)
    gone = _NORMAL.cdf(math.log(elapsed_s / median) / SPREAD) if elapsed_s > 0 else 0.0
    level = min(max(gone + fraction * (1.0 - gone), 1e-9), 1.0 - 1e-9)
    length = math.ceil(median * math.exp(SPREAD * _NORMAL.inv_cdf(level)))
    return max(elapsed_s, min(declared_s, length))


def fraction(play: int, name: str) -> float:
    """A fixed, evenly spread number in (0, 1) for a piece of work in a play."""
    digest = hashlib.blake2b(f"{play}:{name}".encode(), digest_size=6).digest()
    return (int.from_bytes(digest, "big") + 0.5) / (1 << 48)


def in_a_row(demand: DemandClass, left: int, step_ms: int, part: float) -> int:
    """How many tasks of a group one start stands for, at least one: on average what fills a step.

    `part` in (0, 1) decides where a fraction of a task is left over.
    """
    expected_ms = max(1, demand.expected_runtime_s) * MS_PER_SECOND
    return max(1, min(left, int(step_ms / expected_ms + part)))


def row_s(demand: DemandClass, times: int, part: float) -> int:
    """How long so many tasks run, one after another."""
    expected_s = max(1, min(demand.expected_runtime_s, demand.max_runtime_s))
    declared_s = max(1, demand.max_runtime_s)
    draws = min(times, DRAWS_IN_A_ROW)
    lengths = [runtime_s(expected_s, declared_s, 0, (part + i) / draws) for i in range(draws)]
    return max(1, sum(lengths) * times // draws)
