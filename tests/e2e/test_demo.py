"""The newcomer's first command on a fresh folder: its table, its sums, what it leaves behind."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from suanwang.demo.cases import cases
from suanwang.demo.household import RECORD, Household, working_below

pytestmark = pytest.mark.xdist_group("demo")
PATIENCE_S = 240.0
"""Not a claim: only so that a hanging demo fails here, with what it said."""


def demo(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "suanwang.demo", "--state", str(folder), *words],
        capture_output=True,
        text=True,
        cwd=folder.parent,
        env={**os.environ, "SUAN_CONFIG": str(folder.parent / "none.yaml")},
        timeout=PATIENCE_S,
        check=False,
    )


def test_the_demo_is_right_in_every_line_and_leaves_nothing_running(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = demo(folder, "--exit", "--port", str(port))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"port {port} is taken" in done.stdout
    assert "✘" not in done.stdout
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if "✔ " in line}
    for case in cases():
        assert case.name in rows, done.stdout
        if case.refusal:
            assert case.refusal in rows[case.name]
    assert "data there" in rows["digest"]
    assert "charges = fall of the balances = statements = revenue" in done.stdout
    charges = re.findall(r"¥(\d+\.\d{6})  +✔", done.stdout)
    total = re.search(r"core-seconds.*: ¥(\d+\.\d{6}) in", done.stdout.replace("\n", " "))
    assert total is not None
    assert sum(micro(one) for one in charges) == micro(total[1]) > 0
    assert list(working_below(folder)) == []
    assert Household(folder).members() == []
    assert not (folder / RECORD).exists()


def test_a_folder_that_is_not_a_demos_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter-1.txt").write_text("years of work")
    done = demo(folder, "--exit")
    assert done.returncode == 1
    assert "NotADemo" in done.stderr
    assert (folder / "chapter-1.txt").read_text() == "years of work"


def test_stopping_what_is_not_up_is_no_error(tmp_path: Path) -> None:
    done = demo(tmp_path / "none", "--stop")
    assert (done.returncode, done.stdout) == (0, "Nothing is up.\n")
    assert not (tmp_path / "none").exists()


def micro(yuan: str) -> int:
    return int(yuan.replace(".", ""))
