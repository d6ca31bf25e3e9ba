"""Every text of the command line has its Chinese, with the same blanks."""

from __future__ import annotations

import ast
import json
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from suanwang.edge.cli import words

SOURCES = sorted(words.CATALOGUE.parent.glob("*.py"))
CATALOGUE = json.loads(words.CATALOGUE.read_text(encoding="utf-8"))


def _constants(node: ast.expr) -> Iterator[str]:
    for found in ast.walk(node):
        if isinstance(found, ast.Constant) and isinstance(found.value, str):
            yield found.value


def _texts(path: Path) -> Iterator[str]:
    """First words of say(…), summaries of commands, help of options, headings of tables."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name == "say" and node.args and isinstance(node.args[0], ast.Constant):
                yield str(node.args[0].value)
            elif name == "Command":
                yield from _constants(node.args[2])
            elif name == "_switch":
                yield from _constants(node.args[1])
            elif name in ("option", "flag"):
                yield from (
                    t for k in node.keywords if k.arg == "help" for t in _constants(k.value)
                )
        elif isinstance(node, ast.ListComp) and getattr(node.elt, "func", None) is not None:
            if getattr(node.elt.func, "id", "") == "say":  # type: ignore[attr-defined]
                yield from _constants(node.generators[0].iter)
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "headings":
            yield from _constants(node.value)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_every_text_has_its_chinese(path: Path) -> None:
    missing = {text for text in _texts(path) if text and text not in CATALOGUE["texts"]}
    assert not missing


def _blanks(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_translations_fill_the_same_blanks() -> None:
    whole = {t for path in SOURCES for t in _texts(path) if "{" in t and "outputs:" not in t}
    assert whole, "the sources were read"
    for text in whole:
        assert _blanks(text) == _blanks(CATALOGUE["texts"][text]), text


@pytest.mark.parametrize(
    ("environ", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "SUAN_LANG": "en"}, "en"),
        ({"LANG": "en_GB.UTF-8", "LC_ALL": "zh_TW"}, "zh"),
        ({"LANG": "C"}, "en"),
    ],
)
def test_language_by_environment(environ: dict[str, str], language: str) -> None:
    assert words.language_of(environ) == language
