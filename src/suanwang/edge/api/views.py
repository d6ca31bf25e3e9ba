"""How things look over the API: plain dicts, encoded once by msgspec."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

import msgspec
from starlette.responses import Response

from suanwang.grid.jobs.model import Job, Lease, Task
from suanwang.grid.sites.model import PoolRow, Site, is_reachable
from suanwang.kernel.money import format_yuan
from suanwang.protocol.messages import FailureClass

_encoder = msgspec.json.Encoder()


def json_response(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(
        _encoder.encode(body), status_code=status, media_type="application/json", headers=headers
    )


@lru_cache(maxsize=16_384)
def instant(at_ms: int | None) -> str | None:
    """RFC 3339 in UTC with milliseconds."""
    if at_ms is None:
        return None
    minute, of_minute = divmod(at_ms, 60_000)
    second, ms = divmod(of_minute, 1_000)
    return _minute(minute) + _SECONDS[second] + _THOUSANDTHS[ms]


_SECONDS = [f"{second:02d}." for second in range(60)]
_THOUSANDTHS = [f"{ms:03d}Z" for ms in range(1_000)]


@lru_cache(maxsize=4_096)
def _minute(minute: int) -> str:
    day, minute = divmod(minute, 1_440)
    found = date(1970, 1, 1) + timedelta(days=day)
    return f"{found.isoformat()}T{minute // 60:02d}:{minute % 60:02d}:"


def money(micro_yuan: int) -> dict[str, Any]:
    return {"micro_yuan": micro_yuan, "yuan": format_yuan(micro_yuan, decimals=4)}


def job_view(job: Job) -> dict[str, Any]:
    return {
        "id": job.job_id,
        "name": job.name,
        "state": job.state,
        "cancelling": job.cancel_requested and job.ended_at_ms is None,
        "organisation_id": job.organisation_id,
        "project_id": job.project_id,
        "user_id": job.user_id,
        "priority": job.priority,
        "created_at": instant(job.created_at_ms),
        "ended_at": instant(job.ended_at_ms),
        "tasks": {
            "total": job.total,
            "waiting": job.waiting,
            "queued": job.queued,
            "leased": job.leased,
            "running": job.running,
            "succeeded": job.succeeded,
            "failed": job.failed,
            "cancelled": job.cancelled,
            "refused": job.refused,
        },
        "array": job.is_array,
        "depends_on": job.depends_on,
        "purged_at": instant(job.purged_at_ms),
    }


def task_view(task: Task, leases: list[Lease], names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": task.task_id,
        "index": task.index,
        "state": task.state,
        "attempt": task.attempt,
        "failures": task.failures,
        "losses": task.losses,
        "preemptions": task.preemptions,
        "queued_at": instant(task.queued_at_ms),
        "not_before": instant(task.not_before_ms) if task.not_before_ms else None,
        "ended_at": instant(task.ended_at_ms),
        "exit_code": task.exit_code,
        "failure": None if task.failure is FailureClass.NONE else task.failure,
        "detail": task.detail,
        "leases": [lease_view(lease, names) for lease in leases],
    }


def lease_view(lease: Lease, names: Mapping[str, str]) -> dict[str, Any]:
    """`names` gives sites and pools their names."""
    return {
        "id": lease.lease_id,
        "epoch": lease.epoch,
        "site_id": lease.site_id,
        "site": names.get(lease.site_id, lease.site_id),
        "pool_id": lease.pool_id,
        "pool": names.get(lease.pool_id, lease.pool_id),
        "state": lease.state,
        "stopping": lease.stop or None,
        "outcome": lease.outcome or None,
        "granted_at": instant(lease.granted_at_ms),
        "started_at": instant(lease.started_at_ms),
        "ended_at": instant(lease.ended_at_ms),
        "lost_at": instant(lease.lost_at_ms),
        "exit_code": lease.exit_code,
        "failure": None if lease.failure is FailureClass.NONE else lease.failure,
        "detail": lease.detail,
        "members": lease.members,
        "nodes": [list(pair) for pair in lease.node_members],
        "ran_on": lease.nodes,
        "engine_id": lease.engine_id,
        "rate": money(lease.rate),
        "contract": lease.contract_id,
        "score": lease.score,
        "meters": {
            "duration_ms": lease.meters.duration_ms,
            "cpu_ms": lease.meters.cpu_ms,
            "max_rss_mib": lease.meters.max_rss_mib,
        },
        "outputs": [
            {
                "name": output.name,
                "digest": output.digest,
                "size_bytes": output.size_bytes,
                "tree": output.tree,
            }
            for output in lease.outputs
        ],
    }


def site_view(site: Site, now_ms: int) -> dict[str, Any]:
    return {
        "id": site.site_id,
        "name": site.name,
        "display_name": site.display_name,
        "organisation_id": site.organisation_id,
        "region": site.region,
        "city": site.city,
        "kind": site.kind,
        "operator": site.operator,
        "latitude": site.latitude,
        "longitude": site.longitude,
        "state": site.state.value,
        "reachable": is_reachable(site, now_ms),
        "last_contact": instant(site.last_contact_ms) if site.last_contact_ms else None,
        "agent_version": site.agent_version,
        "created_at": instant(site.created_at_ms),
        "tariff": site.tariff,
    }


def pool_view(pool: PoolRow) -> dict[str, Any]:
    card = pool.accelerator
    return {
        "id": pool.pool_id,
        "site_id": pool.site_id,
        "name": pool.name,
        "driver": pool.driver,
        "kind": pool.kind,
        "architecture": pool.architecture,
        "interconnect": pool.interconnect,
        "isolation": pool.isolation,
        "engine_version": pool.engine_version,
        "max_runtime_s": pool.max_runtime_s,
        "backlog_s": pool.backlog_s,
        "accelerator": None
        if card is None
        else {
            "model": card.model,
            "vendor": card.vendor,
            "memory_mib": card.memory_mib,
            "fp16_tflops": card.fp16_gflops / 1000,
        },
        "nodes": [
            {
                "name": node.name,
                "up": node.up,
                "cordoned": node.name in pool.cordoned,
                "detail": node.detail,
                "capacity": quantity_view(node.capacity),
                "foreign": quantity_view(node.foreign),
            }
            for node in pool.nodes
        ],
    }


def quantity_view(quantity: Any) -> dict[str, int]:
    return {
        "cpu_milli": quantity.cpu_milli,
        "memory_mib": quantity.memory_mib,
        "disk_mib": quantity.disk_mib,
        "accelerator_milli": quantity.accelerator_milli,
    }
