"""What time alone brings about: leases of silent sites are lost, arrears bite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from suanwang.grid.jobs import leases_store, store
from suanwang.grid.jobs.model import (
    FINAL,
    Lease,
    LeaseState,
    Outcome,
    Task,
    TaskState,
)
from suanwang.grid.jobs.progress import Steps, settle
from suanwang.grid.jobs.reports import release_holds, task_after
from suanwang.grid.sites import service as sites
from suanwang.kernel.time import MS_PER_SECOND
from suanwang.platform.database import Tx
from suanwang.protocol.messages import FailureClass

END_MARGIN_MS = 60 * MS_PER_SECOND
"""After its longest possible life an unseen, unfenced run is taken for ended."""


SHORTEST_LOSS_MS = 5 * MS_PER_SECOND
"""No lease is lost sooner: sites heard since then need no look."""


@dataclass(slots=True)
class Swept:
    """What a sweep changed."""

    jobs: set[str] = field(default_factory=set)
    sites: set[str] = field(default_factory=set)
    lost: int = 0


def is_fenced(lease: Lease) -> bool:
    """The site itself stops the run in time, so that a replacement can never meet it."""
    return lease.stop_after_s is not None


def sweep_lost(tx: Tx, *, listening_since_ms: int = 0) -> Swept:
    """Declare leases of silent sites lost, by each job's own settings.

    Silence while nobody listened does not count: after an outage of the control plane the sites
    have their time to be heard again.

    Fenced: the lease ends and the task is queued again. Unfenced and `replace`: the lease stays
    open, marked lost, and a replacement is queued. Unfenced without `replace`: it is only
    marked; the task waits for its site.
    """
    swept = Swept()
    heard = sites.last_contacts(tx.conn)
    quiet = [site for site, at_ms in heard.items() if tx.now_ms - at_ms > SHORTEST_LOSS_MS]
    silent = [
        lease
        for lease in leases_store.open_leases_at(tx.conn, sorted(quiet))
        if tx.now_ms - max(heard.get(lease.site_id, 0), lease.granted_at_ms, listening_since_ms)
        > lease.lost_after_s * MS_PER_SECOND
    ]
    silent = _still_open(tx, silent)
    if not silent:
        return swept
    over = [lease for lease in silent if _is_over(lease, tx.now_ms)]
    fresh = [lease for lease in silent if lease.lost_at_ms is None and lease not in over]
    ending = over + [lease for lease in fresh if is_fenced(lease)]
    marked = [
        msgspec.structs.replace(lease, lost_at_ms=tx.now_ms)
        for lease in fresh
        if not is_fenced(lease)
    ]
    leases_store.update_leases(tx, marked)
    _requeue_unfenced(tx, [lease for lease in marked if lease.replace], swept)
    end_as_lost(tx, ending, swept)
    swept.lost = len(ending) + len(marked)
    return swept


def _still_open(tx: Tx, leases: Sequence[Lease]) -> list[Lease]:
    """As they are now, locked: the site may have been heard, and the run ended, since the look."""
    now = leases_store.leases_by_id(tx.conn, [lease.lease_id for lease in leases], lock=True)
    return [lease for lease in now.values() if lease.state is not LeaseState.ENDED]


def _is_over(lease: Lease, now_ms: int) -> bool:
    return not is_fenced(lease) and now_ms > lease.ends_by_ms + END_MARGIN_MS


def end_as_lost(tx: Tx, leases: Sequence[Lease], swept: Swept) -> None:
    """End these on our books; nothing is charged for what was not reported."""
    if not leases:
        return
    ended = [
        msgspec.structs.replace(
            lease,
            state=LeaseState.ENDED,
            ended_at_ms=tx.now_ms,
            lost_at_ms=lease.lost_at_ms or tx.now_ms,
            outcome=Outcome.LOST,
            failure=FailureClass.LEASE_EXPIRED,
            detail=f"SiteSilent: not heard for {lease.lost_after_s} s",
        )
        for lease in leases
    ]
    tasks = store.tasks_by_id(tx.conn, [lease.task_id for lease in ended], lock=True)
    terms = store.terms_of(tx.conn, [lease.job_id for lease in ended])
    jobs = store.jobs_by_id(tx.conn, [lease.job_id for lease in ended])
    steps = Steps(tx)
    for lease in ended:
        task = tasks[lease.task_id]
        if task.lease_id != lease.lease_id or task.state in FINAL:
            continue
        cancelled = jobs[lease.job_id].cancel_requested
        steps.move(task, task_after(task, lease, terms[lease.job_id], cancelled, tx))
        swept.jobs.add(lease.job_id)
    release_holds(tx, ended)
    leases_store.update_leases(tx, [msgspec.structs.replace(lease, hold=0) for lease in ended])
    swept.jobs.update(job.job_id for job in settle(tx, steps))


def _requeue_unfenced(tx: Tx, leases: Sequence[Lease], swept: Swept) -> None:
    """Queue a replacement while the original may still run, as the job asked for."""
    tasks = store.tasks_by_id(tx.conn, [lease.task_id for lease in leases], lock=True)
    jobs = store.jobs_by_id(tx.conn, [lease.job_id for lease in leases])
    steps = Steps(tx)
    for lease in leases:
        task = tasks[lease.task_id]
        stale = task.lease_id != lease.lease_id or task.state in FINAL
        if stale or jobs[lease.job_id].cancel_requested:
            continue
        steps.move(task, _queued_again(task))
        swept.jobs.add(lease.job_id)
    settle(tx, steps)


def _queued_again(task: Task) -> Task:
    return msgspec.structs.replace(
        task,
        state=TaskState.QUEUED,
        attempt=task.attempt + 1,
        losses=task.losses + 1,
        detail="replaced: its site is silent",
    )
