"""The words of bilateral deals: two sides talk, proposal by proposal, until one thing is agreed.

    deal:   open ──▶ accepted      the last proposal is a contract now
              ├────▶ rejected      by the one whose turn it was
              ├────▶ withdrawn     by the one who had proposed last
              └────▶ expired       nobody answered in time, or the delivery would have begun

    proposal:  standing ──▶ accepted · rejected · withdrawn · expired
                  └───────▶ countered     the other proposed something else: his stands now

Only the proposal that stands has money or capacity set aside, and only its proposer's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from suanwang.engines.matching.model import Side
from suanwang.trade.catalogue.model import Period, Product
from suanwang.trade.contracts.model import Party, Terms
from suanwang.trade.market.model import STANDARD


class DealState(StrEnum):
    OPEN = "open"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


class ProposalState(StrEnum):
    STANDING = "standing"
    ACCEPTED = "accepted"
    COUNTERED = "countered"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class ProposalGiven:
    """What one side says. A buyer names the product, a seller the source that he sells from."""

    lots: int
    period: Period
    price: int
    """Micro-yuan for a lot and hour."""
    valid_until_ms: int
    product: Product | None = None
    source_id: str | None = None
    terms: Terms = STANDARD
    note: str = ""


@dataclass(frozen=True, slots=True)
class Addressee:
    """An organisation, and of it one project or whichever answers."""

    organisation_id: str
    project_id: str | None = None


@dataclass(frozen=True, slots=True)
class Proposal:
    deal_id: str
    number: int
    """1, 2, 3 … within the deal."""
    by: Party
    side: Side
    """Of the proposer."""
    product: Product
    source_id: str | None
    site_id: str | None
    pool_id: str | None
    lots: int
    period: Period
    price: int
    terms: Terms
    note: str
    valid_until_ms: int
    held: int
    """Micro-yuan set aside on the proposer's project while it stands."""
    state: ProposalState
    at_ms: int

    @property
    def worth(self) -> int:
        return self.lots * self.price * self.period.hours


@dataclass(frozen=True, slots=True)
class Deal:
    id: str
    first: Party
    """Who began."""
    first_side: Side
    other: Addressee
    state: DealState
    number: int
    """Of the last proposal."""
    due_ms: int
    """When the last proposal ends by itself."""
    contract_id: str | None
    opened_at_ms: int
    ended_at_ms: int | None
    key: str | None
