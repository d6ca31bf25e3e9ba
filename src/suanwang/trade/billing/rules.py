"""Decisions of billing: what a resource costs, how a run becomes usage, which month it is in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from suanwang.kernel.errors import InvalidInput, require
from suanwang.kernel.money import scale
from suanwang.kernel.resources import Resources
from suanwang.kernel.time import MS_PER_DAY, MS_PER_HOUR, MS_PER_SECOND, hour_of, split_by_hour
from suanwang.trade.billing.model import HourlyPrices, Run, UsageRecord

SECONDS_PER_HOUR = 3_600
SHANGHAI_MS = 8 * MS_PER_HOUR
"""Asia/Shanghai is eight hours ahead of UTC, all year."""
BOOKS_OPEN_MS = 3 * MS_PER_DAY
"""Usage that arrives so long after its month still counts in it, unless its day has been closed
before (`open_from_ms` of the ledger); later, in the month it arrives."""

# Prices are per core, GiB and card, quantities in 1/1000 core, MiB and 1/1000 card. Brought to
# the common denominator of 1000 and 1024, a price needs one division and one rounding.
_UNIT = 128_000
_PER_MILLI = _UNIT // 1_000
_PER_MIB = _UNIT // 1_024


def _weighed(prices: HourlyPrices, core_milli: int, memory_mib: int, card_milli: int) -> int:
    """Price x quantity over all meters, in micro-yuan x _UNIT."""
    return (
        prices.core_hour * core_milli + prices.accelerator_hour * card_milli
    ) * _PER_MILLI + prices.memory_gib_hour * memory_mib * _PER_MIB


def rate(prices: HourlyPrices, resources: Resources, members: int = 1) -> int:
    """Micro-yuan per hour of a whole gang; rounded once."""
    weighed = _weighed(
        prices, resources.cpu_milli, resources.memory_mib, resources.accelerator_milli
    )
    return scale(weighed * members, 1, _UNIT)


def amount_of(record: UsageRecord, prices: HourlyPrices) -> int:
    """Micro-yuan of a usage record; rounded once for the record, not once for each meter."""
    weighed = _weighed(
        prices,
        record.core_milli_seconds,
        record.memory_mib_seconds,
        record.accelerator_milli_seconds,
    )
    return scale(weighed, 1, _UNIT * SECONDS_PER_HOUR)


def hold_for(prices: HourlyPrices, resources: Resources, members: int, seconds: int) -> int:
    """What must be set aside for a run of at most so many seconds: never less than its charges.

    Each hour that the run may touch is rounded by itself, so half a micro-yuan is added for each.
    """
    weighed = _weighed(
        prices, resources.cpu_milli, resources.memory_mib, resources.accelerator_milli
    )
    hours = seconds // SECONDS_PER_HOUR + 2
    return -(-weighed * members * seconds // (_UNIT * SECONDS_PER_HOUR)) + (hours if weighed else 0)


def _seconds(elapsed_ms: int) -> int:
    """Whole seconds, the begun one included."""
    return -(-elapsed_ms // MS_PER_SECOND)


def _start(run: Run, started_at_ms: int, known_at_ms: int) -> int:
    """No run starts before its grant or after we heard of it, whatever clocks say."""
    return min(max(started_at_ms, run.granted_at_ms), max(known_at_ms, run.granted_at_ms))


def _record(
    run: Run, start_ms: int, piece: tuple[int, int, int], *, cpu_ms: int = 0, final: bool = False
) -> UsageRecord:
    hour, from_ms, until_ms = piece
    # differences of one rounded running total: the pieces sum to the rounded whole
    seconds = _seconds(until_ms - start_ms) - _seconds(from_ms - start_ms)
    held = seconds * run.members
    need = run.resources
    return UsageRecord(
        run.site_id,
        f"{run.lease_id}.{run.epoch}.{hour}",
        run.lease_id,
        run.epoch,
        run.task_id,
        run.job_id,
        run.organisation_id,
        run.project_id,
        run.user_id,
        run.provider_organisation_id,
        run.site_id,
        run.pool_id,
        run.price_list_id,
        hour,
        from_ms,
        until_ms,
        seconds,
        need.cpu_milli * held,
        need.memory_mib * held,
        need.accelerator_milli * held,
        cpu_ms,
        final,
        run.held_micro_yuan if final else 0,
    )


def end_of_run(
    run: Run,
    *,
    started_at_ms: int,
    ended_at_ms: int,
    known_at_ms: int,
    measured_ms: int | None = None,
) -> int:
    """When a run ended, as billing sees it; the arguments are those of `usage_of_run`."""
    start_ms = _start(run, started_at_ms, known_at_ms)
    length_ms = ended_at_ms - start_ms if measured_ms is None else measured_ms
    if run.max_billable_s is not None:
        length_ms = min(length_ms, run.max_billable_s * MS_PER_SECOND)
    return max(start_ms, min(start_ms + length_ms, known_at_ms))


def usage_of_run(
    run: Run,
    *,
    started_at_ms: int | None,
    ended_at_ms: int,
    known_at_ms: int,
    measured_ms: int | None = None,
    cpu_ms: int = 0,
    metered_until_ms: int = 0,
) -> list[UsageRecord]:
    """What is left to record of a run that has ended: its hours from `metered_until_ms` on.

    One record for each UTC hour touched, the last one final. Instants are on the control plane's
    clock; `known_at_ms` is when it heard of the end, and nothing is billed beyond it.
    `measured_ms`, the run's length on the site's monotonic clock, is taken before the difference
    of instants. `metered_until_ms` is the end of the last record that `usage_so_far` gave. A run
    that never started gives one record of no seconds, which ends its hold; so does one of which
    all is recorded.
    """
    if started_at_ms is None:
        at_ms = min(max(ended_at_ms, run.granted_at_ms), max(known_at_ms, run.granted_at_ms))
        return [_record(run, at_ms, (hour_of(at_ms), at_ms, at_ms), final=True)]
    start_ms = _start(run, started_at_ms, known_at_ms)
    end_ms = end_of_run(
        run,
        started_at_ms=started_at_ms,
        ended_at_ms=ended_at_ms,
        known_at_ms=known_at_ms,
        measured_ms=measured_ms,
    )
    # hours already on the books stay there: the end comes after them
    end_ms = max(end_ms, metered_until_ms)
    pieces = split_by_hour(max(start_ms, metered_until_ms), end_ms)
    pieces = pieces or [(hour_of(end_ms), end_ms, end_ms)]
    records = [_record(run, start_ms, piece) for piece in pieces[:-1]]
    records.append(_record(run, start_ms, pieces[-1], cpu_ms=max(0, cpu_ms), final=True))
    return records


def usage_so_far(
    run: Run, *, started_at_ms: int, confirmed_at_ms: int, metered_until_ms: int = 0
) -> list[UsageRecord]:
    """Records of the hours that a run has filled while it goes on, from `metered_until_ms` on.

    `confirmed_at_ms`: it ran until then for certain. The hour that contains it is left to a
    later call.
    """
    start_ms = _start(run, started_at_ms, confirmed_at_ms)
    until_ms = confirmed_at_ms
    if run.max_billable_s is not None:
        until_ms = min(until_ms, start_ms + run.max_billable_s * MS_PER_SECOND)
    pieces = split_by_hour(max(start_ms, metered_until_ms), until_ms)
    return [_record(run, start_ms, piece) for piece in pieces[:-1]]


def check_record(record: UsageRecord) -> None:
    """Raise InvariantViolated on a record that no run can have given."""
    length_ms = record.end_ms - record.start_ms
    require(
        0 <= length_ms <= MS_PER_HOUR
        and hour_of(record.start_ms) == record.hour
        and record.end_ms <= (record.hour + 1) * MS_PER_HOUR
        and 0 <= record.billable_seconds <= SECONDS_PER_HOUR,
        "UsageOutsideItsHour",
        f"Usage {record.id} claims {record.billable_seconds} s in {length_ms} ms.",
    )
    require(
        min(
            record.core_milli_seconds,
            record.memory_mib_seconds,
            record.accelerator_milli_seconds,
            record.hold_release_micro_yuan,
        )
        >= 0,
        "NegativeUsage",
        f"Usage {record.id} has a negative quantity.",
    )


def day_of(at_ms: int) -> int:
    """Number of the calendar day in Asia/Shanghai."""
    return (at_ms + SHANGHAI_MS) // MS_PER_DAY


def date_text(day: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).strftime("%Y-%m-%d")


def day_number(text: str) -> int:
    """The inverse of `date_text`."""
    try:
        moment = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise InvalidInput(
            "InvalidDate", f"{text!r} is not a date.", hint="Write it as 2026-11-23.", field="after"
        ) from None
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)).days


def month_bounds(month: str) -> tuple[int, int]:
    """[from, until) in milliseconds of a calendar month in Asia/Shanghai, written 2026-11."""
    try:
        first = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
        following = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    except ValueError:
        raise InvalidInput(
            "InvalidMonth", f"{month!r} is not a month.", hint="Write it as 2026-11.", field="month"
        ) from None
    return _shanghai_ms(first), _shanghai_ms(following)


def month_of(at_ms: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms + SHANGHAI_MS)
    return moment.strftime("%Y-%m")


def _shanghai_ms(midnight: datetime) -> int:
    elapsed = midnight - datetime(1970, 1, 1, tzinfo=UTC)
    return elapsed // timedelta(milliseconds=1) - SHANGHAI_MS


@lru_cache(maxsize=1_024)
def _books_close_ms(day: int) -> int:
    """When the month of a Shanghai day is closed."""
    return month_bounds(date_text(day)[:7])[1] + BOOKS_OPEN_MS


def booking_ms(start_ms: int, now_ms: int, open_from_ms: int = 0) -> int:
    """The instant that a charge counts at: when it was used, or now if that month is over for
    good; and never in a day that is closed, which is what the ledger makes of it too.

    So a statement keeps to the month in which the work ran, and a closed one never changes.
    """
    wanted_ms = start_ms if now_ms < _books_close_ms(day_of(start_ms)) else now_ms
    return max(wanted_ms, open_from_ms)
