"""In Chromium: the operator's ledger and links; what others see of them is nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from portal_browser import CHROMIUM, Browser
from portal_world import PASSWORD, Plane

from components.lacking import needs

pytestmark = [
    pytest.mark.browser,
    pytest.mark.usefixtures("no_complaints"),
    pytest.mark.xdist_group("portal-books"),
    needs(Path(CHROMIUM).exists(), "Chromium is not installed"),
]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    made = Plane(tmp_path_factory.mktemp("books") / "plane")
    for name, latitude in (("north", 43.65), ("south", 34.75)):
        place = {"name": name, "region": "x", "latitude": latitude, "longitude": 112.0}
        made.call("POST", "/v1/sites", place)
    member = {"login": "li.hua", "role": "admin", "password": PASSWORD, "organisation": "henu"}
    made.call("POST", "/v1/organisations", {"name": "henu", "display_name": "河南大学"})
    made.call("POST", "/v1/users", member)
    yield made
    made.close()


def _project(plane: Plane) -> str:
    return str(plane.call("GET", "/v1/projects")["items"][0]["id"])


def test_a_top_up_is_reversed_and_the_books_balance(page: Any, plane: Plane) -> None:
    paid = {"amount": {"yuan": "1234.5"}, "payment_reference": "ICBC-1", "description": "误入"}
    plane.call("POST", f"/v1/projects/{_project(plane)}/top-up", paid)
    page.goto("/admin/ledger?verify=true")
    assert page.locator(".notice.ok").count() == 1
    assert page.inner_text("[data-sum]").startswith("¥0.00")
    page.click("#entries button[data-dialog=reverse]")
    page.fill("#reason", "付错了账户")
    page.click("#reverse button.primary")
    page.wait_for_url("**/admin/ledger?project=*&month=*&done=reversed")
    assert page.locator("#entries button[data-dialog=reverse]").count() == 0
    assert "付错了账户" in page.inner_text("#entries")
    account = plane.call("GET", f"/v1/projects/{_project(plane)}/account")
    assert account["balance"]["micro_yuan"] == 0
    page.goto("/admin/audit")
    assert "entry.reverse" in page.inner_text("table")


def test_projects_of_one_name_are_told_apart(page: Any, plane: Plane) -> None:
    plane.call("POST", "/v1/projects", {"name": "default", "organisation": "henu"})
    for address in ("/admin/ledger", "/statement"):
        page.goto(address)
        names = page.locator("#project option").all_inner_texts()
        assert len(names) == len(set(names)) >= 2, names
        assert any("河南大学" in name for name in names)


def test_a_quota_names_what_it_limits_and_no_more(page: Any, plane: Plane) -> None:
    never = 10**12  # what the command line writes for a limit that was not named
    limits = {"cpu_milli": 64_000, "memory_mib": never, "disk_mib": never}
    quota = {"quota": {**limits, "accelerator_milli": 8_000}}
    plane.call("POST", "/v1/projects", {"name": "limited", **quota})
    page.goto("/admin/projects")
    row = page.locator("tr", has_text="limited").inner_text()
    assert "64 核 · 8 卡" in row
    assert "TiB" not in row


def test_an_adjustment_says_at_its_field_what_is_wrong(page: Any, plane: Plane) -> None:
    page.goto("/admin/ledger")
    page.click("button[data-dialog=adjust]")
    page.fill("#amount", "many")
    page.fill("#reference", "case-1")
    page.fill("#adjust-reason", "节点故障补偿")
    page.click("#adjust button.primary")
    page.wait_for_selector("#adjust[open] #amount")
    assert page.input_value("#adjust-reason") == "节点故障补偿"
    page.fill("#amount", "2.5")
    page.click("#adjust button.primary")
    page.wait_for_url("**/admin/ledger?project=*&month=*&done=adjusted")
    account = plane.call("GET", f"/v1/projects/{_project(plane)}/account")
    assert account["balance"]["yuan"] == "2.50"


def test_a_link_is_stated_both_ways_and_cleared_one_way(page: Any, plane: Plane) -> None:
    page.goto("/admin/links")
    page.click("button[data-dialog=state]")
    page.select_option("#from_site", "north")
    page.select_option("#to_site", "south")
    page.fill("#price", "0.3")
    page.fill("#seconds", "soon")
    page.click("#state button.primary")
    page.wait_for_selector("[data-reason=InvalidLinkTime]")
    page.fill("#seconds", "12.5")
    page.click("#state button.primary")
    page.wait_for_url("**/admin/links?done=saved")
    assert page.locator("tbody tr").count() == 2
    page.click("tbody tr:has-text('north') >> nth=0 >> button.danger")
    page.wait_for_selector("tbody tr:nth-child(1):last-child")
    (left,) = plane.call("GET", "/v1/links")["items"]
    assert (left["price_per_gib"]["yuan"], left["ms_per_gib"]) == ("0.30", 12_500)


def test_sites_without_a_place_are_not_called_none(browser: Browser, tmp_path: Path) -> None:
    plane = Plane(tmp_path / "plane")
    try:
        plane.call("POST", "/v1/sites", {"name": "nowhere", "region": "x"})
        page = browser.at(plane.url).signed_in()
        said = page.inner_text("section[aria-labelledby=map-title]")
        page.context.close()
    finally:
        plane.close()
    assert "--lat" in said
    assert "还没有算力节点" not in said


def test_an_admin_of_another_organisation_sees_neither(browser: Browser) -> None:
    page = browser.signed_in(login="li.hua")
    for address in ("/admin/ledger", "/admin/links"):
        assert page.locator(f"nav.side a[href='{address}']").count() == 0
        assert page.goto(address).status == 403
