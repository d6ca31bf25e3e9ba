"""Trying again through trouble that passes: an engine or a network that is down."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from suanwang.kernel.errors import TransientError

log = logging.getLogger("suanwang.agent")
FIRST_BACKOFF_S = 0.2
MAX_BACKOFF_S = 15.0


class Pauses:
    """Doubling, each drawn around its length; `jitter` gives numbers in [0, 1)."""

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._next_s = FIRST_BACKOFF_S

    def reset(self, to_s: float = FIRST_BACKOFF_S) -> None:
        self._next_s = to_s

    async def wait(self) -> None:
        pause_s = self._next_s * (0.5 + self._jitter())
        self._next_s = min(self._next_s * 2, MAX_BACKOFF_S)
        await asyncio.sleep(pause_s)


class Patience:
    """Asks until there is an answer; other work goes on meanwhile."""

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter

    async def through(self, action: Callable[[], Awaitable[None]]) -> None:
        """Again and again on TransientError; anything else comes out."""
        pauses = Pauses(self._jitter)
        while True:
            try:
                return await action()
            except TransientError as error:
                log.warning("%s; trying again", error)
            await pauses.wait()
