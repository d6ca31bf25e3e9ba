"""What a dispute gives back: to the payer of an entry, or of the entries that a contract's hours
are, by those who got the money, with the same share of what programmes paid.

Of an entry no more is ever given back than was paid for it, whichever way it is disputed: as
itself, or as one of a contract's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from suanwang.kernel.errors import Conflict
from suanwang.kernel.money import allot
from suanwang.platform.database import Tx
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.model import CNY, Account, Entry, EntryDraft, EntryKind, project_key
from suanwang.trade.policy import restoring
from suanwang.trade.settlement import corrections, dispute_store, rules
from suanwang.trade.settlement.model import Credit, Dispute, SubjectKind


@dataclass(frozen=True, slots=True)
class Standing:
    """An entry that took money of a project and is not reversed."""

    entry: Entry
    accounts: dict[str, Account]
    payer_id: str
    paid: int
    credited: int
    """Given back by disputes before."""

    @property
    def left(self) -> int:
        return self.paid - self.credited


def standing(
    conn: Connection, entry_ids: Sequence[str], project_id: str, currency: str = CNY
) -> list[Standing]:
    """Those of the entries that stand and that the project paid, in order of id."""
    payer = project_key(project_id, currency)
    entries, accounts = ledger.entries(conn, entry_ids)
    payer_id = next((one.id for one in accounts.values() if one.key == payer), None)
    if payer_id is None:
        return []
    reversed_ = ledger.reversed_of(conn, entry_ids)
    credited = dispute_store.credited_by_entry(conn, entry_ids)
    return [
        Standing(one, accounts, payer_id, -amount, credited.get(one.id, 0))
        for one in sorted(entries, key=lambda it: it.id)
        if (amount := dict(one.postings).get(payer_id, 0)) < 0 and one.id not in reversed_
    ]


def give_back(
    tx: Tx, dispute: Dispute, entry_ids: Sequence[str], awarded: int
) -> tuple[str, list[Credit]]:
    """(entry that gave it back, what of which entry was given back beside it).

    An entry whose whole price is awarded is reversed instead. Raises Conflict where less is left
    than was awarded.
    """
    for identity in sorted(entry_ids):
        tx.serialise(f"dispute-of:{identity}")
    found = standing(tx.conn, entry_ids, dispute.project_id, dispute.currency)
    left = sum(one.left for one in found)
    if awarded > left:
        raise Conflict(
            "EntryReversed" if not left else "GivenBackMeanwhile",
            f"Of what is disputed {left} micro-yuan are left: the rest has been given back.",
            hint="Award what is left, or reject the dispute.",
            field="amount",
        )
    why = f"dispute {dispute.id}"
    if dispute.subject_kind is SubjectKind.ENTRY and awarded == found[0].paid:
        booked = corrections.undo(tx, found[0].entry, reason=why)
        return next(iter({**booked.repeated, **booked.posted}.values())), []
    parts = allot(awarded, [one.left for one in found])
    credits = [
        Credit(one.entry.id, one.entry.at_ms, part)
        for one, part in zip(found, parts, strict=True)
        if part
    ]
    of_programmes = _of_programmes(tx, found, parts)
    sums: dict[str, int] = {}
    for one, part in zip(found, parts, strict=True):
        shared = sum(it.amount_micro_yuan for it in of_programmes.get(one.entry.id, ()))
        _take_back(sums, one, part, part + shared)
    every = restoring.merged([it for some in of_programmes.values() for it in some])
    theirs = ledger.ensure_accounts(tx, [key for one in every for key, _ in one.postings])
    for paid in every:
        for key, amount in paid.postings:
            sums[theirs[key].id] = sums.get(theirs[key].id, 0) + amount
    entry_key = f"{corrections.DISPUTE_KEY}{dispute.id}"
    postings = tuple((account, amount) for account, amount in sums.items() if amount)
    draft = EntryDraft(entry_key, EntryKind.TRANSFER, tx.now_ms, postings, why)
    entry_id = ledger.post(tx, [draft]).posted[entry_key]
    restoring.restore(tx, every, entry_id)
    return entry_id, credits


def _of_programmes(
    tx: Tx, found: Sequence[Standing], parts: Sequence[int]
) -> dict[str, list[restoring.Undone]]:
    """Entry → the share of what programmes paid of it that goes back with the payer's part."""
    paid = restoring.paid_of(tx, [one.entry.key for one in found])
    return {
        one.entry.id: restoring.shares(paid.get(one.entry.key, ()), part, one.paid)
        for one, part in zip(found, parts, strict=True)
        if part
    }


def _take_back(sums: dict[str, int], one: Standing, awarded: int, total: int) -> None:
    """The payer gets his part; those who got the money give that and the programmes' share."""
    if not total:
        return
    currency = one.accounts[one.payer_id].key.currency
    got = [it for it in one.entry.postings if one.accounts[it[0]].key.currency == currency]
    others = [account for account, _ in got if account != one.payer_id]
    sums[one.payer_id] = sums.get(one.payer_id, 0) + awarded
    for account, part in zip(
        others, rules.shares_given_back(total, got, one.payer_id), strict=True
    ):
        sums[account] = sums.get(account, 0) - part
