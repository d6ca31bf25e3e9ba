"""The agent's state machine: events in, instructions out. Pure; the host does what it says.

    run state    what happens next
    ORDERED      Prepare            inputs are fetched
    PREPARED     Start              handed to the driver
    STARTED      (driver reports)   waiting or running in the site's engine
    ENDED        Collect            outputs are kept, then logs are flushed
    COLLECTED    Report             until the control plane has answered
    DONE         Forget             nothing of it is left

Orders move down (run, stop, forget) and so do runs. A stop before the start ends the run at once;
a stop after it goes to the driver. Each run also has the contact deadline of its job: the core
asks the driver to stop it when the control plane was not heard for so long.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import msgspec

from suanwang.agent.port import Observation
from suanwang.protocol.messages import (
    Desired,
    FailureClass,
    LeaseOrder,
    OutputRecord,
    Phase,
    Quantity,
    RunReport,
    RunSpec,
)


class RunState(IntEnum):
    """In the order of a run's life."""

    ORDERED = 0
    PREPARED = 1
    STARTED = 2
    ENDED = 3
    COLLECTED = 4
    DONE = 5


# --- events -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ordered:
    """The control plane wants this of a lease; it was asked at `asked_at_ms` (monotonic)."""

    order: LeaseOrder
    asked_at_ms: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """Inputs lie in place; or `failure` says why they do not."""

    lease_id: str
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """The driver saw this."""

    observation: Observation


@dataclass(frozen=True, slots=True)
class Collected:
    """Outputs are kept; or `failure` says which required one is not."""

    lease_id: str
    outputs: tuple[OutputRecord, ...] = ()
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Adopted:
    """After a restart: a run taken over before, as its folder and the driver know it."""

    spec: RunSpec
    observation: Observation | None


@dataclass(frozen=True, slots=True)
class Contacted:
    """A request sent at `sent_at_ms` (monotonic) was answered."""

    sent_at_ms: int


@dataclass(frozen=True, slots=True)
class Answered:
    """The control plane took these reports; what ended in them is on its books."""

    reports: tuple[RunReport, ...]


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time passed."""


Event = Ordered | Prepared | Observed | Collected | Adopted | Contacted | Answered | Ticked


# --- instructions -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prepare:
    """Record the run durably, make its folder, fetch its inputs; answer with Prepared."""

    spec: RunSpec


@dataclass(frozen=True, slots=True)
class Start:
    """Hand it to the driver; its observations follow."""

    spec: RunSpec


@dataclass(frozen=True, slots=True)
class Stop:
    """Ask the driver to end it, politely, then not."""

    lease_id: str
    pool: str
    grace_s: int
    failure: FailureClass


@dataclass(frozen=True, slots=True)
class Collect:
    """Keep its outputs; answer with Collected."""

    spec: RunSpec
    succeeded: bool


@dataclass(frozen=True, slots=True)
class Report:
    """There is news of this run for the control plane."""

    lease_id: str


@dataclass(frozen=True, slots=True)
class Forget:
    """Delete its folder and the driver's records."""

    lease_id: str
    pool: str


Instruction = Prepare | Start | Stop | Collect | Report | Forget


@dataclass(slots=True)
class Run:
    """One lease at this site. Instants are monotonic milliseconds."""

    spec: RunSpec
    state: RunState
    revision: int = 0
    stop: FailureClass | None = None
    stop_sent: bool = False
    phase: Phase = Phase.ACCEPTED
    started_at_ms: int | None = None
    ended_at_ms: int | None = None
    last: Observation | None = None
    outputs: tuple[OutputRecord, ...] = ()
    exit_code: int | None = None
    failure: FailureClass = FailureClass.NONE
    detail: str = ""


@dataclass(slots=True)
class AgentCore:
    """All runs of a site. `handle` is the only door."""

    pools: frozenset[str] = frozenset()
    last_contact_ms: int = 0
    runs: dict[str, Run] = field(default_factory=dict)

    def handle(self, event: Event, now_ms: int) -> list[Instruction]:
        match event:
            case Ordered(order, asked_at_ms):
                return self._ordered(order, asked_at_ms, now_ms)
            case Prepared(lease_id, failure):
                return self._prepared(lease_id, failure, now_ms)
            case Observed(observation):
                return self._observed(observation)
            case Collected():
                return self._collected(event)
            case Adopted():
                return self._adopted(event)
            case Contacted(sent_at_ms):
                # a silence that was too long stays too long, whatever ends it
                out = self._expired(sent_at_ms, now_ms)
                self.last_contact_ms = max(self.last_contact_ms, sent_at_ms)
                return out
            case Answered(reports):
                return self._answered(reports)
            case Ticked():
                return self._expired(now_ms, now_ms)

    # --- orders ---------------------------------------------------------------------------

    def _ordered(self, order: LeaseOrder, asked_at_ms: int, now_ms: int) -> list[Instruction]:
        run = self.runs.get(order.lease_id)
        if order.desired is Desired.FORGET:
            return self._forget(run) if run is not None else []
        if order.desired is Desired.STOP:
            return self._stop_ordered(order, run, now_ms)
        if run is not None or order.run is None:
            return []
        run = Run(spec=order.run, state=RunState.ORDERED, revision=order.revision)
        self.runs[order.lease_id] = run
        if order.run.pool not in self.pools:
            reason = f"UnknownPool: this site has no pool {order.run.pool!r}"
            return self._end(run, now_ms, FailureClass.REJECTED, reason)
        if _is_over(order.run, asked_at_ms, now_ms):
            # it was on its way for so long that the lease may be another's by now
            return self._end(run, now_ms, FailureClass.LEASE_EXPIRED, _SILENT)
        return [Prepare(order.run)]

    def _stop_ordered(self, order: LeaseOrder, run: Run | None, now_ms: int) -> list[Instruction]:
        if run is None:
            # never seen, or forgotten: say that it has ended, so that the books can close
            spec = RunSpec(order.lease_id, order.epoch, "", "", "", "", [], _NOTHING)
            run = Run(spec=spec, state=RunState.COLLECTED, phase=Phase.ENDED, ended_at_ms=now_ms)
            run.failure, run.detail = FailureClass.STOPPED, "it had not started here"
            self.runs[order.lease_id] = run
            return [Report(order.lease_id)]
        if run.stop is None:
            run.stop = FailureClass.STOPPED
        return self._pursue_stop(run, now_ms)

    def _pursue_stop(self, run: Run, now_ms: int) -> list[Instruction]:
        if run.stop is None or run.state >= RunState.ENDED:
            return []
        if run.state is RunState.STARTED:
            if run.stop_sent:
                return []
            run.stop_sent = True
            return [Stop(run.spec.lease_id, run.spec.pool, run.spec.grace_s, run.stop)]
        return self._end(run, now_ms, run.stop, "stopped before its start")

    # --- the run's life -------------------------------------------------------------------

    def _prepared(self, lease_id: str, failure: str, now_ms: int) -> list[Instruction]:
        run = self.runs.get(lease_id)
        if run is None or run.state is not RunState.ORDERED:
            return []
        if failure:
            return self._end(run, now_ms, FailureClass.INPUT_FAILED, failure)
        if _is_over(run.spec, self.last_contact_ms, now_ms):
            return self._end(run, now_ms, FailureClass.LEASE_EXPIRED, _SILENT)
        run.state = RunState.STARTED
        return [Start(run.spec)]

    def _observed(self, seen: Observation) -> list[Instruction]:
        run = self.runs.get(seen.lease_id)
        if run is None or run.state >= RunState.ENDED:
            return []
        # whatever the driver knows of has been handed to it
        run.state = RunState.STARTED
        run.last = seen
        if seen.started_at_ms is not None:
            run.started_at_ms = seen.started_at_ms
        if seen.phase is Phase.ENDED:
            run.ended_at_ms = seen.ended_at_ms
            run.exit_code, run.failure, run.detail = seen.exit_code, seen.failure, seen.detail
            run.phase = Phase.ENDED
            run.state = RunState.ENDED
            succeeded = seen.failure is FailureClass.NONE and seen.exit_code == 0
            return [Collect(run.spec, succeeded)]
        news = seen.phase is not run.phase or seen.detail != run.detail
        run.phase, run.detail = seen.phase, seen.detail
        return [Report(seen.lease_id)] if news else []

    def _collected(self, event: Collected) -> list[Instruction]:
        run = self.runs.get(event.lease_id)
        if run is None or run.state is not RunState.ENDED:
            return []
        run.outputs = event.outputs
        run.state = RunState.COLLECTED
        if event.failure and run.failure is FailureClass.NONE:
            run.failure, run.detail = FailureClass.OUTPUT_FAILED, event.failure
        return [Report(event.lease_id)]

    def _end(self, run: Run, now_ms: int, failure: FailureClass, detail: str) -> list[Instruction]:
        """An end that the driver never saw."""
        run.state = RunState.COLLECTED
        run.phase = Phase.ENDED
        run.ended_at_ms, run.failure, run.detail = now_ms, failure, detail
        return [Report(run.spec.lease_id)]

    def _adopted(self, event: Adopted) -> list[Instruction]:
        spec = event.spec
        if event.observation is None:
            # it never reached the driver: the reconciliation will order it anew, with its secrets
            return [Forget(spec.lease_id, spec.pool)]
        self.runs[spec.lease_id] = Run(spec=spec, state=RunState.STARTED)
        return self._observed(event.observation)

    def _answered(self, reports: tuple[RunReport, ...]) -> list[Instruction]:
        out: list[Instruction] = []
        for report in reports:
            run = self.runs.get(report.lease_id)
            if run is not None and report.phase is Phase.ENDED:
                out.extend(self._forget(run))
        return out

    def _forget(self, run: Run) -> list[Instruction]:
        if run.state < RunState.COLLECTED:
            return []
        run.state = RunState.DONE
        del self.runs[run.spec.lease_id]
        return [Forget(run.spec.lease_id, run.spec.pool)]

    # --- the contact deadline -------------------------------------------------------------

    def _expired(self, until_ms: int, now_ms: int) -> list[Instruction]:
        """Stop what must not outlive a silence that lasted until `until_ms`."""
        out: list[Instruction] = []
        for lease_id in sorted(self.runs):
            run = self.runs[lease_id]
            over = _is_over(run.spec, self.last_contact_ms, until_ms)
            if run.state < RunState.ENDED and over:
                run.stop = run.stop or FailureClass.LEASE_EXPIRED
                out.extend(self._pursue_stop(run, now_ms))
        return out

    def longest_wait_ms(self, at_most_ms: int) -> int:
        """How long a poll may wait: the strictest run hears of the control plane in time."""
        limits = [
            run.spec.stop_on_client_after_s
            for run in self.runs.values()
            if run.spec.stop_on_client_after_s is not None and run.state < RunState.ENDED
        ]
        return min([at_most_ms, *(limit * 1000 // _CONTACTS_PER_LIMIT for limit in limits)])

    # --- reports --------------------------------------------------------------------------

    def report(self, lease_id: str, now_ms: int) -> RunReport | None:
        """What to tell of a run now; ages are counted to `now_ms`."""
        run = self.runs.get(lease_id)
        if run is None:
            return None
        # outputs are still being kept: to the control plane the run goes on
        phase = run.phase
        if run.state is RunState.ENDED:
            phase = Phase.RUNNING if run.started_at_ms is not None else Phase.ACCEPTED
        seen = run.last
        report = RunReport(
            lease_id=lease_id,
            epoch=run.spec.epoch,
            phase=phase,
            started_ago_ms=_age(run.started_at_ms, now_ms),
            # while outputs are kept the run goes on, but its time does not
            ended_ago_ms=_age(run.ended_at_ms, now_ms),
            detail=run.detail,
            engine_id=seen.engine_id if seen else "",
            nodes=list(seen.nodes) if seen else [],
            cards=[list(cards) for cards in seen.cards] if seen else [],
        )
        if phase is not Phase.ENDED:
            return report
        ended = msgspec.structs.replace(
            report,
            exit_code=run.exit_code,
            meters=seen.meters if seen else report.meters,
            outputs=list(run.outputs),
        )
        return ended.because(run.failure)

    def reports(self, now_ms: int) -> list[RunReport]:
        """Of every run, for a reconciliation."""
        found = (self.report(lease_id, now_ms) for lease_id in sorted(self.runs))
        return [report for report in found if report is not None]


def _age(at_ms: int | None, now_ms: int) -> int | None:
    return None if at_ms is None else max(0, now_ms - at_ms)


def _is_over(spec: RunSpec, heard_ms: int, now_ms: int) -> bool:
    limit = spec.stop_on_client_after_s
    return limit is not None and now_ms - heard_ms > limit * 1000


_CONTACTS_PER_LIMIT = 4
_SILENT = "ContactLost: the control plane was not heard in time"
_NOTHING = Quantity()
