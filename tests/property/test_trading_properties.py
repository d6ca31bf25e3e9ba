"""All ways of trading interleaved, with resale, cancellations, sites that come and go and a clock
that moves: after each step the ledger sums to zero, what is held and pledged is what open things
ask for, and nothing is promised twice."""

from __future__ import annotations

import asyncio
import random as stdlib_random

from hypothesis import given, settings
from hypothesis import strategies as st

from manual_clock import ManualClock
from suanwang.platform.database import InlineDatabase
from tables import fill
from talks_world import Talks
from trading_play import WORDS, Step, TradingPlay

STEPS = st.lists(
    st.tuples(st.sampled_from(WORDS), st.integers(0, 3), st.integers(0, 3), st.integers(1, 6)),
    max_size=50,
)


async def play(steps: list[Step]) -> TradingPlay:
    clock = ManualClock()
    database = InlineDatabase(clock, stdlib_random.Random(1))
    fill(database.engine)
    made = TradingPlay(Talks(database, clock))
    await made.set_up()
    try:
        for step in steps:
            await made.step(step)
            await made.check()
        await made.end()
    finally:
        await database.close()
    return made


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_money_and_capacity_are_conserved_by_every_way_of_trading(steps: list[Step]) -> None:
    asyncio.run(play(steps))


def test_the_plays_do_everything() -> None:
    """That the steps do what they are called, or the property would hold of nothing."""
    missing = set(WORDS) - {"retracts", "opens"}  # the one tells nothing, the leader opens rounds
    for seed in range(20):
        dice = stdlib_random.Random(seed)
        words = [word for _ in range(8) for word in dice.sample(WORDS, len(WORDS))]
        steps = [(word, dice.randrange(4), dice.randrange(4), dice.randint(1, 6)) for word in words]
        missing -= asyncio.run(play(steps)).counts.keys()
        if not missing:
            return
    raise AssertionError(f"never done: {sorted(missing)}")
