"""The continuous book: orders a second in the pure engine, with its checks on.

    python bench/order_book.py [--orders 300000]

Claim: 500,000 orders a second with limits and self-trade checks. The peer in the same run is
`lightmatchingengine` (PyPI); the limit is a bare book of a heap and deques that checks nothing,
knows no owners and only counts what it trades. The orders: 40 % meet the other side, prices within
four thousandths of the middle, one to nineteen lots, 500 owners. Rounds are interleaved, the best
of each counts.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush

from suanwang.engines.matching.model import Side
from suanwang.engines.matching.order_book import Order, OrderBook, Stay, Terms

Given = list[Order]
MIDDLE = 100_000
ROUNDS = 5
TERMS = Terms(MIDDLE // 2, MIDDLE * 2, most_lots=100, most_resting=10**9)


def orders(count: int) -> Given:
    dice = random.Random(1)
    made: Given = []
    for number in range(count):
        side = Side.BUY if dice.random() < 0.5 else Side.SELL
        meets = dice.random() < 0.4
        off = dice.randrange(1, 400)
        above = (side is Side.SELL) is not meets
        price = MIDDLE + (off if above else -off)
        owner, lots = f"u{dice.randrange(500)}", dice.randrange(1, 20)
        made.append((f"o{number}", owner, side, price, lots, Stay.REST))
    return made


def ours(given: Given) -> int:
    book = OrderBook(TERMS)
    return len(book.place_many(given).fills)


def one_by_one(given: Given) -> int:
    book = OrderBook(TERMS)
    return sum([len(book.place(*order).trades) for order in given])


def bare(given: Given) -> int:
    """The least that a book by price and time does."""
    heaps: tuple[list[int], list[int]] = ([], [])
    queues: tuple[dict[int, deque[list[int]]], dict[int, deque[list[int]]]] = ({}, {})
    trades = 0
    for number, (_, _, side, limit, lots, _) in enumerate(given):
        buys = side is Side.BUY
        price = limit or 0
        heap, there = heaps[not buys], queues[not buys]
        while lots and heap:
            best = heap[0] if buys else -heap[0]
            if best > price if buys else best < price:
                break
            queue = there[best]
            while lots and queue:
                maker = queue[0]
                taken = min(lots, maker[1])
                trades += 1
                lots -= taken
                maker[1] -= taken
                if not maker[1]:
                    queue.popleft()
            if not queue:
                heappop(heap)
                del there[best]
        if lots:
            queue = queues[buys].get(price)  # type: ignore[assignment]
            if queue is None:
                queues[buys][price] = deque(([number, lots],))
                heappush(heaps[buys], -price if buys else price)
            else:
                queue.append([number, lots])
    return trades


def peer(given: Given) -> int:
    from lightmatchingengine.lightmatchingengine import LightMatchingEngine
    from lightmatchingengine.lightmatchingengine import Side as Sides

    engine = LightMatchingEngine()
    trades = 0
    for _, _, side, price, lots, _ in given:
        way = Sides.BUY if side is Side.BUY else Sides.SELL
        trades += len(engine.add_order("product", price, lots, way)[1])
    return trades


def rate(book: Callable[[Given], int], given: Given) -> float:
    began = time.process_time()
    book(given)
    return len(given) / (time.process_time() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--orders", type=int, default=300_000)
    given = orders(parser.parse_args().orders)
    few = given[: len(given) // 6]
    books: dict[str, tuple[Callable[[Given], int], Given]] = {
        "ours": (ours, given),
        "one_by_one": (one_by_one, few),
        "bare": (bare, given),
        "lightmatchingengine": (peer, few),
    }
    best = dict.fromkeys(books, 0.0)
    for _ in range(ROUNDS):
        for name, (book, some) in books.items():
            best[name] = max(best[name], rate(book, some))
    print(
        json.dumps(
            {
                "bench": "order_book",
                "orders": len(given),
                **{f"{name}_per_s": round(found) for name, found in best.items()},
                "of_bare": round(best["ours"] / best["bare"], 3),
                "of_peer": round(best["ours"] / best["lightmatchingengine"], 2),
            }
        )
    )


if __name__ == "__main__":
    main()
