"""Pure decisions: who may do what to whose objects, who may give which role, when to back off."""

from __future__ import annotations

import re
from dataclasses import dataclass

from suanwang.kernel.errors import Conflict, Forbidden, InvalidInput, NotFound
from suanwang.kernel.resources import Resources
from suanwang.tenancy.model import (
    Action,
    OrganisationState,
    Principal,
    ProjectState,
    Role,
    Scope,
    UserState,
)

RANK = {Role.VIEWER: 0, Role.MEMBER: 1, Role.ADMIN: 2, Role.OPERATOR: 3}

MAX_WEIGHT = 1_000_000
NAME = re.compile(r"[a-z][a-z0-9-]{0,38}[a-z0-9]")
LOGIN = re.compile(r"[a-z0-9][a-z0-9._@+-]{1,62}")
EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,189}")


@dataclass(frozen=True, slots=True)
class Requirement:
    """Of an action: the token's scope, the least role at home, and what it is done to."""

    scope: Scope
    least: Role
    in_project: bool = False
    """Done inside a project: membership counts; without a project it takes an admin."""
    writes: bool = True


_READ, _WRITE = False, True

REQUIREMENTS: dict[Action, Requirement] = {
    Action.READ_JOBS: Requirement(Scope.JOBS_READ, Role.VIEWER, True, _READ),
    Action.WRITE_JOBS: Requirement(Scope.JOBS_WRITE, Role.MEMBER, True, _WRITE),
    Action.READ_SITES: Requirement(Scope.SITES_READ, Role.VIEWER, False, _READ),
    Action.WRITE_SITES: Requirement(Scope.SITES_WRITE, Role.ADMIN, False, _WRITE),
    Action.WRITE_LINKS: Requirement(Scope.SITES_WRITE, Role.OPERATOR, False, _WRITE),
    Action.READ_BILLING: Requirement(Scope.BILLING_READ, Role.VIEWER, True, _READ),
    Action.WRITE_BILLING: Requirement(Scope.BILLING_WRITE, Role.ADMIN, False, _WRITE),
    Action.APPLY_PROGRAMMES: Requirement(Scope.BILLING_WRITE, Role.ADMIN, False, _WRITE),
    Action.STEER_PROGRAMMES: Requirement(Scope.BILLING_WRITE, Role.OPERATOR, False, _WRITE),
    Action.CREDIT_MONEY: Requirement(Scope.BILLING_WRITE, Role.OPERATOR, False, _WRITE),
    Action.READ_MARKET: Requirement(Scope.MARKET_READ, Role.VIEWER, True, _READ),
    Action.TRADE: Requirement(Scope.MARKET_WRITE, Role.MEMBER, True, _WRITE),
    Action.STEER_MARKET: Requirement(Scope.MARKET_WRITE, Role.OPERATOR, False, _WRITE),
    Action.READ_PROJECT: Requirement(Scope.TENANCY_READ, Role.VIEWER, True, _READ),
    Action.WRITE_PROJECT: Requirement(Scope.TENANCY_WRITE, Role.ADMIN, False, _WRITE),
    Action.READ_ORGANISATION: Requirement(Scope.TENANCY_READ, Role.VIEWER, False, _READ),
    Action.WRITE_ORGANISATION: Requirement(Scope.TENANCY_WRITE, Role.ADMIN, False, _WRITE),
    Action.READ_USERS: Requirement(Scope.TENANCY_READ, Role.ADMIN, False, _READ),
    Action.WRITE_USERS: Requirement(Scope.TENANCY_WRITE, Role.ADMIN, False, _WRITE),
    Action.READ_OWN_ACCESS: Requirement(Scope.TENANCY_READ, Role.VIEWER, False, _READ),
    # a suspended organisation's people may still revoke a leaked token
    Action.WRITE_OWN_ACCESS: Requirement(Scope.TENANCY_WRITE, Role.VIEWER, False, _READ),
    Action.READ_AUDIT: Requirement(Scope.TENANCY_READ, Role.ADMIN, False, _READ),
    Action.STEER_PLATFORM: Requirement(Scope.TENANCY_WRITE, Role.OPERATOR, False, _WRITE),
}

_OPEN_TO_BOUND_TOKENS = frozenset({Action.READ_SITES, Action.READ_ORGANISATION})


@dataclass(frozen=True, slots=True)
class Verdict:
    """Allowed, or a named refusal. `hidden`: he must not even learn that the thing exists."""

    allowed: bool
    reason: str = ""
    message: str = ""
    hint: str = ""
    hidden: bool = False

    def __bool__(self) -> bool:
        return self.allowed


ALLOWED = Verdict(True)
_HIDDEN = Verdict(False, "NotYours", "It belongs to another organisation.", hidden=True)
_SUSPENDED = Verdict(
    False,
    "OrganisationSuspended",
    "Your organisation is suspended: you may read, but change nothing.",
    "Ask the platform's operator.",
)
_BOUND = Verdict(
    False,
    "TokenBoundToProject",
    "This token is bound to another project.",
    "Use a token without a project, or one of the right project.",
)
_NOT_IN_PROJECT = Verdict(
    False,
    "NotInProject",
    "You do not belong to this project.",
    "Ask an admin of your organisation to add you.",
)
_READ_ONLY = Verdict(
    False,
    "ProjectReadOnly",
    "You may look into this project but not act in it.",
    "Ask an admin of your organisation to make you a member.",
)


def may(
    principal: Principal, action: Action, organisation_id: str, project_id: str | None = None
) -> Verdict:
    """May he do this to an object of that organisation (and project)? Total and pure."""
    need = REQUIREMENTS[action]
    if not principal.is_operator and organisation_id != principal.organisation_id:
        return _HIDDEN
    if need.scope not in principal.scopes:
        return Verdict(
            False,
            "ScopeMissing",
            f"This token lacks the scope {need.scope.value}.",
            "Make a token that has it.",
        )
    bound = principal.only_project
    if bound is not None and not (
        action in _OPEN_TO_BOUND_TOKENS or (need.in_project and project_id == bound)
    ):
        return _BOUND
    if principal.is_operator:
        return ALLOWED
    if need.writes and principal.suspended:
        return _SUSPENDED
    least = Role.ADMIN if need.in_project and project_id is None else need.least
    if RANK[principal.role] < RANK[least]:
        return Verdict(
            False,
            "RoleTooLow",
            f"This takes the role {least.value}; yours is {principal.role.value}.",
            "Ask an admin of your organisation.",
        )
    if need.in_project and project_id is not None and RANK[principal.role] < RANK[Role.ADMIN]:
        if project_id in principal.projects:
            return ALLOWED
        if project_id in principal.read_only_projects:
            return _READ_ONLY if need.writes else ALLOWED
        return _NOT_IN_PROJECT
    return ALLOWED


def not_found(kind: str, identity: str) -> NotFound:
    """The same answer for what does not exist and for what another organisation has."""
    return NotFound(
        f"{kind.capitalize()}NotFound",
        f"There is no {kind} {identity!r} that you can see.",
        hint="Check the name or id, and whose token you use.",
    )


def enforce(verdict: Verdict, kind: str, identity: str) -> None:
    """Raise NotFound or Forbidden for a refusal."""
    if verdict.allowed:
        return
    if verdict.hidden:
        raise not_found(kind, identity)
    raise Forbidden(verdict.reason, verdict.message, hint=verdict.hint)


def require_may(
    principal: Principal,
    action: Action,
    organisation_id: str,
    project_id: str | None = None,
    *,
    kind: str = "organisation",
    identity: str | None = None,
) -> None:
    """`may` and `enforce` in one; `kind` and `identity` name the object in the refusal."""
    enforce(
        may(principal, action, organisation_id, project_id),
        kind,
        identity or project_id or organisation_id,
    )


def may_give_role(principal: Principal, role: Role, *, to_operators: bool) -> Verdict:
    """Nobody gives more than he has; operators live in the operator's organisation only."""
    if role is Role.OPERATOR and not to_operators:
        return Verdict(
            False,
            "OperatorsElsewhere",
            "Operators belong to the operator's own organisation.",
            "Create the user there.",
        )
    if RANK[role] > RANK[principal.role]:
        return Verdict(
            False,
            "RoleTooLow",
            f"You cannot give the role {role.value}: yours is {principal.role.value}.",
            "Ask somebody who has it.",
        )
    return ALLOWED


def may_change_user(principal: Principal, user_id: str, role: Role) -> Verdict:
    """An admin does not change those above him; nobody changes his own role or state."""
    if user_id == principal.user_id:
        return Verdict(
            False,
            "NotOnYourself",
            "You cannot change your own role or state.",
            "Ask another admin, so that somebody always remains who can.",
        )
    if RANK[role] > RANK[principal.role]:
        return Verdict(
            False, "RoleTooLow", "This user's role is above yours.", "Ask somebody who has it."
        )
    return ALLOWED


def project_role(role: Role, member_as: Role) -> bool:
    """True when a member of a project may act in it, False when he may only look."""
    return RANK[role] >= RANK[Role.MEMBER] and member_as is Role.MEMBER


ORGANISATION_MOVES = {
    OrganisationState.ACTIVE: (OrganisationState.SUSPENDED,),
    OrganisationState.SUSPENDED: (OrganisationState.ACTIVE,),
}
PROJECT_MOVES: dict[ProjectState, tuple[ProjectState, ...]] = {
    ProjectState.ACTIVE: (ProjectState.CLOSED,),
    ProjectState.CLOSED: (),
}
USER_MOVES: dict[UserState, tuple[UserState, ...]] = {
    UserState.ACTIVE: (UserState.DISABLED,),
    UserState.DISABLED: (),
}


def wrong_state(kind: str, name: str, state: str) -> Conflict:
    return Conflict(
        "WrongState",
        f"The {kind} {name!r} is {state}; it cannot move there.",
        hint="States only move forward; make a new one.",
    )


LOGIN_FREE_FAILURES = 5
ADDRESS_FREE_FAILURES = 50
LOCKOUT_FIRST_MS = 2_000
LOCKOUT_MAX_MS = 15 * 60_000
FAILURES_FORGOTTEN_AFTER_MS = 60 * 60_000


def lockout_ms(failures: int, free: int) -> int:
    """How long to refuse after so many failures in a row: none at first, then doubling."""
    if failures < free:
        return 0
    return min(LOCKOUT_MAX_MS, LOCKOUT_FIRST_MS << min(failures - free, 20))


def check_name(name: str) -> str:
    """Of an organisation or project: it stands in addresses and on command lines."""
    if not NAME.fullmatch(name):
        raise InvalidInput(
            "InvalidName",
            f"{name!r} is not a name.",
            hint="Use 2 to 40 of a-z, 0-9 and '-'; begin with a letter, do not end with '-'.",
            field="name",
        )
    return name


def check_login(login: str) -> str:
    login = login.strip().lower()
    if not LOGIN.fullmatch(login) or login.startswith("usr_"):
        raise InvalidInput(
            "InvalidLogin",
            f"{login!r} is not a login name.",
            hint="Use 2 to 63 of a-z, 0-9 and . _ @ + -; begin with a letter or digit.",
            field="login",
        )
    return login


def check_text(text: str, field: str, limit: int = 120) -> str:
    text = text.strip()
    if not text or len(text) > limit or any(ord(character) < 32 for character in text):
        raise InvalidInput(
            "InvalidText",
            f"The field {field} must have 1 to {limit} printable characters.",
            hint="Shorten it or fill it in.",
            field=field,
        )
    return text


def check_email(email: str | None) -> str | None:
    if email is not None and not EMAIL.fullmatch(email):
        raise InvalidInput(
            "InvalidEmail", f"{email!r} is not an address.", hint="name@domain", field="email"
        )
    return email


def check_range(value: int, field: str, low: int, high: int) -> int:
    if not low <= value <= high:
        raise InvalidInput(
            "OutOfRange",
            f"The field {field} must lie between {low:,} and {high:,}.",
            hint=f"You gave {value:,}.",
            field=field,
        )
    return value


def check_weight(weight: int) -> int:
    return check_range(weight, "weight", 1, MAX_WEIGHT)


def check_quota(quota: Resources | None) -> Resources | None:
    if quota is not None and not quota.is_non_negative():
        raise InvalidInput(
            "OutOfRange", "A quota cannot be negative.", hint="Use 0 for none.", field="quota"
        )
    return quota
