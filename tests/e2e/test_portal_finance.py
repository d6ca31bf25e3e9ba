"""In Chromium: days are closed, a provider is paid, a month invoiced, a charge disputed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from finance_world import BUYER, close_all, people, sells, work
from portal_browser import CHROMIUM, Browser
from portal_world import Plane

from components.lacking import needs

pytestmark = [
    pytest.mark.browser,
    pytest.mark.usefixtures("no_complaints"),
    pytest.mark.xdist_group("portal-finance"),
    needs(Path(CHROMIUM).exists(), "Chromium is not installed"),
]


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Plane, str, str]]:
    """(plane, the buyer's project, the month that was worked in)."""
    made = Plane(tmp_path_factory.mktemp("finance") / "plane")
    sells(made)
    project, provider = people(made)
    month = work(made, project, provider)
    yield made, project, month
    made.close()


@pytest.fixture(scope="module")
def plane(worked: tuple[Plane, str, str]) -> Plane:
    return worked[0]


def test_a_day_is_closed_and_counted_anew(page: Any, plane: Plane) -> None:
    page.goto("/finance/closes")
    page.click(".head button.primary")
    page.wait_for_url("**/finance/closes?done=closed_day")
    assert page.locator("#trial tbody tr").count() == 4
    page.click("#trial header a")
    assert "一致" in page.inner_text(".notice.ok")
    close_all(plane)
    page.goto("/finance/closes")
    assert page.locator("#closes tbody tr").count() >= 27


def test_a_provider_sees_what_his_payout_is_made_of(browser: Browser, page: Any) -> None:
    page.goto("/finance/payouts")
    page.click("button[data-dialog=run]")
    page.fill("#minimum", "lots")
    page.click("#run button.primary")
    page.wait_for_selector("#run[open] #minimum")
    page.fill("#minimum", "100")
    page.click("#run button.primary")
    page.wait_for_url("**/finance/payouts?done=proposed")
    page.click("tbody tr a")
    page.click(".actions button.primary")
    page.wait_for_url("**?done=saved")
    payout = page.url.partition("?")[0]
    assert page.is_disabled("button[data-dialog=paid]")  # who approved it does not release it
    page.goto("/finance/payouts")
    page.click("button[data-dialog=rule]")
    page.fill("#rule-reason", "五月前只有一位运营人员")
    page.click("#rule button.primary")
    page.wait_for_url("**/finance/payouts?done=saved")
    assert "五月前" in page.inner_text("#four-eyes")
    page.goto(payout)
    page.click("button[data-dialog=paid]")
    page.fill("#paid-bank_reference", "ICBC-2026-7")
    page.click("#paid button.primary")
    page.wait_for_selector("[data-state=paid]")
    with browser.visit():
        theirs = browser.signed_in(login="wang")
        theirs.goto("/finance/payouts")
        assert theirs.locator("button[data-dialog=run]").count() == 0
        theirs.click("tbody tr a")
        assert "ICBC-2026-7" in theirs.inner_text("main")
        assert theirs.locator("#lines tbody tr").count() == 2
        assert theirs.locator("button[data-dialog=failed]").count() == 0


def test_a_month_is_invoiced_in_words_and_undone_in_red(
    browser: Browser, page: Any, worked: tuple[Plane, str, str]
) -> None:
    _, project, month = worked
    with browser.visit():
        theirs = browser.signed_in(login="li.hua")
        theirs.goto(f"/finance/invoices?project={project}&month={month}")
        theirs.click("button[data-dialog=buyer]")
        theirs.fill("#buyer-name", BUYER["name"])
        theirs.fill("#buyer-code", "91350100M000100Y44")
        theirs.click("#buyer button.primary")
        theirs.wait_for_selector("[data-reason=InvalidCreditCode]")
        theirs.fill("#buyer-code", BUYER["code"])
        theirs.click("#buyer button.primary")
        theirs.wait_for_url("**done=saved")
        theirs.click("button[data-dialog=ask]")
        theirs.click("#ask button.primary")
        theirs.wait_for_url("**done=invoice_requested")
        theirs.click("tbody tr a")
        assert theirs.inner_text("[data-capitals]").endswith(("整", "分"))
        invoice = theirs.url.rpartition("/")[2]
        theirs.emulate_media(media="print")
        assert not theirs.is_visible("nav.side")
        assert theirs.is_visible(".sheet")
    page.goto(f"/finance/invoices/{invoice}")
    page.click("button[data-dialog=issue]")
    page.fill("#number", "24412000000012345678")
    page.click("#issue button.primary")
    page.wait_for_selector("[data-state=issued]")
    page.click("button[data-dialog=reverse]")
    page.fill("#red-amount", "100000000")
    page.click("#reverse button.primary")
    page.wait_for_selector("#reverse[open] [data-reason=AboveInvoice], #reverse[open] .error")
    page.fill("#red-amount", "12.34")
    page.select_option("#red-reason", "allowance")
    page.click("#reverse button.primary")
    page.wait_for_url("**done=saved")
    page.click("#red-letters a")
    assert page.inner_text("[data-capitals]") == "负壹拾贰元叁角肆分"
    page.click("button[data-dialog=issue]")
    page.fill("#number", "24412000000012345679")
    page.click("#issue button.primary")
    page.wait_for_selector("[data-state=issued]")
    page.goto(f"/finance/invoices/{invoice}")
    assert "12.34" in page.inner_text("#red-letters")
    page.click("button[data-dialog=reverse]")
    page.click("#reverse button.primary")
    page.wait_for_url("**done=saved")
    page.goto("/finance/invoices")
    page.click("tbody tr:first-child a")
    assert page.inner_text("[data-capitals]").startswith("负")


def test_a_charge_is_disputed_answered_and_given_back(
    browser: Browser, page: Any, worked: tuple[Plane, str, str]
) -> None:
    plane, project, month = worked
    entries = plane.call("GET", f"/v1/projects/{project}/entries?month={month}")["items"]
    charge = [one for one in entries if one["kind"] == "charge"][-1]
    with browser.visit():
        theirs = browser.signed_in(login="li.hua")
        theirs.goto(f"/finance/disputes?entry={charge['entry_id']}")
        theirs.fill("#text", "第二块卡掉线")
        theirs.click("#open button.primary")
        theirs.wait_for_url("**done=disputed")
        theirs.click("tbody tr a")
        dispute = theirs.url.rpartition("/")[2]
        assert theirs.locator("button[data-dialog=answer]").count() == 0
    with browser.visit():
        provider = browser.signed_in(login="wang")
        provider.goto(f"/finance/disputes/{dispute}")
        provider.click("button[data-dialog=answer]")
        provider.fill("#answer-text", "已核实，属实")
        provider.click("#answer button.primary")
        provider.wait_for_selector("[data-state=answered]")
    page.goto(f"/finance/disputes/{dispute}")
    page.click("button[data-dialog=uphold]")
    page.fill("#uphold-text", "全额退还")
    page.click("#uphold button.primary")
    page.wait_for_selector("[data-state=upheld]")
    assert page.locator("#history li").count() == 3
    entries = plane.call("GET", f"/v1/projects/{project}/entries?month={month}")["items"]
    assert next(one for one in entries if one["entry_id"] == charge["entry_id"])["reversed_by"]


def test_others_see_nothing_of_it(browser: Browser) -> None:
    with browser.visit():
        theirs = browser.signed_in(login="li.hua")
        assert theirs.locator("nav.side a[href='/finance/closes']").count() == 0
        assert theirs.goto("/finance/closes").status == 403
        theirs.goto("/finance/payouts")
        assert theirs.locator("tbody tr").count() == 0
