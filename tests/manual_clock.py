"""A clock that stands still until the test moves it."""

from __future__ import annotations

START_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z."""


class ManualClock:
    def __init__(self, now_ms: int = START_MS) -> None:
        self.at_ms = now_ms

    def now_ms(self) -> int:
        return self.at_ms

    def advance(self, *, s: int = 0, ms: int = 0) -> None:
        self.at_ms += s * 1_000 + ms
