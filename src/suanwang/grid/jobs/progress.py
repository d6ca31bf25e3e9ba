"""Move tasks and keep their jobs' counts true; the one door through which task states change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import msgspec

from suanwang.grid.jobs import rules, store
from suanwang.grid.jobs.model import FINAL, Job, Task, TaskState
from suanwang.kernel.errors import require
from suanwang.platform.database import Tx


class Steps:
    """Task steps of one transaction, collected and written together."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self._tasks: dict[str, Task] = {}
        self._deltas: dict[str, dict[TaskState, int]] = defaultdict(lambda: defaultdict(int))

    def move(self, before: Task, after: Task) -> None:
        """Record a step; checked against the rule that states only move forward."""
        rules.check_task_step(before.attempt, before.state, after.attempt, after.state)
        self._tasks[after.task_id] = after
        self.count(after.job_id, before.state, after.state)

    def count(self, job_id: str, before: TaskState, after: TaskState, tasks: int = 1) -> None:
        """Only the counts, for tasks that were written by a statement of their own."""
        if before is not after:
            self._deltas[job_id][before] -= tasks
            self._deltas[job_id][after] += tasks

    def write(self) -> list[Job]:
        """Write tasks and job counts; returns the jobs that this brought to a final state."""
        tx = self._tx
        store.update_tasks(tx, [self._tasks[task_id] for task_id in sorted(self._tasks)])
        self._tasks = {}
        deltas, self._deltas = self._deltas, defaultdict(lambda: defaultdict(int))
        jobs = store.jobs_by_id(tx.conn, deltas, lock=True)
        rows: list[tuple[object, ...]] = []
        ended: list[Job] = []
        for job_id in sorted(deltas):
            job = jobs[job_id]
            counts = job.counts()
            for state, delta in deltas[job_id].items():
                counts[state] += delta
            require(
                min(counts.values()) >= 0 and sum(counts.values()) == job.total,
                "JobCountsWrong",
                f"{job_id}: {counts} of {job.total}",
            )
            state = rules.job_state(counts)
            done = state in FINAL
            if done and job.ended_at_ms is None:
                ended.append(msgspec.structs.replace(job, state=state, ended_at_ms=tx.now_ms))
            ended_at_ms = (job.ended_at_ms or tx.now_ms) if done else None
            rows.append((state.value, ended_at_ms, *(counts[s] for s in TaskState), job_id))
        store.update_job_counts(tx, rows)
        return ended


def release_dependants(tx: Tx, ended: Sequence[Job]) -> list[Job]:
    """Queue (or cancel) the tasks of jobs that waited for these; returns jobs ended by that."""
    waiting = store.dependants_of(tx.conn, [job.job_id for job in ended]) if ended else []
    if not waiting:
        return []
    states = store.dependency_states(tx.conn, waiting)
    steps = Steps(tx)
    by_job: dict[str, list[Task]] = defaultdict(list)
    for task in store.open_tasks_of_jobs(tx.conn, waiting):
        if task.state is TaskState.WAITING:
            by_job[task.job_id].append(task)
    for job_id, tasks in sorted(by_job.items()):
        needed = states.get(job_id, [])
        broken = [s for s in needed if s in FINAL and s != TaskState.SUCCEEDED]
        ready = all(s == TaskState.SUCCEEDED for s in needed)
        if not broken and not ready:
            continue
        for task in tasks:
            if broken:
                after = msgspec.structs.replace(
                    task,
                    state=TaskState.CANCELLED,
                    ended_at_ms=tx.now_ms,
                    detail=f"DependencyFailed: a job it needs ended as {broken[0]}",
                )
            else:
                after = msgspec.structs.replace(task, state=TaskState.QUEUED)
            steps.move(task, after)
    return steps.write()


def settle(tx: Tx, steps: Steps) -> list[Job]:
    """Write the steps, then release dependants until nothing more ends; returns all jobs ended."""
    ended = steps.write()
    all_ended = list(ended)
    while ended:
        ended = release_dependants(tx, ended)
        all_ended.extend(ended)
    return all_ended
