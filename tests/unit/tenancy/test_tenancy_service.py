"""The tree and its people, on both kinds of database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import pytest

from suanwang.kernel.errors import Conflict, Forbidden, InvalidInput, NotFound
from suanwang.kernel.resources import Resources
from suanwang.platform.database import Database, InlineDatabase, Tx
from suanwang.tenancy import access, people, service
from suanwang.tenancy.audit import Origin, audit_log, origin
from suanwang.tenancy.model import (
    Action,
    OrganisationKind,
    OrganisationState,
    Principal,
    ProjectState,
    Role,
    ScoreWeights,
    ShareRow,
    UserState,
    system_principal,
    user_share_id,
)
from suanwang.tenancy.people import UserChange
from suanwang.tenancy.service import OrganisationChange, ProjectChange
from tenancy_world import As, Town

T = TypeVar("T")
SYSTEM = system_principal()


async def test_the_first_start_makes_an_operator_once(any_database: Database) -> None:
    first = await any_database.write(lambda tx: access.bootstrap_platform(tx, None))
    assert first.created
    assert first.password is not None
    assert len(first.password) >= 20
    secret = first.token
    assert secret is not None
    again = await any_database.write(lambda tx: access.bootstrap_platform(tx, "other password"))
    assert (again.created, again.password, again.token) == (False, None, None)
    assert (again.organisation_id, again.project_id) == (first.organisation_id, first.project_id)

    known = await any_database.read(lambda conn: access.know_token(conn, secret, 0))
    assert known.principal.is_operator
    assert known.principal.projects == (first.project_id,)
    assert (await any_database.read(lambda c: service.organisation(c, "operator"))).kinds == (
        OrganisationKind.CONSUMER,
        OrganisationKind.OPERATOR,
        OrganisationKind.PROVIDER,
    )


async def test_names_are_unique_and_the_loser_is_told(any_database: Database) -> None:
    def create(tx: Tx) -> str:
        return service.create_organisation(tx, SYSTEM, name="east", display_name="East").id

    results = await asyncio.gather(
        *(any_database.write(create) for _ in range(4)), return_exceptions=True
    )
    conflicts = [one for one in results if isinstance(one, Conflict)]
    assert len(conflicts) == 3
    assert {one.reason for one in conflicts} == {"OrganisationNameTaken"}

    def twice(tx: Tx) -> None:
        for _ in range(2):
            people.create_user(tx, SYSTEM, login="li", organisation_id="east")

    with pytest.raises(Conflict) as error:
        await any_database.write(twice)
    assert error.value.reason == "LoginTaken"


async def test_changes_are_kept_and_versions_rise(any_database: Database) -> None:
    def prepare(tx: Tx) -> str:
        owner = service.create_organisation(tx, SYSTEM, name="east", display_name="East")
        return service.create_project(
            tx, SYSTEM, name="physics", organisation_id=owner.id, quota=Resources(8_000, 1, 2, 3)
        ).id

    project_id = await any_database.write(prepare)
    change = ProjectChange(weight=300, arrears_grace_s=60, display_name="物理")
    changed = await any_database.write(
        lambda tx: service.change_project(tx, SYSTEM, project_id, change)
    )
    read = await any_database.read(lambda conn: service.project(conn, project_id))
    assert read == changed
    assert (read.weight, read.quota, read.version) == (300, Resources(8_000, 1, 2, 3), 2)
    assert await any_database.read(service.quotas) == {project_id: Resources(8_000, 1, 2, 3)}

    weights = ScoreWeights(50, 2_000_000, 10)
    await any_database.write(
        lambda tx: service.change_organisation(
            tx, SYSTEM, "east", OrganisationChange(score_weights=weights)
        )
    )
    assert list((await any_database.read(service.weights_by_organisation)).values()) == [weights]


async def test_membership_comes_and_goes(any_database: Database) -> None:
    def prepare(tx: Tx) -> tuple[str, str]:
        owner = service.create_organisation(tx, SYSTEM, name="east", display_name="East")
        project = service.create_project(tx, SYSTEM, name="physics", organisation_id=owner.id)
        return project.id, people.create_user(
            tx, SYSTEM, login="li", organisation_id=owner.id, weight=7
        ).id

    project_id, user_id = await any_database.write(prepare)
    expected: dict[Role | None, tuple[tuple[str, ...], tuple[str, ...]]] = {
        Role.MEMBER: ((project_id,), ()),
        Role.VIEWER: ((), (project_id,)),
        None: ((), ()),
    }
    for role, (acts, looks) in [*expected.items(), *expected.items()]:
        await any_database.write(
            partial(
                people.set_membership,
                principal=SYSTEM,
                project=project_id,
                user=user_id,
                role=role,
            )
        )
        principal = await any_database.read(
            lambda conn: access.principal_of(conn, people.user(conn, user_id))
        )
        assert (principal.projects, principal.read_only_projects) == (acts, looks)
        members = await any_database.read(lambda c: people.members(c, SYSTEM, project_id))
        assert [one.role for one, _ in members] == ([] if role is None else [role])


async def test_the_share_tree_is_closed_and_sorted(any_database: Database) -> None:
    def prepare(tx: Tx) -> tuple[str, str, str]:
        owner = service.create_organisation(tx, SYSTEM, name="east", display_name="East", weight=5)
        project = service.create_project(tx, SYSTEM, name="physics", organisation_id=owner.id)
        user = people.create_user(tx, SYSTEM, login="li", organisation_id=owner.id, weight=7)
        people.set_membership(tx, SYSTEM, project.id, user.id, Role.MEMBER)
        return owner.id, project.id, user.id

    owner_id, project_id, user_id = await any_database.write(prepare)
    share_id = user_share_id(project_id, user_id)
    rows = [
        ShareRow(owner_id, None, 5),
        ShareRow(project_id, owner_id, 100),
        ShareRow(share_id, project_id, 7),
    ]
    assert await any_database.read(service.shares) == rows
    assert await any_database.read(lambda conn: service.shares(conn, [])) == rows[:2]
    pairs = [(project_id, user_id)] * 2
    assert await any_database.read(lambda conn: service.shares(conn, pairs)) == rows


async def test_the_audit_log_pages_backwards(any_database: Database) -> None:
    def prepare(tx: Tx) -> None:
        for number in range(7):
            service.create_organisation(tx, SYSTEM, name=f"org-{number}", display_name="x")

    await any_database.write(prepare)
    seen: list[object] = []
    after: str | None = None
    while True:
        page = await any_database.read(partial(audit_log, principal=SYSTEM, after=after, limit=3))
        if not page:
            break
        seen += [entry.detail["name"] for entry in page]
        after = page[-1].id
    assert seen == [f"org-{number}" for number in reversed(range(7))]


# --- decisions that need no second database ---------------------------------------------------


def _try(database: InlineDatabase, use_case: Callable[[Tx], T]) -> str:
    """The reason of the refusal, 'done' if there was none."""
    try:
        database.write_now(use_case)
    except (Forbidden, NotFound, Conflict, InvalidInput) as error:
        return error.reason
    return "done"


def test_projects_are_named_at_home_and_hidden_abroad(
    inline_database: InlineDatabase, town: Town, principal_as: As
) -> None:
    member = principal_as(town.east.member)

    def resolve(principal: Principal, name: str | None, action: Action = Action.WRITE_JOBS) -> str:
        def find(conn: object) -> str:
            return service.project_of(conn, principal, name, action).id  # type: ignore[arg-type]

        try:
            return inline_database.read_now(find)
        except (Forbidden, NotFound) as error:
            return error.reason

    physics = town.east.project.id
    assert resolve(member, None) == physics  # his only one
    assert resolve(member, "physics") == physics
    assert resolve(member, "east/physics") == physics
    assert resolve(member, "chemistry") == "NotInProject"
    for foreign in ("west/physics", "nowhere/physics", town.west.project.id, "prj_none"):
        assert resolve(member, foreign) == "ProjectNotFound"
    operator = principal_as(town.operator.admin_user_id)
    assert resolve(operator, "west/physics") == town.west.project.id
    assert resolve(operator, None) == town.operator.project_id


def test_lists_show_what_the_caller_may_see(
    inline_database: InlineDatabase, town: Town, principal_as: As
) -> None:
    def project_names(principal: Principal) -> list[str]:
        rows = inline_database.read_now(lambda conn: service.projects(conn, principal))
        return [f"{one.organisation_id == principal.organisation_id}:{one.name}" for one in rows]

    assert project_names(principal_as(town.east.member)) == ["True:physics"]
    assert project_names(principal_as(town.east.viewer)) == ["True:physics"]
    assert project_names(principal_as(town.east.admin)) == ["True:physics", "True:chemistry"]
    assert len(project_names(principal_as(town.operator.admin_user_id))) == 5

    admin = principal_as(town.east.admin)
    users = inline_database.read_now(lambda conn: people.users(conn, admin))
    assert {one.organisation_id for one in users} == {town.east.organisation_id}
    organisations = inline_database.read_now(lambda conn: service.organisations(conn, admin))
    assert [one.name for one in organisations] == ["east"]
    with pytest.raises(NotFound):
        inline_database.read_now(lambda conn: people.users(conn, admin, organisation_id="west"))


def test_an_admin_rules_at_home_only(
    inline_database: InlineDatabase, town: Town, principal_as: As
) -> None:
    admin = principal_as(town.east.admin)
    west = town.west

    def reason(use_case: Callable[[Tx], object]) -> str:
        return _try(inline_database, use_case)

    assert reason(lambda tx: service.create_project(tx, admin, name="maths")) == "done"
    assert (
        reason(
            lambda tx: service.create_project(
                tx, admin, name="maths", organisation_id=west.organisation_id
            )
        )
        == "OrganisationNotFound"
    )
    assert (
        reason(lambda tx: service.create_organisation(tx, admin, name="new", display_name="n"))
        == "RoleTooLow"
    )
    assert (
        reason(
            lambda tx: service.change_organisation(
                tx, admin, "east", OrganisationChange(weight=10_000)
            )
        )
        == "RoleTooLow"
    )
    assert (
        reason(
            lambda tx: service.change_organisation(
                tx, admin, "east", OrganisationChange(display_name="Orient")
            )
        )
        == "done"
    )
    assert (
        reason(
            lambda tx: people.set_membership(
                tx, admin, town.east.project.id, west.member.id, Role.MEMBER
            )
        )
        == "UserNotFound"
    )
    assert (
        reason(lambda tx: people.change_user(tx, admin, west.member.id, UserChange(weight=1)))
        == "UserNotFound"
    )
    assert (
        reason(lambda tx: people.create_user(tx, admin, login="boss", role=Role.OPERATOR))
        == "OperatorsElsewhere"
    )
    assert (
        reason(
            lambda tx: people.change_user(tx, admin, admin.user_id, UserChange(role=Role.VIEWER))
        )
        == "NotOnYourself"
    )
    operator_id = town.operator.admin_user_id
    assert (
        reason(lambda tx: people.change_user(tx, admin, operator_id, UserChange(weight=1)))
        == "UserNotFound"
    )


def test_states_only_move_forward_but_a_suspension_can_be_lifted(
    inline_database: InlineDatabase, town: Town, principal_as: As
) -> None:
    operator = principal_as(town.operator.admin_user_id)
    project_id = town.east.other_project.id

    def project_to(state: ProjectState) -> str:
        return _try(
            inline_database,
            lambda tx: service.change_project(tx, operator, project_id, ProjectChange(state=state)),
        )

    assert project_to(ProjectState.CLOSED) == "done"
    assert project_to(ProjectState.ACTIVE) == "WrongState"
    admin = principal_as(town.east.admin)
    assert project_id in admin.read_only_projects
    with pytest.raises(Conflict):
        inline_database.read_now(
            lambda conn: service.project_of(conn, admin, project_id, Action.WRITE_JOBS)
        )

    def organisation_to(name: str, state: OrganisationState) -> str:
        return _try(
            inline_database,
            lambda tx: service.change_organisation(
                tx, operator, name, OrganisationChange(state=state)
            ),
        )

    assert organisation_to("east", OrganisationState.SUSPENDED) == "done"
    assert principal_as(town.east.admin).suspended
    assert organisation_to("east", OrganisationState.ACTIVE) == "done"
    assert not principal_as(town.east.admin).suspended
    assert organisation_to("operator", OrganisationState.SUSPENDED) == "OperatorStays"

    def user_to(state: UserState) -> str:
        return _try(
            inline_database,
            lambda tx: people.change_user(
                tx, operator, town.east.member.id, UserChange(state=state)
            ),
        )

    assert user_to(UserState.DISABLED) == "done"
    assert user_to(UserState.ACTIVE) == "WrongState"


def test_the_audit_log_tells_who_what_and_from_where(
    inline_database: InlineDatabase, town: Town, principal_as: As
) -> None:
    operator = principal_as(town.operator.admin_user_id)
    came_from = origin.set(Origin("request-1", "192.0.2.7"))
    try:
        inline_database.write_now(
            lambda tx: service.change_project(
                tx, operator, town.east.project.id, ProjectChange(weight=5)
            )
        )
    finally:
        origin.reset(came_from)
    # what an operator does in an organisation shows in that organisation's own log
    admin = principal_as(town.east.admin)
    newest = inline_database.read_now(lambda conn: audit_log(conn, admin))[0]
    assert (newest.action, newest.target_id) == ("project.change", town.east.project.id)
    assert newest.actor_user_id == operator.user_id
    assert newest.detail == {"weight": [100, 5]}
    assert (newest.request_id, newest.address) == ("request-1", "192.0.2.7")
    stranger = principal_as(town.west.admin)
    entries = inline_database.read_now(lambda conn: audit_log(conn, stranger, limit=500))
    assert {one.organisation_id for one in entries} == {town.west.organisation_id}
    with pytest.raises(NotFound):
        inline_database.read_now(
            lambda conn: audit_log(conn, stranger, organisation_id=town.east.organisation_id)
        )
    member = principal_as(town.east.member)
    with pytest.raises(Forbidden):
        inline_database.read_now(lambda conn: audit_log(conn, member))


def test_a_change_that_changes_nothing_leaves_no_trace(
    inline_database: InlineDatabase, town: Town, principal_as: As
) -> None:
    admin = principal_as(town.east.admin)
    before = inline_database.read_now(lambda conn: audit_log(conn, admin, limit=500))
    inline_database.write_now(
        lambda tx: service.change_project(
            tx, admin, town.east.project.id, ProjectChange(weight=100)
        )
    )
    assert inline_database.read_now(lambda conn: audit_log(conn, admin, limit=500)) == before


def test_an_admin_beside_operators_does_not_touch_them(
    inline_database: InlineDatabase, town: Town, principal_as: As
) -> None:
    operator = principal_as(town.operator.admin_user_id)
    clerk_user = inline_database.write_now(
        lambda tx: people.create_user(tx, operator, login="clerk", role=Role.ADMIN)
    )
    clerk = principal_as(clerk_user)

    def change(principal: Principal, user_id: str, change: UserChange) -> str:
        return _try(inline_database, lambda tx: people.change_user(tx, principal, user_id, change))

    email = UserChange(email="new@example.org")
    assert change(clerk, operator.user_id, email) == "RoleTooLow"
    assert change(clerk, clerk.user_id, email) == "done"
    assert change(operator, clerk.user_id, email) == "done"
    assert (
        _try(
            inline_database,
            lambda tx: access.set_password(tx, clerk, operator.user_id, "hash"),
        )
        == "RoleTooLow"
    )
