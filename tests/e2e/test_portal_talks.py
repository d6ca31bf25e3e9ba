"""In Chromium: an enquiry from asking to the award, and a deal that goes to and fro."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from portal_browser import CHROMIUM, Browser
from portal_world import PASSWORD, Plane

from components.lacking import needs
from suanwang.grid.sites import service as sites
from suanwang.grid.sites.service import SiteDescription
from suanwang.platform.database import Tx
from suanwang.protocol.messages import EnrolRequest
from suanwang.trade.market import quotations_award
from suanwang.trade.market.quotations_store import enquiries
from suanwang.trade.market.supply import pools_of
from trade_world import card_pool

pytestmark = [
    pytest.mark.browser,
    pytest.mark.usefixtures("no_complaints"),
    pytest.mark.xdist_group("portal-talks"),
    needs(Path(CHROMIUM).exists(), "Chromium is not installed"),
]
SELLERS = {"henu": "河南大学超算中心", "hami": "Hami Wind and Solar Compute Park"}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    made = Plane(tmp_path_factory.mktemp("talks") / "plane")
    settle(made)
    yield made
    made.close()


def settle(plane: Plane) -> dict[str, str]:
    """Sellers with a pool each, and money for all; organisation → its pool."""
    pools = {}
    for name, title in SELLERS.items():
        kinds = ["provider", "consumer"]
        body = {"name": name, "display_name": title, "kinds": kinds}
        owner = plane.call("POST", "/v1/organisations", body)["id"]
        person = {"login": f"{name}-1", "role": "admin", "password": PASSWORD}
        plane.call("POST", "/v1/users", {**person, "organisation": name})
        plane.call("POST", "/v1/projects", {"name": "market", "organisation": name})
        pools[name] = plane.write(lambda tx, n=name, of=owner: _pool(plane, tx, n, of))
    for project in plane.call("GET", "/v1/projects?limit=500")["items"]:
        paid = {"amount": {"yuan": "100000"}, "payment_reference": f"ICBC-{project['id'][-8:]}"}
        plane.call("POST", f"/v1/projects/{project['id']}/top-up", paid)
    return pools


def _pool(plane: Plane, tx: Tx, name: str, owner: str) -> str:
    site, token = sites.invite(
        tx, owner, SiteDescription(f"{name}-1", "henan"), plane.context.random
    )
    sites.enrol(tx, EnrolRequest(token, site.site_id), plane.context.random)
    sites.take_inventory(tx, site.site_id, [card_pool(16)])
    return next(one.source_id for one in pools_of(tx.conn, owner))


def local(hours: float) -> str:
    """A full hour so far ahead as a browser's field takes it, in Shanghai."""
    at = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    return (at + timedelta(hours=hours + 8)).strftime("%Y-%m-%dT%H:%M")


def deadline_now(plane: Plane, enquiry: str) -> None:
    """As if the deadline had come; then what the leader does."""

    def use_case(tx: Tx) -> None:
        past = sa.update(enquiries).where(enquiries.c.id == enquiry)
        tx.conn.execute(past.values(deadline_ms=tx.now_ms - 1))
        quotations_award.award(tx, plane.context.secrets, enquiry)

    plane.write(use_case)


def test_an_enquiry_is_asked_quoted_under_seal_and_awarded(browser: Browser, plane: Plane) -> None:
    buyer = browser.signed_in()
    buyer.goto("/quotations?which=asked")
    buyer.click("button[data-dialog=ask]")
    for name, value in (
        ("title", "大模型微调 30 天"),
        ("lots", "8"),
        ("starts_at", local(30)),
        ("hours", "720"),
        ("ceiling", "12"),
        ("deadline", local(6)),
    ):
        buyer.fill(f"#ask [name={name}]", value)
    buyer.click("#ask button.primary")  # no product yet: told at the field
    assert "1 至 20" in buyer.inner_text("#products-error")
    buyer.check("#ask [name=products]")
    buyer.click("#ask button.primary")
    buyer.wait_for_url("**/quotations/rfq_*?done=asked")
    enquiry = buyer.url.rpartition("/")[2].partition("?")[0]
    assert ":" in buyer.inner_text("[data-until]")
    for name, yuan in (("henu", "9.6"), ("hami", "9.45")):
        seller = browser.signed_in(login=f"{name}-1")
        seller.goto(f"/quotations/{enquiry}")
        seller.click("button[data-dialog=quote]")
        seller.fill("#quote [name=price]", yuan)
        seller.click("#quote button.primary")
        seller.wait_for_url("**?done=quoted")
        assert yuan not in seller.inner_text("main")
    buyer.goto(f"/quotations/{enquiry}")
    assert "9.4" not in buyer.inner_text("main")
    assert "2" in buyer.inner_text(".tiles")
    deadline_now(plane, enquiry)
    buyer.goto(f"/quotations/{enquiry}")
    rows = buyer.locator("#award tbody tr").all_inner_texts()
    assert "Hami" in rows[0]
    assert "9.45" in rows[0]
    assert "有更优报价" in rows[1]
    seller.goto("/quotations")
    assert "已中选" in seller.inner_text("table")


def test_a_deal_is_proposed_countered_and_accepted(browser: Browser, plane: Plane) -> None:
    buyer = browser.signed_in()
    buyer.goto("/deals")
    buyer.click("button[data-dialog=propose]")
    for name, value in (
        ("to", "henu"),
        ("lots", "4"),
        ("price", "8"),
        ("starts_at", local(30)),
        ("hours", "24"),
        ("valid_until", local(6)),
        ("note", "长期合作价"),
    ):
        buyer.fill(f"#propose [name={name}]", value)
    buyer.click("#propose button.primary")
    buyer.wait_for_url("**/deals/deal_*?done=deal_proposed")
    deal = buyer.url.rpartition("/")[2].partition("?")[0]
    seller = browser.signed_in(login="henu-1")
    seller.goto("/deals?box=in")
    assert "待我方答复" in seller.inner_text("table")
    seller.goto(f"/deals/{deal}")
    seller.click("button[data-dialog=counter]")
    seller.fill("#counter [name=price]", "9")
    seller.click("#counter button.primary")
    seller.wait_for_url("**?done=countered")
    buyer.goto(f"/deals/{deal}")
    buyer.click("button[data-dialog=accept]")
    buyer.click("#accept button.primary")
    buyer.wait_for_url("**?done=accepted")
    rows = buyer.locator("#history tbody tr").all_inner_texts()
    assert "¥9.00" in rows[0]
    assert "已接受" in rows[0]
    assert "被还价" in rows[1]
    assert "con_" in buyer.inner_text("main")


@pytest.mark.parametrize("address", ["/quotations", "/quotations?which=asked", "/deals"])
def test_on_a_phone_nothing_is_wider_than_the_screen(
    browser: Browser, plane: Plane, address: str
) -> None:
    page: Any = browser.signed_in(phone=True)
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
