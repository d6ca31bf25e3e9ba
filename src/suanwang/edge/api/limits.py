"""Token buckets: how fast a caller may go. Kept in this process, so N processes allow N times."""

from __future__ import annotations

import math
from collections.abc import Hashable

_MOST = 100_000


class TokenBuckets:
    """One bucket per key, filled at `per_second` up to `burst`; a rate of 0 sets no limit."""

    __slots__ = ("_buckets", "_burst_ms", "_cost_ms")

    def __init__(self, per_second: float, burst: int) -> None:
        # a bucket is one number: the instant at which it will be full again
        self._cost_ms = 1_000 / per_second if per_second > 0 else 0.0
        self._burst_ms = self._cost_ms * burst
        self._buckets: dict[Hashable, float] = {}

    def take(self, key: Hashable, now_ms: int) -> int:
        """0 and one token less, or how many milliseconds to wait, with nothing taken."""
        if not self._cost_ms:
            return 0
        full_at = self._buckets.get(key, 0.0)
        if full_at < now_ms:
            full_at = float(now_ms)
        full_at += self._cost_ms
        over_ms = full_at - now_ms - self._burst_ms
        if over_ms > 0:
            return math.ceil(over_ms)
        if len(self._buckets) >= _MOST and key not in self._buckets:
            self._drop_full(now_ms)
        self._buckets[key] = full_at
        return 0

    def wait_ms(self, key: Hashable, now_ms: int) -> int:
        """As `take`, taking nothing."""
        over_ms = self._buckets.get(key, 0.0) + self._cost_ms - now_ms - self._burst_ms
        return math.ceil(over_ms) if self._cost_ms and over_ms > 0 else 0

    def _drop_full(self, now_ms: int) -> None:
        self._buckets = {key: at for key, at in self._buckets.items() if at > now_ms}
        if len(self._buckets) >= _MOST:  # an attack from very many addresses
            self._buckets.clear()
