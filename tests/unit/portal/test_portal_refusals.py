"""Whatever the exchange refuses is told to a Chinese reader in Chinese: what, and what to do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import suanwang
from suanwang.edge.portal import catalogue, reasons
from suanwang.edge.portal.entries import About, about
from suanwang.kernel.errors import Conflict

HERE = Path(suanwang.__file__).parent
SOURCES = sorted(
    path
    for folder in ("trade/market", "trade/contracts", "trade/settlement", "trade/policy")
    for path in (HERE / folder).glob("*.py")
)
BY_PROGRAMS = {"InvalidProgramme", "InvalidGrouping"}
"""Of files that the operator publishes by the command line, and of calls that no page makes."""
CHINESE = re.compile(r"[\u4e00-\u9fff]")


def refusals(path: Path) -> Iterator[str]:
    """Reasons of the errors that a module makes: they have a hint."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        first = node.args[0]
        if (
            any(one.arg == "hint" for one in node.keywords)
            and isinstance(first, ast.Constant)
            and re.fullmatch(r"([A-Z][a-z]+)+", str(first.value))
        ):
            yield str(first.value)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_refusal_has_its_words_in_both_languages(path: Path) -> None:
    for reason in sorted(set(refusals(path)) - BY_PROGRAMS):
        assert catalogue.has(f"error.{reason}"), reason
        assert catalogue.has(f"hint.{reason}"), reason
        told = reasons.problem("zh", Conflict(reason, "In English.", hint="Do it so."))
        assert CHINESE.search(told.title)
        assert CHINESE.search(told.hint)


def test_refusals_were_found() -> None:
    assert len({reason for path in SOURCES for reason in refusals(path)}) > 60


def test_fields_go_by_their_names() -> None:
    found = [
        {"loc": ("body", "terms", "cancel_hours"), "type": "int_type", "msg": "x"},
        {"loc": ("starts_at",), "type": "datetime_type", "msg": "x"},
    ]
    told = reasons.invalid("zh", found)
    assert "开始时间：请选择日期和时间" in told.message
    assert told.fields["starts_at"] == "请选择日期和时间"
    assert "beginning: choose a date" in reasons.invalid("en", found).message


@pytest.mark.parametrize(
    ("key", "english", "url"),
    [
        ("charge:site_1/con_2.0.498928", "Contract con_2 · 2026-12-02 00:00", "/contracts/con_2"),
        ("credit:con_2.498928", "Contract con_2 · 2026-12-02 00:00", "/contracts/con_2"),
        ("end:con_2", "Contract con_2", "/contracts/con_2"),
        ("charge:site_1/lea_3.1.498928", "Usage at 郑州 · lea_3 · 2026-12-02 00:00", ""),
        ("charge:site_9/lea_3", "Usage at site_9 · lea_3", ""),
        ("adjust:prj_1:case-7", "Reference case-7", ""),
        ("payout.paid:pay_4", "Payout pay_4", "/finance/payouts/pay_4"),
        ("dispute:dsp_5", "Dispute dsp_5", "/finance/disputes/dsp_5"),
        ("top_up:prj_1:ICBC: 7", "Payment ICBC: 7", ""),
        ("reverse:ent_6", "Reversal of ent_6", ""),
        ("what:ever", "ever", ""),
        ("bare", "bare", ""),
    ],
)
def test_entries_are_about_something(key: str, english: str, url: str) -> None:
    assert about("en", key, {"site_1": "郑州"}) == About(english, url)
    assert not re.match(r"[a-z_]+:", about("zh", key, {}).text)
