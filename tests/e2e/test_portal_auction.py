"""In Chromium: a round of the call auction, from a bid to its outcome, as its reader sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from portal_browser import CHROMIUM, Browser
from portal_world import Plane

from auction_world import A100, H100
from components.lacking import needs
from manual_clock import ManualClock
from suanwang.trade.market import auctions
from suanwang.trade.market.auction_bids import parse
from trade_world import Bazaar, card_pool

pytestmark = [
    pytest.mark.browser,
    pytest.mark.usefixtures("no_complaints"),
    pytest.mark.xdist_group("portal-auction"),
    needs(Path(CHROMIUM).exists(), "Chromium is not installed"),
]


@dataclass
class Rounds:
    """Days of a cleared round and of one that takes orders."""

    cleared: str
    open: str


async def _others(plane: Plane, name: str) -> None:
    """A centre sells two products, a firm and a school buy at the hours that they like."""
    bazaar = Bazaar(plane.context.database, ManualClock(plane.context.clock.now_ms()))
    centre = await bazaar.party("centre")
    for of, model, base in (("zhengzhou", "A100", 6), ("luoyang", "H100", 11)):
        pool = await bazaar.site(centre, of, card_pool(64, model))
        curve = [
            {"hours": [0, 24], "lots": 12, "price": base + 2 * step, "product": str(pool.product)}
            for step in range(5)
        ]
        await _bid(bazaar, centre, name, side="sell", source=pool.source_id, curve=curve)
    for at, who in enumerate(("firm", "school")):
        party = await bazaar.party(who, 100_000)
        curve = [
            {
                "product": A100,
                "hours": [hour, hour + 3],
                "lots": 9 + 7 * hour % 23,
                "price": 18 - step,
            }
            for hour in range(at, 21, 3)
            for step in range(0, 10, 3)
        ]
        curve.append({"product": H100, "hours": [8, 20], "lots": 10, "price": 16})
        await _bid(bazaar, party, name, side="buy", curve=curve)


async def _bid(bazaar: Bazaar, party: Any, name: str, **document: Any) -> None:
    await bazaar.write(lambda tx: auctions.place(tx, party, name, parse(document)))


def fill(plane: Plane) -> Rounds:
    now = plane.context.clock.now_ms()
    cleared, still_open = (auctions.day_text(now // 86_400_000 + ahead) for ahead in (5, 6))
    project = plane.call("GET", "/v1/projects")["items"][0]["id"]
    paid = {"amount": {"yuan": "20000"}, "payment_reference": "first"}
    plane.call("POST", f"/v1/projects/{project}/top-up", paid)
    for day in (cleared, still_open):
        plane.call("POST", "/v1/auctions", {"day": day})
    with ThreadPoolExecutor(1) as aside:
        aside.submit(asyncio.run, _others(plane, cleared)).result()
    mine = {
        "side": "buy",
        "curve": [{"product": A100, "hours": [9, 12], "lots": 4, "price": "18"}],
        "blocks": [
            {"name": "night", "product": A100, "any": 8, "lots": 2, "price": "13"},
            {"name": "cheap", "product": H100, "hours": [8, 20], "lots": 2, "price": "3"},
        ],
    }
    plane.call("POST", f"/v1/auctions/{cleared}/orders", mine)
    plane.call("POST", f"/v1/auctions/{cleared}/close")
    plane.call("POST", f"/v1/auctions/{cleared}/clear")
    return Rounds(cleared, still_open)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    made = Plane(tmp_path_factory.mktemp("auction") / "plane")
    yield made
    made.close()


@pytest.fixture(scope="module")
def rounds(plane: Plane) -> Rounds:
    return fill(plane)


def test_a_cleared_round_shows_prices_curves_and_why(page: Any, rounds: Rounds) -> None:
    page.goto("/auctions")
    page.click(f"a[href='/auctions/{rounds.cleared}']")
    page.wait_for_selector("#prices[data-drawn] canvas")
    page.wait_for_selector("#curves[data-drawn] canvas")
    told = page.inner_text("#mine")
    assert "部分成交" in told
    assert "出清价超出限价" in told
    assert "曲线第 1 级" in told
    assert "块 2“cheap”，08:00 起 12 小时（至 20:00）" in told
    page.select_option("#hour", "10")
    page.wait_for_url("**hour=10**")
    assert "10:00" in page.inner_text(".cards.two h2 >> nth=1")
    page.click("#price-table summary")
    assert page.locator("#price-table tbody tr").count() == 24


def test_a_bid_is_placed_changed_and_withdrawn(page: Any, rounds: Rounds) -> None:
    page.goto(f"/auctions/{rounds.open}")
    page.fill("#lots", "0")
    page.fill("#price", "9.5")
    page.click("form:has(#side) button.primary")
    assert page.inner_text("#lots-error") == "手数应为 1 至 1,000,000"
    assert page.input_value("#price") == "9.5"
    page.fill("#lots", "2")
    page.click("form:has(#side) button.primary")
    page.wait_for_url("**done=bid_placed")
    page.click("#mine a[href*=edit]")
    text = page.input_value("#document")
    assert "price: '9.5'" in text
    page.fill("#document", text.replace("lots: 2", "lots: two"))
    page.click("form:has(#document) button.primary")
    assert page.inner_text("#document-error") == "曲线第 1 级 · 手数：应为整数"
    page.fill("#document", text.replace("lots: 2", "lots: 3"))
    page.click("form:has(#document) button.primary")
    page.wait_for_url("**done=bid_replaced")
    assert "¥342.00" in page.inner_text("#mine")
    page.click("#mine button.danger")
    page.wait_for_url("**done=bid_withdrawn")
    assert "已撤回" in page.inner_text("#mine")


def test_both_languages_on_a_desk_and_a_phone(
    browser: Browser, rounds: Rounds, tmp_path: Path
) -> None:
    for phone in (False, True):
        page = browser.signed_in(phone=phone)
        for language in ("zh", "en"):
            page.goto(f"/language/{language}?next=/auctions")
            for address in ("/auctions", f"/auctions/{rounds.cleared}", f"/auctions/{rounds.open}"):
                page.goto(address)
                wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
                assert wide <= 0, f"{address} is {wide} px too wide ({language}, phone {phone})"


def test_the_operator_ends_a_round(page: Any, plane: Plane, rounds: Rounds) -> None:
    later = auctions.day_text(plane.context.clock.now_ms() // 86_400_000 + 9)
    page.goto("/auctions")
    page.click("button[data-dialog=open]")
    page.fill("#day", later)
    page.click("#open button.primary")
    page.wait_for_url("**done=round_open")
    page.goto(f"/auctions/{later}")
    page.click("button[data-dialog=void]")
    page.fill("#reason", "演练")
    page.click("#void button.primary")
    page.wait_for_url("**done=round_void")
    assert "演练" in page.inner_text(".head")
