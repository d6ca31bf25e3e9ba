"""The day-ahead call auction: rounds and orders. Clearing is in `auction_clearing`.

Orders change only while their round is open; the round's row is shared by whoever places and taken
alone by whoever closes, so a closed round has the orders that it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from sqlalchemy.engine import Connection

from suanwang.engines.matching.model import Side
from suanwang.kernel.errors import Conflict, InvalidInput, LimitExceeded, NotFound, require
from suanwang.kernel.time import MS_PER_HOUR
from suanwang.platform.database import Tx
from suanwang.tenancy.rules import not_found
from suanwang.trade.billing.rules import day_of
from suanwang.trade.catalogue.model import Period, Product
from suanwang.trade.contracts import service as contracts
from suanwang.trade.contracts.model import Party
from suanwang.trade.market import auction_rules as rules
from suanwang.trade.market import auction_store as store
from suanwang.trade.market import money, parties
from suanwang.trade.market.auction_bids import product_of, with_product
from suanwang.trade.market.auction_model import (
    MOVES,
    Bid,
    BidState,
    PriceRow,
    Round,
    RoundState,
    Standing,
    ZoneLink,
)
from suanwang.trade.market.model import MAX_LOTS, Supply
from suanwang.trade.market.rules import MAX_PRICE
from suanwang.trade.market.supply import products, require_covers, source_of, supply

MAX_ORDERS = 200
"""Of a project in a round."""
MAX_LINKS = 500
EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Timetable:
    """When rounds open and close by themselves."""

    close_hour: int = 11
    """Of the day before, in Shanghai."""
    ahead: int = 2
    """So many rounds are open at a time."""


def day_text(day: int) -> str:
    return (EPOCH + timedelta(days=day)).isoformat()


# --- rounds --------------------------------------------------------------------------------------


def open_round(
    tx: Tx, day: str, timetable: Timetable, links: Sequence[ZoneLink] | None = None
) -> Round:
    """By hand: any day that has not begun and has no round. Raises InvalidInput, Conflict."""
    try:
        number = (date.fromisoformat(day) - EPOCH).days
    except ValueError:
        raise InvalidInput(
            "InvalidDay", f"{day[:40]!r} is no day.", hint="Write 2026-12-03.", field="day"
        ) from None
    today = day_of(tx.now_ms)
    if not today < number <= today + 60:
        raise InvalidInput(
            "InvalidDay",
            "A round is for one of the next sixty days.",
            hint="Choose another day.",
            field="day",
        )
    tx.serialise("auction-rounds")
    if store.hours_with_round(tx.conn, [rules.first_hour_of(number)]):
        raise Conflict("RoundExists", f"{day} has a round already.", hint="See it.")
    return _open(tx, number, timetable, links)


def _open(tx: Tx, day: int, timetable: Timetable, links: Sequence[ZoneLink] | None = None) -> Round:
    closes = rules.closes_at_ms(day, timetable.close_hour)
    made = Round(
        id=tx.ids.new("auc"),
        day=day_text(day),
        first_hour=rules.first_hour_of(day),
        state=RoundState.OPEN,
        opened_at_ms=tx.now_ms,
        # opened late by hand, it is closed by hand or as its day begins
        closes_at_ms=closes if closes > tx.now_ms else rules.first_hour_of(day) * MS_PER_HOUR,
        ended_at_ms=None,
        why="",
        links=tuple(store.default_links(tx.conn) if links is None else links),
        orders=0,
    )
    store.insert_round(tx.conn, made)
    return made


def missing_days(conn: Connection, now_ms: int, timetable: Timetable) -> list[int]:
    """Days that should have a round now and have none."""
    days = rules.due_days(now_ms, timetable.close_hour, timetable.ahead)
    known = store.hours_with_round(conn, [rules.first_hour_of(day) for day in days])
    return [day for day in days if rules.first_hour_of(day) not in known]


def open_due(tx: Tx, timetable: Timetable) -> list[Round]:
    tx.serialise("auction-rounds")
    return [_open(tx, day, timetable) for day in missing_days(tx.conn, tx.now_ms, timetable)]


def past_due(conn: Connection, now_ms: int) -> list[Round]:
    """Open rounds whose hour has come."""
    found = store.rounds_in(conn, [RoundState.OPEN])
    return [one for one in found if one.closes_at_ms <= now_ms]


def close(tx: Tx, name: str) -> Round:
    """No order is taken any more. Again, it changes nothing."""
    found = locked(tx, name)
    if found.state is RoundState.CLOSED:
        return found
    _require_move(found, RoundState.CLOSED)
    standing = store.count_standing(tx.conn, found.id)
    store.update_round(tx.conn, found.id, state=RoundState.CLOSED.value, orders=standing)
    return replace(found, state=RoundState.CLOSED, orders=standing)


def void(tx: Tx, name: str, why: str) -> Round:
    """Give everything back; the day has no auction."""
    found = locked(tx, name)
    _require_move(found, RoundState.VOID)
    standing = store.orders_in(tx.conn, found.id, BidState.STANDING)
    for order in standing:
        _give_back(tx, found, order)
    results = dict.fromkeys([one.id for one in standing])
    store.end_orders(tx.conn, BidState.RETURNED, tx.now_ms, results)
    changes = {"state": RoundState.VOID, "why": why[:200], "ended_at_ms": tx.now_ms}
    store.update_round(tx.conn, found.id, **{**changes, "state": RoundState.VOID.value})
    return replace(found, state=RoundState.VOID, why=why[:200], ended_at_ms=tx.now_ms)


def _require_move(found: Round, to: RoundState) -> None:
    if to not in MOVES[found.state]:
        raise Conflict(
            "RoundEnded" if not MOVES[found.state] else "WrongState",
            f"The round of {found.day} is {found.state.value}; it cannot become {to.value}.",
            hint="States only move forward.",
        )


def locked(tx: Tx, name: str) -> Round:
    """The round, which nobody else changes until the transaction ends."""
    return _found(store.round_by(tx.conn, name, "update"), name)


def round_of(conn: Connection, name: str) -> Round:
    """By id or day."""
    return _found(store.round_by(conn, name), name)


def _found(found: Round | None, name: str) -> Round:
    if found is None:
        raise NotFound("NoSuchRound", f"There is no round {name[:40]}.", hint="See the rounds.")
    return found


def rounds(conn: Connection, *, before: str | None = None, limit: int = 50) -> list[Round]:
    """The latest day first."""
    return store.rounds_page(conn, before=before, limit=limit)


def prices(conn: Connection, found: Round, product: Product | None = None) -> list[PriceRow]:
    """Of a cleared round; before that there are none."""
    return store.prices_of(conn, found.id, product)


# --- links ---------------------------------------------------------------------------------------


def links(conn: Connection) -> list[ZoneLink]:
    """With which rounds open."""
    return store.default_links(conn)


def set_links(tx: Tx, new: Sequence[ZoneLink], name: str | None = None) -> list[ZoneLink]:
    """For rounds to come, or (`name`) for one that is open. Raises InvalidInput, Conflict."""
    seen: set[tuple[str, str]] = set()
    for at, one in enumerate(new):
        faults = (
            (one.source != one.target, "target", "A link leads to another zone."),
            (0 < len(one.source) <= 60, "source", "A zone has 1 to 60 characters."),
            (0 < len(one.target) <= 60, "target", "A zone has 1 to 60 characters."),
            ((one.source, one.target) not in seen, "target", "This link is named already."),
            (0 <= one.lots <= MAX_LOTS, "lots", f"Lots are 0 to {MAX_LOTS:,}."),
            (0 <= one.cost <= MAX_PRICE, "cost", "A cost is 0 to 10,000 yuan."),
        )
        for good, field, message in faults:
            if not good:
                raise InvalidInput(
                    "InvalidLink", message, hint="Correct it.", field=f"links[{at}].{field}"
                )
        seen.add((one.source, one.target))
    if len(new) > MAX_LINKS:
        raise InvalidInput("TooManyLinks", f"At most {MAX_LINKS} links.", field="links")
    ordered = sorted(new)
    if name is None:
        tx.serialise("auction-links")
        store.set_default_links(tx.conn, ordered)
    else:
        found = locked(tx, name)
        _require_open(found, tx.now_ms)
        store.update_round(tx.conn, found.id, links=ordered)
    return ordered


# --- orders --------------------------------------------------------------------------------------


def place(
    tx: Tx, party: Party, name: str, bid: Bid, *, key: str | None = None
) -> tuple[Standing, bool]:
    """The order, and whether the key had been used: then it is that of then, as it is now.

    Raises NotFound, Conflict (not open), InvalidInput, LimitExceeded (money or capacity).
    """
    if key is not None:
        tx.serialise(f"auction-order:{party.project_id}:{key}")
        earlier = store.order_by_key(tx.conn, party.project_id, key)
        if earlier is not None:
            if earlier.round_id != round_of(tx.conn, name).id:
                raise parties.key_reused("another round")
            return earlier, True
    found = _open_round(tx, name)
    if store.count_standing(tx.conn, found.id, party.project_id) >= MAX_ORDERS:
        raise LimitExceeded(
            "TooManyOrders",
            f"A project has {MAX_ORDERS} orders in a round at most.",
            hint="Put several steps and blocks into one order.",
        )
    made = _standing(tx, found, party, bid, tx.ids.new("bid"), key)
    store.insert_order(tx.conn, made)
    return made, False


def replace_order(tx: Tx, order: Standing, bid: Bid) -> Standing:
    """Another bid in the place of the old; its id, and so its place among equals, is kept."""
    found = _open_round(tx, order.round_id)
    before = _still(tx, order)
    _give_back(tx, found, before)
    fresh = _standing(tx, found, before.party, bid, before.id, before.key)
    made = replace(fresh, version=before.version + 1, placed_at_ms=before.placed_at_ms)
    store.update_order(tx.conn, made)
    return made


def withdraw(tx: Tx, order: Standing) -> Standing:
    """Everything that it sets aside is given back. Again, it changes nothing."""
    if order.state is BidState.WITHDRAWN:
        return order
    found = _open_round(tx, order.round_id)
    before = _still(tx, order)
    _give_back(tx, found, before)
    made = replace(
        before,
        state=BidState.WITHDRAWN,
        version=before.version + 1,
        held=0,
        changed_at_ms=tx.now_ms,
    )
    store.update_order(tx.conn, made)
    return made


def lose(tx: Tx, order: Standing) -> None:
    """End an order whose source is gone, in a round that is open or closed. One that does not
    stand any more stays as it is."""
    found = locked(tx, order.round_id)
    now = store.order_by_id(tx.conn, order.id, lock=True)
    if now is None or now.state is not BidState.STANDING:
        return
    _give_back(tx, found, now)
    gone = replace(
        now, state=BidState.GONE, version=now.version + 1, held=0, changed_at_ms=tx.now_ms
    )
    store.update_order(tx.conn, gone)


def gone(conn: Connection, found: Round, orders: Sequence[Standing]) -> list[Standing]:
    """Sellers' orders that could not be delivered: their sources are not what they were."""
    sells = [one for one in orders if one.bid.side is Side.SELL]
    lost: set[str] = set()
    offered = {one.source_id or "": product_of(next(rules.named_in(one.bid))[1]) for one in sells}
    if offered:
        lost.update(parties.gone(conn, offered, found.period))
    return [one for one in sells if one.source_id in lost]


def _still(tx: Tx, order: Standing) -> Standing:
    now = store.order_by_id(tx.conn, order.id, lock=True)
    if now is None or now.state is not BidState.STANDING:
        raise Conflict(
            "OrderEnded", f"The order {order.id} does not stand any more.", hint="Place another."
        )
    return now


def _standing(
    tx: Tx, found: Round, party: Party, bid: Bid, order_id: str, key: str | None
) -> Standing:
    """The order with its money and capacity set aside."""
    source: Supply | None = None
    if bid.side is Side.SELL:
        source = supply(tx.conn, party, bid.source)
        require_covers(source, source.product, _delivery(found, bid))
        bid = with_product(bid, source.product)
    else:
        _require_known(tx.conn, bid)
    held = rules.set_aside(bid)
    money.set_aside(tx, party.project_id, held)
    if source is not None:
        for first, hours, lots in rules.runs(rules.envelope(bid)):
            period = Period(found.first_hour + first, hours)
            contracts.pledge(tx, source_of(source), period, lots)
    return Standing(
        id=order_id,
        round_id=found.id,
        party=party,
        bid=bid,
        state=BidState.STANDING,
        version=1,
        held=held,
        pool_id=source.pool_id if source else None,
        site_id=source.site_id if source else None,
        placed_at_ms=tx.now_ms,
        changed_at_ms=tx.now_ms,
        key=key,
    )


def _delivery(found: Round, bid: Bid) -> Period:
    """From the first to the last hour in which it may deliver."""
    hours = [hour for hour, lots in enumerate(rules.envelope(bid)) if lots]
    return Period(found.first_hour + hours[0], hours[-1] - hours[0] + 1)


def _require_known(conn: Connection, bid: Bid) -> None:
    known = {str(one) for one in products(conn)}
    for field, name in rules.named_in(bid):
        if name not in known:
            raise InvalidInput(
                "UnknownProduct",
                f"Nobody delivers {name}.",
                hint="See what is delivered: GET /v1/market/products.",
                field=field,
            )


def _give_back(tx: Tx, found: Round, order: Standing) -> None:
    money.give_back(tx, {order.party.project_id: order.held})
    if order.bid.side is Side.SELL:
        give_back_lots(tx, found, order, rules.envelope(order.bid))


def give_back_lots(tx: Tx, found: Round, order: Standing, lots: Sequence[int]) -> None:
    """Of a seller's pledge, by hour of the day."""
    require(order.source_id is not None, "SoldFromNothing", order.id)
    for first, hours, count in rules.runs(lots):
        period = Period(found.first_hour + first, hours)
        contracts.give_back(tx, order.source_id or "", period, count)


def _open_round(tx: Tx, name: str) -> Round:
    found = _found(store.round_by(tx.conn, name, "share"), name)
    _require_open(found, tx.now_ms)
    return found


def _require_open(found: Round, now_ms: int) -> None:
    if found.state is not RoundState.OPEN or found.closes_at_ms <= now_ms:
        raise Conflict(
            "RoundClosed",
            f"The round of {found.day} takes no orders any more.",
            hint="Trade on the continuous book, or in the round of a later day.",
        )


def order(conn: Connection, order_id: str) -> Standing:
    found = store.order_by_id(conn, order_id)
    if found is None:
        raise not_found("order", order_id)
    return found


def orders(
    conn: Connection,
    project_ids: Sequence[str],
    *,
    round_id: str | None = None,
    before: str | None = None,
    limit: int = 100,
) -> list[Standing]:
    """The latest first."""
    return store.orders_page(conn, project_ids, round_id=round_id, before=before, limit=limit)
