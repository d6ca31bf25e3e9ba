"""Tokens, sessions, logins: what lets in, for how long, and what stops it at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
import sqlalchemy as sa
from argon2 import PasswordHasher

from manual_clock import ManualClock
from suanwang.kernel.errors import Forbidden, InvalidInput, NotFound, Unauthenticated
from suanwang.kernel.time import MS_PER_DAY
from suanwang.platform.database import Database, InlineDatabase
from suanwang.tenancy import access, login, people, store
from suanwang.tenancy.access import NewSession, SessionPolicy
from suanwang.tenancy.access_store import login_failures, sessions, tokens
from suanwang.tenancy.model import NewToken, Principal, RateLimited, Role, Scope, UserState
from suanwang.tenancy.passwords import hash_now, verify_now
from suanwang.tenancy.people import UserChange
from suanwang.tenancy.principal_cache import TTL_MS, PrincipalCache, access_changes
from suanwang.tenancy.tokens import TOKEN_LENGTH, make_secret, token_id_of
from tenancy_world import PASSWORD, As, Town

POLICY = SessionPolicy(absolute_s=1_000, idle_s=100)


def _known(database: InlineDatabase, secret: str, clock: ManualClock) -> Principal | None:
    try:
        return database.read_now(
            lambda conn: access.know_token(conn, secret, clock.at_ms)
        ).principal
    except Unauthenticated:
        return None


def _issue(database: InlineDatabase, principal: Principal, **what: object) -> NewToken:
    return database.write_now(
        lambda tx: access.issue_token(tx, principal, name="laptop", **what)  # type: ignore[arg-type]
    )


def test_a_token_names_its_row_and_hides_its_secret(
    inline_database: InlineDatabase, town: Town, principal_as: As
) -> None:
    made = _issue(inline_database, principal_as(town.east.member))
    assert len(made.secret) == TOKEN_LENGTH
    assert made.secret.startswith("suan_")
    assert token_id_of(made.secret) == made.token.id
    dump = inline_database.read_now(lambda conn: conn.execute(sa.select(tokens)).all())
    random_part = made.secret.rsplit("_", 1)[1]
    assert random_part not in repr(dump)


@pytest.mark.parametrize("text", ["", "suan_", "suan_x_y", "abc", "suan_" + "é" * 59, "\ud800"])
def test_what_has_not_the_form_of_a_token_is_not_looked_up(text: str) -> None:
    assert token_id_of(text) is None


def test_a_token_ends_by_time_by_revocation_and_with_its_user(
    inline_database: InlineDatabase, town: Town, principal_as: As, clock: ManualClock
) -> None:
    member = principal_as(town.east.member)
    made, short = _issue(inline_database, member), _issue(inline_database, member, days=1)
    known = _known(inline_database, made.secret, clock)
    assert known is not None
    assert (known.user_id, known.token_id) == (member.user_id, made.token.id)
    assert _known(inline_database, made.secret[:-1] + "0", clock) is None
    assert _known(inline_database, make_secret("tok_000000000000000000"), clock) is None

    clock.advance(ms=MS_PER_DAY)
    assert _known(inline_database, short.secret, clock) is None
    assert _known(inline_database, made.secret, clock) is not None
    inline_database.write_now(lambda tx: access.revoke_token(tx, member, made.token.id))
    assert _known(inline_database, made.secret, clock) is None

    last = _issue(inline_database, member)
    admin = principal_as(town.east.admin)
    inline_database.write_now(
        lambda tx: people.change_user(
            tx, admin, member.user_id, UserChange(state=UserState.DISABLED)
        )
    )
    assert _known(inline_database, last.secret, clock) is None


def test_a_token_has_no_more_than_its_maker(
    inline_database: InlineDatabase, town: Town, principal_as: As, clock: ManualClock
) -> None:
    member = principal_as(town.east.member)
    narrow = _issue(inline_database, member, scopes=[Scope.JOBS_READ, Scope.TENANCY_WRITE], days=9)
    holder = _known(inline_database, narrow.secret, clock)
    assert holder is not None
    assert holder.scopes == {Scope.JOBS_READ, Scope.TENANCY_WRITE}
    child = _issue(inline_database, holder, days=90)
    assert child.token.scopes == holder.scopes
    assert child.token.expires_at_ms == narrow.token.expires_at_ms
    for scopes in ([Scope.JOBS_WRITE], []):
        with pytest.raises(InvalidInput) as error:
            _issue(inline_database, holder, scopes=scopes)
        assert error.value.reason == "ScopeNotYours"
    with pytest.raises(NotFound):
        _issue(inline_database, member, project=town.west.project.id)


def test_a_bound_token_sees_one_project_and_makes_no_tokens(
    inline_database: InlineDatabase, town: Town, principal_as: As, clock: ManualClock
) -> None:
    bound = _issue(inline_database, principal_as(town.east.admin), project="physics")
    holder = _known(inline_database, bound.secret, clock)
    assert holder is not None
    assert holder.projects == (town.east.project.id,) == (holder.only_project,)
    with pytest.raises(Forbidden) as error:
        _issue(inline_database, holder)
    assert error.value.reason == "TokenBoundToProject"


def test_tokens_of_others_are_revoked_by_admins_and_hidden_from_strangers(
    inline_database: InlineDatabase, town: Town, principal_as: As, clock: ManualClock
) -> None:
    made = _issue(inline_database, principal_as(town.east.member))
    token_id = made.token.id

    def revoke(principal: Principal) -> None:
        inline_database.write_now(lambda tx: access.revoke_token(tx, principal, token_id))

    with pytest.raises(NotFound):
        revoke(principal_as(town.west.admin))
    with pytest.raises(Forbidden):
        revoke(principal_as(town.east.viewer))
    assert _known(inline_database, made.secret, clock) is not None
    revoke(principal_as(town.east.admin))
    revoke(principal_as(town.east.admin))
    assert _known(inline_database, made.secret, clock) is None


async def _log_in(
    database: Database, clock: ManualClock, name: str, password: str, **more: object
) -> NewSession:
    return await login.log_in(
        database,
        clock.at_ms,
        login=name,
        password=password,
        address="192.0.2.1",
        policy=POLICY,
        **more,  # type: ignore[arg-type]
    )


def _session_known(database: InlineDatabase, cookie: str, clock: ManualClock) -> bool:
    try:
        database.read_now(lambda c: access.know_session(c, cookie, clock.at_ms, POLICY))
    except Unauthenticated:
        return False
    return True


async def test_a_session_ends_when_idle_when_old_and_at_the_next_login(
    inline_database: InlineDatabase, town: Town, clock: ManualClock
) -> None:
    first = await _log_in(inline_database, clock, "Member.East ", PASSWORD)
    assert first.principal.user_id == town.east.member.id
    stored = inline_database.read_now(lambda conn: conn.execute(sa.select(sessions)).all())
    assert first.cookie not in repr(stored)

    clock.advance(s=60)
    assert _session_known(inline_database, first.cookie, clock)
    clock.advance(s=41)
    assert not _session_known(inline_database, first.cookie, clock)

    second = await _log_in(inline_database, clock, "member.east", PASSWORD)
    for _ in range(19):  # used all the time, it still ends
        clock.advance(s=50)
        assert _session_known(inline_database, second.cookie, clock)
        inline_database.write_now(lambda tx: access.note_session_use(tx, second.cookie, POLICY))
    clock.advance(s=50)
    assert not _session_known(inline_database, second.cookie, clock)

    third = await _log_in(inline_database, clock, "member.east", PASSWORD)
    fourth = await _log_in(inline_database, clock, "member.east", PASSWORD, replaces=third.cookie)
    assert fourth.cookie != third.cookie
    assert not _session_known(inline_database, third.cookie, clock)
    assert _session_known(inline_database, fourth.cookie, clock)


async def test_a_new_password_ends_all_sessions(
    inline_database: InlineDatabase, town: Town, clock: ManualClock, principal_as: As
) -> None:
    session = await _log_in(inline_database, clock, "member.east", PASSWORD)
    new_hash = hash_now("another good password")
    viewer = principal_as(town.east.viewer)
    with pytest.raises(Forbidden):
        inline_database.write_now(
            lambda tx: access.set_password(tx, viewer, "member.east", new_hash)
        )
    member = principal_as(town.east.member)
    inline_database.write_now(lambda tx: access.set_password(tx, member, "member.east", new_hash))
    assert not _session_known(inline_database, session.cookie, clock)
    with pytest.raises(Unauthenticated):
        await _log_in(inline_database, clock, "member.east", PASSWORD)
    await _log_in(inline_database, clock, "member.east", "another good password")


@pytest.mark.parametrize("name", ["member.east", "nobody", "usr_\x00"])
async def test_known_and_unknown_logins_are_refused_alike_and_back_off(
    inline_database: InlineDatabase, town: Town, clock: ManualClock, name: str
) -> None:
    refusals = []
    for _ in range(5):
        with pytest.raises(Unauthenticated) as error:
            await _log_in(inline_database, clock, name, "wrong password")
        refusals.append(str(error.value))
    assert len(set(refusals)) == 1
    with pytest.raises(RateLimited) as limited:
        await _log_in(inline_database, clock, name, PASSWORD)
    assert limited.value.retry_after_s == 2
    rows = inline_database.read_now(lambda conn: conn.execute(sa.select(login_failures)).all())
    assert name not in repr(rows)
    clock.advance(s=2)
    if name == "member.east":
        await _log_in(inline_database, clock, name, PASSWORD)
        with pytest.raises(Unauthenticated):  # and the count begins anew
            await _log_in(inline_database, clock, name, "wrong password")
    else:
        with pytest.raises(Unauthenticated):
            await _log_in(inline_database, clock, name, PASSWORD)


async def test_one_address_cannot_try_many_logins(
    inline_database: InlineDatabase, town: Town, clock: ManualClock
) -> None:
    def fail(tx: object) -> None:
        for number in range(50):
            login._count_failure(tx, f"user{number}", "192.0.2.1", None)  # type: ignore[arg-type]

    inline_database.write_now(fail)
    with pytest.raises(RateLimited):
        await _log_in(inline_database, clock, "member.east", PASSWORD)


async def test_failures_are_forgotten_after_an_hour(
    inline_database: InlineDatabase, town: Town, clock: ManualClock
) -> None:
    def fail(tx: object) -> None:
        login._count_failure(tx, "member.east", None, None)  # type: ignore[arg-type]

    for _ in range(8):
        inline_database.write_now(fail)
    clock.advance(s=3_601)
    inline_database.write_now(fail)
    await _log_in(inline_database, clock, "member.east", PASSWORD)
    clock.advance(s=2 * 3_600)
    inline_database.write_now(lambda tx: login._count_failure(tx, "other", None, None))
    left = inline_database.read_now(lambda conn: conn.execute(sa.select(login_failures)).all())
    assert len(left) == 1


async def test_a_weak_hash_is_renewed_at_login(
    inline_database: InlineDatabase, town: Town, clock: ManualClock
) -> None:
    weak = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    user_id = town.east.member.id
    inline_database.write_now(lambda tx: store.set_password_hash(tx.conn, user_id, weak))
    await _log_in(inline_database, clock, "member.east", PASSWORD)
    found = inline_database.read_now(lambda conn: store.password_of(conn, "member.east"))
    assert found is not None
    assert found[1] != weak
    assert verify_now(found[1], PASSWORD).ok


async def test_concurrent_failures_are_all_counted(
    any_database: Database, clock: ManualClock
) -> None:
    await any_database.write(lambda tx: access.bootstrap_platform(tx, PASSWORD))
    results = await asyncio.gather(
        *(_log_in(any_database, clock, "admin", "wrong password") for _ in range(5)),
        return_exceptions=True,
    )
    assert {type(one) for one in results} <= {Unauthenticated, RateLimited}
    with pytest.raises(RateLimited):
        await _log_in(any_database, clock, "admin", PASSWORD)
    clock.advance(s=2)
    session = await _log_in(any_database, clock, "admin", PASSWORD)
    assert session.principal.role is Role.OPERATOR


# --- the cache -------------------------------------------------------------------------------


def test_the_cache_forgets_by_time_at_the_end_and_at_changes(
    inline_database: InlineDatabase, town: Town
) -> None:
    cache: PrincipalCache[str] = PrincipalCache()
    cache.put("key", "value", 0, 10**9, cache.generation)
    assert cache.get("key", TTL_MS - 1) == "value"
    assert cache.get("key", TTL_MS) is None
    cache.put("key", "value", 0, 10, cache.generation)
    assert cache.get("key", 10) is None

    cache.put("key", "value", 0, 10**9, cache.generation)
    inline_database.write_now(access_changes)
    assert cache.get("key", 0) is None


def test_a_look_up_that_began_before_a_change_cannot_put_its_answer_back(
    inline_database: InlineDatabase, town: Town
) -> None:
    cache: PrincipalCache[str] = PrincipalCache()
    generation = cache.generation
    inline_database.write_now(access_changes)
    cache.put("key", "stale", 0, 10**9, generation)
    assert cache.get("key", 0) is None


def test_readable_projects_are_both_kinds() -> None:
    one = Principal("u", "u", "o", Role.MEMBER, ("p2",), frozenset(), read_only_projects=("p1",))
    assert one.readable_projects == ("p1", "p2")
    assert replace(one, read_only_projects=()).readable_projects == ("p2",)
