"""What programmes paid of a charge that is undone goes back: to the voucher, if it still lives, and
else to the budget and to what its holder may be granted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from suanwang.kernel.errors import StaleWrite
from suanwang.platform.database import Tx
from suanwang.trade.billing import reports
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.model import (
    AccountKey,
    EntryDraft,
    EntryKind,
    project_key,
    subsidy_key,
)
from suanwang.trade.policy import grant_store, redemption, relief, service
from suanwang.trade.policy.life import Grant, GrantState
from suanwang.trade.policy.model import Mode, Programme

LIVES = (GrantState.ACTIVE, GrantState.SPENT)


@dataclass(frozen=True, slots=True)
class Undone:
    """What a grant paid of a charge, or the part of it that is undone."""

    grant: Grant
    document: Programme
    amount_micro_yuan: int

    @property
    def postings(self) -> tuple[tuple[AccountKey, int], ...]:
        """The negative of what the charge's entry had for it; in CNY they sum to the amount."""
        booked = redemption.postings(self.document, self.grant, self.amount_micro_yuan)
        return tuple((key, -part) for key, part in booked)


def paid_of(tx: Tx, charge_keys: Sequence[str]) -> dict[str, list[Undone]]:
    """Key of an entry that booked a charge → what grants paid of it. The grants are locked, in
    order of id."""
    paid = reports.reliefs_of_charges(tx.conn, charge_keys)
    ids = sorted({grant_id for by_grant in paid.values() for grant_id in by_grant})
    known = {grant_id: redemption.locked(tx, grant_id) for grant_id in ids}
    return {
        key: [Undone(*known[grant_id], amount) for grant_id, amount in sorted(by_grant.items())]
        for key, by_grant in paid.items()
    }


def merged(found: Sequence[Undone]) -> list[Undone]:
    """One for each grant, in order of id."""
    sums: dict[str, int] = {}
    of = {one.grant.id: one for one in found}
    for one in found:
        sums[one.grant.id] = sums.get(one.grant.id, 0) + one.amount_micro_yuan
    return [Undone(of[key].grant, of[key].document, sums[key]) for key in sorted(sums)]


def shares(found: Sequence[Undone], awarded: int, paid: int) -> list[Undone]:
    """Of a charge of which the buyer gets back so much of what he paid: never more than that
    share."""
    parts = [Undone(one.grant, one.document, one.amount_micro_yuan * awarded // paid)
             for one in found]  # fmt: skip
    return [one for one in parts if one.amount_micro_yuan]


def restore(tx: Tx, found: Sequence[Undone], entry_id: str) -> None:
    """After their postings were booked, with the entry that undid the charge."""
    for one in found:
        if one.grant.state in LIVES:
            _usable_again(tx, one)
        else:
            _to_the_budget(tx, one, entry_id)


def _usable_again(tx: Tx, one: Undone) -> None:
    grant, amount = one.grant, one.amount_micro_yuan
    _require(grant_store.restore(tx.conn, grant, amount, state=GrantState.ACTIVE))
    if grant.mode is Mode.INSTANT:
        _require(grant_store.draw(tx.conn, one.document.id, grant.year, -amount))


def _to_the_budget(tx: Tx, one: Undone, entry_id: str) -> None:
    grant, amount, document = one.grant, one.amount_micro_yuan, one.document
    back = min(amount, grant.reclaimed_micro_yuan)
    kept = grant_store.restore(tx.conn, grant, amount, state=grant.state, reclaimed=back)
    _require(kept and grant_store.draw(tx.conn, document.id, grant.year, -amount))
    redemption.give_allowance(tx, document, grant, amount)
    if grant.mode is Mode.VOUCHER:
        key = f"return:{grant.id}:{entry_id}"
        service.move_vouchers(
            tx, document, grant.project_id, -amount, key, EntryKind.VOUCHER_RETURN
        )
    if back:
        _reclaimed_back(tx, one, back, entry_id)


def _reclaimed_back(tx: Tx, one: Undone, back: int, entry_id: str) -> None:
    """The buyer had paid it back to the funders, who got it again now."""
    mine = project_key(one.grant.project_id)
    theirs = [
        (subsidy_key(one.document.id, funder), -part)
        for funder, part in relief.split(one.document, back)
    ]
    accounts = ledger.ensure_accounts(tx, [mine, *(key for key, _ in theirs)])
    postings = (
        (accounts[mine].id, back),
        *((accounts[key].id, part) for key, part in theirs),
    )
    key = f"clawback.back:{one.grant.id}:{entry_id}"
    text = f"{one.grant.id}: the charge is undone"
    ledger.post(tx, [EntryDraft(key, EntryKind.CLAWBACK, tx.now_ms, postings, text)])


def _require(kept: bool) -> None:
    if not kept:
        raise StaleWrite("GrantChanged", "A grant has just been changed.", hint="Try again.")
