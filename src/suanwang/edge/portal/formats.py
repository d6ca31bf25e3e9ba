"""Figures as people read them: money, durations, instants, sizes. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta, timezone

from suanwang.kernel.money import format_yuan

SHANGHAI = timezone(timedelta(hours=8), "Asia/Shanghai")
_SIZES = ("B", "KiB", "MiB", "GiB", "TiB")
MINUS = "\u2212"
_UNITS = {
    "zh": {"d": " 天", "h": " 小时", "min": " 分", "s": " 秒"},
    "en": {"d": " d", "h": " h", "min": " min", "s": " s"},
}
_AGO = {"zh": ("刚刚", "{}前", "{}后"), "en": ("just now", "{} ago", "in {}")}


def yuan(micro_yuan: int, decimals: int = 2) -> str:
    """'¥1,234.56'. `decimals` is for small amounts: nothing has two, and so have hundreds.

    What would round to nothing is shown with as many decimals as it takes.
    """
    if micro_yuan == 0 or abs(micro_yuan) >= 100_000_000:
        decimals = 2
    unit = 10 ** (6 - decimals)
    if micro_yuan and abs(micro_yuan) * 2 <= unit and decimals < 6:
        return yuan(micro_yuan, min(6, decimals + 2))
    return exact(micro_yuan, decimals)


def exact_decimals(amounts: Collection[int]) -> int:
    """So many that no amount of a column is rounded and their points stand below each other."""
    return next((n for n in range(2, 6) if all(a % 10 ** (6 - n) == 0 for a in amounts)), 6)


def exact(micro_yuan: int, decimals: int) -> str:
    """'¥1,234.560000': for books, whose sums are to be checked by eye."""
    text = format_yuan(abs(micro_yuan), decimals=decimals)
    return f"{MINUS if micro_yuan < 0 else ''}¥{text}"


def number(value: int | float, decimals: int = 0) -> str:
    """'12,345', '1.5': no idle zeros."""
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def milli(value: int) -> str:
    """Thousandths of a core or card: 1500 -> '1.5'."""
    return number(value / 1000, 1 if value % 100 == 0 else 3)


def memory(mib: int) -> str:
    """Binary units, three significant figures at most."""
    if mib < 1024:
        return f"{mib} MiB" if mib else "0"
    gib = mib / 1024
    if gib < 1024:
        return f"{number(gib, 1 if gib < 100 else 0)} GiB"
    return f"{number(gib / 1024, 1)} TiB"


def size(count: int) -> str:
    """Bytes."""
    if count < 1024:
        return f"{count} B"
    power = 1
    while power < 4 and count >= 1024 ** (power + 1):
        power += 1
    value = count / 1024**power
    return f"{number(value, 1 if value < 100 else 0)} {_SIZES[power]}"


def duration(ms: int | float, language: str = "zh") -> str:
    """The two largest units: '2 小时 5 分', '1.4 s'."""
    units = _UNITS[language]
    if ms < 10_000:
        return f"{number(ms / 1000, 1)}{units['s']}"
    seconds = round(ms / 1000)
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, left = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (left, "s")]
    first = next(i for i, (value, _) in enumerate(parts) if value or i == 3)
    shown = [f"{value}{units[unit]}" for value, unit in parts[first : first + 2] if value]
    return " ".join(shown)


def local(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(SHANGHAI)


def at_ms(text: str | None) -> int | None:
    """Of an instant that the API wrote."""
    return None if text is None else round(datetime.fromisoformat(text).timestamp() * 1000)


def instant(at_ms: int | None, *, seconds: bool = True) -> str:
    """'2026-11-24 09:05:00' in Asia/Shanghai."""
    if at_ms is None:
        return "–"
    return local(at_ms).strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")


def short_instant(at_ms: int | None, now_ms: int) -> str:
    """The time of day if today, else the date as well."""
    if at_ms is None:
        return "–"
    at, now = local(at_ms), local(now_ms)
    if at.date() == now.date():
        return at.strftime("%H:%M:%S")
    return at.strftime("%m-%d %H:%M" if at.year == now.year else "%Y-%m-%d")


def ago(at_ms: int, now_ms: int, language: str = "zh") -> str:
    """'5 分前', 'in 2 h': one unit."""
    now, past, future = _AGO[language]
    span = abs(now_ms - at_ms)
    if span < 5_000:
        return now
    units = _UNITS[language]
    for unit, length in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)):
        if span >= length:
            text = f"{span // length}{units[unit]}"
            return (past if at_ms <= now_ms else future).format(text)
    return now


def detail(entries: Mapping[str, object]) -> str:
    """Of an entry of the audit log: 'kinds=consumer,provider amount=¥5.00'."""
    said = []
    for key, value in entries.items():
        if isinstance(value, int) and key.endswith("_micro_yuan"):
            said.append(f"{key.removesuffix('_micro_yuan')}={yuan(value)}")
        elif isinstance(value, (list, tuple)):
            said.append(f"{key}={','.join(map(str, value)) or '–'}")
        else:
            said.append(f"{key}={'–' if value is None else value}")
    return " ".join(said)


def place(latitude: float, longitude: float) -> str:
    """'113.62°E, 34.75°N'."""
    east, north = "E" if longitude >= 0 else "W", "N" if latitude >= 0 else "S"
    return f"{abs(longitude):.2f}°{east}, {abs(latitude):.2f}°{north}"


def percent(part: int | float, whole: int | float) -> int:
    """0 to 100, whole; nothing of nothing is 0."""
    return 0 if whole <= 0 else max(0, min(100, round(100 * part / whole)))
