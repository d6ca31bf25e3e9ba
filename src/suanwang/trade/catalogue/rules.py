"""How unlike cards compare: bands of figures, the normalised unit, results that can be believed."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median_low

from suanwang.kernel.money import scale
from suanwang.trade.catalogue.cards import split_class
from suanwang.trade.catalogue.model import (
    MEGA_PER_TERA,
    Accelerator,
    Band,
    Basis,
    Confidence,
    Figure,
    Precision,
    UnitPrice,
)

UNIT_TERA = 100
UNIT_MEGA = UNIT_TERA * MEGA_PER_TERA
"""The normalised unit: so much FP16 throughput, dense, for an hour."""
MEASURED_OF = 5
"""A pool's figure is the median of so many newest results: one busy hour does not make it."""
ABOVE_PEAK_PERCENT = 105
"""What exceeds the highest known figure by more was not measured."""

_TRUST = {Confidence.HIGH: 0, Confidence.MEDIUM: 1, Confidence.LOW: 2}


def _comparable(figures: Sequence[Figure], precision: Precision) -> list[Figure]:
    """Dense figures and estimates, never sparse ones."""
    return [one for one in figures if one.precision is precision and one.basis is not Basis.SPARSE]


def _rank(one: Figure) -> tuple[int, bool, int]:
    return _TRUST[one.confidence], one.basis is Basis.ESTIMATE, one.mega


def band_of(
    card: Accelerator | None, precision: Precision = Precision.FP16, declared_mega: int = 0
) -> Band | None:
    """What is known of a model, and what the site declares of its own cards (FP16), if it does.

    The figure to reckon with is the most trusted one, a statement before an estimate, of several
    the lowest: a buyer should not pay for what may not be there. A site's word is trusted least.
    """
    figures = _comparable(card.figures, precision) if card else []
    ranked = [(_rank(one), one.mega, one.basis) for one in figures]
    if declared_mega > 0 and precision is Precision.FP16:
        ranked.append(
            ((_TRUST[Confidence.LOW], True, declared_mega), declared_mega, Basis.DECLARED)
        )
    if not ranked:
        return None
    _, mega, basis = min(ranked)
    values = [value for _, value, _ in ranked]
    return Band(min(values), max(values), mega, basis)


def price_per_unit(price_micro_yuan: int, mega: int) -> int:
    """Of a card-hour's price, what a normalised unit and hour costs."""
    return scale(price_micro_yuan, UNIT_MEGA, mega)


def figure_of(unit_class: str) -> int | None:
    """What a lot of the class is reckoned with when unlike classes are compared: FP16, dense, in
    millions of operations a second. None: nobody knows."""
    band = band_of(split_class(unit_class)[0])
    return band.mega if band is not None else None


def unit_price(
    price_micro_yuan: int | None, peak: Band | None, measured_mega: int | None = None
) -> UnitPrice:
    """Both bases beside each other; a price of None or 0 has nothing to compare."""
    if not price_micro_yuan:
        return UnitPrice()
    measured = price_per_unit(price_micro_yuan, measured_mega) if measured_mega else None
    if peak is None:
        return UnitPrice(by_measured=measured)
    return UnitPrice(
        by_peak=price_per_unit(price_micro_yuan, peak.mega),
        low=price_per_unit(price_micro_yuan, peak.high_mega),
        high=price_per_unit(price_micro_yuan, peak.low_mega),
        basis=peak.basis,
        by_measured=measured,
    )


def measured(newest_first: Sequence[int]) -> int | None:
    """The figure of a pool from its results."""
    return median_low(newest_first[:MEASURED_OF]) if newest_first else None


def highest_credible(card: Accelerator | None, precision: Precision) -> int | None:
    """None where nothing is known that could be exceeded."""
    peak = band_of(card, precision)
    return peak.high_mega * ABOVE_PEAK_PERCENT // 100 if peak else None
