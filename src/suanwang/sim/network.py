"""Messages between agents and control plane: lost, late, repeated, cut in one direction or both.

Every message is encoded and decoded by the production codec on its way.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from suanwang.kernel.errors import SuanwangError, Unavailable
from suanwang.protocol.messages import (
    LogReply,
    LogRequest,
    PollReply,
    PollRequest,
    ReconcileReply,
    ReconcileRequest,
    decode,
    encode,
)
from suanwang.sim.plane import ControlPlane

T = TypeVar("T", bound=msgspec.Struct)
R = TypeVar("R", bound=msgspec.Struct)


@dataclass(slots=True)
class Weather:
    """How bad the network is; probabilities per mille, delays in seconds."""

    lose_pm: int = 0
    repeat_pm: int = 0
    slow_pm: int = 0
    delay_s: float = 0.02
    slow_s: float = 20.0


@dataclass(slots=True)
class Wire:
    """The connection of one site."""

    dice: random.Random
    weather: Weather
    cut_up: bool = False
    """Nothing from the site arrives."""
    cut_down: bool = False
    """Nothing to the site arrives."""
    silent: bool = False
    """Nothing arrives either way, whatever else comes and goes."""
    stragglers: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def carries_up(self) -> bool:
        return not (self.cut_up or self.silent)

    @property
    def carries_down(self) -> bool:
        return not (self.cut_down or self.silent)

    def roll(self, per_mille: int) -> bool:
        return self.dice.randrange(1000) < per_mille

    async def travel(self) -> None:
        slow = self.roll(self.weather.slow_pm)
        limit_s = self.weather.slow_s if slow else self.weather.delay_s
        await asyncio.sleep(self.dice.random() * limit_s)


class WireLink:
    """The host's Link over a wire. A call that outlasts its time-out is given up by the agent,
    but its request may still arrive."""

    def __init__(self, wire: Wire, plane: Callable[[], ControlPlane | None], site_id: str) -> None:
        self._wire = wire
        self._plane = plane
        self._site_id = site_id

    async def reconcile(self, request: ReconcileRequest) -> ReconcileReply:
        return await self._call(
            request,
            ReconcileRequest,
            ReconcileReply,
            30.0,
            lambda plane, message: plane.desk.reconcile(self._site_id, message),
        )

    async def poll(self, request: PollRequest, timeout_s: float) -> PollReply:
        return await self._call(
            request,
            PollRequest,
            PollReply,
            timeout_s,
            lambda plane, message: plane.desk.poll(self._site_id, message),
        )

    async def send_logs(self, request: LogRequest) -> LogReply:
        return await self._call(
            request,
            LogRequest,
            LogReply,
            30.0,
            lambda plane, message: plane.desk.logs(self._site_id, message),
        )

    async def _call(
        self,
        message: msgspec.Struct,
        kind: type[T],
        reply_kind: type[R],
        timeout_s: float,
        handle: Callable[[ControlPlane, T], Awaitable[msgspec.Struct]],
    ) -> R:
        body = encode(message)
        if self._wire.roll(self._wire.weather.repeat_pm):
            straggler = asyncio.ensure_future(self._straggle(body, kind, handle))
            self._wire.stragglers.add(straggler)
            straggler.add_done_callback(self._wire.stragglers.discard)
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._exchange(body, kind, handle)
        except TimeoutError as error:
            raise Unavailable("ControlPlaneUnreachable", "no answer in time") from error
        return decode(answer, reply_kind)

    async def _straggle(
        self,
        body: bytes,
        kind: type[T],
        handle: Callable[[ControlPlane, T], Awaitable[msgspec.Struct]],
    ) -> None:
        """A copy of the request that arrives on its own, perhaps much later."""
        await asyncio.sleep(self._wire.dice.random() * self._wire.weather.slow_s)
        plane = self._plane()
        if plane is None or not self._wire.carries_up:
            return
        try:
            await plane.serve(handle(plane, decode(body, kind)))
        except SuanwangError:
            return

    async def _exchange(
        self,
        body: bytes,
        kind: type[T],
        handle: Callable[[ControlPlane, T], Awaitable[msgspec.Struct]],
    ) -> bytes:
        wire = self._wire
        await wire.travel()
        plane = self._plane()
        if not wire.carries_up or plane is None or wire.roll(wire.weather.lose_pm):
            await asyncio.sleep(3600)
        if plane is None:
            raise Unavailable("ControlPlaneUnreachable", "nobody is there")
        answer = encode(await plane.serve(handle(plane, decode(body, kind))))
        await wire.travel()
        if not wire.carries_down or wire.roll(wire.weather.lose_pm):
            await asyncio.sleep(3600)
        return answer
