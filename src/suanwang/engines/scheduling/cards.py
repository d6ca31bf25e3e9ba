"""Cards one by one: a share of a card fits only where one card has that much free.

Totals are exact while everybody takes whole cards. As soon as somebody holds or asks for a part
of one, the tables of room get more columns: whether a node's cards are known, then what is free
of each. Within a node a share goes to the fullest card that still holds it, whole cards to the
first that are wholly free.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from suanwang.engines.scheduling.arithmetic import Ints
from suanwang.engines.scheduling.model import Node, Pool, Running
from suanwang.engines.scheduling.packing_model import CARD
from suanwang.kernel.resources import Resources

KINDS = 4
KNOWN = 4
"""The column that says 1 where a node's cards are known one by one."""
FIRST = 5
"""The column of a node's first card."""

Cards = tuple[tuple[int, ...], ...]
"""Per node of a spread: the positions of the cards its members take, one member after the other;
empty where the node's cards are not known."""

_WHOLE = frozenset((0, CARD))


def columns_needed(
    pools: Sequence[Pool], running: Iterable[Running], asked: Iterable[Resources]
) -> int:
    """Columns of a table of room: KINDS where totals are exact or all that is known."""
    most = max((len(node.cards) for pool in pools for node in pool.nodes), default=0)
    if most == 0:
        return KINDS
    parts = (
        any(need.accelerator_milli % CARD for need in asked)
        or any(lease.member_resources.accelerator_milli % CARD for lease in running)
        or not all(_WHOLE.issuperset(node.cards) for pool in pools for node in pool.nodes)
    )
    return FIRST + most if parts else KINDS


def columns_of(node: Node, width: int) -> tuple[int, ...]:
    """A node's entries beyond the kinds."""
    cards = node.cards if width > KINDS else ()
    known = (1, *cards) if cards else ()
    return (*known, *(0,) * (width - KINDS - len(known)))


def copies_by_card(room: Ints, milli: int) -> Ints:
    """[row] how many such members the cards of a table of room hold."""
    cards = room[:, FIRST:].clip(0, CARD)
    fit: Ints = (
        (cards // milli).sum(axis=1)
        if milli < CARD
        else (cards == CARD).sum(axis=1) // -(-milli // CARD)
    )
    return fit


def pick(free: Sequence[int], milli: int, members: int) -> tuple[int, ...] | None:
    """The cards (positions) that members take of what is free of each; None if they do not fit."""
    left = list(free)
    taken: list[int] = []
    for _ in range(members):
        if milli < CARD:
            open_cards = [card for card, has in enumerate(left) if has >= milli]
            chosen = [min(open_cards, key=lambda card: (left[card], card))] if open_cards else []
        else:
            idle = [card for card, has in enumerate(left) if has >= CARD]
            count = -(-milli // CARD)
            chosen = idle[:count] if len(idle) >= count else []
        if not chosen:
            return None
        for card in chosen:
            left[card] -= min(milli, CARD)
        taken += chosen
    return tuple(taken)


def changed(free: Sequence[int], taken: Iterable[int], milli: int, sign: int) -> tuple[int, ...]:
    """What is free of each card once members of this size came (-1) or left (1)."""
    out = list(free)
    for card in taken:
        if card < len(out):
            out[card] += sign * min(milli, CARD)
    return tuple(out)


def deal(rows: Ints, members: Iterable[int], milli: int, wishes: Cards) -> list[tuple[int, ...]]:
    """Per row of a table of room: the cards its members take, as wished for where those are free;
    empty where they are not known."""
    out: list[tuple[int, ...]] = []
    for at, (row, count) in enumerate(zip(rows.tolist(), members, strict=True)):
        if row[KNOWN] <= 0:
            out.append(())
            continue
        wish = wishes[at] if at < len(wishes) else ()
        after = changed(row[FIRST:], wish, milli, -1)
        if wish and all(after[card] >= 0 for card in wish):
            out.append(wish)
        else:
            out.append(pick(row[FIRST:], milli, count) or ())
    return out


def charge(amounts: Ints, dealt: Sequence[tuple[int, ...]], milli: int) -> None:
    """Put the dealt cards into the rows that say what members take."""
    share, width = min(milli, CARD), amounts.shape[1]
    for row, taken in enumerate(dealt):
        for card in taken:
            if FIRST + card < width:
                amounts[row, FIRST + card] += share


def by_gang(dealt: tuple[int, ...], gangs: int) -> list[tuple[int, ...]]:
    """One node's cards, dealt out to the equal gangs that start on it."""
    each = len(dealt) // gangs
    return [dealt[i * each : (i + 1) * each] for i in range(gangs)]
