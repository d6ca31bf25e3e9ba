"""Submit and cancel jobs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
from sqlalchemy.engine import Connection

from suanwang.engines.estimation.model import Estimate, JobFacts
from suanwang.engines.scheduling.model import NO_CONTRACT
from suanwang.grid.data import service as data
from suanwang.grid.data.model import BlobKind
from suanwang.grid.jobs import keys_store, leases_store, store
from suanwang.grid.jobs.demand import BlobFact, Demand, demand_of, facts_of
from suanwang.grid.jobs.estimates import RuntimeEstimates, on_grid
from suanwang.grid.jobs.model import FINAL, Job, StopReason, TaskState
from suanwang.grid.jobs.orders import stop_leases
from suanwang.grid.jobs.progress import Steps, settle
from suanwang.grid.jobs.spec import JobSpec
from suanwang.grid.sites import service as sites
from suanwang.kernel.errors import Conflict, InvalidInput, LimitExceeded
from suanwang.platform.database import Tx
from suanwang.protocol.messages import FailureClass
from suanwang.trade.contracts import service as contracts
from suanwang.trade.contracts.model import ContractState

MAX_BATCH = 10_000
MAX_TASKS_PER_CALL = 200_000
TASK_CHUNK = 10_000


class Seal(Protocol):
    """Encrypts secrets at rest, bound to the job they belong to."""

    def __call__(self, secrets: dict[str, str], context: str) -> bytes: ...


class Owner(msgspec.Struct, frozen=True):
    """Whose job it is and whose money."""

    organisation_id: str
    project_id: str
    user_id: str


def submit(
    tx: Tx,
    owners: Sequence[Owner],
    specs: Sequence[JobSpec],
    seal: Seal,
    *,
    idempotency_key: str | None = None,
    estimates: RuntimeEstimates | None = None,
) -> list[str]:
    """Queue jobs, all or none; their ids in order. A repeated key gives the first answer."""
    if len(specs) > MAX_BATCH or sum(spec.array or 1 for spec in specs) > MAX_TASKS_PER_CALL:
        raise LimitExceeded(
            "BatchTooLarge",
            f"One call takes at most {MAX_BATCH} jobs and {MAX_TASKS_PER_CALL} tasks.",
            hint="Split the submission.",
        )
    digest = ""
    if idempotency_key is not None and owners:
        digest = _digest(owners, specs)
        tx.serialise(f"key:{owners[0].user_id}:{idempotency_key}")
        earlier = _earlier(tx.conn, owners[0].user_id, idempotency_key, digest)
        if earlier is not None:
            return earlier
    demands = _demands(tx, specs, owners, estimates)
    job_ids = _insert(tx, owners, specs, demands, seal)
    if idempotency_key is not None and owners:
        keys_store.remember(tx, owners[0].user_id, idempotency_key, digest, job_ids)
    return job_ids


def _digest(owners: Sequence[Owner], specs: Sequence[JobSpec]) -> str:
    body = [
        (owner.project_id, spec.model_dump_json())
        for owner, spec in zip(owners, specs, strict=True)
    ]
    return hashlib.sha256(msgspec.msgpack.encode(body)).hexdigest()


def _earlier(conn: Connection, user_id: str, key: str, digest: str) -> list[str] | None:
    row = keys_store.remembered(conn, user_id, key)
    if row is None:
        return None
    if row.request_digest != digest:
        raise Conflict(
            "IdempotencyKeyReused",
            "This Idempotency-Key was used for a different submission.",
            hint="Use a new key for each new submission.",
        )
    return list(row.result)


def _demands(
    tx: Tx,
    specs: Sequence[JobSpec],
    owners: Sequence[Owner],
    estimates: RuntimeEstimates | None,
) -> list[Demand]:
    conn = tx.conn
    by_name: dict[str, str] = {}
    said: dict[JobFacts, Estimate] = {}

    def place_id(name: str) -> str:
        if name not in by_name:
            by_name[name] = sites.place_id(conn, name)
        return by_name[name]

    wanted: dict[str, set[str]] = {}
    for spec, owner in zip(specs, owners, strict=True):
        named = {item.digest for item in spec.inputs.values()}
        if spec.workdir is not None:
            named.add(spec.workdir)
        if named:
            wanted.setdefault(owner.organisation_id, set()).update(named)
    facts: dict[str, dict[str, BlobFact]] = {}
    for organisation_id, digests in sorted(wanted.items()):
        data.note_used(tx, organisation_id, sorted(digests))
        facts[organisation_id] = blob_facts(conn, organisation_id, sorted(digests))
    for spec, owner in zip(specs, owners, strict=True):
        check_trees(spec, facts.get(owner.organisation_id, {}))
    check_contracts(conn, specs, owners)
    demands = []
    for spec, owner in zip(specs, owners, strict=True):
        about = facts_of(spec, owner.project_id, owner.user_id, tx.now_ms)
        estimate = None
        if estimates is not None:
            estimate = said.get(about) or said.setdefault(about, estimates.estimate(about))
        demands.append(
            demand_of(
                spec,
                facts.get(owner.organisation_id, {}),
                place_id,
                facts=about if estimates is not None else None,
                estimate=estimate,
                expected_s=on_grid(estimate.median_s, spec.max_runtime) if estimate else None,
            )
        )
    return demands


def check_contracts(conn: Connection, specs: Sequence[JobSpec], owners: Sequence[Owner]) -> None:
    """A contract that a job insists on is the project's own and has hours left."""
    named = sorted({spec.contract for spec in specs if spec.contract} - {NO_CONTRACT})
    found = {one.id: one for one in contracts.by_ids(conn, named)}
    for spec, owner in zip(specs, owners, strict=True):
        if spec.contract is None or spec.contract == NO_CONTRACT:
            continue
        one = found.get(spec.contract)
        if one is None or one.buyer.project_id != owner.project_id:
            raise InvalidInput(
                "NoSuchContract",
                f"The project has no contract {spec.contract}.",
                hint="Give the id of one of its contracts, or `none` for no contract's capacity.",
                field="contract",
            )
        if one.state is not ContractState.SIGNED:
            raise InvalidInput(
                "ContractEnded",
                f"Contract {spec.contract} is {one.state.value}.",
                hint="Name another one, or leave `contract` out.",
                field="contract",
            )


def check_trees(spec: JobSpec, facts: Mapping[str, BlobFact]) -> None:
    """What is to be unpacked has to be a tree: better said now than at the site."""
    named = [("workdir", spec.workdir)] if spec.workdir is not None else []
    named += [(f"inputs.{name}", item.digest) for name, item in spec.inputs.items() if item.tree]
    for field, digest in named:
        if not facts[digest].is_tree:
            raise InvalidInput(
                "NotATree",
                f"{digest} is a single blob, not a folder.",
                hint="Upload the folder, or give it as an input without `tree`.",
                field=field,
            )


def blob_facts(
    conn: Connection, organisation_id: str, digests: Sequence[str]
) -> dict[str, BlobFact]:
    """Sizes and places of blobs that the organisation owns; a missing one is an input error."""
    found = data.facts(conn, organisation_id, digests)
    missing = [digest for digest in digests if digest not in found]
    if missing:
        raise InvalidInput(
            "BlobMissing",
            f"{missing[0]} is not in the blob store.",
            hint="Upload it first: the command line does so for folders and files.",
            field="inputs",
        )
    return {
        digest: BlobFact(
            size_bytes=fact.total_bytes,
            at_sites=fact.at_sites,
            is_tree=fact.kind is BlobKind.TREE,
        )
        for digest, fact in found.items()
    }


def _insert(
    tx: Tx,
    owners: Sequence[Owner],
    specs: Sequence[JobSpec],
    demands: Sequence[Demand],
    seal: Seal,
) -> list[str]:
    classes: dict[str, Any] = {}
    job_rows: list[dict[str, Any]] = []
    task_rows: list[dict[str, Any]] = []
    dependency_rows: list[dict[str, Any]] = []
    for owner, spec, demand in zip(owners, specs, demands, strict=True):
        job_id = tx.ids.new("job")
        needs = _dependencies(tx.conn, owner, spec)
        waits = any(job.state not in FINAL for job in needs)
        state = TaskState.WAITING if waits else TaskState.QUEUED
        classes[demand.demand_class.class_id] = demand.demand_class
        job_rows.append(_job_row(tx, job_id, owner, spec, demand, state, seal))
        dependency_rows.extend(
            {"job_id": job_id, "needs_job_id": job.job_id}
            for job in sorted(needs, key=lambda job: job.job_id)
        )
        task_rows.extend(_task_rows(tx, job_id, owner, spec, demand, state))
        while len(task_rows) >= TASK_CHUNK:
            store.insert_tasks(tx, task_rows[:TASK_CHUNK])
            del task_rows[:TASK_CHUNK]
    store.insert_classes(tx, [{"id": key, "body": classes[key]} for key in sorted(classes)])
    if job_rows:
        store.insert_jobs(tx, job_rows)
    if task_rows:
        store.insert_tasks(tx, task_rows)
    store.insert_dependencies(tx, dependency_rows)
    return [row["id"] for row in job_rows]


def _dependencies(conn: Connection, owner: Owner, spec: JobSpec) -> list[Job]:
    if not spec.depends_on:
        return []
    # held until the commit: a job that ends meanwhile would not see who waits for it
    found = store.jobs_by_id(conn, spec.depends_on, share=True)
    for job_id in spec.depends_on:
        job = found.get(job_id)
        if job is None or job.organisation_id != owner.organisation_id:
            raise InvalidInput(
                "DependencyUnknown",
                f"depends_on names {job_id!r}, which is not a job of yours.",
                hint="Give job ids as `suan ls` shows them.",
                field="depends_on",
            )
        if job.state in FINAL and job.state is not TaskState.SUCCEEDED:
            raise Conflict(
                "DependencyFailed",
                f"{job_id} ended as {job.state.value} already.",
                field="depends_on",
            )
    return list(found.values())


def _job_row(
    tx: Tx,
    job_id: str,
    owner: Owner,
    spec: JobSpec,
    demand: Demand,
    state: TaskState,
    seal: Seal,
) -> dict[str, Any]:
    total = spec.array or 1
    row: dict[str, Any] = {
        "id": job_id,
        "organisation_id": owner.organisation_id,
        "project_id": owner.project_id,
        "user_id": owner.user_id,
        "name": spec.name,
        "class_id": demand.demand_class.class_id,
        "priority": spec.priority,
        "state": state.value,
        "cancel_requested": False,
        "created_at_ms": tx.now_ms,
        "ended_at_ms": None,
        "total": total,
        "depends_on": spec.depends_on,
        "is_array": spec.array is not None,
        "spec": demand.spec,
        "terms": demand.terms,
        "template": demand.template,
        "purged_at_ms": None,
        "sealed_secrets": seal(demand.secrets, job_id) if demand.secrets else None,
    }
    row.update({name.value: 0 for name in TaskState})
    row[state.value] = total
    return row


def _task_rows(
    tx: Tx, job_id: str, owner: Owner, spec: JobSpec, demand: Demand, state: TaskState
) -> list[dict[str, Any]]:
    common: dict[str, Any] = {
        "job_id": job_id,
        "state": state.value,
        "attempt": 0,
        "failures": 0,
        "losses": 0,
        "preemptions": 0,
        "lease_id": None,
        "not_before_ms": 0,
        "class_id": demand.demand_class.class_id,
        "organisation_id": owner.organisation_id,
        "project_id": owner.project_id,
        "user_id": owner.user_id,
        "priority": spec.priority,
        "queued_at_ms": tx.now_ms,
        "ended_at_ms": None,
        "exit_code": None,
        "failure": FailureClass.NONE.value,
        "detail": "",
    }
    new = tx.ids.new
    return [{"id": new("task"), "index": index, **common} for index in range(spec.array or 1)]


def cancel(tx: Tx, job_id: str) -> list[str]:
    """End what has not started, ask sites to stop what has; returns sites with new orders.

    Cancelling what has ended changes nothing.
    """
    leases_store.open_leases_of_job(tx.conn, job_id)  # locked first: see store.LOCK_ORDER
    open_tasks = store.open_tasks_of_jobs(tx.conn, [job_id])
    store.request_cancel(tx, [job_id])
    steps = Steps(tx)
    for task in open_tasks:
        if task.state in (TaskState.WAITING, TaskState.QUEUED):
            after = msgspec.structs.replace(
                task, state=TaskState.CANCELLED, ended_at_ms=tx.now_ms, detail="cancelled"
            )
            steps.move(task, after)
    settle(tx, steps)
    # of every attempt: one that was replaced may still run at a silent site
    leases = leases_store.open_leases_of_job(tx.conn, job_id)
    return stop_leases(tx, leases, StopReason.CANCELLED)
