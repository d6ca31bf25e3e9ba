"""Statements of leases, shares, rounds and logs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from msgspec import msgpack
from sqlalchemy.engine import Connection, Row

from suanwang.grid.jobs.model import Lease, LeaseState, OpenLease, Outcome, StopReason
from suanwang.grid.jobs.store import chunks, insert_ignore
from suanwang.grid.jobs.tables import leases, log_chunks, rounds, share_usage
from suanwang.platform.bulk import insert_rows, tuples_of, update_rows
from suanwang.platform.database import Tx
from suanwang.platform.prepared import ONE_OF, Prepared
from suanwang.protocol.messages import FailureClass

OPEN = leases.c.state != sa.literal_column("'ended'")


LEASE_COLUMNS = [leases.c["id" if name == "lease_id" else name] for name in Lease.__struct_fields__]
_WORDS: list[tuple[int, dict[str, Any]]] = [
    (Lease.__struct_fields__.index(name), {word.value: word for word in kind})
    for name, kind in (
        ("state", LeaseState),
        ("stop", StopReason),
        ("outcome", Outcome),
        ("failure", FailureClass),
    )
]


def as_lease(values: list[Any]) -> Lease:
    """Of LEASE_COLUMNS."""
    for place, words in _WORDS:
        values[place] = words[values[place]]
    return Lease(*values)


def insert_leases(tx: Tx, rows: list[dict[str, Any]]) -> None:
    if rows:
        insert_rows(tx.conn, leases, tuples_of(leases, rows))


_leases = sa.select(*LEASE_COLUMNS)
_of_ids = _leases.where(leases.c.id.in_(ONE_OF)).order_by(leases.c.id)
_by_id = Prepared(_of_ids, as_lease)
_by_id_locked = Prepared(_of_ids.with_for_update(), as_lease)
_all_open = _leases.where(OPEN).order_by(leases.c.id)
_open = Prepared(_all_open, as_lease)
_open_at_sites = Prepared(_all_open.where(leases.c.site_id.in_(ONE_OF)), as_lease)
_open_of_job_locked = Prepared(
    _all_open.where(leases.c.job_id == sa.bindparam("of_job")).with_for_update(), as_lease
)
_at_site = _leases.where(OPEN, leases.c.site_id == sa.bindparam("of_site")).order_by(
    leases.c.revision
)
_open_of_site = Prepared(_at_site, as_lease)
_news = Prepared(
    _at_site.where(leases.c.revision > sa.bindparam("after")).limit(sa.bindparam("at_most")),
    as_lease,
)


def leases_by_id(conn: Connection, ids: Iterable[str], *, lock: bool = False) -> dict[str, Lease]:
    query = _by_id_locked if lock else _by_id
    found: dict[str, Lease] = {}
    for some in chunks(ids):
        for row in query.rows(conn, {"one_of": some}):
            found[row.lease_id] = row
    return found


def open_leases(conn: Connection) -> list[Lease]:
    return list(_open.rows(conn))


_OF_OPEN_LEASE = [
    leases.c["id" if name == "lease_id" else name] for name in OpenLease.__struct_fields__
]
_all_occupying = sa.select(*_OF_OPEN_LEASE).where(OPEN).order_by(leases.c.id)


def _as_open_lease(values: list[Any]) -> OpenLease:
    """Of _OF_OPEN_LEASE; the cards stand last."""
    if values[-1]:
        values[-1] = [tuple(cards) for cards in values[-1]]
    return OpenLease(*values)


_occupying = Prepared(_all_occupying, _as_open_lease)
_occupying_there = Prepared(_all_occupying.where(leases.c.pool_id.in_(ONE_OF)), _as_open_lease)


def occupying(conn: Connection, pool_ids: Collection[str] | None = None) -> list[OpenLease]:
    """What planning must know of open leases (of these pools only); much cheaper than all of it."""
    if pool_ids is None:
        return list(_occupying.rows(conn))
    found: list[OpenLease] = []
    for some in chunks(pool_ids):
        found += _occupying_there.rows(conn, {"one_of": some})
    return found


_paid_for = Prepared(
    sa.select(leases.c.id, leases.c.contract_id).where(OPEN, leases.c.contract_id.is_not(None))
)


def on_contracts(conn: Connection) -> dict[str, str]:
    """Open lease → the contract whose hours pay for it."""
    return {row[0]: row[1] for row in _paid_for.rows(conn)}


def open_leases_at(conn: Connection, site_ids: Sequence[str]) -> list[Lease]:
    if not site_ids:
        return []
    return list(_open_at_sites.rows(conn, {"one_of": site_ids}))


def open_leases_of_site(conn: Connection, site_id: str) -> list[Lease]:
    return list(_open_of_site.rows(conn, {"of_site": site_id}))


def open_leases_of_job(conn: Connection, job_id: str) -> list[Lease]:
    """Locked until the transaction ends."""
    return list(_open_of_job_locked.rows(conn, {"of_job": job_id}))


def count_open_of_site(conn: Connection, site_id: str) -> int:
    query = sa.select(sa.func.count()).select_from(leases).where(OPEN, leases.c.site_id == site_id)
    return int(conn.execute(query).scalar_one())


def changed_since(conn: Connection, site_id: str, revision: int, limit: int) -> list[Lease]:
    """Open leases of the site whose order is newer than `revision`, in order of revision."""
    values = {"of_site": site_id, "after": revision, "at_most": limit}
    return list(_news.rows(conn, values))


_CHANGING = (
    "state",
    "stop",
    "revision",
    "started_at_ms",
    "ended_at_ms",
    "lost_at_ms",
    "outcome",
    "exit_code",
    "failure",
    "detail",
    "engine_id",
    "nodes",
    "meters",
    "outputs",
    "hold",
    "ends_by_ms",
    "expected_end_ms",
    "protected_until_ms",
    "metered_until_ms",
    "cards",
)


def update_leases(tx: Tx, updated: Sequence[Lease]) -> None:
    """Write what may change of a lease after its grant."""
    pack = msgpack.encode
    rows = [
        (
            lease.state.value,
            lease.stop.value,
            lease.revision,
            lease.started_at_ms,
            lease.ended_at_ms,
            lease.lost_at_ms,
            lease.outcome.value,
            lease.exit_code,
            lease.failure.value,
            lease.detail[:500],
            lease.engine_id[:80],
            pack(lease.nodes),
            pack(lease.meters),
            pack(lease.outputs),
            lease.hold,
            lease.ends_by_ms,
            lease.expected_end_ms,
            lease.protected_until_ms,
            lease.metered_until_ms,
            pack(lease.cards) if lease.cards else None,
            lease.lease_id,
        )
        for lease in updated
    ]
    update_rows(tx.conn, leases, "id", _CHANGING, rows)


_shares = Prepared(sa.select(share_usage))
_shares_locked = Prepared(
    sa.select(share_usage)
    .where(share_usage.c.share_id.in_(ONE_OF))
    .order_by(share_usage.c.share_id)
    .with_for_update()
)


def usage_of_shares(conn: Connection) -> dict[str, tuple[int, int]]:
    """Share → (value, at_ms) as last written; the caller decays it to now."""
    rows = _shares.rows(conn)
    return {row.share_id: (row.value, row.at_ms) for row in rows}


def locked_shares(tx: Tx, shares: Sequence[str]) -> dict[str, tuple[int, int]]:
    """As `usage_of_shares`, of these, made where missing and locked until the commit."""
    fresh = [{"share_id": share, "value": 0, "at_ms": tx.now_ms} for share in sorted(shares)]
    insert_ignore(tx, share_usage, fresh)
    rows = _shares_locked.rows(tx.conn, {"one_of": shares})
    return {row.share_id: (row.value, row.at_ms) for row in rows}


def write_share_usage(tx: Tx, values: dict[str, int]) -> None:
    """Set the decayed usage of shares that are there, as of the transaction's instant."""
    rows = [(value, tx.now_ms, share) for share, value in sorted(values.items())]
    update_rows(tx.conn, share_usage, "share_id", ("value", "at_ms"), rows)


def insert_round(tx: Tx, values: dict[str, Any]) -> None:
    insert_rows(tx.conn, rounds, tuples_of(rounds, [values]))


def delete_rounds_before(tx: Tx, at_ms: int, limit: int) -> int:
    """The oldest of them; returns how many went."""
    oldest = sa.select(rounds.c.id).where(rounds.c.at_ms < at_ms).order_by(rounds.c.at_ms)
    return tx.conn.execute(sa.delete(rounds).where(rounds.c.id.in_(oldest.limit(limit)))).rowcount


def stored_length(conn: Connection, lease_id: str, stream: str) -> int:
    """Bytes stored without a gap from the start (chunks are contiguous by construction)."""
    query = (
        sa.select(log_chunks.c.offset, sa.func.length(log_chunks.c.data))
        .where(log_chunks.c.lease_id == lease_id, log_chunks.c.stream == stream)
        .order_by(log_chunks.c.offset.desc())
        .limit(1)
    )
    row = conn.execute(query).first()
    return 0 if row is None else int(row[0]) + int(row[1])


def append_log(tx: Tx, lease_id: str, stream: str, offset: int, data: bytes) -> None:
    insert_ignore(
        tx,
        log_chunks,
        [{"lease_id": lease_id, "stream": stream, "offset": offset, "data": data}],
    )


def read_log(
    conn: Connection, lease_id: str, stream: str, offset: int, limit: int
) -> tuple[bytes, int]:
    """Bytes from `offset` on (about `limit` of them) and the offset after them."""
    query = (
        sa.select(log_chunks.c.offset, log_chunks.c.data)
        .where(
            log_chunks.c.lease_id == lease_id,
            log_chunks.c.stream == stream,
            log_chunks.c.offset + sa.func.length(log_chunks.c.data) > offset,
        )
        .order_by(log_chunks.c.offset)
        .limit(64)
    )
    parts: list[bytes] = []
    at = offset
    for row in conn.execute(query):
        part = row.data[at - row.offset :]
        parts.append(part)
        at += len(part)
        if at - offset >= limit:
            break
    return b"".join(parts), at


def open_totals(conn: Connection) -> list[Row[Any]]:
    """Open leases by state: count and the resources of all members."""
    sums = [
        sa.func.sum(leases.c[kind] * leases.c.members).label(kind)
        for kind in ("cpu_milli", "memory_mib", "disk_mib", "accelerator_milli")
    ]
    query = sa.select(leases.c.state, sa.func.count().label("leases"), *sums)
    return list(conn.execute(query.where(OPEN).group_by(leases.c.state)))
