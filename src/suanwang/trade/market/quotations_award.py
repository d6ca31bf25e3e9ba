"""The end of an enquiry: its quotes are opened, and the best by its rule become contracts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from suanwang.kernel.errors import require
from suanwang.platform.database import Tx
from suanwang.tenancy.secrets_box import SecretDamaged, SecretsBox
from suanwang.trade.contracts import service as contracts
from suanwang.trade.contracts.model import Draft, Origin
from suanwang.trade.contracts.rules import deposit_of
from suanwang.trade.market import money, quotations
from suanwang.trade.market import quotations_rules as rules
from suanwang.trade.market import quotations_store as store
from suanwang.trade.market.parties import capacity_gone, standing_of
from suanwang.trade.market.quotations_model import (
    Enquiry,
    EnquiryState,
    Quote,
    QuoteState,
    Why,
)
from suanwang.trade.market.quotations_rules import Opened


@dataclass(slots=True)
class _Award:
    """An award in the making: what is set aside for it, and what becomes of each quote."""

    enquiry: Enquiry
    purse: int
    """Of what the buyer has set aside, not yet promised to a winner."""
    left: int
    """Lots still wanted."""
    buyer_held: int
    wins: list[tuple[Opened, int, int, int]] = field(default_factory=list)
    """Quote, lots, deposit, and what of that its seller had to add to his bond."""
    lost: list[tuple[Quote, Why, int | None]] = field(default_factory=list)
    without_money: bool = False

    def undo(self) -> None:
        self.lost += [(won.quote, Why.TOO_FEW_LOTS, won.price) for won, *_ in self.wins]


def award(tx: Tx, box: SecretsBox, enquiry_id: str) -> Enquiry:
    """Open the quotes and award by the rule, or fail and give everything back. Once: of an
    enquiry that is not open or not due nothing is changed.

    Raises Unavailable while the key that sealed a quote is missing; when the delivery should have
    begun, the enquiry fails without it.
    """
    enquiry = quotations.locked(tx, enquiry_id)
    if enquiry.state is not EnquiryState.OPEN or tx.now_ms < enquiry.deadline_ms:
        return enquiry
    sealed = store.quotes_of(tx.conn, enquiry_id, QuoteState.SEALED)
    making = _Award(enquiry, enquiry.held, enquiry.lots, enquiry.held)
    why = _fault_of_buyer(tx, enquiry)
    if why is not None:
        making.lost = [(one, why, None) for one in sealed]
        return _fail(tx, making, why, sealed)
    opened = []
    for one in sealed:
        try:
            opened.append(Opened(one, int(box.open(one.sealed, context=one.id)["price"])))
        except SecretDamaged:
            making.lost.append((one, Why.SEAL_DAMAGED, None))
    best = rules.ranked(enquiry, opened)
    standing = {one.quote.id for one in best}
    making.lost += [
        (high.quote, Why.ABOVE_CEILING, high.price)
        for high in opened
        if high.quote.id not in standing
    ]
    for candidate in best:
        refused = _try(tx, making, candidate)
        if refused is not None:
            making.lost.append((candidate.quote, refused, candidate.price))
    if enquiry.lots - making.left < enquiry.min_lots:
        return _fail(tx, making, _why_failed(making, sealed), sealed)
    return _finish(tx, making)


def _why_failed(making: _Award, sealed: Sequence[Quote]) -> Why:
    if not sealed:
        return Why.NO_QUOTES
    if making.without_money:
        return Why.BUYER_WITHOUT_MONEY
    return Why.TOO_FEW_LOTS if making.wins else Why.NO_VALID_QUOTE


def _try(tx: Tx, making: _Award, one: Opened) -> Why | None:
    """Let a quote win what is still wanted; else why it does not."""
    enquiry, seller = making.enquiry, one.quote.seller
    if not making.left:
        return Why.OUTBID
    lots = min(making.left, one.quote.lots)
    fault = _fault_of_seller(tx, enquiry, one.quote)
    if fault is not None:
        return fault
    worth = lots * one.price * enquiry.period.hours
    deposit = deposit_of(enquiry.terms, worth)
    added = max(0, deposit - one.quote.held)
    if not money.try_set_aside(tx, seller.project_id, added):
        return Why.SELLER_WITHOUT_DEPOSIT
    short = max(0, worth - making.purse)
    if not money.try_set_aside(tx, enquiry.buyer.project_id, short):
        money.give_back(tx, {seller.project_id: added})
        making.without_money = True
        return Why.BUYER_WITHOUT_MONEY
    making.buyer_held += short
    making.purse -= worth - short
    making.left -= lots
    making.wins.append((one, lots, deposit, added))
    return None


def _finish(tx: Tx, making: _Award) -> Enquiry:
    """Contracts for the winners; everything else goes back."""
    enquiry = making.enquiry
    signed = contracts.sign(
        tx, [_draft(enquiry, one, lots, deposit) for one, lots, deposit, _ in making.wins]
    )
    paid = 0
    for (one, lots, deposit, added), contract_id in zip(making.wins, signed, strict=True):
        paid += lots * one.price * enquiry.period.hours
        money.give_back(tx, {one.quote.seller.project_id: one.quote.held + added - deposit})
        if lots < one.quote.lots:
            rest = one.quote.lots - lots
            contracts.give_back(tx, one.quote.source_id, enquiry.period, rest)
        store.end_quote(
            tx.conn,
            one.quote.id,
            QuoteState.WON,
            "",
            price=one.price,
            won_lots=lots,
            contract_id=contract_id,
        )
    require(paid <= making.buyer_held, "AwardUnpaid", f"{enquiry.id}: {paid} is not set aside.")
    money.give_back(tx, {enquiry.buyer.project_id: making.buyer_held - paid})
    for quote, why, price in making.lost:
        quotations.drop(tx, enquiry, quote, QuoteState.LOST, why, price)
    store.end(tx.conn, enquiry.id, EnquiryState.AWARDED, "", tx.now_ms)
    return quotations.get(tx.conn, enquiry.id)


def _draft(enquiry: Enquiry, one: Opened, lots: int, deposit: int) -> Draft:
    return Draft(
        origin=Origin.QUOTATION,
        reference=enquiry.id,
        buyer=enquiry.buyer,
        seller=one.quote.seller,
        site_id=one.quote.site_id,
        pool_id=one.quote.pool_id,
        product=one.quote.product,
        period=enquiry.period,
        lots=lots,
        price=one.price,
        terms=enquiry.terms,
        deposit=deposit,
        backing_id=one.quote.backing_id,
    )


def _fail(tx: Tx, making: _Award, why: Why, sealed: Sequence[Quote]) -> Enquiry:
    """Everything goes back. Who asked and cannot pay owes what he would owe for cancelling."""
    enquiry = making.enquiry
    for one, _, _, added in making.wins:
        money.give_back(tx, {one.quote.seller.project_id: added})
    making.undo()
    for quote, reason, price in making.lost:
        quotations.drop(tx, enquiry, quote, QuoteState.LOST, reason, price)
    money.give_back(tx, {enquiry.buyer.project_id: making.buyer_held})
    store.end(tx.conn, enquiry.id, EnquiryState.FAILED, why, tx.now_ms)
    if why is Why.BUYER_WITHOUT_MONEY:
        quotations.pay_fee(tx, enquiry, sealed)
    return quotations.get(tx.conn, enquiry.id)


def _fault_of_buyer(tx: Tx, enquiry: Enquiry) -> Why | None:
    if tx.now_ms >= enquiry.period.from_ms:
        return Why.TOO_LATE
    suspended, closed = standing_of(tx.conn, enquiry.buyer)
    if suspended:
        return Why.BUYER_SUSPENDED
    return Why.BUYER_PROJECT_CLOSED if closed else None


def _fault_of_seller(tx: Tx, enquiry: Enquiry, one: Quote) -> Why | None:
    suspended, closed = standing_of(tx.conn, one.seller)
    if suspended:
        return Why.SELLER_SUSPENDED
    if closed:
        return Why.SELLER_PROJECT_CLOSED
    gone = capacity_gone(tx.conn, one.source_id, one.product, enquiry.period)
    return Why.CAPACITY_GONE if gone else None
