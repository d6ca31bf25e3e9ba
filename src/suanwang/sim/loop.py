"""An asyncio loop in virtual time: waiting costs nothing, and the seed shuffles what is ready.

The selector never waits: asked to, it moves the clock forward by as much. Callbacks that are
ready at the same instant run in an order drawn from the seed, so races that a real machine shows
once a month show up here in a few hundred seeds, and again whenever the seed is given.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections import deque
from typing import Any


class Starved(RuntimeError):
    """Nothing is scheduled and something is still awaited: the program would hang for ever."""


class _Selector(selectors.SelectSelector):
    """Never watches anything; waiting advances the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Starved("nothing is scheduled, yet something is awaited")
        if timeout > 0:
            self.now_s += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` is virtual seconds since the start of the run."""

    def __init__(self, seed: int) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)
        self._dice = random.Random(seed)

    def time(self) -> float:
        return self._virtual.now_s

    def _run_once(self) -> None:
        ready: deque[Any] = self._ready  # type: ignore[attr-defined]
        if len(ready) > 1:
            shuffled = list(ready)
            self._dice.shuffle(shuffled)
            ready.clear()
            ready.extend(shuffled)
        super()._run_once()  # type: ignore[misc]

    def _write_to_self(self) -> None:
        """Nothing sleeps, so nothing needs waking."""


class VirtualClock:
    """Control-plane time: an epoch instant plus the loop's seconds."""

    def __init__(self, loop: VirtualLoop, start_ms: int) -> None:
        self._loop = loop
        self._start_ms = start_ms
        self.skew_ms = 0
        """How far the machine's clock is off; another after each start of the server."""

    def now_ms(self) -> int:
        return self._start_ms + self.skew_ms + round(self._loop.time() * 1000)
