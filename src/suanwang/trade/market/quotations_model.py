"""The words of quotations: a buyer's enquiry, and the sealed quotes that answer it.

    enquiry:  open ──▶ awarded       at the deadline, to one quote or (divisible) several
                ├────▶ failed        at the deadline; `why` says for want of what
                └────▶ cancelled     by its buyer, before the deadline

    quote:  sealed ──▶ won           it is a contract now
                ├────▶ lost          `why`: outbid, above the ceiling, capacity gone …
                ├────▶ withdrawn     by its seller, before the deadline
                └────▶ replaced      by a later one of his from the same source

Nothing is held or pledged for an enquiry that is not open, nor for a quote that is not sealed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from suanwang.trade.catalogue.model import Period, Product
from suanwang.trade.contracts.model import Party, Terms
from suanwang.trade.market.model import STANDARD


class Rule(StrEnum):
    """Who wins. Ties: the earlier quote, then the lesser id."""

    LOWEST_PRICE = "lowest_price"
    LOWEST_PER_UNIT = "lowest_per_unit"
    """Lowest price for a normalised unit of computing, where the alternatives' classes differ."""


class EnquiryState(StrEnum):
    OPEN = "open"
    AWARDED = "awarded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class QuoteState(StrEnum):
    SEALED = "sealed"
    WON = "won"
    LOST = "lost"
    WITHDRAWN = "withdrawn"
    REPLACED = "replaced"


class Why(StrEnum):
    """Why an enquiry failed, or why a quote did not win."""

    NO_QUOTES = "NoQuotes"
    NO_VALID_QUOTE = "NoValidQuote"
    TOO_FEW_LOTS = "TooFewLots"
    TOO_LATE = "TooLate"
    """The platform came to the deadline only after the delivery should have begun."""
    BUYER_SUSPENDED = "BuyerSuspended"
    BUYER_PROJECT_CLOSED = "BuyerProjectClosed"
    BUYER_WITHOUT_MONEY = "BuyerWithoutMoney"
    OUTBID = "Outbid"
    ABOVE_CEILING = "AboveCeiling"
    CAPACITY_GONE = "CapacityGone"
    SELLER_SUSPENDED = "SellerSuspended"
    SELLER_PROJECT_CLOSED = "SellerProjectClosed"
    SELLER_WITHOUT_DEPOSIT = "SellerWithoutDeposit"
    SEAL_DAMAGED = "SealDamaged"
    CANCELLED = "EnquiryCancelled"


@dataclass(frozen=True, slots=True)
class HouseRules:
    """What the platform asks of those who enquire. Kept with each enquiry as it was then."""

    earnest_percent: int = 20
    """Of what is expected, set aside by a buyer who gives no ceiling."""
    cancel_fee_percent: int = 1
    """Of what is set aside, paid to those who have quoted by a buyer who cancels."""


@dataclass(frozen=True, slots=True, order=True)
class Alternative:
    """A product that would do. `figure`: normalised units in a lot, 0 where none is needed."""

    product: Product
    figure: int = 0


@dataclass(frozen=True, slots=True)
class EnquiryGiven:
    """What a buyer says. Prices are micro-yuan for a lot and hour."""

    products: tuple[Product, ...]
    lots: int
    period: Period
    deadline_ms: int
    ceiling: int | None = None
    ceiling_public: bool = True
    expected: int | None = None
    """Without a ceiling: what the buyer reckons with. Nobody else sees it."""
    bond: int | None = None
    """What a quote sets aside for a lot and hour; None: the deposit of a public ceiling."""
    rule: Rule = Rule.LOWEST_PRICE
    divisible: bool = False
    min_lots: int | None = None
    """Of a divisible one: fewer are of no use. None: all."""
    invited: tuple[str, ...] = ()
    """Organisations; empty: everybody."""
    title: str = ""
    terms: Terms = STANDARD


@dataclass(frozen=True, slots=True)
class Enquiry:
    id: str
    buyer: Party
    title: str
    alternatives: tuple[Alternative, ...]
    lots: int
    min_lots: int
    period: Period
    ceiling: int | None
    ceiling_public: bool
    expected: int | None
    bond: int
    rule: Rule
    divisible: bool
    invited: tuple[str, ...]
    terms: Terms
    house: HouseRules
    deadline_ms: int
    held: int
    """Micro-yuan set aside on the buyer's project; 0 once it ended."""
    state: EnquiryState
    why: str
    asked_at_ms: int
    ended_at_ms: int | None
    key: str | None

    def figure_of(self, product: Product) -> int | None:
        """Normalised units in a lot; None: the product is no alternative."""
        return next((one.figure for one in self.alternatives if one.product == product), None)


@dataclass(frozen=True, slots=True)
class QuoteGiven:
    """What a seller says; `lots` None: all that is asked for."""

    source_id: str
    price: int
    lots: int | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Quote:
    id: str
    enquiry_id: str
    seller: Party
    source_id: str
    site_id: str
    pool_id: str
    product: Product
    lots: int
    sealed: bytes
    """The price as nobody reads it; empty once it was opened or will never be."""
    price: int | None
    """Micro-yuan for a lot and hour, from the opening on."""
    held: int
    state: QuoteState
    why: str
    won_lots: int
    contract_id: str | None
    quoted_at_ms: int
    key: str | None

    @property
    def backing_id(self) -> str | None:
        return self.source_id if self.source_id != self.pool_id else None
