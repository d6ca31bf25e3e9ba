"""Refusals and errors in the reader's language: a named reason, a sentence, what to do next.

The core and the services speak English. Named reasons have entries in the catalogue; sentences
with figures in them are recognised by their form. What is not known is shown as it came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from suanwang.edge.portal import catalogue
from suanwang.kernel.errors import SuanwangError

FILE = Path(__file__).parent / "sentences.yaml"
_IDS = re.compile(r"\b(?:pool|site|proj|prj|project|job|org)_[0-9A-Za-z]{10,}\b")

_WORDS = {
    "cores": "核",
    "cards": "卡",
    "GiB memory": "GiB 内存",
    "GiB disk": "GiB 磁盘",
    "nothing": "无",
    "no accelerators": "没有加速卡",
    "an accelerator": "加速卡",
}
_SPANS = ((" days", " 天"), (" min", " 分钟"), (" h", " 小时"), (" s", " 秒"))


def _span(text: str) -> str:
    for english, chinese in _SPANS:
        if text.endswith(english):
            return text.removesuffix(english) + chinese
    return text


def _amounts(text: str) -> str:
    for english, chinese in sorted(_WORDS.items(), key=lambda pair: -len(pair[0])):
        text = text.replace(english, chinese)
    return text.replace(", ", "、")


_CHANGES: Mapping[str, Callable[[str], str]] = {"span": _span, "amounts": _amounts}
_HOLE = re.compile(r"\{(\d)(?::(\w+))?\}")


@cache
def _forms(kind: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    loaded: dict[str, list[list[str]]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return tuple((re.compile(form), chinese) for form, chinese in loaded[kind])


def sentence(language: str, text: str, names: Mapping[str, str] | None = None) -> str:
    """A sentence of the core, with names instead of ids."""
    text = _IDS.sub(lambda m: (names or {}).get(m.group(0), m.group(0)), text)
    if language != "zh" or not text:
        return text
    head, colon, rest = text.partition(": ")
    if colon and catalogue.has(f"reason.{head}"):
        named = catalogue.say(language, f"reason.{head}")
        return f"{named}：{sentence(language, rest)}".rstrip("：")
    return _translated("core", text)


def _translated(kind: str, text: str) -> str:
    for form, chinese in _forms(kind):
        match = form.fullmatch(text)
        if match:
            return _filled(chinese, match.groups())
    return text


def _filled(form: str, parts: tuple[str, ...]) -> str:
    def fill(hole: re.Match[str]) -> str:
        part = parts[int(hole.group(1))]
        return _CHANGES[hole.group(2)](part) if hole.group(2) else part

    return _HOLE.sub(fill, form)


@dataclass(frozen=True)
class Problem:
    """An error as a page shows it; `fields` says which fields to mend, and how."""

    reason: str
    title: str
    message: str
    hint: str = ""
    status: int = 400
    fields: dict[str, str] = field(default_factory=dict)


def problem(language: str, error: SuanwangError) -> Problem:
    """The catalogue's words for the reason if it has them, else the error's own."""
    reason, message, hint = error.reason, error.message, error.hint
    title = catalogue.say_or(language, f"error.{reason}", "")
    if title and language == "zh":
        hint = catalogue.say_or(language, f"hint.{reason}", hint)
        said = _translated("errors", message)
        message = "" if said == message else said  # the title says it in the reader's language
    if not title:
        title = catalogue.say_or(
            language, f"error.Status{error.status}", catalogue.say(language, "error.Other")
        )
    fields = {error.field: message or title} if error.field else {}
    return Problem(reason, title, message, hint, error.status, fields)


def invalid(language: str, found: list[Any]) -> Problem:
    """Pydantic's findings, field by field."""
    fields: dict[str, str] = {}
    for item in found[:20]:
        where = ".".join(str(part) for part in item["loc"] if part != "body")
        text = str(item["msg"]).removeprefix("Value error, ")
        key = f"field.{item['type']}"
        if catalogue.has(key):
            figures = {name: _figure(value) for name, value in item.get("ctx", {}).items()}
            text = catalogue.say(language, key).format(**figures)
        elif language == "zh":
            text = _translated("values", text)
        fields.setdefault(where, text)
    colon = ": " if language == "en" else "："
    message = "; ".join(
        f"{_called(language, where)}{colon}{text}" if where else text
        for where, text in fields.items()
    )
    return Problem(
        "InvalidInput",
        catalogue.say(language, "error.InvalidInput"),
        message,
        catalogue.say(language, "hint.InvalidInput"),
        422,
        fields,
    )


def _called(language: str, where: str) -> str:
    """A field by its name on the page: 'terms.cancel_hours' goes by its last part."""
    return catalogue.say_or(language, f"field_name.{where.rpartition('.')[2]}", where)


def _figure(value: Any) -> Any:
    """Bounds without an idle fraction."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
