"""Sign-in through a real OpenID Connect provider on loopback, through the whole application."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from suanwang.bootstrap import first_start, make_context
from suanwang.edge.api.app import create_app
from suanwang.edge.api.context import Context
from suanwang.kernel.errors import InvalidInput, Unauthenticated
from suanwang.platform.clock import SystemClock
from suanwang.platform.database import Tx
from suanwang.platform.settings import Oidc, Settings
from suanwang.tenancy import people, service
from suanwang.tenancy.audit import audit_log
from suanwang.tenancy.model import system_principal
from suanwang.tenancy.oidc import OidcClient, OidcSettings, Pending, safe_path
from tenancy_world import PASSWORD

SYSTEM = system_principal()
BASE = "http://suan.test"


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import oidc_provider_mock  # type: ignore[import-untyped]

    people_there = [
        oidc_provider_mock.User(
            sub="sub-li",
            claims={
                "preferred_username": "Li.Hua",
                "name": "李华",
                "email": "li@east.test",
                "email_verified": True,
                "affiliation": "west",
            },
        ),
        oidc_provider_mock.User(
            sub="sub-other-li", claims={"preferred_username": "li.hua", "affiliation": "nowhere"}
        ),
    ]
    with oidc_provider_mock.run_server_in_thread(user_claims=people_there) as server:
        yield f"http://localhost:{server.server_port}"


class Portal:
    """An application with the provider configured, and a browser before it."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.app = create_app(context)

    def browser(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=BASE)


@asynccontextmanager
async def portal(folder: Path, oidc: Oidc) -> AsyncIterator[Portal]:
    context = make_context(Settings(state=str(folder), oidc=oidc))
    await first_start(context, PASSWORD)

    def prepare(tx: Tx) -> None:
        for name in ("east", "west"):
            owner = service.create_organisation(tx, SYSTEM, name=name, display_name=name)
            service.create_project(tx, SYSTEM, name="default", organisation_id=owner.id)

    await context.database.write(prepare)
    yield Portal(context)
    await context.database.close()


def _oidc(issuer: str, **more: object) -> Oidc:
    made = Oidc(
        issuer=issuer,
        client_id="suan",
        client_secret="secret",
        organisation="east",
        provision=True,
    )
    fields = {name: getattr(made, name) for name in Oidc.__struct_fields__}
    return Oidc(**{**fields, **more})


async def _start(browser: httpx.AsyncClient, next_path: str = "/jobs") -> str:
    answer = await browser.get("/v1/session/oidc/start", params={"next": next_path})
    assert answer.status_code == 303, answer.text
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    return str(answer.headers["location"])


async def _consent(url: str, subject: str, action: str = "allow") -> str:
    """What the user does at the provider; returns where it sends the browser."""
    async with httpx.AsyncClient() as elsewhere:
        assert (await elsewhere.get(url)).status_code == 200
        answer = await elsewhere.post(url, data={"sub": subject, "action": action})
    assert answer.status_code == 302, answer.text
    location = str(answer.headers["location"])
    assert location.startswith(f"{BASE}/v1/session/oidc/callback")
    return location


async def _sign_in(browser: httpx.AsyncClient, subject: str) -> httpx.Response:
    return await browser.get(await _consent(await _start(browser), subject))


def _reason(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["reason"]


async def test_a_newcomer_is_made_a_member_and_found_again(tmp_path: Path, issuer: str) -> None:
    async with portal(tmp_path, _oidc(issuer)) as suan, suan.browser() as browser:
        url = await _start(browser)
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert asked["code_challenge_method"] == "S256"
        assert len(asked["code_challenge"]) == 43
        assert len(asked["nonce"]) == len(asked["state"]) == 40
        assert asked["redirect_uri"] == f"{BASE}/v1/session/oidc/callback"

        answer = await browser.get(await _consent(url, "sub-li"))
        assert (answer.status_code, answer.headers["location"]) == (303, "/jobs")
        me = (await browser.get("/v1/session")).json()
        assert (me["login"], me["role"], len(me["projects"])) == ("li.hua", "member", 1)
        user = await suan.context.database.read(lambda conn: people.user(conn, me["user_id"]))
        assert (user.display_name, user.email, user.has_password) == ("李华", "li@east.test", False)
        owner = await suan.context.database.read(
            lambda conn: service.organisation(conn, user.organisation_id)
        )
        assert owner.name == "east"

        async with suan.browser() as later:
            await _sign_in(later, "sub-li")
            assert (await later.get("/v1/session")).json()["user_id"] == me["user_id"]
            await _sign_in(later, "sub-other-li")  # the same wish, another person
            other = (await later.get("/v1/session")).json()
            assert other["user_id"] != me["user_id"]
            assert other["login"].startswith("li.hua-")
        log = await suan.context.database.read(lambda conn: audit_log(conn, SYSTEM, limit=500))
        opened = [one for one in log if one.action == "session.open"]
        assert {one.detail["how"] for one in opened} == {"oidc"}


async def test_the_organisation_may_come_from_a_claim(tmp_path: Path, issuer: str) -> None:
    settings = _oidc(issuer, organisation="", organisation_claim="affiliation")
    async with portal(tmp_path, settings) as suan, suan.browser() as browser:
        await _sign_in(browser, "sub-li")
        me = (await browser.get("/v1/session")).json()
        west = await suan.context.database.read(lambda c: service.organisation(c, "west"))
        assert me["organisation_id"] == west.id
        async with suan.browser() as other:
            answer = await _sign_in(other, "sub-other-li")
            assert _reason(answer) == (403, "OrganisationUnknown")
            assert (await other.get("/v1/session")).status_code == 401


async def test_without_provisioning_an_admin_links_first(tmp_path: Path, issuer: str) -> None:
    settings = _oidc(issuer, provision=False)
    async with portal(tmp_path, settings) as suan, suan.browser() as browser:
        assert _reason(await _sign_in(browser, "sub-li")) == (403, "NotProvisioned")
        async with suan.browser() as operator:
            signed = await operator.post(
                "/v1/session", json={"login": "admin", "password": PASSWORD}
            )
            operator.headers["X-CSRF-Token"] = signed.json()["csrf_token"]
            user = {"login": "hua", "organisation": "east"}
            assert (await operator.post("/v1/users", json=user)).status_code == 201
            identity = {"issuer": issuer, "subject": "sub-li"}
            path = "/v1/users/hua/identities"
            assert (await operator.post(path, json=identity)).status_code == 204
            answer = await operator.post(path, json=identity)
            assert _reason(answer) == (409, "IdentityTaken")
            await _sign_in(browser, "sub-li")
            assert (await browser.get("/v1/session")).json()["login"] == "hua"

            await operator.patch("/v1/users/hua", json={"state": "disabled"})
        assert (await browser.get("/v1/session")).status_code == 401
        assert (await _sign_in(browser, "sub-li")).status_code == 401


async def test_only_the_browser_that_began_can_end_it(tmp_path: Path, issuer: str) -> None:
    async with (
        portal(tmp_path, _oidc(issuer)) as suan,
        suan.browser() as mine,
        suan.browser() as theirs,
    ):
        my_callback = await _consent(await _start(mine), "sub-li")
        # an attacker hands his callback to somebody who has none, or another, under way
        assert _reason(await theirs.get(my_callback)) == (401, "OidcRefused")
        await _start(theirs)
        assert _reason(await theirs.get(my_callback)) == (401, "OidcRefused")
        # the code of one sign-in under the state of another: the nonce gives it away
        their_state = parse_qs(urlsplit(await _start(theirs)).query)["state"][0]
        my_code = parse_qs(urlsplit(my_callback).query)["code"][0]
        answer = await theirs.get(
            "/v1/session/oidc/callback", params={"state": their_state, "code": my_code}
        )
        assert _reason(answer) == (401, "OidcRefused")
        assert (await theirs.get("/v1/session")).status_code == 401


async def test_refusals_and_forged_cookies_open_nothing(tmp_path: Path, issuer: str) -> None:
    async with portal(tmp_path, _oidc(issuer)) as suan, suan.browser() as browser:
        state = parse_qs(urlsplit(await _start(browser)).query)["state"][0]
        callback = "/v1/session/oidc/callback"
        denied = {"state": state, "error": "access_denied"}
        assert _reason(await browser.get(callback, params=denied)) == (401, "OidcRefused")
        wrong = {"state": state, "code": "made-up"}
        assert _reason(await browser.get(callback, params=wrong)) == (401, "OidcRefused")
        sealed = browser.cookies["suan_oidc"]
        for forged in ("", "zz", "00", sealed[:-2] + "00", sealed[:20]):
            browser.cookies.clear()
            browser.cookies.set("suan_oidc", forged)
            assert _reason(await browser.get(callback, params=wrong)) == (401, "OidcRefused")


async def test_without_a_provider_there_is_no_such_way(tmp_path: Path) -> None:
    async with portal(tmp_path, Oidc()) as suan, suan.browser() as browser:
        answer = await browser.get("/v1/session/oidc/start")
        assert _reason(answer) == (404, "OidcNotConfigured")


async def test_a_provider_that_does_not_answer_is_a_passing_trouble(tmp_path: Path) -> None:
    settings = _oidc("http://localhost:9")  # the discard port: nobody listens
    async with portal(tmp_path, settings) as suan, suan.browser() as browser:
        answer = await browser.get("/v1/session/oidc/start")
        assert _reason(answer) == (503, "OidcUnavailable")


async def test_id_tokens_of_another_sign_in_or_time_are_refused(issuer: str) -> None:
    settings = OidcSettings(issuer, "suan", "secret", organisation="east")
    client = OidcClient(settings)
    now_ms = SystemClock().now_ms()  # the provider has a real clock

    async def code_for() -> tuple[str, Pending]:
        url, pending = await client.start(f"{BASE}/v1/session/oidc/callback", "/", now_ms)
        location = await _consent(url, "sub-li")
        return parse_qs(urlsplit(location).query)["code"][0], pending

    redirect_uri = f"{BASE}/v1/session/oidc/callback"
    code, pending = await code_for()
    with pytest.raises(Unauthenticated):  # long after its end
        await client.finish(code, pending, redirect_uri, now_ms + 10 * 366 * 86_400_000)
    code, pending = await code_for()
    with pytest.raises(Unauthenticated):
        await client.finish(code, replace(pending, nonce="other"), redirect_uri, now_ms)
    code, pending = await code_for()
    claims = await client.finish(code, pending, redirect_uri, now_ms)
    assert (claims["sub"], claims["aud"]) == ("sub-li", ["suan"])


@pytest.mark.parametrize(
    ("given", "safe"),
    [
        ("/jobs?state=queued", "/jobs?state=queued"),
        (None, "/"),
        ("", "/"),
        ("//evil.test", "/"),
        ("/\\evil.test", "/"),
        ("https://evil.test", "/"),
        ("/a\r\nSet-Cookie: x", "/"),
        ("javascript:alert(1)", "/"),
    ],
)
def test_after_the_sign_in_one_stays_here(given: str | None, safe: str) -> None:
    assert safe_path(given) == safe


def test_settings_say_where_users_belong_and_use_https() -> None:
    for issuer, organisation, reason in (
        ("http://id.example", "east", "IssuerNotHttps"),
        ("https://id.example", None, "OrganisationMapping"),
    ):
        with pytest.raises(InvalidInput) as error:
            OidcSettings(issuer, "suan", "secret", organisation=organisation)
        assert error.value.reason == reason
