"""Every sentence of the pages in both languages, from `texts/`: key → [Chinese, English].

A file an area; a section may go on in another file, a key is in one only.

Sentences of the pure core arrive in English; `sentences` turns the known ones into Chinese.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from suanwang.kernel.errors import require

LANGUAGES = ("zh", "en")
FILES = sorted((Path(__file__).parent / "texts").glob("*.yaml"))


@cache
def catalogue() -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for file in FILES:
        loaded: dict[str, dict[str, list[str]]] = yaml.safe_load(file.read_text(encoding="utf-8"))
        for section, entries in loaded.items():
            for key, pair in entries.items():
                require(f"{section}.{key}" not in found, "TextTwice", f"{section}.{key}: {file}")
                found[f"{section}.{key}"] = pair[0], pair[1]
    return found


def has(key: str) -> bool:
    return key in catalogue()


def say(language: str, key: str, **values: Any) -> str:
    """Raises KeyError for an unknown key: a page must not go out with holes."""
    text = catalogue()[key][LANGUAGES.index(language)]
    return text.format(**values) if values else text


def say_or(language: str, key: str, otherwise: str) -> str:
    """For names that others may add to: kinds of events, reasons, states."""
    return say(language, key) if has(key) else otherwise
