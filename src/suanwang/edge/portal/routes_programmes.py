"""Public programmes: the list, one in words with check and application, what if, the profile."""

from __future__ import annotations

import json
from datetime import date, timedelta
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import ValidationError
from sqlalchemy.engine import Connection
from starlette.responses import Response

from suanwang.edge.api import given_programmes as given_models
from suanwang.edge.api import routes_programmes, routes_vouchers, views_programmes
from suanwang.edge.portal import reasons
from suanwang.edge.portal.errors import PortalRoute
from suanwang.edge.portal.rendering import Page, SignedIn
from suanwang.edge.portal.routes_admin import answered, given
from suanwang.kernel.errors import SuanwangError
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.model import Action
from suanwang.trade.policy import checking, service
from suanwang.trade.policy.model import (
    METERED_ITEMS,
    Card,
    EntityKind,
    Evidence,
    Facility,
    Programme,
    Size,
)
from suanwang.trade.policy.names import name_of

router = APIRouter(route_class=PortalRoute)
MOST = 500
QUARTER_DAYS = 90
Day = Annotated[str, Query(max_length=10)]


def naming(page: Page) -> Any:
    return partial(name_of, language=page.language)


@router.get("/programmes")
async def programmes(page: SignedIn) -> Response:
    found = await routes_programmes.list_programmes(page.principal, page.context)
    profile = await _own_profile(page)
    return page.render(
        "programmes.html",
        # those with money first
        programmes=sorted(found, key=lambda one: not one.budgets),
        named=naming(page),
        profile=profile,
        year=checking.year_of(page.now_ms),
        may_steer=page.principal.is_operator,
    )


async def _own_profile(page: Page) -> views_programmes.ProfileView | None:
    return await routes_programmes.get_profile(
        page.principal.organisation_id, page.principal, page.context
    )


# --- the profile -------------------------------------------------------------------------------


async def _profile(
    page: Page,
    organisation: str = "",
    problem: reasons.Problem | None = None,
    form: dict[str, str] | None = None,
) -> Response:
    chosen = organisation or page.principal.organisation_id
    found = await routes_programmes.get_profile(chosen, page.principal, page.context)
    known = found.profile if found is not None else {}
    facility = known.get("facility") or {}
    filled = {
        **{key: value for key, value in known.items() if isinstance(value, str)},
        "affiliates": ", ".join(known.get("affiliates", ())),
        "qualifications": ", ".join(known.get("qualifications", ())),
        "facility": facility.get("kind", ""),
        "pflops": str(facility.get("pflops", "") or ""),
        "racks": str(facility.get("racks", "") or ""),
        "metering_logs": "1" if facility.get("metering_logs") else "",
    }
    organisations = await page.context.database.read(
        lambda conn: tenancy.organisations(conn, page.principal, limit=MOST)
    )
    return page.render(
        "programme_profile.html",
        problem.status if problem else 200,
        organisations=organisations,
        organisation=chosen,
        verified_at=found.verified_at if found is not None else None,
        form=form or filled,
        problem=problem,
        named=naming(page),
        kinds=list(EntityKind),
        sizes=list(Size),
        facilities=list(Facility),
        may_write=page.may(Action.WRITE_ORGANISATION, page.principal.organisation_id),
    )


@router.get("/programmes/profile")
async def profile(
    page: SignedIn, organisation: Annotated[str, Query(max_length=128)] = ""
) -> Response:
    return await _profile(page, organisation)


def _listed(text: str) -> list[str]:
    parts = text.replace("，", ",").replace("、", ",").split(",")
    return [one.strip() for one in parts if one.strip()]


@router.post("/programmes/profile")
async def put_profile(page: SignedIn) -> Response:
    async def change(form: dict[str, str]) -> None:
        names = ("name", "uscc", "region", "kind", "size", "sector", "founded", "dishonest_on")
        body: dict[str, Any] = {
            **given(form, *names),
            "affiliates": _listed(form.get("affiliates", "")),
            "qualifications": _listed(form.get("qualifications", "")),
        }
        if form.get("facility"):
            body["facility"] = {
                "kind": form["facility"],
                "metering_logs": bool(form.get("metering_logs")),
                **given(form, "pflops", "racks"),
            }
        await routes_programmes.put_profile(
            form.get("organisation") or page.principal.organisation_id,
            given_models.ProfileGiven.model_validate(body),
            page.principal,
            page.context,
        )

    async def show(problem: reasons.Problem, form: dict[str, str]) -> Response:
        return await _profile(page, form.get("organisation", ""), problem, form)

    return await answered(page, change, "/programmes/profile?done=saved", show)


# --- one programme -----------------------------------------------------------------------------


def _papers(document: Programme) -> list[Evidence]:
    wanted = [*document.evidence, *(e for one in document.benefits for e in one.evidence)]
    return list(dict.fromkeys(wanted))


async def _programme(
    page: Page,
    programme_id: str,
    problem: reasons.Problem | None = None,
    form: dict[str, str] | None = None,
    checked: views_programmes.CheckView | None = None,
) -> Response:
    principal, context = page.principal, page.context
    found = await routes_programmes.get_programme(programme_id, principal, context)

    def query(conn: Connection) -> dict[str, Any]:
        document = checking.programme(conn, programme_id)
        known = service.all_profiles(conn)
        return {
            "projects": tenancy.projects(conn, principal, limit=MOST),
            "providers": [known[id_] for id_ in sorted(known) if known[id_].facility is not None],
            "papers": _papers(document),
            "units": any(one.unit is not None for one in document.benefits),
            "is_metered": any(i in METERED_ITEMS for b in document.benefits for i in b.items),
        }

    return page.render(
        "programme.html",
        problem.status if problem else 200,
        programme=found,
        named=naming(page),
        profile=await _own_profile(page),
        checked=checked,
        form=form or {},
        problem=problem,
        cards=list(Card),
        may_apply=page.may(Action.APPLY_PROGRAMMES, principal.organisation_id),
        **await context.database.read(query),
    )


def _asked(form: dict[str, str]) -> dict[str, Any]:
    names = ("item", "provider", "contract", "signed_on", "card", "direction", "units")
    body = given(form, *names, "project", "project_reference")
    if form.get("amount", "").strip():
        body["amount"] = {"yuan": form["amount"].strip().replace(",", "")}
    body["evidence"] = {
        key.removeprefix("evidence_"): text.strip()
        for key, text in form.items()
        if key.startswith("evidence_") and text.strip()
    }
    return body


@router.get("/programmes/{programme_id}")
async def programme(page: SignedIn, programme_id: str) -> Response:
    return await _programme(page, programme_id)


@router.post("/programmes/{programme_id}/check")
async def check(page: SignedIn, programme_id: str) -> Response:
    """Shows the answer on the page; nothing is kept."""
    found: list[views_programmes.CheckView] = []

    async def change(form: dict[str, str]) -> None:
        body = given_models.CheckGiven.model_validate(_asked(form))
        found.append(
            await routes_programmes.check_programme(
                programme_id, body, page.principal, page.context
            )
        )

    failed = await answered(
        page, change, "", lambda p, f: _programme(page, programme_id, problem=p, form=f)
    )
    if not found:
        return failed
    return await _programme(page, programme_id, form=await page.form(), checked=found[0])


@router.post("/programmes/{programme_id}/apply")
async def apply(page: SignedIn, programme_id: str) -> Response:
    async def change(form: dict[str, str]) -> None:
        body = given_models.ApplicationGiven.model_validate(_asked(form))
        await routes_vouchers.apply(programme_id, body, page.principal, page.context)

    to = "/vouchers?done=applied"
    return await answered(
        page, change, to, lambda p, f: _programme(page, programme_id, problem=p, form=f)
    )


# --- what if -----------------------------------------------------------------------------------


@router.get("/programmes/{programme_id}/what-if")
async def what_if(
    page: SignedIn,
    programme_id: str,
    from_day: Day = "",
    until_day: Day = "",
    percent: Annotated[str, Query(max_length=3)] = "",
    budget: Annotated[str, Query(max_length=24)] = "",
) -> Response:
    """The last ninety days until another span is asked for."""
    routes_programmes.for_reviewers(page.principal)
    today = checking.day(page.now_ms)
    until = until_day or (today + timedelta(days=1)).isoformat()
    since = from_day or (today - timedelta(days=QUARTER_DAYS)).isoformat()
    form = {"from_day": since, "until_day": until, "percent": percent, "budget": budget}
    body: dict[str, Any] = given(form, "from_day", "until_day", "percent")
    if budget.strip():
        body["budget"] = {"yuan": budget.strip().replace(",", "")}
    result, problem = None, None
    try:
        asked = given_models.WhatIfGiven.model_validate(body)
        result = await routes_programmes.ask_what_if(
            programme_id, asked, page.principal, page.context
        )
    except ValidationError as error:
        problem = reasons.invalid(page.language, list(error.errors()))
    except SuanwangError as error:
        problem = page.problem(error)
    document, owners = await page.context.database.read(
        lambda conn: (
            checking.programme(conn, programme_id),
            {one.id: one for one in tenancy.organisations(conn, page.principal, limit=MOST)},
        )
    )
    return page.render(
        "what_if.html",
        problem.status if problem else 200,
        document=document,
        result=result,
        chart=_chart(page, result) if result is not None else "",
        owners=owners,
        form=form,
        problem=problem,
        named=naming(page),
    )


def _chart(page: Page, found: views_programmes.WhatIfView) -> str:
    """Yuan by day, those without charges too; for the chart alone: no float becomes money."""
    known = {one.day: one for one in found.days}
    days: list[str] = []
    amounts: list[tuple[int, int]] = []
    if found.days:
        first, last = (date.fromisoformat(found.days[at].day) for at in (0, -1))
        for number in range((last - first).days + 1):
            days.append((first + timedelta(days=number)).isoformat())
            one = known.get(days[-1])
            amounts.append((one.charged.micro_yuan, one.relieved.micro_yuan) if one else (0, 0))
    return json.dumps(
        {
            "days": days,
            "paid": [(charged - relieved) / 1_000_000 for charged, relieved in amounts],
            "relieved": [relieved / 1_000_000 for _, relieved in amounts],
            "names": [page.say("policy.paid_by_projects"), page.say("policy.paid_by_programme")],
        }
    )
