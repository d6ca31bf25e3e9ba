"""The control plane's half of the agent protocol: reconcile, poll, logs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy.engine import Connection

from suanwang.grid.jobs import leases_store
from suanwang.grid.jobs.model import Lease, LeaseState
from suanwang.grid.jobs.orders import ORDERS_PER_REPLY, Unseal, orders_for
from suanwang.grid.jobs.reports import Taken, take_reports
from suanwang.grid.sites import service as sites
from suanwang.grid.sites.model import SiteState
from suanwang.kernel.resources import Resources
from suanwang.platform.database import Tx
from suanwang.platform.outbox import Outbox
from suanwang.protocol.messages import (
    FailureClass,
    LogChunk,
    Phase,
    PollReply,
    PollRequest,
    ReconcileReply,
    ReconcileRequest,
    RunReport,
)

MAX_CHUNK_BYTES = 1 << 20


@dataclass(slots=True)
class Reconciled:
    """The reply, and what the batch of reports came to."""

    reply: ReconcileReply
    taken: Taken


@dataclass(slots=True)
class Polled:
    """The reply, and what the batch of reports came to."""

    reply: PollReply
    taken: Taken = field(default_factory=Taken)
    inventory_changed: bool = False


def reconcile(
    tx: Tx,
    outbox: Outbox,
    site_id: str,
    request: ReconcileRequest,
    *,
    unseal: Unseal,
    totals: Resources,
    contact_every_ms: int,
) -> Reconciled:
    """Open a session; afterwards both sides agree on every lease of the site.

    A run that the control plane believes started, and that the agent does not list, is gone: it
    ends as VANISHED. One that was only granted is ordered again.
    """
    before = leases_store.open_leases_of_site(tx.conn, site_id)
    has_work = any(lease.lost_at_ms is None for lease in before)
    site = sites.open_session(tx, site_id, request, has_work=has_work)
    listed = {report.lease_id for report in request.runs}
    vanished = [
        _vanished(lease)
        for lease in before
        if lease.lease_id not in listed and lease.state is not LeaseState.GRANTED
    ]
    taken = take_reports(tx, outbox, site_id, [*request.runs, *vanished], totals)
    current = leases_store.open_leases_of_site(tx.conn, site_id)
    orders = orders_for(tx.conn, current, unseal)
    reply = ReconcileReply(
        session=site.session,
        revision=sites.require_site(tx.conn, site_id).revision,
        orders=[*orders, *taken.orders],
        contact_every_ms=contact_every_ms,
        draining=site.state is SiteState.DRAINING,
    )
    return Reconciled(reply, taken)


def _vanished(lease: Lease) -> RunReport:
    return RunReport(
        lease_id=lease.lease_id,
        epoch=lease.epoch,
        phase=Phase.ENDED,
        ended_ago_ms=0,
        failure=FailureClass.VANISHED,
        detail="the site's agent no longer knows this run",
    )


def take_poll(
    tx: Tx, outbox: Outbox, site_id: str, request: PollRequest, *, totals: Resources
) -> Polled:
    """The writing half of a poll: contact, reports, inventory."""
    sites.check_session(tx.conn, site_id, request.session)
    polled = Polled(PollReply(revision=request.revision))
    if request.reports:
        polled.taken = take_reports(tx, outbox, site_id, request.reports, totals)
    if request.pools is not None:
        polled.inventory_changed = sites.take_inventory(tx, site_id, request.pools)
    sites.contact(tx, site_id, request.session)
    return polled


def news(conn: Connection, site_id: str, request: PollRequest, unseal: Unseal) -> PollReply:
    """Orders newer than the request's revision, for the site's current session only."""
    sites.check_session(conn, site_id, request.session)
    leases = leases_store.changed_since(conn, site_id, request.revision, ORDERS_PER_REPLY)
    orders = orders_for(conn, leases, unseal)
    return PollReply(
        revision=max([request.revision, *(lease.revision for lease in leases)]),
        orders=orders,
        more=len(leases) == ORDERS_PER_REPLY,
    )


def take_logs(
    tx: Tx, site_id: str, chunks: Sequence[LogChunk], max_bytes: int
) -> list[tuple[str, str, int]]:
    """Append output; answers with the length stored per stream, −1 where no more is wanted."""
    # locked: a repeated request may overtake the first, and would be told of bytes not stored
    leases = leases_store.leases_by_id(tx.conn, {chunk.lease_id for chunk in chunks}, lock=True)
    stored: dict[tuple[str, str], int] = {}
    for chunk in sorted(chunks, key=lambda c: (c.lease_id, c.stream, c.offset)):
        key = (chunk.lease_id, chunk.stream[:12])
        lease = leases.get(chunk.lease_id)
        if lease is None or lease.site_id != site_id:
            stored[key] = -1
            continue
        have = stored.get(key)
        if have is None:
            have = leases_store.stored_length(tx.conn, *key)
        fresh = chunk.data[max(0, have - chunk.offset) :][:MAX_CHUNK_BYTES]
        if chunk.offset > have or have < 0:
            stored[key] = have
        elif have + len(fresh) > max_bytes:
            stored[key] = -1
        else:
            if fresh:
                leases_store.append_log(tx, *key, have, fresh)
            stored[key] = have + len(fresh)
    return [(lease_id, stream, length) for (lease_id, stream), length in sorted(stored.items())]
