"""Style kept by a test: sizes, banned calls, docstrings. Each rule says why when it fails."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
ALL = SOURCES + sorted((ROOT / "tests").rglob("*.py")) + sorted((ROOT / "bench").rglob("*.py"))
MAX_FILE = 500
MAX_FUNCTION = 70

CLOCK_AND_CHANCE = re.compile(
    r"\b(time\.time|time\.time_ns|time\.monotonic|datetime\.now|datetime\.utcnow|uuid\.uuid\d|"
    r"random\.(random|randint|choice|shuffle|uniform)|secrets\.token)\b"
)
MAY_READ_CLOCKS = (
    "suanwang/platform/",
    "suanwang/agent/machine.py",
    "suanwang/agent/main.py",
    "suanwang/agent/records.py",
    "suanwang/agent/transfer.py",
    "suanwang/agent/drivers/",
    "suanwang/edge/",
    "suanwang/demo/",
    "suanwang/sim/",
    "suanwang/tenancy/",
)
BANNED_NAMES = re.compile(r"(manager|helper|utils?|processor)", re.IGNORECASE)


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
    if any(part in str(path) for part in MAY_READ_CLOCKS):
        return
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        found = CLOCK_AND_CHANCE.search(line)
        assert not found, f"line {number}: take a Clock or Random as an argument, not {found}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_names_say_what_a_thing_is(path: Path) -> None:
    assert not BANNED_NAMES.fullmatch(path.stem), f"{path.stem} names nothing"
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef):
            assert not BANNED_NAMES.search(node.name), f"{node.name} names nothing"


def test_money_is_never_a_float() -> None:
    pattern = re.compile(r"micro_yuan[a-z_]*\s*:\s*float")
    for path in SOURCES:
        assert not pattern.search(path.read_text(encoding="utf-8")), name_of(path)
