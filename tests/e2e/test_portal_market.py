"""In Chromium: a trade from order to contract between two people, listings, a market of looks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import market_world
import pytest
from market_world import BUYER, DCU
from portal_browser import CHROMIUM, Browser
from portal_world import CITIES, Plane, Stage, wait_until

from components.lacking import needs

pytestmark = [
    pytest.mark.browser,
    pytest.mark.usefixtures("no_complaints"),
    pytest.mark.xdist_group("portal-frame"),
    needs(Path(CHROMIUM).exists(), "Chromium is not installed"),
]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    folder = tmp_path_factory.mktemp("market")
    made = Plane(folder / "plane")
    stage = Stage(made, folder / "stage", CITIES)
    stage.open()
    yield made
    stage.close()
    made.close()


@pytest.fixture(scope="module")
def where(plane: Plane) -> dict[str, str]:
    return market_world.trade(plane)


def drawn(page: Any, chart: str) -> Any:
    """What a chart shows, by its own account."""
    page.wait_for_selector(f"#{chart}[data-drawn=true] canvas")
    return page.evaluate(
        "id => echarts.getInstanceByDom(document.getElementById(id)).getOption()", chart
    )


def test_a_trade_between_two_people_from_order_to_contract(
    browser: Browser, where: dict[str, str], plane: Plane
) -> None:
    buyer = browser.signed_in(login=BUYER)
    buyer.goto("/market")
    buyer.select_option("#product", DCU)
    suffix = market_world.periods(plane, 24)[2]
    buyer.select_option("#period", suffix)
    buyer.click("form[action='/market/go'] button")
    buyer.wait_for_url(f"**/market/{DCU}:{suffix}")
    assert buyer.locator(".ladder").count() == 0

    seller = browser.signed_in()
    seller.goto(f"/market/{DCU}:{suffix}?side=sell")
    seller.fill("#price", "2.9")
    seller.fill("#lots", "6")
    seller.wait_for_selector("#said >> text=将冻结 ¥41.76")
    seller.click("[data-ticket] button.primary")
    seller.wait_for_url("**order=ord_*")
    assert seller.locator(".rung .own").count() == 1

    buyer.click(".rung.sell")  # it came while one looked
    assert buyer.input_value("#price") == "2.90"
    buyer.fill("#lots", "4")
    buyer.wait_for_selector("#said >> text=可立即成交 4 手，共 ¥278.40")
    buyer.click("[data-ticket] button.primary")
    buyer.wait_for_selector("#placed >> text=已成交 4 手")
    seller.wait_for_selector("#mine >> text=2 / 6")
    seller.click("#mine form button.danger")
    seller.wait_for_url("**done=order_cancelled")
    buyer.click("#placed a[href^='/contracts/con_']")
    buyer.wait_for_selector("[data-phase=upcoming]")
    assert "4 手 × 24 小时" in buyer.inner_text(".head")


def test_a_refusal_stands_at_its_field_and_the_ticket_stays(
    browser: Browser, where: dict[str, str]
) -> None:
    page = browser.signed_in(login=BUYER)
    page.goto(where["instrument"])
    page.fill("#price", "60")
    page.fill("#lots", "3")
    page.click("[data-ticket] button.primary")
    page.wait_for_selector("[data-reason=OutsideBand]")
    assert page.input_value("#lots") == "3"
    page.fill("#price", "6.2")
    page.select_option("#stay", "whole")
    page.fill("#lots", "900000")
    page.wait_for_selector("#said .error-text")


def test_the_book_is_drawn_and_candles_where_there_are_some(
    browser: Browser, where: dict[str, str]
) -> None:
    page = browser.signed_in(login=BUYER)
    page.goto(where["instrument"])
    depth = drawn(page, "depth-chart")
    sums = [one[1] for one in depth["series"][1]["data"]]
    assert sums == sorted(sums)
    assert len(drawn(page, "price-chart")["series"]) == 2
    data = json.loads(page.get_attribute("#chart-data", "data-charts"))
    data["candles"] = [[f"{at}:00", 6 + at / 9, 7.5, 5.5, 6.4, 9] for at in range(6)]
    page.evaluate(
        "data => { document.getElementById('chart-data').dataset.charts = data;"
        "dispatchEvent(new Event('resize')); }",
        json.dumps(data),
    )
    wait_until(lambda: len(drawn(page, "price-chart")["series"]) == 6)


def test_hours_of_a_listing_are_bought_and_it_is_taken_back(
    browser: Browser, where: dict[str, str]
) -> None:
    buyer = browser.signed_in(login=BUYER, phone=True)
    buyer.goto(where["listing"])
    buyer.fill("#lots", "8")
    buyer.fill("#hours", "3")
    buyer.wait_for_selector("#said >> text=共 ¥151.20")
    buyer.click("#buy button.primary")
    buyer.wait_for_url("**/contracts/con_*")
    assert "已买入" in buyer.inner_text("main")
    page = browser.signed_in()
    page.goto(where["listing"])
    page.click("button[data-dialog=close]")
    page.click("#close button.primary")
    page.wait_for_url("**done=listing_closed")


def test_a_seller_withdraws_for_what_the_page_said(browser: Browser, where: dict[str, str]) -> None:
    page = browser.signed_in()
    page.goto(where["contract"])
    page.click("button[data-dialog=withdraw]")
    assert "赔付 ¥30.00" in page.inner_text("#withdraw")
    page.click("#withdraw button.primary")
    page.wait_for_selector("[data-phase=cancelled]")


def test_market_pages_fit_in_both_languages(browser: Browser, where: dict[str, str]) -> None:
    looks: tuple[tuple[str, dict[str, Any]], ...] = (
        ("zh", {"width": 1024}),
        ("en", {"phone": True, "scheme": "dark"}),
    )
    for language, look in looks:
        page = browser.signed_in(login=BUYER, **look)
        page.goto(f"/language/{language}?next=/market")
        for address in ("/market", *where.values(), "/market/listings", "/contracts"):
            page.goto(address)
            wide, window = page.evaluate(
                "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
            )
            assert wide <= window, f"{address} is {wide} wide in a window of {window}"
