"""In Chromium: a university checks a programme, applies, is granted and sees its vouchers used."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from portal_browser import CHROMIUM, Browser
from portal_world import PASSWORD, Plane

from billing_world import PRICES, run_of, usage_of
from components.lacking import needs
from policy_world import USCC, with_check
from suanwang.kernel.time import MS_PER_DAY
from suanwang.platform.database import Tx
from suanwang.platform.outbox import Outbox
from suanwang.trade.billing import service as billing
from suanwang.trade.billing.model import UsageRecord, UsageRecorded
from suanwang.trade.policy import redemption

pytestmark = [
    pytest.mark.browser,
    pytest.mark.usefixtures("no_complaints"),
    pytest.mark.xdist_group("portal-programmes"),
    needs(Path(CHROMIUM).exists(), "Chromium is not installed"),
]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    made = Plane(tmp_path_factory.mktemp("programmes") / "plane")
    organisations(made)
    yield made
    made.close()


def organisations(plane: Plane) -> None:
    """A university with an admin, and a supercomputing centre whose profile is known."""
    for name, shown, kinds in (
        ("henu", "河南大学", ["consumer"]),
        ("nscc-zz", "国家超级计算郑州中心", ["provider"]),
    ):
        body = {"name": name, "display_name": shown, "kinds": kinds}
        plane.call("POST", "/v1/organisations", body)
    member = {"login": "li.hua", "role": "admin", "password": PASSWORD, "organisation": "henu"}
    plane.call("POST", "/v1/users", member)
    plane.call("POST", "/v1/projects", {"name": "vision", "organisation": "henu"})
    profile = {
        "name": "国家超级计算郑州中心",
        "uscc": with_check(USCC),
        "region": "henan/zhengzhou",
        "kind": "institute",
        "facility": {"kind": "supercomputing", "pflops": 200, "metering_logs": True},
    }
    plane.call("PUT", "/v1/organisations/nscc-zz/profile", profile)


def charge(plane: Plane, lease_id: str, days_ago: int, seconds: int) -> None:
    """Of one core of the centre; a thousand micro-yuan a second."""
    project = next(
        one
        for one in plane.call("GET", "/v1/projects?limit=50")["items"]
        if one["name"] == "vision"
    )
    provider = plane.call("GET", "/v1/organisations/nscc-zz")["id"]
    start_ms = plane.context.clock.now_ms() - days_ago * MS_PER_DAY

    def use_case(tx: Tx) -> list[UsageRecord]:
        prices = billing.publish_prices(tx, "pol_1", PRICES)
        run = run_of(
            prices,
            lease_id=lease_id,
            project_id=project["id"],
            organisation_id=project["organisation_id"],
            provider_organisation_id=provider,
            granted_at_ms=start_ms,
        )
        records = usage_of(run, start_ms, start_ms + seconds * 1_000)
        billing.record_usage(tx, Outbox(), records)
        return records

    records = run_aside(plane, use_case)
    facts = [UsageRecorded(one) for one in records]
    run_aside(plane, partial(billing.charge, facts=facts, relieve=redemption.relieve))


def run_aside(plane: Plane, use_case: Any) -> Any:
    """A browser's driver runs a loop in this thread."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as aside:
        return aside.submit(asyncio.run, plane.context.database.write(use_case)).result()


def test_from_the_profile_to_a_voucher_that_was_used(browser: Browser, plane: Plane) -> None:
    page = browser.signed_in(login="li.hua")
    page.goto("/programmes")
    assert page.locator("tbody tr").count() >= 22
    page.goto("/programmes/profile")
    page.fill("#name", "河南大学")
    page.fill("#uscc", "91350100M000100Y44")
    page.fill("#region", "henan/kaifeng")
    page.select_option("#kind", "university")
    page.click("form.body button.primary")
    page.wait_for_selector("[data-reason=InvalidCreditCode]")
    assert page.input_value("#region") == "henan/kaifeng"
    page.fill("#uscc", "91350100M000100Y43")
    page.click("form.body button.primary")
    page.wait_for_url("**/programmes/profile?done=saved")

    page.goto("/programmes/zhengzhou")
    page.fill("#amount", "100000")
    page.click("#check button >> nth=0")
    page.wait_for_selector("[data-eligible=no]")
    refusals = page.locator("[data-refusal]")
    assert [one.get_attribute("data-refusal") for one in refusals.all()][:2] == [
        "WrongRegion",
        "WrongKind",
    ]
    assert "河南开封" not in refusals.first.inner_text()  # a place without a name is told as it is
    assert "henan/kaifeng" in refusals.first.inner_text()

    year = page.evaluate("new Date().getFullYear()")
    plane.call("PUT", "/v1/programmes/henan/budget", {"year": year})
    page.goto("/programmes/henan")
    page.fill("#amount", "100000")
    page.select_option("#provider", label="国家超级计算郑州中心")
    page.click("#check button >> nth=0")
    page.wait_for_selector("[data-eligible=yes]")
    assert "20,000.00" in page.inner_text("[data-eligible]")
    page.click("#check button >> nth=1")
    page.wait_for_url("**/vouchers?done=applied")
    assert page.locator("#applications tbody tr").count() == 1

    operator = browser.signed_in()
    operator.goto("/admin/programmes")
    operator.click("[data-application] button.primary")
    operator.wait_for_selector("[data-reason=ProfileNotVerified]")
    operator.click("a[href*='/programmes/profile?organisation=']")
    operator.click("form.body button.primary")
    operator.wait_for_url("**/programmes/profile**done=saved")
    operator.goto("/admin/programmes")
    operator.click("[data-application] button.primary")
    operator.wait_for_url("**/admin/programmes?done=granted")
    assert operator.locator("[data-application]").count() == 0

    charge(plane, "lea_1", 0, 100)
    page.goto("/vouchers")
    assert page.locator("[data-left]").get_attribute("data-left") == str(20_000_000_000 - 20_000)
    page.goto("/statement")
    assert page.locator("[data-sum=relieved]").get_attribute("data-micro") == "20000"
    assert page.locator("[data-sum=charged]").get_attribute("data-micro") == "80000"
    rows = page.locator("#sums tr").all_inner_texts()
    figures = [row.split("\t")[-1].strip() for row in rows]
    assert figures == ["¥0.10", "\u2212¥0.02", "¥0.08"], "list price, less the programme, due"
    lines = page.locator("table.sticky tbody:not(#sums) td:last-child").all_inner_texts()
    assert lines == ["¥0.10"]
    with page.expect_download() as download:
        page.click("a[download]")
    table = Path(download.value.path()).read_text(encoding="utf-8-sig").splitlines()[1:]
    amounts = [Decimal(row.rpartition(",")[2]) for row in table]
    assert (len(amounts), sum(amounts)) == (2, Decimal("0.08"))


def test_the_desk_says_at_its_field_what_is_wrong(browser: Browser, plane: Plane) -> None:
    page = browser.signed_in()
    page.goto("/admin/programmes")
    page.click("button[data-dialog=budget]")
    page.select_option("#programme", "zhengzhou")
    page.click("#budget button.primary")
    page.wait_for_selector("[data-reason=PoolUnknown]")
    page.fill("#pool", "5000000")
    page.click("#budget button.primary")
    page.wait_for_url("**/admin/programmes?done=saved")


def test_what_a_programme_would_have_cost_is_drawn(browser: Browser, plane: Plane) -> None:
    for number, (days, seconds) in enumerate(((20, 2_000), (9, 3_000), (3, 1_000))):
        charge(plane, f"lea_past_{number}", days, seconds)
    page = browser.signed_in()
    page.goto("/programmes/zhengzhou/what-if?percent=10")
    page.wait_for_selector("#what-if[data-drawn=true]")
    assert page.locator("[data-cost]").get_attribute("data-cost") == "0"  # a university is no firm
    page.goto("/programmes/henan/what-if")
    page.wait_for_selector("#what-if[data-drawn=true]")
    assert int(page.locator("[data-cost]").get_attribute("data-cost")) >= 6_000_000 // 5


def test_others_have_no_desk(browser: Browser) -> None:
    page = browser.signed_in(login="li.hua")
    page.goto("/programmes")
    assert page.locator("a[href='/admin/programmes']").count() == 0
    for address in ("/admin/programmes", "/programmes/henan/what-if"):
        assert page.goto(address).status == 403
