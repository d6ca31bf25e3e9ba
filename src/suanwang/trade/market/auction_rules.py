"""Decisions of the call auction: what an order sets aside, and the engine's book of a round. Pure.

A product-hour has the number `product x 24 + hour`, products in the order of their names. Names
of lines and blocks begin with the order's id, so that the book's order is that of arrival.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from suanwang.engines.matching.model import Block, Book, Choice, Line, Link, Option, Side
from suanwang.kernel.errors import InvalidInput
from suanwang.kernel.money import MICRO_PER_YUAN
from suanwang.kernel.time import MS_PER_HOUR
from suanwang.trade.billing.rules import day_of
from suanwang.trade.catalogue.model import Product
from suanwang.trade.contracts.rules import deposit_of
from suanwang.trade.market.auction_bids import product_of
from suanwang.trade.market.auction_model import (
    HOURS,
    SHANGHAI_HOURS,
    Bid,
    BidBlock,
    Round,
    Standing,
    Step,
    ZoneLink,
)
from suanwang.trade.market.model import STANDARD, TICK
from suanwang.trade.market.rules import MAX_PRICE

MAX_WORTH = 1_000_000_000 * MICRO_PER_YUAN
"""Of one order: sums of a whole book stay exact in 64 bits."""


# --- days ----------------------------------------------------------------------------------------


def first_hour_of(day: int) -> int:
    return day * HOURS - SHANGHAI_HOURS


def closes_at_ms(day: int, close_hour: int) -> int:
    """The set hour of the day before."""
    return (first_hour_of(day - 1) + close_hour) * MS_PER_HOUR


def due_days(now_ms: int, close_hour: int, ahead: int) -> list[int]:
    """Days whose rounds take orders now: from the next that has not closed, so many."""
    today = day_of(now_ms)
    first = next(day for day in (today + 1, today + 2) if closes_at_ms(day, close_hour) > now_ms)
    return list(range(first, first + ahead))


# --- money and capacity --------------------------------------------------------------------------


def most(bid: Bid, of_block: Callable[[BidBlock], int], of_step: Callable[[Step], int]) -> int:
    """The most that it may come to: of a group no more than one block is served."""
    total = sum(of_step(one) for one in bid.curve)
    groups: dict[str, int] = {}
    for block in bid.blocks:
        worth = of_block(block)
        if block.group:
            groups[block.group] = max(groups.get(block.group, 0), worth)
        else:
            total += worth
    return total + sum(groups.values())


def worth(bid: Bid) -> int:
    """The most that a buyer may pay; of a seller, the worth at his limits of all he may sell."""

    def of_step(step: Step) -> int:
        dearest = max([step.price, *(one.price for one in step.instead)])
        return dearest * step.lots * (step.hours[1] - step.hours[0])

    def of_block(block: BidBlock) -> int:
        dearest = max([block.price, *(one.price for one in block.instead)])
        return dearest * size(block)

    return most(bid, of_block, of_step)


def size(block: BidBlock) -> int:
    """Lot-hours of a block that is served whole."""
    if block.any:
        return block.profile[0].lots * block.any
    return sum(one.lots * (one.hours[1] - one.hours[0]) for one in block.profile)


def set_aside(bid: Bid) -> int:
    """Micro-yuan that an order holds. Raises InvalidInput if it is worth too much."""
    found = worth(bid)
    if found > MAX_WORTH:
        raise InvalidInput(
            "OrderTooLarge",
            "An order is worth a billion yuan at most.",
            hint="Make the order smaller.",
            field="lots",
        )
    return found if bid.side is Side.BUY else deposit_of(STANDARD, found)


def envelope(bid: Bid) -> list[int]:
    """[hour] the most lots that a seller may have to deliver."""

    def at(hour: int) -> int:
        return most(
            bid,
            lambda block: max(
                (one.lots for one in block.profile if one.hours[0] <= hour < one.hours[1]),
                default=0,
            ),
            lambda step: step.lots if step.hours[0] <= hour < step.hours[1] else 0,
        )

    return [at(hour) for hour in range(HOURS)]


def runs(lots: Sequence[int]) -> list[tuple[int, int, int]]:
    """(first, hours, lots) of consecutive hours with the same lots, without those of none."""
    found: list[tuple[int, int, int]] = []
    for hour, count in enumerate(lots):
        if count and found and found[-1][2] == count and sum(found[-1][:2]) == hour:
            found[-1] = (found[-1][0], found[-1][1] + 1, count)
        elif count:
            found.append((hour, 1, count))
    return found


# --- the book ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RoundBook:
    """A round's orders as the engine reads them, and the names of what it numbers."""

    products: tuple[Product, ...]
    book: Book

    def product(self, number: int) -> Product:
        return self.products[number // HOURS]


def named_in(bid: Bid) -> Iterator[tuple[str, str]]:
    """(field, product) of everything that it names."""
    for at, step in enumerate(bid.curve):
        yield f"curve[{at}].product", step.product
        yield from (
            (f"curve[{at}].instead[{n}].product", one.product) for n, one in enumerate(step.instead)
        )
    for at, block in enumerate(bid.blocks):
        for n, part in enumerate(block.profile):
            inner = f".profile[{n}]" if len(block.profile) > 1 else ""
            yield f"blocks[{at}]{inner}.product", part.product
        yield from (
            (f"blocks[{at}].instead[{n}].product", one.product)
            for n, one in enumerate(block.instead)
        )


def line_id(order_id: str, step: int, hour: int) -> str:
    return f"{order_id}:{step:03d}:{hour:02d}"


def block_id(order_id: str, name: str) -> str:
    return f"{order_id}/{name}"


def book_of(orders: Iterable[Standing], links: Sequence[ZoneLink]) -> RoundBook:
    """The same orders and links give the same book, in whatever order they come."""
    ordered = sorted(orders, key=lambda one: one.id)
    products = sorted({product_of(name) for one in ordered for _, name in named_in(one.bid)})
    number = {str(product): at * HOURS for at, product in enumerate(products)}
    lines = [line for one in ordered for line in _lines(one, number)]
    blocks = [_block(one.id, one.bid.side, it, number) for one in ordered for it in one.bid.blocks]
    book = Book(
        products=len(products) * HOURS,
        lines=tuple(sorted(lines, key=lambda one: one.line_id)),
        blocks=tuple(sorted(blocks, key=lambda one: one.block_id)),
        links=tuple(_links(products, links)),
        floor=TICK,
        ceiling=MAX_PRICE,
    )
    return RoundBook(tuple(products), book)


def _lines(order: Standing, number: Mapping[str, int]) -> Iterator[Line]:
    for at, step in enumerate(order.bid.curve):
        offered = sorted(
            [(number[step.product], step.price)]
            + [(number[one.product], one.price) for one in step.instead]
        )
        for hour in range(*step.hours):
            yield Line(
                line_id(order.id, at, hour),
                order.bid.side,
                step.lots,
                tuple(Choice(first + hour, price) for first, price in offered),
            )


def _block(order_id: str, side: Side, block: BidBlock, number: Mapping[str, int]) -> Block:
    return Block(
        block_id=block_id(order_id, block.name),
        side=side,
        options=tuple(
            Option(profile, price * size(block)) for profile, price in _options(block, number)
        ),
        least=block.least,
        parent=block_id(order_id, block.parent) if block.parent else None,
        group=block_id(order_id, block.group) if block.group else None,
    )


def _options(
    block: BidBlock, number: Mapping[str, int]
) -> Iterator[tuple[tuple[tuple[int, int], ...], int]]:
    """(profile by product-hour, price) of every way to serve it: by product, then by start."""
    first = block.profile[0]
    served = [(first.product, block.price), *((one.product, one.price) for one in block.instead)]
    for product, price in served:
        if block.any:
            for start in range(first.hours[0], first.hours[1] - block.any + 1):
                hours = range(start, start + block.any)
                yield tuple((number[product] + hour, first.lots) for hour in hours), price
        else:
            cells = [
                (number[product if block.instead else part.product] + hour, part.lots)
                for part in block.profile
                for hour in range(*part.hours)
            ]
            yield tuple(sorted(cells)), price


def _links(products: Sequence[Product], links: Sequence[ZoneLink]) -> Iterator[Link]:
    number = {product: at * HOURS for at, product in enumerate(products)}
    for product in products:
        for link in sorted(links):
            there = Product(product.unit_class, link.target)
            if link.source == product.zone and there in number and link.lots:
                for hour in range(HOURS):
                    source, target = number[product] + hour, number[there] + hour
                    name = f"{product}>{link.target}:{hour:02d}"
                    yield Link(name, source, target, link.lots, link.cost)


def digest_of(book: RoundBook) -> str:
    text = msgspec.json.encode([[str(one) for one in book.products], book.book])
    return hashlib.sha256(text).hexdigest()


def orders_digest(round_: Round, orders: Iterable[Standing]) -> str:
    """Of what a clearing was made from: it is applied to nothing else."""
    versions = sorted((one.id, one.version) for one in orders)
    text = msgspec.json.encode([round_.id, round_.links, versions])
    return hashlib.sha256(text).hexdigest()
