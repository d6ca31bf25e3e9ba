"""Several parties trade at once through several processes, in all ways, on both databases."""

from __future__ import annotations

import asyncio
import random as stdlib_random
from typing import Any

import pytest

from manual_clock import ManualClock
from talks_world import Talks
from trading_play import WORDS, TradingPlay


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_is_done_at_once_is_conserved(
    any_database: Any, clock: ManualClock, seed: int
) -> None:
    dice = stdlib_random.Random(seed)
    made = TradingPlay(Talks(any_database, clock))
    await made.set_up()
    await made.opens(0, 0, 0)
    alone = ("waits", "delivers")  # the clock is everybody's
    for _ in range(12):
        words = [dice.choice(WORDS) for _ in range(10)]
        steps = [
            made.step((word, dice.randrange(4), dice.randrange(4), dice.randint(1, 6)))
            for word in words
            if word not in alone
        ]
        await asyncio.gather(*steps)
        await made.check()
        await made.step((dice.choice(alone), 0, dice.randrange(4), dice.randint(1, 6)))
        await made.check()
    await made.end()
