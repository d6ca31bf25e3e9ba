"""From documents to the engine's book and back: what is held covers what may be owed."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from suanwang.engines.matching.call_auction import Effort, clear
from suanwang.engines.matching.model import WHOLE, Side
from suanwang.trade.contracts.model import Party
from suanwang.trade.market import auction_rules as rules
from suanwang.trade.market.auction_awards import settle
from suanwang.trade.market.auction_bids import document_of, parse, ways
from suanwang.trade.market.auction_model import (
    HOURS,
    BidState,
    Round,
    RoundState,
    Standing,
    ZoneLink,
)

PRODUCTS = ["a100-80g@gansu", "a100-80g@henan", "h100-80g@henan"]
ROUND = Round("auc_1", "2026-12-03", 0, RoundState.CLOSED, 0, 0, None, "", (), 0)
LINKS = (ZoneLink("gansu", "henan", 3, 500_000),)
prices = st.integers(1, 40).map(lambda quarters: quarters / 4)
lots = st.integers(1, 9)


@st.composite
def spans(draw: st.DrawFn) -> list[int]:
    first = draw(st.integers(8, 11))
    return [first, draw(st.integers(first + 1, 12))]


@st.composite
def bids(draw: st.DrawFn) -> dict[str, Any]:
    sells = draw(st.booleans())
    own = draw(st.sampled_from(PRODUCTS))

    def instead(first: str) -> list[dict[str, Any]]:
        others = [one for one in PRODUCTS if one != first and not sells and draw(st.booleans())]
        return [{"product": one, "price": draw(prices)} for one in others]

    def product() -> str:
        return own if sells else draw(st.sampled_from(PRODUCTS))

    curve = []
    for _ in range(draw(st.integers(0, 2))):
        of = product()
        step = {"product": of, "hours": draw(spans()), "lots": draw(lots), "price": draw(prices)}
        curve.append({**step, "instead": instead(of)})
    blocks: list[dict[str, Any]] = []
    for at in range(draw(st.integers(0 if curve else 1, 3))):
        of, hours = product(), draw(spans())
        block: dict[str, Any] = {"name": f"b{at}", "price": draw(prices)}
        if draw(st.booleans()):
            profile = {"product": of, "hours": hours, "lots": draw(lots)}
            block["profile"] = [profile]
        else:
            block |= {"product": of, "hours": hours, "lots": draw(lots), "instead": instead(of)}
            if draw(st.booleans()):
                block["any"] = draw(st.integers(1, hours[1] - hours[0]))
        block["least"] = draw(st.sampled_from([WHOLE, 500]))
        if draw(st.booleans()):
            block["group"] = "g"
        elif at and draw(st.booleans()):
            block["parent"] = f"b{at - 1}"
        blocks.append(block)
    source = {"source": "pol_1"} if sells else {}
    return {"side": "sell" if sells else "buy", **source, "curve": curve, "blocks": blocks}


def standing(at: int, document: dict[str, Any]) -> Standing:
    bid = parse(document)
    party = Party(f"org_{at % 3}", f"prj_{at}")
    pool = "pol_1" if bid.side is Side.SELL else None
    held = rules.set_aside(bid)
    state = BidState.STANDING
    return Standing(f"bid_{at}", "auc_1", party, bid, state, 1, held, pool, "ste_1", 0, 0, None)


@given(bids())
def test_a_bid_is_told_as_it_was_said(document: dict[str, Any]) -> None:
    bid = parse(document)
    assert parse(document_of(bid)) == bid


books = st.lists(bids(), min_size=1, max_size=6).map(
    lambda documents: [standing(at, one) for at, one in enumerate(documents)]
)


@given(books)
def test_the_book_does_not_depend_on_the_orders_order_and_has_all_that_was_said(
    orders: list[Standing],
) -> None:
    book = rules.book_of(orders, LINKS)
    assert rules.digest_of(rules.book_of(orders[::-1], LINKS)) == rules.digest_of(book)
    steps = [step for one in orders for step in one.bid.curve]
    assert sum(line.quantity for line in book.book.lines) == sum(
        step.lots * (step.hours[1] - step.hours[0]) for step in steps
    )
    said = {rules.block_id(one.id, block.name): block for one in orders for block in one.bid.blocks}
    assert {block.block_id for block in book.book.blocks} == set(said)
    for block in book.book.blocks:
        of = said[block.block_id]
        assert len(block.options) == ways(of)
        for option in block.options:
            assert sum(n for _, n in option.profile) == rules.size(of)
            assert option.limit % rules.size(of) == 0


@settings(max_examples=60)
@given(books)
def test_nobody_owes_more_than_he_set_aside_nor_delivers_more_than_he_pledged(
    orders: list[Standing],
) -> None:
    book = rules.book_of(orders, LINKS)
    clearing = clear(book.book, Effort(rounds=8, patience=3, fits=0, solves=0, choices=16))
    made = settle(replace(ROUND, links=LINKS), orders, book, clearing)
    assert settle(replace(ROUND, links=LINKS), orders, book, clearing).digest == made.digest
    paid: dict[str, int] = dict(made.rents)
    for one in made.signings:
        assert one.draft.price > 0
        assert one.draft.buyer.organisation_id != one.draft.seller.organisation_id
        paid[one.buy_id] = paid.get(one.buy_id, 0) + one.draft.worth
        paid[one.sell_id] = paid.get(one.sell_id, 0) + one.draft.deposit
    for order in orders:
        assert 0 <= paid.get(order.id, 0) <= order.held
        if order.bid.side is Side.SELL:
            sold = made.sold[order.id]
            assert all(n <= most for n, most in zip(sold, rules.envelope(order.bid), strict=True))
    buyers = sum(made.results[o.id].amount for o in orders if o.bid.side is Side.BUY)
    sellers = sum(made.results[o.id].amount for o in orders if o.bid.side is Side.SELL)
    assert buyers == sellers + sum(made.rents.values())
    assert min(made.rents.values(), default=0) >= 0
    by_contract: dict[str, int] = {}
    for one in made.signings:
        rent = one.draft.whole_rent
        by_contract[one.buy_id] = by_contract.get(one.buy_id, 0) + rent
    assert {key: rent for key, rent in by_contract.items() if rent} == made.rents
    if not any(one.own for one in made.results.values()):
        assert sum(made.rents.values()) == clearing.rent
    assert sum(one.lots for one in made.prices) == made.traded
    assert len(made.prices) == len(book.products) * HOURS


@given(st.lists(st.integers(0, 3), min_size=1, max_size=24))
def test_runs_say_what_the_hours_said(hours: list[int]) -> None:
    found = rules.runs(hours)
    told = [0] * len(hours)
    for first, length, count in found:
        told[first : first + length] = [count] * length
    assert told == hours
    assert all(a[0] + a[1] < b[0] or a[2] != b[2] for a, b in pairwise(found))
