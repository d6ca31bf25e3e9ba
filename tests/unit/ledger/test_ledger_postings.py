"""Double entry: what may be posted, what a second time does, what an auditor finds."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from suanwang.kernel.errors import Conflict, InvalidInput, InvariantViolated, NotFound
from suanwang.kernel.money import MAX_AMOUNT
from suanwang.platform.database import InlineDatabase, Tx
from suanwang.platform.schema import metadata
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.model import (
    CASH,
    AccountKey,
    AccountKind,
    EntryDraft,
    EntryKind,
    OwnerKind,
    PostResult,
    Side,
    project_key,
    revenue_key,
)

A, B, R = project_key("prj_a"), project_key("prj_b"), revenue_key("org_r")
VOUCHER = AccountKey(OwnerKind.PROJECT, "prj_a", AccountKind.PREPAID, "voucher:2026")


@pytest.fixture
def ids(inline_database: InlineDatabase) -> dict[AccountKey, str]:
    keys = [A, B, R, VOUCHER, CASH]
    found = inline_database.write_now(lambda tx: ledger.ensure_accounts(tx, keys))
    return {key: account.id for key, account in found.items()}


def transfer(key: str, *postings: tuple[str, int], at_ms: int = 5) -> EntryDraft:
    return EntryDraft(key, EntryKind.TRANSFER, at_ms, postings)


def post(database: InlineDatabase, *drafts: EntryDraft) -> PostResult:
    return database.write_now(lambda tx: ledger.post(tx, drafts))


def balance(database: InlineDatabase, key: AccountKey) -> int:
    return database.read_now(lambda c: ledger.find_accounts(c, [key]))[key].balance_micro_yuan


def test_entry_moves_both_sides(
    inline_database: InlineDatabase, ids: dict[AccountKey, str]
) -> None:
    post(inline_database, transfer("1", (ids[A], -30), (ids[R], 30)))
    assert (balance(inline_database, A), balance(inline_database, R)) == (-30, 30)
    assert inline_database.read_now(ledger.verify) == []


@pytest.mark.parametrize(
    "amounts",
    [
        {A: -30, R: 29},
        {A: 30},
        {},
        {A: -30, VOUCHER: 30},
        {A: MAX_AMOUNT + 1, R: -MAX_AMOUNT - 1},
    ],
    ids=["sum", "one side", "empty", "across currencies", "too large"],
)
def test_unbalanced_entry_is_refused_with_its_whole_batch(
    inline_database: InlineDatabase, ids: dict[AccountKey, str], amounts: dict[AccountKey, int]
) -> None:
    good = transfer("good", (ids[A], -1), (ids[R], 1))
    bad = transfer("bad", *((ids[key], amount) for key, amount in amounts.items()))
    with pytest.raises(InvariantViolated):
        post(inline_database, good, bad)
    assert balance(inline_database, A) == 0


def test_unknown_account_and_account_named_twice_are_refused(
    inline_database: InlineDatabase, ids: dict[AccountKey, str]
) -> None:
    for postings in (
        ((ids[A], 1), ("acc_unknown", -1)),
        ((ids[A], 1), (ids[A], -1)),
    ):
        with pytest.raises(InvariantViolated):
            post(inline_database, transfer("1", *postings))


def test_key_posts_once(inline_database: InlineDatabase, ids: dict[AccountKey, str]) -> None:
    draft = transfer("1", (ids[A], -30), (ids[R], 30))
    first = post(inline_database, draft, draft)
    assert set(first.posted) == {"1"}
    second = post(inline_database, draft, transfer("2", (ids[B], -5), (ids[R], 5)))
    assert second.repeated == first.posted
    assert set(second.posted) == {"2"}
    assert balance(inline_database, R) == 35


def test_key_reused_for_something_else_is_a_conflict(
    inline_database: InlineDatabase, ids: dict[AccountKey, str]
) -> None:
    post(inline_database, transfer("1", (ids[A], -30), (ids[R], 30)))
    with pytest.raises(Conflict):
        post(
            inline_database,
            transfer("1", (ids[A], -31), (ids[R], 31)),
            transfer("2", (ids[B], -5), (ids[R], 5)),
        )
    assert (balance(inline_database, R), balance(inline_database, B)) == (30, 0)


def test_top_up_twice_with_one_key_counts_once(inline_database: InlineDatabase) -> None:
    for _ in range(3):
        inline_database.write_now(lambda tx: ledger.top_up(tx, "prj_a", 100, key="payment-1"))
    assert balance(inline_database, A) == 100
    assert balance(inline_database, CASH) == -100
    with pytest.raises(Conflict):
        inline_database.write_now(lambda tx: ledger.top_up(tx, "prj_a", 200, key="payment-1"))
    with pytest.raises(InvalidInput):
        inline_database.write_now(lambda tx: ledger.top_up(tx, "prj_a", 0, key="payment-2"))


def test_reversal_is_a_red_letter_and_happens_once(
    inline_database: InlineDatabase, ids: dict[AccountKey, str]
) -> None:
    entry_id = post(inline_database, transfer("1", (ids[A], -30), (ids[R], 30))).posted["1"]
    done, again = (
        inline_database.write_now(lambda tx: ledger.reverse(tx, entry_id, reason="mistake"))
        for _ in range(2)
    )
    (first,) = done.posted.values()
    assert done.repeated == {}
    assert again.posted == {}
    assert again.repeated == done.posted
    assert (balance(inline_database, A), balance(inline_database, R)) == (0, 0)
    with pytest.raises(Conflict):
        inline_database.write_now(lambda tx: ledger.reverse(tx, first, reason="again"))
    with pytest.raises(NotFound):
        inline_database.write_now(lambda tx: ledger.reverse(tx, "ent_unknown", reason="?"))
    kinds = [
        line.kind
        for line in inline_database.read_now(lambda c: ledger.account_lines(c, ids[A], 0, 1 << 60))
    ]
    assert kinds == [EntryKind.TRANSFER, EntryKind.REVERSAL]


def test_funds_are_balance_and_credit_less_holds(inline_database: InlineDatabase) -> None:
    def use_case(tx: Tx) -> None:
        ledger.top_up(tx, "prj_a", 100, key="1")
        ledger.set_credit_limit(tx, "prj_a", 50)
        ledger.hold(tx, {ledger.project_accounts(tx, ["prj_a"])["prj_a"]: 30})

    inline_database.write_now(use_case)
    funds = inline_database.read_now(lambda c: ledger.funds(c, ["prj_a", "prj_unknown"]))
    assert funds == {"prj_a": 120, "prj_unknown": 0}


def test_hold_never_goes_below_zero(
    inline_database: InlineDatabase, ids: dict[AccountKey, str]
) -> None:
    inline_database.write_now(lambda tx: ledger.hold(tx, {ids[A]: 10, ids[B]: 5}))
    with pytest.raises(InvariantViolated, match="held"):
        inline_database.write_now(lambda tx: ledger.release(tx, {ids[A]: 11, ids[B]: 5}))
    inline_database.write_now(lambda tx: ledger.release(tx, {ids[A]: 10}))
    found = inline_database.read_now(lambda c: ledger.find_accounts(c, [A, B]))
    assert [found[key].held_micro_yuan for key in (A, B)] == [0, 5]


def test_hold_within_funds_takes_what_is_there(
    inline_database: InlineDatabase, ids: dict[AccountKey, str]
) -> None:
    inline_database.write_now(lambda tx: ledger.top_up(tx, "prj_a", 100, key="1"))
    amounts = {ids[A]: 60, ids[B]: 1}

    def take(tx: Tx) -> tuple[str, ...]:
        return ledger.hold_within_funds(tx, amounts)

    assert inline_database.write_now(take) == (ids[B],)
    assert inline_database.write_now(take) == tuple(sorted((ids[A], ids[B])))


def test_credit_limit_is_not_negative(inline_database: InlineDatabase) -> None:
    with pytest.raises(InvalidInput):
        inline_database.write_now(lambda tx: ledger.set_credit_limit(tx, "prj_a", -1))


def test_trial_balance_sums_to_zero(
    inline_database: InlineDatabase, ids: dict[AccountKey, str]
) -> None:
    inline_database.write_now(lambda tx: ledger.top_up(tx, "prj_a", 100, key="1"))
    post(inline_database, transfer("1", (ids[A], -30), (ids[R], 30)))
    lines = inline_database.read_now(ledger.trial_balance)
    assert sum(line.balance_micro_yuan for line in lines if line.currency == "CNY") == 0
    assert {line.kind: line.balance_micro_yuan for line in lines if line.currency == "CNY"} == {
        AccountKind.CASH: -100,
        AccountKind.PREPAID: 70,
        AccountKind.REVENUE: 30,
    }


def test_accounts_have_their_normal_side(
    inline_database: InlineDatabase, ids: dict[AccountKey, str]
) -> None:
    found = inline_database.read_now(lambda c: ledger.find_accounts(c, [A, CASH]))
    assert (found[A].normal_side, found[CASH].normal_side) == (Side.CREDIT, Side.DEBIT)


@pytest.mark.parametrize("statement", ["accounts", "postings", "missing"])
def test_auditor_finds_what_was_tampered_with(
    inline_database: InlineDatabase, ids: dict[AccountKey, str], statement: str
) -> None:
    post(inline_database, transfer("1", (ids[A], -30), (ids[R], 30)))
    accounts, postings = metadata.tables["accounts"], metadata.tables["postings"]
    tampering = {
        "accounts": sa.update(accounts).where(accounts.c.id == ids[A]).values(balance=-29),
        "postings": sa.update(postings).where(postings.c.account_id == ids[R]).values(amount=31),
        "missing": sa.delete(postings).where(postings.c.account_id == ids[R]),
    }[statement]
    inline_database.write_now(lambda tx: tx.conn.execute(tampering))
    assert inline_database.read_now(ledger.verify) != []


def test_period_has_opening_movements_and_closing(
    inline_database: InlineDatabase, ids: dict[AccountKey, str]
) -> None:
    post(
        inline_database,
        *(transfer(str(at), (ids[A], at), (ids[R], -at), at_ms=at) for at in (10, 20, 30, 40)),
    )
    account = inline_database.read_now(lambda c: ledger.find_accounts(c, [A]))[A]
    opening, within, closing = inline_database.read_now(lambda c: ledger.period(c, account, 20, 40))
    assert (opening, within, closing) == (10, {EntryKind.TRANSFER: 50}, 60)
