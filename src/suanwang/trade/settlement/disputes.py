"""Use cases of disputes: a buyer contests what was booked, the provider answers, the operator
decides, and what was not owed goes back by the ledger.

What can be disputed is told by a `Find`: an entry's is here, a contract's is handed in by who
knows contracts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy.engine import Connection

from suanwang.kernel.errors import Conflict, InvalidInput, StaleWrite
from suanwang.platform.database import Tx
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.rules import not_found
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.model import CNY, AccountKind, EntryKind, OwnerKind
from suanwang.trade.settlement import dispute_store, giving_back, rules, store
from suanwang.trade.settlement.model import (
    Dispute,
    DisputeEvent,
    DisputeReason,
    DisputeState,
    Subject,
    SubjectKind,
)

Find = Callable[[Connection, str], Subject]
"""By id; raises NotFound."""


def entry_subject(conn: Connection, entry_id: str) -> Subject:
    """An entry that took money from a project. Raises NotFound, InvalidInput for any other."""
    entry, accounts = ledger.entry(conn, entry_id)
    amounts = dict(entry.postings)
    payers = [
        one
        for one in accounts
        if one.key.owner_kind is OwnerKind.PROJECT
        and one.key.kind is AccountKind.PREPAID
        and amounts[one.id] < 0
    ]
    if len(payers) != 1 or entry.kind is EntryKind.REVERSAL:
        raise InvalidInput(
            "NotDisputable",
            f"{entry_id} took nothing from one project.",
            hint="Dispute a charge: `suan ledger entries` lists them.",
            field="subject",
        )
    if ledger.reversal_of(conn, entry_id) is not None:
        raise Conflict(
            "EntryReversed",
            f"{entry_id} has been reversed: nothing is left to give back.",
            hint="Nothing was taken in the end; a dispute over it is rejected.",
        )
    payer = payers[0]
    sellers = [one.key.owner_id for one in accounts if one.key.kind is AccountKind.REVENUE]
    return Subject(
        SubjectKind.ENTRY,
        entry_id,
        payer.key.owner_id,
        tenancy.project(conn, payer.key.owner_id).organisation_id,
        sellers[0] if len(sellers) == 1 else "",
        -amounts[payer.id] - dispute_store.credited_by_entry(conn, [entry_id]).get(entry_id, 0),
        entry.at_ms,
        payer.key.currency,
        (entry_id,),
    )


ENTRIES: Mapping[SubjectKind, Find] = {SubjectKind.ENTRY: entry_subject}


def subject_of_entries(
    conn: Connection,
    kind: SubjectKind,
    identity: str,
    project_id: str,
    provider_organisation_id: str,
    keys: Sequence[str],
) -> Subject:
    """A thing that costs what the entries of these keys took of a project and that nobody has
    given back yet."""
    ids = ledger.entries_of_keys(conn, keys)
    found = giving_back.standing(conn, ids, project_id)
    return Subject(
        kind,
        identity,
        project_id,
        tenancy.project(conn, project_id).organisation_id,
        provider_organisation_id,
        sum(one.left for one in found),
        max((one.entry.at_ms for one in found), default=0),
        CNY,
        tuple(one.entry.id for one in found),
    )


def subject_of(
    conn: Connection, kind: SubjectKind, identity: str, finders: Mapping[SubjectKind, Find]
) -> Subject:
    find_it = finders.get(kind)
    if find_it is None:
        raise InvalidInput(
            "NotDisputable",
            f"A {kind.value} cannot be disputed here.",
            hint="Dispute the entry that booked it.",
            field="subject_kind",
        )
    return find_it(conn, identity)


def open_dispute(
    tx: Tx, subject: Subject, *, reason: DisputeReason, claimed: int | None, text: str, by: str
) -> Dispute:
    """`claimed`: None claims all that it cost."""
    amount = subject.amount_micro_yuan if claimed is None else claimed
    rules.check_claim(subject, amount, tx.now_ms)
    made = Dispute(
        tx.ids.new("dsp"),
        subject.kind,
        subject.id,
        subject.project_id,
        subject.organisation_id,
        subject.provider_organisation_id,
        reason,
        amount,
        subject.currency,
        DisputeState.OPENED,
        tx.now_ms,
        by,
        tx.now_ms + rules.ANSWER_WITHIN_MS,
        tx.now_ms + rules.DECIDE_WITHIN_MS,
        subject.at_ms,
    )
    if not dispute_store.insert(tx.conn, made):
        raise Conflict(
            "AlreadyDisputed",
            f"The {subject.kind.value} {subject.id} has been disputed already.",
            hint="`suan dispute ls` has it; what was decided stays.",
        )
    event = DisputeEvent(1, tx.now_ms, by, DisputeState.OPENED, text)
    dispute_store.add_event(tx.conn, made.id, event)
    return made


def answer(tx: Tx, dispute_id: str, *, text: str, by: str) -> Dispute:
    """The provider's word."""
    return _move(tx, dispute_id, DisputeState.ANSWERED, text, by, {})


def withdraw(tx: Tx, dispute_id: str, *, text: str, by: str) -> Dispute:
    return _move(tx, dispute_id, DisputeState.WITHDRAWN, text, by, {})


def reject(tx: Tx, dispute_id: str, *, text: str, by: str) -> Dispute:
    rules.check_may_decide(find(tx.conn, dispute_id), tx.now_ms)
    return _move(tx, dispute_id, DisputeState.REJECTED, text, by, {})


def uphold(
    tx: Tx,
    dispute_id: str,
    *,
    amount: int | None,
    text: str,
    by: str,
    finders: Mapping[SubjectKind, Find] | None = None,
) -> Dispute:
    """Give the money back: all of an entry by its red letter, part of it by those who got it."""
    finders = ENTRIES if finders is None else finders
    dispute = find(tx.conn, dispute_id)
    rules.check_may_decide(dispute, tx.now_ms)
    rules.check_move(rules.DISPUTE_MOVES, "dispute", dispute_id, dispute.state, DisputeState.UPHELD)
    awarded = dispute.claimed_micro_yuan if amount is None else amount
    rules.check_awarded(dispute, awarded)
    subject = subject_of(tx.conn, dispute.subject_kind, dispute.subject_id, finders)
    entry_id, credits = giving_back.give_back(tx, dispute, subject.entry_ids, awarded)
    dispute_store.add_credits(tx.conn, dispute_id, credits)
    credited = sum(one.amount_micro_yuan for one in credits)
    changes = {"awarded": awarded, "credited": credited, "entry_id": entry_id}
    return _move(tx, dispute_id, DisputeState.UPHELD, text, by, changes)


def _move(
    tx: Tx, dispute_id: str, to: DisputeState, text: str, by: str, changes: Mapping[str, Any]
) -> Dispute:
    before = find(tx.conn, dispute_id)
    rules.check_move(rules.DISPUTE_MOVES, "dispute", dispute_id, before.state, to)
    changes = {"state": to.value, **changes}
    moved = store.move(tx.conn, dispute_store.disputes, before.id, before.version, changes)
    if not moved:
        raise StaleWrite("DisputeMoved", "Somebody has just moved this dispute.", hint="Try again.")
    # the version counts the steps, so no two of them take one number
    event = DisputeEvent(before.version + 1, tx.now_ms, by, to, text)
    dispute_store.add_event(tx.conn, dispute_id, event)
    return find(tx.conn, dispute_id)


def find(conn: Connection, dispute_id: str) -> Dispute:
    """Raises NotFound."""
    found = dispute_store.find(conn, dispute_id)
    if found is None:
        raise not_found("dispute", dispute_id)
    return found


def history(conn: Connection, dispute_id: str) -> list[DisputeEvent]:
    return dispute_store.history(conn, dispute_id)


def disputes(
    conn: Connection,
    *,
    party: str | None = None,
    open_only: bool = False,
    before: str | None = None,
    limit: int = 50,
) -> list[Dispute]:
    """The latest first; of all organisations, or of one as buyer or provider."""
    states = rules.OPEN_DISPUTES if open_only else ()
    return dispute_store.page(conn, party, states, before, limit)
