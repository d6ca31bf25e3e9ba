"""The grid in figures, for whoever watches it; a few statements over indexes."""

from __future__ import annotations

from dataclasses import astuple

from sqlalchemy.engine import Connection

from suanwang.grid.jobs import leases_store, store
from suanwang.grid.jobs.snapshot import capacity
from suanwang.grid.sites import service as sites
from suanwang.grid.sites.model import SiteState, is_reachable
from suanwang.platform.outbox import depth
from suanwang.platform.telemetry import KINDS, Sample


def sample(conn: Connection, now_ms: int, *, leads: bool) -> Sample:
    enrolled = [one for one in sites.sites(conn) if one.state is not SiteState.INVITED]
    reachable = sum(is_reachable(one, now_ms) for one in enrolled)
    leases = leases_store.open_totals(conn)
    return Sample(
        queued=store.count_queued(conn),
        refused=store.refused_by_reason(conn),
        open_leases={row.state: row.leases for row in leases},
        sites_reachable=reachable,
        sites_silent=len(enrolled) - reachable,
        capacity=astuple(capacity(conn)),
        used=tuple(sum(int(getattr(row, kind)) for row in leases) for kind in KINDS),
        outbox=depth(conn),
        leads=leads,
    )
