"""Money is integer micro-yuan (1 yuan = 1,000,000). One rounding function for all of it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context, Decimal, InvalidOperation

from suanwang.kernel.errors import InvalidInput

MICRO_PER_YUAN = 1_000_000
MAX_AMOUNT = 9_000_000_000 * MICRO_PER_YUAN
"""Nine billion yuan: sums of a thousand such amounts still fit a signed 64-bit column."""


MAX_DIGITS = 64
_EXACT = Context(prec=2 * MAX_DIGITS)


def scale(amount: int, numerator: int, denominator: int) -> int:
    """amount x numerator / denominator, rounded half to even: the only rounding of money."""
    if denominator <= 0:
        raise ValueError("denominator must be positive")
    quotient, remainder = divmod(amount * numerator, denominator)
    doubled = 2 * remainder
    if doubled > denominator or (doubled == denominator and quotient & 1):
        quotient += 1
    return quotient


def allot(amount: int, weights: Sequence[int]) -> list[int]:
    """Split an amount in proportion to weights; the parts sum exactly to it.

    Largest remainder first, ties to the smaller index.
    """
    total = sum(weights)
    if total <= 0 or any(w < 0 for w in weights):
        raise ValueError("weights must be non-negative with a positive sum")
    parts = [amount * w // total for w in weights]
    remainders = sorted(range(len(weights)), key=lambda i: (-(amount * weights[i] % total), i))
    for i in remainders[: amount - sum(parts)]:
        parts[i] += 1
    return parts


def parse_yuan(text: str | int | float, *, field: str = "amount") -> int:
    """Micro-yuan from a decimal figure in yuan; at most six decimals."""
    micro = _micro(str(text))
    if micro is None or micro != micro.to_integral_value() or abs(micro) > MAX_AMOUNT:
        raise InvalidInput(
            "InvalidAmount",
            f"{str(text)[:40]!r} is not an amount of money.",
            hint="Give yuan with at most six decimals, such as 12.5.",
            field=field,
        )
    return int(micro)


def _micro(text: str) -> Decimal | None:
    """None: no number, or one so long, large or small that it is none of ours."""
    if len(text) > MAX_DIGITS:
        return None
    try:
        yuan = Decimal(text)
    except InvalidOperation:
        return None
    if not yuan.is_finite() or (yuan and not -7 < yuan.adjusted() < MAX_DIGITS):
        return None
    return _EXACT.multiply(yuan, MICRO_PER_YUAN)


def format_yuan(micro: int, *, decimals: int = 2) -> str:
    """'1,234.56' for people; rounds half to even. Machines get the integer."""
    unit = 10 ** (6 - decimals)
    rounded = scale(micro, 1, unit)
    sign = "-" if rounded < 0 else ""
    whole, fraction = divmod(abs(rounded), 10**decimals)
    return f"{sign}{whole:,}.{fraction:0{decimals}d}" if decimals else f"{sign}{whole:,}"
