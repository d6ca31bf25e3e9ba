"""A wide-area link in user space: delay, a shared rate each way, a window for each connection.

Every byte waits half the round trip; all connections of one direction share a rate without
bursts; a connection has at most `window` bytes unacknowledged, an acknowledgement taking the
other half of the round trip. There is no loss and no slow start.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass


@dataclass(frozen=True)
class LinkSettings:
    mbit_per_s: int
    rtt_ms: int
    window_bytes: int

    @property
    def bytes_per_s(self) -> float:
        return self.mbit_per_s * 1e6 / 8


class _Direction:
    """The shared rate of one direction; `carried` counts what entered the link."""

    def __init__(self, bytes_per_s: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._free_at = 0.0
        self.carried = 0

    async def enter(self, count: int) -> None:
        now = asyncio.get_running_loop().time()
        self._free_at = max(self._free_at, now) + count / self._bytes_per_s
        self.carried += count
        if self._free_at > now:
            await asyncio.sleep(self._free_at - now)


class _Window:
    """Bytes on their way, or whose acknowledgement is."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._more = asyncio.Event()

    async def take(self, count: int) -> None:
        while self._left < count:
            self._more.clear()
            await self._more.wait()
        self._left -= count

    def give_back(self, count: int) -> None:
        self._left += count
        self._more.set()


class Relay:
    """Listens on a free port of 127.0.0.1 and carries to `target`."""

    def __init__(self, target: tuple[str, int], settings: LinkSettings) -> None:
        self._target = target
        self._settings = settings
        self.up = _Direction(settings.bytes_per_s)
        self.down = _Direction(settings.bytes_per_s)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=1 << 18)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self._settings.rtt_ms / 1_000)  # the handshake
        there, back = await asyncio.open_connection(*self._target, limit=1 << 18)
        for source, to, direction in ((reader, back, self.up), (there, writer, self.down)):
            task = asyncio.create_task(self._carry(source, to, direction))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(
        self, source: asyncio.StreamReader, to: asyncio.StreamWriter, direction: _Direction
    ) -> None:
        loop = asyncio.get_running_loop()
        window = _Window(self._settings.window_bytes)
        half_s = self._settings.rtt_ms / 2_000
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due, data = await line.get()
                wait = due - loop.time()
                if wait > 0:
                    await asyncio.sleep(wait)
                if not data:
                    to.write_eof()
                    return
                to.write(data)
                await to.drain()
                loop.call_later(half_s, window.give_back, len(data))

        delivery = asyncio.create_task(deliver())
        try:
            while data := await source.read(1 << 17):
                await window.take(len(data))
                await direction.enter(len(data))
                line.put_nowait((loop.time() + half_s, data))
            line.put_nowait((loop.time() + half_s, b""))
            await delivery
        except (OSError, RuntimeError):  # uvloop's way to say that a transport is closed
            pass
        finally:
            delivery.cancel()
            await asyncio.gather(delivery, return_exceptions=True)
            to.close()
