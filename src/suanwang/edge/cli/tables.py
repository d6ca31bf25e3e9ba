"""Plain tables and colours: columns as wide as they need to be, Chinese counted as two.

Loading a library for this would cost more than the whole command.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TextIO

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
STATE_STYLES = {
    "succeeded": "green",
    "failed": "red",
    "refused": "red",
    "running": "cyan",
    "leased": "cyan",
    "cancelled": "dim",
    "active": "green",
    "open": "green",
    "unreachable": "red",
    "draining": "yellow",
}


def has_colours(to: TextIO) -> bool:
    return to.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def styled(text: str, style: str | None, to: TextIO | None = None) -> str:
    """`to` is where it will be printed, stdout by default."""
    wanted = style and has_colours(to or sys.stdout)
    return f"\x1b[{_STYLES[style or 'dim']}m{text}\x1b[0m" if wanted else text


def width(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def shown(text: str) -> str:
    """Without what could steer the terminal: names and details are other people's."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def cut(text: str, most: int) -> str:
    """At most so many columns, the last of them an ellipsis."""
    if width(text) <= most:
        return text
    kept, used = [], 1
    for character in text:
        used += width(character)
        if used > most:
            break
        kept.append(character)
    return "".join(kept) + "…"


def render(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Sequence[int] = (),
    states: int | None = None,
    to: TextIO | None = None,
) -> list[str]:
    """Lines. `right` columns hold figures; `states` is the column to colour by its word; the last
    column gives way where a terminal is narrower."""
    to = to or sys.stdout
    table = [list(headings), *([shown(str(cell)) for cell in row] for row in rows)]
    widths = [max(width(row[i]) for row in table) for i in range(len(headings))]
    if to.isatty() and len(widths) > 1:
        room = os.get_terminal_size(to.fileno()).columns
        taken = sum(widths[:-1]) + 2 * (len(widths) - 1)
        widths[-1] = max(8, min(widths[-1], room - taken))
    lines = []
    for number, row in enumerate(table):
        cells = []
        for i, cell in enumerate(row):
            text = cut(cell, widths[i])
            space = " " * (widths[i] - width(text))
            style = "bold" if number == 0 else STATE_STYLES.get(cell) if i == states else None
            text = styled(text, style, to)
            cells.append(space + text if i in right else text + space)
        lines.append("  ".join(cells).rstrip())
    return lines


def show(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Sequence[int] = (),
    states: int | None = None,
    to: TextIO | None = None,
) -> None:
    lines = render(headings, rows, right=right, states=states, to=to)
    print("\n".join(lines), file=to or sys.stdout, flush=True)


def show_fields(fields: Iterable[tuple[str, str]], *, states: str | None = None) -> None:
    """Name and value, one to a line; empty values are left out. `states` names the field whose
    value is a state."""
    kept = [(name, shown(value)) for name, value in fields if value]
    longest = max((width(name) for name, _ in kept), default=0)
    for name, value in kept:
        style = STATE_STYLES.get(value) if name == states else None
        space = " " * (longest - width(name))
        print(f"{styled(name, 'bold')}{space}  {styled(value, style)}")
