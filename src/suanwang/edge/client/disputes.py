"""Disputes: contest a charge, answer as its provider, decide."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from suanwang.edge.client.amounts import Amount, money
from suanwang.edge.client.http import segment
from suanwang.edge.client.nouns import Noun, given

if TYPE_CHECKING:
    from suanwang.edge.client.views_settlement import Dispute

DISPUTES = "/v1/disputes"
SubjectKind = Literal["entry", "contract"]
DisputeReason = Literal[
    "not_delivered",
    "wrong_quantity",
    "wrong_price",
    "faulty",
    "charged_twice",
    "not_mine",
    "other",
]


class Disputes(Noun):
    """`client.disputes`"""

    def open(
        self,
        subject: str,
        reason: DisputeReason,
        text: str,
        *,
        subject_kind: SubjectKind = "entry",
        amount: Amount | None = None,
    ) -> Dispute:
        """Contest an entry of the ledger, or a contract; all that it cost if no amount is given."""
        body = given(
            subject=subject,
            subject_kind=subject_kind,
            reason=reason,
            text=text,
            amount=money(amount),
        )
        found: Dispute = self._api.post(DISPUTES, body)
        return found

    def search(self, *, open_only: bool = False, most: int | None = None) -> Iterator[Dispute]:
        """The latest first; `open_only` those that wait for somebody."""
        yield from self._api.pages(DISPUTES, {"open_only": open_only}, most=most)

    def show(self, dispute: str) -> Dispute:
        """With its history."""
        found: Dispute = self._api.get(f"{DISPUTES}/{segment(dispute)}")
        return found

    def answer(self, dispute: str, text: str) -> Dispute:
        """As the provider."""
        return self._post(dispute, "answer", {"text": text})

    def withdraw(self, dispute: str, text: str) -> Dispute:
        """Let it be."""
        return self._post(dispute, "withdraw", {"text": text})

    def decide(
        self, dispute: str, *, upheld: bool, text: str, amount: Amount | None = None
    ) -> Dispute:
        """For the operator: give back what was claimed or `amount` of it, or nothing."""
        body = given(upheld=upheld, text=text, amount=money(amount))
        return self._post(dispute, "decide", body)

    def _post(self, dispute: str, verb: str, body: dict[str, Any]) -> Dispute:
        found: Dispute = self._api.post(f"{DISPUTES}/{segment(dispute)}/{verb}", body)
        return found
