"""Token buckets: how fast a caller may go. Kept in this process, so N processes allow N times."""

from __future__ import annotations

from collections.abc import Hashable

_MOST = 100_000


class TokenBuckets:
    """One bucket per key, filled at `per_second` up to `burst`; a rate of 0 sets no limit."""

    __slots__ = ("_buckets", "_burst_us", "_cost_us")

    def __init__(self, per_second: float, burst: int) -> None:
        # integers, so that the first call of a full bucket is never a rounding error too many
        self._cost_us = max(1, round(1_000_000 / per_second)) if per_second > 0 else 0
        self._burst_us = self._cost_us * max(1, burst)
        # a bucket is one number: the instant, in microseconds, at which it will be full again
        self._buckets: dict[Hashable, int] = {}

    def take(self, key: Hashable, now_ms: int) -> int:
        """0 and one token less, or how many milliseconds to wait, with nothing taken."""
        if not self._cost_us:
            return 0
        now_us = now_ms * 1_000
        full_at_us = max(self._buckets.get(key, 0), now_us) + self._cost_us
        over_us = full_at_us - now_us - self._burst_us
        if over_us > 0:
            return -(-over_us // 1_000)
        if len(self._buckets) >= _MOST and key not in self._buckets:
            self._drop_full(now_us)
        self._buckets[key] = full_at_us
        return 0

    def wait_ms(self, key: Hashable, now_ms: int) -> int:
        """As `take`, taking nothing."""
        over_us = self._buckets.get(key, 0) + self._cost_us - now_ms * 1_000 - self._burst_us
        return -(-over_us // 1_000) if self._cost_us and over_us > 0 else 0

    def _drop_full(self, now_us: int) -> None:
        self._buckets = {key: at for key, at in self._buckets.items() if at > now_us}
        if len(self._buckets) >= _MOST:  # an attack from very many addresses
            self._buckets.clear()
