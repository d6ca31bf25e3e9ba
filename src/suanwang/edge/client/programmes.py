"""Policy programmes: what there is, who is eligible, applying; what one would have cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from suanwang.edge.client.amounts import Amount, money
from suanwang.edge.client.http import segment
from suanwang.edge.client.nouns import Day, Noun, given

if TYPE_CHECKING:
    from suanwang.edge.client.views_billing import Booked
    from suanwang.edge.client.views_programmes import (
        Application,
        Budget,
        Eligibility,
        Profile,
        Programme,
        ProgrammeDetail,
        Voucher,
        WhatIf,
    )

PROGRAMMES = "/v1/programmes"
APPLICATIONS = "/v1/programme-applications"
Item = Literal[
    "compute",
    "training",
    "model_use",
    "tokens",
    "listed_products",
    "corpus",
    "supply",
    "premium",
    "loan",
    "secondment",
]
Card = Literal["domestic", "other"]
ApplicationState = Literal["submitted", "granted", "refused", "withdrawn"]


def _request(
    item: Item,
    amount: Amount | None,
    units: int,
    provider: str | None,
    contract: str,
    project_reference: str,
    signed_on: Day | None,
    card: Card,
    direction: str,
    evidence: Mapping[str, str] | None,
) -> dict[str, Any]:
    return given(
        item=item,
        amount=money(amount),
        units=units,
        provider=provider,
        contract=contract,
        project_reference=project_reference,
        signed_on=signed_on,
        card=card,
        direction=direction,
        evidence=evidence,
    )


def _figures(
    percent: int | None,
    entity_year: Amount | None,
    unit: Amount | None,
    line: Amount | None,
    expires_on: Day | None,
) -> dict[str, Any]:
    """What a reviewer states where the published text leaves it open."""
    return given(
        percent=percent,
        entity_year=money(entity_year),
        unit=money(unit),
        line=money(line),
        expires_on=expires_on,
    )


class Programmes(Noun):
    """`client.programmes`. In requests, `amount` is the base that a programme's share is of, and
    `evidence` maps a kind of paper to its number, digest or address."""

    def search(self) -> list[Programme]:
        """All that are published, with what is left of their budgets."""
        found: list[Programme] = self._api.get(PROGRAMMES)
        return found

    def show(self, programme: str, *, version: int | None = None) -> ProgrammeDetail:
        """Its document, the same in words, and its source."""
        found: ProgrammeDetail = self._api.get(_path(programme), {"version": version})
        return found

    def check(
        self,
        programme: str,
        *,
        item: Item = "compute",
        amount: Amount | None = None,
        units: int = 0,
        provider: str | None = None,
        contract: str = "",
        project_reference: str = "",
        signed_on: Day | None = None,
        card: Card = "other",
        direction: str = "",
        evidence: Mapping[str, str] | None = None,
        organisation: str | None = None,
        percent: int | None = None,
        entity_year: Amount | None = None,
        unit: Amount | None = None,
        line: Amount | None = None,
        expires_on: Day | None = None,
    ) -> Eligibility:
        """Whether it would be granted, how much, and every reason why not. Nothing is applied for.

        The last five are figures that the text leaves open; `open_figures` names those it needs.
        """
        body = _request(
            item,
            amount,
            units,
            provider,
            contract,
            project_reference,
            signed_on,
            card,
            direction,
            evidence,
        )
        figures = _figures(percent, entity_year, unit, line, expires_on)
        body |= given(organisation=organisation, figures=figures)
        found: Eligibility = self._api.post(_path(programme, "/check"), body, repeat=True)
        return found

    def apply(
        self,
        programme: str,
        *,
        item: Item = "compute",
        amount: Amount | None = None,
        units: int = 0,
        provider: str | None = None,
        contract: str = "",
        project_reference: str = "",
        signed_on: Day | None = None,
        card: Card = "other",
        direction: str = "",
        evidence: Mapping[str, str] | None = None,
        project: str | None = None,
    ) -> Application:
        """For the project whose charges are lowered. It waits for review."""
        body = _request(
            item,
            amount,
            units,
            provider,
            contract,
            project_reference,
            signed_on,
            card,
            direction,
            evidence,
        )
        body |= given(project=project or self._project)
        found: Application = self._api.post(_path(programme, "/applications"), body)
        return found

    def applications(
        self,
        *,
        organisation: str | None = None,
        state: ApplicationState | None = None,
        most: int | None = None,
    ) -> Iterator[Application]:
        """The latest first: of one's own organisation, or for an operator of all."""
        query = {"organisation": organisation, "state": state}
        yield from self._api.pages(APPLICATIONS, query, most=most)

    def application(self, application: str) -> Application:
        found: Application = self._api.get(f"{APPLICATIONS}/{segment(application)}")
        return found

    def withdraw(self, application: str) -> Application:
        """Take one back that is not decided yet."""
        path = f"{APPLICATIONS}/{segment(application)}/withdraw"
        found: Application = self._api.post(path, {}, repeat=True)
        return found

    def profile(self, organisation: str) -> Profile | None:
        """What programmes are told of an organisation; None while nobody has stated it."""
        found: Profile | None = self._api.get(_profile_path(organisation))
        return found

    def state_profile(self, organisation: str, profile: Mapping[str, Any]) -> Profile:
        """In the place of what was stated before: `name`, `uscc`, `region`, `kind`, and the rest as
        `profile` shows it."""
        found: Profile = self._api.put(_profile_path(organisation), dict(profile))
        return found

    # --- for whoever may ---------------------------------------------------------------------

    def what_if(
        self,
        programme: str,
        *,
        from_day: Day,
        until_day: Day,
        percent: int | None = None,
        budget: Amount | None = None,
    ) -> WhatIf:
        """What it would have cost over past charges, until before `until_day`."""
        body = given(from_day=from_day, until_day=until_day, percent=percent, budget=money(budget))
        found: WhatIf = self._api.post(_path(programme, "/what-if"), body, repeat=True)
        return found

    def publish(self, document: str) -> Programme:
        """A programme as YAML text. The same text again changes nothing."""
        found: Programme = self._api.post(PROGRAMMES, {"document": document}, repeat=True)
        return found

    def set_budget(self, programme: str, year: int, amount: Amount | None = None) -> Budget:
        """Of a year; what the text says if no amount is given."""
        body = given(year=year, amount=money(amount))
        found: Budget = self._api.put(_path(programme, "/budget"), body)
        return found

    def book_funding(
        self, programme: str, funder: str, amount: Amount, *, reference: str
    ) -> Booked:
        """What a funder paid; once for each number of a payment."""
        body = given(funder=funder, amount=money(amount), reference=reference)
        found: Booked = self._api.post(_path(programme, "/funding"), body, repeat=True)
        return found

    def grant(
        self,
        application: str,
        *,
        percent: int | None = None,
        entity_year: Amount | None = None,
        unit: Amount | None = None,
        line: Amount | None = None,
        expires_on: Day | None = None,
        remark: str = "",
    ) -> Voucher:
        """Review it: yes, with the figures that the text leaves open."""
        figures = _figures(percent, entity_year, unit, line, expires_on)
        path = f"{APPLICATIONS}/{segment(application)}/grant"
        body = {"figures": figures, "remark": remark}
        found: Voucher = self._api.post(path, body, repeat=True)
        return found

    def refuse(self, application: str, remark: str) -> Application:
        """Review it: no, in words for the applicant."""
        path = f"{APPLICATIONS}/{segment(application)}/refuse"
        found: Application = self._api.post(path, {"remark": remark}, repeat=True)
        return found


def _path(programme: str, rest: str = "") -> str:
    return f"{PROGRAMMES}/{segment(programme)}{rest}"


def _profile_path(organisation: str) -> str:
    return f"/v1/organisations/{segment(organisation)}/profile"
