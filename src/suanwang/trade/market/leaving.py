"""A seller leaves a contract: what its buyer offers from it, in whichever way, ends with it.

What he has sold on already stays a contract of his: he owes its buyer every hour that he cannot
deliver, out of the credit that he gets himself.
"""

from __future__ import annotations

from contextlib import suppress

from suanwang.kernel.errors import Conflict
from suanwang.platform.database import Tx
from suanwang.trade.contracts import service as contracts
from suanwang.trade.contracts.model import Contract
from suanwang.trade.market import (
    auction_store,
    auctions,
    deals,
    deals_store,
    listings,
    listings_store,
    orders_store,
    quotations,
    quotations_store,
)
from suanwang.trade.market.books import Books
from suanwang.trade.market.model import ListingState
from suanwang.trade.market.parties import CAPACITY_GONE


def withdraw(tx: Tx, books: Books, contract_id: str) -> int:
    """As `contracts.withdraw`; the credit paid, in micro-yuan."""
    paid = contracts.withdraw(tx, contract_id)
    end_offers(tx, books, contracts.get(tx.conn, contract_id))
    return paid


def end_offers(tx: Tx, books: Books, contract: Contract) -> None:
    """Everything that is offered from a contract which has ended; what was sold or answered in
    the meantime is none of it any more."""
    seller = contract.buyer
    for order in orders_store.open_from(tx.conn, seller.project_id, contract.id):
        with suppress(Conflict):
            books.cancel(tx, order, CAPACITY_GONE)
    for bid in auction_store.standing_of(tx.conn, seller.project_id):
        if bid.source_id == contract.id:
            auctions.lose(tx, bid)
    for listing_id in listings_store.open_from(tx.conn, seller.organisation_id, contract.id):
        listings.close(tx, listing_id, ListingState.GONE)
    for quote in quotations_store.sealed_from(tx.conn, seller.organisation_id, contract.id):
        quotations.lose(tx, quote)
    for deal_id in deals_store.offering(tx.conn, seller.organisation_id, contract.id):
        with suppress(Conflict):
            deals.withdraw(tx, seller, deal_id)
