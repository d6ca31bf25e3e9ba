"""What truly happens at the sites, and what was truly asked for: the auditor's only witness.

Engines note here each real start and end of a run, on true time; users note each accepted
request. No program under test may ask it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from suanwang.grid.jobs.spec import JobSpec
from suanwang.kernel.resources import ZERO, Resources
from suanwang.protocol.messages import RunSpec
from suanwang.trade.contracts.model import Contract


@dataclass(frozen=True, slots=True)
class Place:
    """What is true of a site whatever it reports."""

    region: str
    architecture: str
    nodes: dict[str, Resources]


@dataclass(slots=True)
class Accepted:
    """A job that the platform said yes to."""

    spec: JobSpec
    project_id: str
    quota: Resources | None
    needs: list[str] = field(default_factory=list)
    cancelled_ms: int | None = None
    """When the platform said that it was cancelled, on the platform's clock."""


@dataclass(slots=True)
class TrueRun:
    """One real execution of a lease at a site; times in true milliseconds."""

    spec: RunSpec
    site: str
    started_ms: int
    ended_ms: int | None = None
    succeeded: bool = False

    @property
    def lease_id(self) -> str:
        return self.spec.lease_id

    @property
    def task_id(self) -> str:
        return self.spec.task_id

    @property
    def fenced(self) -> bool:
        return self.spec.stop_on_client_after_s is not None

    @property
    def member(self) -> Resources:
        need = self.spec.member_quantity
        return Resources(need.cpu_milli, need.memory_mib, need.disk_mib, need.accelerator_milli)


@dataclass(slots=True)
class World:
    """Every real execution and every accepted job; what was violated while it happened."""

    places: dict[str, Place] = field(default_factory=dict)
    site_ids: dict[str, str] = field(default_factory=dict)
    """By name."""
    accepted: dict[str, Accepted] = field(default_factory=dict)
    runs: list[TrueRun] = field(default_factory=list)
    running: dict[str, list[TrueRun]] = field(default_factory=dict)
    succeeded: dict[str, set[str]] = field(default_factory=dict)
    """Job → tasks of which a run succeeded."""
    violations: list[str] = field(default_factory=list)
    signed: dict[str, Contract] = field(default_factory=dict)
    """Contracts as they were signed; what is sold on of them is not among them."""

    def start(self, run: TrueRun) -> TrueRun:
        """A run begins: may it, here and now?"""
        others = self.running.setdefault(run.task_id, [])
        for other in others:
            if run.fenced and other.fenced:
                self._say(run, f"DoubleRun: it runs as {other.lease_id} at {other.site} too")
        others.append(run)
        self.runs.append(run)
        self._judge_room(run)
        asked = self.accepted.get(run.spec.job_id)
        if asked is not None:
            self._judge_place(run, asked)
            self._judge_owner(run, asked)
        return run

    def end(self, run: TrueRun, at_ms: int, succeeded: bool) -> None:
        run.ended_ms = at_ms
        run.succeeded = succeeded
        self.running[run.task_id].remove(run)
        if succeeded:
            self.succeeded.setdefault(run.spec.job_id, set()).add(run.task_id)

    def _say(self, run: TrueRun, what: str) -> None:
        self.violations.append(
            f"{what}; task {run.task_id} as {run.lease_id} at {run.site} at {run.started_ms} ms"
        )

    def _all_running(self) -> list[TrueRun]:
        return [run for runs in self.running.values() for run in runs]

    def _judge_room(self, run: TrueRun) -> None:
        """No node carries more than it has."""
        there = [other for other in self._all_running() if other.site == run.site]
        for node, _ in run.spec.nodes:
            used = ZERO
            for other in there:
                used = used + other.member * sum(n for at, n in other.spec.nodes if at == node)
            if not used.fits_in(self.places[run.site].nodes[node]):
                self._say(run, f"NodeOverfull: {node} carries {used}")

    def _judge_place(self, run: TrueRun, asked: Accepted) -> None:
        """The site is one that the user allowed, and what the job needs has been done."""
        place, limits = self.places[run.site], asked.spec.constraints
        allowed = (
            (not limits.sites or run.site in limits.sites)
            and run.site not in limits.excluded_sites
            and (not limits.regions or place.region in limits.regions)
            and (not limits.architectures or place.architecture in limits.architectures)
        )
        if not allowed:
            self._say(run, f"NotAllowedThere: the job asked for {limits}")
        for needed in asked.needs:
            tasks = self.accepted[needed].spec.array or 1
            if len(self.succeeded.get(needed, ())) < tasks:
                self._say(run, f"TooEarly: it needs {needed}")

    def _judge_owner(self, run: TrueRun, asked: Accepted) -> None:
        """The project uses no more than its quota."""
        if asked.quota is None:
            return
        used = ZERO
        for other in self._all_running():
            whose = self.accepted.get(other.spec.job_id)
            if whose is not None and whose.project_id == asked.project_id:
                used = used + other.member * other.spec.members
        if not used.fits_in(asked.quota):
            self._say(run, f"QuotaExceeded: the project uses {used}")
