"""The catalogue, the benchmark and offers as JSON. Throughput in TFLOPS or TOPS ("tera")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from suanwang.edge.api.views import instant, money
from suanwang.grid.jobs.class_search import ClassRow
from suanwang.grid.jobs.offers import band_view
from suanwang.trade.catalogue.model import (
    CORE,
    MEGA_PER_TERA,
    MEMORY,
    Measurement,
    Precision,
    Source,
    Ticket,
    UnitPrice,
)
from suanwang.trade.catalogue.rules import UNIT_TERA
from suanwang.trade.catalogue.service import PoolFigure

Names = Mapping[str, str]


def source_view(source: Source) -> dict[str, str]:
    return {"title": source.title, "address": source.address, "date": source.date}


def throughput(what: str, mega: int) -> dict[str, Any]:
    """In TFLOPS or TOPS; of memory in GB/s."""
    if what == MEMORY:
        return {"what": what, "value": mega / 1_000, "unit": "GB/s"}
    return {
        "what": what,
        "value": mega / MEGA_PER_TERA,
        "unit": "TOPS" if what == Precision.INT8 else "TFLOPS",
    }


def measurement_view(one: Measurement, names: Names) -> dict[str, Any]:
    return {
        **throughput(one.precision, one.mega),
        "site": names.get(one.site_id, one.site_id),
        "pool": names.get(one.pool_id, one.pool_id),
        "class": one.unit_class,
        "backend": one.backend,
        "device": one.device,
        "program": one.program,
        "bench_id": one.ticket_id,
        "job_id": one.job_id,
        "at": instant(one.at_ms),
    }


def figure_view(one: PoolFigure, names: Names) -> dict[str, Any]:
    """A pool's figure: the median of its newest results, with the last of them."""
    last = measurement_view(one.last, names)
    return {**last, **throughput(one.precision, one.mega), "results": one.results}


def class_view(row: ClassRow, names: Names) -> dict[str, Any]:
    """A class with every figure and its source; `measured` pool by pool."""
    view: dict[str, Any] = {
        "class": row.unit_class,
        "unit": "core" if row.unit_class == CORE else "card",
        "measured": [figure_view(one, names) for one in row.figures],
        "offered_by": sorted({offer["site"] for offer in row.offers}),
        "price_from": money(row.price) if row.price else None,
        "unit_price_from": money(row.unit_price) if row.unit_price else None,
    }
    card = row.card
    if card is None:
        return view
    return {
        **view,
        "model": card.slug,
        "name": card.name,
        "vendor": card.vendor,
        "stack": card.stack,
        "domestic": card.domestic,
        "names": list(card.names),
        "memory_gb": row.gb,
        "bandwidths": [
            {"gb_s": one.gb_s, "note": one.note, "source": source_view(one.source)}
            for one in row.bandwidths
        ],
        "peak": {precision.value: band_view(band) for precision, band in row.peaks.items()},
        "figures": [
            {
                "precision": one.precision.value,
                "basis": one.basis.value,
                "tera": one.mega / MEGA_PER_TERA,
                "confidence": one.confidence.value,
                "note": one.note,
                "source": source_view(one.source),
            }
            for one in card.figures
        ],
    }


def ticket_view(
    ticket: Ticket, measurements: Sequence[Measurement], names: Names
) -> dict[str, Any]:
    return {
        "id": ticket.ticket_id,
        "job_id": ticket.job_id,
        "site": names.get(ticket.site_id, ticket.site_id),
        "pool": names.get(ticket.pool_id, ticket.pool_id),
        "class": ticket.unit_class,
        "units": ticket.units,
        "program": ticket.program,
        "state": ticket.state.value,
        "reason": ticket.reason,
        "detail": ticket.detail,
        "created_at": instant(ticket.created_at_ms),
        "ended_at": instant(ticket.ended_at_ms),
        "results": [measurement_view(one, names) for one in measurements],
    }


def unit_price_view(price: UnitPrice) -> dict[str, Any]:
    """Of so many TFLOPS for an hour: by peak, with the ends of the band, and by measurement."""

    def amount(micro: int | None) -> Any:
        return None if micro is None else money(micro)

    return {
        "tera": UNIT_TERA,
        "by_peak": amount(price.by_peak),
        "low": amount(price.low),
        "high": amount(price.high),
        "basis": price.basis.value if price.basis else None,
        "by_measured": amount(price.by_measured),
    }


def offer_view(offer: Mapping[str, Any]) -> dict[str, Any]:
    """As the grid's `offers` gives it, with money and figures for readers."""
    measured = {
        what: {**throughput(what, one.mega), "results": one.results, "at": instant(one.last.at_ms)}
        for what, one in offer["measured"].items()
    }
    return {
        **{key: value for key, value in offer.items() if key != "unit_class"},
        "class": offer["unit_class"],
        "peak": band_view(offer["peak"]),
        "measured": measured,
        "unit_price": unit_price_view(offer["unit_price"]),
        "prices": {name: money(value) for name, value in offer["prices"].items()},
    }
