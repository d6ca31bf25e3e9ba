"""Charges as rows of FOCUS 1.2 (FinOps Open Cost and Usage Specification), for cost tools. Pure.

A charge is priced by meters (core, memory, card), and rounded once: it becomes a row for each
meter that costs something, its amount split so that the rows sum to it. Whatever else moved the
account in the month, top-ups aside, is an adjustment. So the billed costs of a project's month sum
to charged − adjusted of its statement, to the micro-yuan.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from suanwang.kernel.money import allot, scale
from suanwang.trade.billing.model import PricedUsage
from suanwang.trade.billing.rules import month_bounds
from suanwang.trade.ledger.model import CNY, AccountLine

MANDATORY = (
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ServiceCategory",
    "ServiceName",
)
BESIDE = (
    "BillingAccountType",
    "ChargeFrequency",
    "CommitmentDiscountStatus",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedUnitPrice",
    "InvoiceId",
    "ListUnitPrice",
    "PricingCategory",
    "PricingCurrency",
    "PricingCurrencyContractedUnitPrice",
    "PricingCurrencyEffectiveCost",
    "PricingCurrencyListUnitPrice",
    "RegionId",
    "RegionName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SkuPriceDetails",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountName",
    "SubAccountType",
    "Tags",
    "x_Description",
    "x_JobId",
    "x_UsageId",
)
COLUMNS = tuple(sorted((*MANDATORY, *BESIDE), key=lambda name: (name.startswith("x_"), name)))
HOUR_MILLI = 3_600_000
"""Milli-units x seconds in a unit-hour."""
_PLACES = Decimal("0.000000000001")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pool is, as its provider named it."""

    pool: str
    site: str
    region: str


@dataclass(frozen=True, slots=True)
class Account:
    """Whose month it is; the names that stand beside ids."""

    month: str
    organisation_id: str
    organisation: str
    issuer: str
    projects: Mapping[str, str] = field(default_factory=dict)
    """Names of projects by id."""
    providers: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[str, Place] = field(default_factory=dict)
    """By pool id."""
    invoice: str = ""
    """Id of the month's invoice. Not its number: readers of CSV take twenty digits for a figure."""
    as_provider: bool = False
    """Rows tell what the pools earned, fee deducted, and not for whom."""


@dataclass(frozen=True, slots=True)
class _Meter:
    name: str
    unit: str
    price: int
    """Micro-yuan for a unit-hour."""
    quantity: Decimal
    weight: int


def _meters(one: PricedUsage) -> list[_Meter]:
    record, prices = one.record, one.prices
    found = (
        ("Cores", "Core-Hours", prices.core_hour, record.core_milli_seconds, HOUR_MILLI),
        (
            "Memory",
            "GiB-Hours",
            prices.memory_gib_hour,
            record.memory_mib_seconds,
            1_024 * 3_600,
        ),
        (
            "Accelerators",
            "Accelerator-Hours",
            prices.accelerator_hour,
            record.accelerator_milli_seconds,
            HOUR_MILLI,
        ),
    )
    return [
        _Meter(name, unit, price, _decimal(quantity, per), scale(price * quantity, 1, per))
        for name, unit, price, quantity, per in found
        if quantity and price
    ]


def _decimal(numerator: int, denominator: int) -> Decimal:
    return (Decimal(numerator) / Decimal(denominator)).quantize(_PLACES)


def cost(micro: int) -> str:
    """Yuan, a decimal that keeps every micro-yuan."""
    sign = "-" if micro < 0 else ""
    whole, rest = divmod(abs(micro), 1_000_000)
    return f"{sign}{whole}.{rest:06d}"


def instant(at_ms: int) -> str:
    """To the second, as the specification writes it."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def plain(name: str, identity: str) -> str:
    """The name if it is ASCII, which the validator asks of every text; else the id."""
    return name if name and name.isascii() else identity


def _common(account: Account) -> dict[str, str]:
    from_ms, until_ms = month_bounds(account.month)
    return {
        "BillingAccountId": account.organisation_id,
        "BillingAccountName": plain(account.organisation, account.organisation_id),
        "BillingAccountType": "Organisation",
        "BillingCurrency": CNY,
        "PricingCurrency": CNY,
        "BillingPeriodStart": instant(from_ms),
        "BillingPeriodEnd": instant(until_ms),
        "InvoiceIssuerName": account.issuer,
        "InvoiceId": account.invoice,
        "ProviderName": account.issuer,
    }


def usage_rows(one: PricedUsage, account: Account) -> list[dict[str, str]]:
    """A row for each meter; none for a record of no time and no cost."""
    record = one.record
    listed = one.amount_micro_yuan
    billed = listed - one.relieved_micro_yuan
    if account.as_provider:
        listed = billed = one.amount_micro_yuan - one.fee_micro_yuan
    meters = _meters(one)
    weights = [meter.weight for meter in meters]
    if not sum(weights):
        return [_usage_row(one, account, None, billed, listed)] if listed else []
    return [
        _usage_row(one, account, meter, part, of)
        for meter, part, of in zip(
            meters, allot(billed, weights), allot(listed, weights), strict=True
        )
        if record.end_ms > record.start_ms or of
    ]


def _usage_row(
    one: PricedUsage, account: Account, meter: _Meter | None, part: int, listed: int
) -> dict[str, str]:
    """`part` is what the account pays, `listed` what it is without programmes."""
    record, prices = one.record, one.prices
    found = account.places.get(record.pool_id, Place("", "", ""))
    pool, site = plain(found.pool, record.pool_id), plain(found.site, record.site_id)
    region = plain(found.region, record.site_id)
    provider = record.provider_organisation_id
    project = record.project_id
    name = meter.name if meter else "Cores"
    unit = meter.unit if meter else "Core-Hours"
    quantity = str(meter.quantity) if meter else "0.0"
    price = cost(meter.price) if meter else "0.000000"
    hidden = account.as_provider
    return {
        **_common(account),
        "BilledCost": cost(part),
        "EffectiveCost": cost(part),
        "ContractedCost": cost(listed),
        "ListCost": cost(listed),
        "ChargeCategory": "Usage",
        "ChargeClass": "",
        "ChargeDescription": f"{name} of {site}/{pool} by the second",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": instant(record.start_ms),
        "ChargePeriodEnd": instant(max(record.end_ms, record.start_ms + 1_000)),
        "ConsumedQuantity": quantity,
        "ConsumedUnit": unit,
        "ContractedUnitPrice": price,
        "ListUnitPrice": price,
        "PricingCategory": "Standard",
        "PricingCurrencyContractedUnitPrice": price,
        "PricingCurrencyEffectiveCost": cost(part),
        "PricingCurrencyListUnitPrice": price,
        "PricingQuantity": quantity,
        "PricingUnit": unit,
        "PublisherName": plain(account.providers.get(provider, ""), provider),
        "RegionId": region,
        "RegionName": region,
        "ResourceId": record.pool_id if hidden else record.lease_id,
        "ResourceName": pool if hidden else record.job_id,
        "ResourceType": "Pool" if hidden else "Lease",
        "ServiceCategory": "Compute",
        "ServiceName": "Suanwang Compute",
        "ServiceSubcategory": "Other (Compute)",
        "SkuId": f"{record.pool_id}/{name}",
        "SkuMeter": f"{name} {unit}",
        "SkuPriceDetails": "",
        "SkuPriceId": f"{prices.id}/{name}",
        "SubAccountId": record.site_id if hidden else record.project_id,
        "SubAccountName": site if hidden else plain(account.projects.get(project, ""), project),
        "SubAccountType": "Site" if hidden else "Project",
        "Tags": "{}" if hidden else json.dumps({"job": record.job_id, "user": record.user_id}),
        "x_JobId": "" if hidden else record.job_id,
        "x_UsageId": record.id,
    }


def adjustment_row(line: AccountLine, project_id: str, account: Account) -> dict[str, str]:
    """A reversal, a transfer, a credit: what it gives the account is a negative cost."""
    amount = cost(-line.amount_micro_yuan)
    return {
        **_common(account),
        "BilledCost": amount,
        "EffectiveCost": amount,
        "ContractedCost": amount,
        "ListCost": amount,
        "ChargeCategory": "Adjustment",
        "ChargeClass": "",
        "ChargeDescription": f"{line.kind.value} {line.entry_id}",
        "ChargeFrequency": "One-Time",
        "ChargePeriodStart": instant(line.at_ms),
        "ChargePeriodEnd": instant(line.at_ms + 1_000),
        "PricingCurrencyEffectiveCost": amount,
        "PublisherName": account.issuer,
        "ServiceCategory": "Other",
        "ServiceName": "Suanwang Billing",
        "ServiceSubcategory": "Other (Other)",
        "SubAccountId": project_id,
        "SubAccountName": plain(account.projects.get(project_id, ""), project_id),
        "SubAccountType": "Project",
        "Tags": "{}",
        "x_Description": line.description,
        "x_UsageId": line.entry_id,
    }


def csv_text(rows: Iterable[Mapping[str, str]], *, head: bool = False) -> str:
    """What is null is an empty field."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    if head:
        table.writerow(COLUMNS)
    table.writerows([row.get(name, "") for name in COLUMNS] for row in rows)
    return out.getvalue()
