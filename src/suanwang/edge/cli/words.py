"""What the command line says: the English texts are the keys, zh.py has the Chinese.

SUAN_LANG decides (`zh` or `en`), else the locale. What the server says is shown as it is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping


def language_of(environ: Mapping[str, str]) -> str:
    """'zh' or 'en'."""
    for name in ("SUAN_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        if value := environ.get(name):
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"


def _catalogue() -> Mapping[str, str]:
    if language_of(os.environ) != "zh":
        return {}
    from suanwang.edge.cli.zh import CHINESE

    return CHINESE


_known = _catalogue()


def say(text: str, **values: object) -> str:
    """The text in the user's language, its {names} filled in."""
    found = _known.get(text, text)
    return found.format(**values) if values else found
