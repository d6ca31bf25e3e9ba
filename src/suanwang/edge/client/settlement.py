"""Settlement: closed days, payouts to providers, the FOCUS export."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from suanwang.edge.client.amounts import Amount, money
from suanwang.edge.client.http import segment
from suanwang.edge.client.nouns import Day, Noun, given

if TYPE_CHECKING:
    from suanwang.edge.client.views_settlement import Close, Payout, PayoutRule

CLOSES = "/v1/closes"
PAYOUTS = "/v1/payouts"
PAYOUT_RULE = "/v1/payout-rule"
PayoutState = Literal["proposed", "approved", "paid", "failed", "cancelled"]
PIECE = 1 << 16


class Settlement(Noun):
    """`client.settlement`. Months are YYYY-MM in Asia/Shanghai."""

    def focus_of_project(self, project: str, *, month: str | None = None) -> Iterator[bytes]:
        """A month's charges as FOCUS 1.2 (CSV) piece by piece; of this month if none is named."""
        yield from self._file(f"/v1/projects/{segment(project)}/focus.csv", {"month": month})

    def focus_of_organisation(
        self, organisation: str, *, month: str | None = None, as_provider: bool = False
    ) -> Iterator[bytes]:
        """What its projects cost, or `as_provider` what its pools earned."""
        path = f"/v1/organisations/{segment(organisation)}/focus.csv"
        yield from self._file(path, {"month": month, "as_provider": as_provider})

    def _file(self, path: str, query: dict[str, Any]) -> Iterator[bytes]:
        reply = self._api.stream(path, query)
        try:
            while piece := reply.read_some(PIECE):
                yield piece
        finally:
            reply.close()

    # --- payouts -----------------------------------------------------------------------------

    def payouts(
        self,
        *,
        organisation: str | None = None,
        state: PayoutState | None = None,
        most: int | None = None,
    ) -> Iterator[Payout]:
        """The latest first: of one's own organisation, or for an operator of all."""
        query = {"organisation": organisation, "state": state}
        yield from self._api.pages(PAYOUTS, query, most=most)

    def payout(self, payout: str) -> Payout:
        """With the lines that it is made of."""
        found: Payout = self._api.get(f"{PAYOUTS}/{segment(payout)}")
        return found

    # --- for the operator --------------------------------------------------------------------

    def closes(self, *, most: int | None = None) -> Iterator[Close]:
        """Closed days, the latest first."""
        yield from self._api.pages(CLOSES, most=most)

    def close(self, day: Day, *, recount: bool = False) -> Close:
        """A closed day's trial balance; `recount` says whether the postings still say the same."""
        found: Close = self._api.get(f"{CLOSES}/{segment(str(day))}", {"recount": recount})
        return found

    def close_day(self, day: Day | None = None) -> Close:
        """The next in turn if none is named. A closed day is told as it was."""
        body = given(day=None if day is None else str(day))
        # without a name, a second try would close the day after
        found: Close = self._api.post(CLOSES, body, repeat=day is not None)
        return found

    def propose_payouts(
        self,
        *,
        organisations: Sequence[str] | None = None,
        minimum: Amount | None = None,
        currency: str = "CNY",
    ) -> list[Payout]:
        """Of what closed days brought; less than `minimum` is left for the next run."""
        body = given(organisations=organisations, minimum=money(minimum), currency=currency)
        found: list[Payout] = self._api.post(PAYOUTS, body)["items"]
        return found

    def approve_payout(self, payout: str) -> Payout:
        """Let it go to the bank."""
        return self._move(payout, "approve")

    def confirm_payout(self, payout: str, bank_reference: str) -> Payout:
        """The bank has moved it."""
        return self._move(payout, "paid", {"bank_reference": bank_reference})

    def fail_payout(self, payout: str, reason: str) -> Payout:
        """The bank did not move it."""
        return self._move(payout, "failed", {"reason": reason})

    def cancel_payout(self, payout: str, reason: str) -> Payout:
        return self._move(payout, "cancel", {"reason": reason})

    def payout_rule(self) -> PayoutRule:
        """Whether payouts need four eyes."""
        found: PayoutRule = self._api.get(PAYOUT_RULE)
        return found

    def set_payout_rule(self, *, alone: bool, reason: str) -> PayoutRule:
        """Let the only operator release what he prepared, or ask for four eyes again."""
        found: PayoutRule = self._api.put(PAYOUT_RULE, {"alone": alone, "reason": reason})
        return found

    def _move(self, payout: str, verb: str, body: dict[str, Any] | None = None) -> Payout:
        found: Payout = self._api.post(f"{PAYOUTS}/{segment(payout)}/{verb}", body)
        return found
