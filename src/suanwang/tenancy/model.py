"""Who: organisation → project → user, their roles, and the principal that every use case is given."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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
    TENANCY_READ = "tenancy:read"
    TENANCY_WRITE = "tenancy:write"


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller. `projects` are those he may act in (all of the organisation for an admin)."""

    user_id: str
    user_name: str
    organisation_id: str
    role: Role
    projects: tuple[str, ...]
    scopes: frozenset[Scope]
    token_id: str | None = None
    """None for a browser session."""

    @property
    def is_operator(self) -> bool:
        return self.role is Role.OPERATOR
