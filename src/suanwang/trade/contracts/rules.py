"""Decisions of contracts: what is set aside, what an hour costs, who may still step back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from suanwang.kernel.errors import require
from suanwang.kernel.money import scale
from suanwang.kernel.time import MS_PER_HOUR
from suanwang.trade.billing.model import UsageRecord
from suanwang.trade.catalogue.model import CORE
from suanwang.trade.contracts.model import Contract, ContractState, Draft, Terms

SECONDS = 3_600
MILLI = 1_000
GRACE_MS = 60_000
"""After an hour's end: samples and messages of it are in by then."""


class Phase(StrEnum):
    """What a person sees; `UPCOMING` and `RUNNING` are both signed."""

    UPCOMING = "upcoming"
    RUNNING = "running"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"


def phase(contract: Contract, now_ms: int) -> Phase:
    if contract.state is not ContractState.SIGNED:
        return Phase(contract.state.value)
    return Phase.RUNNING if contract.period.from_ms <= now_ms else Phase.UPCOMING


def deposit_of(terms: Terms, worth: int) -> int:
    """What the seller sets aside for capacity worth so much."""
    return scale(worth, terms.deposit_percent, 100)


def funded(draft: Draft) -> Draft:
    """With the deposit that its terms ask for."""
    return replace(draft, deposit=deposit_of(draft.terms, draft.worth))


@dataclass(frozen=True, slots=True)
class Delivered:
    """One hour of a contract, weighed: what is billed as usage, and the credit beside it."""

    record: UsageRecord
    charged: int
    """Micro-yuan the usage comes to."""
    credited: int
    """From the seller to the buyer."""
    seller_released: int
    """Of the seller's deposit."""
    rent: int = 0
    """From the buyer to the platform."""
    rent_released: int = 0
    """Of what the buyer has set aside for it."""


def settle_hour(contract: Contract, samples: int, delivered: int, price_list_id: str) -> Delivered:
    """The next unsettled hour: paid in proportion to what was there, credited for the rest.

    `delivered` is lots summed over the samples. An hour at which nobody looked (the platform was
    down) is neither paid nor credited: what is not measured is nobody's debt. Rent goes with the
    price: for what was not delivered none is owed.
    """
    require(contract.state is ContractState.SIGNED, "ContractEnded", f"{contract.id} has ended.")
    require(
        0 <= delivered <= samples * contract.lots,
        "DeliveredTooMuch",
        f"{contract.id}: {delivered} of {samples} x {contract.lots} lots.",
    )
    promised = samples * contract.lots
    hourly = contract.hourly
    seconds = contract.lots * MILLI * SECONDS
    units = seconds * delivered // promised if promised else 0
    charged = scale(contract.price * units, 1, MILLI * SECONDS)
    missing = hourly - charged if promised else 0
    credited = scale(missing, contract.terms.credit_percent, 100)
    last = contract.settled_hours + 1 == contract.period.hours
    left = contract.period.hours - contract.settled_hours - 1
    keep = scale(contract.seller_held, left, left + 1)
    return Delivered(
        record=_record(contract, units, price_list_id, last),
        charged=charged,
        credited=credited,
        seller_released=contract.seller_held - keep,
        rent=scale(contract.rent * units, 1, MILLI * SECONDS),
        rent_released=contract.rent_held if last else min(contract.hourly_rent, contract.rent_held),
    )


def _record(contract: Contract, units: int, price_list_id: str, last: bool) -> UsageRecord:
    hour = contract.period.first_hour + contract.settled_hours
    is_core = contract.product.unit_class == CORE
    release = contract.buyer_held if last else min(contract.hourly, contract.buyer_held)
    return UsageRecord(
        source=contract.site_id,
        id=f"{contract.id}.0.{hour}",
        lease_id=contract.id,
        epoch=0,
        task_id="",
        job_id=contract.id,
        organisation_id=contract.buyer.organisation_id,
        project_id=contract.buyer.project_id,
        user_id=contract.buyer.user_id,
        provider_organisation_id=contract.seller.organisation_id,
        site_id=contract.site_id,
        pool_id=contract.pool_id,
        price_list_id=price_list_id,
        hour=hour,
        start_ms=hour * MS_PER_HOUR,
        end_ms=(hour + 1) * MS_PER_HOUR,
        billable_seconds=SECONDS if units else 0,
        core_milli_seconds=units if is_core else 0,
        memory_mib_seconds=0,
        accelerator_milli_seconds=0 if is_core else units,
        final=last,
        hold_release_micro_yuan=release,
    )


def cancel_fee(contract: Contract) -> int:
    """What the buyer who cancels in time owes the seller."""
    worth = contract.hourly * contract.period.hours
    return min(contract.buyer_held, scale(worth, contract.terms.cancel_percent, 100))


def rent_of_cancelled(contract: Contract) -> int:
    """What the buyer who cancels owes of rent: all of it. The link was kept for him, and nobody
    else was let onto it; capacity of a link that its holder does not use is paid for."""
    return contract.rent_held


def may_cancel(contract: Contract, now_ms: int, pledged: bool) -> str | None:
    """Why the buyer cannot cancel any more; None: he can. `pledged`: lots of it are sold on."""
    if contract.state is not ContractState.SIGNED:
        return f"The contract is {contract.state.value}."
    if pledged:
        return "Some of its lots are offered again or sold on."
    until_ms = contract.period.from_ms - contract.terms.cancel_hours * MS_PER_HOUR
    if now_ms >= until_ms:
        return f"It could be cancelled until {contract.terms.cancel_hours} hours before it began."
    return None


def withdrawal_credit(contract: Contract) -> int:
    """What a seller who withdraws owes: the credit for every hour that he will not deliver."""
    left = contract.period.hours - contract.settled_hours
    return scale(contract.hourly * left, contract.terms.credit_percent, 100)
