"""Books for the call auction, made from a seed.

Accelerator classes, zones and the 24 hours of a day. Each class has a price (2 to 30 yuan a card
hour), each zone a factor (0.8 to 1.2), each hour one of a daily wave (0.6 to 1.4, highest in the
afternoon). What an order is worth is that times a lognormal factor (sigma 0.25, buyers 5 % above
and sellers 5 % below on the median). Of the orders 40 % are blocks over 2 to 12 hours, 10 %
flexible (2 to 8 hours at any start of a window), 20 % take one of two or three products in the
same hour, the rest are curves of one to four steps. Neighbouring zones (a ring) are linked both
ways: 50 lots of each class an hour at 0.3 yuan.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from suanwang.engines.matching.model import Block, Book, Choice, Line, Link, Option, Side
from suanwang.kernel.money import MICRO_PER_YUAN

HOURS = 24
BLOCKS, FLEXIBLE, SUBSTITUTABLE = 0.4, 0.1, 0.2
LINK_LOTS = 50
LINK_COST = 300_000
CEILING = 1_000 * MICRO_PER_YUAN


@dataclass
class Market:
    """Where orders come from; `classes` x `zones` products in each hour."""

    orders: int
    classes: int = 5
    zones: int = 4
    seed: int = 1
    lines: list[Line] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)
        self._base = [self._dice.uniform(2, 30) for _ in range(self.classes)]
        self._zone = [self._dice.uniform(0.8, 1.2) for _ in range(self.zones)]

    def product(self, kind: int, zone: int, hour: int) -> int:
        return (kind * self.zones + zone) * HOURS + hour

    def worth(self, kind: int, zone: int, hour: int) -> float:
        """Yuan for a card hour."""
        wave = 1 + 0.4 * math.sin((hour - 6) / HOURS * 2 * math.pi)
        return self._base[kind] * wave * self._zone[zone]

    def book(self) -> Book:
        for number in range(self.orders):
            self._order(number)
        return Book(
            self.classes * self.zones * HOURS,
            tuple(sorted(self.lines, key=lambda one: one.line_id)),
            tuple(sorted(self.blocks, key=lambda one: one.block_id)),
            self._links(),
            0,
            CEILING,
        )

    def _order(self, number: int) -> None:
        dice = self._dice
        side = Side.BUY if dice.random() < 0.55 else Side.SELL
        factor = dice.lognormvariate(0.05 * side.sign, 0.25)
        kind, zone, sort = dice.randrange(self.classes), dice.randrange(self.zones), dice.random()
        if sort < BLOCKS + FLEXIBLE:
            self._block(number, side, factor, kind, zone, flexible=sort >= BLOCKS)
        elif sort < BLOCKS + FLEXIBLE + SUBSTITUTABLE:
            hour, lots = dice.randrange(HOURS), dice.choice([5, 10, 20, 50])
            everywhere = [(k, z) for k in range(self.classes) for z in range(self.zones)]
            wanted = sorted(dice.sample(everywhere, dice.choice([2, 3])))
            choices = tuple(
                Choice(self.product(k, z, hour), micro(self.worth(k, z, hour) * factor))
                for k, z in wanted
            )
            self.lines.append(Line(f"s{number:06d}", side, lots, choices))
        else:
            hour = dice.randrange(HOURS)
            price = self.worth(kind, zone, hour) * factor
            for step in range(dice.choice([1, 2, 3, 4])):
                choice = Choice(self.product(kind, zone, hour), micro(price))
                lots = dice.choice([5, 10, 20, 40])
                self.lines.append(Line(f"c{number:06d}-{step}", side, lots, (choice,)))
                price *= 0.9 if side is Side.BUY else 1.1

    def _block(
        self, number: int, side: Side, factor: float, kind: int, zone: int, *, flexible: bool
    ) -> None:
        dice = self._dice
        long = dice.choice([2, 4, 8] if flexible else [2, 4, 6, 8, 12])
        lots = dice.choice([1, 2, 4, 8, 16] if flexible else [1, 2, 4, 8, 16, 32])
        window = dice.randrange(long + 2, min(HOURS, long + 10) + 1) if flexible else long
        first = dice.randrange(HOURS - window + 1)
        worth = sum(self.worth(kind, zone, hour) for hour in range(first, first + window))
        limit = micro(worth / window * long * lots * factor)
        options = tuple(
            Option(tuple((self.product(kind, zone, h), lots) for h in range(at, at + long)), limit)
            for at in range(first, first + window - long + 1)
        )
        self.blocks.append(Block(f"{'f' if flexible else 'b'}{number:06d}", side, options))

    def _links(self) -> tuple[Link, ...]:
        made = []
        for kind in range(self.classes):
            for zone in range(self.zones):
                for hour in range(HOURS):
                    here = self.product(kind, zone, hour)
                    there = self.product(kind, (zone + 1) % self.zones, hour)
                    for a, b in ((here, there), (there, here)):
                        made.append(Link(f"{a}-{b}", a, b, LINK_LOTS, LINK_COST))
        return tuple(sorted(made, key=lambda one: one.link_id))


def micro(yuan: float) -> int:
    return int(yuan * MICRO_PER_YUAN)
