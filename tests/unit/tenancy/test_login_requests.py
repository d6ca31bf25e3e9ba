"""Signing a program in by a browser: one use, short life, no more than its user has."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from manual_clock import ManualClock
from suanwang.edge.client import signing_in
from suanwang.kernel.errors import Conflict, Forbidden, NotFound, SuanwangError, Unavailable
from suanwang.platform.database import InlineDatabase
from suanwang.tenancy import access, audit, login_requests, people
from suanwang.tenancy.login_requests import Begun, Polled
from suanwang.tenancy.model import Principal, Role, Scope, UserState, system_principal
from tenancy_world import PASSWORD, As, Town

NewClient = Callable[..., httpx.AsyncClient]
READ = (Scope.JOBS_READ,)


def _begin(
    database: InlineDatabase, scopes: tuple[Scope, ...] | None = None, machine: str = "laptop"
) -> Begun:
    return database.write_now(
        lambda tx: login_requests.begin(
            tx, machine=machine, scopes=scopes, days=7, address="192.0.2.7"
        )
    )


def _poll(database: InlineDatabase, begun: Begun) -> Polled:
    return database.write_now(lambda tx: login_requests.poll(tx, begun.device_code))


def _decide(database: InlineDatabase, who: Principal, code: str, confirmed: bool = True) -> None:
    database.write_now(lambda tx: login_requests.decide(tx, who, code, confirmed=confirmed))


def test_a_confirmed_program_gets_its_token_once(
    inline_database: InlineDatabase, clock: ManualClock, town: Town, principal_as: As
) -> None:
    begun = _begin(inline_database)
    assert _poll(inline_database, begun) == Polled(2)
    member = principal_as(town.east.member)
    _decide(inline_database, member, begun.user_code.lower().replace("-", " "))
    clock.advance(s=2)
    made = _poll(inline_database, begun).made
    assert made is not None
    assert made.token.name == "suan on laptop"
    assert made.token.expires_at_ms == clock.now_ms() + 7 * 86_400_000
    known = inline_database.read_now(
        lambda conn: access.know_token(conn, made.secret, clock.now_ms())
    )
    assert known.principal.user_id == member.user_id
    clock.advance(s=2)
    with pytest.raises(NotFound, match="used"):
        _poll(inline_database, begun)
    log = inline_database.read_now(lambda conn: audit.audit_log(conn, system_principal()))
    told = {one.action: one.detail for one in reversed(log)}
    assert told["login.confirm"]["machine"] == "laptop"
    assert told["login.confirm"]["begun_from"] == "192.0.2.7"
    assert told["token.issue"]["name"] == "suan on laptop"


def test_it_gets_no_more_than_it_asked_for_and_than_its_user_has(
    inline_database: InlineDatabase, clock: ManualClock, town: Town, principal_as: As
) -> None:
    begun = _begin(inline_database, READ)
    _decide(inline_database, principal_as(town.east.viewer), begun.user_code)
    made = _poll(inline_database, begun).made
    assert made is not None
    assert made.token.scopes == frozenset(READ)


def test_a_token_cannot_confirm_for_it_could_then_give_more_than_it_has(
    inline_database: InlineDatabase, clock: ManualClock, town: Town, principal_as: As
) -> None:
    admin = principal_as(town.east.admin)
    narrow = inline_database.write_now(
        lambda tx: access.issue_token(
            tx, admin, name="narrow", scopes=(Scope.JOBS_READ, Scope.TENANCY_WRITE)
        )
    )
    robot = inline_database.read_now(
        lambda conn: access.know_token(conn, narrow.secret, clock.now_ms()).principal
    )
    begun = _begin(inline_database)
    with pytest.raises(Forbidden) as refused:
        _decide(inline_database, robot, begun.user_code)
    assert refused.value.reason == "BrowserNeeded"
    assert _poll(inline_database, begun).made is None


def test_it_ends_by_refusal_by_time_and_with_its_user(
    inline_database: InlineDatabase, clock: ManualClock, town: Town, principal_as: As
) -> None:
    member = principal_as(town.east.member)
    refused = _begin(inline_database)
    _decide(inline_database, member, refused.user_code, confirmed=False)
    with pytest.raises(Forbidden):
        _poll(inline_database, refused)
    with pytest.raises(NotFound):  # decided is decided
        _decide(inline_database, member, refused.user_code)

    late, late_in_browser = _begin(inline_database), _begin(inline_database)
    _decide(inline_database, member, late.user_code)
    clock.advance(s=login_requests.LIFETIME_S)
    with pytest.raises(NotFound):
        _poll(inline_database, late)
    with pytest.raises(NotFound):
        _decide(inline_database, member, late_in_browser.user_code)

    left = _begin(inline_database)
    _decide(inline_database, member, left.user_code)
    admin, gone = principal_as(town.east.admin), people.UserChange(state=UserState.DISABLED)
    inline_database.write_now(lambda tx: people.change_user(tx, admin, member.user_id, gone))
    with pytest.raises(Forbidden) as error:
        _poll(inline_database, left)
    assert error.value.reason == "UserDisabled"


def test_who_polls_too_fast_is_told_to_slow_down(
    inline_database: InlineDatabase, clock: ManualClock, town: Town
) -> None:
    begun = _begin(inline_database)
    assert _poll(inline_database, begun) == Polled(2)
    clock.advance(s=1)
    assert _poll(inline_database, begun) == Polled(7, slower=True)
    clock.advance(s=6)
    assert _poll(inline_database, begun) == Polled(12, slower=True)
    clock.advance(s=12)
    assert _poll(inline_database, begun) == Polled(12)


def test_old_requests_go_and_codes_look_like_no_words(
    inline_database: InlineDatabase, clock: ManualClock, town: Town
) -> None:
    codes = {_begin(inline_database).user_code for _ in range(50)}
    assert len(codes) == 50
    assert not set("".join(codes)) & set("AEIOUY01")
    clock.advance(s=login_requests.LIFETIME_S + 86_401)
    _begin(inline_database)
    count = inline_database.read_now(
        lambda conn: conn.exec_driver_sql("SELECT count(*) FROM login_requests").scalar()
    )
    assert count == 1


def test_a_machine_cannot_write_its_name_backwards(
    inline_database: InlineDatabase, clock: ManualClock, town: Town
) -> None:
    begun = _begin(inline_database, machine="evil\u202egnihtyna")
    found = inline_database.read_now(
        lambda conn: login_requests.asked(conn, begun.user_code, clock.now_ms())
    )
    assert found.machine == "evilgnihtyna"


async def test_over_http_the_names_are_those_of_the_standard(
    new_client: NewClient, clock: ManualClock, town: Town
) -> None:
    program = new_client()
    ways = (await program.get("/v1/session/ways")).json()
    assert ways == {"password": True, "browser": True, "single_sign_on": None}
    begun = (await program.post("/v1/session/device", json={"machine": "m"})).json()
    assert begun["verification_uri"] == "http://suan.test/device"
    assert begun["verification_uri_complete"].endswith(f"/device?code={begun['user_code']}")
    assert (begun["expires_in"], begun["interval"]) == (600, 2)
    asked = {"device_code": begun["device_code"]}
    polls = [(await program.post("/v1/session/device/token", json=asked)).json() for _ in "12"]
    assert [one["state"] for one in polls] == ["authorization_pending", "slow_down"]
    wrong = await program.post("/v1/session/device/token", json={"device_code": "x" * 40})
    assert (wrong.status_code, wrong.json()["reason"]) == (404, "LoginExpired")


async def test_beginning_counts_as_a_login_of_the_address(
    new_client: NewClient, clock: ManualClock, town: Town
) -> None:
    program = new_client()
    codes = [
        (await program.post("/v1/session/device", json={"machine": "m"})).status_code
        for _ in range(21)
    ]
    assert codes == [200] * 20 + [429]
    signed = await program.post("/v1/session", json={"login": "admin.east", "password": PASSWORD})
    assert signed.status_code == 429


class _Server:
    """Answers polls from a list; counts the pauses between them."""

    def __init__(self, *answers: dict[str, object] | SuanwangError) -> None:
        self.answers = list(answers)
        self.pauses: list[float] = []

    def post(self, path: str, body: object) -> object:
        answer = self.answers.pop(0)
        if isinstance(answer, SuanwangError):
            raise answer
        return answer


def _wait(server: _Server, expires_in_s: int = 600) -> str:
    begun = signing_in.Begun("d", "BCDF-GHJK", "a", "b", expires_in_s, 2)
    return signing_in.token_of(
        server,  # type: ignore[arg-type]
        begun,
        pause=server.pauses.append,
        now_s=lambda: sum(server.pauses),
    )


def test_the_client_keeps_to_the_interval_and_outlives_a_bad_line() -> None:
    pending = {"token": None, "interval": 2}
    server = _Server(
        pending,
        {"token": None, "interval": 7},
        Unavailable("ServerUnreachable", "x"),
        pending,
        {"token": {"secret": "suan_x"}, "interval": 2},
    )
    assert _wait(server) == "suan_x"
    assert server.pauses == [2, 2, 7, 14, 2]
    with pytest.raises(Unavailable, match="in time"):
        _wait(_Server(*[pending] * 5), expires_in_s=10)
    with pytest.raises(Conflict):
        _wait(_Server(Conflict("Any", "x")))


@pytest.mark.parametrize(
    ("environ", "opens"),
    [
        ({"BROWSER": "x", "SSH_CONNECTION": "y"}, True),
        ({"DISPLAY": ":0"}, True),
        ({"WAYLAND_DISPLAY": "w"}, True),
        ({"DISPLAY": ":0", "SSH_CONNECTION": "y"}, False),
        ({}, False),
    ],
)
def test_a_browser_is_opened_where_its_window_would_be_seen(
    environ: dict[str, str], opens: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    assert signing_in.can_open_browser(environ) is opens


def test_everybody_may_sign_a_program_in(
    inline_database: InlineDatabase, clock: ManualClock, town: Town, principal_as: As
) -> None:
    for user in (town.east.viewer, town.east.member, town.operator.admin_user_id):
        begun = _begin(inline_database)
        _decide(inline_database, principal_as(user), begun.user_code)
        made = _poll(inline_database, begun).made
        assert made is not None
        assert made.token.scopes == frozenset(Scope)
    assert principal_as(town.east.viewer).role is Role.VIEWER
