"""First schema: tenancy, ledger and billing, sites, data, jobs.

A revision is history: it says what the tables were, whatever the program's tables have become.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

first = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
ID = sa.String(40).with_variant(sa.String(40, collation="C"), "postgresql")
LONG = sa.BigInteger()
WHOLE = sa.Integer()
FLAG = sa.Boolean()
PACKED = sa.LargeBinary()
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    first.create_all(op.get_bind(), checkfirst=False)


def _columns(kind: Any, names: str, of: str | None, **options: Any) -> list[sa.Column[Any]]:
    links = [sa.ForeignKey(of)] if of else []
    return [sa.Column(name, kind, *links, **options) for name in names.split()]


def _key(kind: Any, names: str, of: str | None = None) -> list[sa.Column[Any]]:
    return _columns(kind, names, of, primary_key=True, autoincrement=kind is SERIAL)


def _must(kind: Any, names: str, of: str | None = None) -> list[sa.Column[Any]]:
    return _columns(kind, names, of, nullable=False)


def _may(kind: Any, names: str, of: str | None = None) -> list[sa.Column[Any]]:
    return _columns(kind, names, of, nullable=True)


def _index(name: str, columns: str, unique: bool = False, where: str | None = None) -> sa.Index:
    if where is None:
        return sa.Index(name, *columns.split(), unique=unique)
    part = sa.text(where)
    return sa.Index(name, *columns.split(), unique=unique, sqlite_where=part, postgresql_where=part)


def _table(name: str, *parts: sa.schema.SchemaItem, **options: Any) -> None:
    sa.Table(name, first, *parts, **options)


# platform
_table(
    "outbox",
    *_key(SERIAL, "id"),
    *_must(sa.String(60), "subscriber topic"),
    *_must(PACKED, "body"),
    *_must(LONG, "created_at_ms"),
    _index("ix_outbox_subscriber_id", "subscriber id"),
)

# tenancy
_table(
    "organisations",
    *_key(ID, "id"),
    *_must(sa.String(40), "name"),
    *_must(sa.String(120), "display_name"),
    *_must(sa.String(60), "kinds"),
    *_must(WHOLE, "weight money_percent"),
    *_must(LONG, "wait_micro_yuan_per_hour"),
    *_must(WHOLE, "transfer_percent"),
    *_must(sa.String(20), "state"),
    *_must(LONG, "created_at_ms"),
    *_must(WHOLE, "version"),
    sa.UniqueConstraint("name"),
)
_table(
    "users",
    *_key(ID, "id"),
    *_must(ID, "organisation_id", of="organisations.id"),
    *_must(sa.String(63), "login"),
    *_must(sa.String(120), "display_name"),
    *_may(sa.String(254), "email"),
    *_may(sa.String(200), "password_hash"),
    *_must(sa.String(20), "role"),
    *_must(WHOLE, "weight"),
    *_must(sa.String(20), "state"),
    *_must(LONG, "created_at_ms"),
    *_must(WHOLE, "version"),
    sa.UniqueConstraint("login"),
    _index("ix_users_organisation_id", "organisation_id"),
)
_table(
    "projects",
    *_key(ID, "id"),
    *_must(ID, "organisation_id", of="organisations.id"),
    *_must(sa.String(40), "name"),
    *_must(sa.String(120), "display_name"),
    *_must(WHOLE, "weight"),
    *_may(PACKED, "quota"),
    *_must(WHOLE, "arrears_grace_s"),
    *_must(sa.String(20), "state"),
    *_must(LONG, "created_at_ms"),
    *_must(WHOLE, "version"),
    sa.UniqueConstraint("organisation_id", "name"),
)
_table(
    "memberships",
    *_key(ID, "project_id", of="projects.id"),
    *_key(ID, "user_id", of="users.id"),
    *_may(sa.String(20), "role"),
    *_must(LONG, "changed_at_ms"),
    _index("ix_memberships_user_id", "user_id"),
)
_table(
    "tokens",
    *_key(ID, "id"),
    *_must(ID, "user_id", of="users.id"),
    *_must(sa.String(120), "name"),
    *_must(sa.LargeBinary(32), "secret_sha256"),
    *_must(sa.String(200), "scopes"),
    *_may(ID, "project_id", of="projects.id"),
    *_must(LONG, "created_at_ms expires_at_ms"),
    *_may(LONG, "last_used_at_ms revoked_at_ms"),
    _index("ix_tokens_user_id_id", "user_id id"),
)
_table(
    "sessions",
    *_key(sa.String(64), "id"),
    *_must(ID, "user_id", of="users.id"),
    *_must(sa.String(64), "csrf_token"),
    *_must(LONG, "created_at_ms expires_at_ms idle_expires_at_ms"),
    *_may(LONG, "ended_at_ms"),
    _index("ix_sessions_user_id", "user_id"),
)
_table(
    "oidc_identities",
    *_key(sa.String(255), "issuer subject"),
    *_must(ID, "user_id", of="users.id"),
    *_must(LONG, "linked_at_ms"),
    _index("ix_oidc_identities_user_id", "user_id"),
)
_table(
    "login_failures",
    *_key(sa.String(80), "subject"),
    *_must(WHOLE, "failures"),
    *_must(LONG, "last_at_ms blocked_until_ms"),
    _index("ix_login_failures_last_at_ms", "last_at_ms"),
)
_table(
    "audit_log",
    *_key(ID, "id"),
    *_must(LONG, "at_ms"),
    *_must(ID, "actor_user_id organisation_id"),
    *_may(ID, "token_id"),
    *_must(sa.String(60), "action"),
    *_must(sa.String(40), "target_kind"),
    *_must(sa.String(120), "target_id"),
    *_must(PACKED, "detail"),
    *_may(sa.String(64), "request_id address"),
    _index("ix_audit_log_organisation_id_id", "organisation_id id"),
)

# ledger
_table(
    "accounts",
    *_key(ID, "id"),
    *_must(sa.String(16), "owner_kind"),
    *_must(ID, "owner_id"),
    *_must(sa.String(16), "kind"),
    *_must(sa.String(40), "currency"),
    *_must(sa.String(8), "normal_side"),
    *_must(LONG, "balance held credit_limit version created_at_ms"),
    sa.CheckConstraint("held >= 0", name="held_not_negative"),
    sa.CheckConstraint("credit_limit >= 0", name="credit_limit_not_negative"),
    sa.UniqueConstraint("owner_kind", "owner_id", "kind", "currency"),
)
_table(
    "ledger_entries",
    *_key(ID, "id"),
    *_must(sa.String(160), "key"),
    *_must(sa.String(16), "kind"),
    *_must(LONG, "at_ms recorded_at_ms"),
    *_must(sa.Text(), "description"),
    *_may(ID, "reversal_of"),
    sa.UniqueConstraint("key"),
    _index(
        "uq_ledger_entries_reversal_of", "reversal_of", unique=True, where="reversal_of IS NOT NULL"
    ),
    sqlite_with_rowid=False,
)
_table(
    "postings",
    *_key(ID, "account_id"),
    *_key(LONG, "at_ms"),
    *_key(ID, "entry_id"),
    *_must(sa.String(16), "kind"),
    *_must(LONG, "amount"),
    _index("ix_postings_entry_id", "entry_id"),
    sqlite_with_rowid=False,
)

# billing
_table(
    "price_lists",
    *_key(ID, "id"),
    *_must(ID, "pool_id"),
    *_must(WHOLE, "version"),
    *_must(LONG, "valid_from_ms core_hour memory_gib_hour accelerator_hour"),
    sa.UniqueConstraint("pool_id", "version"),
)
_table(
    "usage_records",
    *_key(ID, "source"),
    *_key(sa.String(80), "id"),
    *_must(ID, "lease_id"),
    *_must(WHOLE, "epoch"),
    *_must(ID, "task_id job_id organisation_id project_id user_id"),
    *_must(ID, "provider_organisation_id site_id pool_id price_list_id"),
    *_must(WHOLE, "hour"),
    *_must(LONG, "start_ms end_ms billable_seconds core_milli_seconds memory_mib_seconds"),
    *_must(LONG, "accelerator_milli_seconds cpu_ms"),
    *_must(FLAG, "final"),
    *_must(LONG, "hold_release_micro_yuan"),
    _index("ix_usage_records_project_id_start_ms", "project_id start_ms"),
    _index("uq_usage_records_final", "lease_id epoch", unique=True, where="final"),
    sqlite_with_rowid=False,
)
_table(
    "charges",
    *_key(ID, "source"),
    *_key(sa.String(80), "usage_id"),
    *_must(ID, "project_id provider_organisation_id"),
    *_must(LONG, "at_ms amount fee"),
    _index("ix_charges_project_id_at_ms", "project_id at_ms"),
    _index("ix_charges_provider_organisation_id_at_ms", "provider_organisation_id at_ms"),
    sqlite_with_rowid=False,
)
_table(
    "usage_troubles",
    *_key(ID, "source"),
    *_key(sa.String(80), "usage_id"),
    *_key(sa.String(40), "reason"),
    *_must(LONG, "at_ms"),
)

# sites
_table(
    "sites",
    *_key(ID, "id"),
    *_must(ID, "organisation_id"),
    *_must(sa.String(60), "name"),
    *_must(sa.String(120), "display_name"),
    *_must(sa.String(60), "region city"),
    *_must(sa.String(20), "kind"),
    *_must(sa.String(120), "operator"),
    *_must(sa.Float(), "latitude longitude"),
    *_must(sa.String(12), "state"),
    *_must(WHOLE, "session"),
    *_must(sa.String(64), "instance_id"),
    *_must(LONG, "sequence revision last_contact_ms"),
    *_must(sa.String(40), "agent_version"),
    *_must(LONG, "created_at_ms"),
    *_must(PACKED, "tariff"),
    sa.UniqueConstraint("name"),
    _index("ix_sites_organisation_id", "organisation_id"),
)
_table(
    "site_credentials",
    *_key(sa.String(64), "digest"),
    *_must(ID, "site_id", of="sites.id"),
    *_must(sa.String(10), "kind"),
    *_must(LONG, "created_at_ms"),
    *_may(LONG, "expires_at_ms ended_at_ms"),
    _index("ix_site_credentials_site_id", "site_id"),
)
_table(
    "pools",
    *_key(ID, "id"),
    *_must(ID, "site_id", of="sites.id"),
    *_must(sa.String(60), "name"),
    *_must(sa.String(20), "driver architecture kind"),
    *_must(sa.String(120), "interconnect"),
    *_must(sa.String(200), "isolation"),
    *_must(sa.String(60), "engine_version"),
    *_may(PACKED, "accelerator"),
    *_must(PACKED, "nodes cordoned"),
    *_may(WHOLE, "max_runtime_s"),
    *_must(WHOLE, "backlog_s"),
    *_must(ID, "price_list_id"),
    *_must(FLAG, "present"),
    sa.UniqueConstraint("site_id", "name"),
)

# data
_table(
    "blobs",
    *_key(sa.String(71), "digest"),
    *_must(LONG, "touched_at_ms"),
    *_may(LONG, "deleting_since_ms"),
)
_table(
    "blob_owners",
    *_key(ID, "organisation_id"),
    *_key(sa.String(71), "digest"),
    *_must(sa.String(4), "kind"),
    *_must(LONG, "size_bytes total_bytes created_at_ms used_at_ms"),
    _index("ix_blob_owners_digest", "digest"),
    _index("ix_blob_owners_used", "organisation_id used_at_ms"),
)
_table(
    "blob_usage",
    *_key(ID, "organisation_id"),
    *_must(LONG, "blobs size_bytes"),
    *_may(LONG, "quota_bytes"),
)
_table(
    "site_blobs",
    *_key(ID, "site_id"),
    *_key(sa.String(71), "digest"),
    *_must(LONG, "last_used_ms"),
    _index("ix_site_blobs_digest", "digest site_id"),
)
_table(
    "links",
    *_key(ID, "from_site to_site"),
    *_may(LONG, "micro_yuan_per_gib ms_per_gib measured_ms_per_gib measured_at_ms"),
)

# jobs
_table(
    "demand_classes",
    *_key(sa.String(40), "id"),
    *_must(PACKED, "body"),
)
_table(
    "jobs",
    *_key(ID, "id"),
    *_must(ID, "organisation_id project_id user_id"),
    *_must(sa.String(120), "name"),
    *_must(sa.String(40), "class_id"),
    *_must(WHOLE, "priority"),
    *_must(sa.String(12), "state"),
    *_must(FLAG, "cancel_requested"),
    *_must(LONG, "created_at_ms"),
    *_may(LONG, "ended_at_ms"),
    *_must(WHOLE, "total waiting queued leased running succeeded failed cancelled refused"),
    *_must(PACKED, "depends_on"),
    *_must(FLAG, "is_array"),
    *_must(PACKED, "spec terms template"),
    *_may(PACKED, "sealed_secrets"),
    _index("ix_jobs_organisation_id_id", "organisation_id id"),
    _index("ix_jobs_project_id_id", "project_id id"),
    _index("ix_jobs_waiting", "id", where="waiting > 0"),
)
_table(
    "job_dependencies",
    *_key(ID, "job_id needs_job_id"),
    _index("ix_job_dependencies_needs_job_id", "needs_job_id"),
)
_table(
    "tasks",
    *_key(ID, "id"),
    *_must(ID, "job_id"),
    *_must(WHOLE, "index"),
    *_must(sa.String(12), "state"),
    *_must(WHOLE, "attempt failures losses"),
    *_may(ID, "lease_id"),
    *_must(LONG, "not_before_ms"),
    *_must(sa.String(40), "class_id"),
    *_must(ID, "organisation_id project_id user_id"),
    *_must(WHOLE, "priority"),
    *_must(LONG, "queued_at_ms"),
    *_may(LONG, "ended_at_ms"),
    *_may(WHOLE, "exit_code"),
    *_must(sa.String(20), "failure"),
    *_must(sa.String(500), "detail"),
    _index("ix_tasks_job_id_index", "job_id index"),
    _index(
        "ix_tasks_queue",
        "organisation_id project_id user_id class_id priority queued_at_ms id not_before_ms",
        where="state = 'queued'",
    ),
)
_table(
    "leases",
    *_key(ID, "id"),
    *_must(ID, "task_id job_id"),
    *_must(WHOLE, "epoch"),
    *_must(ID, "organisation_id project_id user_id"),
    *_must(sa.String(40), "class_id"),
    *_must(ID, "site_id pool_id"),
    *_must(WHOLE, "alternative"),
    *_must(PACKED, "node_members"),
    *_must(WHOLE, "members"),
    *_must(LONG, "cpu_milli memory_mib disk_mib accelerator_milli"),
    *_must(sa.String(12), "state stop"),
    *_must(LONG, "revision"),
    *_must(WHOLE, "priority"),
    *_must(FLAG, "preemptible"),
    *_must(LONG, "granted_at_ms"),
    *_may(LONG, "started_at_ms ended_at_ms"),
    *_must(LONG, "ends_by_ms expected_end_ms protected_until_ms"),
    *_may(LONG, "lost_at_ms"),
    *_must(WHOLE, "lost_after_s"),
    *_may(WHOLE, "stop_after_s"),
    *_must(FLAG, "replace"),
    *_must(sa.String(20), "reconcile"),
    *_must(ID, "price_list_id provider_id"),
    *_must(LONG, "rate hold"),
    *_must(PACKED, "score"),
    *_must(sa.String(12), "outcome"),
    *_may(WHOLE, "exit_code"),
    *_must(sa.String(20), "failure"),
    *_must(sa.String(500), "detail"),
    *_must(sa.String(80), "engine_id"),
    *_must(PACKED, "nodes meters outputs"),
    _index("ix_leases_job_id", "job_id"),
    _index("ix_leases_open", "site_id revision", where="state != 'ended'"),
    _index("ix_leases_task_id", "task_id"),
)
_table(
    "refusals",
    *_key(ID, "project_id user_id"),
    *_key(sa.String(40), "class_id"),
    *_key(WHOLE, "priority"),
    *_must(sa.String(40), "reason"),
    *_must(sa.String(500), "detail"),
    *_must(WHOLE, "count"),
    *_must(PACKED, "verdicts"),
    *_must(LONG, "at_ms"),
)
_table(
    "rounds",
    *_key(ID, "id"),
    *_must(LONG, "at_ms"),
    *_must(sa.String(64), "snapshot_digest"),
    *_must(sa.String(40), "code_version"),
    *_must(WHOLE, "placed refused stale took_ms"),
    *_must(PACKED, "plan"),
    _index("ix_rounds_at_ms", "at_ms"),
)
_table(
    "share_usage",
    *_key(ID, "share_id"),
    *_must(LONG, "value at_ms"),
)
_table(
    "log_chunks",
    *_key(ID, "lease_id"),
    *_key(sa.String(12), "stream"),
    *_key(LONG, "offset"),
    *_must(PACKED, "data"),
)
_table(
    "idempotency_keys",
    *_key(ID, "user_id"),
    *_key(sa.String(120), "key"),
    *_must(sa.String(64), "request_digest"),
    *_must(PACKED, "result"),
    *_must(LONG, "at_ms"),
    _index("ix_idempotency_keys_at_ms", "at_ms"),
)
