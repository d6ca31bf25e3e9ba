"""Signals between processes over one PostgreSQL, by LISTEN and NOTIFY.

Names notified within a few milliseconds travel in one message. What the relay loses (it was not
connected, too much was said at once) is found by the bounded waits of those who listen; on every
new connection all of them look at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from suanwang.platform.signals import Signals

log = logging.getLogger("suanwang.signals")
CHANNEL = "suanwang"
MAX_PAYLOAD = 7_900
"""PostgreSQL refuses payloads of 8,000 bytes."""
MAX_WAITING = 10_000
"""Names kept for the next message; more than that is dropped."""
GATHER_S = 0.003
RECONNECT_S = (0.1, 0.3, 1.0, 3.0)


def payloads(origin: str, names: Iterable[str]) -> Iterator[str]:
    """Messages of lines: who says it, then the names."""
    lines, size = [origin], len(origin)
    for name in names:
        if len(lines) > 1 and size + 1 + len(name.encode()) > MAX_PAYLOAD:
            yield "\n".join(lines)
            lines, size = [origin], len(origin)
        lines.append(name)
        size += 1 + len(name.encode())
    if len(lines) > 1:
        yield "\n".join(lines)


class SignalRelay:
    """One process's ear and mouth. `run` goes on for ever and reconnects by itself."""

    def __init__(self, url: str, signals: Signals, origin: str) -> None:
        self._conninfo = (
            sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        )
        self._signals = signals
        self._origin = origin
        self._waiting: dict[str, None] = {}
        self._something = asyncio.Event()
        self.connected = asyncio.Event()
        self.dropped = 0
        signals.relay_through(self.take)

    def take(self, names: Sequence[str]) -> None:
        for name in names:
            if len(self._waiting) >= MAX_WAITING and name not in self._waiting:
                self.dropped += 1
                continue
            self._waiting[name] = None
        self._something.set()

    async def run(self) -> None:
        import psycopg

        failures = 0
        while True:
            try:
                async with (
                    await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True) as ear,
                    await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True) as mouth,
                ):
                    await ear.execute(f"LISTEN {CHANNEL}")
                    failures = 0
                    self.connected.set()
                    self._signals.wake_all()
                    await self._both(ear, mouth)
            except (psycopg.Error, OSError) as error:
                log.warning("signals between processes are late: %s", error)
            finally:
                self.connected.clear()
            await asyncio.sleep(RECONNECT_S[min(failures, len(RECONNECT_S) - 1)])
            failures += 1

    async def _both(self, ear: Any, mouth: Any) -> None:
        """Until either fails; then both are over."""
        sides = [asyncio.create_task(self._hear(ear)), asyncio.create_task(self._say(mouth))]
        try:
            done, _ = await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
            for side in done:
                side.result()
        finally:
            for side in sides:
                side.cancel()
            await asyncio.gather(*sides, return_exceptions=True)

    async def _hear(self, ear: Any) -> None:
        async for message in ear.notifies():
            origin, *names = message.payload.split("\n")
            if origin != self._origin:
                self._signals.wake(names)

    async def _say(self, mouth: Any) -> None:
        while True:
            await self._something.wait()
            await asyncio.sleep(GATHER_S)
            names, self._waiting = self._waiting, {}
            self._something.clear()
            for payload in payloads(self._origin, names):
                await mouth.execute("SELECT pg_notify(%s, %s)", (CHANNEL, payload))
