"""The driver port: how the agent speaks to the engine that a site already runs.

A driver is command builders and parsers; what touches the machine goes through `Host`, so the
same driver runs in tests against recorded output and in production against the engine.
Everything is idempotent by lease id: starting twice starts once, stopping what has ended is
fine, and `observe` lists every run the engine (or the run folder) still knows until `forget`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from suanwang.protocol.messages import FailureClass, Meters, Phase, PoolReport, RunSpec


@dataclass(frozen=True, slots=True)
class Completed:
    """A finished command."""

    returncode: int
    stdout: str
    stderr: str


class Host(Protocol):
    """The machine, as a driver may use it."""

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
    ) -> Completed:
        """Run a command to its end. A missing program gives return code 127, a time-out 124."""
        ...

    def monotonic_ms(self) -> int:
        """A clock that all processes of the machine share and that never steps (CLOCK_BOOTTIME)."""
        ...

    def wall_ms(self) -> int: ...

    async def sleep(self, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """A run whose inputs lie in its working directory.

    `folder` is the run's own: `work/` (working directory), `stdout.log`, `stderr.log` and the
    driver's own records. It exists; `work/` is filled.
    """

    spec: RunSpec
    folder: Path

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def stdout(self) -> Path:
        return self.folder / "stdout.log"

    @property
    def stderr(self) -> Path:
        return self.folder / "stderr.log"


@dataclass(frozen=True, slots=True)
class Observation:
    """What the engine says of one run. Instants are on Host.monotonic_ms()."""

    lease_id: str
    phase: Phase
    started_at_ms: int | None = None
    ended_at_ms: int | None = None
    exit_code: int | None = None
    failure: FailureClass = FailureClass.NONE
    detail: str = ""
    engine_id: str = ""
    nodes: tuple[str, ...] = ()
    meters: Meters = field(default_factory=Meters)
    cards: tuple[tuple[int, ...], ...] = ()
    """Per node: the cards it holds there, by their positions in the node's report."""


class Driver(Protocol):
    """One engine at one site, serving one or more pools."""

    name: str
    outlives_machine: bool
    """Its runs go on while this machine is down: an order is on disk before the engine has it."""

    async def open(self) -> None:
        """Connect to the engine and re-adopt what runs. Raises Unavailable with a hint."""
        ...

    async def close(self) -> None:
        """Leave the engine; what runs goes on."""
        ...

    async def inventory(self) -> list[PoolReport]:
        """Pools and nodes as the engine has them now."""
        ...

    async def start(self, runs: Sequence[PreparedRun]) -> list[Observation]:
        """Hand over runs; one observation each, in order (ENDED/START_FAILED if refused)."""
        ...

    async def stop(self, lease_id: str, grace_s: int, failure: FailureClass) -> None:
        """Ask for the end: polite signal, then kill the whole tree. The end is seen by `changes`.

        `failure` is what the end shall be called (STOPPED, LEASE_EXPIRED) unless the run ended
        by itself before.
        """
        ...

    async def observe(self) -> list[Observation]:
        """Every run known, ended ones included until forgotten."""
        ...

    async def changes(self, timeout_s: float) -> list[Observation]:
        """Wait until something changed since the last call, or the time-out; [] on time-out."""
        ...

    async def contact(self, at_ms: int) -> None:
        """The control plane was heard at this monotonic instant.

        The driver keeps it where the engine's side can see it, so that runs with
        stop_on_client_after_s end in time even if the agent itself is dead.
        """
        ...

    async def forget(self, lease_id: str) -> None:
        """The end is on the books; drop the driver's records of it."""
        ...
