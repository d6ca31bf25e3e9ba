"""Routes of organisations, projects, users, memberships, tokens and the audit log."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import APIRouter, Path, Query, Request
from sqlalchemy.engine import Connection

from suanwang.edge.api.auth import Caller, Context, address_of, gate_of
from suanwang.edge.api.paging import Page, Paging
from suanwang.edge.api.tenancy_models import (
    AuditView,
    IdentityRequest,
    MembershipRequest,
    MemberView,
    NewTokenView,
    OrganisationChangeRequest,
    OrganisationRequest,
    OrganisationView,
    PasswordRequest,
    ProjectChangeRequest,
    ProjectRequest,
    ProjectView,
    TokenRequest,
    TokenView,
    UserChangeRequest,
    UserRequest,
    UserView,
)
from suanwang.platform.database import Database
from suanwang.tenancy import access, login, oidc, people, service
from suanwang.tenancy.audit import audit_log
from suanwang.tenancy.model import AuditEntry, ScoreWeights
from suanwang.tenancy.passwords import check_password, hash_password
from suanwang.tenancy.people import UserChange
from suanwang.tenancy.service import OrganisationChange, ProjectChange

router = APIRouter(prefix="/v1", tags=["tenancy"])

OrganisationPath = Annotated[str, Path(max_length=100, description="Id or name.")]
ProjectPath = Annotated[str, Path(max_length=100, description="Id, or name in your organisation.")]
UserPath = Annotated[str, Path(max_length=100, description="Id or login name.")]
TokenPath = Annotated[str, Path(max_length=100)]
OfOrganisation = Annotated[
    str | None, Query(max_length=100, description="Id or name; yours if left out.")
]


def _database(request: Request) -> Database:
    return cast(Context, request.app.state.context).database


@router.get("/organisations")
async def list_organisations(
    request: Request, principal: Caller, paging: Paging
) -> Page[OrganisationView]:
    rows = await _database(request).read(
        lambda conn: service.organisations(conn, principal, after=paging.after, limit=paging.fetch)
    )
    return paging.of(rows, lambda one: one.id, OrganisationView.of)


@router.post("/organisations", status_code=201)
async def create_organisation(
    request: Request, principal: Caller, body: OrganisationRequest
) -> OrganisationView:
    weights = body.score_weights.to_model() if body.score_weights else ScoreWeights()
    made = await _database(request).write(
        lambda tx: service.create_organisation(
            tx,
            principal,
            name=body.name,
            display_name=body.display_name,
            kinds=body.kinds,
            weight=body.weight,
            score_weights=weights,
        )
    )
    return OrganisationView.of(made)


@router.get("/organisations/{organisation_id}")
async def show_organisation(
    request: Request, principal: Caller, organisation_id: OrganisationPath
) -> OrganisationView:
    found = await _database(request).read(
        lambda conn: service.organisation_of(conn, principal, organisation_id)
    )
    return OrganisationView.of(found)


@router.patch("/organisations/{organisation_id}")
async def change_organisation(
    request: Request,
    principal: Caller,
    organisation_id: OrganisationPath,
    body: OrganisationChangeRequest,
) -> OrganisationView:
    change = OrganisationChange(
        display_name=body.display_name,
        score_weights=body.score_weights.to_model() if body.score_weights else None,
        weight=body.weight,
        state=body.state,
    )
    made = await _database(request).write(
        lambda tx: service.change_organisation(tx, principal, organisation_id, change)
    )
    return OrganisationView.of(made)


@router.get("/projects")
async def list_projects(
    request: Request, principal: Caller, paging: Paging, organisation: OfOrganisation = None
) -> Page[ProjectView]:
    rows = await _database(request).read(
        lambda conn: service.projects(
            conn,
            principal,
            organisation_id=organisation,
            after=paging.after,
            limit=paging.fetch,
        )
    )
    return paging.of(rows, lambda one: one.id, ProjectView.of)


@router.post("/projects", status_code=201)
async def create_project(request: Request, principal: Caller, body: ProjectRequest) -> ProjectView:
    made = await _database(request).write(
        lambda tx: service.create_project(
            tx,
            principal,
            name=body.name,
            display_name=body.display_name,
            organisation_id=body.organisation,
            weight=body.weight,
            quota=None if body.quota is None else body.quota.to_model(),
            arrears_grace_s=body.arrears_grace_s,
        )
    )
    return ProjectView.of(made)


@router.get("/projects/{project_id}")
async def show_project(request: Request, principal: Caller, project_id: ProjectPath) -> ProjectView:
    found = await _database(request).read(
        lambda conn: service.project_of(conn, principal, project_id)
    )
    return ProjectView.of(found)


@router.patch("/projects/{project_id}")
async def change_project(
    request: Request, principal: Caller, project_id: ProjectPath, body: ProjectChangeRequest
) -> ProjectView:
    change = ProjectChange(
        display_name=body.display_name,
        weight=body.weight,
        quota=None if body.quota is None else body.quota.to_model(),
        no_quota=body.no_quota,
        arrears_grace_s=body.arrears_grace_s,
        state=body.state,
    )
    made = await _database(request).write(
        lambda tx: service.change_project(tx, principal, project_id, change)
    )
    return ProjectView.of(made)


@router.get("/projects/{project_id}/members")
async def list_members(
    request: Request, principal: Caller, paging: Paging, project_id: ProjectPath
) -> Page[MemberView]:
    rows = await _database(request).read(
        lambda conn: people.members(
            conn, principal, project_id, after=paging.after, limit=paging.fetch
        )
    )
    return paging.of(rows, lambda one: one[1].id, MemberView.of)


@router.put("/projects/{project_id}/members/{user_id}", status_code=204)
async def set_member(
    request: Request,
    principal: Caller,
    project_id: ProjectPath,
    user_id: UserPath,
    body: MembershipRequest,
) -> None:
    await _database(request).write(
        lambda tx: people.set_membership(tx, principal, project_id, user_id, body.role)
    )


@router.get("/users")
async def list_users(
    request: Request, principal: Caller, paging: Paging, organisation: OfOrganisation = None
) -> Page[UserView]:
    rows = await _database(request).read(
        lambda conn: people.users(
            conn,
            principal,
            organisation_id=organisation,
            after=paging.after,
            limit=paging.fetch,
        )
    )
    return paging.of(rows, lambda one: one.id, UserView.of)


@router.post("/users", status_code=201)
async def create_user(request: Request, principal: Caller, body: UserRequest) -> UserView:
    password_hash = None
    if body.password is not None:
        # asked before the costly part; the use case asks again
        await _database(request).read(
            lambda conn: people.may_create_user(conn, principal, body.organisation)
        )
        password_hash = await hash_password(check_password(body.password, body.login))
    made = await _database(request).write(
        lambda tx: people.create_user(
            tx,
            principal,
            login=body.login,
            display_name=body.display_name,
            email=body.email,
            role=body.role,
            password_hash=password_hash,
            organisation_id=body.organisation,
            weight=body.weight,
        )
    )
    return UserView.of(made)


@router.get("/users/{user_id}")
async def show_user(request: Request, principal: Caller, user_id: UserPath) -> UserView:
    found = await _database(request).read(lambda conn: people.user_of(conn, principal, user_id))
    return UserView.of(found)


@router.patch("/users/{user_id}")
async def change_user(
    request: Request, principal: Caller, user_id: UserPath, body: UserChangeRequest
) -> UserView:
    change = UserChange(
        display_name=body.display_name,
        email=body.email,
        role=body.role,
        weight=body.weight,
        state=body.state,
    )
    made = await _database(request).write(
        lambda tx: people.change_user(tx, principal, user_id, change)
    )
    return UserView.of(made)


@router.put("/users/{user_id}/password", status_code=204)
async def set_password(
    request: Request, principal: Caller, user_id: UserPath, body: PasswordRequest
) -> None:
    """Ends all sessions of that user, this one too if it is his."""
    database = _database(request)
    user = await database.read(lambda conn: access.whose_password(conn, principal, user_id))
    if user.id == principal.user_id:
        await login.check_own_password(
            database,
            gate_of(request).clock.now_ms(),
            user=user,
            password=body.current_password or "",
            address=address_of(request),
        )
    password_hash = await hash_password(check_password(body.password, user.login))
    await database.write(lambda tx: access.set_password(tx, principal, user.id, password_hash))


@router.post("/users/{user_id}/identities", status_code=204)
async def link_identity(
    request: Request, principal: Caller, user_id: UserPath, body: IdentityRequest
) -> None:
    """Says which user of the OpenID Connect provider this is."""
    await _database(request).write(
        lambda tx: oidc.link_identity(
            tx, principal, user_id, issuer=body.issuer, subject=body.subject
        )
    )


@router.get("/tokens")
async def list_tokens(
    request: Request,
    principal: Caller,
    paging: Paging,
    user: Annotated[str | None, Query(max_length=100, description="Yourself if left out.")] = None,
) -> Page[TokenView]:
    rows = await _database(request).read(
        lambda conn: access.tokens(
            conn, principal, user=user, after=paging.after, limit=paging.fetch
        )
    )
    return paging.of(rows, lambda one: one.id, TokenView.of)


@router.post("/tokens", status_code=201)
async def issue_token(request: Request, principal: Caller, body: TokenRequest) -> NewTokenView:
    """The answer holds the secret, this once."""
    made = await _database(request).write(
        lambda tx: access.issue_token(
            tx,
            principal,
            name=body.name,
            scopes=body.scopes,
            project=body.project,
            days=body.days,
        )
    )
    return NewTokenView.made(made)


@router.delete("/tokens/{token_id}")
async def revoke_token(request: Request, principal: Caller, token_id: TokenPath) -> TokenView:
    """It stays in the list, marked revoked."""
    token = await _database(request).write(lambda tx: access.revoke_token(tx, principal, token_id))
    return TokenView.of(token)


@router.get("/audit-log")
async def list_audit_log(
    request: Request,
    principal: Caller,
    paging: Paging,
    organisation: OfOrganisation = None,
    target: Annotated[str | None, Query(max_length=120, description="Id of an object.")] = None,
) -> Page[AuditView]:
    """Newest first. An operator who names no organisation sees all of them."""

    def query(conn: Connection) -> tuple[list[AuditEntry], dict[str, str]]:
        of = organisation and service.organisation_of(conn, principal, organisation).id
        found = audit_log(
            conn,
            principal,
            organisation_id=of,
            target_id=target,
            after=paging.after,
            limit=paging.fetch,
        )
        return found, people.logins(conn, {one.actor_user_id for one in found})

    def view(one: AuditEntry) -> AuditView:
        return AuditView.of(one).model_copy(update={"actor": names.get(one.actor_user_id)})

    rows, names = await _database(request).read(query)
    return paging.of(rows, lambda one: one.id, view)
