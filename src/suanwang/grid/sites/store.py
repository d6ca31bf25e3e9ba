"""Tables and statements of sites, their enrolment tokens, credentials and pools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from suanwang.grid.sites.model import PoolRow, Site, SiteState
from suanwang.platform.bulk import update_row
from suanwang.platform.prepared import ONE_OF, Prepared
from suanwang.platform.schema import Id, Ms, Packed, metadata
from suanwang.protocol.messages import AcceleratorReport, NodeReport

POOLS_REMEMBERED = 500
"""Nodes of large pools take milliseconds to read, and change when a site reports a change."""


sites = sa.Table(
    "sites",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organisation_id", Id, nullable=False, index=True),
    sa.Column("name", sa.String(60), nullable=False, unique=True),
    sa.Column("display_name", sa.String(120), nullable=False),
    sa.Column("region", sa.String(60), nullable=False),
    sa.Column("city", sa.String(60), nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("operator", sa.String(120), nullable=False),
    sa.Column("latitude", sa.Float, nullable=False),
    sa.Column("longitude", sa.Float, nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("session", sa.Integer, nullable=False),
    sa.Column("instance_id", sa.String(64), nullable=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("last_contact_ms", Ms, nullable=False),
    sa.Column("agent_version", sa.String(40), nullable=False),
    sa.Column("created_at_ms", Ms, nullable=False),
    sa.Column("tariff", Packed(list[int]), nullable=False),
)

site_credentials = sa.Table(
    "site_credentials",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("site_id", Id, sa.ForeignKey("sites.id"), nullable=False, index=True),
    sa.Column("kind", sa.String(10), nullable=False),  # invitation or credential
    sa.Column("created_at_ms", Ms, nullable=False),
    sa.Column("expires_at_ms", Ms),
    sa.Column("ended_at_ms", Ms),  # used, revoked or replaced
)

pools = sa.Table(
    "pools",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("site_id", Id, sa.ForeignKey("sites.id"), nullable=False),
    sa.Column("name", sa.String(60), nullable=False),
    sa.Column("driver", sa.String(20), nullable=False),
    sa.Column("architecture", sa.String(20), nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("interconnect", sa.String(120), nullable=False),
    sa.Column("isolation", sa.String(200), nullable=False),
    sa.Column("engine_version", sa.String(60), nullable=False),
    sa.Column("accelerator", Packed(AcceleratorReport | None)),
    sa.Column("nodes", Packed(list[NodeReport], shared=POOLS_REMEMBERED), nullable=False),
    sa.Column("cordoned", Packed(list[str]), nullable=False),
    sa.Column("max_runtime_s", sa.Integer),
    sa.Column("backlog_s", sa.Integer, nullable=False),
    sa.Column("price_list_id", Id, nullable=False),
    sa.Column("present", sa.Boolean, nullable=False),
    sa.UniqueConstraint("site_id", "name"),
)


_SITE_COLUMNS = [sites.c["id" if n == "site_id" else n] for n in Site.__struct_fields__]
_POOL_COLUMNS = [pools.c["id" if n == "pool_id" else n] for n in PoolRow.__struct_fields__]
_SITE_STATE = Site.__struct_fields__.index("state")
_STATES = {state.value: state for state in SiteState}


def _site(values: list[Any]) -> Site:
    """Of _SITE_COLUMNS."""
    values[_SITE_STATE] = _STATES[values[_SITE_STATE]]
    return Site(*values)


def _pool(values: list[Any]) -> PoolRow:
    """Of _POOL_COLUMNS."""
    return PoolRow(*values)


def insert_site(conn: Connection, values: dict[str, Any]) -> None:
    conn.execute(sa.insert(sites), [values])


def update_site(conn: Connection, site_id: str, **values: Any) -> None:
    update_row(conn, sites, "id", site_id, values)


# asked at every poll: built once
_sites = sa.select(*_SITE_COLUMNS)
_identified = _sites.where(sites.c.id == sa.bindparam("of_site"))
_by_id = Prepared(_identified, _site)
_by_id_locked = Prepared(_identified.with_for_update(), _site)
_named = Prepared(_sites.where(sites.c.name == sa.bindparam("of_name")), _site)
_not_removed = Prepared(
    _sites.where(sites.c.state != SiteState.REMOVED).order_by(sites.c.id), _site
)
_contacts = Prepared(
    sa.select(sites.c.id, sites.c.last_contact_ms)
    .where(sites.c.state != SiteState.REMOVED)
    .order_by(sites.c.id)
)


def site_by_id(conn: Connection, site_id: str, *, lock: bool = False) -> Site | None:
    found: Site | None = (_by_id_locked if lock else _by_id).first(conn, {"of_site": site_id})
    return found


_session = Prepared(sa.select(sites.c.session).where(sites.c.id == sa.bindparam("of_site")))


def session_of(conn: Connection, site_id: str) -> int | None:
    row = _session.first(conn, {"of_site": site_id})
    return None if row is None else int(row.session)


def site_by_name(conn: Connection, name: str) -> Site | None:
    found: Site | None = _named.first(conn, {"of_name": name})
    return found


def all_sites(conn: Connection) -> list[Site]:
    """Every site that is not removed, by id."""
    return list(_not_removed.rows(conn))


def last_contacts(conn: Connection) -> dict[str, int]:
    """Site → when it was last heard, of every site that is not removed."""
    return {row[0]: row[1] for row in _contacts.rows(conn)}


_touch = Prepared(
    sa.update(sites)
    .where(sites.c.id == sa.bindparam("of_site"), sites.c.session == sa.bindparam("of_session"))
    .values(last_contact_ms=sa.bindparam("at_ms"))
)


def touch(conn: Connection, site_id: str, session: int, at_ms: int) -> bool:
    """Note a contact; False if the session is no longer the site's."""
    values = {"of_site": site_id, "of_session": session, "at_ms": at_ms}
    return _touch.run(conn, values) == 1


_next_revisions = Prepared(
    sa.update(sites)
    .where(sites.c.id == sa.bindparam("of_site"))
    .values(revision=sites.c.revision + sa.bindparam("more"))
    .returning(sites.c.revision)
)


def shift_contacts(conn: Connection, by_ms: int) -> None:
    later = sites.c.last_contact_ms + by_ms
    heard = sites.c.last_contact_ms > 0
    conn.execute(sa.update(sites).where(heard).values(last_contact_ms=later))


def next_revisions(conn: Connection, site_id: str, count: int) -> int:
    """Take `count` revisions of the site; returns the first. Locks the site's row until commit."""
    values = {"of_site": site_id, "more": count}
    return int(_next_revisions.first(conn, values).revision) - count + 1


def insert_credential(conn: Connection, values: dict[str, Any]) -> None:
    conn.execute(sa.insert(site_credentials), [values])


def credential(conn: Connection, digest: str, *, lock: bool = False) -> Row[Any] | None:
    query = sa.select(site_credentials).where(site_credentials.c.digest == digest)
    return conn.execute(query.with_for_update() if lock else query).first()


def has_earlier_credential(conn: Connection, than: Row[Any]) -> bool:
    """Is another credential of the same site, issued before this one, still good?"""
    query = sa.select(site_credentials.c.digest).where(
        site_credentials.c.site_id == than.site_id,
        site_credentials.c.kind == "credential",
        site_credentials.c.ended_at_ms.is_(None),
        site_credentials.c.created_at_ms < than.created_at_ms,
    )
    return conn.execute(query.limit(1)).first() is not None


def end_credentials(
    conn: Connection, site_id: str, at_ms: int, *, keep: str = "", kind: str | None = None
) -> int:
    """End every open credential of the site but `keep` (a digest)."""
    query = (
        sa.update(site_credentials)
        .where(
            site_credentials.c.site_id == site_id,
            site_credentials.c.ended_at_ms.is_(None),
            site_credentials.c.digest != keep,
        )
        .values(ended_at_ms=at_ms)
    )
    if kind is not None:
        query = query.where(site_credentials.c.kind == kind)
    return conn.execute(query).rowcount


_pools = sa.select(*_POOL_COLUMNS).order_by(pools.c.id)
_pools_of = Prepared(_pools.where(pools.c.site_id == sa.bindparam("of_site")), _pool)
_present = Prepared(_pools.where(pools.c.present), _pool)
_pools_by_id = Prepared(_pools.where(pools.c.id.in_(ONE_OF)), _pool)


def pools_of(conn: Connection, site_id: str) -> list[PoolRow]:
    return list(_pools_of.rows(conn, {"of_site": site_id}))


def present_pools(conn: Connection) -> list[PoolRow]:
    return list(_present.rows(conn))


def pools_by_id(conn: Connection, pool_ids: Sequence[str]) -> dict[str, PoolRow]:
    return {pool.pool_id: pool for pool in _pools_by_id.rows(conn, {"one_of": list(pool_ids)})}


def insert_pool(conn: Connection, values: dict[str, Any]) -> None:
    conn.execute(sa.insert(pools), [values])


def update_pool(conn: Connection, pool_id: str, **values: Any) -> None:
    update_row(conn, pools, "id", pool_id, values)


_names_of = Prepared(
    sa.union_all(
        *(
            sa.select(table.c.id, table.c.name).where(
                table.c.id.in_(sa.bindparam(of, expanding=True))
            )
            for table, of in ((sites, "of_sites"), (pools, "of_pools"))
        )
    )
)


def names_of(conn: Connection, site_ids: Sequence[str], pool_ids: Sequence[str]) -> dict[str, str]:
    if not (site_ids or pool_ids):
        return {}
    rows = _names_of.rows(conn, {"of_sites": site_ids, "of_pools": pool_ids})
    return {row[0]: row[1] for row in rows}


def names(conn: Connection) -> dict[str, str]:
    found = {row.id: row.name for row in conn.execute(sa.select(sites.c.id, sites.c.name))}
    found.update({row.id: row.name for row in conn.execute(sa.select(pools.c.id, pools.c.name))})
    return found
