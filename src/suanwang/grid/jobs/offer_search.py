"""Offers under the query language: which fields they have, and what a row says in each. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from suanwang.kernel.money import MICRO_PER_YUAN
from suanwang.trade.catalogue.model import MEGA_PER_TERA
from suanwang.trade.catalogue.query import TEXT, Cell, Field, Kind, Query, Row, parse, search

FIELDS: tuple[Field, ...] = (
    Field("site", Kind.TEXT),
    Field("pool", Kind.TEXT),
    Field("zone", Kind.TEXT, ("region",)),
    Field("kind", Kind.TEXT),
    Field("state", Kind.TEXT),
    Field("arch", Kind.TEXT, ("architecture",)),
    Field("class", Kind.TEXT),
    Field("gpu", Kind.FLAG, ("cards",)),
    Field("gpu.model", Kind.TEXT, ("model",)),
    Field("gpu.vendor", Kind.TEXT, ("vendor",)),
    Field("gpu.stack", Kind.TEXT, ("stack",)),
    Field("gpu.domestic", Kind.FLAG, ("domestic",)),
    Field("gpu.memory", Kind.NUMBER, ("memory",)),
    Field("gpu.bandwidth", Kind.NUMBER),
    Field("gpu.fp16", Kind.NUMBER, ("fp16",)),
    Field("gpu.measured", Kind.NUMBER, ("measured",)),
    Field("price", Kind.NUMBER),
    Field("price.core", Kind.NUMBER),
    Field("price.memory", Kind.NUMBER),
    Field("price.card", Kind.NUMBER),
    Field("price.unit", Kind.NUMBER, ("unit", "normal")),
    Field("price.measured", Kind.NUMBER),
    Field("free.cores", Kind.NUMBER, ("cores",)),
    Field("free.cards", Kind.NUMBER),
    Field("free.memory", Kind.NUMBER),
    Field("backlog", Kind.NUMBER),
)
"""Memory in GB, throughput in TFLOPS (FP16, dense), prices in yuan an hour, backlog in seconds.
`price` is a card's, of a pool without cards a core's."""
EXAMPLE = "gpu.memory>=64 zone:henan price<30 sort:price"


def _yuan(micro: int | None) -> Decimal | None:
    """Zero is no price: it was not stated."""
    return Decimal(micro) / MICRO_PER_YUAN if micro else None


def _tera(mega: int | None) -> Decimal | None:
    return Decimal(mega) / MEGA_PER_TERA if mega else None


def fields_of(offer: Mapping[str, Any]) -> Row:
    """Of a row as `offers` gives it."""
    card, known, prices = offer["accelerator"], offer["known"] or {}, offer["prices"]
    free, unit = offer["free"], offer["unit_price"]
    fp16 = offer["measured"].get("FP16")
    gb = known.get("memory_gb")
    if gb is None and card:
        gb = Decimal(card["memory_mib"]) / 1024 or None
    words = ("site", "site_name", "pool", "region", "unit_class", "architecture", "interconnect")
    texts = [*(offer[word] for word in words), *([card["model"]] if card else [])]
    per_unit = prices["accelerator_hour"] if card else prices["core_hour"]
    row: dict[str, Cell] = {
        TEXT: " ".join([*texts, known.get("vendor") or ""]),
        "site": f"{offer['site']} {offer['site_name']}",
        "pool": offer["pool"],
        "zone": offer["region"],
        "kind": offer["kind"],
        "state": offer["state"],
        "arch": offer["architecture"],
        "class": offer["unit_class"],
        "gpu": card is not None,
        "gpu.model": card["model"] if card else None,
        "gpu.vendor": known.get("vendor"),
        "gpu.stack": known.get("stack"),
        "gpu.domestic": known.get("domestic"),
        "gpu.memory": gb,
        "gpu.bandwidth": known.get("bandwidth_gb_s"),
        "gpu.fp16": _tera(offer["peak"].mega) if offer["peak"] else None,
        "gpu.measured": _tera(fp16.mega) if fp16 else None,
        "price": _yuan(per_unit),
        "price.core": _yuan(prices["core_hour"]),
        "price.memory": _yuan(prices["memory_gib_hour"]),
        "price.card": _yuan(prices["accelerator_hour"]) if card else None,
        "price.unit": _yuan(unit.by_peak),
        "price.measured": _yuan(unit.by_measured),
        "free.cores": Decimal(free["cpu_milli"]) / 1000,
        "free.cards": Decimal(free["accelerator_milli"]) / 1000 if card else None,
        "free.memory": Decimal(free["memory_mib"]) / 1024,
        "backlog": offer["backlog_s"],
    }
    return row


def read(text: str) -> Query:
    """Raises QueryError."""
    return parse(text, FIELDS)


def found(rows: Sequence[dict[str, Any]], query: Query) -> list[dict[str, Any]]:
    return search(query, rows, fields_of)
