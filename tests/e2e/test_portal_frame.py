"""In Chromium: signing in, languages, keys, forged calls, phones; on a grid of three cities."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from portal_browser import CHROMIUM, Browser
from portal_world import PASSWORD, Plane, Stage, wait_until

from components.lacking import needs

pytestmark = [
    pytest.mark.browser,
    pytest.mark.usefixtures("no_complaints"),
    pytest.mark.xdist_group("portal-frame"),
    needs(Path(CHROMIUM).exists(), "Chromium is not installed"),
]
CHINESE = re.compile(r"[\u4e00-\u9fff]")
LONG = "a-name-without-any-space-that-somebody-generated-from-a-sweep-0001-0002-0003-0004"
ADDRESSES = (
    "/",
    "/jobs",
    "/jobs/new",
    "/sites",
    "/sites/new",
    "/sites/qingyang-1",
    "/offers",
    "/market",
    "/market/orders",
    "/market/a800-80g:gansu:2099010116:24",
    "/market/listings",
    "/market/listings/new",
    "/contracts",
    "/offers?q=free.coers>1",
    "/catalogue",
    "/catalogue/a800-80g",
    "/quotations",
    "/quotations?which=asked",
    "/deals?box=in",
    "/auctions",
    "/statement",
    "/programmes",
    "/programmes/henan",
    "/programmes/profile",
    "/programmes/henan/what-if",
    "/vouchers",
    "/admin/programmes",
    "/admin/organisations",
    "/admin/projects",
    "/admin/users",
    "/admin/tokens",
    "/admin/audit",
    "/admin/ledger?verify=true",
    "/admin/links?from=hami-1",
    "/finance/closes",
    "/finance/payouts",
    "/finance/invoices",
    "/finance/disputes?entry=ent_x",
    "/device",
    "/device?code=BCDF-GHJK",
    "/nowhere",
)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    folder = tmp_path_factory.mktemp("frame")
    made = Plane(folder / "plane")
    stage = Stage(made, folder / "stage")
    stage.open()
    fill(made)
    yield made
    stage.close()
    made.close()


def fill(plane: Plane) -> None:
    """Jobs that run, wait, failed and were refused; long names in both scripts."""

    def job(name: str, **more: Any) -> None:
        more.setdefault("resources", {"cpus": 8, "memory": "8GiB"})
        plane.call("POST", "/v1/jobs", {"name": name, "command": "x", **more})

    cards = {"cpus": 64, "memory": "256GiB", "accelerators": "A800:8"}
    job(LONG, env={"LASTS_S": "0.1"})
    job(
        "区域数值天气预报集合成员批量后处理（含雷达资料同化与变分质量控制）",
        resources=cards,
        env={"LASTS_S": "1000"},
    )
    job("failing", env={"LASTS_S": "0.1", "ENDS_WITH": "3"})
    job("sweep", array=30, env={"LASTS_S": "1000"})
    job("waiting", resources=cards, count=13, on_impossible="wait")
    job("too big", resources={"cpus": 1, "memory": "64TiB"})
    plane.call("POST", "/v1/projects", {"name": "weather", "display_name": f"气象 {LONG}"})
    kinds = {
        "kinds": ["consumer"],
        "display_name": "The Faculty of Long Names and of Longer Titles",
    }
    plane.call("POST", "/v1/organisations", {"name": "faculty", **kinds})
    plane.call("POST", "/v1/projects", {"name": "plasma-of-the-faculty", "organisation": "faculty"})
    paid = {"amount": {"yuan": "1234567.89"}, "payment_reference": "ICBC-1"}
    plane.call("POST", "/v1/projects/weather/top-up", paid)
    states = ("running", "failed", "refused", "queued", "succeeded")
    for state in states:
        wait_until(lambda state=state: _first(plane, state))


def _first(plane: Plane, state: str) -> str | None:
    found = plane.call("GET", f"/v1/jobs?state={state}")["items"]
    return f"/jobs/{found[0]['id']}" if found else None


def test_one_signs_in_where_one_wanted_to_go_and_out_again(browser: Browser) -> None:
    page = browser.page()
    page.goto("/jobs?state=failed")
    assert "/login?next=%2Fjobs%3Fstate%3Dfailed" in page.url
    page.fill("#login", "admin")
    page.fill("#password", "wrong")
    page.click("form button")
    page.wait_for_selector("[data-reason=LoginRefused]")
    assert page.input_value("#login") == "admin"
    page.fill("#password", PASSWORD)
    page.click("form button")
    page.wait_for_url("**/jobs?state=failed")
    page.wait_for_selector("text=failing")
    page.click("header .menu summary")
    page.click("header .menu form button")
    page.wait_for_url("**/login")
    page.goto("/statement")
    assert "/login" in page.url


def test_a_page_whose_session_ends_comes_back_after_signing_in(browser: Browser) -> None:
    page = browser.signed_in()
    page.goto("/jobs?state=failed")
    page.context.clear_cookies(name=re.compile("session"))
    page.evaluate("htmx.trigger('#live', 'refresh')")
    page.wait_for_url("**/login?next=*")
    page.fill("#login", "admin")
    page.fill("#password", PASSWORD)
    page.click("form button")
    page.wait_for_url("**/jobs?state=failed")


def test_nobody_is_sent_to_another_host(browser: Browser) -> None:
    page = browser.page()
    page.goto("/login?next=//evil.example/")
    page.fill("#login", "admin")
    page.fill("#password", PASSWORD)
    page.click("form button")
    page.wait_for_url(f"{browser.url}/")


def test_forged_calls_are_refused_by_name(browser: Browser, plane: Plane) -> None:
    page = browser.signed_in()
    before = plane.call("GET", "/v1/sites/hami-1")["state"]
    for fields in ({}, {"csrf_token": "guessed"}):
        answer = page.request.post("/sites/hami-1/drain", form=fields)
        assert answer.status == 403
        assert answer.headers["x-reason"] == "CsrfTokenMissing"
    crossed = page.request.post(
        "/sites/hami-1/drain", form={}, headers={"Origin": "https://evil.example"}
    )
    assert crossed.status == 403
    assert plane.call("GET", "/v1/sites/hami-1")["state"] == before


def test_every_page_in_both_languages_at_three_widths(browser: Browser, plane: Plane) -> None:
    jobs = [_first(plane, s) for s in ("running", "failed", "refused", "queued", "succeeded")]
    addresses = [*ADDRESSES, *(address for address in jobs if address)]
    for looks in ({}, {"width": 1024}, {"phone": True, "scheme": "dark"}):
        page = browser.signed_in(**looks)
        for language in ("zh", "en"):
            page.goto(f"/language/{language}?next=/")
            for address in addresses:
                page.goto(address)
                look_at(page, address, language)


def look_at(page: Any, address: str, language: str) -> None:
    wide, window = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= window, f"{address} is {wide} wide in a window of {window}"
    assert page.locator("h1").count() >= 1, address
    frame = " ".join(
        page.locator(selector).first.inner_text()
        for selector in ("nav.side", "nav.tabs")
        if page.locator(selector).first.is_visible()
    )
    words = page.evaluate("document.documentElement.lang")
    assert words == ("zh-CN" if language == "zh" else "en")
    assert bool(CHINESE.search(frame)) == (language == "zh"), address
    unnamed = page.evaluate(
        """[...document.querySelectorAll(`main button, main input:not([type=hidden]), main select,
        main textarea`)].filter(e => e.checkVisibility() && !e.labels?.length && !e.ariaLabel
        && !e.textContent.trim()).map(e => e.outerHTML)"""
    )
    assert unnamed == [], address


def test_the_language_is_one_click_away_and_stays(browser: Browser) -> None:
    page = browser.signed_in()
    page.goto("/offers?sort=core")
    assert page.locator("h1").inner_text() == "按需算力"
    page.click("header [data-language]")
    page.wait_for_url("**/offers?sort=core")
    assert page.locator("h1").inner_text() == "Offers"
    page.goto("/jobs")
    assert page.locator("h1").inner_text() == "Jobs"
    assert not CHINESE.search(page.inner_text("nav.side"))


def test_keys(browser: Browser) -> None:
    page = browser.signed_in()
    page.keyboard.press("?")
    assert page.locator("dialog#help").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("dialog#help").is_visible()
    page.keyboard.press("g")
    page.keyboard.press("j")
    page.wait_for_url("**/jobs")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.type("j?")
    assert page.input_value("#search") == "j?"
    page.focus("header .menu summary")
    page.keyboard.press("Enter")
    assert page.locator("header .menu form button").is_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    assert not page.locator("header .menu form button").is_visible()
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    page.focus("#search")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    first = page.locator("table[data-rows] tbody tr").first
    assert page.evaluate("document.activeElement.id") == first.get_attribute("id")
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs/job_*")


def test_every_place_is_within_reach(browser: Browser) -> None:
    """The side bar fits without scrolling; on a phone the rest is one menu in groups."""
    page = browser.signed_in()
    page.set_viewport_size({"width": 1440, "height": 800})
    page.goto("/finance/closes")
    high, window = page.evaluate("(e => [e.scrollHeight, e.clientHeight])($('nav.side'))")
    assert high <= window
    assert not page.is_visible("nav.side a[href='/admin/links']")
    page.click("nav.side summary")
    assert page.is_visible("nav.side a[href='/admin/links']")
    page.goto("/admin/links")
    current = page.locator("nav.side [aria-current=page]")
    box = current.bounding_box()
    assert current.get_attribute("href") == "/admin/links"
    assert box["y"] + box["height"] <= 800
    every = page.locator("nav.side a").count()
    page.set_viewport_size({"width": 390, "height": 640})
    page.click("nav.tabs summary")
    assert page.locator("nav.tabs a").count() == every
    assert page.locator("nav.tabs .group").count() == page.locator("nav.side .group").count()
    menu = page.locator("nav.tabs .menu > div").bounding_box()
    assert menu["y"] >= 48
    assert menu["y"] + menu["height"] <= page.locator("nav.tabs").bounding_box()["y"]
    page.click("nav.tabs a[href='/admin/audit']")
    page.wait_for_url("**/admin/audit")


def test_the_map_draws_the_sites_and_their_links(browser: Browser) -> None:
    page = browser.signed_in()
    page.wait_for_selector("#map[data-drawn=true] canvas")
    series = page.evaluate("echarts.getInstanceByDom(document.getElementById('map')).getOption()")
    points = next(one for one in series["series"] if one["type"] == "scatter")["data"]
    placed = {one["name"]: one["value"] for one in points}
    assert placed["zhengzhou-1"] == [113.62, 34.75]
    assert placed["hami-1"] == [93.51, 42.83]
    assert sum(one["type"] == "line" for one in series["series"]) == 3


def test_lists_renew_themselves(browser: Browser, plane: Plane) -> None:
    page = browser.signed_in()
    page.goto("/jobs")
    name = "came while one looked"
    plane.call("POST", "/v1/jobs", {"name": name, "command": "x", "resources": {"cpus": 1}})
    page.wait_for_selector(f"text={name}")
    page.wait_for_selector(f"tr:has-text('{name}') [data-state=succeeded]")


def test_a_waiting_job_is_explained_in_plain_words(browser: Browser, plane: Plane) -> None:
    page = browser.signed_in()
    page.goto(_first(plane, "refused") or "")
    assert "没有资源池能运行它" in page.inner_text(".why")
    page.click("#candidates summary")
    assert page.locator("#candidates tbody tr").count() == 5
    assert "超出单台主机容量" in page.inner_text("#candidates")


def test_a_member_sees_his_own_and_no_more(browser: Browser, plane: Plane) -> None:
    plane.call(
        "POST",
        "/v1/users",
        {"login": "li.hua", "display_name": "李华", "role": "member", "password": PASSWORD},
    )
    page = browser.signed_in(login="li.hua")
    assert page.locator("nav.side a[href='/admin/audit']").count() == 0
    page.goto("/jobs")
    assert page.locator("table[data-rows]").count() == 0
    assert page.goto("/admin/audit").status == 403
    page.goto("/sites/hami-1")
    assert page.locator("[data-dialog=drain]").count() == 0
    assert page.goto(_first(plane, "running")).status in (403, 404)
    page.goto("/")
    assert LONG not in page.content()


def test_static_files_are_kept_and_pages_are_not(browser: Browser) -> None:
    page = browser.signed_in()
    link = page.get_attribute("link[rel=stylesheet]", "href")
    assert "immutable" in page.request.get(link).headers["cache-control"]
    answer = page.request.get("/jobs")
    assert answer.headers["cache-control"] == "no-store"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe-eval" not in policy
