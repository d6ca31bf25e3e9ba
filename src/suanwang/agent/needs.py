"""What the agent's host stands on: the way to the control plane, and what outlives a restart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from suanwang.agent.port import PreparedRun
from suanwang.protocol.messages import (
    LogChunk,
    LogReply,
    LogRequest,
    OutputRecord,
    PollReply,
    PollRequest,
    ReconcileReply,
    ReconcileRequest,
    RunSpec,
)


class Link(Protocol):
    """The way to the control plane. Raises TransientError when it is cut."""

    async def reconcile(self, request: ReconcileRequest) -> ReconcileReply: ...

    async def poll(self, request: PollRequest, timeout_s: float) -> PollReply: ...

    async def send_logs(self, request: LogRequest) -> LogReply: ...


class Records(Protocol):
    """What the agent keeps of its runs across restarts, and the content it moves for them."""

    instance_id: str

    def next_sequence(self) -> int: ...

    def load(self) -> list[PreparedRun]:
        """The runs taken over before a restart."""
        ...

    def take(self, spec: RunSpec) -> PreparedRun:
        """Record the run and make its folder; quick, idempotent. Outlives a crash of the agent."""
        ...

    async def flush(self, runs: Sequence[PreparedRun]) -> None:
        """The records of these outlive a power cut, too. OSError if that cannot be had."""
        ...

    async def prepare(self, run: PreparedRun) -> None:
        """Fetch inputs into the working directory; the host repeats it on TransientError."""
        ...

    async def collect(self, run: PreparedRun, succeeded: bool) -> tuple[OutputRecord, ...]: ...

    def read_logs(self, lease_id: str, offsets: dict[str, int]) -> list[LogChunk]: ...

    def forget(self, lease_id: str) -> None: ...
