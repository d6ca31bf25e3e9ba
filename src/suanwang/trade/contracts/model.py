"""The words of contracts: what was agreed, and what of it was delivered in an hour.

    signed ──▶ completed        every hour was settled
       ├─────▶ cancelled        before it began, within its window
       └─────▶ terminated       after it began; the hours left are neither delivered nor paid

Whether a signed contract is upcoming or running is read from the clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from suanwang.trade.catalogue.model import Period, Product


class ContractState(StrEnum):
    SIGNED = "signed"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"


class Origin(StrEnum):
    """How the two came together."""

    LISTING = "listing"
    BOOK = "book"
    QUOTATION = "quotation"
    BILATERAL = "bilateral"
    AUCTION = "auction"


@dataclass(frozen=True, slots=True)
class Party:
    """Who trades; the project's prepaid account pays what he owes, prices and deposits alike."""

    organisation_id: str
    project_id: str
    user_id: str = ""


@dataclass(frozen=True, slots=True)
class Terms:
    """What happens when it does not go as agreed. Percents of the hour's price."""

    credit_percent: int = 20
    """Of an undelivered hour's price, paid by the seller to the buyer beside not being paid."""
    deposit_percent: int = 10
    """Of the whole price, set aside on the seller's project; credits are paid out of it first."""
    cancel_hours: int = 24
    """Until so long before the beginning, the buyer may cancel."""
    cancel_percent: int = 5
    """Of the whole price, paid by the buyer who cancels."""


@dataclass(frozen=True, slots=True)
class Contract:
    """Capacity of one pool for one project, hour after hour, at one price."""

    id: str
    origin: Origin
    reference: str
    """Id of the trade, listing, quotation, deal or award that it comes from."""
    buyer: Party
    seller: Party
    site_id: str
    pool_id: str
    product: Product
    period: Period
    lots: int
    price: int
    """Micro-yuan for a lot and hour."""
    terms: Terms
    state: ContractState
    signed_at_ms: int
    ended_at_ms: int | None
    settled_hours: int
    """So many hours from the beginning are settled."""
    buyer_held: int
    """Micro-yuan still set aside for the hours left."""
    seller_held: int
    """The deposit that is left; credits are paid out of it."""
    backing_id: str | None = None
    """The contract that the seller sells on; None: the pool is his own."""
    rent: int = 0
    """Micro-yuan for a lot and hour that the buyer pays beside the price, to the platform: what his
    own zone's price is above the seller's."""
    rent_held: int = 0
    """Still set aside for it."""

    @property
    def hourly(self) -> int:
        """Micro-yuan for an hour, fully delivered."""
        return self.lots * self.price

    @property
    def hourly_rent(self) -> int:
        return self.lots * self.rent


@dataclass(frozen=True, slots=True)
class Booked:
    """Lots of a pool that its contracts have for one time, together."""

    pool_id: str
    unit_class: str
    period: Period
    lots: int


@dataclass(frozen=True, slots=True)
class Draft:
    """A contract about to be signed; what is held for it has been set aside before."""

    origin: Origin
    reference: str
    buyer: Party
    seller: Party
    site_id: str
    pool_id: str
    product: Product
    period: Period
    lots: int
    price: int
    terms: Terms
    deposit: int = 0
    """Micro-yuan that the seller has set aside."""
    backing_id: str | None = None
    rent: int = 0
    """Micro-yuan for a lot and hour, beside the price."""

    @property
    def worth(self) -> int:
        """Micro-yuan for all of it, without rent."""
        return self.lots * self.price * self.period.hours

    @property
    def whole_rent(self) -> int:
        return self.lots * self.rent * self.period.hours


@dataclass(frozen=True, slots=True)
class Reputation:
    """What a seller has delivered of what he promised, as it was measured."""

    organisation_id: str
    hours: int
    """Hours of contracts that were settled."""
    promised: int
    """Lots, summed over the looks at them."""
    delivered: int

    @property
    def delivered_milli(self) -> int | None:
        """Thousandths; None: nobody looked yet."""
        return self.delivered * 1_000 // self.promised if self.promised else None


@dataclass(frozen=True, slots=True)
class Hour:
    """What was measured and paid of one hour of a contract."""

    contract_id: str
    hour: int
    samples: int
    """How often was looked."""
    delivered: int
    """Lots that were there, summed over the samples."""
    charged: int
    """Micro-yuan."""
    credited: int
    settled_at_ms: int
    rent: int = 0
    """Paid to the platform for what was delivered."""
