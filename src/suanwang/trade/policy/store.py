"""Tables of programmes, profiles and applications, and every statement over them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from suanwang.platform.bulk import insert_new_rows
from suanwang.platform.database import Tx
from suanwang.platform.schema import Id, Ms, Packed, metadata
from suanwang.trade.policy.life import Application, ApplicationState
from suanwang.trade.policy.model import Profile, Programme, Request

programmes = sa.Table(
    "programmes",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("document", sa.LargeBinary, nullable=False),
    sa.Column("published_at_ms", Ms, nullable=False),
    sa.Column("published_by", Id, nullable=False),
)

profiles = sa.Table(
    "policy_profiles",
    metadata,
    sa.Column("organisation_id", Id, primary_key=True),
    sa.Column("profile", Packed(Profile), nullable=False),
    sa.Column("changed_at_ms", Ms, nullable=False),
    sa.Column("verified_at_ms", Ms, nullable=True),
    sa.Column("verified_by", Id, nullable=True),
    sa.Column("uscc", sa.String(18), nullable=False, server_default=""),
    sa.Index("ix_policy_profiles_uscc", "uscc"),
)

applications = sa.Table(
    "policy_applications",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("programme_id", Id, nullable=False),
    sa.Column("programme_version", sa.Integer, nullable=False),
    sa.Column("organisation_id", Id, nullable=False),
    sa.Column("project_id", Id, nullable=False),
    sa.Column("user_id", Id, nullable=False),
    sa.Column("request", Packed(Request), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("submitted_at_ms", Ms, nullable=False),
    sa.Column("decided_at_ms", Ms, nullable=True),
    sa.Column("decided_by", Id, nullable=True),
    sa.Column("remark", sa.Text, nullable=False),
    sa.Column("grant_id", Id, nullable=True),
    sa.Index("ix_policy_applications_organisation_id_id", "organisation_id", "id"),
    sa.Index("ix_policy_applications_state_id", "state", "id"),
)


@lru_cache(maxsize=512)
def _decoded(document: bytes) -> Programme:
    return msgspec.json.decode(document, type=Programme)


def insert_programme(tx: Tx, programme: Programme, user_id: str) -> bool:
    """False if this version has been published."""
    row = (programme.id, programme.version, msgspec.json.encode(programme), tx.now_ms, user_id)
    return bool(insert_new_rows(tx.conn, programmes, [row], ("id",)))


def find_programmes(
    conn: Connection, wanted: Sequence[tuple[str, int]]
) -> dict[tuple[str, int], Programme]:
    """By id and version."""
    if not wanted:
        return {}
    ids = sorted({one for one, _ in wanted})
    query = sa.select(programmes.c.id, programmes.c.version, programmes.c.document).where(
        programmes.c.id.in_(ids)
    )
    asked = set(wanted)
    return {
        (row.id, row.version): _decoded(row.document)
        for row in conn.execute(query)
        if (row.id, row.version) in asked
    }


def newest_programmes(conn: Connection, programme_id: str | None = None) -> list[Programme]:
    newest = (
        sa.select(programmes.c.id, sa.func.max(programmes.c.version).label("version"))
        .group_by(programmes.c.id)
        .subquery()
    )
    query = (
        sa.select(programmes.c.document)
        .join(newest, (programmes.c.id == newest.c.id) & (programmes.c.version == newest.c.version))
        .order_by(programmes.c.id)
    )
    if programme_id is not None:
        query = query.where(programmes.c.id == programme_id)
    return [_decoded(row.document) for row in conn.execute(query)]


def profile(conn: Connection, organisation_id: str) -> tuple[Profile, int | None] | None:
    """With the instant at which a reviewer verified it."""
    query = sa.select(profiles.c.profile, profiles.c.verified_at_ms).where(
        profiles.c.organisation_id == organisation_id
    )
    row = conn.execute(query).first()
    return None if row is None else (row.profile, row.verified_at_ms)


def profiles_of(
    conn: Connection, organisation_ids: Sequence[str]
) -> dict[str, tuple[Profile, int | None]]:
    """With the instant at which a reviewer verified each."""
    query = sa.select(
        profiles.c.organisation_id, profiles.c.profile, profiles.c.verified_at_ms
    ).where(profiles.c.organisation_id.in_(organisation_ids))
    return {row.organisation_id: (row.profile, row.verified_at_ms) for row in conn.execute(query)}


def organisations_of_code(conn: Connection, uscc: str) -> list[str]:
    """Those who say that they are the entity of this credit code."""
    query = sa.select(profiles.c.organisation_id).where(profiles.c.uscc == uscc)
    return sorted(conn.execute(query).scalars())


def all_profiles(conn: Connection) -> dict[str, Profile]:
    query = sa.select(profiles.c.organisation_id, profiles.c.profile)
    return {row.organisation_id: row.profile for row in conn.execute(query)}


def put_profile(tx: Tx, profile: Profile, verified_by: str | None) -> None:
    """A change ends the verification, unless the reviewer himself makes it."""
    values = {
        "profile": profile,
        "uscc": profile.uscc,
        "changed_at_ms": tx.now_ms,
        "verified_at_ms": tx.now_ms if verified_by else None,
        "verified_by": verified_by,
    }
    tx.serialise(f"policy-profile:{profile.organisation_id}")
    whose = profiles.c.organisation_id == profile.organisation_id
    changed = tx.conn.execute(sa.update(profiles).where(whose).values(values)).rowcount
    if not changed:
        row = {"organisation_id": profile.organisation_id, **values}
        tx.conn.execute(sa.insert(profiles), [row])


def _application(row: Row[Any]) -> Application:
    return Application(
        row.id,
        row.programme_id,
        row.programme_version,
        row.organisation_id,
        row.project_id,
        row.user_id,
        row.request,
        ApplicationState(row.state),
        row.submitted_at_ms,
        row.decided_at_ms,
        row.decided_by,
        row.remark,
        row.grant_id,
    )


def insert_application(conn: Connection, one: Application) -> None:
    row = {
        "id": one.id,
        "programme_id": one.programme_id,
        "programme_version": one.programme_version,
        "organisation_id": one.organisation_id,
        "project_id": one.project_id,
        "user_id": one.user_id,
        "request": one.request,
        "state": one.state.value,
        "submitted_at_ms": one.submitted_at_ms,
        "remark": one.remark,
    }
    conn.execute(sa.insert(applications), [row])


def application(conn: Connection, application_id: str) -> Application | None:
    query = sa.select(applications).where(applications.c.id == application_id)
    row = conn.execute(query).first()
    return None if row is None else _application(row)


def find_applications(
    conn: Connection,
    organisation_id: str | None,
    state: ApplicationState | None,
    before: str | None,
    limit: int,
) -> list[Application]:
    """The latest first."""
    query = sa.select(applications).order_by(applications.c.id.desc()).limit(limit)
    if organisation_id is not None:
        query = query.where(applications.c.organisation_id == organisation_id)
    if state is not None:
        query = query.where(applications.c.state == state.value)
    if before is not None:
        query = query.where(applications.c.id < before)
    return [_application(row) for row in conn.execute(query)]


def decide_application(
    tx: Tx, application_id: str, state: ApplicationState, by: str, remark: str, grant_id: str | None
) -> bool:
    """False if somebody has decided it already."""
    statement = (
        sa.update(applications)
        .where(
            applications.c.id == application_id,
            applications.c.state == ApplicationState.SUBMITTED.value,
        )
        .values(
            state=state.value,
            decided_at_ms=tx.now_ms,
            decided_by=by,
            remark=remark,
            grant_id=grant_id,
        )
    )
    return tx.conn.execute(statement).rowcount == 1
