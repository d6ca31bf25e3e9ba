"""Style kept by a test: sizes, banned calls, docstrings. Each rule says why when it fails."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
ALL = SOURCES + sorted((ROOT / "tests").rglob("*.py")) + sorted((ROOT / "bench").rglob("*.py"))
MAX_FILE = 500
MAX_FUNCTION = 70

CLOCK_AND_CHANCE = re.compile(
    r"\b(time\.(time|monotonic|perf_counter|process_time)(_ns)?|datetime\.(now|utcnow|today)|"
    r"date\.today|uuid\.uuid\d|os\.urandom|secrets\.(token\w*|choice|randbelow)|random\.SystemRandom|random\.Random\(\)|"
    r"random\.(random|randint|randrange|choice|choices|sample|shuffle|uniform))\b"
)
SOURCES_OF_BOTH = {"time", "random", "uuid", "secrets"}
MAY_READ_CLOCKS = (
    "platform/",
    "bootstrap.py",
    "agent/machine.py",
    "agent/main.py",
    "agent/records.py",
    "agent/drivers/",
    "edge/api/metrics.py",
    "edge/api/routes_agent.py",
    "edge/cli/",
    "edge/client/",
    "demo/",
    "sim/__main__.py",
    "trade/catalogue/program.py",
)
"""Below `src/suanwang/`: where a process meets the world, or only measures itself."""
BANNED_NAMES = re.compile(r"(manager|helper|utils?|processor)s?", re.IGNORECASE)
ROUNDS = re.compile(r"\bround\(|\bmath\.(floor|ceil|trunc)\(|[^/]/[^/]")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_files_stay_readable_in_one_sitting(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= MAX_FILE, f"{len(lines)} lines: find the missing noun and split"
    tree = ast.parse("\n".join(lines))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= MAX_FUNCTION, f"{node.name} has {length} lines: what does it hide?"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_modules_say_what_they_are_for(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), "a module begins with its purpose"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_time_and_chance_are_arguments(path: Path) -> None:
    if str(path.relative_to(ROOT / "src" / "suanwang")).startswith(MAY_READ_CLOCKS):
        return
    text = path.read_text(encoding="utf-8")
    for number, line in enumerate(text.splitlines(), 1):
        found = CLOCK_AND_CHANCE.search(line)
        assert not found, f"line {number}: take a Clock or Random as an argument, not {found}"
    for node in ast.walk(ast.parse(text)):
        hidden = isinstance(node, ast.ImportFrom) and node.module in SOURCES_OF_BOTH
        assert not hidden, "import the module, so that what it is used for can be seen here"


def test_whoever_may_read_clocks_is_still_there() -> None:
    for one in MAY_READ_CLOCKS:
        below = ROOT / "src" / "suanwang" / one
        files = [below] if below.suffix else sorted(below.rglob("*.py"))
        assert any(CLOCK_AND_CHANCE.search(path.read_text(encoding="utf-8")) for path in files), one


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_names_say_what_a_thing_is(path: Path) -> None:
    assert not BANNED_NAMES.fullmatch(path.stem.rpartition("_")[2]), f"{path.stem} names nothing"
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef):
            assert not BANNED_NAMES.search(node.name), f"{node.name} names nothing"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            words = node.name.split("_")
            named = not node.name.startswith("test_") and any(map(BANNED_NAMES.fullmatch, words))
            assert not named, f"{node.name} names nothing"


@pytest.mark.parametrize("context", ["engines", "tenancy", "trade", "grid"])
def test_money_is_rounded_in_one_place(context: str) -> None:
    """That is `kernel.money.scale`."""
    for path in sorted((ROOT / "src" / "suanwang" / context).rglob("*.py")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            code = line.partition("#")[0]
            wrong = "micro_yuan" in code and '"' not in code and ROUNDS.search(code)
            assert not wrong, f"{name_of(path)}:{number} rounds money"


def test_money_is_never_a_float() -> None:
    pattern = re.compile(r"micro_yuan[a-z_]*\s*:\s*float")
    for path in SOURCES:
        assert not pattern.search(path.read_text(encoding="utf-8")), name_of(path)


def test_no_two_test_files_share_a_name() -> None:
    """pytest imports them by name: the second of two is not collected."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, times in sorted(names.items()) if times > 1] == []
