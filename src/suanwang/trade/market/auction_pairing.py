"""Who delivers to whom: awards of anonymous buyers and sellers made into pairs. Pure.

1. In each hour a zone's own lots meet first; what is left follows the links' flows, so that
   nobody gets lots from a dearer zone than his own.
2. Between two zones, the largest buyer takes the seller with whom he has the most lot-hours in
   common, over all hours at once; then again, until all is paired. So contracts are few. Ties
   go to the smaller id.
3. Lots that met their own organisation's are exchanged with others' of the same hour and
   zones. What cannot be exchanged is an organisation's that has more than all others together
   on both sides: those lots stay its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from suanwang.kernel.errors import require

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Position:
    """What an order got: lots by product-hour."""

    order_id: str
    owner: str
    """Its organisation."""
    lots: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Flow:
    """Lots moved from one product-hour to another of the same hour."""

    source: int
    target: int
    lots: int


@dataclass(frozen=True, slots=True, order=True)
class Pair:
    """Lots of one hour. `sold` is the product-hour that the seller delivers, `bought` that which
    the buyer asked for."""

    buy_id: str
    sell_id: str
    sold: int
    bought: int
    lots: int
    own: bool
    """Both are of one organisation."""


def pair(
    buys: Sequence[Position], sells: Sequence[Position], flows: Sequence[Flow], hours: int
) -> list[Pair]:
    """Sums by order and product-hour are exact. Product-hours are numbered product x hours + hour.

    Raises InvariantViolated if bought, sold and moved lots do not balance.
    """
    buys = sorted(buys, key=lambda one: one.order_id)
    sells = sorted(sells, key=lambda one: one.order_id)
    shares: Shares = {}
    sides = (_by_number(buys), _by_number(sells))
    moved: dict[int, dict[tuple[int, int], int]] = {}
    for flow in flows:
        if flow.lots:
            key = (flow.source // hours, flow.target // hours)
            of_hour = moved.setdefault(flow.source % hours, {})
            of_hour[key] = of_hour.get(key, 0) + flow.lots
    for hour in range(hours):
        _share_hour(shares, hour, hours, sides, moved.get(hour, {}))
    found: list[Pair] = []
    for (sold, bought), (wanted, offered) in sorted(shares.items()):
        found += _channel(
            [buys[at] for at in sorted(wanted)],
            [sells[at] for at in sorted(offered)],
            _table(wanted, hours),
            _table(offered, hours),
            (sold * hours, bought * hours),
        )
    return sorted(found)


Lots = dict[int, dict[int, int]]
"""Of one side: place of an order → hour → lots."""
Shares = dict[tuple[int, int], tuple[Lots, Lots]]
"""(sold, bought) product → what buyers and sellers have there."""


def _by_number(orders: Sequence[Position]) -> dict[int, list[tuple[int, int]]]:
    """Product-hour → (place of the order, lots), in the orders' order."""
    found: dict[int, list[tuple[int, int]]] = {}
    for at, order in enumerate(orders):
        for number, lots in order.lots.items():
            if lots:
                found.setdefault(number, []).append((at, lots))
    return found


def _table(lots: Lots, hours: int) -> Ints:
    made = np.zeros((len(lots), hours), dtype=np.int64)
    for row, at in enumerate(sorted(lots)):
        for hour, count in lots[at].items():
            made[row, hour] = count
    return made


def _share_hour(
    shares: Shares,
    hour: int,
    hours: int,
    sides: tuple[dict[int, list[tuple[int, int]]], dict[int, list[tuple[int, int]]]],
    moved: dict[tuple[int, int], int],
) -> None:
    """Orders' lots of one hour, given out to the pairs of products between which they move."""
    totals = [
        {
            number // hours: sum(lots for _, lots in orders)
            for number, orders in side.items()
            if number % hours == hour
        }
        for side in sides
    ]
    channels = _routed(totals[0], totals[1], moved)
    for side, orders in enumerate(sides):
        for product in sorted(totals[side]):
            mine = [key for key in sorted(channels) if key[1 - side] == product]
            mine.sort(key=lambda key: (key[0] != key[1], key))
            left = [channels[key] for key in mine]
            at = 0
            for place, lots in orders[product * hours + hour]:
                while lots:
                    require(at < len(mine), "LotsUnpaired", f"product {product} in hour {hour}")
                    part = min(lots, left[at])
                    if part:
                        of = shares.setdefault(mine[at], ({}, {}))[side].setdefault(place, {})
                        of[hour] = of.get(hour, 0) + part
                    lots -= part
                    left[at] -= part
                    at += not left[at]
            require(not any(left), "LotsUnpaired", f"product {product} in hour {hour}")


def _routed(
    bought: Mapping[int, int], sold: Mapping[int, int], moved: dict[tuple[int, int], int]
) -> dict[tuple[int, int], int]:
    """(sold, bought) → lots: a product's own first, then along the flows."""
    found: dict[tuple[int, int], int] = {}
    surplus, lacking = dict(sold), dict(bought)
    for product in sorted(bought):
        own = min(bought[product], sold.get(product, 0))
        if own:
            found[product, product] = own
            surplus[product] -= own
            lacking[product] -= own
    for source in sorted(surplus):
        while surplus[source]:
            path = _path(source, lacking, moved)
            lots = min([surplus[source], lacking[path[-1]], *(moved[key] for key in _arcs(path))])
            for key in _arcs(path):
                moved[key] -= lots
            surplus[source] -= lots
            lacking[path[-1]] -= lots
            found[source, path[-1]] = found.get((source, path[-1]), 0) + lots
    require(not any(lacking.values()), "LotsUnpaired", "More is bought than comes there.")
    return found


def _path(source: int, lacking: Mapping[int, int], moved: dict[tuple[int, int], int]) -> list[int]:
    """Along the flows, the smallest number first, to where lots are lacking. A ring is undone."""
    path = [source]
    while not lacking.get(path[-1], 0):
        following = [
            target for (here, target), n in sorted(moved.items()) if here == path[-1] and n
        ]
        require(bool(following), "LotsUnpaired", "Flows do not lead to where lots are bought.")
        if following[0] in path:
            ring = [*path[path.index(following[0]) :], following[0]]
            least = min(moved[key] for key in _arcs(ring))
            for key in _arcs(ring):
                moved[key] -= least
            path = [source]
        else:
            path.append(following[0])
    return path


def _arcs(path: Sequence[int]) -> list[tuple[int, int]]:
    return list(pairwise(path))


def _channel(
    buys: Sequence[Position],
    sells: Sequence[Position],
    wanted: Ints,
    offered: Ints,
    numbers: tuple[int, int],
) -> list[Pair]:
    """Pairs of those who meet between two products, over all hours."""
    owners = sorted({one.owner for one in (*buys, *sells)})
    number = {owner: at for at, owner in enumerate(owners)}
    sellers = np.array([number[one.owner] for one in sells], dtype=np.int64)
    met: dict[tuple[int, int], Ints] = {}
    totals = wanted.sum(axis=1)
    order = sorted(np.flatnonzero(totals).tolist(), key=lambda at: (-int(totals[at]), at))
    for strangers in (True, False):  # one's own organisation last
        for buyer in order:
            others = sellers != number[buys[buyer].owner]
            while wanted[buyer].any():
                common = np.minimum(offered, wanted[buyer]).sum(axis=1)
                common[~others if strangers else others] = 0
                seller = int(common.argmax())
                if not common[seller]:
                    break
                lots = np.minimum(offered[seller], wanted[buyer])
                met[buyer, seller] = met.get((buyer, seller), 0) + lots
                wanted[buyer] -= lots
                offered[seller] -= lots
    require(not wanted.any() and not offered.any(), "LotsUnpaired", "Some met nobody.")
    _exchange(met, [number[one.owner] for one in buys], sellers.tolist(), wanted.shape[1])
    sold, bought = numbers
    return [
        Pair(
            buys[buyer].order_id,
            sells[seller].order_id,
            sold + hour,
            bought + hour,
            int(lots[hour]),
            buys[buyer].owner == sells[seller].owner,
        )
        for (buyer, seller), lots in sorted(met.items(), key=lambda item: item[0])
        for hour in np.flatnonzero(lots).tolist()
    ]


def _exchange(
    met: dict[tuple[int, int], Ints], buyers: Sequence[int], sellers: Sequence[int], hours: int
) -> None:
    """Lots that met their own organisation's change partners with others' of the same hour."""
    own = [key for key in sorted(met) if buyers[key[0]] == sellers[key[1]]]
    for buyer, seller in own:
        owner = buyers[buyer]
        for hour in np.flatnonzero(met[buyer, seller]).tolist():
            for key in sorted(met):
                left = int(met[buyer, seller][hour])
                if not left:
                    break
                other_buyer, other_seller = key
                if owner in (buyers[other_buyer], sellers[other_seller]):
                    continue
                lots = min(left, int(met[key][hour]))
                if lots:
                    for one, change in (
                        ((buyer, seller), -lots),
                        (key, -lots),
                        ((buyer, other_seller), lots),
                        ((other_buyer, seller), lots),
                    ):
                        met.setdefault(one, np.zeros(hours, dtype=np.int64))[hour] += change
