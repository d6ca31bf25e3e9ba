"""Answers to: where could it run, why does it wait, when will it start, why did it run there."""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Connection

from suanwang.engines.scheduling.candidates import candidates
from suanwang.engines.scheduling.model import PoolVerdict, RefusalReason
from suanwang.grid.jobs import leases_store, shown_store, store
from suanwang.grid.jobs.demand import demand_of, facts_of
from suanwang.grid.jobs.estimates import RuntimeEstimates, on_grid
from suanwang.grid.jobs.model import Job, Task, TaskState
from suanwang.grid.jobs.planned import Key, Planned
from suanwang.grid.jobs.snapshot import Gathered, class_from
from suanwang.grid.jobs.spec import JobSpec
from suanwang.grid.jobs.submission import Owner, blob_facts
from suanwang.grid.sites import service as sites
from suanwang.kernel.money import format_yuan, scale


def candidates_for(
    conn: Connection,
    gathered: Gathered,
    owner: Owner,
    spec: JobSpec,
    now_ms: int,
    estimates: RuntimeEstimates,
) -> dict[str, Any]:
    """The candidate table for a specification that has not been submitted."""
    estimate = estimates.estimate(facts_of(spec, owner.project_id, owner.user_id, now_ms))
    expected_s = on_grid(estimate.median_s, spec.max_runtime)
    named = {item.digest for item in spec.inputs.values()}
    if spec.workdir is not None:
        named.add(spec.workdir)
    facts = blob_facts(conn, owner.organisation_id, sorted(named))
    demand = demand_of(
        spec,
        facts,
        lambda name: sites.place_id(conn, name),
        expected_s=expected_s,
    )
    found = candidates(
        gathered.snapshot,
        demand.demand_class,
        owner.organisation_id,
        now_ms,
        owner.project_id,
    )
    rows = [verdict_view(verdict, gathered, spec.max_runtime, expected_s) for verdict in found]
    chosen = next((i for i, verdict in enumerate(found) if _is_open(verdict)), None)
    if chosen is not None:
        rows[chosen]["chosen"] = True
    return {
        "candidates": rows,
        "feasible": chosen is not None,
        "runtime": {
            "median_s": estimate.median_s,
            "low_s": estimate.low_s,
            "high_s": estimate.high_s,
            "confidence_percent": estimate.confidence_percent,
            "basis": estimate.basis.value,
        },
    }


def _is_open(verdict: PoolVerdict) -> bool:
    """It can start there now, or once there is room."""
    return verdict.score is not None and verdict.reason in (None, RefusalReason.NO_FREE_CAPACITY)


def verdict_view(
    verdict: PoolVerdict, gathered: Gathered, runtime_s: int, expected_s: int | None = None
) -> dict[str, Any]:
    pool = gathered.pools.get(verdict.pool_id)
    site = gathered.sites.get(pool.site_id) if pool is not None else None
    view: dict[str, Any] = {
        "pool_id": verdict.pool_id,
        "pool": pool.name if pool else verdict.pool_id,
        "site": site.name if site else "",
        "site_name": site.display_name if site else "",
        "accelerator": pool.accelerator.model if pool and pool.accelerator else None,
        "architecture": pool.architecture if pool else "",
        "alternative": verdict.alternative,
        "chosen": False,
        "reason": verdict.reason.value if verdict.reason else None,
        "detail": verdict.detail,
        "contract": None,
        "closes_at_ms": None,
    }
    part = next((p.part for p in gathered.snapshot.pools if p.pool_id == verdict.pool_id), None)
    if part is not None:
        view["contract"] = part.contract_id or None
        view["closes_at_ms"] = part.closes_at_ms
    score = verdict.score
    if score is not None:
        cost = scale(score.rate_micro_yuan_per_hour, runtime_s, 3600)
        expected = scale(score.rate_micro_yuan_per_hour, expected_s or runtime_s, 3600)
        view.update(
            rate_micro_yuan_per_hour=score.rate_micro_yuan_per_hour,
            rate_yuan_per_hour=format_yuan(score.rate_micro_yuan_per_hour, decimals=4),
            expected_wait_s=score.expected_wait_s,
            expected_cost_micro_yuan=expected,
            expected_cost_yuan=format_yuan(expected, decimals=4),
            cost_at_most_micro_yuan=cost,
            cost_at_most_yuan=format_yuan(cost, decimals=4),
            score={
                "total": score.total,
                "money": score.money,
                "wait": score.wait,
                "transfer": score.transfer,
            },
        )
    return view


def group_of(conn: Connection, job: Job, now_ms: int) -> Key | None:
    """The queue group of the job's next task; None if nothing of it waits for a place yet."""
    task, group = _first_waiting(shown_store.tasks_of_job(conn, job.job_id, limit=1000))
    return group if task is not None and task.not_before_ms <= now_ms else None


def _first_waiting(tasks: list[Task]) -> tuple[Task | None, Key | None]:
    task = next((task for task in tasks if task.state is TaskState.QUEUED), None)
    if task is None:
        return None, None
    key = (task.organisation_id, task.project_id, task.user_id, task.class_id, task.priority)
    return task, key


def explain_job(conn: Connection, planned: Planned, job: Job, now_ms: int) -> dict[str, Any]:
    """For a waiting job a forecast; for one that was placed, where and at what score."""
    gathered = planned.gathered
    tasks = shown_store.tasks_of_job(conn, job.job_id, limit=1000)
    answer: dict[str, Any] = {"job_id": job.job_id, "state": job.state.value}
    task, group = _first_waiting(tasks)
    if task is not None and group is not None:
        if task.not_before_ms > now_ms:
            answer["backoff_s"] = -(-(task.not_before_ms - now_ms) // 1000)
        found = planned.explanation(group)
        if found is not None:
            answer["waiting"] = found
    elif job.state is TaskState.WAITING:
        answer["depends_on"] = job.depends_on
    placed = [task for task in tasks if task.lease_id]
    leases = leases_store.leases_by_id(conn, [t.lease_id for t in placed[:20] if t.lease_id])
    names = sites.names(conn)
    answer["placements"] = [
        {
            "task": task.index,
            "site": names.get(lease.site_id, ""),
            "pool": names.get(lease.pool_id, ""),
            "score": lease.score,
            "attempt": lease.epoch,
            "contract": lease.contract_id,
        }
        for task in placed[:20]
        if task.lease_id is not None and (lease := leases.get(task.lease_id)) is not None
    ]
    refused = [task for task in tasks if task.state is TaskState.REFUSED]
    if refused:
        answer["refused"] = refused[0].detail
        bodies = store.class_bodies(conn, [job.class_id])
        demand = class_from(job.class_id, bodies[job.class_id])
        found_now = candidates(
            gathered.snapshot, demand, job.organisation_id, now_ms, job.project_id
        )
        answer["candidates"] = [
            verdict_view(verdict, gathered, demand.max_runtime_s, demand.expected_runtime_s)
            for verdict in found_now
        ]
    return answer
