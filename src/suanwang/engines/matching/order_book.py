"""The continuous book of one product: price-time priority, events in, facts out.

What came of an order: the trades in the order they were made, what rests, and the named reason why
anything of it does not. The maker's price counts. Everything that could be refused is checked
before anything is traded, so that a refused order leaves no trace.

`place_many` is the one way in; what it says is flat, and only of orders of which there is something
to say: an object made for each order would cost as much as matching it. Both sides are one piece of
code by *keys*: a price on the side of the asks, a negated price on that of the bids, so that the
best is the least of a heap on either.

Orders that rest are numbers into flat lists, not objects: an object for each would be looked at by
the garbage collector again and again. What is cancelled stays in its queue with nothing left and is
passed over when its turn comes; so do levels in their heap, and the lists are made anew once more
than half of them has left (amortised: each order enters and leaves once).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from heapq import heappop, heappush
from typing import NamedTuple

from suanwang.engines.matching.model import Side


class Stay(StrEnum):
    """How long what is not traded at once stays in the book."""

    REST = "rest"
    IMMEDIATE = "immediate"
    """What is not traded at once is cancelled (IOC)."""
    WHOLE = "whole"
    """All of it at once, or nothing (FOK)."""
    MAKER = "maker"
    """Only if nothing of it would trade at once (post-only)."""


class SelfTrade(StrEnum):
    """What is cancelled when an owner would trade with himself."""

    NEWEST = "newest"
    OLDEST = "oldest"


class Refusal(StrEnum):
    HALTED = "Halted"
    OUTSIDE_BAND = "OutsideBand"
    """The limit is beyond the band of prices that are accepted now."""
    TOO_LARGE = "TooLarge"
    OVER_POSITION = "OverPosition"
    """The owner would have more lots resting than he may."""
    DUPLICATE = "Duplicate"
    WOULD_TRADE = "WouldTrade"
    """A maker-only order that meets an order on the other side."""
    NOT_WHOLE = "NotWhole"
    """There is not enough on the other side for all of it."""
    NO_PRICE = "NoPrice"
    """A market order can only be immediate or whole: it has no limit to rest at."""
    NO_LOTS = "NoLots"
    """It is of less than one lot."""


class Rest(StrEnum):
    """Why what was not traded does not rest."""

    IMMEDIATE = "Immediate"
    SELF_TRADE = "SelfTrade"
    NOBODY = "Nobody"
    """A market order, and nobody is left on the other side within the band."""


class Trade(NamedTuple):
    maker_id: str
    taker_id: str
    price: int
    lots: int


@dataclass(frozen=True, slots=True)
class Terms:
    """What the operator sets; None or 0 sets no bound. Prices in micro-yuan for a lot."""

    low: int | None = None
    high: int | None = None
    """Limits outside are refused. An order that would trade outside (with one that rests there,
    from before the band moved) is refused too, and halts the book."""
    most_lots: int = 0
    most_resting: int = 0
    """Lots that an owner may have resting in this book."""
    self_trade: SelfTrade = SelfTrade.NEWEST


class Placed(NamedTuple):
    """What came of an order."""

    trades: Sequence[Trade] = ()
    resting: int = 0
    dropped: int = 0
    why_dropped: Rest | None = None
    cancelled: Sequence[str] = ()
    """Orders of the owner's own that were cancelled to prevent self-trade."""
    refusal: Refusal | None = None


BEYOND = 1 << 62
"""More than any price or number of lots."""
FEW = 1_000
"""Orders that have left are not worth forgetting before there are so many."""
Order = tuple[str, str, Side, int | None, int, Stay]
"""(order, owner, side, limit or None for any price within the band, lots, stay)"""
Left = tuple[str, str, Side, int, int]
"""(order, owner, side, limit, lots that are left of it)"""
Fill = tuple[int, str, int, int]
"""(place of the taker among the orders, maker, price, lots)"""


@dataclass(slots=True)
class Batch:
    """What came of many orders; they are meant by their places, from 0.

    Whoever is not refused rests with what was neither traded nor dropped.
    """

    fills: list[Fill] = field(default_factory=list)
    refused: dict[int, Refusal] = field(default_factory=dict)
    dropped: dict[int, tuple[int, Rest]] = field(default_factory=dict)
    """(lots, why) of what did not trade and does not rest."""
    cancelled: dict[int, list[str]] = field(default_factory=dict)
    """Orders of the owner's own that were cancelled to prevent self-trade."""

    def each(self, orders: Sequence[Order]) -> Iterator[Placed]:
        """The same, order by order."""
        upto = 0
        for at, (order_id, _, _, _, lots, _) in enumerate(orders):
            if at in self.refused:
                yield Placed(refusal=self.refused[at])
                continue
            trades: list[Trade] = []
            while upto < len(self.fills) and self.fills[upto][0] == at:
                _, maker_id, price, taken = self.fills[upto]
                trades.append(Trade(maker_id, order_id, price, taken))
                lots -= taken
                upto += 1
            left, why = self.dropped.get(at, (0, None))
            yield Placed(trades, lots - left, left, why, self.cancelled.get(at, ()))


class Half:
    """One side of a book: queues by key, and the keys as a heap that never runs empty."""

    __slots__ = ("keys", "queues")

    def __init__(self) -> None:
        self.keys = [BEYOND]
        self.queues: dict[int, deque[int]] = {}

    def top(self, left: list[int]) -> int:
        """The best key at which somebody is, BEYOND if there is nobody; `left` of each order."""
        while (key := self.keys[0]) != BEYOND:
            queue = self.queues[key]
            while queue and not left[queue[0]]:
                queue.popleft()
            if queue:
                break
            self.drop_top()
        return key

    def drop_top(self) -> None:
        del self.queues[heappop(self.keys)]

    def add(self, key: int, number: int) -> None:
        queue = self.queues.get(key)
        if queue is None:
            self.queues[key] = deque((number,))
            heappush(self.keys, key)
        else:
            queue.append(number)


class OrderBook:
    """The state of one product's book."""

    def __init__(self, terms: Terms | None = None) -> None:
        self.terms = terms or Terms()
        self.halted = False
        self._fill(())

    @classmethod
    def restore(cls, orders: Iterable[Left], terms: Terms | None = None) -> OrderBook:
        """A book as it was when `resting` gave these orders; `terms` are for those to come.

        Raises ValueError if they were no book: an order twice or of no lots, a bid at an ask.
        """
        book = cls(terms)
        book._fill(orders)
        return book

    def place(
        self,
        order_id: str,
        owner: str,
        side: Side,
        limit: int | None,
        lots: int,
        stay: Stay = Stay.REST,
    ) -> Placed:
        """`limit` None: at any price within the band. Raises ValueError for no lots."""
        if lots <= 0:
            raise ValueError("an order is of at least one lot")
        orders = [(order_id, owner, side, limit, lots, stay)]
        return next(self.place_many(orders).each(orders))

    def place_many(self, orders: Iterable[Order]) -> Batch:
        """One after another; none that is refused is in the way of the next."""
        batch = Batch()
        self._forget_who_left()
        index, owners, held = self._index, self._owners, self._held
        known, owner_of, left = self._orders, self._owner_of, self._left
        bids, asks = self._bids, self._asks
        low, high, most_lots, most_resting = _bounds(self.terms)
        halted, rest, buy = self.halted, Stay.REST, Side.BUY
        for at, order in enumerate(orders):
            order_id, name, side, limit, lots, stay = order
            owner = owners.get(name)
            if owner is None:
                owner = owners[name] = len(held)
                held.append(0)
            if (
                stay is not rest
                or limit is None
                or not low <= limit <= high
                or not 0 < lots <= most_lots
                or held[owner] + lots > most_resting
                or order_id in index
                or halted
            ):
                refusal = self._refusal(order, owner)
                if refusal is not None:
                    batch.refused[at] = refusal
                    continue
            if side is buy:
                reach, nearest, mine, other = high if limit is None else limit, low, bids, asks
            else:
                reach, nearest, mine, other = -(low if limit is None else limit), -high, asks, bids
            top = other.keys[0]
            if top <= reach:
                if top < nearest and other.top(left) < nearest:
                    halted = self.halted = True
                    batch.refused[at] = Refusal.HALTED
                    continue
                lots = self._trade(batch, at, owner, other, reach, lots)
                if not lots:
                    continue
            if limit is not None and (stay is rest or stay is Stay.MAKER):
                held[owner] += lots
                index[order_id] = number = len(known)
                known.append(order)
                owner_of.append(owner)
                left.append(lots)
                mine.add(-reach, number)
            else:
                batch.dropped[at] = lots, Rest.NOBODY if limit is None else Rest.IMMEDIATE
        return batch

    def cancel(self, order_id: str) -> int:
        """The lots that were left of it; 0 if it does not rest here."""
        number = self._index.pop(order_id, None)
        if number is None:
            return 0
        lots, self._left[number] = self._left[number], 0
        self._held[self._owner_of[number]] -= lots
        return lots

    def reduce(self, order_id: str, lots: int) -> int:
        """Leaves no more than so many lots of it, and it keeps its place; for more, an order has
        to be cancelled and placed again, behind the others. The lots that are taken off: 0 if it
        does not rest here or is no larger. Raises ValueError for less than one lot."""
        if lots <= 0:
            raise ValueError("an order is of at least one lot: cancel it instead")
        number = self._index.get(order_id)
        if number is None or self._left[number] <= lots:
            return 0
        off = self._left[number] - lots
        self._left[number] = lots
        self._held[self._owner_of[number]] -= off
        return off

    def best(self, side: Side) -> int | None:
        """The best price on a side."""
        key = self._half(side).top(self._left)
        return None if key == BEYOND else -side.sign * key

    def depth(self, side: Side, levels: int) -> list[tuple[int, int]]:
        """[(price, lots)] from the best on."""
        half = self._half(side)
        found: list[tuple[int, int]] = []
        for key in sorted(half.queues):
            if len(found) >= levels:
                break
            lots = sum([self._left[number] for number in half.queues[key]])
            if lots:
                found.append((-side.sign * key, lots))
        return found

    def resting(self) -> Iterator[Left]:
        """(order, owner, side, limit, lots) in the order of arrival."""
        for order_id, number in self._index.items():
            _, owner, side, limit, _, _ = self._orders[number]
            assert limit is not None
            yield order_id, owner, side, limit, self._left[number]

    def _fill(self, orders: Iterable[Left]) -> None:
        """Nothing but these, in this order."""
        self._bids, self._asks = Half(), Half()
        self._owners: dict[str, int] = {}
        self._held: list[int] = []
        """Lots resting, by the number of their owner."""
        self._index: dict[str, int] = {}
        """Numbers of the orders that rest, in the order of arrival. By number, those that have
        left among them: the order, the number of its owner, the lots that are left of it."""
        self._orders: list[Order] = []
        self._owner_of: list[int] = []
        self._left: list[int] = []
        for order_id, name, side, limit, lots in orders:
            if lots <= 0 or order_id in self._index:
                raise ValueError(f"{order_id} is of no lots, or there twice")
            owner = self._owners.setdefault(name, len(self._held))
            if owner == len(self._held):
                self._held.append(0)
            self._held[owner] += lots
            self._index[order_id] = number = len(self._orders)
            self._orders.append((order_id, name, side, limit, lots, Stay.REST))
            self._owner_of.append(owner)
            self._left.append(lots)
            self._half(side).add(-side.sign * limit, number)
        if -self._bids.keys[0] >= self._asks.keys[0]:
            raise ValueError("a bid at or above an ask")

    def _forget_who_left(self) -> None:
        if len(self._orders) > 2 * len(self._index) + FEW:
            self._fill(list(self.resting()))

    def _half(self, side: Side) -> Half:
        return self._bids if side is Side.BUY else self._asks

    def _refusal(self, order: Order, owner: int) -> Refusal | None:
        order_id, _, side, limit, lots, stay = order
        terms = self.terms
        low, high, most_lots, most_resting = _bounds(terms)
        if self.halted:
            return Refusal.HALTED
        if lots <= 0:
            return Refusal.NO_LOTS
        if order_id in self._index:
            return Refusal.DUPLICATE
        if lots > most_lots:
            return Refusal.TOO_LARGE
        if limit is None:
            if stay is Stay.REST or stay is Stay.MAKER:
                return Refusal.NO_PRICE
        elif not low <= limit <= high:
            return Refusal.OUTSIDE_BAND
        if self._held[owner] + lots > most_resting:
            return Refusal.OVER_POSITION
        half = self._bids if side is Side.SELL else self._asks
        if limit is None:
            limit = high if side is Side.BUY else low
        reach = side.sign * limit
        if stay is Stay.MAKER and half.top(self._left) <= reach:
            return Refusal.WOULD_TRADE
        if stay is Stay.WHOLE and not self._enough(owner, half, reach, lots):
            return Refusal.NOT_WHOLE
        return None

    def _enough(self, owner: int, half: Half, reach: int, lots: int) -> bool:
        """Whether others would take all of it now."""
        for key in sorted(half.queues):
            if key > reach:
                break
            for number in half.queues[key]:
                there = self._left[number]
                if there and self._owner_of[number] == owner:
                    if self.terms.self_trade is SelfTrade.NEWEST:
                        return False
                    continue
                lots -= there
                if lots <= 0:
                    return True
        return False

    def _trade(self, batch: Batch, at: int, owner: int, half: Half, reach: int, lots: int) -> int:
        """What is left of it and may rest: 0 if its owner's own order stopped it."""
        fills, index, left, owner_of = batch.fills, self._index, self._left, self._owner_of
        keys, sign = half.keys, -1 if half is self._bids else 1
        while (key := keys[0]) <= reach:
            queue = half.queues[key]
            while queue:
                number = queue[0]
                there = left[number]
                if there:
                    maker = owner_of[number]
                    maker_id = self._orders[number][0]
                    if maker == owner:
                        if self.terms.self_trade is SelfTrade.NEWEST:
                            batch.dropped[at] = lots, Rest.SELF_TRADE
                            return 0
                        batch.cancelled.setdefault(at, []).append(maker_id)
                        self.cancel(maker_id)
                        continue
                    if there > lots:
                        fills.append((at, maker_id, sign * key, lots))
                        left[number] = there - lots
                        self._held[maker] -= lots
                        return 0
                    fills.append((at, maker_id, sign * key, there))
                    left[number] = 0
                    self._held[maker] -= there
                    del index[maker_id]
                    lots -= there
                queue.popleft()
                if not lots:
                    return 0
            half.drop_top()
        return lots


def _bounds(terms: Terms) -> tuple[int, int, int, int]:
    """(low, high, most lots, most resting), all of them numbers."""
    return (
        1 - BEYOND if terms.low is None else terms.low,
        BEYOND - 1 if terms.high is None else terms.high,
        terms.most_lots or BEYOND,
        terms.most_resting or BEYOND,
    )
