"""An asyncio loop in virtual time: waiting costs nothing, and the seed shuffles what is ready.

Where a loop would wait, this one moves its clock forward by as much. Callbacks that are
ready at the same instant run in an order drawn from the seed, so races that a real machine shows
once a month show up here in a few hundred seeds, and again whenever the seed is given.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import selectors
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import TypeVarTuple

Ts = TypeVarTuple("Ts")


class Starved(RuntimeError):
    """Nothing is scheduled and something is still awaited: the program would hang for ever."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` is virtual seconds since the start of the run."""

    def __init__(self, seed: int) -> None:
        self._now_s = 0.0
        super().__init__(selectors.SelectSelector())
        self._dice = random.Random(seed)

    def time(self) -> float:
        return self._now_s

    def _run_once(self) -> None:
        """As asyncio's own, less what looks at files, signals and real time: a run turns the
        loop ten thousand times."""
        ready: deque[asyncio.Handle] = self._ready  # type: ignore[attr-defined]
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        if len(ready) > 1:
            shuffled = list(ready)
            self._dice.shuffle(shuffled)
            ready.clear()
            ready.extend(shuffled)
        while timers and timers[0]._cancelled:
            self._due(timers)
        if not ready and not self._stopping:  # type: ignore[attr-defined]
            if not timers:
                raise Starved("nothing is scheduled, yet something is awaited")
            self._now_s = max(self._now_s, timers[0].when())
        until = self._now_s + self._clock_resolution  # type: ignore[attr-defined]
        while timers and timers[0].when() < until:
            ready.append(self._due(timers))
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def get_debug(self) -> bool:
        """Asked at the making of each handle."""
        return False

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """As asyncio's own, less its checks."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)  # type: ignore[attr-defined]
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)  # type: ignore[attr-defined]
        timer._scheduled = True  # type: ignore[attr-defined]
        return timer

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    @staticmethod
    def _due(timers: list[asyncio.TimerHandle]) -> asyncio.TimerHandle:
        timer = heapq.heappop(timers)
        timer._scheduled = False  # type: ignore[attr-defined]
        return timer

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
