"""What holds of every clearing: nobody loses, accounts balance, order of the book is no matter."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import replace
from itertools import product as combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auction_exact import exact
from suanwang.engines.matching.call_auction import Effort, clear
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
from suanwang.engines.matching.program import Program

PRODUCTS = 4
SEEDS = 8
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


@settings(max_examples=150, deadline=None)
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


@settings(max_examples=150, deadline=None)
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


@settings(max_examples=40, deadline=None)
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


def thin_book(seed: int, hours: int = 6, blocks: int = 9, lines: int = 10) -> Book:
    """Few curves and many blocks, most of which fit only together."""
    dice = random.Random(seed)
    sides = list(Side)
    made = [
        Line(
            f"line-{at:02d}",
            dice.choice(sides),
            dice.randint(1, 6),
            (Choice(dice.randrange(hours), dice.randint(20, 80) * 1_000),),
        )
        for at in range(lines)
    ]
    whole: list[Block] = []
    for at in range(blocks):
        side, long = dice.choice(sides), dice.randint(2, hours)
        first, lots = dice.randrange(hours - long + 1), dice.randint(1, 5)
        limit = int(long * lots * 1_000 * (50 + side.sign * dice.uniform(-5, 25)))
        profile = tuple((hour, lots) for hour in range(first, first + long))
        whole.append(Block(f"block-{at:02d}", side, (Option(profile, limit),)))
    return Book(hours, tuple(made), tuple(whole), (), 0, 100_000)


def best_supported(book: Book) -> float:
    """Over all choices of blocks: one has prices at which nobody loses exactly if it is best to
    serve all of it when it is offered, by duality of linear programs; no price is computed."""
    program = Program(book, bundled=False)
    layout = program.layout
    best = 0.0
    for chosen in combinations((0, 1), repeat=len(book.blocks)):
        program.offer(np.array(chosen) * WHOLE)
        found = program.solve()
        served = (found.value[layout.options : layout.links] > np.array(chosen) - 1e-6).all()
        if served and (found.value[layout.slack :] < 1e-6).all():
            best = max(best, -found.cost)
    return best


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_thin_book_is_cleared_as_well_as_by_trying_every_choice(seed: int) -> None:
    """Both ways: every choice tried (as is done where they are few), and by fitting alone."""
    book = thin_book(seed)
    best = best_supported(book)
    assert clear(book).welfare >= best * (1 - 1e-6)
    assert clear(book, Effort(choices=0)).welfare >= 0.98 * best
    assert clear(book).bound >= best


@pytest.mark.parametrize("seed", range(5))
def test_a_book_of_two_dozen_blocks_is_cleared_as_well_as_by_the_exact_program(seed: int) -> None:
    """Too many to try every choice of: blocks and prices in one program tell the best there is."""
    book = thin_book(seed, hours=8, blocks=24, lines=16)
    best = exact(book)
    assert best.welfare > 0
    assert clear(book).welfare >= best.welfare * (1 - 2e-4)
    assert clear(book).welfare <= best.bound * (1 + 2e-4)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_exact_program_agrees_with_trying_every_choice(seed: int) -> None:
    book = thin_book(seed)
    assert exact(book).welfare == pytest.approx(best_supported(book), rel=1e-4, abs=1)


def test_prices_of_offers_keep_to_the_floor() -> None:
    """The two blocks would suit each other if the first hour had a price below the floor."""
    sells = Block("sells", Side.SELL, (Option(((0, 1), (1, 1)), 100),))
    buys = Block("buys", Side.BUY, (Option(((0, 1),), 10),))
    lines = (Line("line", Side.BUY, 1, (Choice(1, 95),)),)
    book = Book(2, lines, (buys, sells), (), 0, 1_000)
    dear = replace(book, floor=-1_000, lines=(replace(lines[0], choices=(Choice(1, 120),)),))
    worthless = replace(buys, options=(Option(((0, 1),), -10),))
    assert clear(book).welfare == 5
    for choices in (0, 512):
        effort = Effort(choices=choices)
        assert clear(replace(dear, blocks=(worthless, sells)), effort).welfare == 10
        below = replace(dear, blocks=(worthless, sells), floor=0)
        assert clear(below, effort).welfare == 0


def test_the_same_book_clears_the_same_way_again() -> None:
    book = thin_book(3, blocks=20)
    effort = Effort(fits=10)
    assert clear(book, effort) == clear(book, effort)


def raised(line: Line, by: int) -> Line:
    """A better limit: more for a buyer, less for a seller."""
    choices = [replace(one, limit=one.limit + line.side.sign * by) for one in line.choices]
    return replace(line, choices=tuple(choices))


@settings(max_examples=100, deadline=None)
@given(books(most_blocks=0), st.integers(0, 7), st.integers(1, 30))
def test_without_blocks_a_better_limit_serves_no_fewer_lots(book: Book, at: int, by: int) -> None:
    """And welfare is no less: that of the others may be, that of all is not."""
    if not book.lines:
        return
    line = book.lines[at % len(book.lines)]
    lines = tuple(raised(one, by) if one is line else one for one in book.lines)
    before, after = clear(book), clear(replace(book, lines=lines, floor=-CEILING))
    assert after.welfare >= before.welfare
    served = [sum(one.awards[line.line_id].lots.values()) for one in (before, after)]
    assert served[1] >= served[0]


@pytest.mark.parametrize("seed", range(4))
def test_a_better_limit_of_a_block_costs_no_welfare(seed: int) -> None:
    """What supported a choice of blocks supports it still: if every choice is tried."""
    book = thin_book(seed, blocks=7)
    before = clear(book).welfare
    for block in book.blocks:
        option = block.options[0]
        better = Option(option.profile, option.limit + block.side.sign * 20_000)
        changed = replace(block, options=(better,))
        blocks = tuple(changed if one is block else one for one in book.blocks)
        assert clear(replace(book, blocks=blocks)).welfare >= before


def test_with_blocks_a_better_limit_of_a_line_may_cost_welfare() -> None:
    """The blocks trade with each other as long as what they pay for two hours, at most 140 for a
    lot, is no less than what lines that are not served would pay: 70 and 50. At 70 and 80 it is,
    and the line that offers 80 is not enough to sell a block to."""

    def book(limit: int) -> Book:
        lines = (
            Line("a", Side.BUY, 2, (Choice(1, 70),)),
            Line("b", Side.BUY, 1, (Choice(0, limit),)),
            Line("c", Side.BUY, 3, (Choice(0, 10),)),
        )
        profile = ((0, 2), (1, 2))
        blocks = (
            Block("sells", Side.SELL, (Option(profile, 240),)),
            Block("buys", Side.BUY, (Option(profile, 280),)),
        )
        return Book(2, lines, blocks, (), 0, 100)

    assert clear(book(50)).welfare == 40
    assert clear(book(80)).welfare == 0


def test_blocks_of_both_sides_get_prices_between_the_ends_of_the_lattice() -> None:
    """The buyer wants low prices in the first two hours, the seller high ones in the last two: at
    neither end nor in the middle of what supports the lines does neither of them lose."""
    lines = (
        Line("first", Side.SELL, 1, (Choice(0, 20),)),
        Line("last", Side.BUY, 1, (Choice(2, 50),)),
    )
    buys = Block("buys", Side.BUY, (Option(((0, 1), (1, 1)), 90),))
    sells = Block("sells", Side.SELL, (Option(((1, 1), (2, 1)), 50),))
    book = Book(3, lines, (buys, sells), (), 0, 1_000)
    assert clear(book).welfare == 90 - 50 + 50 - 20
    assert round(best_supported(book)) == 90 - 50 + 50 - 20


def test_a_clearing_prints_nothing() -> None:
    """In a process of its own: the solver greets once in a process."""
    made = (
        "from suanwang.engines.matching.call_auction import clear; "
        "from suanwang.engines.matching.model import Book; clear(Book(1))"
    )
    done = subprocess.run([sys.executable, "-c", made], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")
