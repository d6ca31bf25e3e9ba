"""The continuous book does what a book of one list does, looked through for every order."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suanwang.engines.matching.model import Side
from suanwang.engines.matching.order_book import (
    Left,
    Order,
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
class Plain:
    order_id: str
    owner: str
    side: Side
    limit: int
    lots: int


@dataclass
class PlainBook:
    """All orders in one list, in the order of arrival."""

    terms: Terms
    orders: list[Plain] = field(default_factory=list)
    halted: bool = False

    def others(self, side: Side, limit: int | None) -> list[Plain]:
        """Whom an order meets, in the order in which it meets them."""
        met = [
            one
            for one in self.orders
            if one.side is not side
            and (limit is None or (one.limit <= limit if side is Side.BUY else one.limit >= limit))
        ]
        return sorted(met, key=lambda one: one.limit * side.sign)

    def reach(self, side: Side, limit: int | None) -> int | None:
        edge = self.terms.high if side is Side.BUY else self.terms.low
        return edge if limit is None else limit

    def refusal(
        self, order_id: str, owner: str, side: Side, limit: int | None, lots: int, stay: Stay
    ) -> Refusal | None:
        terms = self.terms
        held = sum(one.lots for one in self.orders if one.owner == owner)
        met = self.others(side, self.reach(side, limit))
        low = terms.low if terms.low is not None else -(10**9)
        high = terms.high if terms.high is not None else 10**9
        rests = stay in (Stay.REST, Stay.MAKER)
        for wrong, refusal in (
            (self.halted, Refusal.HALTED),
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
        if met and (met[0].limit < low if side is Side.BUY else met[0].limit > high):
            self.halted = True
            return Refusal.HALTED
        return None

    def enough(self, owner: str, met: list[Plain], lots: int) -> bool:
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
        for one in self.others(side, self.reach(side, limit)):
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
            self.orders.append(Plain(order_id, owner, side, limit, lots))
            return Placed(trades, lots, cancelled=cancelled)
        return Placed(trades, 0, lots, Rest.IMMEDIATE, cancelled)

    def cancel(self, order_id: str) -> int:
        for one in self.orders:
            if one.order_id == order_id:
                self.orders.remove(one)
                return one.lots
        return 0

    def reduce(self, order_id: str, lots: int) -> int:
        for one in self.orders:
            if one.order_id == order_id and lots < one.lots:
                off, one.lots = one.lots - lots, lots
                return off
        return 0


@dataclass(frozen=True)
class Reduce:
    number: int
    lots: int


places = st.tuples(
    st.sampled_from("abc"),
    st.sampled_from(list(Side)),
    st.one_of(st.none(), st.integers(1, 9)),
    st.integers(1, 6),
    st.sampled_from([Stay.REST, Stay.REST, *Stay]),
)
bands = [None, 2, 4]
terms = st.builds(
    Terms,
    low=st.sampled_from(bands),
    high=st.sampled_from([None, 8, 6]),
    most_lots=st.sampled_from([0, 5]),
    most_resting=st.sampled_from([0, 8]),
    self_trade=st.sampled_from(list(SelfTrade)),
)
reductions = st.builds(Reduce, st.integers(0, 30), st.integers(1, 5))
cancels = st.integers(0, 30)
Place = tuple[str, Side, int | None, int, Stay]
acts = st.lists(st.one_of(places, places, places, cancels, reductions, terms), max_size=40)


def seen(placed: Placed) -> tuple[object, ...]:
    return (tuple(placed.trades), *placed[1:4], tuple(placed.cancelled), placed.refusal)


def check_same(book: OrderBook, plain: PlainBook) -> None:
    assert book.halted == plain.halted
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


@settings(max_examples=400, deadline=None)
@given(acts, terms)
def test_it_does_what_a_plain_book_does(
    asked: list[Place | int | Reduce | Terms], given_terms: Terms
) -> None:
    book, plain = OrderBook(given_terms), PlainBook(given_terms)
    for number, act in enumerate(asked):
        if isinstance(act, int):
            assert book.cancel(f"o{act}") == plain.cancel(f"o{act}")
        elif isinstance(act, Reduce):
            name = f"o{act.number}"
            assert book.reduce(name, act.lots) == plain.reduce(name, act.lots)
        elif isinstance(act, Terms):
            book.terms = plain.terms = act
            book.halted = plain.halted = False
        else:
            owner, side, limit, lots, stay = act
            one = book.place(f"o{number}", owner, side, limit, lots, stay)
            other = plain.place(f"o{number}", owner, side, limit, lots, stay)
            assert seen(one) == seen(other)
            if one.refusal is None:
                traded = sum(trade.lots for trade in one.trades)
                assert traded + one.resting + one.dropped == lots
            assert all(trade.maker_id != trade.taker_id for trade in one.trades)
        check_same(book, plain)


@settings(max_examples=200, deadline=None)
@given(st.lists(places, max_size=25), st.lists(places, max_size=25), terms, st.integers(0, 9))
def test_many_at_once_and_a_book_that_is_restored_do_the_same(
    before: list[Place], after: list[Place], given_terms: Terms, names: int
) -> None:
    """Names come up again: an order's name is free once it has left."""
    plain = PlainBook(given_terms)
    book = OrderBook(given_terms)
    for part in (before, after):
        orders: list[Order] = [
            (f"o{at % (names + 3)}", owner, side, limit, lots, stay)
            for at, (owner, side, limit, lots, stay) in enumerate(part)
        ]
        told = [seen(plain.place(*order)) for order in orders]
        assert [seen(one) for one in book.place_many(orders).each(orders)] == told
        check_same(book, plain)
        book, left = OrderBook.restore(book.resting(), given_terms), book
        book.halted = left.halted
        check_same(book, plain)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(places, max_size=30),
    st.sampled_from(list(Side)),
    st.integers(1, 9),
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(0, 3),
)
def test_a_better_limit_never_trades_less(
    before: list[Place], side: Side, limit: int, lots: int, more: int, better: int
) -> None:
    """Monotone in limit and in lots; of an owner who has nothing else in the book."""

    def traded(price: int, quantity: int) -> int:
        book = OrderBook()
        for number, (owner, way, at, size, stay) in enumerate(before):
            book.place(f"o{number}", owner, way, at, size, stay)
        return sum(one.lots for one in book.place("mine", "me", side, price, quantity).trades)

    assert traded(limit + side.sign * better, lots) >= traded(limit, lots)
    assert traded(limit, lots + more) >= traded(limit, lots)


def test_where_a_better_limit_or_more_lots_trade_less() -> None:
    """With orders of his own in the book he meets himself; all-or-nothing asks for too much."""

    def traded(limit: int, lots: int, stay: Stay) -> int:
        book = OrderBook()
        book.place("a", "other", Side.SELL, 5, 1)
        book.place("b", "me", Side.SELL, 6, 1)
        book.place("c", "other", Side.SELL, 6, 4)
        return sum(t.lots for t in book.place("d", "me", Side.BUY, limit, lots, stay).trades)

    assert traded(5, 1, Stay.WHOLE) == 1
    assert traded(5, 2, Stay.WHOLE) == 0
    assert traded(4, 1, Stay.MAKER) == 0
    assert traded(6, 3, Stay.REST) == 1, "his own order stands before what he could have had"


def test_what_left_is_forgotten_and_nothing_is_lost() -> None:
    book, plain = OrderBook(), PlainBook(Terms())
    for number in range(5_000):
        if number % 100 == 0:
            order = (f"s{number}", "b", Side.SELL, 9, 3, Stay.REST)
            assert seen(book.place(*order)) == seen(plain.place(*order))
        book.place(f"o{number}", "a", Side.BUY, number % 7 + 1, 2)
        book.cancel(f"o{number}")
    check_same(book, plain)
    assert book.place("t", "c", Side.BUY, 9, 4).trades == [
        Trade("s0", "t", 9, 3),
        Trade("s100", "t", 9, 1),
    ]


def test_an_order_of_nothing_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="at least one lot"):
        OrderBook().place("o", "a", Side.BUY, 1, 0)
    with pytest.raises(ValueError, match="cancel it"):
        OrderBook().reduce("o", 0)


def test_an_order_of_nothing_among_many_is_refused_alone() -> None:
    book = OrderBook()
    batch = book.place_many(
        [("o", "a", Side.BUY, 1, -1, Stay.REST), ("p", "a", Side.BUY, 1, 1, Stay.REST)]
    )
    assert batch.refused == {0: Refusal.NO_LOTS}
    assert [one[0] for one in book.resting()] == ["p"]


@pytest.mark.parametrize(
    "orders",
    [
        [("o", "a", Side.BUY, 2, 0)],
        [("o", "a", Side.BUY, 2, 1), ("o", "a", Side.BUY, 1, 1)],
        [("o", "a", Side.BUY, 2, 1), ("p", "b", Side.SELL, 2, 1)],
    ],
)
def test_what_was_no_book_is_not_restored(orders: list[Left]) -> None:
    with pytest.raises(ValueError):
        OrderBook.restore(orders)


def test_a_halted_book_takes_cancels_and_reductions_alone() -> None:
    book = OrderBook()
    book.place("o", "a", Side.BUY, 1, 3)
    book.halted = True
    assert book.place("p", "b", Side.SELL, 1, 1).refusal is Refusal.HALTED
    assert book.reduce("o", 1) == 2
    assert book.cancel("o") == 1


def test_a_trade_outside_the_band_halts_the_book() -> None:
    book = OrderBook()
    book.place("o", "a", Side.SELL, 3, 1)
    book.terms = Terms(low=5, high=9)
    assert book.place("p", "b", Side.BUY, 6, 1).refusal is Refusal.HALTED
    assert book.halted
    assert [one[0] for one in book.resting()] == ["o"]
