"""The portal's pictures in docs/images: `.venv/bin/python scripts/pictures.py` takes them anew.

They show the stage of the browser tests: three cities whose machines are pretended, real pages.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "e2e")]

import market_world  # noqa: E402
from portal_browser import Browser, browsing  # noqa: E402
from portal_world import LOGIN, Plane, Stage, job, wait_until  # noqa: E402

IMAGES = ROOT / "docs" / "images"
LONG = "WRF 3km 预报 2026-11-24 00Z 集合成员批量后处理（含雷达资料同化与质量控制）"
EPOCHS = "".join(
    f"epoch {epoch:4}  loss {1 / (epoch + 4):.4f}  acc {1 - 1 / (epoch + 5):.3f}\n"
    for epoch in range(1, 40)
)


def fill(plane: Plane) -> dict[str, str]:
    """Jobs in every state; name → id."""
    made: dict[str, str] = {}

    def submit(name: str, **more: Any) -> None:
        made[name] = plane.call("POST", "/v1/jobs", job(name, **more))["id"]

    a800 = {"cpus": 8, "memory": "64GiB", "accelerators": {"count": 8, "model": ["A800"]}}
    done, goes_on = {"LASTS_S": "1"}, {"LASTS_S": "5000"}
    submit(LONG, env=done)
    submit("llama-7b 指令微调", env=goes_on, resources=a800, max_runtime="6h")
    submit("qe-scf-si", env=done)
    submit("参数扫描（数组 40）", array=40, env=goes_on)
    submit("blast-nr-swissprot", env={"LASTS_S": "1", "ENDS_WITH": "3"})
    submit("需要更多 A800 的预训练", resources=a800, count=16, on_impossible="wait")
    submit("过大的内存申请", resources={"cpus": 1, "memory": "64TiB"})
    submit("价格上限太低", max_price=0.001, on_impossible="wait", resources=a800)
    submit("蒙特卡洛期权定价", env=goes_on)
    submit("后处理（依赖蒙特卡洛）", depends_on=[made["蒙特卡洛期权定价"]])
    return made


def book(plane: Plane) -> None:
    """Money came in, and a correction."""
    project = f"/v1/projects/{plane.call('GET', '/v1/projects')['items'][0]['id']}"
    paid = {"amount": {"yuan": "125000"}, "payment_reference": "ICBC-2026-118"}
    plane.call("POST", f"{project}/top-up", {**paid, "description": "十一月充值"})
    case = {"amount": {"yuan": "36.5"}, "reference": "case-7", "reason": "主机故障补偿"}
    plane.call("POST", f"{project}/adjust", case)


def code_of_terminal(plane: Plane) -> str:
    """Of a program that waits to be let in."""
    wanted = {"machine": "workstation-3.physics.henu.edu.cn", "scopes": None, "days": 90}
    return str(plane.call("POST", "/v1/session/device", wanted)["user_code"])


def settled(plane: Plane, ids: dict[str, str]) -> bool:
    states = {
        name: plane.call("GET", f"/v1/jobs/{job_id}")["state"] for name, job_id in ids.items()
    }
    return (
        states[LONG] == "succeeded"
        and states["llama-7b 指令微调"] == "running"
        and states["blast-nr-swissprot"] == "failed"
        and states["过大的内存申请"] == "refused"
    )


def take(browser: Browser, ids: dict[str, str], code: str, traded: dict[str, str]) -> None:
    def shoot(
        name: str, address: str, language: str = "zh", login: str = LOGIN, **looks: Any
    ) -> None:
        page = browser.signed_in(login=login, **looks)
        page.context.add_cookies([{"name": "suan_language", "value": language, "url": browser.url}])
        page.goto(address)
        page.wait_for_load_state("load")
        page.wait_for_timeout(1_500)  # live parts never rest, so neither does the network
        page.screenshot(path=str(IMAGES / f"{name}.png"))
        page.context.close()
        print(f"{name}: {address}")

    running, waiting = ids["llama-7b 指令微调"], ids["需要更多 A800 的预训练"]
    shoot("overview", "/")
    shoot("overview-dark-en", "/", "en", scheme="dark")
    shoot("jobs", "/jobs")
    shoot("job-waiting", f"/jobs/{waiting}")
    shoot("phone", f"/jobs/{running}", phone=True)
    shoot("submit", "/jobs/new")
    shoot("site", "/sites/zhengzhou-1")
    shoot("offers-en", "/offers", "en")
    shoot("statement", "/statement")
    shoot("ledger", "/admin/ledger?verify=true", "en", scheme="dark")
    shoot("device", f"/device?code={code}")
    buyer = {"login": market_world.BUYER}
    shoot("market-board", "/market", **buyer)
    shoot("market-instrument", traded["instrument"], **buyer)
    shoot("market-instrument-dark-en", traded["instrument"], "en", scheme="dark", **buyer)
    shoot("market-phone", traded["instrument"], phone=True, **buyer)
    shoot("market-listing", traded["listing"], "en", **buyer)
    shoot("contract", traded["contract"], **buyer)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        plane = Plane(Path(folder) / "plane")
        stage = Stage(plane, Path(folder) / "stage")
        stage.open()
        try:
            ids = fill(plane)
            wait_until(lambda: settled(plane, ids), 90)
            book(plane)
            traded = market_world.trade(plane)
            with browsing(plane.url) as browser:
                take(browser, ids, code_of_terminal(plane), traded)
                if browser.complaints:
                    raise SystemExit(f"the pages complained: {browser.complaints}")
        finally:
            stage.close()
            plane.close()


if __name__ == "__main__":
    main()
