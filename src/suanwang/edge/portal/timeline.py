"""A job's attempts as they are drawn: bars on the time from its first to its last instant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from suanwang.edge.portal import formats
from suanwang.edge.portal.reasons import sentence
from suanwang.edge.portal.rendering import Page
from suanwang.edge.portal.why import cost_of_run
from suanwang.grid.jobs.model import Job, Lease, LeaseState, Outcome, Task

_COLOURS = {
    Outcome.SUCCEEDED: "ok",
    Outcome.FAILED: "bad",
    Outcome.CANCELLED: "warn",
    Outcome.PREEMPTED: "warn",
    Outcome.LOST: "warn",
    Outcome.SUPERSEDED: "warn",
}


@dataclass(frozen=True)
class Attempt:
    """One lease of a task."""

    number: int
    state: str
    site: str
    site_name: str
    pool: str
    nodes: str
    timeline: list[tuple[str, float, float]]
    timeline_text: str
    detail: str
    lasted_ms: int | None
    max_rss_mib: int
    exit_code: int | None
    contract: str
    """Whose hours pay for it; empty: it is charged itself."""


@dataclass(frozen=True)
class Result:
    index: int
    name: str
    digest: str
    size_bytes: int
    tree: bool


class Timeline:
    """Scales instants to per cent of the job's life."""

    def __init__(self, page: Page, job: Job, names: Mapping[str, str]) -> None:
        self._page = page
        self._names = names
        self._from_ms = job.created_at_ms
        self._until_ms = max(job.ended_at_ms or page.now_ms, job.created_at_ms + 1)

    def _bar(self, kind: str, from_ms: int, until_ms: int) -> tuple[str, float, float]:
        whole = self._until_ms - self._from_ms
        left = max(0.0, min(100.0, 100 * (from_ms - self._from_ms) / whole))
        width = max(0.0, min(100.0 - left, 100 * (until_ms - from_ms) / whole))
        return kind, round(min(left, 99.0), 2), round(width, 2)

    def attempt(self, lease: Lease) -> Attempt:
        page = self._page
        end_ms = lease.ended_at_ms or page.now_ms
        start_ms = lease.started_at_ms
        bars = [self._bar("wait", lease.granted_at_ms, start_ms or end_ms)]
        said = [page.say("job.granted_at", at=formats.instant(lease.granted_at_ms))]
        if start_ms is not None:
            bars.append(self._bar(_COLOURS.get(lease.outcome, "run"), start_ms, end_ms))
            said.append(page.say("job.started_at", at=formats.instant(start_ms)))
        if lease.ended_at_ms is not None:
            said.append(page.say("job.ended_at", at=formats.instant(lease.ended_at_ms)))
        return Attempt(
            number=lease.epoch,
            state=_state(lease),
            site=self._names.get(lease.site_id, lease.site_id),
            site_name=self._names.get(lease.site_id, lease.site_id),
            pool=self._names.get(lease.pool_id, lease.pool_id),
            nodes=", ".join(lease.nodes[:3]) + ("…" if len(lease.nodes) > 3 else ""),
            timeline=bars,
            timeline_text=" · ".join(said),
            detail=sentence(page.language, lease.detail, self._names),
            lasted_ms=None if start_ms is None else lease.meters.duration_ms or end_ms - start_ms,
            max_rss_mib=lease.meters.max_rss_mib,
            exit_code=lease.exit_code,
            contract=lease.contract_id or "",
        )

    def task(self, task: Task, leases: list[Lease]) -> dict[str, Any]:
        return {
            "index": task.index,
            "state": task.state.value,
            "detail": sentence(self._page.language, task.detail, self._names),
            "attempts": [self.attempt(lease) for lease in leases],
        }


def _state(lease: Lease) -> str:
    if lease.state is LeaseState.ENDED:
        return lease.outcome.value or "ended"
    return "stopping" if lease.stop else lease.state.value


def running_cost(leases: list[Lease], now_ms: int) -> int:
    """What open leases have cost since they began, by their hourly rates."""
    return sum(
        cost_of_run(lease.rate, now_ms - lease.started_at_ms)
        for lease in leases
        if lease.started_at_ms is not None and lease.ended_at_ms is None
    )


def results_of(found: list[tuple[Task, list[Lease]]]) -> list[Result]:
    """Outputs of each task's last attempt that has any."""
    kept = []
    for task, leases in found:
        last = next((lease for lease in reversed(leases) if lease.outputs), None)
        kept += [
            Result(task.index, one.name, one.digest, one.size_bytes, one.tree)
            for one in (last.outputs if last else ())
        ]
    return kept
