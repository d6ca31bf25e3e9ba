"""Contracts: what was bought and sold, what was delivered, and how to leave."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from suanwang.edge.client.http import segment
from suanwang.edge.client.nouns import Noun

if TYPE_CHECKING:
    from suanwang.edge.client.views_contracts import Contract, ContractDetail, Ended

CONTRACTS = "/v1/contracts"
Role = Literal["buyer", "seller", "either"]
ContractState = Literal["signed", "completed", "cancelled", "terminated"]


class Contracts(Noun):
    """`client.contracts`. To sell one on, name its id as the source of a listing, an order, a
    quote or a deal."""

    def search(
        self,
        *,
        role: Role = "either",
        state: ContractState | None = None,
        project: str | None = None,
        reference: str | None = None,
        most: int | None = None,
    ) -> Iterator[Contract]:
        """One's own, the latest first; `reference` is the id of what they come from."""
        query = {"role": role, "state": state, "project": project, "reference": reference}
        yield from self._api.pages(CONTRACTS, query, most=most)

    def show(self, contract: str) -> ContractDetail:
        """With its hours as they were measured and settled, and what is sold on of it."""
        found: ContractDetail = self._api.get(f"{CONTRACTS}/{segment(contract)}")
        return found

    def cancel(self, contract: str) -> Ended:
        """As the buyer, within the window and for the fee that its terms say."""
        found: Ended = self._api.post(f"{CONTRACTS}/{segment(contract)}/cancel", {})
        return found

    def withdraw(self, contract: str) -> Ended:
        """As the seller, who pays the credit of every hour left."""
        found: Ended = self._api.post(f"{CONTRACTS}/{segment(contract)}/withdraw", {})
        return found
