"""The words of trade: a product is a class of capacity in a zone, traded for whole hours.

One lot is one unit of the class (a card; of the class `core`, a core) for every hour of a period.
Prices are micro-yuan for a unit and hour.
"""

from __future__ import annotations

from dataclasses import dataclass

from suanwang.kernel.time import MS_PER_HOUR

CORE = "core"
"""The class of machines without accelerators: a lot is one core."""


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
