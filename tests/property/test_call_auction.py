"""What holds of every clearing: nobody loses, accounts balance, order of the book is no matter."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import product as combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from suanwang.engines.matching.call_auction import clear
from suanwang.engines.matching.model import (
    WHOLE,
    Award,
    Block,
    Book,
    Choice,
    Clearing,
    Line,
    Link,
    Option,
    Outcome,
    Side,
)

PRODUCTS = 4
CEILING = 100
sides = st.sampled_from(list(Side))
products = st.integers(0, PRODUCTS - 1)
limits = st.integers(0, CEILING)


@st.composite
def books(draw: st.DrawFn, *, most_blocks: int = 4) -> Book:
    lines = []
    for at in range(draw(st.integers(0, 8))):
        chosen = draw(st.lists(products, min_size=1, max_size=2, unique=True))
        choices = tuple(Choice(one, draw(limits)) for one in sorted(chosen))
        lines.append(Line(f"line-{at}", draw(sides), draw(st.integers(1, 9)), choices))
    blocks: list[Block] = []
    for at in range(draw(st.integers(0, most_blocks))):
        options = []
        for _ in range(draw(st.integers(1, 2))):
            used = sorted(draw(st.lists(products, min_size=1, max_size=3, unique=True)))
            profile = tuple((one, draw(st.integers(1, 6))) for one in used)
            lots = sum(n for _, n in profile)
            options.append(Option(profile, draw(st.integers(0, CEILING * lots))))
        parent = f"block-{at - 1}" if at and draw(st.booleans()) else None
        group = draw(st.sampled_from([None, None, "one"]))
        least = draw(st.sampled_from([WHOLE, WHOLE, 500]))
        blocks.append(Block(f"block-{at}", draw(sides), tuple(options), least, parent, group))
    links = [
        Link(f"link-{a}{b}", a, b, draw(st.integers(0, 5)), draw(st.integers(0, 20)))
        for a, b in ((0, 1), (1, 0), (2, 3))
    ]
    return Book(PRODUCTS, tuple(lines), tuple(blocks), tuple(links), 0, CEILING)


def worth(book: Book, cleared: Clearing) -> int:
    """Welfare from what was awarded alone."""
    total = 0
    for line in book.lines:
        limit = {one.product: one.limit for one in line.choices}
        lots = cleared.awards[line.line_id].lots
        total += line.side.sign * sum(limit[one] * n for one, n in lots.items())
    for block in book.blocks:
        award = cleared.awards[block.block_id]
        if award.lots:
            total += block.side.sign * _limit(block, award)
    return total - sum(link.cost * cleared.flows[link.link_id] for link in book.links)


def _limit(block: Block, award: Award) -> int:
    """Of what was awarded, which is a part of the option that was accepted."""
    assert award.option is not None
    option = block.options[award.option]
    assert {one: n * award.part // WHOLE for one, n in option.profile} == dict(award.lots)
    assert award.part >= block.least
    return option.limit * award.part // WHOLE


@settings(max_examples=300, deadline=None)
@given(books())
def test_nobody_loses_and_accounts_balance(book: Book) -> None:
    cleared = clear(book)
    prices = cleared.prices
    balance = [0] * book.products
    rent = 0
    orders: list[Line | Block] = [*book.lines, *book.blocks]
    for order in orders:
        award = cleared.awards[order.line_id if isinstance(order, Line) else order.block_id]
        for at, lots in award.lots.items():
            assert lots > 0
            balance[at] += order.side.sign * lots
        assert award.amount == sum(prices[at] * lots for at, lots in award.lots.items())
        rent += order.side.sign * award.amount
    for link in book.links:
        moved = cleared.flows[link.link_id]
        assert 0 <= moved <= link.capacity
        balance[link.source] += moved
        balance[link.target] -= moved
    assert balance == [0] * book.products
    assert rent == cleared.rent
    assert earned(book, cleared) >= 0
    assert all(book.floor <= price <= book.ceiling for price in prices)
    assert worth(book, cleared) == cleared.welfare <= cleared.bound


@settings(max_examples=300, deadline=None)
@given(books())
def test_each_order_is_within_its_limits_and_told_why_not(book: Book) -> None:
    cleared = clear(book)
    prices = cleared.prices
    for line in book.lines:
        award, sign = cleared.awards[line.line_id], line.side.sign
        gains = {one.product: sign * (one.limit - prices[one.product]) for one in line.choices}
        assert sum(award.lots.values()) <= line.quantity
        # served by what is best for it, and not left with anything in the money
        assert all(gains[at] == max(gains.values()) >= 0 for at in award.lots)
        if sum(award.lots.values()) < line.quantity:
            assert max(gains.values()) <= 0
        assert (award.outcome is Outcome.PRICE) <= (max(gains.values()) < 0)
    for block in book.blocks:
        award, sign = cleared.awards[block.block_id], block.side.sign
        if award.lots:
            assert sign * (_limit(block, award) - award.amount) >= 0
        else:
            assert award.outcome not in (Outcome.ACCEPTED, Outcome.PARTLY)
        if block.parent is not None and award.lots:
            assert cleared.awards[block.parent].lots
    served = [b for b in book.blocks if b.group and cleared.awards[b.block_id].lots]
    assert len(served) <= 1


@settings(max_examples=150, deadline=None)
@given(books(most_blocks=0), st.randoms(use_true_random=False))
def test_the_order_of_lines_and_their_names_are_no_matter_to_prices(
    book: Book, shuffled: random.Random
) -> None:
    """Of lines and links; among several best choices of blocks names decide."""
    lines = list(book.lines)
    shuffled.shuffle(lines)
    links = list(book.links)
    shuffled.shuffle(links)
    other = clear(replace(book, lines=tuple(lines), links=tuple(links)))
    cleared = clear(book)
    assert (other.prices, other.welfare) == (cleared.prices, cleared.welfare)
    assert earned(book, other) == earned(book, cleared)


def earned(book: Book, cleared: Clearing) -> int:
    """By moving, above what it costs: what moves where that is nothing may differ."""
    return cleared.rent - sum(link.cost * cleared.flows[link.link_id] for link in book.links)


@settings(max_examples=150, deadline=None)
@given(books(most_blocks=3))
def test_it_is_as_good_as_trying_every_choice_of_blocks(book: Book) -> None:
    """Of whole blocks: each subset that keeps groups and parents, cleared with those blocks forced
    (as lines that must be served, so at most as good as with prices of their own)."""
    book = replace(book, blocks=tuple(replace(b, least=WHOLE) for b in book.blocks))
    cleared = clear(book)
    best = clear(replace(book, blocks=())).welfare
    choices = [[None, *range(len(b.options))] for b in book.blocks]
    for chosen in combinations(*choices):
        kept = [
            replace(b, options=(b.options[at],), group=None, parent=None)
            for b, at in zip(book.blocks, chosen, strict=True)
            if at is not None
        ]
        ids = {b.block_id for b in kept}
        groups = [b.group for b in book.blocks if b.block_id in ids and b.group]
        orphans = [b for b in book.blocks if b.block_id in ids and b.parent and b.parent not in ids]
        if len(groups) > 1 or orphans:
            continue
        other = clear(replace(book, blocks=tuple(kept)))
        if all(other.awards[one].lots for one in ids):
            best = max(best, other.welfare)
    assert cleared.welfare >= best
