"""Pictures of each step of `make demo-exchange`: `.venv/bin/python scripts/exchange_pictures.py`.

The demo is played to its end and left up, looked at by those who took part in it, and stopped.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "e2e")]

from portal_browser import browsing  # noqa: E402

from suanwang.demo.exchange import cast  # noqa: E402
from suanwang.edge.client.client import Client  # noqa: E402

IMAGES = ROOT / "docs" / "images"
DEMO = [sys.executable, "-m", "suanwang.demo.exchange"]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "demo"
        words = [*DEMO, "--state", str(state)]
        try:
            subprocess.run([*words, "--port", "0"], check=True)
            take(json.loads((state / "demo.json").read_text(encoding="utf-8")))
        finally:
            subprocess.run([*words, "--stop"], check=True)


def take(known: dict[str, Any]) -> None:
    people = {"operator": known["operator"], **known["users"]}
    apis = {name: Client(known["address"], one["token"]).api for name, one in people.items()}
    rounds = apis["operator"].get("/v1/auctions")["items"]
    cleared = next(one["id"] for one in rounds if one["state"] == "cleared")
    university, studio = cast.UNIVERSITY.name, cast.STUDIO.name
    failed = apis[studio].get("/v1/contracts")["items"][0]["id"]
    enquiry = apis[cast.INSTITUTE.name].get("/v1/quotations", {"which": "asked"})["items"][0]["id"]
    month = apis[university].get("/v1/contracts")["items"][0]["starts_at"][:7]
    steps = (
        (cast.ZHENGZHOU.name, "/market/listings", "exchange-listings"),
        (cast.INSTITUTE.name, f"/quotations/{enquiry}", "exchange-quotation"),
        (cast.FIRM.name, f"/auctions/{cleared}", "exchange-auction"),
        (studio, f"/contracts/{failed}", "exchange-credit"),
        (university, "/vouchers", "exchange-voucher"),
        (university, f"/statement?month={month}", "exchange-statement"),
        ("operator", "/finance/closes", "exchange-closes"),
    )
    for who, path, name in steps:
        with browsing(known["address"]) as browser:
            page = browser.signed_in(people[who]["login"], people[who]["password"])
            page.goto(path)
            page.wait_for_load_state("networkidle")
            page.screenshot(path=IMAGES / f"{name}.png")
            print(name)


if __name__ == "__main__":
    main()
