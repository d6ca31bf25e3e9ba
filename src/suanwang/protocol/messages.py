"""The messages, as msgspec structs encoded in MessagePack.

Everything is level-triggered and idempotent: the control plane states what it wants of each
lease (`LeaseOrder`, ordered by a per-site revision), the agent states what it sees of each run
(`RunReport`). Loss, duplication and reordering of messages change nothing but time.

The agent's clock is never trusted: instants travel as ages ("ended 1,200 ms ago") and are placed
on the control plane's clock when they arrive.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


class Desired(StrEnum):
    """What the control plane wants of a lease; only moves down this list."""

    RUN = "run"
    STOP = "stop"
    FORGET = "forget"
    """The end is on the books: the agent may delete what it keeps of the run."""


class Phase(StrEnum):
    """What the agent sees of a run; only moves down this list."""

    ACCEPTED = "accepted"
    """Taken over, being prepared or waiting in the site's own queue."""
    RUNNING = "running"
    ENDED = "ended"


class FailureClass(StrEnum):
    """Why a run ended badly; retry rules of a job name these."""

    NONE = "none"
    EXIT = "exit"
    """The program returned a non-zero code."""
    SIGNAL = "signal"
    TIMEOUT = "timeout"
    """Ran past its max_runtime."""
    OUT_OF_MEMORY = "out_of_memory"
    NODE_FAILURE = "node_failure"
    START_FAILED = "start_failed"
    """The site could not start it: image, account, partition, permission."""
    INPUT_FAILED = "input_failed"
    OUTPUT_FAILED = "output_failed"
    LEASE_EXPIRED = "lease_expired"
    """Stopped by the site itself: no contact for stop_on_client_after_s."""
    STOPPED = "stopped"
    """Stopped because the control plane asked (cancel, preemption, drain)."""
    VANISHED = "vanished"
    """The site's engine no longer knows it and left no exit record."""
    REJECTED = "rejected"
    """The agent refused the order (unknown pool, draining, unsupported)."""
    PREEMPTED_BY_SITE = "preempted_by_site"
    """The site's own engine took the machine away for other work."""


NEAREST = {FailureClass.PREEMPTED_BY_SITE: FailureClass.NODE_FAILURE}
"""What came after protocol 1 → the class of protocol 1 by which an older peer deals with it well.
A decoder refuses a whole message over one class that it does not know."""


class Quantity(msgspec.Struct, frozen=True, array_like=True):
    """Resources of one member: milli-cores, MiB, MiB, milli-cards."""

    cpu_milli: int = 0
    memory_mib: int = 0
    disk_mib: int = 0
    accelerator_milli: int = 0


class InputFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file or tree placed under the working directory before the start."""

    path: str
    digest: str
    size_bytes: int
    mode: int = 0o644
    tree: bool = False


class OutputFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """A path (file or folder) under the working directory to keep under a name."""

    name: str
    path: str
    required: bool = True


class RunSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an agent needs to run one lease."""

    lease_id: str
    epoch: int
    task_id: str
    job_id: str
    job_name: str
    pool: str
    command: list[str]
    """argv; a script arrives as ["/bin/sh", "-c", text]."""
    member_quantity: Quantity
    members: int = 1
    nodes: list[tuple[str, int]] = []
    """(node name, members on it); empty = the site's engine chooses."""
    cards: list[list[int]] = []
    """Per entry of `nodes`: the cards (positions in `NodeReport.cards`) that its members get, one
    member after the other; empty = the site chooses. A site without one of them free may take
    others: its report says which."""
    env: dict[str, str] = {}
    secrets: dict[str, str] = {}
    """Joined to env at start; never written to disk by the agent, never logged."""
    inputs: list[InputFile] = []
    outputs: list[OutputFile] = []
    array_index: int | None = None
    array_count: int | None = None
    max_runtime_s: int = 3600
    grace_s: int = 10
    """Between the polite signal and the kill."""
    stop_on_client_after_s: int | None = None
    """Stop by itself after so long without contact; None = run on while disconnected."""
    preemptible: bool = False
    engine: dict[str, str] = {}
    """Hints for the site's engine: account, qos, partition, constraint …"""


class LeaseOrder(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the control plane wants of one lease now."""

    lease_id: str
    epoch: int
    revision: int
    desired: Desired
    reason: str = ""
    run: RunSpec | None = None
    """Present when desired is RUN."""


class NodeReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """A machine of a pool: its capacity, what others (not us) use of it, and whether it is up."""

    name: str
    capacity: Quantity
    foreign: Quantity = Quantity()
    up: bool = True
    detail: str = ""
    cards: list[int] = []
    """Milli of each card that are not others'; empty = the site tells the total only."""


class AcceleratorReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """Model of the pool's cards; figures per card."""

    model: str
    vendor: str = ""
    memory_mib: int = 0
    fp16_gflops: int = 0


class PriceReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """The provider's list price, micro-yuan per hour of a core, a GiB, a card."""

    core_hour: int = 0
    memory_gib_hour: int = 0
    accelerator_hour: int = 0


class PoolReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """Alike nodes under one price list (a Slurm partition, say)."""

    name: str
    driver: str
    architecture: str
    kind: str
    """supercomputing, ai or general."""
    nodes: list[NodeReport]
    accelerator: AcceleratorReport | None = None
    interconnect: str = ""
    max_runtime_s: int | None = None
    backlog_s: int = 0
    prices: PriceReport | None = None
    isolation: str = ""
    """How runs are confined there, in words: "cgroup v1 limits, bubblewrap" or "none"."""
    engine_version: str = ""


class Meters(msgspec.Struct, frozen=True, array_like=True):
    """Measured at the site over one run. Allocation × time is computed by the control plane."""

    duration_ms: int = 0
    """Wall time of the run on the site's monotonic clock."""
    cpu_ms: int = 0
    max_rss_mib: int = 0


class OutputRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A kept output: its name and the blob (or tree) that holds it."""

    name: str
    digest: str
    size_bytes: int
    tree: bool = False


class RunReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the agent sees of one run now."""

    lease_id: str
    epoch: int
    phase: Phase
    started_ago_ms: int | None = None
    ended_ago_ms: int | None = None
    """With `running`: the program has ended, its outputs are still being kept."""
    exit_code: int | None = None
    failure: FailureClass = FailureClass.NONE
    """Of protocol 1; `cause` is what to go by."""
    detail: str = ""
    engine_id: str = ""
    """The engine's own name for it: a pid, a Slurm job id."""
    nodes: list[str] = []
    meters: Meters = Meters()
    outputs: list[OutputRecord] = []
    cards: list[list[int]] = []
    """Per node of `nodes`: which cards the run holds there, as in `RunSpec.cards`."""
    finer: str = ""
    """The failure by its own name, where `failure` is only the nearest that all peers know."""

    @property
    def cause(self) -> FailureClass:
        """Why it ended badly, as finely as this end of the line can tell."""
        return _FAILURES.get(self.finer, self.failure)

    def because(self, failure: FailureClass) -> RunReport:
        """This report of a bad end, in words for old and new peers."""
        nearest = NEAREST.get(failure)
        if nearest is None:
            return msgspec.structs.replace(self, failure=failure, finer="")
        return msgspec.structs.replace(self, failure=nearest, finer=failure.value)


_FAILURES = {failure.value: failure for failure in FailureClass}


class EnrolRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """One-time token for a credential."""

    token: str
    instance_id: str
    """Random, kept in the agent's state folder: tells a restarted agent from a second one."""
    agent_version: str = ""


class EnrolReply(msgspec.Struct, frozen=True):
    site_id: str
    site_name: str
    credential: str


class ReconcileRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything the agent has; opens a session. At start, after a gap, now and then."""

    instance_id: str
    agent_version: str
    sequence: int
    """Grows with every reconciliation of the instance: a delayed older one is refused."""
    pools: list[PoolReport]
    runs: list[RunReport] = []
    protocol: int = 1


class ReconcileReply(msgspec.Struct, frozen=True, omit_defaults=True):
    """The session's number and every open lease of the site, whatever the agent knew."""

    session: int
    revision: int
    orders: list[LeaseOrder]
    contact_every_ms: int
    """The agent shall be heard at least this often."""
    reconcile_every_ms: int = 300_000
    draining: bool = False


class PollRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Wait for orders newer than `revision`; also carries news: one round trip does both."""

    session: int
    revision: int
    wait_ms: int = 0
    reports: list[RunReport] = []
    pools: list[PoolReport] | None = None
    """Inventory, when it changed."""


class PollReply(msgspec.Struct, frozen=True, omit_defaults=True):
    """Orders in order of revision; an answered report is durable. `more` follow at once."""

    revision: int
    orders: list[LeaseOrder] = []
    more: bool = False
    reconcile: bool = False
    """The control plane wants a full reconciliation now."""
    draining: bool = False


class LogChunk(msgspec.Struct, frozen=True, array_like=True):
    """Bytes of a run's output at an offset; sending one twice is harmless."""

    lease_id: str
    stream: str
    """stdout or stderr."""
    offset: int
    data: bytes


class LogRequest(msgspec.Struct, frozen=True):
    chunks: list[LogChunk]


class LogReply(msgspec.Struct, frozen=True):
    """(lease, stream, bytes stored); −1 = send no more (limit reached or unknown lease)."""

    stored: list[tuple[str, str, int]]


class ProtocolError(msgspec.Struct, frozen=True, omit_defaults=True):
    """Body of every refusal on the agent's routes."""

    reason: str
    message: str
    hint: str = ""


_encoder = msgspec.msgpack.Encoder()
_decoders: dict[Any, msgspec.msgpack.Decoder[Any]] = {}


def encode(message: msgspec.Struct) -> bytes:
    return _encoder.encode(message)


def decode(data: bytes, kind: type[T]) -> T:
    """Raises msgspec.ValidationError or msgspec.DecodeError on anything that is not a `kind`."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.msgpack.Decoder(kind)
    result: T = decoder.decode(data)
    return result
