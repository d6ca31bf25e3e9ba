"""Shapes of the catalogue, of measurements and of what sites offer now."""

from __future__ import annotations

from typing import Any, TypedDict

from suanwang.edge.client.views import Money

Classed = TypedDict("Classed", {"class": str})
"""`class` is a word of the language, so that it has to be said in this way."""


class Measured(TypedDict):
    """The median of a pool's newest results: TFLOPS, TOPS, of memory GB/s."""

    what: str
    value: float
    unit: str


class Measurement(Classed, Measured):
    site: str
    pool: str
    backend: str
    device: str
    program: str
    bench_id: str
    job_id: str
    at: str | None


class PoolFigure(Measurement):
    results: int
    """So many are in the median."""


class OfferFigure(Measured):
    results: int
    at: str | None


class Peak(TypedDict):
    """TFLOPS or TOPS, dense; from low to high where sources differ."""

    tera: float
    low_tera: float
    high_tera: float
    basis: str
    sources_differ: bool


class UnitPrice(TypedDict):
    """Of so many TFLOPS (FP16, dense) for an hour."""

    tera: int
    by_peak: Money | None
    low: Money | None
    high: Money | None
    basis: str | None
    by_measured: Money | None


class Contracted(TypedDict):
    lots: int
    unit: str


class Offer(Classed):
    """What a pool has, what of it is free, and its price."""

    pool_id: str
    pool: str
    site_id: str
    site: str
    site_name: str
    region: str
    kind: str
    architecture: str
    accelerator: dict[str, Any] | None
    known: dict[str, Any] | None
    """What the catalogue knows of its cards."""
    peak: Peak | None
    measured: dict[str, OfferFigure]
    unit_price: UnitPrice
    interconnect: str
    isolation: str
    nodes: int
    capacity: dict[str, int]
    free: dict[str, int]
    largest_free_node: dict[str, int]
    contracted: Contracted
    closing: list[dict[str, Any]]
    """What is free only until contracts begin."""
    backlog_s: int
    max_runtime_s: int | None
    state: str
    prices: dict[str, Money]


class ClassSummary(Classed):
    """Of every class, known to the catalogue or not."""

    unit: str
    measured: list[PoolFigure]
    offered_by: list[str]
    price_from: Money | None
    unit_price_from: Money | None


class Accelerator(ClassSummary, total=False):
    """A class of cards; only what the catalogue knows has a maker, figures and sources."""

    model: str
    name: str
    vendor: str
    stack: str
    domestic: bool
    names: list[str]
    memory_gb: int
    bandwidths: list[dict[str, Any]]
    peak: dict[str, Peak | None]
    figures: list[dict[str, Any]]


class AcceleratorDetail(Accelerator):
    offers: list[Offer]


class Bench(Classed):
    """A measurement that was asked for, and its results once they are taken."""

    id: str
    job_id: str
    site: str
    pool: str
    units: int
    program: str
    state: str
    reason: str
    detail: str
    created_at: str | None
    ended_at: str | None
    results: list[Measurement]
