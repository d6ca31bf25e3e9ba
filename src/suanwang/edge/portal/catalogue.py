"""Every sentence of the pages in both languages, from `catalogue.yaml`: key → [Chinese, English].

Sentences of the pure core arrive in English; `sentences` turns the known ones into Chinese.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

LANGUAGES = ("zh", "en")
FILE = Path(__file__).parent / "catalogue.yaml"


@cache
def catalogue() -> dict[str, tuple[str, str]]:
    loaded: dict[str, dict[str, list[str]]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return {
        f"{section}.{key}": (pair[0], pair[1])
        for section, entries in loaded.items()
        for key, pair in entries.items()
    }


def has(key: str) -> bool:
    return key in catalogue()


def say(language: str, key: str, **values: Any) -> str:
    """Raises KeyError for an unknown key: a page must not go out with holes."""
    text = catalogue()[key][LANGUAGES.index(language)]
    return text.format(**values) if values else text


def say_or(language: str, key: str, otherwise: str) -> str:
    """For names that others may add to: kinds of events, reasons, states."""
    return say(language, key) if has(key) else otherwise
