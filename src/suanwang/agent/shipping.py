"""Output of runs on its way to the control plane: what has arrived, what is still to be sent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from suanwang.kernel.errors import PermanentError, Unauthenticated
from suanwang.protocol.messages import LogChunk, LogReply, LogRequest

log = logging.getLogger("suanwang.agent")


class LogLink(Protocol):
    """Where output goes. Raises TransientError when the way is cut."""

    async def send_logs(self, request: LogRequest) -> LogReply: ...


@dataclass(slots=True)
class _Streams:
    offsets: dict[str, int] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)


class Shipper:
    """Knows how far each run's streams have been taken; `read` gives what lies beyond."""

    def __init__(
        self, link: LogLink, read: Callable[[str, dict[str, int]], list[LogChunk]]
    ) -> None:
        self._link = link
        self._read = read
        self._runs: dict[str, _Streams] = {}
        self._watched = asyncio.Event()

    def watch(self, lease_id: str) -> None:
        self._runs.setdefault(lease_id, _Streams())
        self._watched.set()

    async def watching(self) -> None:
        """Until there is a run to watch."""
        await self._watched.wait()

    def drop(self, lease_id: str) -> None:
        self._runs.pop(lease_id, None)
        if not self._runs:
            self._watched.clear()

    @property
    def lease_ids(self) -> list[str]:
        return list(self._runs)

    def fresh(self, lease_id: str) -> list[LogChunk]:
        """What has not arrived; nothing once no more is wanted."""
        streams = self._runs.get(lease_id)
        if streams is None:
            return []
        chunks = self._read(lease_id, streams.offsets)
        return [chunk for chunk in chunks if chunk.stream not in streams.closed]

    async def ship(self, lease_id: str) -> None:
        """Until all that there is has arrived, or is refused for good."""
        while chunks := self.fresh(lease_id):
            try:
                reply = await self._link.send_logs(LogRequest(chunks))
            except Unauthenticated:
                raise
            except PermanentError as error:
                log.warning("output of %s is not taken: %s", lease_id, error)
                if (streams := self._runs.get(lease_id)) is not None:
                    streams.closed.update(chunk.stream for chunk in chunks)
                continue
            self._advance(reply)
            if not reply.stored:
                break

    def _advance(self, reply: LogReply) -> None:
        for lease_id, stream, length in reply.stored:
            streams = self._runs.get(lease_id)
            if streams is None:
                continue
            if length < 0:
                streams.closed.add(stream)
            else:
                streams.offsets[stream] = length
