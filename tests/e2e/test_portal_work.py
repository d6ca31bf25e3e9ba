"""In Chromium with a real agent: submit, watch it succeed, cancel, drain, pay, hand out tokens."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from portal_browser import CHROMIUM
from portal_world import PATIENCE_S, Plane, spawn_agent, wait_until

from components.lacking import needs
from contract_world import Place, sign
from suanwang.bootstrap import make_context
from suanwang.grid.jobs import reading
from suanwang.platform.database import Tx
from suanwang.trade.contracts import service as contracts
from suanwang.trade.contracts.model import Contract, Party

pytestmark = [
    pytest.mark.browser,
    pytest.mark.usefixtures("no_complaints"),
    pytest.mark.xdist_group("portal-work"),
    needs(Path(CHROMIUM).exists(), "Chromium is not installed"),
]
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    folder = tmp_path_factory.mktemp("work")
    made = Plane(folder / "plane")
    with spawn_agent(made, folder / "agent"):
        yield made
    made.close()


def job_of(page: Any) -> str:
    return str(page.url.rsplit("/", 1)[1].partition("?")[0])


def submit(page: Any, **fields: str) -> str:
    page.goto("/jobs/new")
    for name, text in fields.items():
        page.fill(f"#{name}", text)
    page.wait_for_selector("#preview tr.chosen")
    page.click("#submit-form button.primary")
    page.wait_for_url("**/jobs/job_*")
    return job_of(page)


def test_a_job_from_the_form_succeeds_before_ones_eyes(page: Any, plane: Plane) -> None:
    job_id = submit(
        page,
        name="第一个作业",
        command="echo begin; sleep 1; echo 'the end' > out.txt; cat out.txt; echo oops >&2",
        outputs="out.txt",
        max_runtime="2m",
    )
    assert page.locator("h1").inner_text() == "第一个作业"
    page.wait_for_selector("[data-job-state=succeeded]")
    expect(page.locator("[data-log]")).to_contain_text("the end")
    assert "done=submitted" in page.url, "the page was never loaded again"
    page.select_option("#log-stream", "stderr")
    expect(page.locator("[data-log]")).to_contain_text("oops")
    page.wait_for_selector("text=运行成功")
    with page.expect_download() as download:
        page.click("#tasks td.name a")
    assert Path(download.value.path()).read_text() == "the end\n"
    assert download.value.suggested_filename == "out.txt"
    assert plane.call("GET", f"/v1/jobs/{job_id}")["state"] == "succeeded"


def test_what_programs_and_people_write_is_never_markup(page: Any, plane: Plane) -> None:
    made = plane.call(
        "POST",
        "/v1/jobs",
        {"name": EVIL, "command": f"echo '{EVIL}'", "resources": {"cpus": 1}},
    )
    plane.call(
        "POST",
        "/v1/sites",
        {
            "name": "evil",
            "display_name": EVIL,
            "region": EVIL[:50],
            "city": EVIL[:50],
            "latitude": 30,
            "longitude": 100,
        },
    )
    page.goto(f"/jobs/{made['id']}")
    page.wait_for_selector("[data-job-state=succeeded]")
    expect(page.locator("[data-log]")).to_contain_text("<script>")
    assert page.locator("h1").inner_text() == EVIL
    addresses = ("/", "/jobs", f"/jobs?q={EVIL}", "/sites", "/sites/evil", "/offers", "/statement")
    for address in (*addresses, "/admin/audit", f"/jobs/new?from={made['id']}"):
        page.goto(address)
        assert page.locator("img[src=x]").count() == 0, address
        assert page.locator("main script").count() == 0, address
    plane.call("DELETE", "/v1/sites/evil")


def test_a_running_job_is_cancelled_after_a_question(page: Any, plane: Plane) -> None:
    job_id = submit(page, name="long", command="echo up; sleep 300")
    page.wait_for_selector("[data-job-state=running]")
    page.click("[data-dialog=cancel]")
    page.click("#cancel button[data-close]")
    assert plane.call("GET", f"/v1/jobs/{job_id}")["state"] == "running"
    page.click("[data-dialog=cancel]")
    page.click("#cancel .danger.primary")
    page.wait_for_selector("[data-job-state=cancelled]")
    assert plane.call("GET", f"/v1/jobs/{job_id}")["state"] == "cancelled"


def test_fields_and_yaml_follow_each_other_and_errors_stand_at_their_field(page: Any) -> None:
    page.goto("/jobs/new")
    page.wait_for_selector("#preview tr.chosen")
    page.fill("#cpus", "3")
    expect(page.locator("#spec")).to_have_value(re.compile("cpus: 3"))
    page.fill("#spec", "name: typed\ncommand: 'true'\nresources:\n  cpus: 2\nretries:\n  max: 1\n")
    expect(page.locator("#cpus")).to_have_value("2")
    page.fill("#memory", "plenty")
    expect(page.locator("#memory")).to_have_attribute("aria-invalid", "true")
    assert "不是容量" in page.inner_text("[data-error=memory]")
    assert "retries" in page.input_value("#spec"), "the fields know nothing of it and leave it"
    page.click("#submit-form button.primary")
    page.wait_for_selector("[data-reason=InvalidInput]")
    assert page.input_value("#memory") == "plenty"
    page.fill("#memory", "4000GiB")
    page.wait_for_selector("#preview .notice.warn")
    assert "超出单台主机容量" in page.inner_text("#preview")


def test_a_site_is_drained_resumed_and_a_node_cordoned(page: Any, plane: Plane) -> None:
    page.goto("/sites/local")
    page.click("[data-dialog=drain]")
    page.click("#drain .primary")
    page.wait_for_selector("[data-state=draining]")
    assert plane.call("GET", "/v1/sites/local")["state"] == "draining"
    page.click("text=恢复接收任务")
    page.wait_for_selector("[data-state=open]")
    page.click(".node button")
    page.wait_for_selector("[data-state=cordoned]")
    assert plane.call("GET", "/v1/sites/local")["pools"][0]["nodes"][0]["cordoned"]
    page.click(".node button")
    page.wait_for_selector("[data-state=cordoned]", state="detached")


def test_inviting_a_site_tells_the_exact_command_once(page: Any, plane: Plane) -> None:
    page.goto("/sites/new")
    page.fill("#name", "not a name")
    page.fill("#region", "gansu")
    page.click("main form button.primary")
    page.wait_for_selector("[data-reason=InvalidSiteName]")
    assert page.input_value("#region") == "gansu"
    page.fill("#name", "qingyang-9")
    page.fill("#tariff", ", ".join(["0.35"] * 24))
    page.click("main form button.primary")
    token = page.inner_text("[data-secret] code")
    assert token.startswith("swi_")
    command = f"suan agent --server {plane.url} --token {token}"
    assert page.locator("code", has_text="suan agent").inner_text() == command
    page.goto("/sites/qingyang-9")
    assert token not in page.content()
    assert plane.call("GET", "/v1/sites/qingyang-9")["tariff"][0] == 350_000
    page.click("[data-dialog=remove]")
    page.click("#remove .danger.primary")
    page.wait_for_url("**/sites?done=removed")


def test_a_token_is_shown_once_works_and_ends(page: Any, plane: Plane) -> None:
    page.goto("/admin/tokens")
    page.click("[data-dialog=create]")
    page.fill("#name", "laptop")
    page.uncheck("input[value='tenancy:write']")
    page.click("#create .primary")
    secret = page.locator("[data-secret] code").first.inner_text()
    assert secret.startswith("suan_")

    def status() -> int:
        headers = {"Authorization": f"Bearer {secret}"}
        asked = urllib.request.Request(f"{plane.url}/v1/session", headers=headers)
        try:
            with urllib.request.urlopen(asked, timeout=PATIENCE_S) as answer:
                assert "tenancy:write" not in json.load(answer)["scopes"]
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    assert status() == 200
    page.goto("/admin/tokens")
    assert secret not in page.content()
    page.locator("tr", has_text="laptop").locator("button").click()
    page.wait_for_selector("tr.off [data-state=revoked]")
    assert status() == 401


def test_the_statement_says_what_the_api_says(page: Any, plane: Plane) -> None:
    charged = wait_until(lambda: _statement(plane)["charged"]["micro_yuan"])
    page.goto("/statement")
    for name in ("opening", "topped_up", "charged", "adjusted", "closing"):
        shown = page.get_attribute(f"[data-sum={name}]", "data-micro")
        assert int(shown) == _statement(plane)[name]["micro_yuan"], name
    assert charged >= 3_600_000_000 // 3600, "a second of one core at the agent's price"
    for by in ("job", "pool", "day", "user"):
        page.goto(f"/statement?by={by}")
        assert page.locator("table.sticky tbody:not(#sums) tr").count() == len(
            _statement(plane, by)["lines"]
        )
    with page.expect_download() as download:
        page.click("a[download]")
    rows = Path(download.value.path()).read_text(encoding="utf-8-sig").splitlines()[1:]
    total = sum(round(float(row.rsplit(",", 1)[1]) * 1_000_000) for row in rows)
    assert total == _statement(plane)["charged"]["micro_yuan"]


def _statement(plane: Plane, by: str = "job") -> Any:
    return plane.call("GET", f"/v1/projects/default/statement?by={by}")


def test_a_pool_is_measured_at_a_click_and_its_figures_are_shown(page: Any, plane: Plane) -> None:
    page.goto("/catalogue/core")
    page.click("form.measure button")
    page.wait_for_url("**/catalogue/core?done=measuring")
    wait_until(lambda: plane.call("GET", "/v1/benches")["items"][0]["state"] == "taken")
    page.goto("/catalogue/core")
    assert "GFLOPS" not in page.inner_text("main")
    assert re.search(r"FP64\s+0\.\d+ TFLOPS", page.inner_text("main"))
    page.goto("/catalogue")
    expect(page.locator(".state.ok", has_text="已入目录")).to_have_count(1)


def test_a_query_is_answered_or_marked_where_it_is_wrong(page: Any) -> None:
    page.goto("/catalogue")
    everything = page.locator("table[data-rows] tbody tr").count()
    page.fill("#q", "gpu.domestic:yes gpu.memory>=64 sort:-gpu.fp16")
    page.press("#q", "Enter")
    page.wait_for_url("**/catalogue?q=*")
    found = page.locator("table[data-rows] tbody tr")
    assert 0 < found.count() < everything
    assert found.first.locator("a").first.inner_text() == "BR100"
    band = page.locator("tr", has_text="C500").first.locator("details.band").first
    band.locator("summary").click()
    assert "240" in band.inner_text()
    assert "280" in band.inner_text()
    assert page.url.endswith("fp16"), "sources open in the row, which stays where it is"
    for address in ("/catalogue", "/offers"):
        page.goto(address)
        page.fill("#q", "zone:henan pric<30")
        page.press("#q", "Enter")
        page.wait_for_url(f"**{address}?q=*")
        assert page.inner_text(".mistake mark") == "pric"
        assert "您是不是要写 price？" in page.inner_text(".mistake")
        assert page.input_value("#q") == "zone:henan pric<30"
        assert page.get_attribute("#q", "aria-invalid") == "true"
        assert page.locator("[hx-trigger]").count() == 0, "a wrong query is not asked again"


def test_what_runs_on_a_contract_says_so(page: Any, plane: Plane) -> None:
    """On the job's page, in the table of candidates, and how much of the pool is under contract."""
    known = plane.call("GET", "/v1/sites/local")
    first = plane.call("POST", "/v1/jobs", {"command": "true"})["id"]

    def trade(tx: Tx) -> tuple[Contract, Contract]:
        job = reading.require_job(tx.conn, first)
        buyer = Party(job.organisation_id, job.project_id, job.user_id)
        place = Place(known["id"], known["pools"][0]["id"], 4)
        return (
            sign(tx, place, buyer, buyer, lots=2),
            sign(tx, place, buyer, buyer, lots=3, begins=2),
        )

    now, _ = beside(plane, trade)
    job_id = plane.call(
        "POST", "/v1/jobs", {"command": "sleep 1", "contract": now.id, "max_runtime": 30}
    )["id"]
    wait_until(lambda: plane.call("GET", f"/v1/jobs/{job_id}")["state"] == "succeeded")
    page.goto(f"/jobs/{job_id}")
    expect(page.locator("#tasks")).to_contain_text(f"按合同 {now.id} 运行，不另计费")
    page.goto("/jobs/new")
    page.fill("#command", "true")
    page.wait_for_selector("#preview tr.chosen")
    expect(page.locator("#preview tr.chosen")).to_contain_text(f"合同 {now.id}：费用已含在合同中")
    page.goto("/sites/local")
    expect(page.locator("main")).to_contain_text("合同占用")
    expect(page.locator("main")).to_contain_text("2 核")
    expect(page.locator("main")).to_contain_text("现在空闲、其后归合同")
    beside(plane, lambda tx: contracts.withdraw(tx, now.id))


def beside(plane: Plane, use_case: Callable[[Tx], Any]) -> Any:
    """As another process of the platform would."""

    async def once() -> Any:
        context = make_context(plane.settings)
        try:
            return await context.database.write(use_case)
        finally:
            await context.database.close()

    with ThreadPoolExecutor(1) as aside:  # the browser's driver runs a loop in this thread
        return aside.submit(asyncio.run, once()).result()
