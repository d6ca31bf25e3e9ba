"""The tables of the jobs context."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from suanwang.grid.jobs.model import RunTemplate, Terms
from suanwang.platform.schema import Id, Money, Ms, Packed, PairId, metadata
from suanwang.protocol.messages import Meters, OutputRecord

demand_classes = sa.Table(
    "demand_classes",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("body", Packed(), nullable=False),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organisation_id", Id, nullable=False),
    sa.Column("project_id", Id, nullable=False),
    sa.Column("user_id", Id, nullable=False),
    sa.Column("name", sa.String(120), nullable=False),
    sa.Column("class_id", sa.String(40), nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("cancel_requested", sa.Boolean, nullable=False),
    sa.Column("created_at_ms", Ms, nullable=False),
    sa.Column("ended_at_ms", Ms),
    *(
        sa.Column(name, sa.Integer, nullable=False)
        for name in (
            "total",
            "waiting",
            "queued",
            "leased",
            "running",
            "succeeded",
            "failed",
            "cancelled",
            "refused",
        )
    ),
    sa.Column("depends_on", Packed(list[str]), nullable=False),
    sa.Column("is_array", sa.Boolean, nullable=False),
    sa.Column("spec", Packed(dict[str, Any]), nullable=False),
    sa.Column("terms", Packed(Terms), nullable=False),
    sa.Column("template", Packed(RunTemplate), nullable=False),
    sa.Column("sealed_secrets", sa.LargeBinary),
    sa.Column("purged_at_ms", Ms),
    sa.Index("ix_jobs_organisation_id_id", "organisation_id", "id"),
    sa.Index("ix_jobs_project_id_id", "project_id", "id"),
)

_waiting_jobs = jobs.c.waiting > 0
sa.Index("ix_jobs_waiting", jobs.c.id, sqlite_where=_waiting_jobs, postgresql_where=_waiting_jobs)

_kept_jobs = sa.text("purged_at_ms IS NULL")
sa.Index("ix_jobs_kept", jobs.c.id, sqlite_where=_kept_jobs, postgresql_where=_kept_jobs)

job_dependencies = sa.Table(
    "job_dependencies",
    metadata,
    sa.Column("job_id", Id, primary_key=True),
    sa.Column("needs_job_id", Id, primary_key=True, index=True),
)

tasks = sa.Table(
    "tasks",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("job_id", Id, nullable=False),
    sa.Column("index", sa.Integer, nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("losses", sa.Integer, nullable=False),
    sa.Column("lease_id", Id),
    sa.Column("not_before_ms", Ms, nullable=False),
    sa.Column("class_id", sa.String(40), nullable=False),
    sa.Column("organisation_id", Id, nullable=False),
    sa.Column("project_id", Id, nullable=False),
    sa.Column("user_id", Id, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("queued_at_ms", Ms, nullable=False),
    sa.Column("ended_at_ms", Ms),
    sa.Column("exit_code", sa.Integer),
    sa.Column("failure", sa.String(20), nullable=False),
    sa.Column("detail", sa.String(500), nullable=False),
    sa.Column("preemptions", sa.Integer, nullable=False, server_default="0"),
    sa.Index("ix_tasks_job_id_index", "job_id", "index"),
)

_queued = tasks.c.state == sa.literal_column("'queued'")
sa.Index(
    "ix_tasks_queue",
    tasks.c.organisation_id,
    tasks.c.project_id,
    tasks.c.user_id,
    tasks.c.class_id,
    tasks.c.priority,
    tasks.c.queued_at_ms,
    tasks.c.id,
    tasks.c.not_before_ms,
    sqlite_where=_queued,
    postgresql_where=_queued,
)

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("task_id", Id, nullable=False, index=True),
    sa.Column("job_id", Id, nullable=False, index=True),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("organisation_id", Id, nullable=False),
    sa.Column("project_id", Id, nullable=False),
    sa.Column("user_id", Id, nullable=False),
    sa.Column("class_id", sa.String(40), nullable=False),
    sa.Column("site_id", Id, nullable=False),
    sa.Column("pool_id", Id, nullable=False),
    sa.Column("alternative", sa.Integer, nullable=False),
    sa.Column("node_members", Packed(list[tuple[str, int]]), nullable=False),
    sa.Column("members", sa.Integer, nullable=False),
    sa.Column("cpu_milli", sa.BigInteger, nullable=False),
    sa.Column("memory_mib", sa.BigInteger, nullable=False),
    sa.Column("disk_mib", sa.BigInteger, nullable=False),
    sa.Column("accelerator_milli", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("stop", sa.String(12), nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("preemptible", sa.Boolean, nullable=False),
    sa.Column("granted_at_ms", Ms, nullable=False),
    sa.Column("started_at_ms", Ms),
    sa.Column("ended_at_ms", Ms),
    sa.Column("ends_by_ms", Ms, nullable=False),
    sa.Column("expected_end_ms", Ms, nullable=False),
    sa.Column("protected_until_ms", Ms, nullable=False),
    sa.Column("lost_at_ms", Ms),
    sa.Column("lost_after_s", sa.Integer, nullable=False),
    sa.Column("stop_after_s", sa.Integer),
    sa.Column("replace", sa.Boolean, nullable=False),
    sa.Column("reconcile", sa.String(20), nullable=False),
    sa.Column("price_list_id", Id, nullable=False),
    sa.Column("provider_id", Id, nullable=False),
    sa.Column("rate", Money, nullable=False),
    sa.Column("hold", Money, nullable=False),
    sa.Column("score", Packed(), nullable=False),
    sa.Column("outcome", sa.String(12), nullable=False),
    sa.Column("exit_code", sa.Integer),
    sa.Column("failure", sa.String(20), nullable=False),
    sa.Column("detail", sa.String(500), nullable=False),
    sa.Column("engine_id", sa.String(80), nullable=False),
    sa.Column("nodes", Packed(list[str]), nullable=False),
    sa.Column("meters", Packed(Meters), nullable=False),
    sa.Column("outputs", Packed(list[OutputRecord]), nullable=False),
    sa.Column("metered_until_ms", Ms),
    sa.Column("cards", Packed(list[list[int]])),
    sa.Column("contract_id", Id),
)

_open = leases.c.state != sa.literal_column("'ended'")
sa.Index(
    "ix_leases_open",
    leases.c.site_id,
    leases.c.revision,
    sqlite_where=_open,
    postgresql_where=_open,
)

refusals = sa.Table(
    "refusals",
    metadata,
    sa.Column("project_id", Id, primary_key=True),
    sa.Column("user_id", Id, primary_key=True),
    sa.Column("class_id", sa.String(40), primary_key=True),
    sa.Column("priority", sa.Integer, primary_key=True),
    sa.Column("reason", sa.String(40), nullable=False),
    sa.Column("detail", sa.String(500), nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("verdicts", Packed(), nullable=False),
    sa.Column("at_ms", Ms, nullable=False),
    sa.Column("organisation_id", Id, nullable=False),
)

rounds = sa.Table(
    "rounds",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("at_ms", Ms, nullable=False, index=True),
    sa.Column("snapshot_digest", sa.String(64), nullable=False),
    sa.Column("code_version", sa.String(40), nullable=False),
    sa.Column("placed", sa.Integer, nullable=False),
    sa.Column("refused", sa.Integer, nullable=False),
    sa.Column("stale", sa.Integer, nullable=False),
    sa.Column("took_ms", sa.Integer, nullable=False),
    sa.Column("plan", sa.LargeBinary, nullable=False),
)

share_usage = sa.Table(
    "share_usage",
    metadata,
    sa.Column("share_id", PairId, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
    sa.Column("at_ms", Ms, nullable=False),
)

estimator_state = sa.Table(
    "estimator_state",
    metadata,
    sa.Column("id", sa.String(20), primary_key=True),
    sa.Column("at_ms", Ms, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
)

arrears = sa.Table(
    "arrears",
    metadata,
    sa.Column("project_id", Id, primary_key=True),
    sa.Column("since_ms", Ms, nullable=False),
)

log_chunks = sa.Table(
    "log_chunks",
    metadata,
    sa.Column("lease_id", Id, primary_key=True),
    sa.Column("stream", sa.String(12), primary_key=True),
    sa.Column("offset", sa.BigInteger, primary_key=True),
    sa.Column("data", sa.LargeBinary, nullable=False),
)

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("user_id", Id, primary_key=True),
    sa.Column("key", sa.String(120), primary_key=True),
    sa.Column("request_digest", sa.String(64), nullable=False),
    sa.Column("result", Packed(), nullable=False),
    sa.Column("at_ms", Ms, nullable=False, index=True),
)
