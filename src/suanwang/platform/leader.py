"""Of several processes over one database, one leads: it plans and sweeps.

The leadership is a row with a term, a holder and an instant until which it is held. Who finds it
lapsed takes it and counts the term up. A leader that was paused, and woke after another took
over, is stopped where it would do harm: `check` looks at the row within the writing transaction
and holds it there until the commit, so that no plan of an old term is ever applied.

All instants are the database's own where it has a clock (PostgreSQL): processes need not agree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from suanwang.kernel.errors import StaleWrite
from suanwang.platform.bulk import insert_new_rows
from suanwang.platform.database import Database, Tx
from suanwang.platform.schema import Ms, metadata

HELD_FOR_MS = 5_000
RENEW_EVERY_S = 1.0
"""Also how often the others look: a dead leader is replaced within the sum of the two."""

leaderships = sa.Table(
    "leaderships",
    metadata,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("holder", sa.String(64), nullable=False),
    sa.Column("term", sa.BigInteger, nullable=False),
    sa.Column("until_ms", Ms, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Leadership:
    """Who leads, as the database has it now."""

    holder: str
    term: int
    left_ms: int


def _now_ms(tx: Tx) -> int:
    if not tx.is_postgres:
        return tx.now_ms
    clock = sa.text("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
    return int(tx.conn.execute(clock).scalar_one())


class Leader:
    """One process's part in a leadership: renew, take over, resign, and prove it when writing."""

    def __init__(self, database: Database, name: str, holder: str) -> None:
        self._database = database
        self._name = name
        self._holder = holder
        self._term: int | None = None

    @property
    def leads(self) -> bool:
        """As of the last look; what must not go wrong asks `check` in its transaction."""
        return self._term is not None

    @property
    def term(self) -> int | None:
        return self._term

    async def campaign(self) -> bool:
        """Renew one's own leadership or take a lapsed one; whether this process leads now."""
        try:
            self._term = await self._database.write(self._hold)
        except Exception:
            self._term = None
            raise
        return self.leads

    def _hold(self, tx: Tx) -> int | None:
        row = self._row(tx)
        if row is None:
            insert_new_rows(tx.conn, leaderships, [(self._name, "", 0, 0)], ())
            row = self._row(tx)
        now_ms = _now_ms(tx)
        mine = row.holder == self._holder
        if not mine and row.until_ms > now_ms:
            return None
        # one's own lapsed leadership begins anew: meanwhile another may have led
        term = int(row.term) if mine and row.until_ms > now_ms else int(row.term) + 1
        tx.conn.execute(
            sa.update(leaderships)
            .where(leaderships.c.name == self._name)
            .values(holder=self._holder, term=term, until_ms=now_ms + HELD_FOR_MS)
        )
        return term

    def check(self, tx: Tx) -> None:
        """Raises StaleWrite unless this process still leads; nobody takes over before the commit.

        The row is held shared, so that checks do not wait for one another, only a take-over does.
        """
        row = self._row(tx, shared=True)
        if row is None or row.holder != self._holder or row.term != self._term:
            raise StaleWrite(
                "LeadershipLost",
                "Another process has taken over planning; this plan is dropped.",
                hint="Nothing to do: the new leader plans again.",
            )

    async def resign(self) -> None:
        """Let another take over at once."""
        if self._term is None:
            return
        self._term = None
        mine = (leaderships.c.name == self._name) & (leaderships.c.holder == self._holder)
        lapse = sa.update(leaderships).where(mine).values(until_ms=0)

        def use_case(tx: Tx) -> None:
            tx.conn.execute(lapse)

        await self._database.write(use_case)

    async def look(self) -> Leadership | None:
        """Who leads; None before anybody did."""

        def use_case(tx: Tx) -> Leadership | None:
            row = self._row(tx, shared=True)
            if row is None:
                return None
            return Leadership(row.holder, int(row.term), int(row.until_ms) - _now_ms(tx))

        return await self._database.write(use_case)

    def _row(self, tx: Tx, *, shared: bool = False) -> Any:
        query = sa.select(leaderships).where(leaderships.c.name == self._name)
        return tx.conn.execute(query.with_for_update(read=shared)).first()


def guard_of(leader: Leader | None) -> Callable[[Tx], None]:
    """The leader's `check`; a process that is alone always leads."""
    return leader.check if leader is not None else lambda _tx: None
