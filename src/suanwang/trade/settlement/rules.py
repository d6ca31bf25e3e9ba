"""Decisions of settlement: which day may be closed, what a state may become, what is given back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TypeVar

from suanwang.kernel.errors import Conflict, InvalidInput, LimitExceeded, require
from suanwang.kernel.money import MAX_AMOUNT, allot
from suanwang.kernel.time import MS_PER_DAY, MS_PER_HOUR
from suanwang.trade.billing.rules import SHANGHAI_MS, date_text, day_of
from suanwang.trade.ledger.model import AccountKind, Leaf
from suanwang.trade.settlement.model import (
    CloseLine,
    Dispute,
    DisputeState,
    InvoiceState,
    PayoutState,
    Subject,
)

State = TypeVar("State", bound=StrEnum)
OPEN_WITHIN_MS = 60 * MS_PER_DAY
ANSWER_WITHIN_MS = 5 * MS_PER_DAY
DECIDE_WITHIN_MS = 15 * MS_PER_DAY
"""From the opening on; past it the dispute is shown as overdue, to the operator's shame."""

PAYOUT_MOVES: Mapping[PayoutState, tuple[PayoutState, ...]] = {
    PayoutState.PROPOSED: (PayoutState.APPROVED, PayoutState.CANCELLED),
    PayoutState.APPROVED: (PayoutState.PAID, PayoutState.FAILED, PayoutState.CANCELLED),
    PayoutState.PAID: (PayoutState.FAILED,),
    PayoutState.FAILED: (),
    PayoutState.CANCELLED: (),
}
"""A bank may send back what it had taken: paid, then failed."""

INVOICE_MOVES: Mapping[InvoiceState, tuple[InvoiceState, ...]] = {
    InvoiceState.REQUESTED: (InvoiceState.ISSUED, InvoiceState.REJECTED),
    InvoiceState.ISSUED: (InvoiceState.REVERSED,),
    InvoiceState.REJECTED: (),
    InvoiceState.REVERSED: (),
}

DISPUTE_MOVES: Mapping[DisputeState, tuple[DisputeState, ...]] = {
    DisputeState.OPENED: (
        DisputeState.ANSWERED,
        DisputeState.UPHELD,
        DisputeState.REJECTED,
        DisputeState.WITHDRAWN,
    ),
    DisputeState.ANSWERED: (
        DisputeState.UPHELD,
        DisputeState.REJECTED,
        DisputeState.WITHDRAWN,
    ),
    DisputeState.UPHELD: (),
    DisputeState.REJECTED: (),
    DisputeState.WITHDRAWN: (),
}
OPEN_DISPUTES = (DisputeState.OPENED, DisputeState.ANSWERED)


def check_move(
    moves: Mapping[State, Sequence[State]], kind: str, identity: str, state: State, to: State
) -> None:
    """Raise Conflict (WrongState) unless the state may become that."""
    if to not in moves[state]:
        raise Conflict(
            "WrongState",
            f"The {kind} {identity} is {state.value}; it cannot become {to.value}.",
            hint="States only move forward; look at it again.",
        )


# --- closes ------------------------------------------------------------------------------------


def start_of(day: int) -> int:
    """First millisecond of a calendar day in Asia/Shanghai."""
    return day * MS_PER_DAY - SHANGHAI_MS


def next_day(last_closed: int | None, first_posting_ms: int | None) -> int | None:
    """The only day that may be closed: after the last one, else the first with a posting."""
    if last_closed is not None:
        return last_closed + 1
    return None if first_posting_ms is None else day_of(first_posting_ms)


def check_day(day: int, wanted: int | None, now_ms: int) -> None:
    """Raise Conflict unless this is the day whose turn it is, and it is over."""
    if wanted is None:
        raise Conflict(
            "NothingBooked", "Nothing has been booked yet.", hint="Close a day that has postings."
        )
    if day > wanted:
        raise Conflict(
            "EarlierDayOpen",
            f"{date_text(wanted)} is still open; days are closed one after the other.",
            hint=f"Close {date_text(wanted)} first.",
        )
    if day < wanted:
        raise Conflict(
            "DayBeforeBooks",
            f"{date_text(day)} lies before the first day with postings.",
            hint=f"Close {date_text(wanted)}.",
        )
    if now_ms < start_of(day + 1):
        raise Conflict(
            "DayNotOver",
            f"{date_text(day)} is not over yet in Asia/Shanghai.",
            hint="Close it after midnight.",
        )


def is_due(day: int, now_ms: int, after_hours: int) -> bool:
    return now_ms >= start_of(day + 1) + after_hours * MS_PER_HOUR


def trial_of(
    before: Sequence[CloseLine], leaves: Iterable[Leaf], previous: str, day: int
) -> tuple[tuple[CloseLine, ...], int, str]:
    """(lines, postings, digest) of a day: yesterday's closings and what was posted.

    Raises InvariantViolated where a currency does not sum to zero: the day stays open.
    """
    totals: dict[tuple[str, AccountKind], list[int]] = {
        (line.currency, line.kind): [line.closing_micro_yuan, 0, 0, 0, 0] for line in before
    }
    digest = hashlib.sha256(f"{previous}\n{date_text(day)}\n".encode())
    postings, last = 0, ""
    for leaf in leaves:
        sums = totals.setdefault((leaf.currency, leaf.kind), [0, 0, 0, 0, 0])
        sums[1] += leaf.account_id != last
        sums[2] += leaf.postings
        sums[3] += leaf.debit
        sums[4] += leaf.credit
        postings, last = postings + leaf.postings, leaf.account_id
        digest.update(f"{leaf.account_id} {leaf.hour} {leaf.postings} {leaf.digest}\n".encode())
    lines = tuple(
        CloseLine(currency, kind, moved, count, opening, debit, credit, opening + debit + credit)
        for (currency, kind), (opening, moved, count, debit, credit) in sorted(totals.items())
    )
    for line in lines:
        digest.update(f"{line.currency} {line.kind.value} {line.closing_micro_yuan}\n".encode())
    sums_to_zero(lines)
    return lines, postings, digest.hexdigest()


def sums_to_zero(lines: Iterable[CloseLine]) -> None:
    sums: dict[str, int] = {}
    for line in lines:
        sums[line.currency] = sums.get(line.currency, 0) + line.closing_micro_yuan
    wrong = {currency: amount for currency, amount in sums.items() if amount}
    require(not wrong, "TrialUnbalanced", f"The day's trial balance is off by {wrong}.")


# --- payouts -----------------------------------------------------------------------------------


def payable_now(balance: int, held: int, recent: int, minimum: int) -> int:
    """What may be paid out: nothing that is held or came in after the last closed day."""
    amount = min(balance - held - recent, MAX_AMOUNT)
    return amount if amount >= max(1, minimum) else 0


# --- disputes ----------------------------------------------------------------------------------


def check_claim(subject: Subject, claimed: int, now_ms: int) -> None:
    """Raise InvalidInput or LimitExceeded for what cannot be disputed."""
    if now_ms - subject.at_ms > OPEN_WITHIN_MS:
        raise LimitExceeded(
            "TooLateToDispute",
            "It is more than 60 days ago.",
            hint="Ask the operator to look at it.",
        )
    if not 0 < claimed <= subject.amount_micro_yuan:
        raise InvalidInput(
            "InvalidClaim",
            "Claim more than nothing and no more than it cost.",
            hint=f"It cost {subject.amount_micro_yuan} micro-yuan.",
            field="amount",
        )


def check_awarded(dispute: Dispute, amount: int) -> None:
    if not 0 < amount <= dispute.claimed_micro_yuan:
        raise InvalidInput(
            "InvalidAward",
            "Award more than nothing and no more than was claimed.",
            hint=f"{dispute.claimed_micro_yuan} micro-yuan were claimed.",
            field="amount",
        )


def check_may_decide(dispute: Dispute, now_ms: int) -> None:
    """The provider is heard first, or has let his time go by."""
    heard = dispute.state is not DisputeState.OPENED or not dispute.provider_organisation_id
    if not heard and now_ms < dispute.answer_by_ms:
        raise Conflict(
            "NotYetAnswered",
            "The provider has not answered and still has time to.",
            hint="Decide when the answer is there or the time is over.",
        )


def shares_given_back(amount: int, postings: Sequence[tuple[str, int]], payer: str) -> list[int]:
    """How those who got the payer's money share in giving part of it back; in their order."""
    weights = [max(0, part) for account_id, part in postings if account_id != payer]
    return allot(amount, weights)
