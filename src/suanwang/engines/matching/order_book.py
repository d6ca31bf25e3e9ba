"""The continuous book of one product: price-time priority, events in, facts out.

A place call gives what came of the order: the trades in the order they were made, what rests, and
the named reason why anything of it does not. The maker's price counts. Everything that could be
refused is checked before anything is traded, so that a refused order leaves no trace.

An order that rests is shared by its queue and the index of orders; what is cancelled stays in the
queue with nothing left and is passed over when its turn comes (amortised: each order enters and
leaves a queue once). Best prices are heaps with the same laziness.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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


class Rest(StrEnum):
    """Why what was not traded does not rest."""

    IMMEDIATE = "Immediate"
    SELF_TRADE = "SelfTrade"
    NOBODY = "Nobody"
    """A market order, and nobody is left on the other side."""


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
    """Limits outside are refused, and trades outside halt the book."""
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


class Resting:
    """An order in its queue."""

    __slots__ = ("buys", "limit", "lots", "order_id", "owner")

    def __init__(self, order_id: str, owner: str, buys: bool, limit: int, lots: int) -> None:
        self.order_id = order_id
        self.owner = owner
        self.buys = buys
        self.limit = limit
        self.lots = lots
        """Left of it."""


_NOTHING: list[Trade] = []
_NOBODY: Sequence[str] = ()


class OrderBook:
    """The state of one product's book."""

    def __init__(self, terms: Terms | None = None) -> None:
        self.terms = terms or Terms()
        self.halted = False
        self._index: dict[str, Resting] = {}
        self._queues: tuple[dict[int, deque[Resting]], dict[int, deque[Resting]]] = ({}, {})
        # bids by negated price, so that the best is the smallest in both heaps
        self._best: tuple[list[int], list[int]] = ([], [])
        self._held: dict[str, int] = {}

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
        buys = side is Side.BUY
        refusal = self._refusal(order_id, owner, buys, limit, lots, stay)
        if refusal is not None:
            return Placed(refusal=refusal)
        top = self._top(not buys)
        if top is None or (limit is not None and (top > limit if buys else top < limit)):
            trades, left, own, cancelled = _NOTHING, lots, False, _NOBODY
        else:
            trades, left, own, cancelled = self._trade(order_id, owner, buys, limit, lots)
        if not left:
            return Placed(trades, cancelled=cancelled)
        if own:
            return Placed(trades, 0, left, Rest.SELF_TRADE, cancelled)
        if limit is None:
            return Placed(trades, 0, left, Rest.NOBODY, cancelled)
        if stay is Stay.REST or stay is Stay.MAKER:
            self._rest(order_id, owner, buys, limit, left)
            return Placed(trades, left, cancelled=cancelled)
        return Placed(trades, 0, left, Rest.IMMEDIATE, cancelled)

    def cancel(self, order_id: str) -> int:
        """The lots that were left of it; 0 if it does not rest here."""
        order = self._index.pop(order_id, None)
        if order is None:
            return 0
        left, order.lots = order.lots, 0
        self._release(order.owner, left)
        return left

    def best(self, side: Side) -> int | None:
        """The best price on a side."""
        return self._top(side is Side.BUY)

    def depth(self, side: Side, levels: int) -> list[tuple[int, int]]:
        """[(price, lots)] from the best on."""
        buys = side is Side.BUY
        found = [
            (price, sum(one.lots for one in queue)) for price, queue in self._queues[buys].items()
        ]
        return sorted([one for one in found if one[1]], reverse=buys)[:levels]

    def resting(self) -> Iterator[tuple[str, str, Side, int, int]]:
        """(order, owner, side, limit, lots) in the order of arrival."""
        for order in self._index.values():
            side = Side.BUY if order.buys else Side.SELL
            yield order.order_id, order.owner, side, order.limit, order.lots

    def _refusal(
        self, order_id: str, owner: str, buys: bool, limit: int | None, lots: int, stay: Stay
    ) -> Refusal | None:
        terms = self.terms
        if self.halted:
            return Refusal.HALTED
        if order_id in self._index:
            return Refusal.DUPLICATE
        if terms.most_lots and lots > terms.most_lots:
            return Refusal.TOO_LARGE
        if limit is None:
            if stay is Stay.REST or stay is Stay.MAKER:
                return Refusal.NO_PRICE
        elif (terms.low is not None and limit < terms.low) or (
            terms.high is not None and limit > terms.high
        ):
            return Refusal.OUTSIDE_BAND
        if terms.most_resting and self._held.get(owner, 0) + lots > terms.most_resting:
            return Refusal.OVER_POSITION
        if stay is Stay.MAKER:
            top = self._top(not buys)
            if top is not None and limit is not None and (top <= limit if buys else top >= limit):
                return Refusal.WOULD_TRADE
        elif stay is Stay.WHOLE and not self._enough(owner, buys, limit, lots):
            return Refusal.NOT_WHOLE
        return None

    def _enough(self, owner: str, buys: bool, limit: int | None, lots: int) -> bool:
        """Whether others would take all of it now."""
        for price, queue in sorted(self._queues[not buys].items(), reverse=not buys):
            if limit is not None and (price > limit if buys else price < limit):
                break
            for order in queue:
                if order.owner == owner and order.lots:
                    if self.terms.self_trade is SelfTrade.NEWEST:
                        return False
                    continue
                lots -= order.lots
                if lots <= 0:
                    return True
        return False

    def _top(self, buys: bool) -> int | None:
        best, queues = self._best[buys], self._queues[buys]
        while best:
            price = -best[0] if buys else best[0]
            queue = queues[price]
            while queue and not queue[0].lots:
                queue.popleft()
            if queue:
                return price
            del queues[price]
            heappop(best)
        return None

    def _trade(
        self, taker: str, owner: str, buys: bool, limit: int | None, lots: int
    ) -> tuple[list[Trade], int, bool, Sequence[str]]:
        """(trades, what is left, whether its owner's own order stopped it, own ones cancelled)."""
        queues, index = self._queues[not buys], self._index
        oldest = self.terms.self_trade is SelfTrade.OLDEST
        trades: list[Trade] = []
        cancelled: list[str] = []
        while lots:
            price = self._top(not buys)
            if price is None or (limit is not None and (price > limit if buys else price < limit)):
                break
            queue = queues[price]
            while lots and queue:
                maker = queue[0]
                there = maker.lots
                if not there:
                    queue.popleft()
                elif maker.owner == owner:
                    if not oldest:
                        return trades, lots, True, cancelled
                    self.cancel(maker.order_id)
                    cancelled.append(maker.order_id)
                else:
                    taken = lots if lots < there else there
                    trades.append(Trade(maker.order_id, taker, price, taken))
                    lots -= taken
                    maker.lots = there - taken
                    self._release(maker.owner, taken)
                    if taken == there:
                        queue.popleft()
                        del index[maker.order_id]
        return trades, lots, False, cancelled

    def _rest(self, order_id: str, owner: str, buys: bool, limit: int, lots: int) -> None:
        order = Resting(order_id, owner, buys, limit, lots)
        self._index[order_id] = order
        queue = self._queues[buys].get(limit)
        if queue is None:
            self._queues[buys][limit] = deque((order,))
            heappush(self._best[buys], -limit if buys else limit)
        else:
            queue.append(order)
        if self.terms.most_resting:
            self._held[owner] = self._held.get(owner, 0) + lots

    def _release(self, owner: str, lots: int) -> None:
        if self.terms.most_resting:
            left = self._held[owner] - lots
            if left:
                self._held[owner] = left
            else:
                del self._held[owner]
