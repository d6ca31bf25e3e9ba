"""Bilateral deals: a proposal to a named side, answered by yes, no or another proposal.

The proposer's part is set aside while his proposal stands: the price of a buyer, capacity and
deposit of a seller. So a yes is enough: it sets the other part aside and signs the contract.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.engine import Connection

from suanwang.engines.matching.model import Side
from suanwang.kernel.errors import Conflict, Forbidden, InvalidInput, NotFound
from suanwang.kernel.money import MAX_AMOUNT
from suanwang.kernel.time import MS_PER_DAY
from suanwang.platform.database import Tx
from suanwang.trade.contracts import service as contracts
from suanwang.trade.contracts.model import Draft, Origin, Party
from suanwang.trade.contracts.rules import deposit_of
from suanwang.trade.market import deals_store as store
from suanwang.trade.market import money
from suanwang.trade.market.deals_model import (
    Addressee,
    Deal,
    DealState,
    Proposal,
    ProposalGiven,
    ProposalState,
)
from suanwang.trade.market.listings import check_terms
from suanwang.trade.market.model import Supply
from suanwang.trade.market.parties import capacity_gone, key_reused, standing_of
from suanwang.trade.market.quotations_rules import require_amounts, require_price
from suanwang.trade.market.supply import require_covers, source_of, supply

AT_ONCE = 100
MAX_DAYS = 60
MAX_NOTE = 500
MAX_PROPOSALS = 100
"""Of a deal. By then the two should have met."""

OTHER = {Side.BUY: Side.SELL, Side.SELL: Side.BUY}


def propose(
    tx: Tx,
    party: Party,
    side: Side,
    to: Addressee,
    given: ProposalGiven,
    *,
    key: str | None = None,
) -> Deal:
    """Open a deal with its first proposal. The same key again is the same deal.

    Raises InvalidInput, LimitExceeded (money or capacity).
    """
    if key is not None:
        tx.serialise(f"deal:{party.project_id}:{key}")
        earlier = store.by_key(tx.conn, party.project_id, key)
        if earlier is not None:
            if (earlier.other.organisation_id, earlier.first_side) != (to.organisation_id, side):
                raise key_reused("another deal")
            return earlier
    if to.organisation_id == party.organisation_id:
        raise InvalidInput(
            "OwnDeal", "Nobody trades with himself.", hint="Name another.", field="to"
        )
    deal_id = tx.ids.new("deal")
    first = _proposal(tx, deal_id, 1, party, side, given)
    store.insert_proposal(tx.conn, first)
    made = Deal(
        id=deal_id,
        first=party,
        first_side=side,
        other=to,
        state=DealState.OPEN,
        number=1,
        due_ms=given.valid_until_ms,
        contract_id=None,
        opened_at_ms=tx.now_ms,
        ended_at_ms=None,
        key=key,
    )
    store.insert(tx.conn, made)
    return made


def _proposal(
    tx: Tx, deal_id: str, number: int, party: Party, side: Side, given: ProposalGiven
) -> Proposal:
    """Checked, and the proposer's part set aside."""
    _check(given, side, tx.now_ms)
    worth = given.lots * given.price * given.period.hours
    found: Supply | None = None
    product = given.product
    if side is Side.SELL:
        found = supply(tx.conn, party, given.source_id)
        require_covers(found, product or found.product, given.period)
        contracts.pledge(tx, source_of(found), given.period, given.lots)
        product = found.product
    if product is None:
        raise InvalidInput(
            "ProductMissing", "A buyer says what he wants.", hint="Name it.", field="product"
        )
    held = worth if side is Side.BUY else deposit_of(given.terms, worth)
    money.set_aside(tx, party.project_id, held)
    return Proposal(
        deal_id=deal_id,
        number=number,
        by=party,
        side=side,
        product=product,
        source_id=found.source_id if found else None,
        site_id=found.site_id if found else None,
        pool_id=found.pool_id if found else None,
        lots=given.lots,
        period=given.period,
        price=given.price,
        terms=given.terms,
        note=given.note,
        valid_until_ms=given.valid_until_ms,
        held=held,
        state=ProposalState.STANDING,
        at_ms=tx.now_ms,
    )


def _check(given: ProposalGiven, side: Side, now_ms: int) -> None:
    require_amounts(given.lots, given.period.hours, given.period.first_hour, now_ms)
    require_price(given.price)
    check_terms(given.terms)
    latest = min(given.period.from_ms, now_ms + MAX_DAYS * MS_PER_DAY)
    faults = (
        (
            now_ms < given.valid_until_ms <= latest,
            "valid_until",
            f"A proposal ends in the future, within {MAX_DAYS} days and before its delivery.",
        ),
        (len(given.note) <= MAX_NOTE, "note", f"A note has {MAX_NOTE} characters at most."),
        (
            given.lots * given.price * given.period.hours <= MAX_AMOUNT,
            "lots",
            "It is worth more than can be booked.",
        ),
        (
            side is Side.SELL or given.source_id is None,
            "source",
            "What is sold from is for the seller to say.",
        ),
    )
    for good, field, message in faults:
        if not good:
            raise InvalidInput("InvalidProposal", message, hint="Correct the field.", field=field)


def counter(tx: Tx, party: Party, deal_id: str, number: int, given: ProposalGiven) -> Deal:
    """Answer proposal `number` by another one: its part goes back, this one's is set aside.

    Who sells still sells. The same answer again is the same. Raises Conflict, and as `propose`.
    """
    deal = _locked(tx, deal_id)
    last = store.last_proposal(tx.conn, deal)
    if last.number == number + 1 and _is_again(last, party, given):
        return deal
    _require_turn(tx, deal, last, party, number)
    if number >= MAX_PROPOSALS:
        raise Conflict(
            "TooManyProposals",
            f"A deal has {MAX_PROPOSALS} proposals at most.",
            hint="Accept, or begin another deal.",
        )
    _release(tx, last)
    store.end_proposal(tx.conn, last, ProposalState.COUNTERED)
    made = _proposal(tx, deal_id, number + 1, party, OTHER[last.side], given)
    store.insert_proposal(tx.conn, made)
    _move(tx, deal, party, number=made.number, due_ms=made.valid_until_ms)
    return get(tx.conn, deal_id)


def _is_again(last: Proposal, party: Party, given: ProposalGiven) -> bool:
    said = (last.by.project_id, last.lots, last.period, last.price, last.valid_until_ms)
    return said == (
        party.project_id,
        given.lots,
        given.period,
        given.price,
        given.valid_until_ms,
    )


def accept(
    tx: Tx, party: Party, deal_id: str, number: int, *, source_id: str | None = None
) -> Deal:
    """Agree to proposal `number`: a contract. A seller says what he sells from, or it is what he
    had proposed before. Again, it is the same contract. Raises Conflict, LimitExceeded."""
    deal = _locked(tx, deal_id)
    last = store.last_proposal(tx.conn, deal)
    if deal.state is DealState.ACCEPTED and last.number == number:
        _require_side(deal, last, party)
        return deal
    _require_turn(tx, deal, last, party, number)
    _require_standing(tx, last)
    if last.side is Side.SELL:
        money.set_aside(tx, party.project_id, last.worth)
        found = supply(tx.conn, last.by, last.source_id)
        buyer, seller, deposit = party, last.by, last.held
    else:
        found = supply(tx.conn, party, source_id or _source_before(tx, deal, party))
        require_covers(found, last.product, last.period)
        contracts.pledge(tx, source_of(found), last.period, last.lots)
        deposit = deposit_of(last.terms, last.worth)
        money.set_aside(tx, party.project_id, deposit)
        buyer, seller = last.by, party
    draft = Draft(
        origin=Origin.BILATERAL,
        reference=deal.id,
        buyer=buyer,
        seller=seller,
        site_id=found.site_id,
        pool_id=found.pool_id,
        product=last.product,
        period=last.period,
        lots=last.lots,
        price=last.price,
        terms=last.terms,
        deposit=deposit,
        backing_id=found.backing_id,
    )
    contract_id = contracts.sign(tx, [draft])[0]
    store.end_proposal(tx.conn, last, ProposalState.ACCEPTED)
    _move(tx, deal, party, **_ended(tx, DealState.ACCEPTED), contract_id=contract_id)
    return get(tx.conn, deal_id)


def _source_before(tx: Tx, deal: Deal, party: Party) -> str | None:
    before = [
        one.source_id
        for one in store.proposals_of(tx.conn, deal.id)
        if one.by.project_id == party.project_id and one.source_id is not None
    ]
    return before[-1] if before else None


def _require_standing(tx: Tx, last: Proposal) -> None:
    """Whether the proposer can still keep his word."""
    suspended, closed = standing_of(tx.conn, last.by)
    if suspended or closed:
        raise Conflict(
            "OtherSideSuspended" if suspended else "OtherSideClosed",
            "The other side may not trade at present.",
            hint="Reject the proposal, or wait for its end; nothing of yours is set aside.",
        )
    if last.source_id is not None and capacity_gone(
        tx.conn, last.source_id, last.product, last.period
    ):
        raise Conflict(
            "CapacityGone",
            "What was offered is not there any more.",
            hint="Reject the proposal, or propose to buy from another source.",
        )


def reject(tx: Tx, party: Party, deal_id: str, number: int) -> Deal:
    """No to proposal `number`. Again, it changes nothing. Raises Conflict."""
    deal = _locked(tx, deal_id)
    last = store.last_proposal(tx.conn, deal)
    if deal.state is DealState.REJECTED and last.number == number:
        _require_side(deal, last, party)
        return deal
    _require_turn(tx, deal, last, party, number, in_time=False)
    return _end(tx, deal, last, DealState.REJECTED, ProposalState.REJECTED)


def withdraw(tx: Tx, party: Party, deal_id: str) -> Deal:
    """Take one's own last proposal back; with it the deal ends. Again, it changes nothing."""
    deal = _locked(tx, deal_id)
    last = store.last_proposal(tx.conn, deal)
    if last.by.project_id != party.project_id:
        raise Conflict(
            "NotYourProposal",
            "The last proposal is the other side's.",
            hint="Reject it, or propose something else.",
        )
    if deal.state is DealState.WITHDRAWN:
        return deal
    _require_open(deal)
    return _end(tx, deal, last, DealState.WITHDRAWN, ProposalState.WITHDRAWN)


def due(conn: Connection, now_ms: int) -> list[str]:
    """Open deals whose last proposal is over; `expire` each in a transaction of its own."""
    return store.due(conn, now_ms, AT_ONCE)


def expire(tx: Tx, deal_id: str) -> Deal:
    """End a deal that nobody answered in time; one that is not open or not due stays as it is."""
    deal = _locked(tx, deal_id)
    if deal.state is not DealState.OPEN or tx.now_ms < deal.due_ms:
        return deal
    last = store.last_proposal(tx.conn, deal)
    return _end(tx, deal, last, DealState.EXPIRED, ProposalState.EXPIRED)


def _end(tx: Tx, deal: Deal, last: Proposal, state: DealState, of_last: ProposalState) -> Deal:
    _release(tx, last)
    store.end_proposal(tx.conn, last, of_last)
    store.update(tx.conn, deal.id, **_ended(tx, state))
    return get(tx.conn, deal.id)


def _release(tx: Tx, last: Proposal) -> None:
    money.give_back(tx, {last.by.project_id: last.held})
    if last.source_id is not None:
        contracts.give_back(tx, last.source_id, last.period, last.lots)


def _ended(tx: Tx, state: DealState) -> dict[str, object]:
    return {"state": state.value, "ended_at_ms": tx.now_ms}


def _move(tx: Tx, deal: Deal, party: Party, **values: object) -> None:
    """Whoever answers for an organisation is its project in this deal from now on."""
    if party.organisation_id == deal.other.organisation_id:
        values["other_project_id"] = party.project_id
    store.update(tx.conn, deal.id, **values)


def _require_open(deal: Deal) -> None:
    if deal.state is not DealState.OPEN:
        raise Conflict("DealEnded", f"The deal is {deal.state.value}.", hint="Begin another one.")


def _require_turn(
    tx: Tx, deal: Deal, last: Proposal, party: Party, number: int, *, in_time: bool = True
) -> None:
    _require_side(deal, last, party)
    _require_open(deal)
    if number != last.number:
        raise Conflict(
            "ProposalChanged",
            f"The last proposal is number {last.number}, not {number}.",
            hint="Look at it, and answer that one.",
        )
    if in_time and tx.now_ms >= last.valid_until_ms:
        raise Conflict(
            "ProposalExpired", "The proposal is valid no more.", hint="Propose something yourself."
        )


def _require_side(deal: Deal, last: Proposal, party: Party) -> None:
    """That the answer is the party's to give."""
    if party.organisation_id == last.by.organisation_id:
        raise Conflict(
            "OwnProposal",
            "The last proposal is your own side's.",
            hint="Wait for an answer, or withdraw it.",
        )
    require_party(deal, party.organisation_id)
    mine = (
        deal.first.project_id
        if party.organisation_id == deal.first.organisation_id
        else deal.other.project_id
    )
    if mine is not None and mine != party.project_id:
        raise Forbidden(
            "OtherProject", "The deal is another project's of yours.", hint="Answer for that one."
        )


def require_party(deal: Deal, organisation_id: str) -> None:
    """Raises NotFound for those whom the deal does not concern."""
    if organisation_id not in (deal.first.organisation_id, deal.other.organisation_id):
        raise missing(deal.id)


def missing(deal_id: str) -> NotFound:
    return NotFound("NoSuchDeal", f"There is no deal {deal_id}.", hint="See your deals.")


def _locked(tx: Tx, deal_id: str) -> Deal:
    found = store.by_id(tx.conn, deal_id, lock=True)
    if found is None:
        raise missing(deal_id)
    return found


def get(conn: Connection, deal_id: str) -> Deal:
    found = store.by_id(conn, deal_id)
    if found is None:
        raise missing(deal_id)
    return found


def history(conn: Connection, deal_id: str) -> list[Proposal]:
    """From the first proposal to the last."""
    return store.proposals_of(conn, deal_id)


def last_proposals(conn: Connection, deals: Sequence[Deal]) -> dict[str, Proposal]:
    return store.last_proposals(conn, [one.id for one in deals])


def page(
    conn: Connection,
    *,
    begun_by: Sequence[str] | None = None,
    offered_to: tuple[str, Sequence[str]] | None = None,
    state: DealState | None = None,
    before: str | None = None,
    limit: int = 100,
) -> list[Deal]:
    """The latest first: begun by projects, offered to (organisation, its projects), or either."""
    return store.page(
        conn, begun_by=begun_by, offered_to=offered_to, state=state, before=before, limit=limit
    )
