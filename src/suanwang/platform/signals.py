"""Wake those who wait: a poller for its site's orders, a page for its job's news.

In one process a change is felt at once. Over PostgreSQL a relay carries names to the other
processes; it may lose some, so waiting is always bounded and never the only way to learn of a
change.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial


class Signals:
    """Named signals. `notify` may be called from any thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        # dicts, not sets: those who wait are woken in the order in which they came
        self._waiters: dict[str, dict[asyncio.Future[None], None]] = defaultdict(dict)
        self._forward: Callable[[Sequence[str]], None] | None = None

    def relay_through(self, forward: Callable[[Sequence[str]], None]) -> None:
        """`forward` gets the names notified here, on the loop's thread."""
        self._forward = forward

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def notify(self, *names: str) -> None:
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        if names:
            loop.call_soon_threadsafe(self._tell, names)

    def _tell(self, names: Sequence[str]) -> None:
        self.wake(names)
        if self._forward is not None:
            self._forward(names)

    def wake_all(self) -> None:
        """For when names may have been missed. On the loop's thread, as `wake`."""
        self.wake(list(self._waiters))

    def wake(self, names: Sequence[str]) -> None:
        """Wake the waiters of this process only."""
        for name in names:
            for waiter in self._waiters.pop(name, ()):
                if not waiter.done():
                    waiter.set_result(None)

    def listen(self, *names: str) -> asyncio.Future[None]:
        """A future that the next `notify` of one of them completes. Take it before looking, then
        await."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for name in names:
            self._waiters[name][waiter] = None
            waiter.add_done_callback(partial(self._discard, name))
        return waiter

    def _discard(self, name: str, waiter: asyncio.Future[None]) -> None:
        waiting = self._waiters.get(name)
        if waiting is not None:
            waiting.pop(waiter, None)
            if not waiting:
                del self._waiters[name]


async def wait_for(waiter: asyncio.Future[None], timeout_s: float) -> bool:
    """True if notified, False on time-out; the waiter is spent either way."""
    try:
        await asyncio.wait_for(waiter, timeout_s)
    except TimeoutError:
        return False
    return True
