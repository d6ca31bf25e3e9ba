"""Decisions of the market: what makes an order a good one, bands, what it sets aside. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from suanwang.engines.matching.model import Side
from suanwang.engines.matching.order_book import Refusal, Stay
from suanwang.kernel.errors import Conflict, InvalidInput
from suanwang.kernel.money import MAX_AMOUNT, scale
from suanwang.trade.contracts.rules import deposit_of
from suanwang.trade.market.model import (
    MAX_LOTS,
    STANDARD,
    TICK,
    Answer,
    Instrument,
    Order,
    OrderGiven,
)

MAX_PRICE = 10_000 * 1_000_000
"""Ten thousand yuan for a lot and hour."""
BAND_PERCENT = 50
"""Limits and trades stay within so much of the last price."""

DETAILS: dict[Refusal, str] = {
    Refusal.NO_LOTS: "An order is of one lot at least.",
    Refusal.HALTED: "Trading of this instrument is halted. Try again later.",
    Refusal.OUTSIDE_BAND: "The limit is outside the prices that are accepted now.",
    Refusal.TOO_LARGE: "An order may not be so large. Split it.",
    Refusal.OVER_POSITION: "Your organisation has too much in this book. Cancel something first.",
    Refusal.DUPLICATE: "This order is in the book already.",
    Refusal.WOULD_TRADE: "It would trade at once, and is for makers only. Lower your limit.",
    Refusal.NOT_WHOLE: "There is not enough on the other side for all of it. Ask for less.",
    Refusal.NO_PRICE: "An order without a limit is immediate or whole. Give a limit to rest at.",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an order is refused before it comes to a book."""

    reason: str
    detail: str
    field: str


def fault_of(given: OrderGiven, hours: int) -> Fault | None:
    if not 1 <= given.lots <= MAX_LOTS:
        return Fault("InvalidLots", f"An order is of 1 to {MAX_LOTS} lots.", "lots")
    if given.limit is None:
        if given.stay in (Stay.REST, Stay.MAKER):
            return Fault(Refusal.NO_PRICE, DETAILS[Refusal.NO_PRICE], "price")
    elif not TICK <= given.limit <= MAX_PRICE:
        return Fault("InvalidPrice", "A limit is between 0.001 and 10,000 yuan.", "price")
    elif given.limit % TICK:
        return Fault("InvalidTick", "A limit has at most three decimals in yuan.", "price")
    if (given.limit or MAX_PRICE) * given.lots * hours > MAX_AMOUNT:
        return Fault("OrderTooLarge", "The order is worth more than can be booked.", "lots")
    return None


def again(order: Order, instrument: Instrument, side: Side) -> Answer:
    """What a key that was used before gives: its order, if it could be that."""
    if (order.instrument, order.side) == (instrument, side):
        return Answer(order, repeated=True)
    return Answer(None, (), "KeyReused", f"This key is that of {order.id}.", "key")


def ended(order_id: str) -> Conflict:
    return Conflict(
        "OrderEnded",
        f"The order {order_id} is not in the book any more.",
        hint="See what came of it with your orders and contracts.",
    )


def amended(order: Order, lots: int | None, limit: int | None) -> OrderGiven:
    """What an order would be; None: as it is. `lots` are all of it, those traded included.

    Raises InvalidInput, Conflict (so many are traded already).
    """
    given = OrderGiven(
        order.side,
        order.lots if lots is None else lots,
        order.limit if limit is None else limit,
        order.stay,
        order.source_id,
    )
    fault = fault_of(given, order.instrument.period.hours)
    if fault is not None:
        raise InvalidInput(fault.reason, fault.detail, hint="Correct it.", field=fault.field)
    if given.lots <= order.traded:
        raise Conflict(
            "TradedAlready",
            f"{order.traded} lots of the order are traded.",
            hint="Give more lots than that, those traded included, or cancel the order.",
            field="lots",
        )
    return given


def keeps_place(order: Order, given: OrderGiven) -> bool:
    """Whether nobody is put at a disadvantage by the change: no more lots, the same price."""
    return given.limit == order.limit and given.lots <= order.lots


def band(last: int | None, low: int | None, high: int | None) -> tuple[int, int]:
    """The prices accepted now: what the operator set, else around the last price."""
    lower = TICK if last is None else max(TICK, scale(last, 100 - BAND_PERCENT, 100))
    upper = MAX_PRICE if last is None else min(MAX_PRICE, scale(last, 100 + BAND_PERCENT, 100))
    return (lower if low is None else low, upper if high is None else high)


def held_per_lot(side: Side, limit: int, hours: int) -> int:
    """What an order sets aside for each lot: a buyer the price, a seller the deposit."""
    worth = limit * hours
    return worth if side is Side.BUY else deposit_of(STANDARD, worth)
