"""What an order would come to, before it is placed: set aside, traded at once, left. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from suanwang.edge.portal.form_fields import whole
from suanwang.engines.matching.model import Side
from suanwang.kernel.money import scale
from suanwang.trade.market import rules
from suanwang.trade.market.model import OrderGiven
from suanwang.trade.market.reading import Depth, Level


@dataclass(frozen=True)
class Rung:
    """A level of the book as it is drawn: `sum_lots` from the best price to this one."""

    price: int
    lots: int
    sum_lots: int
    share: int
    """Percent of the deeper side's whole."""
    mine: bool


@dataclass(frozen=True)
class Weighed:
    """Micro-yuan and lots, by the book as it is now."""

    held: int
    """Set aside at once: a buyer's whole price, a seller's deposit."""
    worth: int
    """At the limit, for every lot: the most that a buyer pays, the least that a seller gets."""
    lots_now: int
    """Would be traded at once."""
    worth_now: int
    lots_left: int

    @property
    def average(self) -> int:
        """Price of what is traded at once, for a lot and all its hours."""
        return scale(self.worth_now, 1, self.lots_now) if self.lots_now else 0


def weigh(given: OrderGiven, depth: Depth) -> Weighed:
    """Nothing is kept: other orders may come first."""
    buys = given.side is Side.BUY
    bound = given.limit if given.limit is not None else depth.high if buys else depth.low
    hours = depth.instrument.period.hours
    left, worth_now = given.lots, 0
    for level in depth.asks if buys else depth.bids:
        if (level.price > bound if buys else level.price < bound) or not left:
            break
        taken = min(left, level.lots)
        left -= taken
        worth_now += taken * level.price * hours
    return Weighed(
        held=given.lots * rules.held_per_lot(given.side, bound, hours),
        worth=given.lots * bound * hours,
        lots_now=given.lots - left,
        worth_now=worth_now,
        lots_left=left,
    )


def ladder(depth: Depth, mine: frozenset[tuple[Side, int]]) -> tuple[list[Rung], list[Rung]]:
    """(bids, asks), the best first; `mine`: sides and prices at which the reader's orders rest."""
    most = max(sum(level.lots for level in depth.bids), sum(level.lots for level in depth.asks), 1)

    def rungs(levels: tuple[Level, ...], side: Side) -> list[Rung]:
        found, total = [], 0
        for level in levels:
            total += level.lots
            share = 100 * total // most
            found.append(Rung(level.price, level.lots, total, share, (side, level.price) in mine))
        return found

    return rungs(depth.bids, Side.BUY), rungs(depth.asks, Side.SELL)


def body_of(instrument: str, form: Mapping[str, str], key: str | None = None) -> dict[str, Any]:
    """The form as the API takes an order; what is not filled in is left out."""
    body: dict[str, Any] = {"instrument": instrument, "side": form.get("side", "")}
    body["lots"] = whole(form.get("lots", ""))
    if price := form.get("price", "").strip():
        body["price"] = {"yuan": price}
    if form.get("side") == Side.SELL.value:
        body["source"] = form.get("source", "") or None
    body["stay"] = form.get("stay", "") or "rest"
    return {**body, "key": key} if key is not None else body
