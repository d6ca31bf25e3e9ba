"""Processes that clear a round of the auction and are killed in the middle of it.

Started with a database's URL, a round and the time; for each number on its input a process of its
own clears the round and kills itself after so many steps (statements, commits). What came of it
is told in a line: `killed`, or `cleared` if it had no more steps than that.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from auction_world import SMALL
from manual_clock import ManualClock
from suanwang.engines.matching import call_auction  # loaded once: every process would
from suanwang.platform.database import PostgresDatabase, SqliteDatabase
from suanwang.trade.market.auction_clearing import Auctioneer
from suanwang.trade.market.auctions import Timetable

CLEARED = 0


class Fate:
    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self, *_: Any) -> None:
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)


def _watch(fate: Fate, *, is_sqlite: bool) -> None:
    """SQLite tells every statement itself, BEGIN and COMMIT among them."""
    if is_sqlite:
        sa.event.listen(
            Engine, "connect", lambda connection, _: connection.set_trace_callback(fate.step)
        )
        return
    for event in ("before_cursor_execute", "commit"):
        sa.event.listen(Engine, event, fate.step)


def clear(url: str, name: str, now_ms: int, steps: int) -> None:
    clock = ManualClock()
    clock.advance(ms=now_ms - clock.now_ms())
    kind = PostgresDatabase if url.startswith("postgresql") else SqliteDatabase
    fate = Fate(steps)
    _watch(fate, is_sqlite=kind is SqliteDatabase)

    database: Any = kind(url, clock, random.Random(steps))

    async def work() -> None:
        await Auctioneer(database, clock, Timetable(), effort=SMALL).clear(name)
        await database.close()

    asyncio.run(work())


def main(url: str, name: str, now_ms: str) -> None:
    for line in sys.stdin:
        child = os.fork()
        if not child:
            code = 1
            try:
                clear(url, name, int(now_ms), int(line))
                code = CLEARED
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        ended = "cleared" if os.waitstatus_to_exitcode(status) == CLEARED else "failed"
        print("killed" if killed else ended, flush=True)


if __name__ == "__main__":
    assert call_auction
    main(*sys.argv[1:])
