"""The agent's end of the socket to the warden: starts it if absent, finds it again if it dies."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

import suanwang
from suanwang.agent.port import Host
from suanwang.kernel.errors import Unavailable
from suanwang.protocol.messages import FailureClass, Phase

PROTOCOL = 1
_CODE = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from suanwang.agent.drivers.process.warden.keeper import launch; "
    "sys.exit(launch(sys.argv[2], int(sys.argv[3])))"
)
_LAUNCH_TIMEOUT_S = 30.0
_RETRY_S = (0.05, 0.2, 1.0, 5.0)
_WAIT_S = 60.0


class Tag(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the driver must remember of a run; the warden keeps it unread."""

    pool: str = ""
    nodes: list[tuple[str, int]] = []
    cpu_milli: int = 0
    memory_mib: int = 0
    cards: dict[str, list[tuple[int, int]]] = {}
    """node → (card, milli-cards of it)"""


class View(msgspec.Struct, frozen=True):
    """A run as the warden sees it."""

    lease: str
    phase: Phase
    started_at_ms: int | None = None
    ended_at_ms: int | None = None
    exit_code: int | None = None
    failure: FailureClass = FailureClass.NONE
    detail: str = ""
    pid: int = 0
    tag: Tag | None = None
    duration_ms: int = 0
    cpu_ms: int = 0
    max_rss_mib: int = 0


class _Message(msgspec.Struct, frozen=True):
    """Anything the warden says."""

    op: str
    version: int = 0
    limits: str = ""
    pid: int = 0
    id: int = 0
    runs: list[View] = []


class Lost(Exception):
    """The warden went away before it answered."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Message).decode


class _Wire(asyncio.Protocol):
    """One connection: whole lines to the link, its first answer to whoever dialled."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._buffer = b""
        self._outbox: list[bytes] = []
        self._transport: asyncio.WriteTransport | None = None
        self.greeting: asyncio.Future[_Message] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._link.heard(self, _decode(line))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if not self.greeting.done():
            self.greeting.set_exception(Lost())
        self._link.lost(self)

    def write(self, message: dict[str, Any]) -> None:
        """What one turn of the event loop says goes out in one piece."""
        if not self._outbox:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outbox.append(_encode(message))

    def _flush(self) -> None:
        if self._transport is not None and self._outbox:
            self._transport.write(b"\n".join(self._outbox) + b"\n")
        self._outbox.clear()

    def close(self) -> None:
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection at once, as the death of this process would."""
        if self._transport is not None:
            self._transport.abort()


class Link:
    """One connection at a time; commands wait while it is being made again."""

    def __init__(
        self,
        folder: Path,
        host: Host,
        linger_s: float,
        synced: Callable[[list[View]], None],
        changed: Callable[[list[View]], None],
    ) -> None:
        """`synced` gets every run known after each (re)connection, `changed` what is new."""
        self._folder = folder
        self._host = host
        self._linger_s = linger_s
        self._synced = synced
        self._changed = changed
        self._wire: _Wire | None = None
        self._up = asyncio.Event()
        self._pending: dict[int, asyncio.Future[list[View]]] = {}
        self._next = 0
        self._closed = False
        self._again: asyncio.Task[None] | None = None
        self._contact_ms: int | None = None
        self.limits = ""
        """The warden's words for the limits it can set; "" = none."""
        self.warden_pid = 0

    async def open(self) -> None:
        """Raises Unavailable when the warden cannot be started."""
        self._closed = False
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._wire is None:
            await self._connect()

    async def close(self) -> None:
        self._closed = True
        if self._again is not None:
            self._again.cancel()
            await asyncio.gather(self._again, return_exceptions=True)
        if self._wire is not None:
            self._wire.close()

    def abandon(self) -> None:
        """Leave without a word, as if this process had been killed."""
        self._closed = True
        if self._wire is not None:
            self._wire.abort()

    async def start(self, orders: list[dict[str, Any]]) -> list[View]:
        """Starting is idempotent, so a batch the warden died over is simply asked for again."""
        while True:
            await self._ready()
            self._next += 1
            answer: asyncio.Future[list[View]] = asyncio.get_running_loop().create_future()
            self._pending[self._next] = answer
            self._write({"op": "start", "id": self._next, "runs": orders})
            try:
                return await answer
            except Lost:
                continue

    async def send(self, message: dict[str, Any]) -> None:
        """Returns when the kernel has it: an agent killed afterwards has said it."""
        await self._ready()
        self._write(message)
        await asyncio.sleep(0)

    def contact(self, at_ms: int) -> None:
        """Never waits: the newest instant is told again after a reconnection."""
        self._contact_ms = at_ms
        if self._up.is_set():
            self._write({"op": "contact", "at_ms": at_ms})

    # -- from the wire -----------------------------------------------------------------------

    def heard(self, wire: _Wire, message: _Message) -> None:
        if message.op == "hello":
            if message.version == PROTOCOL and not wire.greeting.done():
                self._connected(wire, message)
            if not wire.greeting.done():
                wire.greeting.set_result(message)
        elif message.op == "changed":
            self._changed(message.runs)
        elif message.op == "started":
            answer = self._pending.pop(message.id, None)
            if answer is not None and not answer.done():
                answer.set_result(message.runs)

    def lost(self, wire: _Wire) -> None:
        if wire is not self._wire:
            return
        self._wire = None
        self._up.clear()
        pending, self._pending = self._pending, {}
        for answer in pending.values():
            if not answer.done():
                answer.set_exception(Lost())
        if not self._closed:
            self._again = asyncio.ensure_future(self._reconnect())

    def _connected(self, wire: _Wire, hello: _Message) -> None:
        self._wire = wire
        self.limits = hello.limits
        self.warden_pid = hello.pid
        self._up.set()
        if self._contact_ms is not None:
            self._write({"op": "contact", "at_ms": self._contact_ms})
        self._synced(hello.runs)

    # -- making the connection ---------------------------------------------------------------

    async def _reconnect(self) -> None:
        attempt = 0
        while not self._closed:
            try:
                await self._connect()
                return
            except Unavailable:
                await self._host.sleep(_RETRY_S[min(attempt, len(_RETRY_S) - 1)])
                attempt += 1

    async def _connect(self) -> None:
        detail = ""
        for _ in range(3):
            wire = await self._dial()
            if wire is None:
                detail = await self._launch()
                wire = await self._dial()
            if wire is None:
                continue
            try:
                wire.write({"op": "hello", "version": PROTOCOL})
                hello = await asyncio.wait_for(wire.greeting, _LAUNCH_TIMEOUT_S)
            except (Lost, TimeoutError):
                # It was on its way out; the next attempt starts another.
                wire.abort()
                continue
            if hello.version != PROTOCOL:
                wire.close()
                raise Unavailable(
                    "WardenVersion",
                    f"The warden speaks version {hello.version}, this agent {PROTOCOL}.",
                    hint="Let its runs end, or stop it; it is started anew by itself.",
                )
            return
        raise Unavailable(
            "WardenUnavailable",
            f"The process driver's warden does not start: {detail or 'no answer'}",
            hint=f"Look at {self._folder}/warden.log.",
        )

    async def _dial(self) -> _Wire | None:
        # Through a descriptor: the folder's own path may be too long for a socket address.
        handle = -1
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            channel.connect(f"/proc/self/fd/{handle}/warden.sock")
        except OSError:
            channel.close()
            return None
        finally:
            if handle >= 0:
                os.close(handle)
        channel.setblocking(False)
        loop = asyncio.get_running_loop()
        _, wire = await loop.create_unix_connection(lambda: _Wire(self), sock=channel)
        return wire

    async def _launch(self) -> str:
        source = str(Path(suanwang.__file__).parent.parent)
        linger = str(int(self._linger_s * 1000))
        argv = [sys.executable, "-I", "-S", "-c", _CODE, source, str(self._folder), linger]
        done = await self._host.run(
            argv, env={"PATH": os.defpath, "LANG": "C.UTF-8"}, timeout_s=_LAUNCH_TIMEOUT_S
        )
        return done.stderr.strip() if done.returncode else ""

    async def _ready(self) -> None:
        if not self._up.is_set():
            try:
                await asyncio.wait_for(self._up.wait(), _WAIT_S)
            except TimeoutError:
                raise Unavailable(
                    "WardenUnavailable",
                    "The process driver has no warden.",
                    hint=f"Look at {self._folder}/warden.log.",
                ) from None

    def _write(self, message: dict[str, Any]) -> None:
        if self._wire is not None:
            self._wire.write(message)
