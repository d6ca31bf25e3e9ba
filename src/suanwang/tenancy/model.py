"""Who: organisation → project → user, their roles, and the principal of every use case."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from suanwang.kernel.errors import LimitExceeded
from suanwang.kernel.resources import Resources


class Role(StrEnum):
    """Of a user in his organisation, from most to least."""

    OPERATOR = "operator"
    """Of the platform's own organisation: sees and steers everything."""
    ADMIN = "admin"
    """Of his organisation: its projects, users, sites, money."""
    MEMBER = "member"
    """Submits to the projects he belongs to."""
    VIEWER = "viewer"
    """Reads what his projects do."""


class Scope(StrEnum):
    """What a token may be used for; a session of the portal has all of them."""

    JOBS_READ = "jobs:read"
    JOBS_WRITE = "jobs:write"
    SITES_READ = "sites:read"
    SITES_WRITE = "sites:write"
    BILLING_READ = "billing:read"
    BILLING_WRITE = "billing:write"
    MARKET_READ = "market:read"
    MARKET_WRITE = "market:write"
    TENANCY_READ = "tenancy:read"
    TENANCY_WRITE = "tenancy:write"


ALL_SCOPES = frozenset(Scope)


class Action(StrEnum):
    """What `rules.may` decides about. A job, a site and a bill are other contexts' objects."""

    READ_JOBS = "ReadJobs"
    WRITE_JOBS = "WriteJobs"
    READ_SITES = "ReadSites"
    WRITE_SITES = "WriteSites"
    WRITE_LINKS = "WriteLinks"
    """State what moving data between sites costs."""
    READ_BILLING = "ReadBilling"
    WRITE_BILLING = "WriteBilling"
    READ_MARKET = "ReadMarket"
    """A project's own orders and contracts; depth and trades are everybody's."""
    TRADE = "Trade"
    """Commit a project's money or its organisation's capacity."""
    STEER_MARKET = "SteerMarket"
    """Halt books, set bands, open and clear rounds."""
    READ_PROJECT = "ReadProject"
    WRITE_PROJECT = "WriteProject"
    READ_ORGANISATION = "ReadOrganisation"
    WRITE_ORGANISATION = "WriteOrganisation"
    READ_USERS = "ReadUsers"
    WRITE_USERS = "WriteUsers"
    READ_OWN_ACCESS = "ReadOwnAccess"
    WRITE_OWN_ACCESS = "WriteOwnAccess"
    """One's own tokens and password."""
    READ_AUDIT = "ReadAudit"
    STEER_PLATFORM = "SteerPlatform"
    """Admit and suspend organisations, set their weights."""
    APPLY_PROGRAMMES = "ApplyProgrammes"
    """Ask a policy programme for something in the organisation's name."""
    STEER_PROGRAMMES = "SteerProgrammes"
    """Publish programmes, open budgets, review, pay out, audit, claw back."""
    CREDIT_MONEY = "CreditMoney"
    """Book top-ups, corrections and credit limits."""


class OrganisationKind(StrEnum):
    CONSUMER = "consumer"
    PROVIDER = "provider"
    OPERATOR = "operator"


class OrganisationState(StrEnum):
    """A suspension is a switch, not an end: it may be lifted."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


class ProjectState(StrEnum):
    ACTIVE = "active"
    CLOSED = "closed"


class UserState(StrEnum):
    ACTIVE = "active"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller. `projects`: where he may act (an admin: all of the organisation)."""

    user_id: str
    user_name: str
    organisation_id: str
    role: Role
    projects: tuple[str, ...]
    scopes: frozenset[Scope]
    token_id: str | None = None
    """None for a browser session."""
    read_only_projects: tuple[str, ...] = ()
    """Projects that he may look into but not act in."""
    only_project: str | None = None
    """Set when the token is bound to one project: everything else is out of its reach."""
    suspended: bool = False
    """His organisation is suspended: he may read, no more."""

    @property
    def is_operator(self) -> bool:
        return self.role is Role.OPERATOR

    @property
    def readable_projects(self) -> tuple[str, ...]:
        return (
            tuple(sorted({*self.projects, *self.read_only_projects}))
            if self.read_only_projects
            else self.projects
        )


def system_principal(organisation_id: str = "") -> Principal:
    """The platform itself, for background loops and the first start."""
    return Principal("system", "system", organisation_id, Role.OPERATOR, (), ALL_SCOPES)


@dataclass(frozen=True, slots=True)
class ScoreWeights:
    """How an organisation weighs money, waiting and transfer when the scheduler scores places."""

    money_percent: int = 100
    wait_micro_yuan_per_hour: int = 1_000_000
    transfer_percent: int = 100


@dataclass(frozen=True, slots=True)
class Organisation:
    id: str
    name: str
    display_name: str
    kinds: tuple[OrganisationKind, ...]
    weight: int
    score_weights: ScoreWeights
    state: OrganisationState
    created_at_ms: int
    version: int = 1


@dataclass(frozen=True, slots=True)
class Project:
    id: str
    organisation_id: str
    name: str
    display_name: str
    weight: int
    quota: Resources | None
    """At most this much at once over the whole grid; None = no limit."""
    arrears_grace_s: int
    """How long running work may go on after the money has run out."""
    state: ProjectState
    created_at_ms: int
    version: int = 1


@dataclass(frozen=True, slots=True)
class User:
    """Without the password hash: that never leaves the store except to be verified."""

    id: str
    organisation_id: str
    login: str
    display_name: str
    email: str | None
    role: Role
    weight: int
    state: UserState
    has_password: bool
    created_at_ms: int
    version: int = 1


@dataclass(frozen=True, slots=True)
class Membership:
    project_id: str
    user_id: str
    role: Role
    """MEMBER or VIEWER."""


@dataclass(frozen=True, slots=True)
class Token:
    """What may be shown of a token; its secret is shown once, when it is made."""

    id: str
    user_id: str
    name: str
    scopes: frozenset[Scope]
    project_id: str | None
    created_at_ms: int
    expires_at_ms: int
    last_used_at_ms: int | None
    """Coarse: to the hour."""
    revoked_at_ms: int | None


@dataclass(frozen=True, slots=True)
class NewToken:
    token: Token
    secret: str
    """`suan_<id part>_<random>`; only its SHA-256 is kept."""


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in browser. `id` is the SHA-256 of the cookie's value."""

    id: str
    user_id: str
    csrf_token: str
    created_at_ms: int
    expires_at_ms: int
    idle_expires_at_ms: int


class LoginState(StrEnum):
    """Of a program's request to be signed in; it only moves forward."""

    BEGUN = "begun"
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    FETCHED = "fetched"


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """A program that waits for its user to confirm it in a browser."""

    id: str
    """SHA-256 of the device code."""
    user_code: str
    machine: str
    """What the program says of itself; nobody has checked it."""
    address: str | None
    scopes: frozenset[Scope] | None
    """None: all that its user has."""
    days: int
    state: LoginState
    user_id: str | None
    """Who decided."""
    created_at_ms: int
    expires_at_ms: int
    interval_s: int
    polled_at_ms: int


@dataclass(frozen=True, slots=True)
class AuditEntry:
    id: str
    at_ms: int
    actor_user_id: str
    organisation_id: str
    """Whose object it was, so that an operator's doings in an organisation show there."""
    token_id: str | None
    action: str
    target_kind: str
    target_id: str
    detail: dict[str, object]
    request_id: str | None
    address: str | None


@dataclass(frozen=True, slots=True)
class ShareRow:
    """A node of the fair-share tree: organisation → project → user in that project."""

    share_id: str
    parent_id: str | None
    weight: int


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """What the first start made; a later start finds it and has no secrets to tell."""

    admin_login: str
    admin_user_id: str
    organisation_id: str
    project_id: str
    password: str | None
    token: str | None
    created: bool


class RateLimited(LimitExceeded):
    """Too many calls or failed logins; `retry_after_s` says when the next one may pass."""

    def __init__(self, message: str, *, retry_after_s: int, hint: str = "") -> None:
        super().__init__(
            "RateLimited", message, hint=hint or f"Try again in {retry_after_s} seconds."
        )
        self.retry_after_s = retry_after_s


def user_share_id(project_id: str, user_id: str) -> str:
    """A user has one share in each of his projects, so the pair names it."""
    return f"{project_id}/{user_id}"
