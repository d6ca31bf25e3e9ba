"""Figures as people read them: ages, durations, sizes, yuan, resources."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

SHORT_ID = 8
"""So many last characters of a job's id are shown, and enough to name it."""


def short(identity: str) -> str:
    return identity[-SHORT_ID:]


def instant_s(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()


def age(text: str | None, until: str | None = None) -> str:
    """From then until now, or until another instant."""
    since = instant_s(text)
    if since is None:
        return ""
    end = instant_s(until)
    return duration(max(0.0, (time.time() if end is None else end) - since))


def duration(seconds: float) -> str:
    """'0s', '45s', '3m10s', '2h05m', '3d04h'."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3_600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3_600}h{whole % 3_600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3_600:02d}h"


def size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def thousandths(milli: int) -> str:
    return f"{milli / 1000:g}"


def gib(mib: int) -> str:
    return f"{mib / 1024:.3g}" if mib < 102_400 else f"{mib / 1024:.0f}"


def yuan(money: Any) -> str:
    """The API's money: two decimals, and as many more as it takes to be exact."""
    if not money:
        return ""
    micro = int(money["micro_yuan"])
    whole, fraction = divmod(abs(micro), 1_000_000)
    decimals = f"{fraction:06d}".rstrip("0").ljust(2, "0")
    return f"{'-' if micro < 0 else ''}{whole:,}.{decimals}"


def local_time(text: str | None) -> str:
    """In the user's own zone, to the second."""
    if text is None:
        return ""
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def local_ms(at_ms: int | None) -> str:
    if at_ms is None:
        return ""
    return datetime.fromtimestamp(at_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")
