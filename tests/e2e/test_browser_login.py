"""`suan login` without a token to paste: real command, real Chromium, real OpenID provider."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_platform import SUAN, environment
from portal_browser import CHROMIUM, Browser
from portal_world import LOGIN, PASSWORD, Plane, wait_until

from components.lacking import needs
from suanwang.platform.settings import Oidc

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("browser-login"),
    needs(Path(CHROMIUM).exists(), "Chromium is not installed"),
]
CODE = re.compile(r"^  ([A-Z]{4}-[A-Z]{4})$", re.M)


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import oidc_provider_mock  # type: ignore[import-untyped]
    claims = {"preferred_username": "li.hua", "name": "李华"}
    user = oidc_provider_mock.User(sub="sub-li", claims=claims)
    with oidc_provider_mock.run_server_in_thread(user_claims=[user]) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory, issuer: str) -> Iterator[Plane]:
    oidc = Oidc(
        issuer=issuer,
        client_id="suan",
        client_secret="secret",
        organisation="operator",
        provision=True,
        label="校园统一身份认证",
    )
    made = Plane(tmp_path_factory.mktemp("plane") / "plane", oidc=oidc)
    yield made
    made.close()


class Terminal:
    """`suan login` under way, with a browser that writes down what it was to open."""

    def __init__(self, plane: Plane, folder: Path, *words: str, browser: bool = True) -> None:
        self.config = folder / "config.yaml"
        self._opened = folder / "opened"
        self._told = folder / "told"
        script = folder / "browser"
        script.write_text(
            f'#!/bin/sh\necho "$1" > {self._opened}.new\nmv {self._opened}.new {self._opened}\n'
        )
        script.chmod(0o755)
        kept = {k: v for k, v in environment(self.config).items() if "DISPLAY" not in k}
        kept.pop("BROWSER", None)
        if browser:
            kept["BROWSER"] = f"{script} %s"
        with self._told.open("wb") as told:
            self.process = subprocess.Popen(
                [*SUAN, "login", "--server", plane.url, "--json", *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=told,
                env=kept,
                text=True,
            )

    def code(self) -> str:
        found = wait_until(lambda: CODE.search(self._told.read_text(encoding="utf-8")))
        return str(found.group(1))

    def address(self) -> str:
        return str(wait_until(lambda: self._opened.exists() and self._opened.read_text().strip()))

    def ends(self) -> tuple[int, Any]:
        out, _ = self.process.communicate(timeout=60)
        return self.process.returncode, json.loads(out) if out else self._told.read_text()

    def suan(self, *words: str) -> Any:
        done = subprocess.run(
            [*SUAN, *words, "--json"],
            capture_output=True,
            text=True,
            env=environment(self.config),
            timeout=60,
            check=True,
        )
        return json.loads(done.stdout)


@contextlib.contextmanager
def terminal(plane: Plane, folder: Path, *words: str, browser: bool = True) -> Iterator[Terminal]:
    opened = Terminal(plane, folder, *words, browser=browser)
    try:
        yield opened
    finally:
        opened.process.kill()
        opened.process.wait()


def test_single_sign_on_brings_one_back_to_the_code(
    plane: Plane, browser: Browser, tmp_path: Path
) -> None:
    with terminal(plane, tmp_path, "--scope", "jobs:read", "--scope", "tenancy:read") as suan:
        code = suan.code()
        page = browser.page()
        page.goto(suan.address())
        assert "/login?next=" in page.url
        page.click("a[href^='/v1/session/oidc/start']")
        page.click("button[value=sub-li]")
        page.wait_for_url(f"**/device?code={code}")
        assert page.inner_text("[data-code]") == code
        assert "jobs:read" in page.inner_text(".ticks")
        page.click("button[value=confirm]")
        page.wait_for_selector("[data-outcome=confirmed]")
        assert suan.ends() == (0, {"server": plane.url, "login": "li.hua"})
        who = suan.suan("whoami")
        assert (who["login"], who["scopes"]) == ("li.hua", ["jobs:read", "tenancy:read"])
    page.goto(f"/device?code={code}")  # it was good once
    page.wait_for_selector("[data-reason=LoginCodeUnknown]")


def test_a_password_user_types_the_code_that_another_machine_shows(
    plane: Plane, browser: Browser, tmp_path: Path
) -> None:
    with terminal(plane, tmp_path, browser=False) as suan:
        page = browser.signed_in()
        page.goto("/device")
        page.fill("#code", suan.code().lower())
        page.click("form.body button.primary")
        page.wait_for_selector("[data-code]")
        page.click("button[value=confirm]")
        page.wait_for_selector("[data-outcome=confirmed]")
        assert suan.ends() == (0, {"server": plane.url, "login": LOGIN})
        kinds = [one["action"] for one in suan.suan("org", "log")]
        assert "login.confirm" in kinds
        assert suan.suan("logout") == {"server": plane.url}


def test_what_is_refused_gets_nothing(plane: Plane, browser: Browser, tmp_path: Path) -> None:
    with terminal(plane, tmp_path, "--browser") as suan:
        page = browser.signed_in()
        page.goto(suan.address())
        page.click("button[value=refuse]")
        page.wait_for_selector("[data-outcome=refused]")
        code, told = suan.ends()
        assert code == 4
        assert "refused in the browser" in told
        assert not suan.config.exists()


def test_a_page_of_another_site_cannot_confirm(
    plane: Plane, browser: Browser, tmp_path: Path
) -> None:
    with terminal(plane, tmp_path, "--browser") as suan:
        code = suan.code()
        page = browser.signed_in()
        for form in ({"code": code, "decision": "confirm"},):
            answer = page.request.post("/device", form=form)
            assert (answer.status, answer.headers["x-reason"]) == (403, "CsrfTokenMissing")
        page.goto(f"/device?code={code}")
        assert page.inner_text("[data-code]") == code  # nobody has decided yet


def test_passwords_still_do(plane: Plane, tmp_path: Path) -> None:
    done = subprocess.run(
        [*SUAN, "login", "--server", plane.url, "--user", LOGIN],
        input=f"{PASSWORD}\n",
        capture_output=True,
        text=True,
        env=environment(tmp_path / "config.yaml"),
        timeout=60,
        check=True,
    )
    assert done.stdout == f"Signed in at {plane.url} as admin.\n"
