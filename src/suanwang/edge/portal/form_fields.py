"""Fields of forms as the API takes them, and back: instants of Shanghai, whole numbers, yuan. Pure.

What is no number and no instant goes on as it was typed: the API says what is wrong, at the field.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from suanwang.edge.portal import formats
from suanwang.kernel.time import MS_PER_HOUR

SHANGHAI = "+08:00"


def moment(text: str) -> str | None:
    """A browser's local instant as one in Asia/Shanghai."""
    text = text.strip()
    return f"{text}{SHANGHAI}" if text else None


def local(text: str | None) -> str:
    """The API's instant as a browser's field of local instants takes it, in Asia/Shanghai."""
    return "" if text is None else _field(round(datetime.fromisoformat(text).timestamp() * 1000))


def field_time(hour: int) -> str:
    """A UTC hour as such a field has it."""
    return _field(hour * MS_PER_HOUR)


def _field(at_ms: int) -> str:
    return formats.local(at_ms).strftime("%Y-%m-%dT%H:%M")


def yuan(text: str) -> dict[str, str] | None:
    return {"yuan": text.strip()} if text.strip() else None


def whole(text: str) -> Any:
    """An integer if it is one; None of nothing."""
    text = text.strip()
    is_number = text.isascii() and text.removeprefix("-").isdecimal() and len(text) < 20
    return int(text) if is_number else text or None


def product(text: str) -> dict[str, str]:
    """Of 'class:zone'."""
    unit_class, _, zone = text.partition(":")
    return {"unit_class": unit_class, "zone": zone}
