"""The real clock and randomness; the only place outside agents and the CLI that reads them."""

from __future__ import annotations

import secrets
import time


class SystemClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class SystemRandom:
    def getrandbits(self, k: int, /) -> int:
        return secrets.randbits(k)
