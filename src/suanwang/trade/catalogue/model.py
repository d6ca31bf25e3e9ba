"""The words of trade: a product is a class of capacity in a zone, traded for whole hours.

One lot is one unit of the class (a card; of the class `core`, a core) for every hour of a period.
Prices are micro-yuan for a unit and hour. Throughput is kept in millions of operations a second
(`mega`; 989 TFLOPS are 989,000,000), bandwidth in MB/s, both of one unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from suanwang.kernel.time import MS_PER_HOUR

CORE = "core"
"""The class of machines without accelerators: a lot is one core."""
MEGA_PER_TERA = 1_000_000


@dataclass(frozen=True, slots=True, order=True)
class Product:
    """`zone` is a site's region."""

    unit_class: str
    zone: str

    def __str__(self) -> str:
        return f"{self.unit_class}@{self.zone}"


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """Whole UTC hours, counted since the epoch: [first_hour, first_hour + hours)."""

    first_hour: int
    hours: int

    @property
    def end_hour(self) -> int:
        return self.first_hour + self.hours

    @property
    def from_ms(self) -> int:
        return self.first_hour * MS_PER_HOUR

    @property
    def until_ms(self) -> int:
        return self.end_hour * MS_PER_HOUR

    def covers(self, other: Period) -> bool:
        return self.first_hour <= other.first_hour and other.end_hour <= self.end_hour


# --- what is known of accelerators -------------------------------------------------------------


class Precision(StrEnum):
    FP64 = "FP64"
    FP32 = "FP32"
    FP16 = "FP16"
    BF16 = "BF16"
    INT8 = "INT8"


class Basis(StrEnum):
    DENSE = "dense"
    SPARSE = "sparse"
    """Counts the zeros of 2:4 sparsity; never compared with dense figures."""
    ESTIMATE = "estimate"
    """Worked out by somebody from something else."""
    DECLARED = "declared"
    """The site says so; of cards that the catalogue does not know."""


class Confidence(StrEnum):
    HIGH = "high"
    """The maker's own words, or a copy beside a link to them."""
    MEDIUM = "medium"
    LOW = "low"


@dataclass(frozen=True, slots=True)
class Source:
    key: str
    title: str
    address: str
    """Empty where there is none to give."""
    date: str


@dataclass(frozen=True, slots=True)
class Figure:
    """Throughput as one source states it."""

    precision: Precision
    basis: Basis
    mega: int
    source: Source
    confidence: Confidence
    note: str = ""


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """Of the card's memory, GB/s."""

    gb_s: int
    source: Source
    note: str = ""


@dataclass(frozen=True, slots=True)
class Memory:
    """A version of the card by its nominal size in GB, as sold."""

    gb: int
    bandwidths: tuple[Bandwidth, ...]
    half: bool = False
    """One die of a card that has two, reported by itself: figures are halved."""


@dataclass(frozen=True, slots=True)
class Accelerator:
    """A model; `names` are how drivers, Slurm, Kubernetes and people call it."""

    slug: str
    name: str
    vendor: str
    stack: str
    """What it is programmed with."""
    domestic: bool
    """Designed in China: programmes pay more for it."""
    names: tuple[str, ...]
    memory: tuple[Memory, ...]
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class Band:
    """What sources say, from the least to the most, and the figure that is reckoned with."""

    low_mega: int
    high_mega: int
    mega: int
    basis: Basis

    @property
    def is_wide(self) -> bool:
        """Sources differ by more than 10 %."""
        return self.high_mega * 10 > self.low_mega * 11


@dataclass(frozen=True, slots=True)
class UnitPrice:
    """Micro-yuan for a normalised unit and hour; None where a figure is missing.

    `low` and `high` are the ends of the band: the low price belongs to the high figure.
    """

    by_peak: int | None = None
    low: int | None = None
    high: int | None = None
    basis: Basis | None = None
    by_measured: int | None = None


# --- the micro-benchmark -----------------------------------------------------------------------


class BenchState(StrEnum):
    """Only moves down from the first."""

    OPEN = "open"
    TAKEN = "taken"
    """Its result is in the catalogue."""
    REFUSED = "refused"
    """It gave no result that can be believed; the reason says why."""


class Ticket(msgspec.Struct, frozen=True):
    """The right to report one result: for this job, at this site and pool."""

    ticket_id: str
    job_id: str
    site_id: str
    pool_id: str
    unit_class: str
    units: int
    """Cards, or cores, that the job holds; results are of one of them."""
    organisation_id: str
    project_id: str
    user_id: str
    sealed_key: bytes
    program: str
    state: BenchState
    reason: str
    detail: str
    created_at_ms: int
    ended_at_ms: int | None


MEMORY = "memory"
"""Instead of a precision: the bandwidth of memory, in MB/s."""


class Measurement(msgspec.Struct, frozen=True):
    """What was measured of one unit; `precision` may be `MEMORY`."""

    ticket_id: str
    job_id: str
    site_id: str
    pool_id: str
    unit_class: str
    precision: str
    mega: int
    backend: str
    device: str
    program: str
    at_ms: int
