"""Properties of the ledger under any sequence of entries, holds, reversals and repeats."""

from __future__ import annotations

import random as stdlib_random
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from suanwang.kernel.errors import InvariantViolated
from suanwang.platform.database import InlineDatabase
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.model import (
    CASH,
    FEES,
    Account,
    AccountKey,
    EntryDraft,
    EntryKind,
    project_key,
    revenue_key,
)
from tables import fill

KEYS = [project_key("prj_a"), project_key("prj_b"), revenue_key("org_r"), FEES, CASH]
AMOUNTS = st.integers(-(10**15), 10**15)


class Still:
    def now_ms(self) -> int:
        return 1_767_225_600_000


def fresh() -> InlineDatabase:
    database = InlineDatabase(Still(), stdlib_random.Random(1))
    fill(database.engine)
    return database


@st.composite
def entries(draw: st.DrawFn) -> tuple[int, dict[int, int]]:
    """(key number, account number → amount): balanced, often with a key used before."""
    touched = draw(st.lists(st.integers(0, len(KEYS) - 1), min_size=2, max_size=5, unique=True))
    amounts = {one: draw(AMOUNTS) for one in touched[:-1]}
    amounts[touched[-1]] = -sum(amounts.values())
    return draw(st.integers(0, 1_000)), amounts


def draft(number: int, amounts: dict[int, int], ids: dict[AccountKey, Account]) -> EntryDraft:
    # the key says what is in the entry, so that a repeated key repeats the entry
    key = f"{number}:{sorted(amounts.items())}"
    postings = tuple((ids[KEYS[one]].id, amount) for one, amount in amounts.items())
    return EntryDraft(key, EntryKind.TRANSFER, 1_000 + number, postings)


def add(balances: dict[str, int], one: EntryDraft, times: int) -> None:
    for account_id, amount in one.postings:
        balances[account_id] += times * amount


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(entries(), max_size=6), max_size=8), st.data())
def test_balances_are_the_postings_whatever_is_posted(
    batches: list[list[tuple[int, dict[int, int]]]], data: st.DataObject
) -> None:
    database = fresh()
    ids = database.write_now(lambda tx: ledger.ensure_accounts(tx, KEYS))
    expected = dict.fromkeys((account.id for account in ids.values()), 0)
    booked: dict[str, EntryDraft] = {}
    entry_ids: dict[str, str] = {}
    undone: set[str] = set()
    for batch in batches:
        drafts = {one.key: one for one in (draft(*parts, ids) for parts in batch)}
        again = [*drafts.values(), *drafts.values()]
        result = database.write_now(partial(ledger.post, drafts=again))
        assert set(result.posted) == drafts.keys() - booked.keys()
        for key in result.posted:
            add(expected, drafts[key], 1)
        booked |= drafts
        entry_ids |= result.posted
        if data.draw(st.booleans()) and booked:
            key = data.draw(st.sampled_from(sorted(booked)))
            database.write_now(partial(ledger.reverse, entry_id=entry_ids[key], reason=""))
            if key not in undone:
                add(expected, booked[key], -1)
            undone.add(key)
    found = database.read_now(lambda c: ledger.find_accounts(c, KEYS))
    assert {account.id: account.balance_micro_yuan for account in found.values()} == expected
    assert database.read_now(ledger.verify) == []
    trial = database.read_now(ledger.trial_balance)
    assert sum(line.balance_micro_yuan for line in trial) == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(-50, 50)), max_size=30))
def test_holds_are_never_negative(steps: list[tuple[bool, int]]) -> None:
    database = fresh()
    account_id = database.write_now(lambda tx: ledger.ensure_account(tx, KEYS[0]))
    held = 0
    for within_funds, amount in steps:
        if within_funds:
            amounts = {account_id: abs(amount)}
            refused = database.write_now(partial(ledger.hold_within_funds, amounts=amounts))
            assert bool(refused) == (-held < abs(amount))
            held += 0 if refused else abs(amount)
            continue
        try:
            database.write_now(partial(ledger.hold, deltas={account_id: amount}))
        except InvariantViolated:
            assert held + amount < 0
        else:
            held += amount
        account = database.read_now(lambda c: ledger.find_accounts(c, KEYS[:1]))[KEYS[0]]
        assert account.held_micro_yuan == held >= 0
