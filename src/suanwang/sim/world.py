"""What truly happens at the sites: the auditor's only witness, which no program may ask.

Engines note here each real start and end of a run, on true time.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class TrueRun:
    """One real execution of a lease at a site; times in true milliseconds."""

    lease_id: str
    task_id: str
    site: str
    fenced: bool
    started_ms: int
    ended_ms: int | None = None
    succeeded: bool = False


@dataclass(slots=True)
class World:
    """Every real execution, and the violations seen while they happened."""

    runs: list[TrueRun] = field(default_factory=list)
    running: dict[str, list[TrueRun]] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def start(self, run: TrueRun) -> TrueRun:
        """A run begins; two fenced runs of one task at once are a violation."""
        others = self.running.setdefault(run.task_id, [])
        for other in others:
            if run.fenced and other.fenced:
                self.violations.append(
                    f"DoubleRun: task {run.task_id} runs as {other.lease_id} at {other.site} and "
                    f"as {run.lease_id} at {run.site} at {run.started_ms} ms"
                )
        others.append(run)
        self.runs.append(run)
        return run

    def end(self, run: TrueRun, at_ms: int, succeeded: bool) -> None:
        run.ended_ms = at_ms
        run.succeeded = succeeded
        self.running[run.task_id].remove(run)
