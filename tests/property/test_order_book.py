"""The continuous book does what a book of one list does, looked through for every order."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suanwang.engines.matching.model import Side
from suanwang.engines.matching.order_book import (
    OrderBook,
    Placed,
    Refusal,
    Rest,
    SelfTrade,
    Stay,
    Terms,
    Trade,
)


@dataclass
class Order:
    order_id: str
    owner: str
    side: Side
    limit: int
    lots: int


@dataclass
class PlainBook:
    """All orders in one list, in the order of arrival."""

    terms: Terms
    orders: list[Order] = field(default_factory=list)

    def others(self, side: Side, limit: int | None) -> list[Order]:
        """Whom an order meets, in the order in which it meets them."""
        met = [
            one
            for one in self.orders
            if one.side is not side
            and (limit is None or (one.limit <= limit if side is Side.BUY else one.limit >= limit))
        ]
        return sorted(met, key=lambda one: one.limit * side.sign)

    def refusal(
        self, order_id: str, owner: str, side: Side, limit: int | None, lots: int, stay: Stay
    ) -> Refusal | None:
        terms = self.terms
        held = sum(one.lots for one in self.orders if one.owner == owner)
        met = self.others(side, limit)
        low = terms.low if terms.low is not None else -(10**9)
        high = terms.high if terms.high is not None else 10**9
        rests = stay in (Stay.REST, Stay.MAKER)
        for wrong, refusal in (
            (any(one.order_id == order_id for one in self.orders), Refusal.DUPLICATE),
            (0 < terms.most_lots < lots, Refusal.TOO_LARGE),
            (limit is None and rests, Refusal.NO_PRICE),
            (limit is not None and not low <= limit <= high, Refusal.OUTSIDE_BAND),
            (0 < terms.most_resting < held + lots, Refusal.OVER_POSITION),
            (stay is Stay.MAKER and bool(met), Refusal.WOULD_TRADE),
            (stay is Stay.WHOLE and not self.enough(owner, met, lots), Refusal.NOT_WHOLE),
        ):
            if wrong:
                return refusal
        return None

    def enough(self, owner: str, met: list[Order], lots: int) -> bool:
        for one in met:
            if one.owner != owner:
                lots -= one.lots
            elif self.terms.self_trade is SelfTrade.NEWEST:
                return False
            if lots <= 0:
                return True
        return False

    def place(
        self, order_id: str, owner: str, side: Side, limit: int | None, lots: int, stay: Stay
    ) -> Placed:
        refusal = self.refusal(order_id, owner, side, limit, lots, stay)
        if refusal is not None:
            return Placed(refusal=refusal)
        trades: list[Trade] = []
        cancelled: list[str] = []
        for one in self.others(side, limit):
            if lots == 0:
                break
            if one.owner == owner:
                if self.terms.self_trade is SelfTrade.NEWEST:
                    return Placed(trades, 0, lots, Rest.SELF_TRADE, cancelled)
                self.orders.remove(one)
                cancelled.append(one.order_id)
                continue
            taken = min(lots, one.lots)
            trades.append(Trade(one.order_id, order_id, one.limit, taken))
            lots -= taken
            one.lots -= taken
            if one.lots == 0:
                self.orders.remove(one)
        if lots == 0:
            return Placed(trades, cancelled=cancelled)
        if limit is None:
            return Placed(trades, 0, lots, Rest.NOBODY, cancelled)
        if stay in (Stay.REST, Stay.MAKER):
            self.orders.append(Order(order_id, owner, side, limit, lots))
            return Placed(trades, lots, cancelled=cancelled)
        return Placed(trades, 0, lots, Rest.IMMEDIATE, cancelled)

    def cancel(self, order_id: str) -> int:
        for one in self.orders:
            if one.order_id == order_id:
                self.orders.remove(one)
                return one.lots
        return 0


places = st.tuples(
    st.sampled_from("abc"),
    st.sampled_from(list(Side)),
    st.one_of(st.none(), st.integers(1, 9)),
    st.integers(1, 6),
    st.sampled_from([Stay.REST, Stay.REST, *Stay]),
)
acts = st.lists(st.one_of(places, st.integers(0, 30)), max_size=40)
terms = st.builds(
    Terms,
    low=st.sampled_from([None, 2]),
    high=st.sampled_from([None, 8]),
    most_lots=st.sampled_from([0, 5]),
    most_resting=st.sampled_from([0, 8]),
    self_trade=st.sampled_from(list(SelfTrade)),
)


def seen(placed: Placed) -> tuple[object, ...]:
    return (tuple(placed.trades), *placed[1:4], tuple(placed.cancelled), placed.refusal)


@settings(max_examples=400, deadline=None)
@given(acts, terms)
def test_it_does_what_a_plain_book_does(
    asked: list[tuple[str, Side, int | None, int, Stay] | int], given_terms: Terms
) -> None:
    book, plain = OrderBook(given_terms), PlainBook(given_terms)
    for number, act in enumerate(asked):
        if isinstance(act, int):
            assert book.cancel(f"o{act}") == plain.cancel(f"o{act}")
        else:
            owner, side, limit, lots, stay = act
            one = book.place(f"o{number}", owner, side, limit, lots, stay)
            other = plain.place(f"o{number}", owner, side, limit, lots, stay)
            assert seen(one) == seen(other)
            if one.refusal is None:
                traded = sum(trade.lots for trade in one.trades)
                assert traded + one.resting + one.dropped == lots
            assert all(trade.maker_id != trade.taker_id for trade in one.trades)
        assert list(book.resting()) == [
            (o.order_id, o.owner, o.side, o.limit, o.lots) for o in plain.orders
        ]
        for side in Side:
            prices = {o.limit for o in plain.orders if o.side is side}
            best = (max if side is Side.BUY else min)(prices, default=None)
            assert book.best(side) == best
            assert book.depth(side, 3) == [
                (price, sum(o.lots for o in plain.orders if o.side is side and o.limit == price))
                for price in sorted(prices, reverse=side is Side.BUY)[:3]
            ]
        bid, ask = book.best(Side.BUY), book.best(Side.SELL)
        assert bid is None or ask is None or bid < ask


def test_an_order_of_nothing_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="at least one lot"):
        OrderBook().place("o", "a", Side.BUY, 1, 0)


def test_a_halted_book_takes_cancels_alone() -> None:
    book = OrderBook()
    book.place("o", "a", Side.BUY, 1, 1)
    book.halted = True
    assert book.place("p", "b", Side.SELL, 1, 1).refusal is Refusal.HALTED
    assert book.cancel("o") == 1
