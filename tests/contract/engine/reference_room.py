"""A pool during the reference planner's round: dictionaries by node, nothing clever."""

from __future__ import annotations

from dataclasses import dataclass, field

from suanwang.engines.scheduling.model import Node, Pool
from suanwang.kernel.resources import Resources

Key = tuple[str, str, str, str, int]
Four = tuple[int, int, int, int]
Space = tuple[int, ...]
"""A Four, then what is free of each card where the cards are known."""
MANY = 1 << 40
CARD = 1_000


def four(r: Resources) -> Four:
    return (r.cpu_milli, r.memory_mib, r.disk_mib, r.accelerator_milli)


def add(a: Four, b: Four, times: int = 1) -> Four:
    return (
        a[0] + b[0] * times,
        a[1] + b[1] * times,
        a[2] + b[2] * times,
        a[3] + b[3] * times,
    )


def space(node: Node) -> Space:
    return (*four(node.free), *node.cards)


def plus(a: Space, b: Space, times: int = 1) -> Space:
    """Either may know no cards."""
    longer = max(len(a), len(b))
    padded = [(*s, *(0,) * (longer - len(s))) for s in (a, b)]
    return tuple(x + y * times for x, y in zip(*padded, strict=True))[: len(a)]


def copies(need: Four, free: Space) -> int:
    fits = [f // n for n, f in zip(need, free[:4], strict=True) if n > 0]
    fit = max(0, min(fits)) if fits else MANY
    if need[3] and len(free) > 4:
        by_card = 0
        while by_card < fit and cards_for(need, free, by_card + 1) is not None:
            by_card += 1
        return by_card
    return fit


def cards_for(need: Four, free: Space, members: int) -> tuple[int, ...] | None:
    """One member after the other: a share on the fullest card that holds it, whole ones in turn."""
    left = dict(enumerate(free[4:]))
    out: list[int] = []
    for _ in range(members):
        if need[3] < CARD:
            holding = sorted((milli, card) for card, milli in left.items() if milli >= need[3])
            chosen = [card for _, card in holding[:1]]
        else:
            chosen = [card for card in sorted(left) if left[card] >= CARD][: need[3] // CARD]
        if len(chosen) < max(1, need[3] // CARD):
            return None
        for card in chosen:
            left[card] -= min(need[3], CARD)
        out.extend(chosen)
    return tuple(out)


def taken(need: Four, members: int, cards: tuple[int, ...], known: int) -> Space:
    """What members take of a node that knows so many cards."""
    return (
        *add((0, 0, 0, 0), need, members),
        *(cards.count(card) * min(need[3], CARD) for card in range(known)),
    )


def tightness(free: Space, name: str) -> tuple[int, int, int, int, str]:
    return (free[3], free[0], free[1], free[2], name)


@dataclass
class Kept:
    owner: Key
    start_ms: int
    spread: dict[str, int]
    amounts: dict[str, Space]
    spare: dict[str, Space]


@dataclass
class Room:
    """A pool during the round."""

    pool: Pool
    free: dict[str, Space]
    first_free: dict[str, Space]
    releases: list[tuple[int, str, Space]] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    closed: bool = False

    def fits(self, room: dict[str, Space], need: Four) -> dict[str, int]:
        return {
            n.node_id: copies(need, room[n.node_id]) if n.schedulable else 0
            for n in self.pool.nodes
        }

    def available(self, end_ms: int) -> dict[str, Space]:
        out = dict(self.free)
        for kept in self.kept:
            if kept.start_ms < end_ms:
                for name, spare in kept.spare.items():
                    out[name] = tuple(min(a, b) for a, b in zip(out[name], spare, strict=True))
        return out

    def free_at(self, at_ms: int) -> dict[str, Space]:
        out = dict(self.free)
        for end_ms, name, amount in self.releases:
            if end_ms <= at_ms:
                out[name] = plus(out[name], amount)
        return out

    def beside_reserved(self, room: dict[str, Space]) -> dict[str, Space]:
        out = dict(room)
        for kept in self.kept:
            for name, amount in kept.amounts.items():
                out[name] = plus(out[name], amount, -1)
        return out

    def amount(
        self, name: str, need: Four, members: int, room: dict[str, Space]
    ) -> tuple[Space, tuple[int, ...]]:
        """What members take of a node when that is its room, and the cards."""
        known = len(room[name]) - 4
        cards = cards_for(need, room[name], members) if known and need[3] else ()
        assert cards is not None
        return taken(need, members, cards, known), cards


def spread_gang(
    fits: dict[str, int], free: dict[str, Space], members: int
) -> dict[str, int] | None:
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
