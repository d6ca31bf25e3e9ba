"""A small platform: the operator, two organisations with people and projects, and an app."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

from fastapi import FastAPI

from suanwang.edge.api import problems, routes_session, routes_tenancy
from suanwang.edge.api.security import SecurityMiddleware, SecuritySettings
from suanwang.kernel.time import Clock
from suanwang.platform.database import Database, Tx
from suanwang.platform.settings import Settings
from suanwang.tenancy import access, people, service
from suanwang.tenancy.model import Bootstrap, Principal, Project, Role, User, system_principal
from suanwang.tenancy.passwords import hash_now
from suanwang.tenancy.secrets_box import SecretsBox

PASSWORD = "four unrelated words"
SYSTEM = system_principal()


@dataclass(frozen=True)
class House:
    """One organisation with an admin, a member of one project, a viewer and a stranger to it."""

    organisation_id: str
    project: Project
    other_project: Project
    admin: User
    member: User
    viewer: User


@dataclass(frozen=True)
class Town:
    operator: Bootstrap
    east: House
    west: House


_hash = cache(hash_now)


def _house(tx: Tx, name: str, password_hash: str) -> House:
    owner = service.create_organisation(tx, SYSTEM, name=name, display_name=name.title())
    project = service.create_project(tx, SYSTEM, name="physics", organisation_id=owner.id)
    other = service.create_project(tx, SYSTEM, name="chemistry", organisation_id=owner.id)

    def user(login: str, role: Role) -> User:
        return people.create_user(
            tx,
            SYSTEM,
            login=f"{login}.{name}",
            role=role,
            organisation_id=owner.id,
            password_hash=password_hash,
        )

    admin, member, viewer = (
        user("admin", Role.ADMIN),
        user("member", Role.MEMBER),
        user("viewer", Role.VIEWER),
    )
    people.set_membership(tx, SYSTEM, project.id, member.id, Role.MEMBER)
    people.set_membership(tx, SYSTEM, project.id, viewer.id, Role.MEMBER)
    return House(owner.id, project, other, admin, member, viewer)


def build_town(tx: Tx) -> Town:
    operator = access.bootstrap_platform(tx, PASSWORD)
    password_hash = _hash(PASSWORD)
    return Town(operator, _house(tx, "east", password_hash), _house(tx, "west", password_hash))


class As(Protocol):
    def __call__(self, user: User | str) -> Principal: ...


@dataclass
class AppContext:
    database: Database
    clock: Clock
    security: SecuritySettings = field(default_factory=SecuritySettings)
    settings: Settings = field(default_factory=Settings)
    secrets: SecretsBox = field(default_factory=SecretsBox.in_memory)


def make_app(context: AppContext) -> FastAPI:
    app = FastAPI()
    app.state.context = context
    app.include_router(routes_session.router)
    app.include_router(routes_tenancy.router)
    problems.install(app)
    app.add_middleware(SecurityMiddleware, settings=context.security)
    return app
