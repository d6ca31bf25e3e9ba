"""Use cases of payouts: a provider's revenue leaves the platform, and never more than is there.

A proposal takes the money out of the revenue account at once, so that nothing else can spend it;
the bank's confirmation takes it out of the books. What is cancelled or fails goes back by a red
letter.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.engine import Connection

from suanwang.kernel.errors import Conflict, InvalidInput, StaleWrite, require
from suanwang.platform.database import Tx
from suanwang.tenancy.rules import not_found
from suanwang.trade.billing import reports
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.model import (
    CASH,
    CNY,
    Account,
    AccountKind,
    EntryDraft,
    EntryKind,
    OwnerKind,
    payable_key,
)
from suanwang.trade.settlement import four_eyes, rules, store
from suanwang.trade.settlement.four_eyes import FourEyes
from suanwang.trade.settlement.model import Payout, PayoutLine, PayoutState

PAYABLE_CURRENCIES = (CNY,)
"""What a bank moves. Vouchers are settled with their programme, not with a bank."""
TWO_AT_LEAST = FourEyes(None, 2)


def propose(
    tx: Tx,
    *,
    by: str,
    organisation_ids: Sequence[str] | None = None,
    minimum: int = 0,
    currency: str = CNY,
) -> list[Payout]:
    """A payout run: one payout for each organisation that has at least `minimum` to be paid.

    What came in after the last closed day is left for the next run.
    """
    if currency not in PAYABLE_CURRENCIES:
        raise InvalidInput(
            "CurrencyNotPayable",
            f"{currency} is no money: no bank moves it.",
            hint="Settle it with its programme.",
            field="currency",
        )
    close = store.last_close(tx.conn)
    if close is None:
        raise Conflict(
            "NothingClosed",
            "No day has been closed yet, and only closed days are paid out.",
            hint="Close a day first: `suan close run`.",
        )
    run_id = tx.ids.new("run")
    made = []
    for account in ledger.accounts_of_kind(tx.conn, AccountKind.REVENUE, currency):
        owner = account.key
        wanted = organisation_ids is None or owner.owner_id in organisation_ids
        if wanted and owner.owner_kind is OwnerKind.ORGANISATION:
            payout = _propose(tx, account, run_id, close.until_ms, minimum, by)
            made += [payout] if payout else []
    return made


def _propose(
    tx: Tx, account: Account, run_id: str, until_ms: int, minimum: int, by: str
) -> Payout | None:
    key = account.key
    recent = ledger.income_since(tx.conn, account.id, until_ms)
    amount = rules.payable_now(account.balance_micro_yuan, account.held_micro_yuan, recent, minimum)
    if not amount or ledger.hold_within_funds(tx, {account.id: amount}):
        return None
    # the row is ours now: what another took since we read the balance shows here
    now = ledger.find_accounts(tx.conn, [key])[key]
    if now.balance_micro_yuan < now.held_micro_yuan:
        raise StaleWrite(
            "RevenueMoved", "The revenue has just been moved by another.", hint="Try again."
        )
    payout_id = tx.ids.new("pay")
    payable = ledger.ensure_account(tx, payable_key(key.owner_id, key.currency))
    draft = EntryDraft(
        f"payout:{payout_id}",
        EntryKind.PAYOUT,
        tx.now_ms,
        ((account.id, -amount), (payable, amount)),
        f"payout {payout_id}",
    )
    posted = ledger.post(tx, [draft], holds={account.id: -amount}).posted
    from_ms = store.told_until(tx.conn, key.owner_id, key.currency)
    payout = Payout(
        payout_id,
        run_id,
        key.owner_id,
        key.currency,
        amount,
        from_ms,
        until_ms,
        PayoutState.PROPOSED,
        tx.now_ms,
        by,
        "",
        None,
        "",
        posted[draft.key],
    )
    store.insert_payout(tx, payout, _lines(tx.conn, account, payout))
    return payout


def _lines(conn: Connection, account: Account, payout: Payout) -> list[PayoutLine]:
    """Earned by pool, then other entries by kind, then what is left of earlier days: all sum to
    the amount."""
    from_ms, until_ms = payout.from_ms, payout.until_ms
    lines = [
        PayoutLine("earned", line.key, line.amount_micro_yuan)
        for line in reports.earned_by_pool(conn, payout.organisation_id, from_ms, until_ms)
        if line.amount_micro_yuan
    ]
    _, within, _ = ledger.period(conn, account, from_ms, until_ms)
    earned = sum(line.amount_micro_yuan for line in lines)
    within[EntryKind.CHARGE] = within.get(EntryKind.CHARGE, 0) - earned
    lines += [PayoutLine(kind.value, "", within[kind]) for kind in sorted(within) if within[kind]]
    rest = payout.amount_micro_yuan - sum(line.amount_micro_yuan for line in lines)
    return [*lines, PayoutLine("brought_forward", "", rest)] if rest else lines


def approve(tx: Tx, payout_id: str, *, by: str) -> Payout:
    return _move(tx, payout_id, PayoutState.APPROVED, approved_by=by)


def confirm(
    tx: Tx, payout_id: str, *, bank_reference: str, by: str, rule: FourEyes = TWO_AT_LEAST
) -> Payout:
    """The bank has moved the money; who releases it proposed and approved nothing of it."""
    payout = find(tx.conn, payout_id)
    if payout.state is PayoutState.PAID and payout.bank_reference == bank_reference:
        return payout
    rules.check_move(rules.PAYOUT_MOVES, "payout", payout_id, payout.state, PayoutState.PAID)
    four_eyes.check(payout, by, rule)
    released = {"bank_reference": bank_reference, "released_by": by}
    moved = _move(tx, payout_id, PayoutState.PAID, **released)
    payable = payable_key(payout.organisation_id, payout.currency)
    found = ledger.ensure_accounts(tx, [payable, CASH])
    amount = payout.amount_micro_yuan
    ledger.post(
        tx,
        [
            EntryDraft(
                f"payout.paid:{payout_id}",
                EntryKind.PAYOUT,
                tx.now_ms,
                ((found[payable].id, -amount), (found[CASH].id, amount)),
                bank_reference,
            )
        ],
    )
    return moved


def fail(tx: Tx, payout_id: str, *, why: str) -> Payout:
    """The bank did not move it, or sent it back: it is the provider's revenue again."""
    before = find(tx.conn, payout_id)
    moved = _move(tx, payout_id, PayoutState.FAILED, bank_reference=why)
    if before.state is PayoutState.PAID:
        _undo(tx, f"payout.paid:{payout_id}", why)
    _undo(tx, f"payout:{payout_id}", why)
    return moved


def cancel(tx: Tx, payout_id: str, *, why: str) -> Payout:
    """Before it went to the bank."""
    moved = _move(tx, payout_id, PayoutState.CANCELLED, bank_reference=why)
    _undo(tx, f"payout:{payout_id}", why)
    return moved


def _undo(tx: Tx, key: str, why: str) -> None:
    entry_id = ledger.entry_of_key(tx.conn, key)
    require(entry_id is not None, "PayoutUnbooked", f"No entry is booked as {key}.")
    ledger.reverse(tx, entry_id or "", reason=why)


def _move(tx: Tx, payout_id: str, to: PayoutState, **changes: str) -> Payout:
    before = find(tx.conn, payout_id)
    rules.check_move(rules.PAYOUT_MOVES, "payout", payout_id, before.state, to)
    ended = {} if to is PayoutState.APPROVED else {"ended_at_ms": tx.now_ms}
    if not store.move_payout(tx.conn, before, {"state": to.value, **changes, **ended}):
        raise StaleWrite("PayoutMoved", "Somebody has just moved this payout.", hint="Try again.")
    return find(tx.conn, payout_id)


def find(conn: Connection, payout_id: str) -> Payout:
    """Raises NotFound."""
    found = store.find_payout(conn, payout_id)
    if found is None:
        raise not_found("payout", payout_id)
    return found


def lines(conn: Connection, payout_id: str) -> list[PayoutLine]:
    return store.lines_of_payout(conn, payout_id)


def payouts(
    conn: Connection,
    *,
    organisation_id: str | None = None,
    state: PayoutState | None = None,
    before: str | None = None,
    limit: int = 50,
) -> list[Payout]:
    """The latest first, of all organisations or of one."""
    return store.page_of_payouts(conn, organisation_id, state, before, limit)
