"""The edge around every route: who calls, CSRF, cookies, headers, limits of size and speed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from fastapi import FastAPI, Form
from fastapi.responses import HTMLResponse, PlainTextResponse
from starlette.requests import Request

from manual_clock import ManualClock
from suanwang.edge.api.auth import Caller
from suanwang.edge.api.paging import decode_cursor, encode_cursor
from suanwang.edge.api.security import SecuritySettings
from suanwang.kernel.errors import InvalidInput
from suanwang.platform.database import InlineDatabase
from tenancy_world import PASSWORD, AppContext, Town, make_app

NewClient = Callable[..., httpx.AsyncClient]


async def _sign_in(client: httpx.AsyncClient, name: str = "admin.east") -> str:
    """Returns the CSRF token."""
    answer = await client.post("/v1/session", json={"login": name, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["csrf_token"])


def _reason(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["reason"]


@pytest.mark.parametrize(
    "header",
    ["", "Bearer ", "Bearer x", "Basic YTpi", "Bearer suan_" + "0" * 59, "Bearer \xff\xfe"],
)
async def test_without_a_good_credential_nobody_is_known(
    new_client: NewClient, header: str
) -> None:
    answer = await new_client().get(
        "/v1/session", headers=[(b"authorization", header.encode("l1"))]
    )
    assert _reason(answer) == (401, "NotSignedIn")


async def test_a_revoked_token_stops_at_the_next_call(
    new_client: NewClient, town: Town, app: FastAPI
) -> None:
    operator = new_client(town.operator.token)
    made = (await operator.post("/v1/tokens", json={"name": "ci"})).json()
    robot = new_client(made["secret"])
    assert (await robot.get("/v1/session")).json()["token_id"] == made["id"]
    listed = (await operator.get("/v1/tokens")).json()["items"]
    assert made["id"] in [one["id"] for one in listed]
    assert "secret" not in repr(listed)

    revoked = await operator.delete(f"/v1/tokens/{made['id']}")
    assert revoked.json()["revoked_at_ms"] is not None
    assert _reason(await robot.get("/v1/session")) == (401, "NotSignedIn")


async def test_a_browser_session_lives_in_a_guarded_cookie(new_client: NewClient) -> None:
    client = new_client()
    answer = await client.post("/v1/session", json={"login": "admin.east", "password": PASSWORD})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("suan_session=")
    for part in ("HttpOnly", "SameSite=lax", "Path=/", "Max-Age=86400"):
        assert part in cookie
    assert "Secure" not in cookie
    assert (await client.get("/v1/session")).json()["login"] == "admin.east"

    first = client.cookies["suan_session"]
    await _sign_in(client)
    second = client.cookies["suan_session"]
    assert second != first
    stolen = new_client()
    stolen.cookies.set("suan_session", first)
    assert (await stolen.get("/v1/session")).status_code == 401

    secure = new_client(base="https://suan.test")
    answer = await secure.post("/v1/session", json={"login": "admin.east", "password": PASSWORD})
    assert answer.headers["set-cookie"].startswith("__Host-suan_session=")
    assert "Secure" in answer.headers["set-cookie"]
    assert "max-age=31536000" in answer.headers["strict-transport-security"]


async def test_signing_out_ends_the_session_for_everybody_who_has_the_cookie(
    new_client: NewClient,
) -> None:
    client = new_client()
    csrf = await _sign_in(client)
    copy = new_client()
    copy.cookies.set("suan_session", client.cookies["suan_session"])
    assert (await copy.get("/v1/session")).status_code == 200
    answer = await client.delete("/v1/session", headers={"X-CSRF-Token": csrf})
    assert answer.status_code == 204
    assert (await copy.get("/v1/session")).status_code == 401


async def test_a_session_changes_nothing_without_its_csrf_token(new_client: NewClient) -> None:
    client = new_client()
    csrf = await _sign_in(client)
    body = {"name": "maths"}
    for headers in ({}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": "x" * 40}, {"X-CSRF-Token": "é"}):
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        answer = await client.post("/v1/projects", json=body, headers=raw)
        assert _reason(answer) == (403, "CsrfTokenMissing")
    other = new_client()
    foreign = await _sign_in(other, "admin.west")
    answer = await client.post("/v1/projects", json=body, headers={"X-CSRF-Token": foreign})
    assert _reason(answer) == (403, "CsrfTokenMissing")
    answer = await client.post("/v1/projects", json=body, headers={"X-CSRF-Token": csrf})
    assert answer.status_code == 201


async def test_a_form_may_carry_the_csrf_token(app: FastAPI, new_client: NewClient) -> None:
    @app.post("/form")
    async def form(principal: Caller, text: str = Form()) -> str:
        return f"{principal.user_name} {text}"

    client = new_client()
    csrf = await _sign_in(client)
    assert (await client.post("/form", data={"text": "x"})).status_code == 403
    answer = await client.post("/form", data={"text": "x", "csrf_token": csrf})
    assert answer.json() == "admin.east x"
    answer = await client.post(
        "/form", data={"text": "y", "csrf_token": csrf}, files={"file": b"z"}
    )
    assert answer.json() == "admin.east y"


async def test_pages_of_other_sites_cannot_even_sign_in(new_client: NewClient) -> None:
    body = {"login": "admin.east", "password": PASSWORD}
    for headers in (
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
        {"Origin": "http://suan.test.evil.test"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        answer = await new_client().post("/v1/session", json=body, headers=headers)
        assert _reason(answer) == (403, "CrossSite")
    answer = await new_client().post(
        "/v1/session", json=body, headers={"Origin": "http://suan.test"}
    )
    assert answer.status_code == 200


async def test_pages_get_a_policy_without_inline_scripts_and_data_a_strict_one(
    app: FastAPI, new_client: NewClient, town: Town
) -> None:
    @app.get("/page")
    async def page() -> HTMLResponse:
        return HTMLResponse("<p>")

    @app.get("/own")
    async def own() -> PlainTextResponse:
        return PlainTextResponse("x", headers={"Content-Security-Policy": "sandbox"})

    client = new_client()
    answer = await client.get("/page")
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "'unsafe-inline'" not in policy.replace("style-src-attr 'unsafe-inline'", "")
    assert "frame-ancestors 'none'" in policy
    assert (await client.get("/own")).headers["content-security-policy"] == "sandbox"

    answer = await client.get("/v1/session")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    ok = await new_client(town.operator.token).get("/v1/session")
    assert ok.headers["cache-control"] == "no-store"


async def test_requests_are_named(new_client: NewClient, town: Town) -> None:
    client = new_client(town.operator.token)
    answer = await client.post(
        "/v1/tokens", json={"name": "x"}, headers={"X-Request-Id": "abcdefgh-1"}
    )
    assert answer.headers["x-request-id"] == "abcdefgh-1"
    newest = (await client.get("/v1/audit-log?limit=1")).json()["items"][0]
    assert (newest["request_id"], newest["address"]) == ("abcdefgh-1", "127.0.0.1")
    odd = await client.get("/v1/session", headers={"X-Request-Id": "a b\tc"})
    assert odd.headers["x-request-id"] != "a b\tc"


@pytest.fixture
def small_app(inline_database: InlineDatabase, clock: ManualClock, town: Town) -> FastAPI:
    settings = SecuritySettings(
        body_limit_bytes=1_000,
        calls_per_second=2,
        calls_burst=5,
        refusals_per_second=1,
        refusals_burst=3,
        logins_burst=4,
    )
    app = make_app(AppContext(inline_database, clock, settings))

    @app.post("/v1/echo")
    @app.put("/v1/blobs/x")
    async def echo(request: Request) -> int:
        return len(await request.body())

    return app


@pytest.fixture
async def small(small_app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(small_app)
    async with httpx.AsyncClient(transport=transport, base_url="http://suan.test") as client:
        yield client


async def _chunks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * 100


async def test_bodies_are_limited_whether_or_not_they_say_how_long_they_are(
    small: httpx.AsyncClient,
) -> None:
    assert (await small.post("/v1/echo", content=b"x" * 1_000)).json() == 1_000
    assert (await small.post("/v1/echo", content=_chunks(10))).json() == 1_000
    for content in (b"x" * 1_001, _chunks(11)):
        answer = await small.post("/v1/echo", content=content)
        assert _reason(answer) == (413, "BodyTooLarge")
    assert _reason(await small.post("/v1/session", content=_chunks(11)))[0] == 413
    assert (await small.put("/v1/blobs/x", content=_chunks(50))).json() == 5_000
    assert (await small.put("/v1/blobs/x", content=b"x" * 5_000)).json() == 5_000
    answer = await small.post("/v1/blobsx", content=b"x" * 5_000)
    assert _reason(answer) == (413, "BodyTooLarge")


async def test_a_caller_has_a_burst_then_a_rate(
    small: httpx.AsyncClient, town: Town, clock: ManualClock
) -> None:
    small.headers["Authorization"] = f"Bearer {town.operator.token}"
    codes = [(await small.get("/v1/session")).status_code for _ in range(7)]
    assert codes == [200] * 5 + [429] * 2
    answer = await small.get("/v1/session")
    assert _reason(answer) == (429, "RateLimited")
    assert answer.headers["retry-after"] == "1"
    clock.advance(s=1)
    codes = [(await small.get("/v1/session")).status_code for _ in range(3)]
    assert codes == [200, 200, 429]


async def test_guessing_tokens_from_one_address_is_slowed(
    small: httpx.AsyncClient, town: Town, clock: ManualClock
) -> None:
    headers = {"Authorization": "Bearer suan_" + "0" * 18 + "_" + "0" * 40}
    codes = [(await small.get("/v1/session", headers=headers)).status_code for _ in range(5)]
    assert codes == [401] * 3 + [429] * 2
    clock.advance(s=1)
    assert (await small.get("/v1/session", headers=headers)).status_code == 401


async def test_logins_from_one_address_are_limited(
    small: httpx.AsyncClient, clock: ManualClock
) -> None:
    body = {"login": "admin.east", "password": PASSWORD}
    codes = [(await small.post("/v1/session", json=body)).status_code for _ in range(5)]
    assert codes == [200] * 4 + [429]
    answer = await small.post("/v1/session", json=body)
    assert answer.headers["retry-after"] == "2"
    clock.advance(s=2)
    assert (await small.post("/v1/session", json=body)).status_code == 200


async def test_the_use_of_a_token_is_noted_once_an_hour(
    new_client: NewClient, town: Town, clock: ManualClock
) -> None:
    client = new_client(town.operator.token)

    async def last_used() -> int | None:
        await client.get("/v1/session")
        await asyncio.sleep(0)  # the note is written behind the answer
        listed = (await client.get("/v1/tokens")).json()["items"]
        used: int | None = listed[0]["last_used_at_ms"]
        return used

    first = await last_used()
    assert first == clock.at_ms
    clock.advance(s=1_800)
    assert await last_used() == first
    clock.advance(s=1_800)
    await last_used()
    assert await last_used() == clock.at_ms


async def test_lists_come_in_pages(new_client: NewClient, town: Town) -> None:
    client = new_client(town.operator.token)
    names: list[str] = []
    cursor = ""
    while True:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/v1/projects", params=query)).json()
        assert len(page["items"]) <= 2
        names += [one["id"] for one in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    whole = (await client.get("/v1/projects")).json()
    assert whole["next_cursor"] is None
    assert names == [one["id"] for one in whole["items"]]
    assert len(names) == 5
    for bad in ("!", "é", encode_cursor("a\x00b")):
        answer = await client.get("/v1/projects", params={"cursor": bad})
        assert _reason(answer) == (422, "InvalidCursor")
    for limit in ("0", "501", "x"):
        answer = await client.get("/v1/projects", params={"limit": limit})
        assert answer.status_code == 422


def test_cursors_are_read_back() -> None:
    for key in ("prj_1", "", "项目", "a" * 100):
        assert decode_cursor(encode_cursor(key)) == key
    with pytest.raises(InvalidInput):
        decode_cursor("====")


async def test_nul_characters_are_refused_before_they_reach_a_database(
    new_client: NewClient, town: Town
) -> None:
    client = new_client(town.operator.token)
    for path in ("/v1/users/a%00b", "/v1/users?organisation=%00"):
        assert _reason(await client.get(path)) == (422, "NulCharacter")
    answer = await client.post("/v1/projects", json={"name": "maths", "organisation": "a\0b"})
    assert answer.status_code == 422


async def test_one_changes_ones_own_password_knowing_the_old_one(
    new_client: NewClient, town: Town
) -> None:
    client = new_client()
    csrf = {"X-CSRF-Token": await _sign_in(client, "member.east")}
    path = f"/v1/users/{town.east.member.id}/password"
    new = "another good password"

    async def put(**body: str) -> httpx.Response:
        return await client.put(path, json=body, headers=csrf)

    assert _reason(await put(password=new)) == (403, "WrongPassword")
    assert _reason(await put(password=new, current_password="x")) == (403, "WrongPassword")
    assert _reason(await put(password="short", current_password=PASSWORD)) == (422, "WeakPassword")
    assert (await put(password=new, current_password=PASSWORD)).status_code == 204
    assert (await client.get("/v1/session")).status_code == 401

    other = new_client()
    csrf = {"X-CSRF-Token": await _sign_in(other, "admin.east")}
    answer = await other.put(path, json={"password": "a third one, set by admin"}, headers=csrf)
    assert answer.status_code == 204
    stranger = new_client()
    csrf = {"X-CSRF-Token": await _sign_in(stranger, "admin.west")}
    answer = await stranger.put(path, json={"password": "a fourth one, by nobody"}, headers=csrf)
    assert _reason(answer) == (404, "UserNotFound")


async def test_an_admin_runs_his_organisation_over_http(new_client: NewClient, town: Town) -> None:
    client = new_client()
    client.headers["X-CSRF-Token"] = await _sign_in(client)
    made = await client.post(
        "/v1/users", json={"login": "li", "password": "four more unrelated words"}
    )
    assert made.status_code == 201
    user = made.json()
    quota = {"cpu_milli": 1000, "memory_mib": 1, "disk_mib": 1, "accelerator_milli": 0}
    project = (await client.post("/v1/projects", json={"name": "maths", "quota": quota})).json()
    assert project["quota"] == quota
    path = f"/v1/projects/{project['id']}/members"
    assert (await client.put(f"{path}/li", json={"role": "member"})).status_code == 204
    members = (await client.get(path)).json()["items"]
    assert [(one["user_id"], one["role"]) for one in members] == [(user["id"], "member")]
    changed = await client.patch("/v1/projects/maths", json={"no_quota": True, "weight": 7})
    assert (changed.json()["quota"], changed.json()["weight"]) == (None, 7)
    disabled = await client.patch("/v1/users/li", json={"state": "disabled"})
    assert disabled.json()["state"] == "disabled"
    answer = await new_client().post(
        "/v1/session", json={"login": "li", "password": "four more unrelated words"}
    )
    assert _reason(answer) == (401, "LoginRefused")
    shown = (await client.get("/v1/organisations/east")).json()
    assert shown["score_weights"]["money_percent"] == 100
    answer = await client.patch("/v1/organisations/east", json={"wieght": 1})
    assert answer.status_code == 422


async def test_the_gate_is_asked_once_for_many_calls(
    app: FastAPI, new_client: NewClient, town: Town, inline_database: InlineDatabase
) -> None:
    client = new_client(town.operator.token)
    await client.get("/v1/session")
    asked: list[object] = []
    plain_read = inline_database.read

    async def counting(query: Callable[..., object]) -> object:
        asked.append(query)
        return await plain_read(query)

    inline_database.read = counting  # type: ignore[method-assign,assignment]
    for _ in range(10):
        assert (await client.get("/v1/session")).status_code == 200
    assert asked == []


async def test_the_log_of_an_organisation_is_found_by_its_name(
    new_client: NewClient, town: Town
) -> None:
    operator = new_client(town.operator.token)
    by_id = await operator.get(f"/v1/audit-log?organisation={town.east.organisation_id}")
    by_name = await operator.get("/v1/audit-log?organisation=east")
    assert by_name.json()["items"] == by_id.json()["items"] != []
    await operator.post("/v1/tokens", json={"name": "ci"})
    newest = (await operator.get("/v1/audit-log?limit=1")).json()["items"][0]
    assert (newest["action"], newest["actor"]) == ("token.issue", "admin")
    assert _reason(await operator.get("/v1/audit-log?organisation=nowhere"))[0] == 404
