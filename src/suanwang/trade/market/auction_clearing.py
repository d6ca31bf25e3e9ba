"""Clearing a round: read → engine → applied in one transaction, or not at all.

The engine works beside the database, for seconds. What it made is written only if the round is
still closed and has the very orders that were read; a process that dies in between leaves the
round closed, and it is cleared again, to the same outcome.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, fields, replace
from functools import cache, partial
from importlib.resources import files
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy.engine import Connection

from suanwang.engines.matching.model import Clearing, Side
from suanwang.kernel.errors import Conflict, StaleWrite, require
from suanwang.kernel.time import Clock
from suanwang.platform.database import Database, Tx
from suanwang.trade.contracts import service as contracts
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.model import project_key
from suanwang.trade.market import auction_rules as rules
from suanwang.trade.market import auction_store as store
from suanwang.trade.market import auctions
from suanwang.trade.market.auction_awards import Settlement, settle
from suanwang.trade.market.auction_model import (
    BidState,
    Cleared,
    Result,
    Round,
    RoundState,
    Standing,
)
from suanwang.trade.market.auction_rules import RoundBook
from suanwang.trade.market.auctions import Timetable

if TYPE_CHECKING:
    from suanwang.engines.matching.call_auction import Effort

log = logging.getLogger("suanwang.market")
DECIDING = ("auction_awards.py", "auction_pairing.py", "auction_rules.py")
TRIES = 3
"""What is offered may go while a round is cleared."""
NOTHING = Clearing((), {}, {}, welfare=0, bound=0, rent=0, rounds=0)
"""Of a round without orders."""
BEGUN = "The day began before the round was cleared."


@dataclass(frozen=True, slots=True)
class Gathered:
    """A closed round as it was read."""

    round: Round
    orders: tuple[Standing, ...]
    digest: str
    """Of its orders' versions: what has changed since is not what was cleared."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What the engine made of it; nothing is written yet."""

    gathered: Gathered
    book: RoundBook
    clearing: Clearing
    settlement: Settlement
    effort: Effort


@cache
def engine_digest() -> str:
    """Of the programs that decide: those of another digest may clear the same book otherwise."""
    digest = hashlib.sha256()
    engine = sorted(files("suanwang.engines.matching").iterdir(), key=lambda one: one.name)
    around = [files("suanwang.trade.market") / name for name in DECIDING]
    for file in (*engine, *around):
        if file.name.endswith(".py"):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def gather(conn: Connection, name: str) -> Gathered:
    """Raises Conflict unless the round is closed."""
    found = auctions.round_of(conn, name)
    _require_closed(found)
    orders = tuple(store.orders_in(conn, found.id, BidState.STANDING))
    return Gathered(found, orders, rules.orders_digest(found, orders))


def _offers_gone(conn: Connection, name: str) -> list[Standing]:
    gathered = gather(conn, name)
    return auctions.gone(conn, gathered.round, gathered.orders)


def _lose_gone(tx: Tx, name: str) -> None:
    """What cannot be delivered is not cleared."""
    for order in _offers_gone(tx.conn, name):
        auctions.lose(tx, order)


def _require_closed(found: Round) -> None:
    if found.state is not RoundState.CLOSED:
        raise Conflict(
            "RoundNotClosed",
            f"The round of {found.day} is {found.state.value}: only a closed one is cleared.",
            hint="Close it first." if found.state is RoundState.OPEN else "See its results.",
        )


def decide(gathered: Gathered, effort: Effort | None = None) -> Decided:
    """Pure, and the same each time."""
    # the solver is loaded by who clears, once a day: every start would wait for it
    from suanwang.engines.matching.call_auction import Effort, clear

    effort = effort or Effort()
    book = rules.book_of(gathered.orders, gathered.round.links)
    clearing = clear(book.book, effort) if gathered.orders else NOTHING
    settlement = settle(gathered.round, gathered.orders, book, clearing)
    return Decided(gathered, book, clearing, settlement, effort)


def apply(tx: Tx, made: Decided, *, engine: str, took_ms: int) -> Round:
    """All of it, or nothing. Raises Conflict, StaleWrite."""
    gathered, settlement = made.gathered, made.settlement
    found = auctions.locked(tx, gathered.round.id)
    _require_closed(found)
    orders = store.orders_in(tx.conn, found.id, BidState.STANDING)
    if rules.orders_digest(found, orders) != gathered.digest:
        raise StaleWrite("RoundChanged", "The round has changed.", hint="Clear it again.")
    if auctions.gone(tx.conn, found, orders):
        raise StaleWrite("SourceGone", "What was offered has changed.", hint="Clear it again.")
    if found.period.from_ms <= tx.now_ms:
        raise Conflict("DeliveryBegun", BEGUN, hint="It is void: everything is given back.")
    signed = contracts.sign(tx, [one.draft for one in settlement.signings])
    by_order: dict[str, list[str]] = {}
    for one, contract_id in zip(settlement.signings, signed, strict=True):
        by_order.setdefault(one.buy_id, []).append(contract_id)
        by_order.setdefault(one.sell_id, []).append(contract_id)
    _move_money(tx, found, orders, settlement)
    for order in orders:
        if order.bid.side is Side.SELL:
            pledged, sold = rules.envelope(order.bid), settlement.sold[order.id]
            left = [most - lots for most, lots in zip(pledged, sold, strict=True)]
            require(min(left) >= 0, "SoldMoreThanPledged", order.id)
            auctions.give_back_lots(tx, found, order, left)
    results: dict[str, Result | None] = {
        order_id: msgspec.structs.replace(result, contracts=tuple(by_order.get(order_id, ())))
        for order_id, result in settlement.results.items()
    }
    store.end_orders(tx.conn, BidState.CLEARED, tx.now_ms, results)
    store.insert_prices(tx.conn, found.id, settlement.prices)
    cleared = _cleared(made, engine, took_ms)
    store.update_round(
        tx.conn,
        found.id,
        state=RoundState.CLEARED.value,
        ended_at_ms=tx.now_ms,
        orders=len(orders),
        cleared=cleared,
    )
    return replace(
        found,
        state=RoundState.CLEARED,
        ended_at_ms=tx.now_ms,
        orders=len(orders),
        cleared=cleared,
    )


def _cleared(made: Decided, engine: str, took_ms: int) -> Cleared:
    clearing = made.clearing
    return Cleared(
        book_digest=rules.digest_of(made.book),
        outcome_digest=made.settlement.digest,
        engine=engine,
        effort=asdict(made.effort),
        welfare=clearing.welfare,
        bound=clearing.bound,
        rent=sum(made.settlement.rents.values()),
        traded=made.settlement.traded,
        took_ms=took_ms,
    )


def _move_money(tx: Tx, found: Round, orders: list[Standing], settlement: Settlement) -> None:
    """What orders held passes to their contracts, rents among it; what is left is given back."""
    passed: dict[str, int] = {}
    for one in settlement.signings:
        bought = one.draft.worth + one.draft.whole_rent
        passed[one.buy_id] = passed.get(one.buy_id, 0) + bought
        passed[one.sell_id] = passed.get(one.sell_id, 0) + one.draft.deposit
    keys = [project_key(order.party.project_id) for order in orders]
    accounts = ledger.ensure_accounts(tx, keys)
    holds: dict[str, int] = {}
    for order, key in zip(orders, keys, strict=True):
        account = accounts[key].id
        left = order.held - passed.get(order.id, 0)
        require(left >= 0, "HeldTooLittle", f"{order.id} lacks {-left} micro-yuan.")
        holds[account] = holds.get(account, 0) - left
    ledger.hold(tx, {account: held for account, held in holds.items() if held})


# --- again ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Replayed:
    """A cleared round done again, beside what was written of it."""

    round: Round
    same_book: bool
    same_outcome: bool
    same_engine: bool
    welfare: int
    bound: int

    @property
    def same(self) -> bool:
        return self.same_book and self.same_outcome


def cleared_orders(conn: Connection, name: str) -> tuple[Round, tuple[Standing, ...]]:
    """Raises Conflict unless the round is cleared."""
    found = auctions.round_of(conn, name)
    if found.cleared is None:
        raise Conflict(
            "RoundNotCleared", f"The round of {found.day} is {found.state.value}.", hint="Wait."
        )
    return found, tuple(store.orders_in(conn, found.id, BidState.CLEARED))


def replay(found: Round, orders: tuple[Standing, ...], engine: str) -> Replayed:
    """Pure. Effort of another version of the engine is left out where it has no such word."""
    told = found.cleared
    require(told is not None, "RoundNotCleared", found.id)
    assert told is not None
    from suanwang.engines.matching.call_auction import Effort

    known = {one.name for one in fields(Effort)}
    effort = Effort(**{name: value for name, value in told.effort.items() if name in known})
    made = decide(Gathered(found, orders, ""), effort)
    return Replayed(
        round=found,
        same_book=rules.digest_of(made.book) == told.book_digest,
        same_outcome=made.settlement.digest == told.outcome_digest,
        same_engine=engine == told.engine,
        welfare=made.clearing.welfare,
        bound=made.clearing.bound,
    )


# --- the loop ------------------------------------------------------------------------------------


class Auctioneer:
    """Opens, closes and clears rounds when they are due; by hand, too."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        timetable: Timetable,
        *,
        effort: Effort | None = None,
        offload: Callable[[Callable[[], Decided]], Awaitable[Decided]] = asyncio.to_thread,
        guard: Callable[[Tx], None] = lambda _tx: None,
    ) -> None:
        """`guard` may raise in a writing transaction: where another process has come to lead."""
        self.timetable = timetable
        self._database = database
        self._clock = clock
        self.effort = effort
        self._offload = offload
        self._guard = guard

    async def step(self) -> bool:
        """What is due now; whether anything was done. Mostly a read tells that nothing is."""
        now_ms = self._clock.now_ms()
        missing, past, closed = await self._database.read(
            lambda conn: (
                auctions.missing_days(conn, now_ms, self.timetable),
                auctions.past_due(conn, now_ms),
                store.rounds_in(conn, [RoundState.CLOSED]),
            )
        )
        if missing:
            await self._database.write(lambda tx: auctions.open_due(tx, self.timetable))
        for one in past:
            closed.append(await self._database.write(partial(self._close, one)))
        for one in closed:
            try:
                if one.period.from_ms <= now_ms:
                    await self._database.write(partial(self._void, one))
                else:
                    await self.clear(one.id, guard=self._guard)
            except Exception:  # it is tried again in its turn; the others have theirs now
                log.exception("the round of %s could not be ended", one.day)
        return bool(missing or past or closed)

    def _close(self, one: Round, tx: Tx) -> Round:
        self._guard(tx)
        return auctions.close(tx, one.id)

    def _void(self, one: Round, tx: Tx) -> Round:
        self._guard(tx)
        return auctions.void(tx, one.id, BEGUN)

    async def clear(self, name: str, *, guard: Callable[[Tx], None] = lambda _tx: None) -> Round:
        """One that is cleared already, perhaps by another just now, is told as it is. Raises
        Conflict for one that is open or void."""
        left = TRIES
        while True:
            left -= 1
            found = await self._database.read(lambda conn: auctions.round_of(conn, name))
            if found.state is RoundState.CLEARED:
                return found
            try:
                return await self._clear(name, guard)
            except (StaleWrite, Conflict):
                if not left:
                    raise

    async def _clear(self, name: str, guard: Callable[[Tx], None]) -> Round:
        if await self._database.read(lambda conn: _offers_gone(conn, name)):
            await self._database.write(lambda tx: _lose_gone(tx, name))
        gathered = await self._database.read(lambda conn: gather(conn, name))
        began_ms = self._clock.now_ms()
        made = await self._offload(lambda: decide(gathered, self.effort))
        took_ms = self._clock.now_ms() - began_ms

        def use_case(tx: Tx) -> Round:
            guard(tx)
            return apply(tx, made, engine=engine_digest(), took_ms=took_ms)

        return await self._database.write(use_case)
