"""Use cases of users and memberships."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from sqlalchemy.engine import Connection

from suanwang.kernel.errors import InvalidInput
from suanwang.platform.database import Tx
from suanwang.tenancy import access_store, rules, store
from suanwang.tenancy.audit import audit
from suanwang.tenancy.model import (
    Action,
    Membership,
    OrganisationKind,
    Principal,
    Role,
    User,
    UserState,
)
from suanwang.tenancy.principal_cache import access_changes
from suanwang.tenancy.rules import not_found, require_may
from suanwang.tenancy.service import (
    DEFAULT_WEIGHT,
    keep_change,
    organisation,
    organisation_of,
    owner_listed,
    project_of,
)


@dataclass(frozen=True, slots=True)
class UserChange:
    """None leaves a field as it is."""

    display_name: str | None = None
    email: str | None = None
    role: Role | None = None
    weight: int | None = None
    state: UserState | None = None


def create_user(
    tx: Tx,
    principal: Principal,
    *,
    login: str,
    display_name: str | None = None,
    email: str | None = None,
    role: Role = Role.MEMBER,
    password_hash: str | None = None,
    organisation_id: str | None = None,
    weight: int = DEFAULT_WEIGHT,
) -> User:
    """The password is hashed before (`passwords.hash_password`): that takes too long for here."""
    owner = organisation_of(tx.conn, principal, organisation_id or principal.organisation_id)
    require_may(principal, Action.WRITE_USERS, owner.id)
    to_operators = OrganisationKind.OPERATOR in owner.kinds
    rules.enforce(rules.may_give_role(principal, role, to_operators=to_operators), "user", login)
    login = rules.check_login(login)
    made = User(
        id=tx.ids.new("usr"),
        organisation_id=owner.id,
        login=login,
        display_name=rules.check_text(display_name or login, "display_name"),
        email=rules.check_email(email),
        role=role,
        weight=rules.check_weight(weight),
        state=UserState.ACTIVE,
        has_password=password_hash is not None,
        created_at_ms=tx.now_ms,
    )
    with store.unique("LoginTaken", f"The login name {login!r} is taken.", "Choose another."):
        store.insert_user(tx.conn, made, password_hash)
    detail = {"login": login, "role": role.value}
    audit(tx, principal, "user.create", "user", made.id, detail, organisation_id=owner.id)
    return made


def may_create_user(
    conn: Connection, principal: Principal, organisation_id: str | None = None
) -> None:
    """The question alone, for callers who are about to hash a password for it."""
    owner = organisation_of(conn, principal, organisation_id or principal.organisation_id)
    require_may(principal, Action.WRITE_USERS, owner.id)


def logins(conn: Connection, user_ids: Collection[str]) -> dict[str, str]:
    """Id → login name, of those who have one: the platform itself has none."""
    return store.logins(conn, sorted(user_ids))


def operators(conn: Connection) -> list[str]:
    """Ids of those who could act as the platform's operator now."""
    return store.active_operators(conn)


def user(conn: Connection, user_id: str) -> User:
    """For other contexts' decisions: no principal is asked."""
    found = store.user_by(conn, user_id)
    if found is None:
        raise not_found("user", user_id)
    return found


def user_of(
    conn: Connection, principal: Principal, id_or_login: str, action: Action = Action.READ_USERS
) -> User:
    """Himself always; others if he may."""
    found = store.user_by(conn, id_or_login)
    if found is None:
        # the same answer, whether or not he could have seen it
        raise not_found("user", id_or_login)
    if found.id == principal.user_id and action is Action.READ_USERS:
        action = Action.READ_OWN_ACCESS
    require_may(principal, action, found.organisation_id, kind="user", identity=id_or_login)
    return found


def users(
    conn: Connection,
    principal: Principal,
    *,
    organisation_id: str | None = None,
    after: str | None = None,
    limit: int = 50,
) -> list[User]:
    owner = owner_listed(conn, principal, organisation_id, Action.READ_USERS)
    return store.page_of_users(conn, owner, after, limit)


def change_user(tx: Tx, principal: Principal, id_or_login: str, change: UserChange) -> User:
    """Disabling a user ends his sessions and revokes his tokens in the same transaction."""
    found = user_of(tx.conn, principal, id_or_login, Action.WRITE_USERS)
    himself = found.id == principal.user_id
    if not himself or change.role is not None or change.state is not None:
        rules.enforce(rules.may_change_user(principal, found.id, found.role), "user", id_or_login)
    if change.role is not None and change.role != found.role:
        owner = organisation(tx.conn, found.organisation_id)
        to_operators = OrganisationKind.OPERATOR in owner.kinds
        rules.enforce(
            rules.may_give_role(principal, change.role, to_operators=to_operators),
            "user",
            id_or_login,
        )
    made = replace(
        found,
        display_name=(
            found.display_name
            if change.display_name is None
            else rules.check_text(change.display_name, "display_name")
        ),
        email=found.email if change.email is None else rules.check_email(change.email),
        role=found.role if change.role is None else change.role,
        weight=found.weight if change.weight is None else rules.check_weight(change.weight),
        state=found.state if change.state is None else change.state,
    )
    if made.state != found.state:
        if made.state not in rules.USER_MOVES[found.state]:
            raise rules.wrong_state("user", found.login, found.state)
        access_store.end_sessions_of(tx.conn, found.id, tx.now_ms)
        access_store.revoke_tokens_of(tx.conn, found.id, tx.now_ms)
    if made != found:
        access_changes(tx)
    return keep_change(tx, principal, "user", found.organisation_id, found, made, store.update_user)


def set_membership(
    tx: Tx, principal: Principal, project: str, user: str, role: Role | None
) -> None:
    """MEMBER may act in the project, VIEWER may look, None has left it."""
    found = project_of(tx.conn, principal, project)
    require_may(principal, Action.WRITE_PROJECT, found.organisation_id)
    person = store.user_by(tx.conn, user)
    if person is None or person.organisation_id != found.organisation_id:
        raise not_found("user", user)
    if role not in (None, Role.MEMBER, Role.VIEWER):
        raise InvalidInput(
            "InvalidRole",
            "In a project one is member or viewer.",
            hint="Admins belong to all projects of their organisation anyway.",
            field="role",
        )
    store.set_membership(tx.conn, found.id, person.id, role, tx.now_ms)
    audit(
        tx,
        principal,
        "membership.set",
        "project",
        found.id,
        {"user": person.id, "role": None if role is None else role.value},
        organisation_id=found.organisation_id,
    )
    access_changes(tx)


def members(
    conn: Connection,
    principal: Principal,
    project: str,
    *,
    after: str | None = None,
    limit: int = 50,
) -> list[tuple[Membership, User]]:
    found = project_of(conn, principal, project)
    return store.page_of_members(conn, found.id, after, limit)
