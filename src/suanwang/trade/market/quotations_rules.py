"""Decisions of quotations: what makes an enquiry good, what it sets aside, who is best. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from suanwang.kernel.errors import InvalidInput
from suanwang.kernel.money import MAX_AMOUNT, scale
from suanwang.kernel.time import hour_of
from suanwang.trade.contracts.rules import deposit_of
from suanwang.trade.market.listings import FARTHEST_HOURS, MAX_HOURS, check_terms
from suanwang.trade.market.model import MAX_LOTS, TICK
from suanwang.trade.market.quotations_model import (
    Alternative,
    Enquiry,
    EnquiryGiven,
    HouseRules,
    Quote,
    Rule,
)
from suanwang.trade.market.rules import MAX_PRICE

Figures = Callable[[str], int | None]
"""Class → normalised units in a lot (any scale, the same for all); None: nobody knows."""

MAX_ALTERNATIVES = 20
MAX_INVITED = 200
MAX_TITLE = 200
PRICE_DIGITS = 14
"""A sealed price is always so long: the length of what is sealed tells nothing."""


def no_figures(unit_class: str) -> int | None:
    """Where there is no catalogue."""
    return None


def require_price(price: int, field: str = "price") -> None:
    if not TICK <= price <= MAX_PRICE or price % TICK:
        raise InvalidInput(
            "InvalidPrice",
            "A price is between 0.001 and 10,000 yuan, with three decimals at most.",
            hint="Correct the field.",
            field=field,
        )


def require_amounts(lots: int, period_hours: int, first_hour: int, now_ms: int) -> None:
    """Lots and hours of anything that is talked about. Raises InvalidInput, naming the field."""
    faults = (
        (1 <= lots <= MAX_LOTS, "lots", f"It is about 1 to {MAX_LOTS} lots."),
        (1 <= period_hours <= MAX_HOURS, "hours", f"A period has 1 to {MAX_HOURS} hours."),
        (
            first_hour > hour_of(now_ms),
            "starts_at",
            "It begins with a full hour to come.",
        ),
        (
            first_hour <= hour_of(now_ms) + FARTHEST_HOURS,
            "starts_at",
            "It begins within three years.",
        ),
    )
    for good, field, message in faults:
        if not good:
            raise InvalidInput("InvalidRequest", message, hint="Correct the field.", field=field)


def check(given: EnquiryGiven, now_ms: int) -> None:
    """Raises InvalidInput, naming the field."""
    require_amounts(given.lots, given.period.hours, given.period.first_hour, now_ms)
    least = given.lots if given.min_lots is None else given.min_lots
    open_ceiling = given.ceiling is not None and given.ceiling_public
    faults = (
        (
            1 <= len(set(given.products)) == len(given.products) <= MAX_ALTERNATIVES,
            "products",
            f"Name 1 to {MAX_ALTERNATIVES} different products.",
        ),
        (
            now_ms < given.deadline_ms < given.period.from_ms,
            "deadline",
            "The deadline is still to come, and before the delivery begins.",
        ),
        (
            1 <= least <= given.lots and (given.divisible or least == given.lots),
            "min_lots",
            "The least is between one lot and all, and all of what is not divisible.",
        ),
        (
            (given.ceiling is None) != (given.expected is None),
            "ceiling",
            "Give either a ceiling or what you expect to pay.",
        ),
        (
            open_ceiling or given.bond is not None,
            "bond",
            "Without a public ceiling, say what a quote sets aside for a lot and hour.",
        ),
        (given.bond is None or 0 <= given.bond <= MAX_PRICE, "bond", "A bond is 0 or more."),
        (len(given.title) <= MAX_TITLE, "title", f"A title has {MAX_TITLE} characters at most."),
        (
            len(given.invited) <= MAX_INVITED,
            "invited",
            f"Invite {MAX_INVITED} organisations at most, or everybody.",
        ),
        (
            max(_base(given), given.bond or 0) * given.lots * given.period.hours <= MAX_AMOUNT,
            "lots",
            "It is worth more than can be booked.",
        ),
    )
    for good, field, message in faults:
        if not good:
            raise InvalidInput("InvalidEnquiry", message, hint="Correct the field.", field=field)
    require_price(_base(given), "expected" if given.ceiling is None else "ceiling")
    check_terms(given.terms)


def _base(given: EnquiryGiven) -> int:
    return given.expected or 0 if given.ceiling is None else given.ceiling


def held_by_buyer(given: EnquiryGiven, house: HouseRules) -> int:
    """All that the ceiling could cost; without one, a part of what is expected."""
    worth = _base(given) * given.lots * given.period.hours
    return worth if given.ceiling is not None else scale(worth, house.earnest_percent, 100)


def bond_of(given: EnquiryGiven) -> int:
    """Of a quote, for a lot and hour. Never of its price: what is held would tell it."""
    return given.bond if given.bond is not None else deposit_of(given.terms, given.ceiling or 0)


def alternatives(given: EnquiryGiven, figures: Figures) -> tuple[Alternative, ...]:
    """With their figures, where the rule needs them. Raises InvalidInput if one is not known."""
    classes = {product.unit_class for product in given.products}
    if given.rule is Rule.LOWEST_PRICE or len(classes) == 1:
        return tuple(Alternative(product) for product in sorted(given.products))
    known = {name: figures(name) for name in sorted(classes)}
    missing = [name for name, figure in known.items() if not figure]
    if missing:
        raise InvalidInput(
            "NoUnitFigure",
            f"The catalogue has no figure to compare {', '.join(missing)} with other classes.",
            hint="Ask for one class, or let the lowest price for a lot win.",
            field="rule",
        )
    return tuple(Alternative(one, known[one.unit_class] or 0) for one in sorted(given.products))


@dataclass(frozen=True, slots=True)
class Opened:
    """A quote whose seal has been broken."""

    quote: Quote
    price: int


def ranked(enquiry: Enquiry, opened: Sequence[Opened]) -> list[Opened]:
    """The best first, by the enquiry's rule; those above its ceiling are not among them."""
    within = [one for one in opened if enquiry.ceiling is None or one.price <= enquiry.ceiling]

    def place(one: Opened) -> tuple[Fraction, int, str]:
        figure = enquiry.figure_of(one.quote.product) or 1
        return Fraction(one.price, figure), one.quote.quoted_at_ms, one.quote.id

    return sorted(within, key=place)


def cancel_fee(enquiry: Enquiry, quotes: int) -> int:
    """What a buyer owes those who have quoted, once he steps back."""
    return scale(enquiry.held, enquiry.house.cancel_fee_percent, 100) if quotes else 0
