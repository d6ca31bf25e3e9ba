"""What is free of each card of a node, and which cards its open leases hold. Pure.

Where a site reports its cards, the planner names those that a run gets, and the site's own word
corrects it. Where it does not (an older agent, Slurm), or for a lease from before, cards are
nominal: whole ones as long as possible, as the site would do it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from suanwang.engines.scheduling.cards import changed, pick
from suanwang.engines.scheduling.packing_model import CARD
from suanwang.grid.jobs.model import Lease, OpenLease
from suanwang.protocol.messages import NodeReport

MOST_CARDS = 1024
"""Of a node."""

Place = tuple[str, str]
"""(pool, node)."""


class Holder(NamedTuple):
    """An open lease on one node."""

    lease_id: str
    milli: int
    """Of one member."""
    members: int
    cards: tuple[int, ...]
    """Positions; empty if not known."""


class Standing(NamedTuple):
    """A node's cards now."""

    free: tuple[int, ...]
    nominal: dict[str, tuple[int, ...]]
    """lease → the cards it is taken to hold, where that is not known."""


def holders_by_node(leases: Iterable[OpenLease]) -> dict[Place, list[Holder]]:
    """Those with cards; leases in the order given."""
    out: dict[Place, list[Holder]] = defaultdict(list)
    for lease in leases:
        if lease.accelerator_milli:
            known: list[tuple[int, ...]] = lease.cards or [()] * len(lease.node_members)
            for (node, members), cards in zip(lease.node_members, known, strict=False):
                held = Holder(lease.lease_id, lease.accelerator_milli, members, cards)
                out[(lease.pool_id, node)].append(held)
    return out


def cards_make_sense(lease: Lease, reported: Sequence[Sequence[int]]) -> bool:
    """Whether a site's word about a lease's cards is one: so many on each node as it was given."""
    each = -(-lease.accelerator_milli // CARD)
    return (
        each > 0
        and [len(cards) for cards in reported] == [m * each for _, m in lease.node_members]
        and all(0 <= card < MOST_CARDS for cards in reported for card in cards)
    )


def standing(report: NodeReport, holders: Iterable[Holder]) -> Standing:
    """Nothing is ever freed twice: what cannot lie where it is said to takes what there is."""
    left = list(report.cards or _nominal(report))
    unknown: list[Holder] = []
    for held in holders:
        share = held.milli if held.milli < CARD else CARD
        for card in held.cards:
            if card < len(left):
                left[card] -= share
        if not held.cards:
            unknown.append(held)
    free = tuple([milli if milli > 0 else 0 for milli in left])
    nominal: dict[str, tuple[int, ...]] = {}
    for held in sorted(unknown, key=lambda h: (-h.milli, h.lease_id)):
        chosen = pick(free, held.milli, held.members)
        if chosen is None:
            free = _less(free, held.milli * held.members)
        else:
            nominal[held.lease_id] = chosen
            free = changed(free, chosen, held.milli, -1)
    return Standing(free, nominal)


def _nominal(report: NodeReport) -> tuple[int, ...]:
    cards = (CARD,) * (report.capacity.accelerator_milli // CARD)
    return _less(cards, report.foreign.accelerator_milli)


def _less(free: tuple[int, ...], milli: int) -> tuple[int, ...]:
    """So much less, wherever it is: the last cards first."""
    out = list(free)
    for card in reversed(range(len(out))):
        gone = min(milli, out[card])
        out[card] -= gone
        milli -= gone
    return tuple(out)
