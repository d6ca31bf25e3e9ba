"""`.suanignore`: which files of a folder stay at home. A subset of .gitignore's rules.

One pattern a line; `#` begins a comment, `!` takes a file back in, the last match decides. `*` and
`?` stop at `/`, `**` does not; `[abc]` is a set. A pattern with a `/` before its end is anchored
at the folder, others match at any depth; one that ends in `/` matches folders only. What lies in a
folder that is left out cannot be taken back in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

NAME = ".suanignore"
ALWAYS = (".suanignore", ".suan-partial/", ".git/", "__pycache__/", ".DS_Store")


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: re.Pattern[str]
    keep: bool
    folders_only: bool


class Ignore:
    """Answers for paths relative to the folder, with `/` between names."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self._rules = [rule for line in (*ALWAYS, *lines) if (rule := _rule(line)) is not None]

    def leaves_out(self, path: str, *, is_folder: bool) -> bool:
        for rule in reversed(self._rules):
            if (is_folder or not rule.folders_only) and rule.pattern.fullmatch(path):
                return not rule.keep
        return False


def _rule(line: str) -> _Rule | None:
    text = line.rstrip("\r\n").rstrip(" ")
    if not text or text.startswith("#"):
        return None
    keep = text.startswith("!")
    text = text.removeprefix("!").removeprefix("\\")
    folders_only = text.endswith("/")
    text = text.rstrip("/")
    anchored = "/" in text
    text = text.lstrip("/")
    if not text:
        return None
    expression = _expression(text)
    return _Rule(
        re.compile(expression if anchored else f"(?:.*/)?{expression}"), keep, folders_only
    )


def _expression(text: str) -> str:
    out = []
    at = 0
    while at < len(text):
        if text.startswith("**/", at):
            out.append("(?:.*/)?")
            at += 3
        elif text.startswith("**", at):
            out.append(".*")
            at += 2
        elif text[at] == "*":
            out.append("[^/]*")
            at += 1
        elif text[at] == "?":
            out.append("[^/]")
            at += 1
        elif text[at] == "[" and (end := text.find("]", at + 2)) > 0:
            inside = text[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            inside = f"^/{inside[1:]}" if inside[0] in "!^" else inside
            out.append(f"[{inside}]")
            at = end + 1
        else:
            out.append(re.escape(text[at]))
            at += 1
    return "".join(out)
