"""Two attempts of one task are alive: one was replaced while its site was silent. Who is kept?

Only unfenced jobs get here; their `reconcile` decides, once: a lease that is told to stop has
no say any more.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from suanwang.grid.jobs.model import (
    FINAL,
    TASK_RANK,
    Lease,
    LeaseState,
    Outcome,
    StopReason,
    Task,
    TaskState,
)


@dataclass(frozen=True, slots=True)
class Settled:
    """The task afterwards, and the lease that shall stop."""

    task: Task
    leave: Lease | None = None


def settle_rivals(task: Task, lease: Lease, current: Lease | None) -> Settled:
    """News of `lease`, which is not the task's `current` one (or whose task is over)."""
    if task.state in FINAL or lease.stop is not StopReason.NONE:
        return Settled(task, lease)
    rival = current if current is not None and current.state is not LeaseState.ENDED else None
    if lease.state is LeaseState.ENDED:
        if lease.outcome is Outcome.SUCCEEDED and lease.reconcile != "keep_replacement":
            return Settled(_succeeded(task, lease), rival)
        return Settled(task)
    if rival is None or _kept(lease, rival) is lease:
        return Settled(_adopted(task, lease), rival)
    return Settled(task, lease)


def _kept(one: Lease, other: Lease) -> Lease:
    original, replacement = (one, other) if one.epoch < other.epoch else (other, one)
    match original.reconcile:
        case "keep_replacement":
            return replacement
        case "longest_running":
            began = replacement.started_at_ms
            late = original.started_at_ms is None or (
                began is not None and began < original.started_at_ms
            )
            return replacement if late and began is not None else original
        case "best_score":
            costs = [lease.score.get("total", 0) for lease in (original, replacement)]
            return replacement if costs[1] < costs[0] else original
        case _:
            return original


def _adopted(task: Task, lease: Lease) -> Task:
    """The task is this lease's again; a later attempt if its state would step back otherwise."""
    running = lease.state is LeaseState.RUNNING
    state = TaskState.RUNNING if running else TaskState.LEASED
    back = TASK_RANK[state] < TASK_RANK[task.state]
    return msgspec.structs.replace(
        task,
        state=state,
        attempt=task.attempt + back,
        lease_id=lease.lease_id,
        detail=lease.detail,
    )


def _succeeded(task: Task, lease: Lease) -> Task:
    return msgspec.structs.replace(
        task,
        state=TaskState.SUCCEEDED,
        lease_id=lease.lease_id,
        ended_at_ms=lease.ended_at_ms,
        exit_code=lease.exit_code,
        failure=lease.failure,
        detail=lease.detail,
    )
