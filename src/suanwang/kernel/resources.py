"""Resource vectors in integer units: milli-cores, MiB, MiB of disk, milli-accelerators.

A vector is about one kind of accelerator at most, because a pool's nodes are alike; which
model that is stands beside the vector (in the pool or in the request), not in it.
"""

from __future__ import annotations

from dataclasses import dataclass

UNLIMITED = 10**12
"""In a quota, of any kind: no limit."""


@dataclass(frozen=True, slots=True, order=True)
class Resources:
    """cpu in 1/1000 core, memory and disk in MiB, accelerators in 1/1000 card."""

    cpu_milli: int = 0
    memory_mib: int = 0
    disk_mib: int = 0
    accelerator_milli: int = 0

    def __add__(self, other: Resources) -> Resources:
        return Resources(
            self.cpu_milli + other.cpu_milli,
            self.memory_mib + other.memory_mib,
            self.disk_mib + other.disk_mib,
            self.accelerator_milli + other.accelerator_milli,
        )

    def __sub__(self, other: Resources) -> Resources:
        return Resources(
            self.cpu_milli - other.cpu_milli,
            self.memory_mib - other.memory_mib,
            self.disk_mib - other.disk_mib,
            self.accelerator_milli - other.accelerator_milli,
        )

    def __mul__(self, times: int) -> Resources:
        return Resources(
            self.cpu_milli * times,
            self.memory_mib * times,
            self.disk_mib * times,
            self.accelerator_milli * times,
        )

    def fits_in(self, free: Resources) -> bool:
        return (
            self.cpu_milli <= free.cpu_milli
            and self.memory_mib <= free.memory_mib
            and self.disk_mib <= free.disk_mib
            and self.accelerator_milli <= free.accelerator_milli
        )

    def times_in(self, free: Resources) -> int:
        """How many copies of this vector fit in `free`; a vector of zeros fits once."""
        counts = [
            have // need
            for have, need in (
                (free.cpu_milli, self.cpu_milli),
                (free.memory_mib, self.memory_mib),
                (free.disk_mib, self.disk_mib),
                (free.accelerator_milli, self.accelerator_milli),
            )
            if need > 0
        ]
        return max(0, min(counts)) if counts else 1

    def is_non_negative(self) -> bool:
        return min(self.cpu_milli, self.memory_mib, self.disk_mib, self.accelerator_milli) >= 0


ZERO = Resources()
