"""Pure decisions: what a link costs by distance, how a measurement changes it, quotas."""

from __future__ import annotations

import math

from suanwang.grid.data.model import GIB, Limits, Link, Usage
from suanwang.kernel.errors import InvalidInput, LimitExceeded
from suanwang.kernel.money import MICRO_PER_YUAN, scale
from suanwang.kernel.time import MS_PER_SECOND

EARTH_RADIUS_KM = 6_371
FIBRE_KM_PER_MS = 200
"""Light in glass: the speed of light over a refractive index of 1.5."""
PATH_STRETCH = 1.5
"""Length of real routes over the great circle; a planning figure."""
LOCAL_RTT_MS = 2.0
LOSS = 1e-5
"""A planning figure for a clean wide-area path."""
SEGMENT_BYTES = 1_448
STREAMS = 4
LINE_BYTES_PER_S = 125_000_000
"""1 Gbit/s: no default link is thought faster."""
FULL_PRICE_KM = 1_000
FULL_PRICE_MICRO_YUAN_PER_GIB = MICRO_PER_YUAN // 2
"""Half a yuan per GiB from a thousand kilometres on; a planning figure, as is the straight line."""
MAX_MS_PER_GIB = 1_000 * 3_600 * 1_000
MIN_MEASURED_BYTES = 1 << 20
"""Less says more about set-up than about the link."""


def distance_km(latitude: float, longitude: float, to_latitude: float, to_longitude: float) -> int:
    """Great-circle distance by the haversine formula (R. W. Sinnott, "Virtues of the haversine",
    Sky and Telescope 68(2), 1984)."""
    a, b = math.radians(latitude), math.radians(to_latitude)
    half_latitude = math.sin((b - a) / 2) ** 2
    half_longitude = math.sin(math.radians(to_longitude - longitude) / 2) ** 2
    chord = half_latitude + math.cos(a) * math.cos(b) * half_longitude
    return round(2 * EARTH_RADIUS_KM * math.asin(min(1.0, math.sqrt(chord))))


def link_by_distance(from_site: str, to_site: str, km: int) -> Link:
    """Time by TCP's steady rate over a lossy path, MSS / RTT x sqrt(3/2) / sqrt(p) per stream
    (Mathis, Semke, Mahdavi, Ott, Computer Communication Review 27(3), 1997), at most the line's.
    """
    rtt_s = (LOCAL_RTT_MS + 2 * km * PATH_STRETCH / FIBRE_KM_PER_MS) / 1_000
    stream = SEGMENT_BYTES / rtt_s * math.sqrt(1.5 / LOSS)
    rate = min(LINE_BYTES_PER_S, round(STREAMS * stream))
    return Link(
        from_site,
        to_site,
        scale(FULL_PRICE_MICRO_YUAN_PER_GIB, min(km, FULL_PRICE_KM), FULL_PRICE_KM),
        GIB * 1_000 // rate,
    )


def measured_ms_per_gib(earlier: int | None, size_bytes: int, ms: int) -> int | None:
    """Moving average of measurements, the newest for a quarter; None if it says too little."""
    if size_bytes < MIN_MEASURED_BYTES or ms < 1:
        return None
    latest = min(MAX_MS_PER_GIB, -(-ms * GIB // size_bytes))
    return latest if earlier is None else (3 * earlier + latest + 2) // 4


def check_link(micro_yuan_per_gib: int, ms_per_gib: int) -> None:
    if not 0 <= micro_yuan_per_gib <= 1_000 * MICRO_PER_YUAN:
        raise InvalidInput(
            "InvalidLinkPrice",
            "A link's price is 0 to 1,000 yuan per GiB.",
            field="micro_yuan_per_gib",
        )
    if not 0 <= ms_per_gib <= MAX_MS_PER_GIB:
        raise InvalidInput(
            "InvalidLinkTime",
            f"A link's time is 0 to {MAX_MS_PER_GIB // MS_PER_SECOND:,} seconds per GiB.",
            field="ms_per_gib",
        )


def check_quota(usage: Usage, pending_bytes: int, more_bytes: int, quota_bytes: int) -> None:
    """Room for `more_bytes` beside what is kept and what is being uploaded."""
    if usage.size_bytes + pending_bytes + more_bytes > quota_bytes:
        raise LimitExceeded(
            "StorageQuotaExceeded",
            f"{usage.size_bytes + pending_bytes:,} of your organisation's {quota_bytes:,} bytes "
            f"are taken; {more_bytes:,} more do not fit.",
            hint="Let old data expire, send less, or ask the operator for a larger quota.",
        )


def quota_of(limits: Limits, own_bytes: int | None) -> int:
    return limits.organisation_bytes if own_bytes is None else own_bytes
