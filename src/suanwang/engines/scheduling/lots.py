"""Lots of a node, and vectors of what is there: (cpu, memory, disk, accelerator), then each card
where they are known one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from suanwang.engines.scheduling.packing_model import CARD
from suanwang.kernel.resources import Resources

Vector = list[int]
KINDS = 4
CORE = 1_000


@dataclass(frozen=True, slots=True)
class Lot:
    """One unit of a node with its part of everything else."""

    units: int
    """Of the node."""
    amounts: tuple[int, int, int, int]

    @classmethod
    def of(cls, capacity: Resources, by_core: bool) -> Lot | None:
        """None: the node has no such unit."""
        units = capacity.cpu_milli // CORE if by_core else capacity.accelerator_milli // CARD
        if units == 0:
            return None
        memory, disk = capacity.memory_mib // units, capacity.disk_mib // units
        if by_core:
            return cls(units, (CORE, memory, disk, 0))
        return cls(units, (capacity.cpu_milli // units, memory, disk, CARD))

    @property
    def is_card(self) -> bool:
        return self.amounts[3] > 0


def vector_of(resources: Resources, cards: Sequence[int]) -> Vector:
    return [
        resources.cpu_milli,
        resources.memory_mib,
        resources.disk_mib,
        resources.accelerator_milli,
        *cards,
    ]


def taken(member: Resources, members: int, cards: Sequence[int], size: int) -> Vector:
    """What members hold of a node with so many known cards; `cards`: those that they hold."""
    held = [0] * size
    for card in cards:
        if card < size:
            held[card] += min(member.accelerator_milli, CARD)
    return vector_of(member * members, held)


def added(first: Vector, *others: Vector, sign: int = 1) -> Vector:
    out = list(first)
    for other in others:
        out = [a + sign * b for a, b in zip(out, other, strict=True)]
    return out


def at_least_zero(vector: Vector) -> Vector:
    return [max(0, part) for part in vector]


def smaller(one: Vector, other: Vector) -> Vector:
    return [min(pair) for pair in zip(one, other, strict=True)]


def by_cards(vector: Vector) -> Vector:
    """With the accelerators that its cards come to, where they are known."""
    if len(vector) == KINDS:
        return vector
    return [*vector[:3], sum(vector[KINDS:]), *vector[KINDS:]]


def lots_in(room: Vector, lot: Lot) -> int:
    """Whole lots that lie in a node's room."""
    fit = min(has // needs for has, needs in zip(room, lot.amounts, strict=False) if needs > 0)
    if lot.is_card and len(room) > KINDS:
        fit = min(fit, sum(card >= CARD for card in room[KINDS:]))
    return max(0, fit)


def lots_needed(used: Vector, lot: Lot) -> int:
    """Whole lots that cover what is used; whoever has a part of a card has the card."""
    parts = [-(-has // each) for has, each in zip(used, lot.amounts, strict=False) if each > 0]
    return max(*parts, sum(card > 0 for card in used[KINDS:]) if lot.is_card else 0)


def of_lots(lot: Lot, count: int, used: Vector, room: Vector, last: Vector | None = None) -> Vector:
    """So many lots around what is used already: its cards, then wholly free ones of the room, those
    that are free in `last` after the others."""
    kinds = [max(each * count, has) for each, has in zip(lot.amounts, used, strict=False)]
    if not lot.is_card or len(room) == KINDS:
        return [*kinds, *used[KINDS:]]
    held = [has > 0 for has in used[KINDS:]]
    unnamed = max(0, used[3] - sum(used[KINDS:]))
    more = count - sum(held) - -(-unnamed // CARD)
    idle = [at for at, free in enumerate(room[KINDS:]) if free >= CARD and not held[at]]
    if last is not None:
        idle.sort(key=lambda at: (last[KINDS + at], at))
    for at in idle[: max(0, more)]:
        held[at] = True
    cards = [CARD * mine for mine in held]
    return [*kinds[:3], sum(cards) + unnamed, *cards]
