"""What node choice talks about: what one member needs, a node with its cards, and the usual mix.

`Need` is a resource request spelt out in cards: either a share of one card (`cards` is 1 and
`card_milli` below 1000) or whole cards (`card_milli` is 1000), or none at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from suanwang.engines.scheduling.model import Node, Request
from suanwang.kernel.errors import InvalidInput

CARD = 1000
"""Milli-units of one whole card."""


@dataclass(frozen=True, slots=True, order=True)
class Need:
    """What one member takes from one node. Models are sorted; empty means any."""

    cpu_milli: int = 0
    memory_mib: int = 0
    disk_mib: int = 0
    cards: int = 0
    card_milli: int = 0
    models: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        whole = self.card_milli == CARD and self.cards >= 1
        share = 0 < self.card_milli < CARD and self.cards == 1
        nothing = self.card_milli == 0 and self.cards == 0
        if not (whole or share or nothing):
            raise InvalidInput(
                "AcceleratorShare",
                f"{self.cards} cards of {self.card_milli} milli cannot be placed.",
                hint="Ask for a share of one card, or for whole cards.",
                field="accelerator_milli",
            )
        if min(self.cpu_milli, self.memory_mib, self.disk_mib) < 0:
            raise InvalidInput("NegativeResources", "Resources cannot be negative.")

    @classmethod
    def of(cls, request: Request) -> Need:
        """InvalidInput when the accelerators are more than one card and not whole cards."""
        wanted = request.resources
        milli = wanted.accelerator_milli
        if milli > CARD and milli % CARD:
            raise InvalidInput(
                "AcceleratorShare",
                f"{milli} milli-accelerators are neither a share of one card nor whole cards.",
                hint="Ask for less than 1000 or for a multiple of 1000.",
                field="accelerator_milli",
            )
        return cls(
            wanted.cpu_milli,
            wanted.memory_mib,
            wanted.disk_mib,
            -(-milli // CARD),
            min(milli, CARD),
            tuple(sorted(set(request.accelerator_models))) if milli else (),
        )

    @property
    def accelerator_milli(self) -> int:
        return self.cards * self.card_milli

    def times(self, members: int) -> Need:
        """The need of so many members on one node; whole cards or none only."""
        if members == 1:
            return self
        return Need(
            self.cpu_milli * members,
            self.memory_mib * members,
            self.disk_mib * members,
            self.cards * members,
            self.card_milli,
            self.models,
        )


@dataclass(frozen=True, slots=True)
class PackNode:
    """A node as packing sees it: what is free now, card by card (milli of each card)."""

    node_id: str
    cpu_milli: int
    memory_mib: int
    disk_mib: int = 0
    cards_milli: tuple[int, ...] = ()
    model: str = ""

    @classmethod
    def of(cls, node: Node, model: str = "") -> PackNode:
        """From a pool's node. If only its free total is known: as many whole cards as that holds,
        and their numbers are nominal."""
        if node.cards:
            free = node.free
            sizes = (free.cpu_milli, free.memory_mib, free.disk_mib)
            return cls(node.node_id, *sizes, node.cards, model)
        count = -(-node.capacity.accelerator_milli // CARD)
        whole, part = divmod(node.free.accelerator_milli, CARD)
        cards = (*(CARD,) * whole, *((part,) if part else ()))
        return cls(
            node.node_id,
            node.free.cpu_milli,
            node.free.memory_mib,
            node.free.disk_mib,
            (*cards, *(0,) * (count - len(cards))),
            model if count else "",
        )


@dataclass(frozen=True, slots=True)
class Spot:
    """Where one member goes: a node and the cards it takes there (numbers within the node)."""

    node_id: str
    cards: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class DemandMix:
    """What is usually asked for: needs with positive weights, sorted; the yardstick of packing."""

    classes: tuple[tuple[Need, int], ...] = ()

    @classmethod
    def of(cls, counted: Iterable[tuple[Need, int]]) -> DemandMix:
        """Merges equal needs; the order of the input does not matter."""
        weights: dict[Need, int] = {}
        for need, count in counted:
            weights[need] = weights.get(need, 0) + count
        return cls(tuple(sorted((n, w) for n, w in weights.items() if w > 0)))
