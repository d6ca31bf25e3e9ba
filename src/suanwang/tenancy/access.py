"""Use cases of access: the first start, tokens, sessions, passwords, and who a credential is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hmac import compare_digest

from sqlalchemy.engine import Connection

from suanwang.kernel.errors import InvalidInput, Unauthenticated
from suanwang.kernel.time import MS_PER_DAY, MS_PER_HOUR
from suanwang.platform.database import Tx
from suanwang.platform.entropy import secret_text
from suanwang.tenancy import access_store, people, rules, service, store
from suanwang.tenancy.audit import audit
from suanwang.tenancy.model import (
    ALL_SCOPES,
    Action,
    Bootstrap,
    NewToken,
    OrganisationKind,
    OrganisationState,
    Principal,
    ProjectState,
    Role,
    Scope,
    Session,
    Token,
    User,
    UserState,
    system_principal,
)
from suanwang.tenancy.passwords import hash_now
from suanwang.tenancy.principal_cache import access_changes
from suanwang.tenancy.rules import not_found, require_may
from suanwang.tenancy.tokens import digest, hex_digest, make_secret, token_id_of

TOKEN_DAYS = 90
TOKEN_MAX_DAYS = 366
TOUCH_AFTER_MS = MS_PER_HOUR
MAX_INSTANT_MS = 1 << 52

OPERATOR_ORGANISATION = "operator"
ADMIN_LOGIN = "admin"


def bootstrap_platform(tx: Tx, admin_password: str | None = None) -> Bootstrap:
    """Make the operator's organisation, its admin, a project and a token, unless they exist.

    Password and token are in the answer only of the call that made them.
    """
    tx.serialise("bootstrap_platform")  # several processes may start on an empty database
    found = store.organisation_by(tx.conn, OPERATOR_ORGANISATION)
    admin = store.user_by(tx.conn, ADMIN_LOGIN)
    if found is not None and admin is not None:
        project = store.project_by_name(tx.conn, found.id, service.DEFAULT_PROJECT)
        project_id = "" if project is None else project.id
        return Bootstrap(ADMIN_LOGIN, admin.id, found.id, project_id, None, None, False)
    system = system_principal()
    password = admin_password or secret_text(20)
    organisation = service.create_organisation(
        tx,
        system,
        name=OPERATOR_ORGANISATION,
        display_name="Operator",
        kinds=(OrganisationKind.OPERATOR, OrganisationKind.PROVIDER, OrganisationKind.CONSUMER),
    )
    project = service.create_project(
        tx, system, name=service.DEFAULT_PROJECT, organisation_id=organisation.id
    )
    admin = people.create_user(
        tx,
        system,
        login=ADMIN_LOGIN,
        display_name="Administrator",
        role=Role.OPERATOR,
        password_hash=hash_now(password),
        organisation_id=organisation.id,
    )
    people.set_membership(tx, system, project.id, admin.id, Role.MEMBER)
    made = issue_token(tx, principal_of(tx.conn, admin), name="suan up", days=TOKEN_MAX_DAYS)
    return Bootstrap(
        ADMIN_LOGIN, admin.id, organisation.id, project.id, password, made.secret, True
    )


# --- tokens ----------------------------------------------------------------------------------


def issue_token(
    tx: Tx,
    principal: Principal,
    *,
    name: str,
    scopes: Iterable[Scope] | None = None,
    project: str | None = None,
    days: int = TOKEN_DAYS,
) -> NewToken:
    """A token of the caller's own, with at most his own scopes (None: all of them)."""
    require_may(principal, Action.WRITE_OWN_ACCESS, principal.organisation_id)
    wanted = principal.scopes if scopes is None else frozenset(scopes)
    if not wanted or not wanted <= principal.scopes:
        raise InvalidInput(
            "ScopeNotYours",
            "A token has at least one scope and none that you lack.",
            hint="Yours: " + ", ".join(sorted(principal.scopes)),
            field="scopes",
        )
    project_id = None
    if project is not None:
        project_id = service.project_of(tx.conn, principal, project).id
    token_id = tx.ids.new("tok")
    secret = make_secret(token_id)
    days = rules.check_range(days, "days", 1, TOKEN_MAX_DAYS)
    token = Token(
        id=token_id,
        user_id=principal.user_id,
        name=rules.check_text(name, "name"),
        scopes=wanted,
        project_id=project_id,
        created_at_ms=tx.now_ms,
        expires_at_ms=min(tx.now_ms + days * MS_PER_DAY, _parent_end_ms(tx.conn, principal)),
        last_used_at_ms=None,
        revoked_at_ms=None,
    )
    access_store.insert_token(tx.conn, token, digest(secret))
    detail = {"name": token.name, "scopes": sorted(wanted), "project": project_id, "days": days}
    audit(tx, principal, "token.issue", "token", token.id, detail)
    return NewToken(token, secret)


def _parent_end_ms(conn: Connection, principal: Principal) -> int:
    """A token made with a token does not outlive it; one made in a session has no such end."""
    parent = access_store.token_by_id(conn, principal.token_id) if principal.token_id else None
    return MAX_INSTANT_MS if parent is None else parent.expires_at_ms


def tokens(
    conn: Connection,
    principal: Principal,
    *,
    user: str | None = None,
    after: str | None = None,
    limit: int = 50,
) -> list[Token]:
    """The caller's own, or those of a user whom he may see."""
    owner = people.user_of(conn, principal, user or principal.user_id)
    return access_store.page_of_tokens(conn, owner.id, after, limit)


def revoke_token(tx: Tx, principal: Principal, token_id: str) -> Token:
    """At once in this process, within seconds in others. Twice is as good as once."""
    token = access_store.token_by_id(tx.conn, token_id)
    if token is None:
        raise not_found("token", token_id)
    owner = people.user(tx.conn, token.user_id)
    own = owner.id == principal.user_id
    action = Action.WRITE_OWN_ACCESS if own else Action.WRITE_USERS
    require_may(principal, action, owner.organisation_id, kind="token", identity=token_id)
    if not own:
        rules.enforce(rules.may_change_user(principal, owner.id, owner.role), "token", token_id)
    if token.revoked_at_ms is None:
        access_store.revoke_token(tx.conn, token_id, tx.now_ms)
        audit(
            tx,
            principal,
            "token.revoke",
            "token",
            token_id,
            {"name": token.name, "user": owner.id},
            organisation_id=owner.organisation_id,
        )
        access_changes(tx)
    found = access_store.token_by_id(tx.conn, token_id)
    return found or token


# --- sessions and passwords ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """How long a sign-in lasts, used or not."""

    absolute_s: int = 24 * 3600
    idle_s: int = 8 * 3600


@dataclass(frozen=True, slots=True)
class NewSession:
    session: Session
    cookie: str
    """The cookie's value; only its SHA-256 is kept."""
    principal: Principal


def open_session(
    tx: Tx, user_id: str, policy: SessionPolicy, *, how: str, replaces: str | None = None
) -> NewSession:
    """Sign a browser in under a fresh cookie; `replaces`, its cookie of before, is ended."""
    user = people.user(tx.conn, user_id)
    if user.state is not UserState.ACTIVE:
        raise _unknown()
    if replaces is not None:
        access_store.end_session(tx.conn, hex_digest(replaces), tx.now_ms)
    cookie = secret_text(40)
    session = Session(
        id=hex_digest(cookie),
        user_id=user.id,
        csrf_token=secret_text(40),
        created_at_ms=tx.now_ms,
        expires_at_ms=tx.now_ms + policy.absolute_s * 1_000,
        idle_expires_at_ms=tx.now_ms + min(policy.idle_s, policy.absolute_s) * 1_000,
    )
    access_store.insert_session(tx.conn, session)
    principal = principal_of(tx.conn, user)
    audit(tx, principal, "session.open", "user", user.id, {"how": how})
    if replaces is not None:
        access_changes(tx)
    return NewSession(session, cookie, principal)


def end_session(tx: Tx, principal: Principal, cookie: str) -> None:
    access_store.end_session(tx.conn, hex_digest(cookie), tx.now_ms)
    audit(tx, principal, "session.end", "user", principal.user_id)
    access_changes(tx)


def whose_password(conn: Connection, principal: Principal, id_or_login: str) -> User:
    """The user, if the caller may set his password: his own, or of somebody not above him."""
    user = people.user_of(conn, principal, id_or_login)
    if user.id == principal.user_id:
        require_may(principal, Action.WRITE_OWN_ACCESS, user.organisation_id)
    else:
        require_may(principal, Action.WRITE_USERS, user.organisation_id)
        rules.enforce(rules.may_change_user(principal, user.id, user.role), "user", id_or_login)
    return user


def set_password(tx: Tx, principal: Principal, id_or_login: str, password_hash: str) -> None:
    """Ends all of the user's sessions. Tokens stay: they are revoked one by one."""
    user = whose_password(tx.conn, principal, id_or_login)
    store.set_password_hash(tx.conn, user.id, password_hash)
    access_store.end_sessions_of(tx.conn, user.id, tx.now_ms)
    audit(tx, principal, "password.set", "user", user.id, organisation_id=user.organisation_id)
    access_changes(tx)


# --- who a credential is ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Known:
    """A credential's principal, for how long that holds, and whether its use should be noted."""

    principal: Principal
    until_ms: int
    csrf_token: str | None = None
    """Of a browser session: what unsafe calls must bring along."""
    note_use: bool = False


def principal_of(
    conn: Connection,
    user: User,
    *,
    token: Token | None = None,
    suspended: bool | None = None,
) -> Principal:
    if suspended is None:
        state = service.organisation(conn, user.organisation_id).state
        suspended = state is not OrganisationState.ACTIVE
    acts: list[str] = []
    looks: list[str] = []
    if rules.RANK[user.role] >= rules.RANK[Role.ADMIN]:
        for project_id, state_of_it in store.project_states(conn, user.organisation_id):
            (acts if state_of_it is ProjectState.ACTIVE else looks).append(project_id)
    else:
        for member, state_of_it in store.memberships_of_user(conn, user.id):
            active = state_of_it is ProjectState.ACTIVE
            acting = active and rules.project_role(user.role, member.role)
            (acts if acting else looks).append(member.project_id)
    bound = None if token is None else token.project_id
    if bound is not None:
        acts = [one for one in acts if one == bound]
        looks = [one for one in looks if one == bound]
    return Principal(
        user_id=user.id,
        user_name=user.login,
        organisation_id=user.organisation_id,
        role=user.role,
        projects=tuple(acts),
        scopes=ALL_SCOPES if token is None else token.scopes,
        token_id=None if token is None else token.id,
        read_only_projects=tuple(looks),
        only_project=bound,
        suspended=suspended,
    )


def know_token(conn: Connection, secret: str, now_ms: int) -> Known:
    """One select by primary key, one for the projects. Raises Unauthenticated, never says why."""
    token_id = token_id_of(secret)
    found = None if token_id is None else access_store.token_holder(conn, token_id)
    if found is None:
        raise _unknown()
    token, stored, holder = found
    if (
        not compare_digest(stored, digest(secret))
        or token.revoked_at_ms is not None
        or token.expires_at_ms <= now_ms
        or holder.user.state is not UserState.ACTIVE
    ):
        raise _unknown()
    principal = principal_of(
        conn, holder.user, token=token, suspended=_suspended(holder.organisation_state)
    )
    last = token.last_used_at_ms
    note_use = last is None or last <= now_ms - TOUCH_AFTER_MS
    return Known(principal, token.expires_at_ms, note_use=note_use)


def know_session(conn: Connection, cookie: str, now_ms: int, policy: SessionPolicy) -> Known:
    found = access_store.session_holder(conn, hex_digest(cookie))
    if found is None:
        raise _unknown()
    session, holder = found
    until_ms = min(session.expires_at_ms, session.idle_expires_at_ms)
    if until_ms <= now_ms or holder.user.state is not UserState.ACTIVE:
        raise _unknown()
    principal = principal_of(conn, holder.user, suspended=_suspended(holder.organisation_state))
    # the end moves on when a tenth of the idle time has passed, not with every click
    idle_left_ms = session.idle_expires_at_ms - now_ms
    note_use = idle_left_ms < policy.idle_s * 900
    return Known(principal, until_ms, session.csrf_token, note_use)


def note_token_use(tx: Tx, token_id: str) -> None:
    access_store.touch_token(tx.conn, token_id, tx.now_ms)


def note_session_use(tx: Tx, cookie: str, policy: SessionPolicy) -> None:
    access_store.extend_session(tx.conn, hex_digest(cookie), tx.now_ms + policy.idle_s * 1_000)


def _suspended(organisation_state: str) -> bool:
    return organisation_state != OrganisationState.ACTIVE.value


def _unknown() -> Unauthenticated:
    return Unauthenticated(
        "NotSignedIn",
        "The credential is unknown, expired or revoked.",
        hint="Sign in, or make a new token (suan token create).",
    )
