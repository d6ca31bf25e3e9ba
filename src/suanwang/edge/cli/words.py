"""What the command line says: the English texts are the keys, zh.json has the Chinese.

SUAN_LANG decides (`zh` or `en`), else the locale. What the server says is shown as it is, in
Chinese after a word of what it is about.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

CATALOGUE = Path(__file__).with_name("zh.json")


def language_of(environ: Mapping[str, str]) -> str:
    """'zh' or 'en'."""
    for name in ("SUAN_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        if value := environ.get(name):
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"


def _catalogue() -> Mapping[str, Mapping[str, str]]:
    if language_of(os.environ) != "zh":
        return {}
    import json

    found: dict[str, dict[str, str]] = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    return found


_known = _catalogue()
_texts = _known.get("texts", {})


def say(text: str, **values: object) -> str:
    """The text in the user's language, its {names} filled in."""
    found = _texts.get(text, text)
    return found.format(**values) if values else found


def about(reason: str) -> str:
    """What an error of this reason is about; '' in English, where its sentence says enough."""
    return _known.get("reasons", {}).get(reason, "")
