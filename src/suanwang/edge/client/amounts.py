"""Money as programs give it: an integer is micro-yuan, a text is yuan, nothing is a float."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from suanwang.kernel.errors import InvalidInput
from suanwang.kernel.money import format_yuan

Amount = int | str | Mapping[str, Any]
"""1_500_000, "1.5", or an amount as the API gave it."""


def money(amount: Amount | None) -> dict[str, Any] | None:
    """As the API takes it. Raises InvalidInput."""
    if amount is None:
        return None
    if isinstance(amount, str):
        return {"yuan": amount}
    return {"micro_yuan": micro_yuan(amount)}


def micro_yuan(amount: int | Mapping[str, Any]) -> int:
    """Of what was given as an integer or by the API. Raises InvalidInput."""
    found = amount.get("micro_yuan") if isinstance(amount, Mapping) else amount
    if not isinstance(found, int) or isinstance(found, bool):
        raise InvalidInput(
            "AmountNotExact",
            f"{amount!r} is no amount.",
            hint='Give micro-yuan as an integer, or yuan as text: 1_500_000 is "1.5".',
        )
    return found


def yuan(amount: Amount) -> str:
    """As a document says it, exactly: '1.500000'."""
    if isinstance(amount, str):
        return amount
    return format_yuan(micro_yuan(amount), decimals=6).replace(",", "")
