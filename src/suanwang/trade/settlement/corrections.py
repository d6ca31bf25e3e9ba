"""Entries undone by hand: by a red letter, with all that hangs on them; or not, where the entry
stands for a state that has a way back of its own."""

from __future__ import annotations

from collections.abc import Mapping

from suanwang.kernel.errors import Conflict
from suanwang.platform.database import Tx
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.model import Entry, EntryKind, PostResult
from suanwang.trade.policy import restoring
from suanwang.trade.settlement import dispute_store

OWN_WAYS: Mapping[EntryKind, str] = {
    EntryKind.PAYOUT: "Cancel the payout or enter it as failed: `suan payout`.",
    EntryKind.VOUCHER_ISSUE: "Audit the voucher and claw it back: `suan voucher`.",
    EntryKind.VOUCHER_RETURN: "What has expired or was taken back is granted anew.",
    EntryKind.PROGRAMME_PAYOUT: "Audit the voucher and claw it back: `suan voucher`.",
    EntryKind.CLAWBACK: "Adjust the project's balance, with the funder's consent.",
}
DISPUTE_KEY = "dispute:"


def reverse(tx: Tx, entry_id: str, *, reason: str) -> PostResult:
    """Undo an entry by its negative; what programmes paid of a charge goes back to them. A second
    call changes nothing.

    Raises Conflict: EntryHasItsOwnWay, PartGivenBack, ReversalOfReversal.
    """
    entry, _ = ledger.entry(tx.conn, entry_id)
    if ledger.reversal_of(tx.conn, entry_id) is None:
        _check(tx, entry)
    return undo(tx, entry, reason=reason)


def undo(tx: Tx, entry: Entry, *, reason: str) -> PostResult:
    """Whoever asks for it."""
    paid = restoring.paid_of(tx, [entry.key]).get(entry.key, [])
    booked = ledger.reverse(tx, entry.id, reason=reason)
    for red_letter in booked.posted.values():
        restoring.restore(tx, paid, red_letter)
    return booked


def _check(tx: Tx, entry: Entry) -> None:
    if entry.kind in OWN_WAYS or entry.key.startswith(DISPUTE_KEY):
        raise Conflict(
            "EntryHasItsOwnWay",
            f"{entry.id} ({entry.kind.value}) stands for something that would not know of it.",
            hint=OWN_WAYS.get(entry.kind, "What a dispute gave back stays; adjust the balance."),
        )
    # what is being decided now waits for us, or we for it
    tx.serialise(f"dispute-of:{entry.id}")
    given = dispute_store.credited_by_entry(tx.conn, [entry.id]).get(entry.id, 0)
    if given:
        raise Conflict(
            "PartGivenBack",
            f"A dispute has given back {given} micro-yuan of {entry.id} already.",
            hint="Adjust the project's balance by what is left.",
        )
