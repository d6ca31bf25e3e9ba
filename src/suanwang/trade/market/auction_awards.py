"""From a clearing to what is written: results, contracts, rents, prices. Pure.

Everybody pays and is paid the price of his own product-hour. A contract is between two at the
seller's price; where the buyer's zone is dearer, he owes the difference, the rent, to the
platform, for what is delivered. So what buyers pay is what sellers are to get and the rent, to
the micro-yuan.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from suanwang.engines.matching.model import Award, Clearing, Outcome, Side
from suanwang.kernel.money import allot
from suanwang.trade.catalogue.model import Period
from suanwang.trade.contracts.model import Draft, Origin
from suanwang.trade.contracts.rules import deposit_of
from suanwang.trade.market import auction_rules as rules
from suanwang.trade.market.auction_model import (
    HOURS,
    BidBlock,
    PartResult,
    PriceRow,
    Result,
    Round,
    Standing,
    Step,
)
from suanwang.trade.market.auction_pairing import Flow, Pair, Position, pair
from suanwang.trade.market.auction_rules import RoundBook
from suanwang.trade.market.model import STANDARD, TICK

ALONE = "alone"
MAX_POINTS = 100
"""Of a published curve; beyond that, points are left out."""


@dataclass(frozen=True, slots=True)
class Signing:
    """A contract about to be signed, and whose orders met in it."""

    buy_id: str
    sell_id: str
    draft: Draft


@dataclass(slots=True)
class Settlement:
    """All that clearing a round writes, but for the ids of its contracts."""

    results: dict[str, Result]
    signings: list[Signing]
    rents: dict[str, int]
    """Buyer's order → micro-yuan."""
    sold: dict[str, list[int]]
    """Seller's order → [hour] lots that contracts are signed for."""
    prices: list[PriceRow]
    traded: int
    """Lot-hours bought."""
    digest: str = field(default="")


def settle(
    round_: Round, orders: Sequence[Standing], book: RoundBook, clearing: Clearing
) -> Settlement:
    """Deterministic: the same clearing of the same orders gives the same."""
    by_id = {one.id: one for one in orders}
    lots = {one.id: _lots_of(one, clearing) for one in orders}
    pairs = _paired(orders, lots, book, clearing)
    traded = _traded(orders, lots)
    results = {one.id: _result(one, book, clearing, traded) for one in orders}
    rents: dict[str, int] = {}
    sold = {one.id: [0] * HOURS for one in orders if one.bid.side is Side.SELL}
    own: dict[str, int] = {}
    for one in pairs:
        if one.own:
            own[one.buy_id] = own.get(one.buy_id, 0) + one.lots
            own[one.sell_id] = own.get(one.sell_id, 0) + one.lots
            continue
        sold[one.sell_id][one.sold % HOURS] += one.lots
        dearer = clearing.prices[one.bought] - clearing.prices[one.sold]
        if dearer:
            rents[one.buy_id] = rents.get(one.buy_id, 0) + dearer * one.lots
    made = Settlement(
        results=results,
        signings=_signings(round_, by_id, pairs, book, clearing),
        rents=rents,
        sold=sold,
        prices=_prices(orders, book, clearing, traded),
        traded=sum(traded.values()),
    )
    _owed(made, own)
    made.digest = _digest(made)
    return made


def _owed(made: Settlement, own: Mapping[str, int]) -> None:
    """What each pays or is to get in the end: his contracts and his rent."""
    amounts = dict(made.rents)
    for one in made.signings:
        for order_id in (one.buy_id, one.sell_id):
            amounts[order_id] = amounts.get(order_id, 0) + one.draft.worth
    for order_id, result in made.results.items():
        made.results[order_id] = msgspec.structs.replace(
            result,
            amount=amounts.get(order_id, 0),
            rent=made.rents.get(order_id, 0),
            own=own.get(order_id, 0),
        )


def _awards(order: Standing, clearing: Clearing) -> list[Award]:
    names = [
        rules.line_id(order.id, at, hour)
        for at, step in enumerate(order.bid.curve)
        for hour in range(*step.hours)
    ]
    names += [rules.block_id(order.id, block.name) for block in order.bid.blocks]
    return [clearing.awards[name] for name in names]


def _lots_of(order: Standing, clearing: Clearing) -> dict[int, int]:
    """What an order got: lots by product-hour."""
    found: dict[int, int] = {}
    for award in _awards(order, clearing):
        for number, lots in award.lots.items():
            found[number] = found.get(number, 0) + lots
    return found


def _traded(orders: Sequence[Standing], lots: Mapping[str, Mapping[int, int]]) -> dict[int, int]:
    """Product-hour → lots bought there, or sold if those are more."""
    sums: dict[tuple[int, Side], int] = {}
    for one in orders:
        for number, count in lots[one.id].items():
            key = (number, one.bid.side)
            sums[key] = sums.get(key, 0) + count
    return {number: sums.get((number, Side.BUY), 0) for number in sorted({key[0] for key in sums})}


def _paired(
    orders: Sequence[Standing],
    lots: Mapping[str, Mapping[int, int]],
    book: RoundBook,
    clearing: Clearing,
) -> list[Pair]:
    def side(wanted: Side) -> list[Position]:
        return [
            Position(one.id, one.party.organisation_id, lots[one.id])
            for one in orders
            if one.bid.side is wanted
        ]

    flows = [
        Flow(link.source, link.target, clearing.flows[link.link_id]) for link in book.book.links
    ]
    return pair(side(Side.BUY), side(Side.SELL), flows, HOURS)


# --- contracts -----------------------------------------------------------------------------------


def _signings(
    round_: Round,
    orders: Mapping[str, Standing],
    pairs: Sequence[Pair],
    book: RoundBook,
    clearing: Clearing,
) -> list[Signing]:
    """One contract for each run of hours in which the same two meet for the same lots at the same
    price and rent; deposits out of what the sellers set aside, in proportion to worth."""
    whole = _runs(pairs, clearing.prices)
    worths: dict[str, list[int]] = {}
    for one, hours in whole:
        worth = one.lots * hours * clearing.prices[one.sold]
        worths.setdefault(one.sell_id, []).append(worth)
    shares = {
        sell_id: iter(allot(deposit_of(STANDARD, _limit_worth(orders[sell_id], clearing)), weights))
        for sell_id, weights in worths.items()
    }
    made = []
    for one, hours in whole:
        deposit = next(shares[one.sell_id])
        if one.own:
            continue
        buyer, seller = orders[one.buy_id], orders[one.sell_id]
        draft = Draft(
            origin=Origin.AUCTION,
            reference=round_.id,
            buyer=buyer.party,
            seller=seller.party,
            site_id=seller.site_id or "",
            pool_id=seller.pool_id or "",
            product=book.product(one.sold),
            period=Period(round_.first_hour + one.sold % HOURS, hours),
            lots=one.lots,
            price=clearing.prices[one.sold],
            terms=STANDARD,
            deposit=deposit,
            backing_id=seller.source_id if seller.source_id != seller.pool_id else None,
            rent=clearing.prices[one.bought] - clearing.prices[one.sold],
        )
        made.append(Signing(one.buy_id, one.sell_id, draft))
    return made


def _runs(pairs: Sequence[Pair], prices: Sequence[int]) -> list[tuple[Pair, int]]:
    """(the first hour's pair, hours)."""
    found: list[tuple[Pair, int]] = []
    for one in sorted(pairs, key=lambda it: (it.buy_id, it.sell_id, it.bought // HOURS, it.sold)):
        if found:
            first, hours = found[-1]
            goes_on = (
                (first.buy_id, first.sell_id, first.lots) == (one.buy_id, one.sell_id, one.lots)
                and (first.sold + hours, first.bought + hours) == (one.sold, one.bought)
                and first.sold // HOURS == one.sold // HOURS
                and prices[first.sold] == prices[one.sold]
                and prices[first.bought] == prices[one.bought]
            )
            if goes_on:
                found[-1] = (first, hours + 1)
                continue
        found.append((one, 1))
    return found


def _limit_worth(order: Standing, clearing: Clearing) -> int:
    """Of what a seller sold, at his own limits: what its part of the deposit is reckoned from."""
    total = 0
    for at, step in enumerate(order.bid.curve):
        for hour in range(*step.hours):
            award = clearing.awards[rules.line_id(order.id, at, hour)]
            total += step.price * sum(award.lots.values())
    for block in order.bid.blocks:
        award = clearing.awards[rules.block_id(order.id, block.name)]
        total += block.price * sum(award.lots.values())
    return total


# --- what each order is told --------------------------------------------------------------------


def _result(
    order: Standing, book: RoundBook, clearing: Clearing, traded: Mapping[int, int]
) -> Result:
    number = {str(product): at * HOURS for at, product in enumerate(book.products)}
    parts = [
        _of_step(order, at, step, hour, number, book, clearing, traded)
        for at, step in enumerate(order.bid.curve)
        for hour in range(*step.hours)
    ]
    parts += [_of_block(order, block, book, clearing) for block in order.bid.blocks]
    got = sum(1 for one in parts if one.lots)
    every = all(one.outcome == Outcome.ACCEPTED for one in parts)
    return Result("accepted" if every else "partly" if got else "none", tuple(parts), 0)


def _told(award: Award, book: RoundBook) -> tuple[tuple[str, int, int], ...]:
    return tuple(
        (str(book.product(number)), number % HOURS, lots)
        for number, lots in sorted(award.lots.items())
    )


def _of_step(
    order: Standing,
    at: int,
    step: Step,
    hour: int,
    number: Mapping[str, int],
    book: RoundBook,
    clearing: Clearing,
    traded: Mapping[int, int],
) -> PartResult:
    award = clearing.awards[rules.line_id(order.id, at, hour)]
    products = [step.product, *(one.product for one in step.instead)]
    alone = not any(traded.get(number[one] + hour) for one in products)
    winning: int | None = None
    if award.outcome in (Outcome.PRICE, Outcome.TIE) and not alone:
        here = clearing.prices[number[step.product] + hour]
        winning = _beyond(here, 1, order.bid.side.sign)
    return PartResult(
        part=f"curve[{at}]",
        hour=hour,
        outcome=ALONE if alone else award.outcome.value,
        asked=step.lots,
        lots=_told(award, book),
        amount=award.amount,
        winning=winning,
    )


def _of_block(order: Standing, block: BidBlock, book: RoundBook, clearing: Clearing) -> PartResult:
    award = clearing.awards[rules.block_id(order.id, block.name)]
    size = rules.size(block)
    winning: int | None = None
    if award.winning is not None:
        # the engine's is for the whole profile, and a micro-yuan beyond what it costs
        sign = order.bid.side.sign
        winning = _beyond(award.winning - sign, size, sign)
    return PartResult(
        part=block.name,
        hour=None,
        outcome=award.outcome.value,
        asked=size,
        lots=_told(award, book),
        amount=award.amount,
        winning=winning,
    )


def _beyond(worth: int, lots: int, sign: int) -> int:
    """The first price for a lot that is more (a buyer's) or less (a seller's) than that, on the
    grid of prices."""
    if sign > 0:
        return (worth // (lots * TICK) + 1) * TICK
    return (-(-worth // (lots * TICK)) - 1) * TICK


# --- what is published ---------------------------------------------------------------------------


def _prices(
    orders: Sequence[Standing], book: RoundBook, clearing: Clearing, traded: Mapping[int, int]
) -> list[PriceRow]:
    curves: dict[tuple[int, Side], dict[int, int]] = {}
    for line in book.book.lines:
        for choice in line.choices:
            steps = curves.setdefault((choice.product, line.side), {})
            steps[choice.limit] = steps.get(choice.limit, 0) + line.quantity
    return [
        PriceRow(
            product=book.product(number),
            hour=number % HOURS,
            price=clearing.prices[number] if number in traded else None,
            lots=traded.get(number, 0),
            demand=_points(curves.get((number, Side.BUY), {}), descending=True),
            supply=_points(curves.get((number, Side.SELL), {}), descending=False),
        )
        for number in range(book.book.products)
    ]


def _points(steps: Mapping[int, int], *, descending: bool) -> tuple[tuple[int, int], ...]:
    points: list[tuple[int, int]] = []
    for price in sorted(steps, reverse=descending):
        points.append((price, steps[price] + (points[-1][1] if points else 0)))
    every = -(-len(points) // MAX_POINTS) or 1
    return tuple(one for at, one in enumerate(points) if not (len(points) - 1 - at) % every)


def _digest(made: Settlement) -> str:
    told = [
        sorted(made.results.items()),
        [[one.buy_id, one.sell_id, one.draft] for one in made.signings],
        [[str(one.product), one.hour, one.price, one.lots] for one in made.prices],
    ]
    return hashlib.sha256(msgspec.json.encode(told)).hexdigest()
