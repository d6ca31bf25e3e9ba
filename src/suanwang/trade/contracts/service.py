"""Use cases of contracts. Plain functions of a transaction (writes) or a connection (reads)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from suanwang.kernel.errors import Conflict, LimitExceeded, require
from suanwang.kernel.time import MS_PER_DAY, hour_of
from suanwang.platform.database import Tx
from suanwang.platform.outbox import Outbox
from suanwang.tenancy.rules import not_found
from suanwang.trade.billing import service as billing
from suanwang.trade.billing.model import Rates
from suanwang.trade.billing.rules import booking_ms
from suanwang.trade.catalogue.model import CORE, Period, Product
from suanwang.trade.contracts import rules, store
from suanwang.trade.contracts.model import (
    Booked,
    Contract,
    ContractState,
    Draft,
    Hour,
    Origin,
    Reputation,
)
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.model import (
    RENT,
    AccountKey,
    EntryDraft,
    EntryKind,
    project_key,
    revenue_key,
)

SETTLE_AT_ONCE = 500
CONTRACT = "con_"
"""So begin the ids of sources that are contracts."""
REPUTATION_MS = 90 * MS_PER_DAY
"""So long a seller's hours count: what is older was another hall, another crew."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where sold capacity comes from: a pool, or a contract that is sold on."""

    id: str
    lots: int
    """Of it in any hour."""


def try_pledge(tx: Tx, source: Source, period: Period, lots: int) -> int:
    """Set capacity aside so that it is not sold twice; in how many hours there was too little of
    it. Then nothing is set aside."""
    if source.id.startswith(CONTRACT) and not store.share_signed(tx.conn, source.id):
        return period.hours
    moves = {(source.id, period.first_hour + at): lots for at in range(period.hours)}
    full = store.move_capacity(tx.conn, moves, {source.id: source.lots})
    if full:
        undone = {key: -lots for key in moves if key not in full}
        store.move_capacity(tx.conn, undone, {})
    return len(full)


def pledge(tx: Tx, source: Source, period: Period, lots: int) -> None:
    """`try_pledge`, raising LimitExceeded."""
    full = try_pledge(tx, source, period, lots)
    if full:
        raise LimitExceeded(
            "CapacitySold",
            f"Of {source.lots} lots too few are unsold in {full} of {period.hours} hours.",
            hint="Offer fewer lots or other hours, or take back other orders and listings.",
            field="lots",
        )


def give_back(tx: Tx, source_id: str, period: Period, lots: int) -> None:
    """Undo a pledge for the hours that have not ended."""
    first = max(period.first_hour, hour_of(tx.now_ms))
    moves = {(source_id, hour): -lots for hour in range(first, period.end_hour)}
    failed = store.move_capacity(tx.conn, moves, {})
    require(not failed, "PledgeBelowZero", f"More of {source_id} would be given back than is out.")


def pledged(
    conn: Connection, source_ids: Sequence[str], period: Period
) -> dict[tuple[str, int], int]:
    """(source, hour) → lots that are offered or sold."""
    return store.pledged(conn, source_ids, period.first_hour, period.end_hour)


def forget_pledges(tx: Tx, before_hour: int) -> None:
    """Of hours that are long over."""
    store.forget_capacity(tx.conn, before_hour)


def sign(tx: Tx, drafts: Sequence[Draft]) -> list[str]:
    """Contracts out of trades; ids in the drafts' order.

    The price and the deposit are held already on the projects' accounts, the capacity is pledged:
    who trades does that, and what he set aside for it passes to the contract.
    """
    for draft in drafts:
        require(draft.lots > 0 and draft.period.hours > 0, "EmptyContract", draft.reference)
    return store.insert(tx, drafts)


def get(conn: Connection, contract_id: str) -> Contract:
    found = store.by_id(conn, contract_id)
    if found is None:
        raise not_found("contract", contract_id)
    return found


def by_ids(conn: Connection, ids: Sequence[str]) -> list[Contract]:
    return store.by_ids(conn, ids)


def page(
    conn: Connection,
    *,
    buyers: Sequence[str] | None = None,
    sellers: Sequence[str] | None = None,
    state: ContractState | None = None,
    reference: str | None = None,
    before: str | None = None,
    limit: int = 100,
) -> list[Contract]:
    """The latest first: those bought by the one projects or sold by the other; all, if neither is
    given. `reference`: only those that came of this listing, round, enquiry, deal or order."""
    return store.page(
        conn,
        buyers=buyers,
        sellers=sellers,
        state=state,
        reference=reference,
        before=before,
        limit=limit,
    )


def signed(conn: Connection, until_hour: int) -> list[Contract]:
    """Signed contracts that begin before an hour, in order of id."""
    return store.signed(conn, until_hour)


def sold_on(conn: Connection, first_hour: int, until_hour: int) -> list[Contract]:
    """Signed contracts out of other contracts that begin in [first, until), in order of id."""
    return store.sold_on(conn, first_hour, until_hour)


def booked(
    conn: Connection, first_hour: int, until_hour: int, but: Sequence[str] = ()
) -> list[Booked]:
    """What signed contracts out of pools themselves that begin in [first, until) come to; `but`:
    ids that do not count."""
    return store.booked(conn, first_hour, until_hour, but)


def prices(
    conn: Connection, since_ms: int, until_ms: int, origins: Sequence[Origin], bucket_ms: int
) -> list[tuple[Product, int, int, int, int]]:
    """(product, bucket's beginning, price, lot-hours, contracts) of what was signed in
    [since, until); what was cancelled does not count."""
    return store.prices(conn, since_ms, until_ms, origins, bucket_ms)


def signed_since(conn: Connection, since_ms: int) -> list[Contract]:
    """Contracts by id, whatever became of them."""
    return store.signed_since(conn, since_ms)


def hours_of(conn: Connection, contract_id: str, limit: int = 200) -> list[Hour]:
    return store.hours_of(conn, contract_id, limit)


def charged(conn: Connection, contract_id: str) -> int:
    """What its hours have cost so far, in micro-yuan."""
    return store.charged(conn, contract_id)


def charge_keys(conn: Connection, contract: Contract) -> list[str]:
    """Keys of the entries that charged its hours, and their rent."""
    hours = store.hours_of(conn, contract.id, contract.period.hours)
    names = [f"{contract.id}.0.{one.hour}" for one in hours if one.charged]
    rents = [f"rent:{contract.id}.{one.hour}" for one in hours if one.rent]
    return [*(f"charge:{contract.site_id}/{name}" for name in names), *rents]


def reputations(conn: Connection, now_ms: int) -> dict[str, Reputation]:
    """Of every seller of whom an hour was settled in the last ninety days, by organisation."""
    found = store.outcomes(conn, now_ms - REPUTATION_MS)
    return {owner: Reputation(owner, *found[owner]) for owner in sorted(found)}


def note_samples(tx: Tx, there: Mapping[str, int]) -> None:
    """One look at the running contracts: id → lots that were there for the buyer."""
    if there:
        store.add_samples(tx.conn, hour_of(tx.now_ms), there)


def settle(tx: Tx, outbox: Outbox, *, limit: int = SETTLE_AT_ONCE) -> bool:
    """Settle the next ended hour of contracts that have one; whether there may be more."""
    due = store.due(tx.conn, hour_of(tx.now_ms - rules.GRACE_MS), limit)
    if not due:
        return False
    wanted = [(one.id, one.period.first_hour + one.settled_hours) for one in due]
    samples = store.sampled(tx.conn, wanted)
    lists = _price_lists(tx, due)
    settled = [
        (one, rules.settle_hour(one, *samples.get(one.id, (0, 0)), lists[_priced(one)]))
        for one in due
    ]
    billing.record_usage(tx, outbox, [found.record for _, found in settled])
    _credit(tx, settled)
    for contract, found in settled:
        last = found.record.final
        store.update(
            tx.conn,
            contract.id,
            settled_hours=contract.settled_hours + 1,
            buyer_held=contract.buyer_held - found.record.hold_release_micro_yuan,
            seller_held=contract.seller_held - found.seller_released,
            rent_held=contract.rent_held - found.rent_released,
            **(_ended(tx, ContractState.COMPLETED) if last else {}),
        )
        amounts = found.charged, found.credited, found.rent
        store.settle_hour(tx.conn, contract.id, found.record.hour, amounts, tx.now_ms)
    return True


def _ended(tx: Tx, state: ContractState) -> dict[str, object]:
    return {"state": state.value, "ended_at_ms": tx.now_ms}


def _priced(contract: Contract) -> tuple[bool, int]:
    """(whether by the core, price): contracts of one pair have one price list."""
    return contract.product.unit_class == CORE, contract.price


def _price_lists(tx: Tx, due: Sequence[Contract]) -> dict[tuple[bool, int], str]:
    """One list for all contracts of a price: what is billed of a contract are its lots alone."""
    lists = {}
    for of_core, price in sorted({_priced(one) for one in due}):
        kind, rates = (
            ("core", Rates(core_hour=price)) if of_core else ("card", Rates(accelerator_hour=price))
        )
        name = f"contract:{kind}:{price}"
        lists[of_core, price] = billing.publish_prices(tx, name, rates)
    return lists


def _credit(tx: Tx, settled: Sequence[tuple[Contract, rules.Delivered]]) -> None:
    """Deposits released, what undelivered hours cost the seller, paid to the buyer, and rent."""
    keys = {
        project_key(party.project_id)
        for contract, _ in settled
        for party in (contract.buyer, contract.seller)
    }
    if any(found.rent for _, found in settled):
        keys.add(RENT)
    accounts = ledger.ensure_accounts(tx, sorted(keys))
    open_ms = ledger.open_from_ms(tx)
    holds: dict[str, int] = {}
    entries = []
    for contract, found in settled:
        seller = accounts[project_key(contract.seller.project_id)].id
        buyer = accounts[project_key(contract.buyer.project_id)].id
        if found.seller_released:
            holds[seller] = holds.get(seller, 0) - found.seller_released
        if found.credited and seller != buyer:
            entries.append(
                EntryDraft(
                    f"credit:{contract.id}.{found.record.hour}",
                    EntryKind.SLA_CREDIT,
                    tx.now_ms,
                    ((buyer, found.credited), (seller, -found.credited)),
                    f"Undelivered capacity of contract {contract.id}",
                )
            )
        if found.rent_released:
            holds[buyer] = holds.get(buyer, 0) - found.rent_released
        if found.rent:
            # on the day of its hour, as the charge is
            at_ms = booking_ms(found.record.start_ms, tx.now_ms, open_ms)
            key = f"rent:{contract.id}.{found.record.hour}"
            entries.append(_rent(contract, key, at_ms, buyer, accounts[RENT].id, found.rent))
    ledger.post(tx, entries, holds=holds)


def _rent(
    contract: Contract, key: str, at_ms: int, buyer: str, platform: str, amount: int
) -> EntryDraft:
    text = f"Capacity of contract {contract.id} from another zone"
    postings = ((buyer, -amount), (platform, amount))
    return EntryDraft(key, EntryKind.RENT, at_ms, postings, text)


def cancel(tx: Tx, contract_id: str) -> int:
    """The buyer steps back in time; what it costs him in micro-yuan: the fee, which the seller
    gets, and the rent."""
    contract = _locked(tx, contract_id)
    sold_on = bool(
        store.pledged(tx.conn, [contract.id], contract.period.first_hour, _end(contract))
    )
    why_not = rules.may_cancel(contract, tx.now_ms, sold_on)
    if why_not is not None:
        raise Conflict(
            "CannotCancel",
            why_not,
            hint="Sell the hours that you do not need on the market instead.",
        )
    fee, rent = rules.cancel_fee(contract), rules.rent_of_cancelled(contract)
    payee = revenue_key(contract.seller.organisation_id)
    payer = project_key(contract.buyer.project_id)
    _end_early(
        tx,
        contract,
        ContractState.CANCELLED,
        payer,
        payee,
        fee,
        EntryKind.CANCELLATION,
        rent=rent,
    )
    return fee + rent


def withdraw(tx: Tx, contract_id: str) -> int:
    """The seller gives up: pays the credit of every hour left; returns it, in micro-yuan."""
    contract = _locked(tx, contract_id)
    if contract.state is not ContractState.SIGNED:
        raise Conflict(
            "ContractEnded",
            f"The contract is {contract.state.value}.",
            hint="There is nothing left to withdraw from.",
        )
    end = rules.phase(contract, tx.now_ms)
    state = ContractState.CANCELLED if end is rules.Phase.UPCOMING else ContractState.TERMINATED
    payer = project_key(contract.seller.project_id)
    payee = project_key(contract.buyer.project_id)
    credit = rules.withdrawal_credit(contract)
    _end_early(tx, contract, state, payer, payee, credit, EntryKind.SLA_CREDIT)
    return credit


def _end(contract: Contract) -> int:
    return contract.period.end_hour


def _locked(tx: Tx, contract_id: str) -> Contract:
    found = store.by_id(tx.conn, contract_id, lock=True)
    if found is None:
        raise not_found("contract", contract_id)
    return found


def _end_early(
    tx: Tx,
    contract: Contract,
    state: ContractState,
    payer: AccountKey,
    payee: AccountKey,
    amount: int,
    kind: EntryKind,
    *,
    rent: int = 0,
) -> None:
    """Release what is held, pay what the leaving costs and rent that is owed all the same, free
    the capacity; all at once."""
    buyer, seller = (project_key(one.project_id) for one in (contract.buyer, contract.seller))
    keys = {buyer, seller, payer, payee} | ({RENT} if rent else set())
    accounts = ledger.ensure_accounts(tx, sorted(keys))
    holds: dict[str, int] = {}
    bought = contract.buyer_held + contract.rent_held
    for key, held in ((buyer, bought), (seller, contract.seller_held)):
        holds[accounts[key].id] = holds.get(accounts[key].id, 0) - held
    entries = []
    if amount and payer != payee:
        postings = ((accounts[payer].id, -amount), (accounts[payee].id, amount))
        text = f"Contract {contract.id} {state.value}"
        entries.append(EntryDraft(f"end:{contract.id}", kind, tx.now_ms, postings, text))
    if rent:
        text = f"rent:{contract.id}"
        entries.append(
            _rent(contract, text, tx.now_ms, accounts[buyer].id, accounts[RENT].id, rent)
        )
    ledger.post(tx, entries, holds=holds)
    give_back(tx, contract.backing_id or contract.pool_id, contract.period, contract.lots)
    nothing = {"buyer_held": 0, "seller_held": 0, "rent_held": 0}
    store.update(tx.conn, contract.id, **nothing, **_ended(tx, state))
