"""The day in the life of the exchange, as `make demo-exchange` plays it: every step is judged."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from suanwang.demo.household import Household, working_below

pytestmark = pytest.mark.xdist_group("demo")
PATIENCE_S = 400.0
"""Not a claim: only so that a hanging demo fails here, with what it said."""
WAYS = ("listing", "order book", "bilateral", "quotation", "auction")


def test_a_day_of_the_exchange_is_right_in_every_step(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    words = [sys.executable, "-m", "suanwang.demo.exchange", "--state", str(folder), "--exit"]
    done = subprocess.run(
        [*words, "--port", "0"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "SUAN_CONFIG": str(tmp_path / "none.yaml")},
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✘" not in done.stdout
    assert "WRONG" not in done.stdout
    assert "✔ every step was as it must be" in done.stdout
    rows = done.stdout.splitlines()
    for way in WAYS:
        (row,) = [line for line in rows if line.startswith(way) and "con_" in line]
        if way == "bilateral":
            assert row.split()[-1] == "¥0.024", "the site that failed pays the credit"
        if way == "listing":
            assert row.split()[-2:] == ["¥9.000", "¥1.800"], "a fifth by voucher"
    assert list(working_below(folder)) == []
    assert Household(folder).members() == []
