"""Time is an argument. Instants are integer milliseconds since the epoch, UTC."""

from __future__ import annotations

from typing import Protocol

MS_PER_SECOND = 1_000
MS_PER_MINUTE = 60 * MS_PER_SECOND
MS_PER_HOUR = 60 * MS_PER_MINUTE
MS_PER_DAY = 24 * MS_PER_HOUR


class Clock(Protocol):
    """A source of instants; the platform has a real one, the simulation a virtual one."""

    def now_ms(self) -> int: ...


class Random(Protocol):
    """A source of random bits, seeded in simulation."""

    def getrandbits(self, k: int, /) -> int: ...


def hour_of(at_ms: int) -> int:
    """Index of the UTC hour that contains the instant."""
    return at_ms // MS_PER_HOUR


def split_by_hour(start_ms: int, end_ms: int) -> list[tuple[int, int, int]]:
    """Cut [start, end) at hours into (hour index, start_ms, end_ms); empty if end <= start."""
    pieces = []
    at = start_ms
    while at < end_ms:
        hour = hour_of(at)
        until = min(end_ms, (hour + 1) * MS_PER_HOUR)
        pieces.append((hour, at, until))
        at = until
    return pieces
