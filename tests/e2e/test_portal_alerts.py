"""In Chromium: the operator looks into an alert, follows its evidence, and closes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import market_world
import pytest
from market_world import A800, order
from portal_browser import CHROMIUM, Browser
from portal_world import CITIES, Plane, Stage

from components.lacking import needs
from suanwang.trade.market import watch

pytestmark = [
    pytest.mark.browser,
    pytest.mark.usefixtures("no_complaints"),
    pytest.mark.xdist_group("portal-frame"),
    needs(Path(CHROMIUM).exists(), "Chromium is not installed"),
]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    folder = tmp_path_factory.mktemp("alerts")
    made = Plane(folder / "plane")
    stage = Stage(made, folder / "stage", CITIES)
    stage.open()
    market_world.settle_in(made)
    _abuse(made)
    yield made
    stage.close()
    made.close()


def _abuse(plane: Plane) -> None:
    """The startup shows large orders, sells what it bought back meanwhile, and takes them back."""
    cards = market_world.pool(plane, "qingyang-1", "a800")
    day = f"{A800}:{market_world.periods(plane, 24)[0]}"
    for _ in range(3):
        large = order(plane, day, "buy", 300, 4, "startup")["order"]["id"]
        order(plane, day, "sell", 1, 6, cards)
        held = order(plane, day, "buy", 1, 6, "startup")["fills"][0]["contract_id"]
        order(plane, day, "buy", 1, 6.5, "henu")
        body = {"instrument": day, "side": "sell", "lots": 1, "price": {"yuan": "6.5"}}
        resale = {**body, "source": held, "project": "startup/default"}
        plane.call("POST", "/v1/market/orders", resale)
        plane.call("POST", f"/v1/market/orders/{large}/cancel", {})
    now_ms = plane.context.clock.now_ms()
    plane.write(lambda tx: watch.keep(tx, watch.look(tx.conn, now_ms)))


def test_an_alert_is_looked_into_and_closed(browser: Browser, plane: Plane) -> None:
    page = browser.signed_in()
    page.keyboard.press("g")
    page.keyboard.press("w")
    page.wait_for_url("**/market/alerts")
    page.select_option("#kind", "Spoofing")
    page.wait_for_url("**kind=Spoofing**")
    page.click("tbody tr a")
    page.wait_for_selector("#next")
    assert page.locator("#orders tbody tr").count() == 3
    assert page.locator("#trades tbody tr").count() == 3
    assert "Startup of Long Names" in page.inner_text("#trades")
    alert = page.url
    page.click("#trades tbody a >> nth=0")
    page.wait_for_url("**/contracts/con_*")
    page.goto(alert)
    page.click("[data-dialog=close]")
    page.fill("#note", "程序出错，已通知租户")
    page.click("#close button.primary")
    page.wait_for_url("**done=alert_closed")
    assert "程序出错，已通知租户" in page.inner_text("main")
    page.click("main a[href^='/admin/audit']")
    page.wait_for_selector("text=关闭告警")
    page.goto("/market/alerts?kind=Spoofing")
    assert page.locator("tbody tr").count() == 0


@pytest.mark.parametrize("language", ["zh", "en"])
def test_on_a_phone_nothing_is_wider_than_the_screen(
    browser: Browser, plane: Plane, language: str
) -> None:
    page: Any = browser.signed_in(phone=True)
    page.goto(f"/language/{language}?next=/market/alerts?state=all")
    found = page.eval_on_selector_all("tbody tr a", "all => all.map(one => one.pathname)")
    assert found
    for path in ("/market/alerts?state=all", *found):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
