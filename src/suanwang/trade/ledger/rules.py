"""What makes an entry a good one, and what a batch of entries does to the accounts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from suanwang.kernel.errors import require
from suanwang.kernel.money import MAX_AMOUNT
from suanwang.trade.ledger.model import Entry, EntryDraft, EntryKind


def check_balanced(draft: EntryDraft, currencies: Mapping[str, str]) -> None:
    """Raise InvariantViolated unless the postings sum to zero in every currency.

    `currencies` is account id → currency of every account there is.
    """
    sums: dict[str, int] = {}
    seen = set()
    for account_id, amount in draft.postings:
        currency = currencies.get(account_id)
        require(currency is not None, "UnknownAccount", f"No account {account_id} ({draft.key}).")
        require(-MAX_AMOUNT <= amount <= MAX_AMOUNT, "AmountTooLarge", f"{amount} in {draft.key}.")
        seen.add(account_id)
        sums[currency or ""] = sums.get(currency or "", 0) + amount
    require(len(seen) == len(draft.postings), "AccountTwice", f"An account twice in {draft.key}.")
    require(len(seen) >= 2, "OneSided", f"{draft.key} needs two accounts at least.")
    require(not any(sums.values()), "Unbalanced", f"Postings of {draft.key} sum to {sums}.")


def in_open_days(draft: EntryDraft, open_from_ms: int) -> EntryDraft:
    """What would count in a shut day counts from the first open instant on."""
    return draft if draft.at_ms >= open_from_ms else replace(draft, at_ms=open_from_ms)


def deltas(drafts: Iterable[EntryDraft]) -> dict[str, int]:
    """Account id → change of its balance."""
    total: dict[str, int] = {}
    for draft in drafts:
        for account_id, amount in draft.postings:
            total[account_id] = total.get(account_id, 0) + amount
    return total


def same_event(draft: EntryDraft, entry: Entry) -> bool:
    """Whether an entry already booked under the draft's key says the same."""
    return draft.kind is entry.kind and sorted(draft.postings) == sorted(entry.postings)


def red_letter(entry: Entry, *, now_ms: int, key: str, description: str) -> EntryDraft:
    """The entry that undoes another: the same accounts, the amounts negated."""
    return EntryDraft(
        key=key,
        kind=EntryKind.REVERSAL,
        at_ms=now_ms,
        postings=tuple((account_id, -amount) for account_id, amount in entry.postings),
        description=description,
        reversal_of=entry.id,
    )
