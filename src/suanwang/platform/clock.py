"""The real clock and randomness; the only place outside agents and the CLI that reads them."""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path

from suanwang.kernel.time import Clock


class SystemClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class RehearsalClock:
    """A clock that may be put forward, so that a day of trading and delivery can be rehearsed in
    minutes. How far it is ahead is kept in a file: a restart does not turn time back."""

    def __init__(self, path: Path, beneath: Clock) -> None:
        self._path, self._beneath = path, beneath
        self._ahead_ms = int(json.loads(path.read_text())["ahead_ms"]) if path.exists() else 0

    def now_ms(self) -> int:
        return self._beneath.now_ms() + self._ahead_ms

    def advance_to(self, at_ms: int) -> None:
        """Raises ValueError for an instant that has passed."""
        ahead_ms = at_ms - self._beneath.now_ms()
        if ahead_ms < self._ahead_ms:
            raise ValueError("time does not go back")
        self._path.write_text(json.dumps({"ahead_ms": ahead_ms}))
        self._ahead_ms = ahead_ms


class SystemRandom:
    def getrandbits(self, k: int, /) -> int:
        return secrets.randbits(k)
