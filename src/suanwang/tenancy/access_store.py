"""Tables of access: tokens, sessions, foreign identities, failed logins, the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from suanwang.platform.schema import Id, Ms, Packed, metadata
from suanwang.tenancy.model import (
    AuditEntry,
    LoginRequest,
    LoginState,
    Scope,
    Session,
    Token,
    User,
)
from suanwang.tenancy.store import organisations, upsert, user_from, users

tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("user_id", Id, sa.ForeignKey("users.id"), nullable=False),
    sa.Column("name", sa.String(120), nullable=False),
    sa.Column("secret_sha256", sa.LargeBinary(32), nullable=False),
    sa.Column("scopes", sa.String(200), nullable=False),
    sa.Column("project_id", Id, sa.ForeignKey("projects.id"), nullable=True),
    sa.Column("created_at_ms", Ms, nullable=False),
    sa.Column("expires_at_ms", Ms, nullable=False),
    sa.Column("last_used_at_ms", Ms, nullable=True),
    sa.Column("revoked_at_ms", Ms, nullable=True),
    sa.Index("ix_tokens_user_id_id", "user_id", "id"),
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("user_id", Id, sa.ForeignKey("users.id"), nullable=False, index=True),
    sa.Column("csrf_token", sa.String(64), nullable=False),
    sa.Column("created_at_ms", Ms, nullable=False),
    sa.Column("expires_at_ms", Ms, nullable=False),
    sa.Column("idle_expires_at_ms", Ms, nullable=False),
    sa.Column("ended_at_ms", Ms, nullable=True),
)

oidc_identities = sa.Table(
    "oidc_identities",
    metadata,
    sa.Column("issuer", sa.String(255), primary_key=True),
    sa.Column("subject", sa.String(255), primary_key=True),
    sa.Column("user_id", Id, sa.ForeignKey("users.id"), nullable=False, index=True),
    sa.Column("linked_at_ms", Ms, nullable=False),
)

login_failures = sa.Table(
    "login_failures",
    metadata,
    # a digest: a password typed into the wrong field must not be kept
    sa.Column("subject", sa.String(80), primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("last_at_ms", Ms, nullable=False, index=True),
    sa.Column("blocked_until_ms", Ms, nullable=False),
)

login_requests = sa.Table(
    "login_requests",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("user_code", sa.String(16), nullable=False, unique=True),
    sa.Column("machine", sa.String(120), nullable=False),
    sa.Column("address", sa.String(64), nullable=True),
    sa.Column("scopes", sa.String(200), nullable=True),
    sa.Column("days", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("user_id", Id, sa.ForeignKey("users.id"), nullable=True),
    sa.Column("created_at_ms", Ms, nullable=False),
    sa.Column("expires_at_ms", Ms, nullable=False, index=True),
    sa.Column("interval_s", sa.Integer, nullable=False),
    sa.Column("polled_at_ms", Ms, nullable=False),
)

audit_log = sa.Table(
    "audit_log",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("at_ms", Ms, nullable=False),
    sa.Column("actor_user_id", Id, nullable=False),
    sa.Column("organisation_id", Id, nullable=False),
    sa.Column("token_id", Id, nullable=True),
    sa.Column("action", sa.String(60), nullable=False),
    sa.Column("target_kind", sa.String(40), nullable=False),
    sa.Column("target_id", sa.String(120), nullable=False),
    sa.Column("detail", Packed(), nullable=False),
    sa.Column("request_id", sa.String(64), nullable=True),
    sa.Column("address", sa.String(64), nullable=True),
    sa.Index("ix_audit_log_organisation_id_id", "organisation_id", "id"),
)


def _scopes(text: str) -> frozenset[Scope]:
    return frozenset(Scope(scope) for scope in text.split(",") if scope)


def token_from(row: Any) -> Token:
    return Token(
        id=row.id,
        user_id=row.user_id,
        name=row.name,
        scopes=_scopes(row.scopes),
        project_id=row.project_id,
        created_at_ms=row.created_at_ms,
        expires_at_ms=row.expires_at_ms,
        last_used_at_ms=row.last_used_at_ms,
        revoked_at_ms=row.revoked_at_ms,
    )


def insert_token(conn: Connection, made: Token, secret_sha256: bytes) -> None:
    conn.execute(
        sa.insert(tokens).values(
            id=made.id,
            user_id=made.user_id,
            name=made.name,
            secret_sha256=secret_sha256,
            scopes=",".join(sorted(made.scopes)),
            project_id=made.project_id,
            created_at_ms=made.created_at_ms,
            expires_at_ms=made.expires_at_ms,
        )
    )


def token_by_id(conn: Connection, token_id: str) -> Token | None:
    row = conn.execute(sa.select(tokens).where(tokens.c.id == token_id)).one_or_none()
    return None if row is None else token_from(row)


def page_of_tokens(conn: Connection, user_id: str, after: str | None, limit: int) -> list[Token]:
    query = sa.select(tokens).where(tokens.c.user_id == user_id).order_by(tokens.c.id).limit(limit)
    if after is not None:
        query = query.where(tokens.c.id > after)
    return [token_from(row) for row in conn.execute(query)]


def revoke_token(conn: Connection, token_id: str, now_ms: int) -> None:
    conn.execute(
        sa.update(tokens)
        .where(tokens.c.id == token_id, tokens.c.revoked_at_ms.is_(None))
        .values(revoked_at_ms=now_ms)
    )


def revoke_tokens_of(conn: Connection, user_id: str, now_ms: int) -> None:
    conn.execute(
        sa.update(tokens)
        .where(tokens.c.user_id == user_id, tokens.c.revoked_at_ms.is_(None))
        .values(revoked_at_ms=now_ms)
    )


def touch_token(conn: Connection, token_id: str, now_ms: int) -> None:
    conn.execute(sa.update(tokens).where(tokens.c.id == token_id).values(last_used_at_ms=now_ms))


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose credential it is, with what decides his rights."""

    user: User
    organisation_state: str


_HOLDER = (users, organisations.c.state.label("organisation_state"))


# built once: building a select costs more than running it
_TOKEN_QUERY = (
    sa.select(
        tokens.c.id.label("t_id"),
        tokens.c.name.label("t_name"),
        tokens.c.secret_sha256,
        tokens.c.scopes,
        tokens.c.project_id,
        tokens.c.created_at_ms.label("t_created_at_ms"),
        tokens.c.expires_at_ms,
        tokens.c.last_used_at_ms,
        tokens.c.revoked_at_ms,
        *_HOLDER,
    )
    .join(users, users.c.id == tokens.c.user_id)
    .join(organisations, organisations.c.id == users.c.organisation_id)
    .where(tokens.c.id == sa.bindparam("token_id"))
)


def token_holder(conn: Connection, token_id: str) -> tuple[Token, bytes, Holder] | None:
    row = conn.execute(_TOKEN_QUERY, {"token_id": token_id}).one_or_none()
    if row is None:
        return None
    user = user_from(row)
    token = Token(
        id=row.t_id,
        user_id=user.id,
        name=row.t_name,
        scopes=_scopes(row.scopes),
        project_id=row.project_id,
        created_at_ms=row.t_created_at_ms,
        expires_at_ms=row.expires_at_ms,
        last_used_at_ms=row.last_used_at_ms,
        revoked_at_ms=row.revoked_at_ms,
    )
    return token, bytes(row.secret_sha256), Holder(user, row.organisation_state)


def insert_session(conn: Connection, made: Session) -> None:
    conn.execute(
        sa.insert(sessions).values(
            id=made.id,
            user_id=made.user_id,
            csrf_token=made.csrf_token,
            created_at_ms=made.created_at_ms,
            expires_at_ms=made.expires_at_ms,
            idle_expires_at_ms=made.idle_expires_at_ms,
        )
    )


_SESSION_QUERY = (
    sa.select(
        sessions.c.id.label("s_id"),
        sessions.c.csrf_token,
        sessions.c.created_at_ms.label("s_created_at_ms"),
        sessions.c.expires_at_ms,
        sessions.c.idle_expires_at_ms,
        sessions.c.ended_at_ms,
        *_HOLDER,
    )
    .join(users, users.c.id == sessions.c.user_id)
    .join(organisations, organisations.c.id == users.c.organisation_id)
    .where(sessions.c.id == sa.bindparam("session_id"))
)


def session_holder(conn: Connection, session_id: str) -> tuple[Session, Holder] | None:
    """None also when the session has been ended."""
    row = conn.execute(_SESSION_QUERY, {"session_id": session_id}).one_or_none()
    if row is None or row.ended_at_ms is not None:
        return None
    user = user_from(row)
    session = Session(
        id=row.s_id,
        user_id=user.id,
        csrf_token=row.csrf_token,
        created_at_ms=row.s_created_at_ms,
        expires_at_ms=row.expires_at_ms,
        idle_expires_at_ms=row.idle_expires_at_ms,
    )
    return session, Holder(user, row.organisation_state)


def extend_session(conn: Connection, session_id: str, idle_expires_at_ms: int) -> None:
    conn.execute(
        sa.update(sessions)
        .where(sessions.c.id == session_id, sessions.c.ended_at_ms.is_(None))
        .values(idle_expires_at_ms=idle_expires_at_ms)
    )


def end_session(conn: Connection, session_id: str, now_ms: int) -> None:
    conn.execute(
        sa.update(sessions)
        .where(sessions.c.id == session_id, sessions.c.ended_at_ms.is_(None))
        .values(ended_at_ms=now_ms)
    )


def end_sessions_of(conn: Connection, user_id: str, now_ms: int) -> None:
    conn.execute(
        sa.update(sessions)
        .where(sessions.c.user_id == user_id, sessions.c.ended_at_ms.is_(None))
        .values(ended_at_ms=now_ms)
    )


def user_of_identity(conn: Connection, issuer: str, subject: str) -> User | None:
    row = conn.execute(
        sa.select(users)
        .join(oidc_identities, oidc_identities.c.user_id == users.c.id)
        .where(oidc_identities.c.issuer == issuer, oidc_identities.c.subject == subject)
    ).one_or_none()
    return None if row is None else user_from(row)


def insert_identity(conn: Connection, issuer: str, subject: str, user_id: str, now_ms: int) -> None:
    conn.execute(
        sa.insert(oidc_identities).values(
            issuer=issuer, subject=subject, user_id=user_id, linked_at_ms=now_ms
        )
    )


def blocked_until_ms(conn: Connection, subject: str) -> int:
    found = conn.execute(
        sa.select(login_failures.c.blocked_until_ms).where(login_failures.c.subject == subject)
    ).scalar_one_or_none()
    return found or 0


def count_failure(conn: Connection, subject: str, now_ms: int, forget_before_ms: int) -> int:
    """One more in a row, atomically; returns how many that makes."""
    old = login_failures.c
    upsert(
        conn,
        login_failures,
        {"subject": subject},
        {"failures": 1, "last_at_ms": now_ms, "blocked_until_ms": 0},
        changed={
            "failures": sa.case((old.last_at_ms < forget_before_ms, 1), else_=old.failures + 1),
            "last_at_ms": now_ms,
        },
    )
    query = sa.select(old.failures).where(old.subject == subject)
    return int(conn.execute(query).scalar_one())


def block_until(conn: Connection, subject: str, until_ms: int) -> None:
    conn.execute(
        sa.update(login_failures)
        .where(login_failures.c.subject == subject)
        .values(blocked_until_ms=until_ms)
    )


def forget_failures(conn: Connection, subject: str) -> None:
    conn.execute(sa.delete(login_failures).where(login_failures.c.subject == subject))


def forget_failures_before(conn: Connection, before_ms: int) -> None:
    """The one kind of row that goes: without it, guessers would fill the table."""
    conn.execute(sa.delete(login_failures).where(login_failures.c.last_at_ms < before_ms))


def insert_login_request(conn: Connection, made: LoginRequest) -> None:
    conn.execute(
        sa.insert(login_requests).values(
            id=made.id,
            user_code=made.user_code,
            machine=made.machine,
            address=made.address,
            scopes=None if made.scopes is None else ",".join(sorted(made.scopes)),
            days=made.days,
            state=made.state.value,
            created_at_ms=made.created_at_ms,
            expires_at_ms=made.expires_at_ms,
            interval_s=made.interval_s,
            polled_at_ms=made.polled_at_ms,
        )
    )


def login_request_by(conn: Connection, column: str, value: str) -> LoginRequest | None:
    """By "id" or "user_code"."""
    query = sa.select(login_requests).where(login_requests.c[column] == value)
    row = conn.execute(query).one_or_none()
    if row is None:
        return None
    values = dict(row._mapping)
    values["state"] = LoginState(row.state)
    values["scopes"] = None if row.scopes is None else _scopes(row.scopes)
    return LoginRequest(**values)


def move_login_request(
    conn: Connection, request_id: str, before: LoginState, after: LoginState, user_id: str
) -> bool:
    """False if it is not in the state `before` any more."""
    statement = (
        sa.update(login_requests)
        .where(login_requests.c.id == request_id, login_requests.c.state == before.value)
        .values(state=after.value, user_id=user_id)
    )
    return conn.execute(statement).rowcount == 1


def note_login_poll(conn: Connection, request_id: str, now_ms: int, interval_s: int) -> None:
    conn.execute(
        sa.update(login_requests)
        .where(login_requests.c.id == request_id)
        .values(polled_at_ms=now_ms, interval_s=interval_s)
    )


def forget_login_requests_before(conn: Connection, before_ms: int) -> None:
    conn.execute(sa.delete(login_requests).where(login_requests.c.expires_at_ms < before_ms))


def insert_audit(conn: Connection, entry: AuditEntry) -> None:
    conn.execute(
        sa.insert(audit_log).values(
            id=entry.id,
            at_ms=entry.at_ms,
            actor_user_id=entry.actor_user_id,
            organisation_id=entry.organisation_id,
            token_id=entry.token_id,
            action=entry.action,
            target_kind=entry.target_kind,
            target_id=entry.target_id,
            detail=entry.detail,
            request_id=entry.request_id,
            address=entry.address,
        )
    )


def forget_audit(conn: Connection, before_id: str, limit: int) -> int:
    """Returns how many went."""
    oldest = sa.select(audit_log.c.id).where(audit_log.c.id < before_id).order_by(audit_log.c.id)
    doomed = sa.delete(audit_log).where(audit_log.c.id.in_(oldest.limit(limit)))
    return conn.execute(doomed).rowcount


def page_of_audit(
    conn: Connection,
    organisation_id: str | None,
    target_id: str | None,
    after: str | None,
    limit: int,
) -> list[AuditEntry]:
    """Newest first; `after` is the id of the last entry of the page before."""
    query = sa.select(audit_log).order_by(audit_log.c.id.desc()).limit(limit)
    if organisation_id is not None:
        query = query.where(audit_log.c.organisation_id == organisation_id)
    if target_id is not None:
        query = query.where(audit_log.c.target_id == target_id)
    if after is not None:
        query = query.where(audit_log.c.id < after)
    return [AuditEntry(**row._mapping) for row in conn.execute(query)]
