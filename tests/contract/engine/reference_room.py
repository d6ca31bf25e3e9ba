"""A pool during the reference planner's round: dictionaries by node, nothing clever."""

from __future__ import annotations

from dataclasses import dataclass, field

from suanwang.engines.scheduling.model import Pool
from suanwang.kernel.resources import Resources

Key = tuple[str, str, str, str, int]
Four = tuple[int, int, int, int]
MANY = 1 << 40


def four(r: Resources) -> Four:
    return (r.cpu_milli, r.memory_mib, r.disk_mib, r.accelerator_milli)


def add(a: Four, b: Four, times: int = 1) -> Four:
    return (
        a[0] + b[0] * times,
        a[1] + b[1] * times,
        a[2] + b[2] * times,
        a[3] + b[3] * times,
    )


def copies(need: Four, free: Four) -> int:
    fits = [f // n for n, f in zip(need, free, strict=True) if n > 0]
    return max(0, min(fits)) if fits else MANY


def tightness(free: Four, name: str) -> tuple[int, int, int, int, str]:
    return (free[3], free[0], free[1], free[2], name)


@dataclass
class Kept:
    owner: Key
    start_ms: int
    spread: dict[str, int]
    need: Four
    spare: dict[str, Four]


@dataclass
class Room:
    """A pool during the round."""

    pool: Pool
    free: dict[str, Four]
    first_free: dict[str, Four]
    releases: list[tuple[int, str, Four]] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    closed: bool = False

    def fits(self, room: dict[str, Four], need: Four) -> dict[str, int]:
        return {
            n.node_id: copies(need, room[n.node_id]) if n.schedulable else 0
            for n in self.pool.nodes
        }

    def available(self, end_ms: int) -> dict[str, Four]:
        out = dict(self.free)
        for kept in self.kept:
            if kept.start_ms < end_ms:
                for name, spare in kept.spare.items():
                    a, b = out[name], spare
                    out[name] = (
                        min(a[0], b[0]),
                        min(a[1], b[1]),
                        min(a[2], b[2]),
                        min(a[3], b[3]),
                    )
        return out

    def free_at(self, at_ms: int) -> dict[str, Four]:
        out = dict(self.free)
        for end_ms, name, amount in self.releases:
            if end_ms <= at_ms:
                out[name] = add(out[name], amount)
        return out

    def beside_reserved(self, room: dict[str, Four]) -> dict[str, Four]:
        out = dict(room)
        for kept in self.kept:
            for name, members in kept.spread.items():
                out[name] = add(out[name], kept.need, -members)
        return out


def spread_gang(fits: dict[str, int], free: dict[str, Four], members: int) -> dict[str, int] | None:
    """The tightest node that holds the rest of the gang; else the roomiest takes what it can."""
    fits = dict(fits)
    if sum(fits.values()) < members:
        return None
    out: dict[str, int] = {}
    left = members
    while left > 0:
        whole = [n for n in fits if fits[n] >= left]
        if whole:
            name = min(whole, key=lambda n: tightness(free[n], n))
            out[name] = left
            return out
        name = min(fits, key=lambda n: (-fits[n], tightness(free[n], n)))
        out[name] = fits[name]
        left -= fits.pop(name)
    return out
