"""Classes of cards under the query language: who offers them, at what price. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from suanwang.kernel.money import MICRO_PER_YUAN
from suanwang.trade.catalogue.cards import classes, split_class
from suanwang.trade.catalogue.model import (
    CORE,
    MEGA_PER_TERA,
    Accelerator,
    Band,
    Bandwidth,
    Precision,
)
from suanwang.trade.catalogue.query import TEXT, Field, Kind, Row, parse, search
from suanwang.trade.catalogue.rules import band_of
from suanwang.trade.catalogue.service import PoolFigure

FIELDS: tuple[Field, ...] = (
    Field("class", Kind.TEXT),
    Field("gpu.model", Kind.TEXT, ("model",)),
    Field("gpu.vendor", Kind.TEXT, ("vendor",)),
    Field("gpu.stack", Kind.TEXT, ("stack",)),
    Field("gpu.domestic", Kind.FLAG, ("domestic",)),
    Field("gpu.memory", Kind.NUMBER, ("memory",)),
    Field("gpu.bandwidth", Kind.NUMBER, ("bandwidth",)),
    Field("gpu.fp16", Kind.NUMBER, ("fp16",)),
    Field("gpu.int8", Kind.NUMBER, ("int8",)),
    Field("gpu.measured", Kind.NUMBER, ("measured",)),
    Field("zone", Kind.TEXT, ("region",)),
    Field("site", Kind.TEXT),
    Field("offers", Kind.NUMBER),
    Field("price", Kind.NUMBER),
    Field("price.unit", Kind.NUMBER, ("unit", "normal")),
)
"""As those of offers; `price` and `price.unit` are the lowest at which the class is offered."""
EXAMPLE = "gpu.domestic:yes gpu.memory>=64 offers>0 sort:-gpu.fp16"


@dataclass(frozen=True, slots=True)
class ClassRow:
    """A class with everything that is known of it."""

    unit_class: str
    card: Accelerator | None
    gb: int | None
    peaks: Mapping[Precision, Band]
    figures: tuple[PoolFigure, ...]
    offers: tuple[Mapping[str, Any], ...]
    """As the grid's `offers` gives them."""

    @property
    def name(self) -> str:
        if self.card is not None:
            return self.card.name
        return next((str(o["accelerator"]["model"]) for o in self.offers if o["accelerator"]), "")

    @property
    def bandwidths(self) -> tuple[Bandwidth, ...]:
        versions = self.card.memory if self.card else ()
        return tuple(one for m in versions if m.gb == self.gb for one in m.bandwidths)

    @property
    def price(self) -> int | None:
        """The lowest of a card (of `core`, a core) and hour, micro-yuan."""
        key = "core_hour" if self.unit_class == CORE else "accelerator_hour"
        return min((o["prices"][key] for o in self.offers if o["prices"][key]), default=None)

    @property
    def unit_price(self) -> int | None:
        """The lowest of a normalised unit; of a pool that was measured, by that."""
        prices = [o["unit_price"] for o in self.offers]
        told = [one.by_measured or one.by_peak for one in prices]
        return min((one for one in told if one), default=None)

    def measured(self, precision: str) -> list[PoolFigure]:
        return [one for one in self.figures if one.precision == precision]


def rows(offered: Sequence[Mapping[str, Any]], figures: Sequence[PoolFigure]) -> list[ClassRow]:
    """Every class of the catalogue and those that only sites know: on offer first, then domestic
    ones, else by vendor and model."""
    at: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    of: dict[str, list[PoolFigure]] = defaultdict(list)
    for offer in offered:
        at[offer["unit_class"]].append(offer)
    for figure in figures:
        of[figure.unit_class].append(figure)
    known = [CORE, *classes()]
    # of a known model in an unusual version, and of models that nobody else knows
    others = sorted({*at, *of} - set(known))
    listed = [row_of(one, at[one], of[one]) for one in (*known, *others)]
    return sorted(listed, key=_place)


def _place(row: ClassRow) -> tuple[bool, bool]:
    return not row.offers, not (row.card is not None and row.card.domestic)


def row_of(
    unit_class: str,
    offered: Sequence[Mapping[str, Any]] = (),
    figures: Sequence[PoolFigure] = (),
) -> ClassRow:
    card, gb = split_class(unit_class)
    found = {precision: band_of(card, precision) for precision in Precision}
    peaks = {precision: band for precision, band in found.items() if band}
    declared = next((o["peak"] for o in offered if o["peak"]), None)
    if not peaks and declared:
        peaks = {Precision.FP16: declared}
    return ClassRow(unit_class, card, gb, peaks, tuple(figures), tuple(offered))


def fields_of(row: ClassRow) -> Row:
    card = row.card
    peaks = {p: Decimal(b.mega) / MEGA_PER_TERA for p, b in row.peaks.items()}
    measured = [one.mega for one in row.measured(Precision.FP16)]
    names = [o["site_name"] for o in row.offers]
    words = [row.unit_class, row.name, *((card.vendor, card.stack, *card.names) if card else ())]
    return {
        TEXT: " ".join([*words, *names]),
        "class": row.unit_class,
        "gpu.model": row.name or None,
        "gpu.vendor": card.vendor if card else None,
        "gpu.stack": card.stack if card else None,
        "gpu.domestic": card.domestic if card else None,
        "gpu.memory": row.gb,
        "gpu.bandwidth": min((one.gb_s for one in row.bandwidths), default=None),
        "gpu.fp16": peaks.get(Precision.FP16),
        "gpu.int8": peaks.get(Precision.INT8),
        "gpu.measured": Decimal(max(measured)) / MEGA_PER_TERA if measured else None,
        "zone": " ".join(sorted({o["region"] for o in row.offers})) or None,
        "site": " ".join(sorted({o["site"] for o in row.offers} | set(names))) or None,
        "offers": len(row.offers),
        "price": Decimal(row.price) / MICRO_PER_YUAN if row.price else None,
        "price.unit": Decimal(row.unit_price) / MICRO_PER_YUAN if row.unit_price else None,
    }


def found(of: Sequence[ClassRow], text: str) -> list[ClassRow]:
    """Raises QueryError."""
    return search(parse(text, FIELDS), of, fields_of)
