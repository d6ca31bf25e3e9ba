"""What the control plane wants of each lease, as the agent is told it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import msgspec
from sqlalchemy.engine import Connection

from suanwang.grid.jobs import leases_store, store
from suanwang.grid.jobs.model import Lease, LeaseState, RunTemplate, StopReason, Task, Terms
from suanwang.grid.sites import service as sites
from suanwang.platform.database import Tx
from suanwang.protocol.messages import Desired, LeaseOrder, Quantity, RunSpec

ORDERS_PER_REPLY = 500

Unseal = Callable[[bytes, str], dict[str, str]]
"""(sealed, job id) → secrets."""


def stop_leases(tx: Tx, leases: Iterable[Lease], reason: StopReason) -> list[str]:
    """Ask the sites to stop these; a lease that is to stop already keeps its first reason."""
    by_site: dict[str, list[Lease]] = defaultdict(list)
    for lease in leases:
        if lease.stop is StopReason.NONE and lease.state is not LeaseState.ENDED:
            by_site[lease.site_id].append(lease)
    for site_id in sorted(by_site):
        revision = sites.next_revisions(tx, site_id, len(by_site[site_id]))
        updated = []
        for lease in sorted(by_site[site_id], key=lambda lease: lease.lease_id):
            updated.append(msgspec.structs.replace(lease, stop=reason, revision=revision))
            revision += 1
        leases_store.update_leases(tx, updated)
    return sorted(by_site)


def orders_for(conn: Connection, leases: Sequence[Lease], unseal: Unseal) -> list[LeaseOrder]:
    """An order for each open lease, in the order given."""
    running = [lease for lease in leases if lease.stop is StopReason.NONE]
    templates = store.templates_of(conn, [lease.job_id for lease in running])
    tasks = store.tasks_by_id(conn, [lease.task_id for lease in running])
    pool_names = {
        pool.pool_id: pool.name
        for site in {lease.site_id for lease in running}
        for pool in sites.pools_of_site(conn, site)
    }
    orders = []
    for lease in leases:
        if lease.stop is not StopReason.NONE:
            orders.append(stop_order(lease))
            continue
        run = _run_spec(
            lease,
            tasks[lease.task_id],
            pool_names.get(lease.pool_id, ""),
            templates[lease.job_id],
            unseal,
        )
        orders.append(
            LeaseOrder(
                lease_id=lease.lease_id,
                epoch=lease.epoch,
                revision=lease.revision,
                desired=Desired.RUN,
                run=run,
            )
        )
    return orders


def stop_order(lease: Lease) -> LeaseOrder:
    return LeaseOrder(
        lease_id=lease.lease_id,
        epoch=lease.epoch,
        revision=lease.revision,
        desired=Desired.STOP,
        reason=lease.stop.value,
    )


def _run_spec(
    lease: Lease,
    task: Task,
    pool: str,
    template: tuple[str, RunTemplate, Terms, bytes | None],
    unseal: Unseal,
) -> RunSpec:
    name, run, terms, sealed = template
    return RunSpec(
        lease_id=lease.lease_id,
        epoch=lease.epoch,
        task_id=lease.task_id,
        job_id=lease.job_id,
        job_name=name,
        pool=pool,
        command=run.command,
        member_quantity=Quantity(
            lease.cpu_milli, lease.memory_mib, lease.disk_mib, lease.accelerator_milli
        ),
        members=lease.members,
        nodes=lease.node_members,
        cards=lease.cards or [],
        env=run.env,
        secrets=unseal(sealed, lease.job_id) if sealed else {},
        inputs=run.inputs,
        outputs=run.outputs,
        array_index=task.index if run.array_count is not None else None,
        array_count=run.array_count,
        max_runtime_s=terms.max_runtime_s,
        grace_s=run.grace_s,
        stop_on_client_after_s=terms.stop_after_s,
        preemptible=terms.preemptible,
        engine=run.engine,
    )
