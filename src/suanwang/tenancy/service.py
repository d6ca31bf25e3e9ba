"""Use cases of organisations and projects, and what the scheduler asks. Users: `people`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from sqlalchemy.engine import Connection

from suanwang.kernel.errors import Conflict, InvalidInput
from suanwang.kernel.resources import Resources
from suanwang.platform.database import Tx
from suanwang.tenancy import rules, store
from suanwang.tenancy.audit import audit, difference
from suanwang.tenancy.model import (
    Action,
    Organisation,
    OrganisationKind,
    OrganisationState,
    Principal,
    Project,
    ProjectState,
    Role,
    ScoreWeights,
    ShareRow,
    User,
    user_share_id,
)
from suanwang.tenancy.principal_cache import access_changes
from suanwang.tenancy.rules import not_found, require_may

Row = TypeVar("Row", Organisation, Project, User)

DEFAULT_WEIGHT = 100
DEFAULT_ARREARS_GRACE_S = 24 * 3600
DEFAULT_PROJECT = "default"
_MAX_WAIT_PRICE = 1_000_000_000_000


@dataclass(frozen=True, slots=True)
class OrganisationChange:
    """None leaves a field as it is. Weights and state are the operator's to set."""

    display_name: str | None = None
    score_weights: ScoreWeights | None = None
    weight: int | None = None
    state: OrganisationState | None = None


@dataclass(frozen=True, slots=True)
class ProjectChange:
    """None leaves a field as it is; `no_quota` takes the quota away."""

    display_name: str | None = None
    weight: int | None = None
    quota: Resources | None = None
    no_quota: bool = False
    arrears_grace_s: int | None = None
    state: ProjectState | None = None


# --- organisations ---------------------------------------------------------------------------


def create_organisation(
    tx: Tx,
    principal: Principal,
    *,
    name: str,
    display_name: str,
    kinds: Iterable[OrganisationKind] = (OrganisationKind.CONSUMER,),
    weight: int = DEFAULT_WEIGHT,
    score_weights: ScoreWeights | None = None,
) -> Organisation:
    require_may(principal, Action.STEER_PLATFORM, principal.organisation_id)
    made = Organisation(
        id=tx.ids.new("org"),
        name=rules.check_name(name),
        display_name=rules.check_text(display_name, "display_name"),
        kinds=_kinds(kinds),
        weight=rules.check_weight(weight),
        score_weights=_checked(score_weights or ScoreWeights()),
        state=OrganisationState.ACTIVE,
        created_at_ms=tx.now_ms,
    )
    with store.unique(
        "OrganisationNameTaken", f"There is an organisation {name!r} already.", "Choose another."
    ):
        store.insert_organisation(tx.conn, made)
    audit(
        tx,
        principal,
        "organisation.create",
        "organisation",
        made.id,
        {"name": made.name, "kinds": list(made.kinds)},
        organisation_id=made.id,
    )
    return made


def _kinds(kinds: Iterable[OrganisationKind]) -> tuple[OrganisationKind, ...]:
    given = tuple(sorted(set(kinds)))
    if not given:
        raise InvalidInput(
            "NoKind", "An organisation is of one kind at least.", hint="consumer", field="kinds"
        )
    return given


def _checked(weights: ScoreWeights) -> ScoreWeights:
    rules.check_range(weights.money_percent, "money_percent", 0, 10_000)
    rules.check_range(weights.transfer_percent, "transfer_percent", 0, 10_000)
    rules.check_range(
        weights.wait_micro_yuan_per_hour, "wait_micro_yuan_per_hour", 0, _MAX_WAIT_PRICE
    )
    return weights


def organisation(conn: Connection, id_or_name: str) -> Organisation:
    """For other contexts' decisions: no principal is asked."""
    found = store.organisation_by(conn, id_or_name)
    if found is None:
        raise not_found("organisation", id_or_name)
    return found


def organisation_of(conn: Connection, principal: Principal, id_or_name: str) -> Organisation:
    """As `organisation`, for a caller: another's is not found."""
    found = organisation(conn, id_or_name)
    require_may(principal, Action.READ_ORGANISATION, found.id, identity=id_or_name)
    return found


def organisations(
    conn: Connection, principal: Principal, *, after: str | None = None, limit: int = 50
) -> list[Organisation]:
    require_may(principal, Action.READ_ORGANISATION, principal.organisation_id)
    only = None if principal.is_operator else principal.organisation_id
    return store.page_of_organisations(conn, only, after, limit)


def owner_listed(
    conn: Connection, principal: Principal, named: str | None, action: Action
) -> str | None:
    """Whose rows a list shows: the named organisation's, else the caller's own.

    None stands for everybody's: an operator who names none.
    """
    owner = None if principal.is_operator else principal.organisation_id
    if named is not None:
        owner = organisation_of(conn, principal, named).id
    require_may(principal, action, owner or principal.organisation_id)
    return owner


def keep_change(
    tx: Tx,
    principal: Principal,
    kind: str,
    organisation_id: str,
    found: Row,
    made: Row,
    update: Callable[[Connection, Row], None],
) -> Row:
    """Write and audit what differs, if anything does; the row as it then is."""
    if made == found:
        return found
    update(tx.conn, made)
    audit(
        tx,
        principal,
        f"{kind}.change",
        kind,
        found.id,
        difference(found, made),
        organisation_id=organisation_id,
    )
    return replace(made, version=found.version + 1)


def change_organisation(
    tx: Tx, principal: Principal, id_or_name: str, change: OrganisationChange
) -> Organisation:
    found = organisation_of(tx.conn, principal, id_or_name)
    require_may(principal, Action.WRITE_ORGANISATION, found.id)
    if change.weight is not None or change.state is not None:
        require_may(principal, Action.STEER_PLATFORM, found.id)
    made = replace(
        found,
        display_name=(
            found.display_name
            if change.display_name is None
            else rules.check_text(change.display_name, "display_name")
        ),
        score_weights=_checked(change.score_weights or found.score_weights),
        weight=found.weight if change.weight is None else rules.check_weight(change.weight),
        state=found.state if change.state is None else change.state,
    )
    if made.state != found.state:
        if made.state not in rules.ORGANISATION_MOVES[found.state]:
            raise rules.wrong_state("organisation", found.name, found.state)
        if OrganisationKind.OPERATOR in found.kinds:
            raise Conflict(
                "OperatorStays", "The operator's own organisation cannot be suspended.", hint=""
            )
        access_changes(tx)
    return keep_change(
        tx, principal, "organisation", found.id, found, made, store.update_organisation
    )


# --- projects --------------------------------------------------------------------------------


def create_project(
    tx: Tx,
    principal: Principal,
    *,
    name: str,
    display_name: str | None = None,
    organisation_id: str | None = None,
    weight: int = DEFAULT_WEIGHT,
    quota: Resources | None = None,
    arrears_grace_s: int = DEFAULT_ARREARS_GRACE_S,
) -> Project:
    owner = organisation_of(tx.conn, principal, organisation_id or principal.organisation_id)
    require_may(principal, Action.WRITE_PROJECT, owner.id)
    made = Project(
        id=tx.ids.new("prj"),
        organisation_id=owner.id,
        name=rules.check_name(name),
        display_name=rules.check_text(display_name or name, "display_name"),
        weight=rules.check_weight(weight),
        quota=rules.check_quota(quota),
        arrears_grace_s=rules.check_range(arrears_grace_s, "arrears_grace_s", 0, 366 * 86_400),
        state=ProjectState.ACTIVE,
        created_at_ms=tx.now_ms,
    )
    with store.unique(
        "ProjectNameTaken",
        f"The organisation has a project {name!r} already.",
        "Choose another name; a closed project keeps its own.",
    ):
        store.insert_project(tx.conn, made)
    detail = {"name": made.name}
    audit(tx, principal, "project.create", "project", made.id, detail, organisation_id=owner.id)
    access_changes(tx)  # an admin may act in it from now on
    return made


def project(conn: Connection, project_id: str) -> Project:
    """For other contexts' decisions: no principal is asked."""
    found = store.project_by_id(conn, project_id)
    if found is None:
        raise not_found("project", project_id)
    return found


def project_of(
    conn: Connection,
    principal: Principal,
    name_or_id: str | None = None,
    action: Action = Action.READ_PROJECT,
) -> Project:
    """The project a caller means, if he may do `action` there.

    None: his token's project, else his only one, else his organisation's `default`.
    A name is looked up in his own organisation; `organisation/project` in the named one.
    """
    if name_or_id is None:
        name_or_id = _project_meant(principal)
    if "_" in name_or_id:
        found = store.project_by_id(conn, name_or_id)
    else:
        owner, slash, name = name_or_id.rpartition("/")
        named = store.organisation_by(conn, owner) if slash else None
        owner_id = named.id if named is not None else principal.organisation_id
        found = None if slash and named is None else store.project_by_name(conn, owner_id, name)
    if found is None:
        raise not_found("project", name_or_id)
    require_may(
        principal, action, found.organisation_id, found.id, kind="project", identity=name_or_id
    )
    if found.state is not ProjectState.ACTIVE and rules.REQUIREMENTS[action].writes:
        raise Conflict(
            "ProjectClosed", f"The project {found.name!r} is closed.", hint="Use another one."
        )
    return found


def _project_meant(principal: Principal) -> str:
    if principal.only_project is not None:
        return principal.only_project
    if len(principal.projects) == 1:
        return principal.projects[0]
    return DEFAULT_PROJECT


def projects(
    conn: Connection,
    principal: Principal,
    *,
    organisation_id: str | None = None,
    after: str | None = None,
    limit: int = 50,
) -> list[Project]:
    """Those the caller may look into; an operator who names no organisation sees all."""
    owner = owner_listed(conn, principal, organisation_id, Action.READ_ORGANISATION)
    if principal.only_project is not None:
        only: tuple[str, ...] | None = (principal.only_project,)
    elif rules.RANK[principal.role] >= rules.RANK[Role.ADMIN]:
        only = None
    else:
        only = principal.readable_projects
    return store.page_of_projects(conn, owner, only, after, limit)


def change_project(tx: Tx, principal: Principal, name_or_id: str, change: ProjectChange) -> Project:
    found = project_of(tx.conn, principal, name_or_id)
    require_may(principal, Action.WRITE_PROJECT, found.organisation_id)
    quota = found.quota if change.quota is None else rules.check_quota(change.quota)
    made = replace(
        found,
        display_name=(
            found.display_name
            if change.display_name is None
            else rules.check_text(change.display_name, "display_name")
        ),
        weight=found.weight if change.weight is None else rules.check_weight(change.weight),
        quota=None if change.no_quota else quota,
        arrears_grace_s=(
            found.arrears_grace_s
            if change.arrears_grace_s is None
            else rules.check_range(change.arrears_grace_s, "arrears_grace_s", 0, 366 * 86_400)
        ),
        state=found.state if change.state is None else change.state,
    )
    if made.state != found.state:
        if made.state not in rules.PROJECT_MOVES[found.state]:
            raise rules.wrong_state("project", found.name, found.state)
        access_changes(tx)
    return keep_change(
        tx, principal, "project", found.organisation_id, found, made, store.update_project
    )


# --- for the scheduler's snapshot ------------------------------------------------------------


def shares(conn: Connection, pairs: Iterable[tuple[str, str]] | None = None) -> list[ShareRow]:
    """The fair-share tree, sorted by id.

    Users appear once per project, as `user_share_id(project, user)`: those of `pairs`
    (project, user) if given – an admin may have work in a project he is no member of – else
    all members.
    """
    rows = [ShareRow(one, None, weight) for one, weight, _ in store.organisation_weights(conn)]
    rows += [ShareRow(*row) for row in store.project_weights(conn)]
    if pairs is None:
        members = store.member_weights(conn)
    else:
        wanted = sorted(set(pairs))
        weights = store.user_weights(conn, (user_id for _, user_id in wanted))
        members = [(project_id, user_id, weights[user_id]) for project_id, user_id in wanted]
    rows += [
        ShareRow(user_share_id(project_id, user_id), project_id, weight)
        for project_id, user_id, weight in members
    ]
    return sorted(rows, key=lambda row: row.share_id)


def weights_by_organisation(conn: Connection) -> dict[str, ScoreWeights]:
    """In order of organisation id."""
    return {one: weights for one, _, weights in store.organisation_weights(conn)}


def quotas(conn: Connection) -> dict[str, Resources]:
    """Of the projects that have one, in order of project id."""
    return store.quotas(conn)
