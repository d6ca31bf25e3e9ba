"""The continuous market: orders into books, trades into contracts, in one transaction.

A book lives in memory beside its version; the database's row of the instrument is locked while it
changes. A process whose book is of another version (another process traded, or a transaction was
rolled back) builds it anew from the orders that rest. So any number of processes may serve the
same books, and what is committed is what was matched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from suanwang.engines.matching import order_book
from suanwang.engines.matching.model import Side
from suanwang.engines.matching.order_book import OrderBook, Placed
from suanwang.kernel.errors import InvariantViolated, require
from suanwang.platform.database import Tx
from suanwang.trade.contracts import service as contracts
from suanwang.trade.contracts.model import Draft, Origin, Party
from suanwang.trade.contracts.service import Source
from suanwang.trade.market import instruments as naming
from suanwang.trade.market import money, parties, rules
from suanwang.trade.market import orders_store as store
from suanwang.trade.market.model import (
    STANDARD,
    Answer,
    Instrument,
    Order,
    OrderGiven,
    OrderState,
    Supply,
    Trade,
)
from suanwang.trade.market.supply import require_covers, require_known, source_of, supply

INSUFFICIENT = "InsufficientFunds"
SOLD = "CapacitySold"
MOST_RESTING = 100_000
"""Lots of an organisation in one book."""
BOOKS_KEPT = 2_000


@dataclass(slots=True)
class _Kept:
    """A book of the version in which it was committed, and the orders that rest in it."""

    version: int
    book: OrderBook
    resting: dict[str, Order]


@dataclass(slots=True)
class _Session:
    """One instrument in one transaction: its book, and what is to be written of it."""

    instrument: Instrument
    name: str
    row: Any
    kept: _Kept
    band: tuple[int, int]
    sequence: int
    new: list[Order] = field(default_factory=list)
    changed: dict[str, Order] = field(default_factory=dict)
    trades: list[tuple[order_book.Trade, Order, Order, Side]] = field(default_factory=list)
    """Each with the buyer's and the seller's order and the side that came later."""
    released: dict[str, int] = field(default_factory=dict)
    """Project → micro-yuan that are set aside no more."""
    returned: dict[str, int] = field(default_factory=dict)
    """Source → lots whose pledge ends."""
    supplies: dict[str | None, Supply] = field(default_factory=dict)
    """What the party sells from."""

    def drop(self, order: Order, lots: int) -> None:
        """So many lots of an order will not be traded."""
        project = order.party.project_id
        self.released[project] = self.released.get(project, 0) + lots * order.held_per_lot
        if order.source_id is not None:
            self.returned[order.source_id] = self.returned.get(order.source_id, 0) + lots

    def end(self, order: Order, state: OrderState, why: str, at_ms: int) -> None:
        """All that is left of an order will not be traded."""
        self.drop(order, order.left)
        order.left, order.state, order.why, order.ended_at_ms = 0, state, why, at_ms
        self.changed[order.id] = order


class Books:
    """The books that this process has in memory. One for the process; safe between threads."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    def place(
        self, tx: Tx, party: Party, given: Sequence[tuple[Instrument, OrderGiven]]
    ) -> list[Answer]:
        """Orders of one party in the order given; of each what came of it, or why nothing did.

        A key that was used before is answered with the order of then. Raises for what is wrong
        with an instrument.
        """
        answers: list[Answer | None] = [None] * len(given)
        keys = [one.key for _, one in given if one.key is not None]
        if keys:  # sent again before the first answer came, it waits for that
            tx.serialise(f"orders:{party.project_id}")
        earlier = store.orders_by_key(tx.conn, party.project_id, sorted(set(keys))) if keys else {}
        groups: dict[Instrument, list[int]] = {}
        seen: set[str] = set()
        for at, (instrument, one) in enumerate(given):
            fault = rules.fault_of(one, instrument.period.hours)
            if one.key is not None and one.key in earlier:
                answers[at] = rules.again(earlier[one.key], instrument, one.side)
            elif one.key is not None and one.key in seen:
                answers[at] = Answer(
                    None, (), "KeyTwice", "This key is in the batch already.", "key"
                )
            elif fault is not None:
                answers[at] = Answer(None, (), fault.reason, fault.detail, fault.field)
            else:
                groups.setdefault(instrument, []).append(at)
                seen.add(one.key or "")
        for instrument in sorted(groups):  # locks in one order, so nobody waits in a ring
            session = self._open(tx, instrument)
            if not session.row.version:  # nobody has traded it: is it a thing at all?
                require_known(tx.conn, instrument.product)
            funded = self._funded(tx, session, party, groups[instrument], given, answers)
            orders = [(at, given[at][1]) for at in funded]
            session, placed = _matched(tx, session, party, orders)
            made = self._close(tx, session)
            for at, answer in placed.items():
                fills = made.get(answer.order.id, ()) if answer.order is not None else ()
                answers[at] = replace(answer, trades=tuple(fills))
        told = [answer for answer in answers if answer is not None]
        require(len(told) == len(given), "OrderUnanswered", "An order of a batch got no answer.")
        return told

    def cancel(self, tx: Tx, order: Order, why: str = "Cancelled") -> Order:
        """Take what is left of an order out of its book. Raises Conflict if nothing is."""
        session, resting = self._at_rest(tx, order)
        self._end(session, resting, OrderState.CANCELLED, why, tx.now_ms)
        self._close(tx, session)
        return resting

    def reduce(self, tx: Tx, order: Order, lots: int) -> Order:
        """No more than so many lots of an order at rest, those traded included; it keeps its
        place. Raises Conflict if nothing is left of it."""
        session, resting = self._at_rest(tx, order)
        off = resting.lots - lots
        if off > 0:
            taken = session.kept.book.reduce(resting.id, resting.left - off)
            require(taken == off, "BookOutOfStep", f"{resting.id}: {taken} of {off} lots.")
            session.drop(resting, off)
            resting.lots, resting.left = lots, resting.left - off
            session.changed[resting.id] = resting
            store.set_lots(tx.conn, resting.id, lots)
        self._close(tx, session)
        return resting

    def _at_rest(self, tx: Tx, order: Order) -> tuple[_Session, Order]:
        session = self._open(tx, order.instrument, tradable=False)
        resting = session.kept.resting.get(order.id)
        if resting is None:
            raise rules.ended(order.id)
        return session, resting

    def steer(
        self,
        tx: Tx,
        instrument: Instrument,
        *,
        halted: bool | None = None,
        band: Mapping[str, int | None] | None = None,
    ) -> None:
        """Halt a book or let it go on (None: as it is); bounds of its band by name, None: as the
        last price has it."""
        session = self._open(tx, instrument, tradable=False)
        if halted is not None:
            session.kept.book.halted = halted
        if band:
            store.update_instrument(tx.conn, session.name, **band)
        self._close(tx, session, closed=session.row.closed)

    def expire(self, tx: Tx, name: str) -> None:
        """Close a book whose delivery has begun, by its name; one that is closed or has not begun
        stays as it is. Even rows that are no book give everything back: nothing is matched."""
        instrument = naming.parse(name)
        row = store.lock_instrument(tx.conn, instrument)
        if row.closed or instrument.period.from_ms > tx.now_ms:
            return
        self._kept.pop(name, None)
        session = _begun(instrument, row, _Kept(row.version, OrderBook(), {}))
        for order in store.resting(tx.conn, name):
            session.end(order, OrderState.EXPIRED, "DeliveryBegun", tx.now_ms)
        self._close(tx, session, closed=True)

    @staticmethod
    def _end(session: _Session, order: Order, state: OrderState, why: str, at_ms: int) -> None:
        left = session.kept.book.cancel(order.id)
        require(left == order.left, "BookOutOfStep", f"{order.id}: {left} of {order.left} lots.")
        del session.kept.resting[order.id]
        session.end(order, state, why, at_ms)

    def _open(self, tx: Tx, instrument: Instrument, *, tradable: bool = True) -> _Session:
        if tradable:
            naming.require_tradable(instrument, tx.now_ms)
        row = store.lock_instrument(tx.conn, instrument)
        # taken out until the commit: if it fails, the book is built anew
        kept = self._kept.pop(row.name, None)
        if kept is None or kept.version != row.version:
            kept = _rebuilt(row.version, store.resting(tx.conn, row.name))
        return _begun(instrument, row, kept)

    def _funded(
        self,
        tx: Tx,
        session: _Session,
        party: Party,
        places: Sequence[int],
        given: Sequence[tuple[Instrument, OrderGiven]],
        answers: list[Answer | None],
    ) -> list[int]:
        """Set money and capacity aside; the places of the orders for which there was enough."""
        hours = session.instrument.period.hours
        amounts = {
            at: given[at][1].lots * _held_per_lot(session, given[at][1], hours) for at in places
        }
        paid = list(places)
        if not money.try_set_aside(tx, party.project_id, sum(amounts.values())):
            paid = [at for at in places if money.try_set_aside(tx, party.project_id, amounts[at])]
            for at in sorted(set(places) - set(paid)):
                detail = "The project has too little left for this order. Top it up."
                answers[at] = Answer(None, (), INSUFFICIENT, detail)
        sources: dict[str | None, list[int]] = {}
        for at in paid:
            if given[at][1].side is Side.SELL:
                sources.setdefault(given[at][1].source_id, []).append(at)
        refused: set[int] = set()
        for source_id, offered in sources.items():
            found = supply(tx.conn, party, source_id)
            require_covers(found, session.instrument.product, session.instrument.period)
            session.supplies[source_id] = found
            refused.update(_pledged(tx, session, source_of(found), offered, given))
        for at in sorted(refused):
            session.released[party.project_id] = (
                session.released.get(party.project_id, 0) + amounts[at]
            )
            answers[at] = Answer(
                None, (), SOLD, "So many lots are not unsold. Offer fewer.", "lots"
            )
        return [at for at in paid if at not in refused]

    def _close(self, tx: Tx, session: _Session, *, closed: bool = False) -> dict[str, list[Trade]]:
        """Write what the session did; the trades of each order that came now, by its id."""
        signed = _sign(tx, session)
        last = signed[-1].price if signed else session.row.last_price
        version = session.row.version + 1
        store.insert_orders(tx.conn, session.new)
        store.update_orders(tx.conn, [session.changed[key] for key in sorted(session.changed)])
        store.insert_trades(tx.conn, signed)
        period = session.instrument.period
        for source_id, lots in sorted(session.returned.items()):
            contracts.give_back(tx, source_id, period, lots)
        money.give_back(tx, session.released)
        store.update_instrument(
            tx.conn,
            session.name,
            version=version,
            sequence=session.sequence,
            last_price=last,
            halted=session.kept.book.halted,
            closed=closed,
        )
        session.kept.version = version

        def keep() -> None:
            if not closed:
                while len(self._kept) >= BOOKS_KEPT:
                    self._kept.pop(next(iter(self._kept)), None)
                self._kept[session.name] = session.kept

        tx.after_commit(keep)
        made: dict[str, list[Trade]] = {}
        for trade in signed:
            buys = trade.aggressor is Side.BUY
            made.setdefault(trade.buy_order_id if buys else trade.sell_order_id, []).append(trade)
        return made


def _begun(instrument: Instrument, row: Any, kept: _Kept) -> _Session:
    """Nothing has happened yet."""
    low, high = rules.band(row.last_price, row.low, row.high)
    kept.book.terms = order_book.Terms(low=low, high=high, most_resting=MOST_RESTING)
    kept.book.halted = row.halted
    return _Session(instrument, row.name, row, kept, (low, high), row.sequence)


def _rebuilt(version: int, resting: Sequence[Order]) -> _Kept:
    """Raises InvariantViolated where what rests would trade with one another."""
    terms = order_book.Terms(most_resting=MOST_RESTING)
    told = [
        (one.id, one.party.organisation_id, one.side, one.limit or 0, one.left) for one in resting
    ]
    try:
        book = OrderBook.restore(told, terms)
    except ValueError as error:
        raise InvariantViolated("BookCrossed", str(error)) from error
    return _Kept(version, book, {one.id: one for one in resting})


def _bound(session: _Session, given: OrderGiven) -> int:
    """The limit that the book is asked with: without one, the band's edge."""
    if given.limit is not None:
        return given.limit
    return session.band[1] if given.side is Side.BUY else session.band[0]


def _held_per_lot(session: _Session, given: OrderGiven, hours: int) -> int:
    return rules.held_per_lot(given.side, _bound(session, given), hours)


def _pledged(
    tx: Tx,
    session: _Session,
    source: Source,
    offered: Sequence[int],
    given: Sequence[tuple[Instrument, OrderGiven]],
) -> list[int]:
    """Those of the offers for which the source has too little."""
    period = session.instrument.period
    if not contracts.try_pledge(tx, source, period, sum(given[at][1].lots for at in offered)):
        return []
    return [at for at in offered if contracts.try_pledge(tx, source, period, given[at][1].lots)]


def _matched(
    tx: Tx, session: _Session, party: Party, given: Sequence[tuple[int, OrderGiven]]
) -> tuple[_Session, dict[int, Answer]]:
    """Orders into the book, by their places. Where they met one whose source is gone, all of its
    source's orders end and it is done again without them."""
    released, gone = dict(session.released), set[str | None]()
    while True:
        placed = {at: _place(tx, session, party, one) for at, one in given}
        offered = {
            seller.source_id or "": session.instrument.product
            for _, _, seller, side in session.trades
            if side is Side.BUY  # who sells now has been looked at
        }
        found = parties.gone(tx.conn, offered, session.instrument.period) if offered else []
        if not found:
            return session, placed
        gone.update(found)
        kept = _rebuilt(session.row.version, store.resting(tx.conn, session.name))
        again = _begun(session.instrument, session.row, kept)
        again.supplies, again.released = session.supplies, dict(released)
        for order in [one for one in kept.resting.values() if one.source_id in gone]:
            Books._end(again, order, OrderState.CANCELLED, parties.CAPACITY_GONE, tx.now_ms)
        session = again


def _place(tx: Tx, session: _Session, party: Party, given: OrderGiven) -> Answer:
    """One order, for which money and capacity are set aside, into the book."""
    session.sequence += 1
    period = session.instrument.period
    found = session.supplies[given.source_id] if given.side is Side.SELL else None
    order = Order(
        id=tx.ids.new("ord"),
        instrument=session.instrument,
        party=party,
        side=given.side,
        limit=given.limit,
        lots=given.lots,
        left=given.lots,
        traded=0,
        stay=given.stay,
        state=OrderState.OPEN,
        why="",
        source_id=found.source_id if found else None,
        pool_id=found.pool_id if found else None,
        site_id=found.site_id if found else None,
        held_per_lot=_held_per_lot(session, given, period.hours),
        sequence=session.sequence,
        placed_at_ms=tx.now_ms,
        ended_at_ms=None,
        key=given.key,
    )
    owner, bound = party.organisation_id, _bound(session, given)
    placed = session.kept.book.place(order.id, owner, given.side, bound, given.lots, given.stay)
    if placed.refusal is not None:
        session.drop(order, order.lots)
        return Answer(None, (), placed.refusal.value, rules.DETAILS[placed.refusal])
    _take(session, order, placed, tx.now_ms)
    session.new.append(order)
    return Answer(order)


def _take(session: _Session, order: Order, placed: Placed, now_ms: int) -> None:
    """What the book answered, noted on the orders."""
    resting = session.kept.resting
    for trade in placed.trades:
        maker = resting[trade.maker_id]
        buyer, seller = (order, maker) if order.side is Side.BUY else (maker, order)
        session.trades.append((trade, buyer, seller, order.side))
        for one in (maker, order):
            one.left -= trade.lots
            one.traded += trade.lots
        saved = buyer.held_per_lot - trade.price * session.instrument.period.hours
        project = buyer.party.project_id
        session.released[project] = session.released.get(project, 0) + saved * trade.lots
        session.changed[maker.id] = maker
        if not maker.left:
            maker.state, maker.ended_at_ms = OrderState.FILLED, now_ms
            del resting[maker.id]
    require(order.left == placed.resting + placed.dropped, "LotsLost", order.id)
    if placed.dropped:
        session.drop(order, placed.dropped)
        order.left = 0
        order.state, order.why = OrderState.CANCELLED, str(placed.why_dropped)
    elif placed.resting:
        resting[order.id] = order
    else:
        order.state = OrderState.FILLED
    if order.id not in resting:
        order.ended_at_ms = now_ms


def _sign(tx: Tx, session: _Session) -> list[Trade]:
    """A contract for each trade."""
    if not session.trades:
        return []
    drafts = [
        Draft(
            origin=Origin.BOOK,
            reference=seller.id,
            buyer=buyer.party,
            seller=seller.party,
            site_id=seller.site_id or "",
            pool_id=seller.pool_id or "",
            product=session.instrument.product,
            period=session.instrument.period,
            lots=trade.lots,
            price=trade.price,
            terms=STANDARD,
            deposit=seller.held_per_lot * trade.lots,
            backing_id=seller.source_id if seller.source_id != seller.pool_id else None,
        )
        for trade, buyer, seller, _ in session.trades
    ]
    ids = contracts.sign(tx, drafts)
    return [
        Trade(
            id=tx.ids.new("trd"),
            instrument=session.instrument,
            sequence=session.sequence,
            price=trade.price,
            lots=trade.lots,
            aggressor=side,
            buy_order_id=buyer.id,
            sell_order_id=seller.id,
            buyer_project_id=buyer.party.project_id,
            seller_project_id=seller.party.project_id,
            contract_id=contract_id,
            at_ms=tx.now_ms,
        )
        for (trade, buyer, seller, side), contract_id in zip(session.trades, ids, strict=True)
    ]
