"""What everybody got, and why not more: exact figures of a choice of blocks."""

from __future__ import annotations

from typing import Protocol

from suanwang.engines.matching.model import WHOLE, Award, Block, Book, Clearing, Line, Outcome
from suanwang.engines.matching.prices import Ints
from suanwang.engines.matching.program import Columns


class Chosen(Protocol):
    @property
    def parts(self) -> Ints: ...
    @property
    def served(self) -> Ints: ...
    @property
    def moved(self) -> Ints: ...
    @property
    def prices(self) -> Ints: ...
    @property
    def welfare(self) -> int: ...


def awards_of(book: Book, columns: Columns, chosen: Chosen, bound: int, rounds: int) -> Clearing:
    """Asserts that accounts balance: buyers' payments are sellers' receipts and rent."""
    prices = [int(price) for price in chosen.prices]
    awards: dict[str, Award] = {}
    first = 0
    for line in book.lines:
        end = first + len(line.choices)
        awards[line.line_id] = _of_line(line, chosen.served[first:end].tolist(), prices)
        first = end
    accepted = _accepted(book, chosen.parts)
    groups = {
        block.group for block in book.blocks if block.group and accepted[block.block_id][1] > 0
    }
    for block in book.blocks:
        awards[block.block_id] = _of_block(block, accepted, groups, prices)
    flows = {link.link_id: int(lots) for link, lots in zip(book.links, chosen.moved, strict=True)}
    rent = sum(
        flows[link.link_id] * (prices[link.target] - prices[link.source]) for link in book.links
    )
    paid = sum(one.side.sign * awards[one.line_id].amount for one in book.lines)
    paid += sum(one.side.sign * awards[one.block_id].amount for one in book.blocks)
    assert paid == rent, (paid, rent)
    return Clearing(tuple(prices), awards, flows, chosen.welfare, bound, rent, rounds)


def _of_line(line: Line, served: list[int], prices: list[int]) -> Award:
    lots = {one.product: n for one, n in zip(line.choices, served, strict=True) if n}
    amount = sum(prices[product] * n for product, n in lots.items())
    total = sum(served)
    if total == line.quantity:
        return Award(Outcome.ACCEPTED, lots, amount)
    best = min(line.side.sign * (prices[one.product] - one.limit) for one in line.choices)
    assert best >= 0, f"{line.line_id} is in the money and not served"
    if total:
        return Award(Outcome.PARTLY, lots, amount)
    outcome = Outcome.TIE if best == 0 else Outcome.PRICE
    winning = prices[line.choices[0].product] + line.side.sign
    return Award(outcome, winning=winning)


def _accepted(book: Book, parts: Ints) -> dict[str, tuple[int, int]]:
    """Each block's (option, thousandths); (0, 0) for one that is not served."""
    found: dict[str, tuple[int, int]] = {}
    first = 0
    for block in book.blocks:
        own = parts[first : first + len(block.options)].tolist()
        option = max(range(len(own)), key=lambda at: (own[at], -at)) if own else 0
        found[block.block_id] = (option, own[option]) if own else (0, 0)
        assert sum(1 for part in own if part) <= 1, block.block_id
        first += len(block.options)
    return found


def _of_block(
    block: Block, accepted: dict[str, tuple[int, int]], groups: set[str], prices: list[int]
) -> Award:
    option, part = accepted[block.block_id]
    sign = block.side.sign
    if part:
        chosen = block.options[option]
        lots = {product: n * part // WHOLE for product, n in chosen.profile}
        assert all(n * part % WHOLE == 0 for _, n in chosen.profile), block.block_id
        amount = sum(prices[product] * n for product, n in lots.items())
        assert sign * (chosen.limit * part - amount * WHOLE) >= 0, f"{block.block_id} loses"
        outcome = Outcome.ACCEPTED if part == WHOLE else Outcome.PARTLY
        return Award(outcome, lots, amount, option, part)
    costs = [sum(prices[product] * n for product, n in one.profile) for one in block.options]
    gains = [sign * (one.limit - cost) for one, cost in zip(block.options, costs, strict=True)]
    best = max(range(len(gains)), key=lambda at: (gains[at], -at))
    winning = costs[best] + sign
    if gains[best] < 0:
        return Award(Outcome.PRICE, winning=winning)
    if block.group in groups:
        return Award(Outcome.GROUP)
    if block.parent is not None and accepted[block.parent][1] == 0:
        return Award(Outcome.PARENT)
    return Award(Outcome.TIE if gains[best] == 0 else Outcome.PARADOX, winning=winning)
