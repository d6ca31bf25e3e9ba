"""What the routes of policy programmes take."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import BaseModel, Field

from suanwang.edge.api.money import MoneyGiven
from suanwang.trade.policy.life import Finding
from suanwang.trade.policy.model import (
    Card,
    EntityKind,
    Evidence,
    Facility,
    FacilityFacts,
    Figures,
    Ground,
    Item,
    Profile,
    Request,
    Size,
)

Short = Annotated[str, Field(max_length=100)]
Reference = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[!-~]+$")]
Remark = Annotated[str, Field(max_length=1_000)]
Percent = Annotated[int, Field(ge=0, le=100)]
Codes = Annotated[list[Short], Field(max_length=50)]


class RequestGiven(BaseModel):
    """What is asked of a programme; the amount is the base that its share is of."""

    item: Item = Item.COMPUTE
    amount: MoneyGiven | None = None
    units: Annotated[int, Field(ge=0, le=10_000)] = 0
    provider: Short | None = Field(default=None, description="Organisation, by name or id.")
    contract: Short = ""
    project_reference: Short = ""
    signed_on: date | None = None
    card: Card = Card.OTHER
    direction: Short = ""
    evidence: dict[Evidence, Short] = Field(
        default_factory=dict, description="Kind → number, digest or address of the paper."
    )

    def request(self, provider_organisation_id: str | None) -> Request:
        return Request(
            self.item,
            0 if self.amount is None else max(0, self.amount.amount("amount")),
            self.units,
            provider_organisation_id,
            self.contract.strip(),
            self.project_reference.strip(),
            self.signed_on,
            self.card,
            self.direction.strip(),
            tuple(sorted((kind, where) for kind, where in self.evidence.items())),
        )


class FiguresGiven(BaseModel):
    """What a reviewer states where the published text leaves it open."""

    percent: Percent | None = None
    entity_year: MoneyGiven | None = None
    unit: MoneyGiven | None = None
    line: MoneyGiven | None = None
    expires_on: date | None = None

    def figures(self) -> Figures:
        def micro(given: MoneyGiven | None, field: str) -> int | None:
            return None if given is None else given.amount(field)

        return Figures(
            self.percent,
            micro(self.entity_year, "entity_year"),
            micro(self.unit, "unit"),
            micro(self.line, "line"),
            self.expires_on,
        )


class CheckGiven(RequestGiven):
    organisation: Short | None = Field(default=None, description="The caller's own if absent.")
    figures: FiguresGiven = FiguresGiven()


class ApplicationGiven(RequestGiven):
    project: Short | None = Field(default=None, description="Whose charges are lowered.")


class GrantGiven(BaseModel):
    figures: FiguresGiven = FiguresGiven()
    remark: Remark = ""


class RefusalGiven(BaseModel):
    remark: Annotated[str, Field(min_length=1, max_length=1_000)]


class DocumentGiven(BaseModel):
    document: Annotated[str, Field(max_length=65_536, description="The programme in YAML.")]


class BudgetGiven(BaseModel):
    year: Annotated[int, Field(ge=2000, le=2100)]
    amount: MoneyGiven | None = Field(
        default=None, description="The pool; what the document says if absent."
    )


class FundingGiven(BaseModel):
    funder: Short
    amount: MoneyGiven
    reference: Reference


class PayoutGiven(BaseModel):
    amount: MoneyGiven | None = Field(default=None, description="All that is left if absent.")
    reference: Reference


class AuditGiven(BaseModel):
    finding: Finding
    remark: Remark = ""


class ClawbackGiven(BaseModel):
    ground: Ground
    amount: MoneyGiven | None = Field(default=None, description="All that was paid if absent.")
    remark: Annotated[str, Field(min_length=1, max_length=1_000)]


class WhatIfGiven(BaseModel):
    """A span of charges; a figure for what the text leaves open."""

    from_day: date
    until_day: date = Field(description="The day after the last one.")
    percent: Percent | None = None
    budget: MoneyGiven | None = None


class FacilityGiven(BaseModel):
    kind: Facility
    pflops: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    racks: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    metering_logs: bool = False


class ProfileGiven(BaseModel):
    """What programmes ask of an organisation."""

    name: Short
    uscc: Annotated[str, Field(max_length=18, description="统一社会信用代码, 18 characters.")]
    region: Annotated[str, Field(max_length=60, examples=["henan/zhengzhou"])]
    kind: EntityKind
    size: Size | None = None
    sector: Short = ""
    founded: date | None = None
    affiliates: Codes = []
    qualifications: Codes = []
    dishonest_on: date | None = None
    facility: FacilityGiven | None = None

    def profile(self, organisation_id: str) -> Profile:
        facility = self.facility
        return Profile(
            organisation_id,
            self.name.strip(),
            self.uscc.strip().upper(),
            self.region.strip().strip("/").lower(),
            self.kind,
            self.size,
            self.sector.strip(),
            self.founded,
            tuple(sorted(set(self.affiliates))),
            tuple(sorted(set(self.qualifications))),
            self.dishonest_on,
            None if facility is None else FacilityFacts(**facility.model_dump()),
        )
