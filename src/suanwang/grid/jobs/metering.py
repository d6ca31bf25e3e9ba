"""Long runs are metered while they go on: each UTC hour, once its site has said that it is over.

An agent lists every run at each reconciliation, some minutes apart; that is its word that the run
goes on, or how long ago it ended while its outputs are still being kept. An hour is recorded
when that word is later than the hour's end by a margin, so that the site's account of the end,
when it comes, does not reach back into it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from suanwang.grid.jobs.model import Lease, LeaseState
from suanwang.grid.jobs.snapshot import member_of
from suanwang.kernel.time import MS_PER_HOUR, MS_PER_MINUTE, MS_PER_SECOND
from suanwang.platform.database import Tx
from suanwang.platform.outbox import Outbox
from suanwang.protocol.messages import Phase, RunReport
from suanwang.trade.billing import service as billing
from suanwang.trade.billing.model import Run, UsageRecord
from suanwang.trade.billing.rules import usage_so_far

LATE_MS = 2 * MS_PER_MINUTE
"""A word may be so long on its way, and an end so long unnoticed."""
DRIFT_PER_MS = 2_000
"""A stopwatch that is disciplined at all is within 500 parts in a million of ours."""
HOURS_AT_ONCE = 5_000
"""Of one batch of reports; the others come with the next reconciliation."""


def run_of(lease: Lease) -> Run:
    """The lease, as billing knows it."""
    return Run(
        lease_id=lease.lease_id,
        epoch=lease.epoch,
        task_id=lease.task_id,
        job_id=lease.job_id,
        organisation_id=lease.organisation_id,
        project_id=lease.project_id,
        user_id=lease.user_id,
        provider_organisation_id=lease.provider_id,
        site_id=lease.site_id,
        pool_id=lease.pool_id,
        price_list_id=lease.price_list_id,
        resources=member_of(lease),
        members=lease.members,
        granted_at_ms=lease.granted_at_ms,
        held_micro_yuan=lease.hold,
        max_billable_s=(lease.ends_by_ms - (lease.started_at_ms or lease.granted_at_ms))
        // MS_PER_SECOND,
    )


def confirmed_until(lease: Lease, report: RunReport, now_ms: int) -> int | None:
    """The instant until which this report makes certain that the run went on; None if it says
    nothing of the kind."""
    started_ms = lease.started_at_ms
    if started_ms is None or lease.state is not LeaseState.RUNNING:
        return None
    if report.phase is not Phase.RUNNING:
        return None
    said_ms = now_ms - max(0, report.ended_ago_ms or 0)
    return said_ms - LATE_MS - max(0, said_ms - started_ms) // DRIFT_PER_MS


def is_due(lease: Lease, report: RunReport, now_ms: int) -> bool:
    """Whether an hour can be recorded now."""
    confirmed_ms = confirmed_until(lease, report, now_ms)
    if confirmed_ms is None or lease.started_at_ms is None:
        return False
    open_since_ms = lease.metered_until_ms or lease.started_at_ms
    return confirmed_ms // MS_PER_HOUR > open_since_ms // MS_PER_HOUR


def meter(tx: Tx, outbox: Outbox, runs: Sequence[tuple[Lease, RunReport]]) -> dict[str, Lease]:
    """Record the hours that are due; the leases that this changed, by id. Rows are locked."""
    due: list[tuple[Run, list[UsageRecord]]] = []
    leases: dict[str, Lease] = {}
    hours = 0
    for lease, report in runs:
        confirmed_ms = confirmed_until(lease, report, tx.now_ms)
        if confirmed_ms is None or lease.started_at_ms is None or hours >= HOURS_AT_ONCE:
            continue
        run = run_of(lease)
        records = usage_so_far(
            run,
            started_at_ms=lease.started_at_ms,
            confirmed_at_ms=confirmed_ms,
            metered_until_ms=lease.metered_until_ms or 0,
        )
        if records:
            due.append((run, records))
            leases[lease.lease_id] = msgspec.structs.replace(
                lease, metered_until_ms=records[-1].end_ms
            )
            hours += len(records)
    if not due:
        return {}
    released = billing.record_hours(tx, outbox, due)
    return {
        lease_id: msgspec.structs.replace(lease, hold=lease.hold - released.get(lease_id, 0))
        for lease_id, lease in leases.items()
    }
