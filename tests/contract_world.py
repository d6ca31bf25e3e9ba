"""Contracts for tests of the grid: signed as a way of trading does it, capacity and money first."""

from __future__ import annotations

from dataclasses import dataclass

from suanwang.kernel.time import hour_of
from suanwang.platform.database import Tx
from suanwang.trade.catalogue.model import CORE, Period, Product
from suanwang.trade.contracts import service as contracts
from suanwang.trade.contracts.model import Contract, Draft, Origin, Party, Terms
from suanwang.trade.contracts.rules import funded
from suanwang.trade.contracts.service import Source
from suanwang.trade.ledger import service as ledger

YUAN = 1_000_000
PRICE = 2 * YUAN
TERMS = Terms(credit_percent=20, deposit_percent=10, cancel_hours=0, cancel_percent=5)


@dataclass(frozen=True)
class Place:
    """A pool with what is sold of it."""

    site_id: str
    pool_id: str
    units: int
    unit_class: str = CORE
    zone: str = "henan"


def sign(
    tx: Tx,
    place: Place,
    buyer: Party,
    seller: Party,
    *,
    lots: int,
    begins: int = 0,
    hours: int = 2,
    backing: Contract | None = None,
) -> Contract:
    """`begins`: in so many hours, counted from the one that has begun."""
    draft = Draft(
        origin=Origin.BILATERAL,
        reference="deal",
        buyer=buyer,
        seller=seller,
        site_id=place.site_id,
        pool_id=place.pool_id,
        product=Product(place.unit_class, place.zone),
        period=Period(hour_of(tx.now_ms) + begins, hours),
        lots=lots,
        price=PRICE,
        terms=TERMS,
        backing_id=backing.id if backing else None,
    )
    draft = funded(draft)
    source = Source(backing.id, backing.lots) if backing else Source(place.pool_id, place.units)
    contracts.pledge(tx, source, draft.period, lots)
    accounts = ledger.project_accounts(tx, sorted({buyer.project_id, seller.project_id}))
    held = {accounts[buyer.project_id]: draft.worth}
    held[accounts[seller.project_id]] = held.get(accounts[seller.project_id], 0) + draft.deposit
    ledger.hold(tx, held)
    return contracts.get(tx.conn, contracts.sign(tx, [draft])[0])
