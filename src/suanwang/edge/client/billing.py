"""Money: accounts and statements, usage and revenue, prices, the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from suanwang.edge.client.amounts import Amount, money
from suanwang.edge.client.http import segment
from suanwang.edge.client.nouns import Noun, given

if TYPE_CHECKING:
    from suanwang.edge.client.views_billing import (
        Account,
        Booked,
        LedgerEntry,
        PriceList,
        ReportLine,
        Statement,
        TopUp,
        TrialBalance,
    )

StatementBy = Literal["job", "pool", "day", "user"]
GroupBy = Literal["job", "pool", "day", "user", "project", "site"]
LINES = 500


class Billing(Noun):
    """`client.billing`. Projects go by name or id, months are YYYY-MM in Asia/Shanghai, and this
    month is meant where none is named."""

    def account(self, project: str) -> Account:
        """Balance, holds, credit, and what is left of them."""
        found: Account = self._api.get(_path(project, "/account"))
        return found

    def accounts(self, project: str) -> list[Account]:
        """In every currency that it has."""
        found: list[Account] = self._api.get(_path(project, "/accounts"))["items"]
        return found

    def statement(
        self, project: str, *, month: str | None = None, by: StatementBy = "job"
    ) -> Statement:
        """Of a month, with all its lines."""
        path = _path(project, "/statement")
        query: dict[str, Any] = {"month": month, "by": by, "limit": LINES}
        found: Statement = self._api.get(path, query)
        while cursor := found["next_cursor"]:
            page: Statement = self._api.get(path, {**query, "cursor": cursor})
            found["lines"] += page["lines"]
            found["next_cursor"] = page["next_cursor"]
        return found

    def usage(
        self,
        project: str,
        *,
        month: str | None = None,
        from_ms: int | None = None,
        until_ms: int | None = None,
        by: GroupBy = "day",
        most: int | None = None,
    ) -> Iterator[ReportLine]:
        """Of a month, or between two instants in milliseconds; charged already or not yet."""
        query = {"month": month, "from_ms": from_ms, "until_ms": until_ms, "by": by}
        yield from self._api.pages(_path(project, "/usage"), query, most=most)

    def revenue(
        self,
        organisation: str,
        *,
        month: str | None = None,
        by: GroupBy = "pool",
        most: int | None = None,
    ) -> Iterator[ReportLine]:
        """What an organisation's pools earned."""
        path = f"/v1/organisations/{segment(organisation)}/revenue"
        yield from self._api.pages(path, {"month": month, "by": by}, most=most)

    def entries(
        self,
        project: str,
        *,
        month: str | None = None,
        currency: str = "CNY",
        most: int | None = None,
    ) -> Iterator[LedgerEntry]:
        """What was booked for it, the latest first."""
        query = {"month": month, "currency": currency}
        yield from self._api.pages(_path(project, "/entries"), query, most=most)

    def prices(self, *, pools: Sequence[str] = (), most: int | None = None) -> Iterator[PriceList]:
        """The price list of each pool, or of those named by their ids."""
        yield from self._api.pages("/v1/prices", {"pool": list(pools) or None}, most=most)

    def price_history(self, pool: str, *, most: int | None = None) -> Iterator[PriceList]:
        """Every list that a pool has had, the latest first."""
        yield from self._api.pages(f"/v1/pools/{segment(pool)}/prices", most=most)

    # --- for the operator --------------------------------------------------------------------

    def top_up(
        self, project: str, amount: Amount, *, payment_reference: str, description: str = ""
    ) -> TopUp:
        """Money that came in; once for each number of a payment."""
        body = given(
            amount=money(amount), payment_reference=payment_reference, description=description
        )
        found: TopUp = self._api.post(_path(project, "/top-up"), body, repeat=True)
        return found

    def set_credit_limit(self, project: str, credit_limit: Amount) -> Account:
        """How far below zero it may go."""
        body = {"credit_limit": money(credit_limit)}
        found: Account = self._api.post(_path(project, "/credit-limit"), body, repeat=True)
        return found

    def adjust(self, project: str, amount: Amount, *, reference: str, reason: str) -> Booked:
        """Give it money, or with a minus take some; once for each number of a case."""
        body = {"amount": money(amount), "reference": reference, "reason": reason}
        found: Booked = self._api.post(_path(project, "/adjust"), body, repeat=True)
        return found

    def reverse(self, entry: str, reason: str) -> Booked:
        """Undo an entry by its negative."""
        path = f"/v1/ledger/entries/{segment(entry)}/reverse"
        found: Booked = self._api.post(path, {"reason": reason}, repeat=True)
        return found

    def trial_balance(self, *, verify: bool = False) -> TrialBalance:
        """Of all books; `verify` recomputes every balance from its postings."""
        found: TrialBalance = self._api.get("/v1/ledger/trial-balance", {"verify": verify})
        return found


def _path(project: str, rest: str) -> str:
    return f"/v1/projects/{segment(project)}{rest}"
