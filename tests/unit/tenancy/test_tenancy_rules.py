"""Who may do what, by role, membership, scope, binding and suspension."""

from __future__ import annotations

from dataclasses import replace

import pytest

from suanwang.kernel.errors import Forbidden, InvalidInput, NotFound
from suanwang.kernel.resources import Resources
from suanwang.tenancy import rules
from suanwang.tenancy.model import ALL_SCOPES, Action, Principal, Role, Scope

MEMBER = Principal(
    "usr_1", "m", "org_a", Role.MEMBER, ("prj_1",), ALL_SCOPES, read_only_projects=("prj_2",)
)
ADMIN = replace(MEMBER, role=Role.ADMIN, projects=("prj_1", "prj_2", "prj_3"))
VIEWER = replace(MEMBER, role=Role.VIEWER, projects=(), read_only_projects=("prj_1",))
OPERATOR = replace(MEMBER, role=Role.OPERATOR, organisation_id="org_op", projects=())


def test_every_action_has_a_requirement() -> None:
    assert set(rules.REQUIREMENTS) == set(Action)


@pytest.mark.parametrize(
    ("principal", "action", "organisation", "project", "reason"),
    [
        (MEMBER, Action.WRITE_JOBS, "org_a", "prj_1", ""),
        (MEMBER, Action.READ_JOBS, "org_a", "prj_2", ""),
        (MEMBER, Action.WRITE_JOBS, "org_a", "prj_2", "ProjectReadOnly"),
        (MEMBER, Action.READ_JOBS, "org_a", "prj_3", "NotInProject"),
        (MEMBER, Action.READ_JOBS, "org_a", None, "RoleTooLow"),
        (MEMBER, Action.READ_JOBS, "org_b", "prj_1", "NotYours"),
        (MEMBER, Action.WRITE_PROJECT, "org_a", "prj_1", "RoleTooLow"),
        (MEMBER, Action.READ_AUDIT, "org_a", None, "RoleTooLow"),
        (MEMBER, Action.READ_SITES, "org_a", None, ""),
        (VIEWER, Action.READ_JOBS, "org_a", "prj_1", ""),
        (VIEWER, Action.WRITE_JOBS, "org_a", "prj_1", "RoleTooLow"),
        (ADMIN, Action.WRITE_JOBS, "org_a", "prj_9", ""),
        (ADMIN, Action.WRITE_USERS, "org_a", None, ""),
        (ADMIN, Action.WRITE_USERS, "org_b", None, "NotYours"),
        (ADMIN, Action.STEER_PLATFORM, "org_a", None, "RoleTooLow"),
        (ADMIN, Action.CREDIT_MONEY, "org_a", None, "RoleTooLow"),
        (OPERATOR, Action.WRITE_JOBS, "org_a", "prj_1", ""),
        (OPERATOR, Action.STEER_PLATFORM, "org_b", None, ""),
    ],
)
def test_role_and_membership(
    principal: Principal, action: Action, organisation: str, project: str | None, reason: str
) -> None:
    verdict = rules.may(principal, action, organisation, project)
    assert (bool(verdict), verdict.reason) == (not reason, reason)


def test_a_token_without_the_scope_is_refused_even_to_an_operator() -> None:
    narrow = replace(OPERATOR, scopes=frozenset({Scope.JOBS_READ}))
    assert rules.may(narrow, Action.READ_JOBS, "org_a", "prj_1")
    assert rules.may(narrow, Action.WRITE_JOBS, "org_a", "prj_1").reason == "ScopeMissing"


def test_a_token_bound_to_a_project_reaches_nothing_else() -> None:
    bound = replace(ADMIN, only_project="prj_1", projects=("prj_1",))
    assert rules.may(bound, Action.WRITE_JOBS, "org_a", "prj_1")
    assert rules.may(bound, Action.READ_SITES, "org_a")
    for action, project in [
        (Action.WRITE_JOBS, "prj_2"),
        (Action.READ_BILLING, None),
        (Action.WRITE_USERS, None),
        (Action.WRITE_OWN_ACCESS, None),
        (Action.WRITE_PROJECT, "prj_1"),
    ]:
        assert rules.may(bound, action, "org_a", project).reason == "TokenBoundToProject"


def test_a_suspended_organisation_reads_and_revokes_but_writes_nothing() -> None:
    suspended = replace(ADMIN, suspended=True)
    for action, need in rules.REQUIREMENTS.items():
        verdict = rules.may(suspended, action, "org_a", "prj_1")
        if need.least is Role.OPERATOR:
            continue
        assert bool(verdict) is not need.writes, action
    assert rules.may(suspended, Action.WRITE_OWN_ACCESS, "org_a")


def test_another_organisations_object_is_not_found_and_ones_own_forbidden() -> None:
    with pytest.raises(NotFound) as hidden:
        rules.require_may(MEMBER, Action.READ_JOBS, "org_b", "prj_x", kind="job", identity="job_1")
    assert hidden.value.reason == "JobNotFound"
    assert "org_b" not in str(hidden.value)
    with pytest.raises(Forbidden) as refused:
        rules.require_may(MEMBER, Action.WRITE_USERS, "org_a")
    assert refused.value.reason == "RoleTooLow"


def test_roles_are_given_downwards_and_operators_only_at_the_operator() -> None:
    assert rules.may_give_role(ADMIN, Role.ADMIN, to_operators=False)
    assert rules.may_give_role(ADMIN, Role.OPERATOR, to_operators=True).reason == "RoleTooLow"
    refused = rules.may_give_role(OPERATOR, Role.OPERATOR, to_operators=False)
    assert refused.reason == "OperatorsElsewhere"
    assert rules.may_give_role(OPERATOR, Role.OPERATOR, to_operators=True)


def test_nobody_changes_himself_or_those_above_him() -> None:
    assert rules.may_change_user(ADMIN, ADMIN.user_id, Role.ADMIN).reason == "NotOnYourself"
    assert rules.may_change_user(ADMIN, "usr_9", Role.OPERATOR).reason == "RoleTooLow"
    assert rules.may_change_user(ADMIN, "usr_9", Role.ADMIN)


def test_failed_logins_are_free_at_first_then_wait_twice_as_long_up_to_a_bound() -> None:
    waits = [rules.lockout_ms(n, rules.LOGIN_FREE_FAILURES) for n in range(30)]
    assert waits[: rules.LOGIN_FREE_FAILURES] == [0] * rules.LOGIN_FREE_FAILURES
    assert waits[rules.LOGIN_FREE_FAILURES : rules.LOGIN_FREE_FAILURES + 3] == [2000, 4000, 8000]
    assert max(waits) == waits[-1] == rules.LOCKOUT_MAX_MS
    assert rules.lockout_ms(10**9, 5) == rules.LOCKOUT_MAX_MS


@pytest.mark.parametrize("name", ["", "a", "Physics", "-a", "a-", "a_b", "1a", "a" * 41, "物理"])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput) as error:
        rules.check_name(name)
    assert error.value.field == "name"


@pytest.mark.parametrize("login", ["", "a", "usr_x1", ".a", "a b", "a" * 64, "李"])
def test_bad_logins_are_refused(login: str) -> None:
    with pytest.raises(InvalidInput):
        rules.check_login(login)


def test_logins_are_lower_case_and_texts_may_be_chinese() -> None:
    assert rules.check_login(" Li.Hua@Example.edu ") == "li.hua@example.edu"
    assert rules.check_text(" 物理学院 ", "display_name") == "物理学院"
    for text in ("", "  ", "a\nb", "x" * 121):
        with pytest.raises(InvalidInput):
            rules.check_text(text, "display_name")


def test_a_negative_quota_is_refused() -> None:
    with pytest.raises(InvalidInput):
        rules.check_quota(Resources(cpu_milli=-1))
