"""Whatever is charged, closed, paid out, reversed and disputed in any order: money is kept."""

from __future__ import annotations

import asyncio
import random as stdlib_random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from billing_world import HOUR_0
from manual_clock import ManualClock
from suanwang.kernel.errors import Conflict
from suanwang.kernel.time import MS_PER_DAY, MS_PER_HOUR
from suanwang.platform.database import InlineDatabase, Tx
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.model import (
    CASH,
    FEES,
    EntryDraft,
    EntryKind,
    payable_key,
    project_key,
    revenue_key,
)
from suanwang.trade.settlement import closing, payouts
from tables import fill

PROVIDERS = ("org_a", "org_b")
KEYS = [project_key("prj_1"), FEES, CASH, *map(revenue_key, PROVIDERS)]
STEPS = st.one_of(
    st.tuples(
        st.just("charge"),
        st.sampled_from(PROVIDERS),
        st.integers(1, 10**9),
        st.integers(0, 3 * 24),
    ),
    st.tuples(st.just("sleep"), st.integers(1, 40)),
    st.tuples(st.just("close")),
    st.tuples(st.just("propose")),
    st.tuples(st.sampled_from(["approve", "confirm", "fail", "cancel"]), st.integers(0, 9)),
    st.tuples(st.just("reverse"), st.integers(0, 9)),
)


class Books:
    """The steps, and what must hold after them."""

    def __init__(self) -> None:
        self.clock = ManualClock(HOUR_0)
        self.database = InlineDatabase(self.clock, stdlib_random.Random(1))
        fill(self.database.engine)
        self.entries: list[str] = []
        self.paid: list[str] = []

    def write(self, use_case: Any) -> Any:
        try:
            return self.database.write_now(use_case)
        except Conflict:
            return None  # a state that does not allow it; anything else is a defect

    def charge(self, provider: str, amount: int, hours_ago: int) -> None:
        def use_case(tx: Tx) -> str:
            found = ledger.ensure_accounts(tx, KEYS)
            fee = amount // 20
            draft = EntryDraft(
                f"charge:{len(self.entries)}",
                EntryKind.CHARGE,
                tx.now_ms - hours_ago * MS_PER_HOUR,
                (
                    (found[project_key("prj_1")].id, -amount),
                    (found[revenue_key(provider)].id, amount - fee),
                    (found[FEES].id, fee),
                ),
            )
            return ledger.post(tx, [draft]).posted[draft.key]

        self.entries.append(self.write(use_case))

    def sleep(self, hours: int) -> None:
        self.clock.at_ms += hours * MS_PER_HOUR

    def close(self) -> None:
        asyncio.run(closing.close_due(self.database, self.clock.at_ms, 0, by="x"))

    def propose(self) -> None:
        made = self.write(lambda tx: payouts.propose(tx, by="x")) or []
        self.paid += [one.id for one in made]

    def _one(self, which: int) -> str | None:
        return self.paid[which % len(self.paid)] if self.paid else None

    def approve(self, which: int) -> None:
        if one := self._one(which):
            self.write(lambda tx: payouts.approve(tx, one, by="y"))

    def confirm(self, which: int) -> None:
        if one := self._one(which):
            self.write(lambda tx: payouts.confirm(tx, one, bank_reference="b", by="z"))

    def fail(self, which: int) -> None:
        if one := self._one(which):
            self.write(lambda tx: payouts.fail(tx, one, why="w"))

    def cancel(self, which: int) -> None:
        if one := self._one(which):
            self.write(lambda tx: payouts.cancel(tx, one, why="w"))

    def reverse(self, which: int) -> None:
        if self.entries:
            entry = self.entries[which % len(self.entries)]
            self.write(lambda tx: ledger.reverse(tx, entry, reason="r"))

    def hold(self) -> None:
        """What must be so at any time."""
        assert self.database.read_now(ledger.verify) == []
        sums: dict[str, int] = {}
        for line in self.database.read_now(ledger.trial_balance):
            sums[line.currency] = sums.get(line.currency, 0) + line.balance_micro_yuan
        assert not any(sums.values())
        for provider in PROVIDERS:
            key = payable_key(provider)
            found = self.database.read_now(lambda c, key=key: ledger.find_accounts(c, [key]))
            waiting = sum(
                one.amount_micro_yuan
                for one in self.database.read_now(
                    lambda c, of=provider: payouts.payouts(c, organisation_id=of)
                )
                if one.state.value in ("proposed", "approved")
            )
            assert (found[key].balance_micro_yuan if found else 0) == waiting
        for one in self.database.read_now(closing.closes):
            again = self.database.read_now(lambda c, day=one.day: closing.recount(c, day))
            assert (again.digest, again.lines) == (one.digest, one.lines)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_money_is_kept_and_closed_days_stand(steps: list[tuple[Any, ...]]) -> None:
    books = Books()
    for name, *rest in steps:
        getattr(books, name)(*rest)
    books.hold()
    books.sleep(MS_PER_DAY // MS_PER_HOUR + 1)
    books.close()
    books.propose()
    for provider in PROVIDERS:
        key = revenue_key(provider)
        found = books.database.read_now(lambda c, key=key: ledger.find_accounts(c, [key]))
        # a day later all is paid out, but for what reversals have left short
        assert not found or found[key].balance_micro_yuan <= 0
    books.hold()
