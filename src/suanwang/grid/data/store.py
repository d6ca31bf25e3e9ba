"""Tables and statements of data: presence, ownership, copies at sites, links."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from suanwang.grid.data.model import BlobKind, Usage
from suanwang.kernel.time import MS_PER_MINUTE
from suanwang.platform.bulk import insert_new_rows
from suanwang.platform.prepared import Prepared
from suanwang.platform.schema import Id, Ms, metadata

Digest = sa.String(71)
CHUNK = 1_000
DELETION_MS = 10 * MS_PER_MINUTE
"""Removing a marked batch takes less; a mark that is older was left by a collector that died."""

blobs = sa.Table(
    "blobs",
    metadata,
    sa.Column("digest", Digest, primary_key=True),
    sa.Column("touched_at_ms", Ms, nullable=False),
    sa.Column("deleting_since_ms", Ms),
)

blob_owners = sa.Table(
    "blob_owners",
    metadata,
    sa.Column("organisation_id", Id, primary_key=True),
    sa.Column("digest", Digest, primary_key=True),
    sa.Column("kind", sa.String(4), nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("total_bytes", sa.BigInteger, nullable=False),
    sa.Column("created_at_ms", Ms, nullable=False),
    sa.Column("used_at_ms", Ms, nullable=False),
    sa.Index("ix_blob_owners_digest", "digest"),
    sa.Index("ix_blob_owners_used", "organisation_id", "used_at_ms"),
)

blob_usage = sa.Table(
    "blob_usage",
    metadata,
    sa.Column("organisation_id", Id, primary_key=True),
    sa.Column("blobs", sa.BigInteger, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("quota_bytes", sa.BigInteger),
)

site_blobs = sa.Table(
    "site_blobs",
    metadata,
    sa.Column("site_id", Id, primary_key=True),
    sa.Column("digest", Digest, primary_key=True),
    sa.Column("last_used_ms", Ms, nullable=False),
    sa.Index("ix_site_blobs_digest", "digest", "site_id"),
)

links = sa.Table(
    "links",
    metadata,
    sa.Column("from_site", Id, primary_key=True),
    sa.Column("to_site", Id, primary_key=True),
    sa.Column("micro_yuan_per_gib", sa.BigInteger),
    sa.Column("ms_per_gib", sa.BigInteger),
    sa.Column("measured_ms_per_gib", sa.BigInteger),
    sa.Column("measured_at_ms", Ms),
)


def _chunks(values: Iterable[str]) -> Iterator[list[str]]:
    ordered = sorted(set(values))
    for start in range(0, len(ordered), CHUNK):
        yield ordered[start : start + CHUNK]


def owned(conn: Connection, organisation_id: str, digests: Iterable[str]) -> dict[str, Row[Any]]:
    """Digest → the organisation's row, for those that it has."""
    found: dict[str, Row[Any]] = {}
    for chunk in _chunks(digests):
        query = sa.select(blob_owners).where(
            blob_owners.c.organisation_id == organisation_id, blob_owners.c.digest.in_(chunk)
        )
        found.update((row.digest, row) for row in conn.execute(query))
    return found


def copies(conn: Connection, digests: Iterable[str]) -> dict[str, list[str]]:
    """Digest → sites that keep it, sorted."""
    found: dict[str, list[str]] = {}
    for chunk in _chunks(digests):
        query = (
            sa.select(site_blobs.c.digest, site_blobs.c.site_id)
            .where(site_blobs.c.digest.in_(chunk))
            .order_by(site_blobs.c.digest, site_blobs.c.site_id)
        )
        for digest, site_id in conn.execute(query):
            found.setdefault(digest, []).append(site_id)
    return found


def usage(
    conn: Connection, organisation_id: str, *, lock: bool = False
) -> tuple[Usage, int | None]:
    """What is kept, and the organisation's own quota if it has one."""
    query = sa.select(blob_usage).where(blob_usage.c.organisation_id == organisation_id)
    row = conn.execute(query.with_for_update() if lock else query).first()
    return (Usage(row.blobs, row.size_bytes), row.quota_bytes) if row else (Usage(), None)


def ensure_usage(conn: Connection, organisation_id: str) -> None:
    insert_new_rows(conn, blob_usage, [(organisation_id, 0, 0, None)], ())


def add_usage(conn: Connection, organisation_id: str, count: int, size_bytes: int) -> None:
    conn.execute(
        sa.update(blob_usage)
        .where(blob_usage.c.organisation_id == organisation_id)
        .values(blobs=blob_usage.c.blobs + count, size_bytes=blob_usage.c.size_bytes + size_bytes)
    )


def set_quota(conn: Connection, organisation_id: str, quota_bytes: int | None) -> None:
    ensure_usage(conn, organisation_id)
    conn.execute(
        sa.update(blob_usage)
        .where(blob_usage.c.organisation_id == organisation_id)
        .values(quota_bytes=quota_bytes)
    )


def touch_blobs(conn: Connection, digests: Iterable[str], now_ms: int) -> list[str]:
    """Note that these are (about to be) present; returns those that are being deleted."""
    condemned: list[str] = []
    for chunk in _chunks(digests):
        insert_new_rows(conn, blobs, [(digest, now_ms, None) for digest in chunk], ())
        since = blobs.c.deleting_since_ms
        conn.execute(
            sa.update(blobs)
            .where(blobs.c.digest.in_(chunk), sa.or_(since.is_(None), since < now_ms - DELETION_MS))
            .values(touched_at_ms=now_ms, deleting_since_ms=None)
        )
        query = sa.select(blobs.c.digest).where(blobs.c.digest.in_(chunk), since.is_not(None))
        condemned += conn.execute(query.order_by(blobs.c.digest)).scalars()
    return condemned


def add_owner(conn: Connection, organisation_id: str, sizes: Mapping[str, int], now_ms: int) -> int:
    """Rows for new blobs, a fresh `used_at_ms` for known ones; returns the bytes that are new."""
    ordered = sorted(sizes)
    kind = BlobKind.BLOB.value
    rows = [
        (organisation_id, digest, kind, sizes[digest], sizes[digest], now_ms, now_ms)
        for digest in ordered
    ]
    new = insert_new_rows(conn, blob_owners, rows, ("digest",))
    fresh = {row[0] for row in new}
    touch_owned(conn, organisation_id, [d for d in ordered if d not in fresh], now_ms, now_ms)
    added = sum(sizes[digest] for digest in ordered if digest in fresh)
    if fresh:
        add_usage(conn, organisation_id, len(fresh), added)
    return added


def touch_owned(
    conn: Connection, organisation_id: str, digests: Iterable[str], now_ms: int, older_than_ms: int
) -> None:
    for chunk in _chunks(digests):
        conn.execute(
            sa.update(blob_owners)
            .where(
                blob_owners.c.organisation_id == organisation_id,
                blob_owners.c.digest.in_(chunk),
                blob_owners.c.used_at_ms < older_than_ms,
            )
            .values(used_at_ms=now_ms)
        )


def make_tree(conn: Connection, organisation_id: str, digest: str, total_bytes: int) -> None:
    conn.execute(
        sa.update(blob_owners)
        .where(blob_owners.c.organisation_id == organisation_id, blob_owners.c.digest == digest)
        .values(kind=BlobKind.TREE.value, total_bytes=total_bytes)
    )


def note_copies(conn: Connection, site_id: str, digests: Iterable[str], now_ms: int) -> None:
    for chunk in _chunks(digests):
        insert_new_rows(conn, site_blobs, [(site_id, digest, now_ms) for digest in chunk], ())
        conn.execute(
            sa.update(site_blobs)
            .where(site_blobs.c.site_id == site_id, site_blobs.c.digest.in_(chunk))
            .values(last_used_ms=now_ms)
        )


def drop_copies(conn: Connection, site_id: str, digests: Iterable[str] | None) -> None:
    """These, or all of the site's if None."""
    query = sa.delete(site_blobs).where(site_blobs.c.site_id == site_id)
    if digests is None:
        conn.execute(query)
        return
    for chunk in _chunks(digests):
        conn.execute(query.where(site_blobs.c.digest.in_(chunk)))


# asked at every round: built once
_with_copies = Prepared(sa.select(site_blobs.c.site_id).distinct().order_by(site_blobs.c.site_id))
_links = Prepared(sa.select(links).order_by(links.c.from_site, links.c.to_site))


def sites_with_copies(conn: Connection) -> list[str]:
    return [row.site_id for row in _with_copies.rows(conn)]


def all_links(conn: Connection) -> list[Row[Any]]:
    return list(_links.rows(conn))


def link(conn: Connection, from_site: str, to_site: str, *, lock: bool = False) -> Row[Any] | None:
    query = sa.select(links).where(links.c.from_site == from_site, links.c.to_site == to_site)
    return conn.execute(query.with_for_update() if lock else query).first()


def set_link(conn: Connection, from_site: str, to_site: str, **values: Any) -> None:
    insert_new_rows(conn, links, [(from_site, to_site, None, None, None, None)], ())
    conn.execute(
        sa.update(links)
        .where(links.c.from_site == from_site, links.c.to_site == to_site)
        .values(**values)
    )


def organisations_with_unused(conn: Connection, before_ms: int) -> list[str]:
    query = (
        sa.select(blob_owners.c.organisation_id)
        .where(blob_owners.c.used_at_ms < before_ms)
        .distinct()
        .order_by(blob_owners.c.organisation_id)
    )
    return list(conn.execute(query).scalars())


def trees_of(conn: Connection, organisation_id: str) -> dict[str, int]:
    """Digest of each registered tree → when it was last used."""
    query = sa.select(blob_owners.c.digest, blob_owners.c.used_at_ms).where(
        blob_owners.c.organisation_id == organisation_id,
        blob_owners.c.kind == BlobKind.TREE.value,
    )
    return {row.digest: row.used_at_ms for row in conn.execute(query.order_by("digest"))}


def unused(conn: Connection, organisation_id: str, before_ms: int) -> list[str]:
    query = (
        sa.select(blob_owners.c.digest)
        .where(
            blob_owners.c.organisation_id == organisation_id,
            blob_owners.c.used_at_ms < before_ms,
        )
        .order_by(blob_owners.c.digest)
    )
    return list(conn.execute(query).scalars())


def disown(conn: Connection, organisation_id: str, digests: Sequence[str], before_ms: int) -> int:
    """Drop the organisation's rows of these that are still unused; returns how many."""
    count = size = 0
    for chunk in _chunks(digests):
        query = (
            sa.delete(blob_owners)
            .where(
                blob_owners.c.organisation_id == organisation_id,
                blob_owners.c.digest.in_(chunk),
                blob_owners.c.used_at_ms < before_ms,
            )
            .returning(blob_owners.c.size_bytes)
        )
        gone = list(conn.execute(query).scalars())
        count, size = count + len(gone), size + sum(gone)
    add_usage(conn, organisation_id, -count, -size)
    return count


def condemn(conn: Connection, before_ms: int, now_ms: int, limit: int) -> list[str]:
    """Mark blobs that nobody owns and nobody touched; returns those that are now ours to delete.

    A fresh mark is another collector's, an old one was left by a collector that died.
    """
    ownerless = ~sa.exists().where(blob_owners.c.digest == blobs.c.digest)
    since = blobs.c.deleting_since_ms
    free = sa.or_(since.is_(None), since < now_ms - DELETION_MS)
    query = (
        sa.select(blobs.c.digest)
        .where(blobs.c.touched_at_ms < before_ms, free, ownerless)
        .order_by(blobs.c.digest)
        .limit(limit)
    )
    marked: list[str] = []
    for chunk in _chunks(conn.execute(query).scalars().all()):
        mark = (
            sa.update(blobs)
            .where(blobs.c.digest.in_(chunk), blobs.c.touched_at_ms < before_ms, free, ownerless)
            .values(deleting_since_ms=now_ms)
            .returning(blobs.c.digest)
        )
        marked += conn.execute(mark).scalars()
    return sorted(marked)


def forget_blobs(conn: Connection, digests: Iterable[str]) -> None:
    for chunk in _chunks(digests):
        conn.execute(
            sa.delete(blobs).where(
                blobs.c.digest.in_(chunk), blobs.c.deleting_since_ms.is_not(None)
            )
        )
        conn.execute(sa.delete(site_blobs).where(site_blobs.c.digest.in_(chunk)))
