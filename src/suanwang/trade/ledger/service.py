"""Use cases of the ledger. Plain functions of a transaction (writes) or a connection (reads)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy.engine import Connection

from suanwang.kernel.errors import Conflict, InvalidInput, NotFound, require
from suanwang.kernel.money import MAX_AMOUNT
from suanwang.platform.database import Tx
from suanwang.trade.ledger import close_store, rules, store
from suanwang.trade.ledger.model import (
    CASH,
    FEES,
    Account,
    AccountKey,
    AccountKind,
    AccountLine,
    Discrepancy,
    Entry,
    EntryDraft,
    EntryKind,
    Leaf,
    OwnerKind,
    PostResult,
    TrialLine,
    project_key,
)


def ensure_accounts(tx: Tx, keys: Sequence[AccountKey]) -> dict[AccountKey, Account]:
    """The accounts of these keys, opened now where there were none. One query if all exist."""
    wanted = sorted(set(keys))
    found = store.find_accounts(tx.conn, wanted)
    missing = [key for key in wanted if key not in found]
    if missing:
        store.insert_accounts(tx, missing)
        found.update(store.find_accounts(tx.conn, missing))
    return {key: found[key] for key in wanted}


def ensure_account(tx: Tx, key: AccountKey) -> str:
    return ensure_accounts(tx, [key])[key].id


def project_accounts(tx: Tx, project_ids: Sequence[str]) -> dict[str, str]:
    """Project id → id of its prepaid account, opened where there was none."""
    found = ensure_accounts(tx, [project_key(project_id) for project_id in project_ids])
    return {key.owner_id: account.id for key, account in found.items()}


def post(
    tx: Tx, drafts: Sequence[EntryDraft], *, holds: Mapping[str, int] | None = None
) -> PostResult:
    """Book entries, each key once, and move balances (and holds) in the same pass.

    A draft whose key is booked already is not posted again; if it says something else than the
    booked one, that is a Conflict and nothing is posted. `holds` (account id → change) is applied
    whatever the keys say: who calls knows that its event is new.
    """
    first: dict[str, EntryDraft] = {}
    again: list[EntryDraft] = []
    for draft in drafts:
        if draft.key in first:
            again.append(draft)
        else:
            first[draft.key] = draft
    open_ms = open_from_ms(tx) if first else 0
    ordered = [rules.in_open_days(first[key], open_ms) for key in sorted(first)]
    moved = rules.deltas(ordered)
    currencies = store.currencies(tx.conn, sorted(moved))
    for draft in ordered:
        rules.check_balanced(draft, currencies)
    posted = store.insert_entries(tx, ordered) if ordered else {}
    fresh = ordered
    if len(posted) < len(ordered):
        fresh = [draft for draft in ordered if draft.key in posted]
        again += [draft for draft in ordered if draft.key not in posted]
        moved = rules.deltas(fresh)
    if fresh:
        store.insert_postings(tx.conn, fresh, posted)
    _move(tx, moved, holds or {})
    return PostResult(posted, _repeated(tx, again) if again else {})


def open_from_ms(tx: Tx) -> int:
    """The first instant that may still be booked in; it stays so until this transaction ends."""
    tx.share(close_store.BOOKS_LOCK)
    return close_store.open_from_ms(tx.conn)


def opens_at_ms(conn: Connection) -> int:
    """The same for readers, as it was when they looked."""
    return close_store.open_from_ms(conn)


def shut_before(tx: Tx, at_ms: int) -> None:
    """From now on nothing is booked before an instant. Waits for those who are just booking."""
    tx.serialise(close_store.BOOKS_LOCK)
    close_store.shut_before(tx.conn, at_ms)


def _repeated(tx: Tx, drafts: Sequence[EntryDraft]) -> dict[str, str]:
    booked = {
        entry.key: entry
        for entry in store.entries_by(tx.conn, "key", sorted({draft.key for draft in drafts}))
    }
    for draft in drafts:
        entry = booked.get(draft.key)
        if entry is None or not rules.same_event(draft, entry):
            raise Conflict(
                "KeyReused",
                f"The key {draft.key} has been used for another entry.",
                hint="Give each payment a key of its own; repeat a key only to try again.",
            )
    return {key: entry.id for key, entry in booked.items()}


def _move(tx: Tx, balance: Mapping[str, int], held: Mapping[str, int]) -> None:
    if not store.move(tx.conn, balance, held):
        releases = {account: delta for account, delta in sorted(held.items()) if delta < 0}
        require(False, "HoldBelowZero", f"More would be released than is held: {releases}.")


def hold(tx: Tx, deltas: Mapping[str, int]) -> None:
    """Set money aside (positive) or release it (negative), by account id.

    Whether it is there has been decided before, by the round that read `funds`; to have the
    database decide, use `hold_within_funds`.
    """
    _move(tx, {}, deltas)


def hold_within_funds(tx: Tx, amounts: Mapping[str, int]) -> tuple[str, ...]:
    """Set money aside only where it is available; the account ids for which it was not."""
    return tuple(
        account_id
        for account_id in sorted(amounts)
        if not store.hold_within_funds(tx.conn, account_id, amounts[account_id])
    )


def release(tx: Tx, amounts: Mapping[str, int]) -> None:
    """Give back what was held (positive amounts), by account id."""
    _move(tx, {}, {account_id: -amount for account_id, amount in amounts.items()})


def find_accounts(conn: Connection, keys: Sequence[AccountKey]) -> dict[AccountKey, Account]:
    """The accounts that exist of those asked for."""
    return store.find_accounts(conn, keys)


def accounts_of(conn: Connection, owner_kind: OwnerKind, owner_id: str) -> list[Account]:
    """All accounts of an owner, of every kind and currency."""
    return store.accounts_of(conn, owner_kind, owner_id)


def accounts_of_kind(conn: Connection, kind: AccountKind, currency: str) -> list[Account]:
    """Every owner's account of a kind in one currency, in order of owner."""
    return store.accounts_of_kind(conn, kind, currency)


def entry(conn: Connection, entry_id: str) -> tuple[Entry, list[Account]]:
    """An entry and the accounts that it touched. Raises NotFound."""
    found = store.entries_by(conn, "id", [entry_id])
    if not found:
        raise NotFound("NoSuchEntry", f"There is no entry {entry_id}.", hint="Check the id.")
    return found[0], store.accounts_by_id(conn, [one for one, _ in found[0].postings])


def entry_of_key(conn: Connection, key: str) -> str | None:
    """The entry that books an event."""
    found = store.entries_by(conn, "key", [key])
    return found[0].id if found else None


def entries(conn: Connection, entry_ids: Sequence[str]) -> tuple[list[Entry], dict[str, Account]]:
    """Those that exist, and the accounts that they touched, by id."""
    found = store.entries_by(conn, "id", entry_ids)
    ids = sorted({account for one in found for account, _ in one.postings})
    return found, {one.id: one for one in store.accounts_by_id(conn, ids)}


def entries_of_keys(conn: Connection, keys: Sequence[str]) -> list[str]:
    """Ids of the entries that book these events, in order of id."""
    return sorted(one.id for one in store.entries_by(conn, "key", keys))


def reversed_of(conn: Connection, entry_ids: Sequence[str]) -> set[str]:
    """Those of the entries that have been undone."""
    found = store.entries_by(conn, "reversal_of", entry_ids)
    return {one.reversal_of for one in found if one.reversal_of is not None}


def reversal_of(conn: Connection, entry_id: str) -> str | None:
    """The entry that undid it."""
    found = store.entries_by(conn, "reversal_of", [entry_id])
    return found[0].id if found else None


def project_account(conn: Connection, project_id: str) -> Account | None:
    key = project_key(project_id)
    return store.find_accounts(conn, [key]).get(key)


def funds(conn: Connection, project_ids: Sequence[str]) -> dict[str, int]:
    """Project id → balance + credit limit − holds. A project without an account has nothing."""
    keys = {project_id: project_key(project_id) for project_id in project_ids}
    found = store.find_accounts(conn, list(keys.values()))
    return {
        project_id: found[key].available_micro_yuan if key in found else 0
        for project_id, key in keys.items()
    }


def top_up(tx: Tx, project_id: str, amount: int, *, key: str, description: str = "") -> PostResult:
    """Money from outside for a project. The payer's `key` makes a second try harmless."""
    if not 0 < amount <= MAX_AMOUNT:
        raise InvalidInput(
            "InvalidAmount",
            "A top-up must be more than nothing.",
            hint="Give a positive amount.",
            field="amount",
        )
    key = f"top_up:{project_id}:{key}"
    return _give(tx, project_id, amount, CASH, EntryKind.TOP_UP, key, description)


def _give(
    tx: Tx,
    project_id: str,
    amount: int,
    other: AccountKey,
    kind: EntryKind,
    key: str,
    description: str,
) -> PostResult:
    """An entry between a project and one other account; a negative amount takes."""
    wanted = project_key(project_id)
    found = ensure_accounts(tx, [wanted, other])
    draft = EntryDraft(
        key=key,
        kind=kind,
        at_ms=tx.now_ms,
        postings=((found[wanted].id, amount), (found[other].id, -amount)),
        description=description,
    )
    return post(tx, [draft])


def set_credit_limit(tx: Tx, project_id: str, limit: int) -> None:
    """How far below zero the project may go, in micro-yuan."""
    if not 0 <= limit <= MAX_AMOUNT:
        raise InvalidInput(
            "InvalidCreditLimit",
            "A credit limit cannot be negative.",
            hint="Give zero or a positive amount.",
            field="credit_limit",
        )
    store.update_credit_limit(tx.conn, ensure_account(tx, project_key(project_id)), limit)


def reverse(tx: Tx, entry_id: str, *, reason: str) -> PostResult:
    """Undo an entry by a red-letter one. A second call changes nothing."""
    found = store.entries_by(tx.conn, "id", [entry_id])
    if not found:
        raise NotFound("NoSuchEntry", f"There is no entry {entry_id}.", hint="Check the id.")
    if found[0].kind is EntryKind.REVERSAL:
        raise Conflict(
            "ReversalOfReversal",
            f"{entry_id} is a reversal itself.",
            hint="Post what was reversed anew instead.",
        )
    key = f"reverse:{entry_id}"
    draft = rules.red_letter(found[0], now_ms=tx.now_ms, key=key, description=reason)
    return post(tx, [draft])


def adjust(tx: Tx, project_id: str, amount: int, *, key: str, description: str) -> PostResult:
    """Give a project money that the platform bears (positive), or take some (negative)."""
    if not amount or abs(amount) > MAX_AMOUNT:
        raise InvalidInput(
            "InvalidAmount",
            "An adjustment must be more or less than nothing.",
            hint="Give a positive amount for the project, a negative one against it.",
            field="amount",
        )
    key = f"adjust:{project_id}:{key}"
    return _give(tx, project_id, amount, FEES, EntryKind.TRANSFER, key, description)


def booked(conn: Connection, key: str) -> str | None:
    """The id of the entry of a key, if it has been booked."""
    found = store.entries_by(conn, "key", [key])
    return found[0].id if found else None


def owners_of(conn: Connection, entry_id: str) -> list[AccountKey]:
    """Whose accounts an entry touched."""
    found = store.entries_by(conn, "id", [entry_id])
    ids = [account_id for entry in found for account_id, _ in entry.postings]
    return [account.key for account in store.accounts_by_id(conn, ids)]


def period(
    conn: Connection, account: Account, from_ms: int, until_ms: int
) -> tuple[int, dict[EntryKind, int], int]:
    """Balance at the beginning, postings by kind in between, balance at the end."""
    later = sum(store.sums_by_kind(conn, account.id, until_ms, None).values())
    within = store.sums_by_kind(conn, account.id, from_ms, until_ms)
    closing = account.balance_micro_yuan - later
    return closing - sum(within.values()), within, closing


def totals(conn: Connection, kind: EntryKind, account_kind: AccountKind) -> dict[AccountKey, int]:
    """All that entries of one kind ever posted to accounts of one kind; for auditors."""
    return store.totals(conn, kind, account_kind)


def account_lines(
    conn: Connection,
    account_id: str,
    from_ms: int,
    until_ms: int,
    *,
    without: Sequence[EntryKind] = (),
    after: tuple[int, str] | None = None,
    limit: int = 200,
) -> list[AccountLine]:
    """Postings of an account in order of their instants, but for some kinds; `after` is the
    instant and entry of the last line that the caller has."""
    return store.lines(
        conn, account_id, from_ms, until_ms, without=without, after=after, limit=limit
    )


def trial_balance(conn: Connection) -> list[TrialLine]:
    """Balances by currency and kind of account; each currency sums to zero."""
    return store.trial(conn)


def verify(conn: Connection) -> list[Discrepancy]:
    """Recompute every balance from the postings and every entry's sum; empty when all is well."""
    return [*store.wrong_balances(conn), *store.unbalanced_entries(conn)]


def first_posting_ms(conn: Connection) -> int | None:
    """The earliest value instant on the books; None while nothing is booked."""
    return close_store.first_posting_ms(conn)


def leaves(conn: Connection, from_ms: int, until_ms: int) -> Iterator[Leaf]:
    """What counts in [from, until), by account and hour, each with its digest."""
    return close_store.leaves(conn, from_ms, until_ms)


def standing(
    conn: Connection, account_id: str, kind: EntryKind, from_ms: int, until_ms: int
) -> int:
    """Sum of an account's postings of a kind in the span, without those reversed since."""
    return close_store.standing(conn, account_id, kind, from_ms, until_ms)


def undone_keys(
    conn: Connection, account_id: str, kind: EntryKind, from_ms: int, until_ms: int
) -> list[str]:
    """Keys of an account's entries of a kind in the span that have been reversed since."""
    return close_store.undone_keys(conn, account_id, kind, from_ms, until_ms)


def keys_of(conn: Connection, entry_ids: Sequence[str]) -> dict[str, str]:
    """Entry → the key of the event that it books."""
    return {one.id: one.key for one in store.entries_by(conn, "id", entry_ids)}


def income_since(conn: Connection, account_id: str, from_ms: int) -> int:
    """Sum of what an account was given from an instant on, whatever it gave or got back."""
    return close_store.income_since(conn, account_id, from_ms)
