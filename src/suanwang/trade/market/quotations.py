"""Requests for quotation: a sealed reverse auction that ends by itself at its deadline.

A quote's price is encrypted under the platform's key file, bound to the quote's id, and opened in
`quotations_award` alone: no other code reads it, so neither page nor log nor audit can tell it.
What a quote sets aside does not depend on its price either. All that happens to an enquiry happens
under the lock of its row, so it is awarded once, whoever comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy.engine import Connection

from suanwang.kernel.errors import Conflict, InvalidInput, NotFound
from suanwang.kernel.money import MAX_AMOUNT, allot
from suanwang.platform.database import Tx
from suanwang.tenancy.rules import not_found
from suanwang.tenancy.secrets_box import SecretsBox
from suanwang.trade.contracts import service as contracts
from suanwang.trade.contracts.model import Party
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.model import EntryDraft, EntryKind, project_key, revenue_key
from suanwang.trade.market import money
from suanwang.trade.market import quotations_rules as rules
from suanwang.trade.market import quotations_store as store
from suanwang.trade.market.model import Supply
from suanwang.trade.market.parties import key_reused, organisation_at
from suanwang.trade.market.quotations_model import (
    Enquiry,
    EnquiryGiven,
    EnquiryState,
    HouseRules,
    Quote,
    QuoteGiven,
    QuoteState,
    Why,
)
from suanwang.trade.market.quotations_rules import Figures, no_figures
from suanwang.trade.market.supply import require_covers, source_of, supply

AT_ONCE = 100
HOUSE = HouseRules()


def ask(
    tx: Tx,
    buyer: Party,
    given: EnquiryGiven,
    *,
    figures: Figures = no_figures,
    house: HouseRules = HOUSE,
    key: str | None = None,
) -> Enquiry:
    """Open an enquiry; what it may cost is set aside. The same key again is the same enquiry.

    Raises InvalidInput, NotFound (an invited organisation), LimitExceeded (money).
    """
    if key is not None:
        tx.serialise(f"enquiry:{buyer.project_id}:{key}")
        earlier = store.by_key(tx.conn, buyer.project_id, key)
        if earlier is not None:
            return earlier
    rules.check(given, tx.now_ms)
    invited = {organisation_at(tx.conn, name, "invited").id for name in given.invited}
    if given.invited and not invited - {buyer.organisation_id}:
        raise InvalidInput(
            "InvalidEnquiry",
            "Nobody but yourself is invited.",
            hint="Invite others, or nobody by name to ask everybody.",
            field="invited",
        )
    made = Enquiry(
        id=tx.ids.new("rfq"),
        buyer=buyer,
        title=given.title,
        alternatives=rules.alternatives(given, figures),
        lots=given.lots,
        min_lots=given.lots if given.min_lots is None else given.min_lots,
        period=given.period,
        ceiling=given.ceiling,
        ceiling_public=given.ceiling_public,
        expected=given.expected,
        bond=rules.bond_of(given),
        rule=given.rule,
        divisible=given.divisible,
        invited=tuple(sorted(invited - {buyer.organisation_id})),
        terms=given.terms,
        house=house,
        deadline_ms=given.deadline_ms,
        held=rules.held_by_buyer(given, house),
        state=EnquiryState.OPEN,
        why="",
        asked_at_ms=tx.now_ms,
        ended_at_ms=None,
        key=key,
    )
    money.set_aside(tx, buyer.project_id, made.held)
    store.insert(tx.conn, made)
    return made


def quote(tx: Tx, box: SecretsBox, seller: Party, enquiry_id: str, given: QuoteGiven) -> Quote:
    """Answer an enquiry, replacing what the project has quoted from the same source before.

    Capacity is pledged and the bond set aside. The same key again is the same quote. Raises
    NotFound (also for who is not invited), Conflict, InvalidInput, LimitExceeded.
    """
    if given.key is not None:
        tx.serialise(f"quote:{seller.project_id}:{given.key}")
    enquiry = locked(tx, enquiry_id)
    if not may_see(enquiry, seller.organisation_id):
        raise missing(enquiry_id)
    earlier = store.quote_by_key(tx.conn, seller.project_id, given.key) if given.key else None
    if earlier is not None:
        if earlier.enquiry_id != enquiry_id:
            raise key_reused("another enquiry")
        return earlier
    _require_open(enquiry, tx.now_ms)
    lots = enquiry.lots if given.lots is None else given.lots
    _check_quote(enquiry, seller, given.price, lots)
    found = supply(tx.conn, seller, given.source_id)
    if enquiry.figure_of(found.product) is None:
        wanted = ", ".join(str(one.product) for one in enquiry.alternatives)
        raise InvalidInput(
            "OtherProduct",
            f"{given.source_id} delivers {found.product}; asked for is {wanted}.",
            hint="Quote from a source that delivers what is asked for.",
            field="source",
        )
    require_covers(found, found.product, enquiry.period)
    for one in store.quotes_of(tx.conn, enquiry_id, QuoteState.SEALED):
        if (one.seller.project_id, one.source_id) == (seller.project_id, found.source_id):
            drop(tx, enquiry, one, QuoteState.REPLACED)
    contracts.pledge(tx, source_of(found), enquiry.period, lots)
    bond = enquiry.bond * lots * enquiry.period.hours
    money.set_aside(tx, seller.project_id, bond)
    made = _sealed(tx, box, enquiry, seller, found, lots, bond, given)
    store.insert_quote(tx.conn, made)
    return made


def _sealed(
    tx: Tx,
    box: SecretsBox,
    enquiry: Enquiry,
    seller: Party,
    found: Supply,
    lots: int,
    bond: int,
    given: QuoteGiven,
) -> Quote:
    quote_id = tx.ids.new("quo")
    price = {"price": str(given.price).zfill(rules.PRICE_DIGITS)}
    return Quote(
        id=quote_id,
        enquiry_id=enquiry.id,
        seller=seller,
        source_id=found.source_id,
        site_id=found.site_id,
        pool_id=found.pool_id,
        product=found.product,
        lots=lots,
        sealed=box.seal(price, context=quote_id),
        price=None,
        held=bond,
        state=QuoteState.SEALED,
        why="",
        won_lots=0,
        contract_id=None,
        quoted_at_ms=tx.now_ms,
        key=given.key,
    )


def _check_quote(enquiry: Enquiry, seller: Party, price: int, lots: int) -> None:
    if seller.organisation_id == enquiry.buyer.organisation_id:
        raise InvalidInput(
            "OwnEnquiry", "It is your own organisation's.", hint="Use the capacity as it is."
        )
    rules.require_price(price)
    if enquiry.ceiling_public and enquiry.ceiling is not None and price > enquiry.ceiling:
        raise InvalidInput(
            "AboveCeiling", "The price is above the ceiling.", hint="Quote less.", field="price"
        )
    least = 1 if enquiry.divisible else enquiry.lots
    if price * lots * enquiry.period.hours > MAX_AMOUNT:
        raise InvalidInput(
            "QuoteTooLarge",
            "It is worth more than can be booked.",
            hint="Quote less.",
            field="lots",
        )
    if not least <= lots <= enquiry.lots:
        raise InvalidInput(
            "InvalidLots",
            f"A quote here is of {least} to {enquiry.lots} lots.",
            hint="Correct the field.",
            field="lots",
        )


def _require_open(enquiry: Enquiry, now_ms: int) -> None:
    if enquiry.state is not EnquiryState.OPEN or now_ms >= enquiry.deadline_ms:
        raise Conflict(
            "EnquiryClosed",
            "The deadline is over, or the enquiry has ended.",
            hint="See what came of it; answer another one.",
        )


def withdraw(tx: Tx, enquiry_id: str, quote_id: str) -> Quote:
    """Take a quote back before the deadline. Again, it changes nothing. Raises Conflict."""
    enquiry = locked(tx, enquiry_id)
    found = quote_of(tx.conn, enquiry_id, quote_id)
    if found.state is QuoteState.WITHDRAWN:
        return found
    _require_open(enquiry, tx.now_ms)
    if found.state is not QuoteState.SEALED:
        raise Conflict("QuoteEnded", f"The quote is {found.state.value}.", hint="See your quotes.")
    drop(tx, enquiry, found, QuoteState.WITHDRAWN)
    return replace(found, state=QuoteState.WITHDRAWN, held=0, sealed=b"")


def lose(tx: Tx, one: Quote) -> None:
    """End a quote whose source is gone; one that is not sealed any more stays as it is."""
    enquiry = locked(tx, one.enquiry_id)
    now = store.quote_by_id(tx.conn, one.id)
    if now is not None and now.state is QuoteState.SEALED:
        drop(tx, enquiry, now, QuoteState.LOST, Why.CAPACITY_GONE)


def drop(
    tx: Tx,
    enquiry: Enquiry,
    one: Quote,
    state: QuoteState,
    why: str = "",
    price: int | None = None,
) -> None:
    """End a quote that does not win: its bond and capacity go back at once."""
    money.give_back(tx, {one.seller.project_id: one.held})
    contracts.give_back(tx, one.source_id, enquiry.period, one.lots)
    store.end_quote(tx.conn, one.id, state, why, price=price)


def cancel(tx: Tx, enquiry_id: str) -> int:
    """The buyer steps back before the deadline; the fee that he pays those who have quoted, in
    micro-yuan. Again, it changes nothing and costs nothing. Raises Conflict."""
    enquiry = locked(tx, enquiry_id)
    if enquiry.state is EnquiryState.CANCELLED:
        return 0
    _require_open(enquiry, tx.now_ms)
    sealed = store.quotes_of(tx.conn, enquiry_id, QuoteState.SEALED)
    for one in sealed:
        drop(tx, enquiry, one, QuoteState.LOST, Why.CANCELLED)
    money.give_back(tx, {enquiry.buyer.project_id: enquiry.held})
    store.end(tx.conn, enquiry_id, EnquiryState.CANCELLED, "", tx.now_ms)
    return pay_fee(tx, enquiry, sealed)


def pay_fee(tx: Tx, enquiry: Enquiry, quotes: Sequence[Quote]) -> int:
    """From the buyer to the organisations that had quoted, in equal parts."""
    payees = sorted({one.seller.organisation_id for one in quotes})
    fee = rules.cancel_fee(enquiry, len(payees))
    if not fee:
        return 0
    payer = project_key(enquiry.buyer.project_id)
    accounts = ledger.ensure_accounts(tx, [payer, *(revenue_key(one) for one in payees)])
    parts = allot(fee, [1] * len(payees))
    postings = [
        (accounts[revenue_key(one)].id, part)
        for one, part in zip(payees, parts, strict=True)
        if part
    ]
    entry = EntryDraft(
        f"enquiry:{enquiry.id}",
        EntryKind.CANCELLATION,
        tx.now_ms,
        ((accounts[payer].id, -fee), *postings),
        f"Enquiry {enquiry.id} ended by its buyer",
    )
    ledger.post(tx, [entry])
    return fee


def due(conn: Connection, now_ms: int) -> list[str]:
    """Open enquiries whose deadline is over; `award` each in a transaction of its own."""
    return store.due(conn, now_ms, AT_ONCE)


def may_see(enquiry: Enquiry, organisation_id: str) -> bool:
    """Whether an organisation learns that there is such an enquiry."""
    return (
        not enquiry.invited
        or organisation_id == enquiry.buyer.organisation_id
        or organisation_id in enquiry.invited
    )


def missing(enquiry_id: str) -> NotFound:
    return NotFound(
        "NoSuchEnquiry", f"There is no enquiry {enquiry_id}.", hint="See those open to you."
    )


def locked(tx: Tx, enquiry_id: str) -> Enquiry:
    found = store.by_id(tx.conn, enquiry_id, lock=True)
    if found is None:
        raise missing(enquiry_id)
    return found


def get(conn: Connection, enquiry_id: str) -> Enquiry:
    found = store.by_id(conn, enquiry_id)
    if found is None:
        raise missing(enquiry_id)
    return found


def quote_of(conn: Connection, enquiry_id: str, quote_id: str) -> Quote:
    found = store.quote_by_id(conn, quote_id)
    if found is None or found.enquiry_id != enquiry_id:
        raise not_found("quote", quote_id)
    return found


def quotes_of(conn: Connection, enquiry_id: str) -> list[Quote]:
    """In the order they came; prices only of those that were opened."""
    return store.quotes_of(conn, enquiry_id)


def sealed_counts(conn: Connection, enquiry_ids: Sequence[str]) -> dict[str, int]:
    """Enquiry → how many quotes stand, where there are any."""
    return store.sealed_counts(conn, enquiry_ids)


def page(
    conn: Connection,
    *,
    project_ids: Sequence[str] | None = None,
    open_to: str | None = None,
    state: EnquiryState | None = None,
    before: str | None = None,
    limit: int = 100,
) -> list[Enquiry]:
    """The latest first: asked by projects, or with `open_to` those that an organisation may
    answer."""
    return store.page(
        conn, project_ids=project_ids, open_to=open_to, state=state, before=before, limit=limit
    )
