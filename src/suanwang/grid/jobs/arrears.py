"""Projects in arrears: nothing new starts (the round sees no funds); what runs has a grace.

Since when a project owes is kept in a table, because neither ledger nor projects know it.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from suanwang.grid.jobs import leases_store
from suanwang.grid.jobs.model import StopReason
from suanwang.grid.jobs.orders import stop_leases
from suanwang.grid.jobs.tables import arrears
from suanwang.kernel.time import MS_PER_SECOND
from suanwang.platform.database import Tx
from suanwang.platform.prepared import Prepared
from suanwang.tenancy import service as tenancy
from suanwang.trade.billing import service as billing

_owing = Prepared(sa.select(arrears))


def owing_since(conn: Connection) -> dict[str, int]:
    """Project → instant since when it was seen to owe while work of it ran."""
    return {row.project_id: row.since_ms for row in _owing.rows(conn)}


def overdue(since_ms: int, grace_s: int, now_ms: int) -> bool:
    return now_ms - since_ms >= grace_s * MS_PER_SECOND


def sweep_arrears(tx: Tx) -> list[str]:
    """Note who owes and who has paid; stop what runs past its grace. Sites with new orders."""
    running = leases_store.occupying(tx.conn)
    owing = billing.arrears(tx.conn, sorted({lease.project_id for lease in running}))
    known = owing_since(tx.conn)
    paid = [project for project in sorted(known) if project not in owing]
    if paid:
        tx.conn.execute(sa.delete(arrears).where(arrears.c.project_id.in_(paid)))
    fresh = [{"project_id": p, "since_ms": tx.now_ms} for p in sorted(owing) if p not in known]
    if fresh:
        tx.conn.execute(sa.insert(arrears), fresh)
    expired = {
        project
        for project in sorted(owing)
        if overdue(
            known.get(project, tx.now_ms),
            tenancy.project(tx.conn, project).arrears_grace_s,
            tx.now_ms,
        )
    }
    ids = [lease.lease_id for lease in running if lease.project_id in expired and not lease.stop]
    leases = leases_store.leases_by_id(tx.conn, ids, lock=True)
    return stop_leases(tx, leases.values(), StopReason.ARREARS)
