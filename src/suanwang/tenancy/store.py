"""Tables of the tenancy: organisations, projects, users and memberships. Rows never go away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from suanwang.kernel.errors import Conflict, StaleWrite
from suanwang.kernel.resources import Resources
from suanwang.platform.prepared import ONE_OF, Prepared
from suanwang.platform.schema import Id, Ms, Packed, metadata
from suanwang.tenancy.model import (
    Membership,
    Organisation,
    OrganisationKind,
    OrganisationState,
    Project,
    ProjectState,
    Role,
    ScoreWeights,
    User,
    UserState,
)

organisations = sa.Table(
    "organisations",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("name", sa.String(40), nullable=False, unique=True),
    sa.Column("display_name", sa.String(120), nullable=False),
    sa.Column("kinds", sa.String(60), nullable=False),
    sa.Column("weight", sa.Integer, nullable=False),
    sa.Column("money_percent", sa.Integer, nullable=False),
    sa.Column("wait_micro_yuan_per_hour", sa.BigInteger, nullable=False),
    sa.Column("transfer_percent", sa.Integer, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("created_at_ms", Ms, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
)

projects = sa.Table(
    "projects",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organisation_id", Id, sa.ForeignKey("organisations.id"), nullable=False),
    sa.Column("name", sa.String(40), nullable=False),
    sa.Column("display_name", sa.String(120), nullable=False),
    sa.Column("weight", sa.Integer, nullable=False),
    sa.Column("quota", Packed(Resources), nullable=True),
    sa.Column("arrears_grace_s", sa.Integer, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("created_at_ms", Ms, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.UniqueConstraint("organisation_id", "name"),
)

users = sa.Table(
    "users",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organisation_id", Id, sa.ForeignKey("organisations.id"), nullable=False, index=True),
    sa.Column("login", sa.String(63), nullable=False, unique=True),
    sa.Column("display_name", sa.String(120), nullable=False),
    sa.Column("email", sa.String(254), nullable=True),
    sa.Column("password_hash", sa.String(200), nullable=True),
    sa.Column("role", sa.String(20), nullable=False),
    sa.Column("weight", sa.Integer, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("created_at_ms", Ms, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
)

memberships = sa.Table(
    "memberships",
    metadata,
    sa.Column("project_id", Id, sa.ForeignKey("projects.id"), primary_key=True),
    sa.Column("user_id", Id, sa.ForeignKey("users.id"), primary_key=True, index=True),
    # null once he has left; the audit log tells when
    sa.Column("role", sa.String(20), nullable=True),
    sa.Column("changed_at_ms", Ms, nullable=False),
)


def organisation_from(row: Any) -> Organisation:
    return Organisation(
        id=row.id,
        name=row.name,
        display_name=row.display_name,
        kinds=tuple(OrganisationKind(kind) for kind in row.kinds.split(",")),
        weight=row.weight,
        score_weights=ScoreWeights(
            row.money_percent, row.wait_micro_yuan_per_hour, row.transfer_percent
        ),
        state=OrganisationState(row.state),
        created_at_ms=row.created_at_ms,
        version=row.version,
    )


def _organisation_values(made: Organisation) -> dict[str, Any]:
    return {
        "name": made.name,
        "display_name": made.display_name,
        "kinds": ",".join(made.kinds),
        "weight": made.weight,
        "money_percent": made.score_weights.money_percent,
        "wait_micro_yuan_per_hour": made.score_weights.wait_micro_yuan_per_hour,
        "transfer_percent": made.score_weights.transfer_percent,
        "state": made.state.value,
    }


def project_from(row: Any) -> Project:
    return Project(
        id=row.id,
        organisation_id=row.organisation_id,
        name=row.name,
        display_name=row.display_name,
        weight=row.weight,
        quota=row.quota,
        arrears_grace_s=row.arrears_grace_s,
        state=ProjectState(row.state),
        created_at_ms=row.created_at_ms,
        version=row.version,
    )


def _project_values(made: Project) -> dict[str, Any]:
    return {
        "name": made.name,
        "display_name": made.display_name,
        "weight": made.weight,
        "quota": made.quota,
        "arrears_grace_s": made.arrears_grace_s,
        "state": made.state.value,
    }


def user_from(row: Any) -> User:
    return User(
        id=row.id,
        organisation_id=row.organisation_id,
        login=row.login,
        display_name=row.display_name,
        email=row.email,
        role=Role(row.role),
        weight=row.weight,
        state=UserState(row.state),
        has_password=row.password_hash is not None,
        created_at_ms=row.created_at_ms,
        version=row.version,
    )


def _user_values(made: User) -> dict[str, Any]:
    return {
        "display_name": made.display_name,
        "email": made.email,
        "role": made.role.value,
        "weight": made.weight,
        "state": made.state.value,
    }


def insert_organisation(conn: Connection, made: Organisation) -> None:
    conn.execute(
        sa.insert(organisations).values(
            id=made.id,
            created_at_ms=made.created_at_ms,
            version=made.version,
            **_organisation_values(made),
        )
    )


def insert_project(conn: Connection, made: Project) -> None:
    conn.execute(
        sa.insert(projects).values(
            id=made.id,
            organisation_id=made.organisation_id,
            created_at_ms=made.created_at_ms,
            version=made.version,
            **_project_values(made),
        )
    )


def insert_user(conn: Connection, made: User, password_hash: str | None) -> None:
    conn.execute(
        sa.insert(users).values(
            id=made.id,
            organisation_id=made.organisation_id,
            login=made.login,
            password_hash=password_hash,
            created_at_ms=made.created_at_ms,
            version=made.version,
            **_user_values(made),
        )
    )


def update_organisation(conn: Connection, made: Organisation) -> None:
    _guarded(conn, organisations, made.id, made.version, _organisation_values(made))


def update_project(conn: Connection, made: Project) -> None:
    _guarded(conn, projects, made.id, made.version, _project_values(made))


def update_user(conn: Connection, made: User) -> None:
    _guarded(conn, users, made.id, made.version, _user_values(made))


def _guarded(
    conn: Connection, table: sa.Table, row_id: str, version: int, values: dict[str, Any]
) -> None:
    """Write the new values of a row that was read as `version`, unless somebody was faster."""
    done = conn.execute(
        sa.update(table)
        .where(table.c.id == row_id, table.c.version == version)
        .values(version=version + 1, **values)
    )
    if done.rowcount != 1:
        raise StaleWrite(
            "ChangedMeanwhile", "Somebody else changed it first.", hint="Read it again and retry."
        )


def upsert(
    conn: Connection,
    table: sa.Table,
    key: dict[str, Any],
    values: dict[str, Any],
    *,
    changed: dict[str, Any] | None = None,
) -> None:
    """Insert the row, or set `changed` (by default `values`) where its key is there already."""
    # both databases speak the same dialect here, from two modules
    insert = postgresql.insert if conn.dialect.name == "postgresql" else sqlite.insert
    conn.execute(
        insert(table)
        .values({**key, **values})
        .on_conflict_do_update(index_elements=list(key), set_=changed or values)
    )


@contextmanager
def unique(reason: str, message: str, hint: str) -> Iterator[None]:
    """Around an insert whose only unique column besides the id may be taken already."""
    try:
        yield
    except IntegrityError as error:
        raise Conflict(reason, message, hint=hint) from error


def set_password_hash(conn: Connection, user_id: str, password_hash: str) -> None:
    conn.execute(
        sa.update(users)
        .where(users.c.id == user_id)
        .values(password_hash=password_hash, version=users.c.version + 1)
    )


_organisations_by = {
    column.name: Prepared(sa.select(organisations).where(column == sa.bindparam("named")))
    for column in (organisations.c.id, organisations.c.name)
}


def organisation_by(conn: Connection, id_or_name: str) -> Organisation | None:
    """An id has a '_', a name never has, so one look-up serves both."""
    column = organisations.c.id if "_" in id_or_name else organisations.c.name
    row = _organisations_by[column.name].first(conn, {"named": id_or_name})
    return None if row is None else organisation_from(row)


# asked at every round: built once
_organisation_weights = Prepared(
    sa.select(
        *(
            organisations.c[name]
            for name in (
                "id",
                "weight",
                "money_percent",
                "wait_micro_yuan_per_hour",
                "transfer_percent",
            )
        )
    ).order_by(organisations.c.id)
)
_project_weights = Prepared(
    sa.select(projects.c.id, projects.c.organisation_id, projects.c.weight).order_by(projects.c.id)
)
_quotas = Prepared(
    sa.select(projects.c.id, projects.c.quota)
    .where(projects.c.quota.is_not(None))
    .order_by(projects.c.id)
)
_weights = Prepared(sa.select(users.c.id, users.c.weight))
_weights_of = Prepared(sa.select(users.c.id, users.c.weight).where(users.c.id.in_(ONE_OF)))


def organisation_weights(conn: Connection) -> list[tuple[str, int, ScoreWeights]]:
    """(organisation, weight among the others, weights of its scores), by id."""
    rows = _organisation_weights.rows(conn)
    return [(row[0], row[1], ScoreWeights(row[2], row[3], row[4])) for row in rows]


def page_of_organisations(
    conn: Connection, only: str | None, after: str | None, limit: int
) -> list[Organisation]:
    query = sa.select(organisations).order_by(organisations.c.id).limit(limit)
    if only is not None:
        query = query.where(organisations.c.id == only)
    if after is not None:
        query = query.where(organisations.c.id > after)
    return [organisation_from(row) for row in conn.execute(query)]


def project_by_id(conn: Connection, project_id: str) -> Project | None:
    row = conn.execute(sa.select(projects).where(projects.c.id == project_id)).one_or_none()
    return None if row is None else project_from(row)


def project_by_name(conn: Connection, organisation_id: str, name: str) -> Project | None:
    row = conn.execute(
        sa.select(projects).where(
            projects.c.organisation_id == organisation_id, projects.c.name == name
        )
    ).one_or_none()
    return None if row is None else project_from(row)


def page_of_projects(
    conn: Connection,
    organisation_id: str | None,
    only: Sequence[str] | None,
    after: str | None,
    limit: int,
) -> list[Project]:
    """None stands for all, of organisations and of projects."""
    query = sa.select(projects).order_by(projects.c.id).limit(limit)
    if organisation_id is not None:
        query = query.where(projects.c.organisation_id == organisation_id)
    if only is not None:
        query = query.where(projects.c.id.in_(only))
    if after is not None:
        query = query.where(projects.c.id > after)
    return [project_from(row) for row in conn.execute(query)]


def project_states(conn: Connection, organisation_id: str) -> list[tuple[str, ProjectState]]:
    rows = conn.execute(
        sa.select(projects.c.id, projects.c.state)
        .where(projects.c.organisation_id == organisation_id)
        .order_by(projects.c.id)
    )
    return [(row.id, ProjectState(row.state)) for row in rows]


def project_weights(conn: Connection) -> Sequence[tuple[str, str, int]]:
    """(project, organisation, weight), by id."""
    return _project_weights.rows(conn)


def quotas(conn: Connection) -> dict[str, Resources]:
    """Of the projects that have one, by id."""
    return {row[0]: row[1] for row in _quotas.rows(conn) if row[1] is not None}


_users_by = {
    column.name: Prepared(sa.select(users).where(column == sa.bindparam("named")))
    for column in (users.c.id, users.c.login)
}


def user_by(conn: Connection, id_or_login: str) -> User | None:
    """By id when it looks like one (`usr_…` cannot be a login: logins are checked for that)."""
    column = users.c.id if id_or_login.startswith("usr_") else users.c.login
    row = _users_by[column.name].first(conn, {"named": id_or_login})
    return None if row is None else user_from(row)


def logins(conn: Connection, user_ids: Sequence[str]) -> dict[str, str]:
    query = sa.select(users.c.id, users.c.login).where(users.c.id.in_(user_ids))
    return {row.id: row.login for row in conn.execute(query)}


def active_operators(conn: Connection) -> list[str]:
    query = (
        sa.select(users.c.id)
        .where(users.c.role == Role.OPERATOR.value, users.c.state == UserState.ACTIVE.value)
        .order_by(users.c.id)
    )
    return list(conn.execute(query).scalars())


def password_of(conn: Connection, login: str) -> tuple[User, str | None] | None:
    row = conn.execute(sa.select(users).where(users.c.login == login)).one_or_none()
    return None if row is None else (user_from(row), row.password_hash)


def page_of_users(
    conn: Connection, organisation_id: str | None, after: str | None, limit: int
) -> list[User]:
    query = sa.select(users).order_by(users.c.id).limit(limit)
    if organisation_id is not None:
        query = query.where(users.c.organisation_id == organisation_id)
    if after is not None:
        query = query.where(users.c.id > after)
    return [user_from(row) for row in conn.execute(query)]


def user_weights(conn: Connection, user_ids: Iterable[str]) -> dict[str, int]:
    wanted = sorted(set(user_ids))
    many = len(wanted) > 1_000  # statements have a limit of parameters
    rows = _weights.rows(conn) if many else _weights_of.rows(conn, {"one_of": wanted})
    return {row.id: row.weight for row in rows}


def member_weights(conn: Connection) -> list[tuple[str, str, int]]:
    """(project, user, weight) of every current membership, sorted."""
    rows = conn.execute(
        sa.select(memberships.c.project_id, memberships.c.user_id, users.c.weight)
        .join(users, users.c.id == memberships.c.user_id)
        .where(memberships.c.role.is_not(None))
        .order_by(memberships.c.project_id, memberships.c.user_id)
    )
    return [(row.project_id, row.user_id, row.weight) for row in rows]


def set_membership(
    conn: Connection, project_id: str, user_id: str, role: Role | None, now_ms: int
) -> None:
    values = {"role": None if role is None else role.value, "changed_at_ms": now_ms}
    upsert(conn, memberships, {"project_id": project_id, "user_id": user_id}, values)


def memberships_of_user(conn: Connection, user_id: str) -> list[tuple[Membership, ProjectState]]:
    rows = conn.execute(
        sa.select(memberships, projects.c.state)
        .join(projects, projects.c.id == memberships.c.project_id)
        .where(memberships.c.user_id == user_id, memberships.c.role.is_not(None))
        .order_by(memberships.c.project_id)
    )
    return [
        (Membership(row.project_id, row.user_id, Role(row.role)), ProjectState(row.state))
        for row in rows
    ]


def page_of_members(
    conn: Connection, project_id: str, after: str | None, limit: int
) -> list[tuple[Membership, User]]:
    query = (
        sa.select(memberships.c.role.label("member_as"), memberships.c.project_id, users)
        .join(users, users.c.id == memberships.c.user_id)
        .where(memberships.c.project_id == project_id, memberships.c.role.is_not(None))
        .order_by(users.c.id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(users.c.id > after)
    return [
        (Membership(row.project_id, row.id, Role(row.member_as)), user_from(row))
        for row in conn.execute(query)
    ]
