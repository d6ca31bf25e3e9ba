"""Red letters: the negative of an invoice, or of a part of it by amount or by lines. Pure.

Whatever parts are undone one after the other, they never undo more than a line has, and together
they undo it to the fen: what is left of net, tax and quantity goes with the last part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from suanwang.kernel.errors import InvalidInput, LimitExceeded
from suanwang.kernel.money import allot, scale
from suanwang.trade.settlement.model import InvoiceLine, RedReason


@dataclass(frozen=True, slots=True)
class Part:
    """What of an invoice a red letter is asked for, in fen; neither: all that is left."""

    amount_fen: int | None = None
    by_line: tuple[tuple[int, int | None], ...] = ()
    """(number of the line from 0, fen; None: all that is left of it)."""


WHOLE = Part()


def left_of(
    lines: Sequence[InvoiceLine], letters: Iterable[Sequence[InvoiceLine]]
) -> list[InvoiceLine]:
    """Each line less what its red letters undo; those are negative."""
    left = list(lines)
    for letter in letters:
        for place, red in enumerate(letter):
            number = place if red.of_line is None else red.of_line
            of = left[number]
            left[number] = msgspec.structs.replace(
                of,
                quantity_milli=of.quantity_milli + red.quantity_milli,
                gross_fen=of.gross_fen + red.gross_fen,
                net_fen=of.net_fen + red.net_fen,
                tax_fen=of.tax_fen + red.tax_fen,
            )
    return left


def lines_of(
    left: Sequence[InvoiceLine], part: Part, reason: RedReason, tax_percent: int
) -> tuple[InvoiceLine, ...]:
    """The red letter's lines. Raises InvalidInput, LimitExceeded for more than is left."""
    wanted = _wanted(left, part)
    return tuple(
        _line(left[number], number, gross, reason, tax_percent)
        for number, gross in sorted(wanted.items())
        if gross
    )


def _wanted(left: Sequence[InvoiceLine], part: Part) -> Mapping[int, int]:
    """Line → gross in fen."""
    whole = sum(line.gross_fen for line in left)
    if part.by_line:
        return _by_line(left, part)
    if part.amount_fen is None:
        return {number: line.gross_fen for number, line in enumerate(left)}
    if part.amount_fen <= 0:
        raise _nothing("amount")
    if part.amount_fen > whole:
        raise _too_much("the invoice", whole, "amount")
    parts = allot(part.amount_fen, [line.gross_fen for line in left])
    return dict(enumerate(parts))


def _by_line(left: Sequence[InvoiceLine], part: Part) -> Mapping[int, int]:
    wanted: dict[int, int] = {}
    for number, given in part.by_line:
        field = f"lines[{number + 1}]"
        if not 0 <= number < len(left) or number in wanted:
            raise InvalidInput(
                "NoSuchLine",
                f"There is no line {number + 1}, or it was named twice.",
                hint=f"The invoice has lines 1 to {len(left)}.",
                field=field,
            )
        gross = left[number].gross_fen if given is None else given
        if gross <= 0:
            raise _nothing(field)
        if gross > left[number].gross_fen:
            raise _too_much(f"line {number + 1}", left[number].gross_fen, field)
        wanted[number] = gross
    if part.amount_fen is not None and part.amount_fen != sum(wanted.values()):
        raise InvalidInput(
            "LinesDoNotSum",
            "The lines do not sum to the amount.",
            hint="Give the lines alone, or the amount alone.",
            field="amount",
        )
    return wanted


def _nothing(field: str) -> InvalidInput:
    return InvalidInput(
        "InvalidRedAmount",
        "A red letter undoes more than nothing.",
        hint="Give a positive amount, tax included; none asks for all that is left.",
        field=field,
    )


def _too_much(of: str, fen: int, field: str) -> LimitExceeded:
    return LimitExceeded(
        "AboveInvoice",
        f"Of {of} {fen // 100}.{fen % 100:02d} yuan are left that no red letter undoes.",
        hint="Ask for no more than that.",
        field=field,
    )


def _line(
    left: InvoiceLine, number: int, gross: int, reason: RedReason, tax_percent: int
) -> InvoiceLine:
    rest = gross == left.gross_fen
    # rounded once, within what the line still has of both
    net = scale(gross, 100, 100 + tax_percent)
    net = left.net_fen if rest else min(max(net, gross - left.tax_fen), left.net_fen)
    quantity = left.quantity_milli
    if not rest:
        # an allowance takes from the price, not from the quantity
        priced = reason is RedReason.ALLOWANCE
        quantity = 0 if priced else scale(left.quantity_milli, gross, left.gross_fen)
    return msgspec.structs.replace(
        left,
        quantity_milli=-quantity,
        gross_fen=-gross,
        net_fen=-net,
        tax_fen=net - gross,
        of_line=number,
    )
