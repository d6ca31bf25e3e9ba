"""Changing an order at rest: reduced where it stands, or cancelled and placed again behind the
others, in one transaction."""

from __future__ import annotations

from dataclasses import replace

from suanwang.kernel.errors import Conflict
from suanwang.platform.database import Tx
from suanwang.trade.contracts.model import Party
from suanwang.trade.market import orders_store as store
from suanwang.trade.market import rules
from suanwang.trade.market.books import Books
from suanwang.trade.market.model import Amended, Answer, Order, OrderState

AMENDED = "Amended"
"""Why an order was taken out of its book: another one of its owner's took its place."""


def amend(
    tx: Tx,
    books: Books,
    party: Party,
    order: Order,
    lots: int | None = None,
    limit: int | None = None,
    *,
    key: str | None = None,
) -> Amended:
    """None: as it is. `lots` are all of it, those traded included.

    Fewer lots keep its place. Another price or more lots make a new order, behind the others at
    its price, paid for with what the old one had set aside. The same key again is the same
    change. Raises Conflict, InvalidInput, LimitExceeded: then nothing has changed.
    """
    if key is not None:
        tx.serialise(f"orders:{order.party.project_id}")
        earlier = store.orders_by_key(tx.conn, order.party.project_id, [key]).get(key)
        if earlier is not None:
            again = rules.again(earlier, order.instrument, order.side)
            return Amended(_taken(again), kept_place=False)
    store.lock_instrument(tx.conn, order.instrument)
    now = store.order_by_id(tx.conn, order.id)
    if now is None or now.state is not OrderState.OPEN:
        raise rules.ended(order.id)
    given = rules.amended(now, lots, limit)
    if rules.keeps_place(now, given):
        return Amended(Answer(books.reduce(tx, now, given.lots)), kept_place=True)
    books.cancel(tx, now, AMENDED)
    left = replace(given, lots=given.lots - now.traded, key=key)
    (answer,) = books.place(tx, party, [(now.instrument, left)])
    return Amended(_taken(answer), kept_place=False)


def _taken(answer: Answer) -> Answer:
    """Raises Conflict for a refusal: what was written on the way to it shall not be."""
    if answer.order is None:
        raise Conflict(
            answer.reason or "Refused",
            answer.detail,
            hint="The order stands as it was. Change it otherwise.",
            field=answer.field,
        )
    return answer
