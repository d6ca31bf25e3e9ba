"""Use cases of billing. Plain functions of a transaction (writes) or a connection (reads)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import msgspec
from sqlalchemy.engine import Connection

from suanwang.kernel.errors import InvalidInput, StaleWrite
from suanwang.kernel.money import MAX_AMOUNT, allot
from suanwang.platform.database import Tx
from suanwang.platform.outbox import Outbox
from suanwang.trade.billing import rules, store
from suanwang.trade.billing.model import (
    Arrears,
    Charge,
    HourlyPrices,
    PriceList,
    Run,
    Trouble,
    UsageRecord,
    UsageRecorded,
    UsageTrouble,
)
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.model import (
    FEES,
    AccountKey,
    EntryDraft,
    EntryKind,
    project_key,
    revenue_key,
)

CHARGE_SUBSCRIBER = "billing.charge"


def publish_prices(tx: Tx, pool_id: str, prices: HourlyPrices) -> str:
    """The id of the pool's current price list, a new version only if the prices differ."""
    for name in ("core_hour", "memory_gib_hour", "accelerator_hour"):
        if not 0 <= getattr(prices, name) <= MAX_AMOUNT:
            raise InvalidInput(
                "InvalidPrice",
                "A price cannot be negative.",
                hint="Give micro-yuan per hour, zero or more.",
                field=name,
            )
    current = store.current_prices(tx.conn, [pool_id]).get(pool_id)
    if current is not None and _terms(current) == _terms(prices):
        return current.id
    version = current.version + 1 if current is not None else 1
    new_id = store.insert_price_list(tx, pool_id, version, prices)
    if new_id is None:
        raise StaleWrite(
            "PricesChanged", "Prices of this pool have just been published.", hint="Try again."
        )
    return new_id


def _terms(prices: HourlyPrices) -> tuple[int, int, int]:
    return prices.core_hour, prices.memory_gib_hour, prices.accelerator_hour


def prices(conn: Connection, ids: Sequence[str]) -> dict[str, PriceList]:
    """Price lists by id, old versions too."""
    return store.prices(conn, sorted(set(ids)))


def current_prices(conn: Connection, pool_ids: Sequence[str]) -> dict[str, PriceList]:
    """The latest price list of each pool that has one, by pool id."""
    return store.current_prices(conn, sorted(set(pool_ids)))


def page_of_prices(
    conn: Connection,
    *,
    after: str | None = None,
    pool_ids: Sequence[str] | None = None,
    limit: int = 100,
) -> list[PriceList]:
    """Current price lists in order of pool id: of all pools, or of those named."""
    found = store.pools_with_prices(conn, after, pool_ids, limit)
    lists = store.current_prices(conn, found)
    return [lists[pool_id] for pool_id in found]


def price_history(
    conn: Connection, pool_id: str, *, before: int | None = None, limit: int = 100
) -> list[PriceList]:
    """Price lists of a pool, the latest first; those before a version, if one is given."""
    return store.price_history(conn, pool_id, before, limit)


def record_usage(tx: Tx, outbox: Outbox, records: Sequence[UsageRecord]) -> list[UsageRecord]:
    """Accept usage, each (source, id) once and nothing after a lease's final record.

    Emits `UsageRecorded` for what was new, and returns that.
    """
    unique: dict[tuple[str, str], UsageRecord] = {}
    parts: dict[tuple[str, int], int] = {}
    for record in records:
        rules.check_record(record)
        if unique.setdefault((record.source, record.id), record) is record:
            lease = (record.lease_id, record.epoch)
            parts[lease] = parts.get(lease, 0) + (1 if record.final else 2)
    # a lone final record is kept from coming twice by the table; others need a look
    ongoing = sorted({lease_id for (lease_id, _), count in parts.items() if count > 1})
    if ongoing:
        ended = store.ended_leases(tx.conn, ongoing)
        unique = {
            key: record
            for key, record in unique.items()
            if (record.lease_id, record.epoch) not in ended
        }
    if not unique:
        return []
    ordered = [unique[key] for key in sorted(unique)]
    inserted = store.insert_usage(tx.conn, ordered)
    new = [record for record in ordered if (record.source, record.id) in inserted]
    outbox.emit(tx, [UsageRecorded(record) for record in new])
    return new


def record_hours(
    tx: Tx, outbox: Outbox, ongoing: Sequence[tuple[Run, Sequence[UsageRecord]]]
) -> dict[str, int]:
    """Accept hours of runs that go on; lease → what they give back of its hold.

    An hour gives back what it will be charged, so that what a project can spend is the same
    before and after.
    """
    lists = store.prices(tx.conn, sorted({run.price_list_id for run, _ in ongoing}))
    records = []
    for run, hours in ongoing:
        left, price_list = run.held_micro_yuan, lists.get(run.price_list_id)
        for hour in hours:
            cost = rules.amount_of(hour, price_list) if price_list is not None else 0
            part = min(left, cost)
            left -= part
            records.append(msgspec.structs.replace(hour, hold_release_micro_yuan=part))
    released: dict[str, int] = {}
    for record in record_usage(tx, outbox, records):
        given = released.get(record.lease_id, 0)
        released[record.lease_id] = given + record.hold_release_micro_yuan
    return released


Charged = Callable[[Sequence[Charge], Sequence[UsageRecord]], None]


def subscribe(outbox: Outbox, *, fee_percent: int = 0, on_charged: Charged | None = None) -> None:
    """Have usage charged as it is recorded. Called once, in bootstrap.

    `on_charged` is told of new charges, and the records of their batch, once they are booked.
    """
    action = partial(charge, fee_percent=fee_percent, on_charged=on_charged)
    outbox.subscribe(CHARGE_SUBSCRIBER, UsageRecorded, action)


def charge(
    tx: Tx,
    facts: Sequence[UsageRecorded],
    *,
    fee_percent: int = 0,
    on_charged: Charged | None = None,
) -> None:
    """Subscriber: price usage and book it, once however often a fact comes."""
    records = [fact.record for fact in facts]
    new = charge_records(tx, records, fee_percent=fee_percent)
    if new and on_charged is not None:
        tx.after_commit(partial(on_charged, new, records))


def charge_records(tx: Tx, records: Sequence[UsageRecord], *, fee_percent: int = 0) -> list[Charge]:
    """The charges that were new. A record that cannot be priced is noted and stops no other."""
    unique = {(record.source, record.id): record for record in records}
    lists = store.prices(tx.conn, sorted({record.price_list_id for record in unique.values()}))
    open_ms = ledger.open_from_ms(tx)
    drafts = []
    troubles = []
    for key in sorted(unique):
        record = unique[key]
        price_list = lists.get(record.price_list_id)
        if price_list is None:
            troubles.append(UsageTrouble(*key, Trouble.UNKNOWN_PRICE_LIST, tx.now_ms))
        else:
            drafts.append(_draft(record, price_list, fee_percent, tx.now_ms, open_ms))
    new: list[Charge] = []
    if drafts:
        inserted = store.insert_charges(tx.conn, drafts)
        new = [draft for draft in drafts if (draft.source, draft.usage_id) in inserted]
    if new:
        troubles += _book(tx, new, unique)
    if troubles:
        store.insert_troubles(tx.conn, troubles)
    return new


def _draft(
    record: UsageRecord, prices: PriceList, fee_percent: int, now_ms: int, open_ms: int
) -> Charge:
    amount = rules.amount_of(record, prices)
    fee = allot(amount, (fee_percent, 100 - fee_percent))[0] if fee_percent else 0
    return Charge(
        record.source,
        record.id,
        record.project_id,
        record.provider_organisation_id,
        rules.booking_ms(record.start_ms, now_ms, open_ms),
        amount,
        fee,
    )


def _book(
    tx: Tx, new: Sequence[Charge], records: dict[tuple[str, str], UsageRecord]
) -> list[UsageTrouble]:
    """Entries for what costs something, and the holds that end; both in one pass over accounts."""
    payers = {one.project_id: project_key(one.project_id) for one in new}
    earners = {
        one.provider_organisation_id: revenue_key(one.provider_organisation_id) for one in new
    }
    keys: list[AccountKey] = [*payers.values(), *earners.values()]
    if any(one.fee_micro_yuan for one in new):
        keys.append(FEES)
    accounts = ledger.ensure_accounts(tx, keys)
    payer_ids = {project: accounts[key].id for project, key in payers.items()}
    earner_ids = {organisation: accounts[key].id for organisation, key in earners.items()}
    left = {accounts[key].id: accounts[key].held_micro_yuan for key in payers.values()}
    holds: dict[str, int] = {}
    entries = []
    troubles = []
    for one in new:
        payer = payer_ids[one.project_id]
        amount, fee = one.amount_micro_yuan, one.fee_micro_yuan
        if amount:
            earner = earner_ids[one.provider_organisation_id]
            shares = ((payer, -amount), (earner, amount - fee))
            entries.append(
                EntryDraft(
                    f"charge:{one.source}/{one.usage_id}",
                    EntryKind.CHARGE,
                    one.at_ms,
                    (*shares, (accounts[FEES].id, fee)) if fee else shares,
                )
            )
        wanted = records[one.source, one.usage_id].hold_release_micro_yuan
        released = min(wanted, left[payer])
        left[payer] -= released
        holds[payer] = holds.get(payer, 0) - released
        if released < wanted:
            troubles.append(
                UsageTrouble(one.source, one.usage_id, Trouble.HOLD_TOO_SMALL, tx.now_ms)
            )
    ledger.post(tx, entries, holds=holds)
    return troubles


def uncharged(
    conn: Connection, from_ms: int, until_ms: int, *, limit: int = 1_000
) -> list[UsageRecord]:
    """Usage that started in [from, until) and has no charge: facts on their way, lost or unpriced.

    Reads every record of the span, so it is for an auditor, not for a request.
    """
    return store.uncharged(conn, from_ms, until_ms, limit)


def charge_missing(
    tx: Tx, from_ms: int, until_ms: int, *, fee_percent: int = 0, limit: int = 1_000
) -> list[Charge]:
    """Charge what `uncharged` finds: the way back from a lost fact or a price list found again."""
    records = store.uncharged(tx.conn, from_ms, until_ms, limit)
    return charge_records(tx, records, fee_percent=fee_percent)


def note_troubles(tx: Tx, found: Sequence[UsageTrouble]) -> None:
    """Keep these for the operator; noting one twice is noting it once."""
    if found:
        store.insert_troubles(tx.conn, found)


def troubles(conn: Connection, *, limit: int = 200) -> list[UsageTrouble]:
    """Usage that could not be settled as it should, the oldest first."""
    return store.find_troubles(conn, limit)


def arrears(conn: Connection, project_ids: Sequence[str]) -> dict[str, Arrears]:
    """Those of the projects that have less than nothing left (credit counted, holds deducted)."""
    return {
        project_id: Arrears(project_id, -available)
        for project_id, available in ledger.funds(conn, project_ids).items()
        if available < 0
    }
