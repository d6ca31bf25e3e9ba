"""How people write sizes and durations: 512MiB, 64G, 90m, 1h30m, 2d."""

from __future__ import annotations

import re

_MIB_PER_UNIT = {
    "": 1024,  # a bare number means GiB, as launchers have it
    "m": 1,
    "mb": 1,
    "mib": 1,
    "g": 1024,
    "gb": 1024,
    "gib": 1024,
    "t": 1024 * 1024,
    "tb": 1024 * 1024,
    "tib": 1024 * 1024,
}
_SECONDS_PER_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])", re.IGNORECASE)
MAX_SIZE_MIB = 1 << 40
MAX_DURATION_S = 366 * 86400


def parse_mib(text: str | int | float) -> int:
    """Whole MiB, at least 1; a bare number is GiB. Raises ValueError."""
    match = _SIZE.match(str(text))
    unit = match.group(2).lower() if match else "?"
    if match is None or unit not in _MIB_PER_UNIT:
        raise ValueError(f"{str(text)[:40]!r} is not a size; write 512MiB, 64GiB or 64 (GiB)")
    mib = float(match.group(1)) * _MIB_PER_UNIT[unit]
    if not 0 <= mib <= MAX_SIZE_MIB:
        raise ValueError(f"{str(text)[:40]!r} is out of range")
    return max(round(mib), 1) if mib else 0


def parse_seconds(text: str | int | float) -> int:
    """Whole seconds; a bare number is seconds. Raises ValueError."""
    raw = str(text).strip()
    if re.fullmatch(r"\d+(\.\d+)?", raw):
        seconds = float(raw)
    else:
        pieces = _DURATION.findall(raw)
        rest = _DURATION.sub("", raw).strip()
        if not pieces or rest:
            raise ValueError(f"{raw[:40]!r} is not a duration; write 90s, 15m, 1h30m or 2d")
        seconds = sum(float(number) * _SECONDS_PER_UNIT[unit.lower()] for number, unit in pieces)
    if not 0 <= seconds <= MAX_DURATION_S:
        raise ValueError(f"{raw[:40]!r} is out of range (at most a year)")
    return round(seconds)
