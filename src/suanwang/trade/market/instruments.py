"""Instruments as text, and which of them may be traded now. Pure.

a100-80g:henan:2026120108:24        class : zone : first UTC hour : hours
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from suanwang.kernel.errors import Conflict, InvalidInput
from suanwang.kernel.time import hour_of
from suanwang.trade.catalogue.model import Period, Product
from suanwang.trade.market.model import Instrument

FORM = re.compile(
    r"(?P<of>[a-z0-9][a-z0-9._-]{0,58}):(?P<zone>[^:/\s]{1,60}):(?P<at>\d{10}):(?P<hours>\d{1,3})"
)
HOURS = (1, 24, 168)
"""An hour; a day that begins at midnight in Shanghai; a week that begins on a Monday there."""
AHEAD_HOURS = 60 * 24
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SHANGHAI_HOURS = 8
MONDAY_DAYS = 4
"""1970-01-05, the first Monday."""


@lru_cache(maxsize=16_384)
@lru_cache(maxsize=16_384)
def name_of(instrument: Instrument) -> str:
    product = instrument.product
    return f"{product.unit_class}:{product.zone}:{suffix_of(instrument.period)}"


def suffix_of(period: Period) -> str:
    """The period's part of an instrument's name."""
    at = (EPOCH + timedelta(hours=period.first_hour)).strftime("%Y%m%d%H")
    return f"{at}:{period.hours}"


@lru_cache(maxsize=16_384)
def parse(text: str) -> Instrument:
    """Raises InvalidInput. The inverse of `name_of`."""
    found = FORM.fullmatch(text)
    hour = _hour(found["at"]) if found else None
    if found is None or hour is None:
        raise InvalidInput(
            "InvalidInstrument",
            f"{text!r} is not an instrument.",
            hint="Write class:zone:first UTC hour:hours, such as a100-80g:henan:2026120108:24.",
            field="instrument",
        )
    return Instrument(Product(found["of"], found["zone"]), Period(hour, int(found["hours"])))


def _hour(text: str) -> int | None:
    try:
        moment = datetime.strptime(text, "%Y%m%d%H").replace(tzinfo=UTC)
    except ValueError:
        return None
    return (moment - EPOCH) // timedelta(hours=1)


def require_tradable(instrument: Instrument, now_ms: int) -> None:
    """Raises unless it is a standard period that has not begun and is not too far off."""
    period = instrument.period
    local = period.first_hour + SHANGHAI_HOURS
    whole = {
        1: True,
        24: local % 24 == 0,
        168: local % 24 == 0 and (local // 24 - MONDAY_DAYS) % 7 == 0,
    }
    if not whole.get(period.hours, False):
        raise InvalidInput(
            "InvalidPeriod",
            f"{name_of(instrument)} is not a standard period.",
            hint="Trade an hour, a day from midnight or a week from Monday (Asia/Shanghai); "
            "other periods by listing, quotation or a deal.",
            field="instrument",
        )
    if period.from_ms <= now_ms:
        raise Conflict(
            "DeliveryBegun",
            f"The delivery of {name_of(instrument)} has begun.",
            hint="Trade a later period, or buy what is listed from now on.",
        )
    if period.first_hour > hour_of(now_ms) + AHEAD_HOURS:
        raise InvalidInput(
            "TooFarAhead",
            f"{name_of(instrument)} is more than {AHEAD_HOURS // 24} days off.",
            hint="Ask for a quotation instead.",
            field="instrument",
        )


def standard_periods(now_ms: int, days: int = 7) -> list[Period]:
    """What people trade most: the hours until tomorrow's end, then days, then weeks."""
    now = hour_of(now_ms) + 1
    midnight = now + (-(now + SHANGHAI_HOURS)) % 24
    hours = [Period(at, 1) for at in range(now, midnight + 24)]
    whole_days = [Period(midnight + 24 * at, 24) for at in range(days)]
    day = (midnight + SHANGHAI_HOURS) // 24
    monday = midnight + 24 * ((MONDAY_DAYS - day) % 7)
    return [*hours, *whole_days, *(Period(monday + 168 * at, 168) for at in range(4))]
