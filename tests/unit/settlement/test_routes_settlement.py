"""The routes of settlement through a real application: who may do what, and what is told."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from billing_world import HOUR_0, World
from manual_clock import ManualClock
from suanwang.edge.api import (
    problems,
    routes_closes,
    routes_disputes,
    routes_focus,
    routes_invoices,
    routes_ledger,
)
from suanwang.edge.api.routes_billing import billing_router
from suanwang.edge.api.security import SecuritySettings
from suanwang.kernel.time import MS_PER_DAY, MS_PER_HOUR
from suanwang.platform.database import InlineDatabase, Tx
from suanwang.platform.settings import Seller, Settings
from suanwang.tenancy import access, people, service
from suanwang.tenancy.audit import audit_log
from suanwang.tenancy.model import OrganisationKind, Role, system_principal
from suanwang.trade.ledger import service as ledger
from suanwang.trade.ledger.model import EntryKind

BUYER = {"name": "郑州大学", "code": "91350100M000100Y43"}


@dataclass
class Context:
    database: InlineDatabase
    clock: Any
    security: SecuritySettings
    settings: Settings


@dataclass
class Desk:
    """The client, and the tokens of the buyer, the provider, a stranger and the operator."""

    client: httpx.AsyncClient
    world: World
    clock: ManualClock
    project: str
    provider: str
    tokens: dict[str, str]

    async def call(self, who: str, method: str, path: str, body: Any = None) -> httpx.Response:
        header = {"authorization": f"Bearer {self.tokens[who]}"}
        return await self.client.request(method, path, json=body, headers=header)

    async def ok(self, who: str, method: str, path: str, body: Any = None) -> Any:
        answer = await self.call(who, method, path, body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def refused(self, who: str, method: str, path: str, body: Any = None) -> str:
        answer = await self.call(who, method, path, body)
        assert answer.status_code >= 400, answer.text
        return str(answer.json()["reason"])


def people_of(tx: Tx) -> tuple[str, str, dict[str, str]]:
    operator = access.bootstrap_platform(tx)
    system = system_principal()
    tokens = {"operator": operator.token or ""}
    kinds = (OrganisationKind.CONSUMER, OrganisationKind.PROVIDER)
    made = {
        name: service.create_organisation(tx, system, name=name, display_name=name, kinds=kinds)
        for name in ("buyer", "provider", "stranger")
    }
    project = service.create_project(tx, system, name="work", organisation_id=made["buyer"].id)
    for name, organisation in made.items():
        user = people.create_user(
            tx,
            system,
            login=name,
            display_name=name,
            role=Role.ADMIN,
            password_hash=None,
            organisation_id=organisation.id,
        )
        principal = access.principal_of(tx.conn, user)
        tokens[name] = access.issue_token(tx, principal, name="test", days=300).secret
    return project.id, made["provider"].id, tokens


@pytest.fixture
async def desk(inline_database: InlineDatabase, clock: ManualClock) -> AsyncIterator[Desk]:
    """January's work is charged and closed; it is February."""
    app = FastAPI()
    settings = Settings(seller=Seller(name="算网科技有限公司", code=BUYER["code"]))
    app.state.context = Context(inline_database, clock, SecuritySettings(), settings)
    problems.install(app)
    app.include_router(billing_router())
    for module in (
        routes_ledger,
        routes_closes,
        routes_invoices,
        routes_disputes,
        routes_focus,
    ):
        app.include_router(module.router)
    clock.at_ms = HOUR_0
    world = World(inline_database)
    project, provider, tokens = inline_database.write_now(people_of)
    world.top_up(100_000_000, project)
    for day in range(3):
        start_ms = HOUR_0 + day * MS_PER_DAY
        run = world.run(
            lease_id=f"lea_{day}", project_id=project, provider_organisation_id=provider
        )
        clock.at_ms = start_ms + 2 * MS_PER_HOUR
        world.charge_fully(run, start_ms, clock.at_ms)
    clock.at_ms = HOUR_0 + 32 * MS_PER_DAY
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield Desk(client, world, clock, project, provider, tokens)


async def close_all(desk: Desk) -> None:
    for _ in range(31):
        await desk.ok("operator", "POST", "/v1/closes", {})


async def test_closes_are_the_operators(desk: Desk) -> None:
    for who in ("buyer", "provider"):
        assert await desk.refused(who, "GET", "/v1/closes") == "RoleTooLow"
        assert await desk.refused(who, "POST", "/v1/closes", {}) == "RoleTooLow"
    made = await desk.ok("operator", "POST", "/v1/closes", {})
    assert (made["day"], made["postings"]) == ("2026-01-01", 6)
    assert sum(line["closing"]["micro_yuan"] for line in made["lines"]) == 0
    again = await desk.ok("operator", "POST", "/v1/closes", {"day": "2026-01-01"})
    assert again == made
    later = {"day": "2026-01-03"}
    assert await desk.refused("operator", "POST", "/v1/closes", later) == "EarlierDayOpen"
    assert await desk.refused("operator", "POST", "/v1/closes", {"day": "x"}) == "InvalidDate"
    found = await desk.ok("operator", "GET", "/v1/closes/2026-01-01?recount=true")
    assert found["recounted"] is True
    await desk.ok("operator", "POST", "/v1/closes", {})
    page = await desk.ok("operator", "GET", "/v1/closes?limit=1")
    assert [one["day"] for one in page["items"]] == ["2026-01-02"]
    following = await desk.ok("operator", "GET", f"/v1/closes?cursor={page['next_cursor']}")
    assert [one["day"] for one in following["items"]] == ["2026-01-01"]
    assert await desk.refused("operator", "GET", "/v1/closes/2026-01-09") == "DayNotClosed"
    log = desk.world.database.read_now(
        lambda c: audit_log(c, system_principal(), target_id="2026-01-01")
    )
    assert [one.action for one in log] == ["day.close"]


async def test_a_provider_sees_his_payouts_and_their_lines(desk: Desk) -> None:
    assert await desk.refused("operator", "POST", "/v1/payouts", {}) == "NothingClosed"
    await close_all(desk)
    assert await desk.refused("provider", "POST", "/v1/payouts", {}) == "RoleTooLow"
    run = await desk.ok("operator", "POST", "/v1/payouts", {"minimum": {"yuan": "1"}})
    (payout,) = run["items"]
    assert (payout["organisation_id"], payout["amount"]["yuan"]) == (desk.provider, "21.60")
    path = f"/v1/payouts/{payout['id']}"
    told = await desk.ok("provider", "GET", path)
    assert [(one["what"], one["amount"]["yuan"]) for one in told["lines"]] == [("earned", "21.60")]
    assert await desk.refused("stranger", "GET", path) == "PayoutNotFound"
    assert (await desk.ok("stranger", "GET", "/v1/payouts"))["items"] == []
    assert await desk.refused("provider", "POST", f"{path}/approve") == "RoleTooLow"
    paid = {"bank_reference": "ICBC-1"}
    assert await desk.refused("operator", "POST", f"{path}/paid", paid) == "WrongState"
    await desk.ok("operator", "POST", f"{path}/approve")
    colleague(desk)
    assert (await desk.ok("colleague", "POST", f"{path}/paid", paid))["state"] == "paid"
    back = await desk.ok("operator", "POST", f"{path}/failed", {"reason": "no such account"})
    assert back["state"] == "failed"
    named = {"organisations": ["provider"]}
    (anew,) = (await desk.ok("operator", "POST", "/v1/payouts", named))["items"]
    why = {"reason": "by mistake"}
    done = await desk.ok("operator", "POST", f"/v1/payouts/{anew['id']}/cancel", why)
    assert done["state"] == "cancelled"
    mine = await desk.ok("provider", "GET", "/v1/payouts?state=failed")
    assert [one["id"] for one in mine["items"]] == [payout["id"]]
    assert desk.world.sound()


def colleague(desk: Desk) -> str:
    """A second operator; his id."""

    def use_case(tx: Tx) -> str:
        system = system_principal()
        user = people.create_user(
            tx, system, login="colleague", display_name="Colleague", role=Role.OPERATOR,
            password_hash=None,
            organisation_id=service.organisation(tx.conn, access.OPERATOR_ORGANISATION).id,
        )  # fmt: skip
        principal = access.principal_of(tx.conn, user)
        desk.tokens["colleague"] = access.issue_token(tx, principal, name="t", days=300).secret
        return user.id

    return desk.world.database.write_now(use_case)


async def approved(desk: Desk, organisations: list[str] | None = None) -> str:
    """Path of a payout that the operator has proposed and approved."""
    body = {"organisations": organisations} if organisations else {}
    (payout,) = (await desk.ok("operator", "POST", "/v1/payouts", body))["items"]
    await desk.ok("operator", "POST", f"/v1/payouts/{payout['id']}/approve")
    return f"/v1/payouts/{payout['id']}"


async def test_who_prepared_a_payout_does_not_release_it(desk: Desk) -> None:
    await close_all(desk)
    path = await approved(desk)
    paid = {"bank_reference": "ICBC-1"}
    answer = await desk.call("operator", "POST", f"{path}/paid", paid)
    assert (answer.status_code, answer.json()["reason"]) == (403, "FourEyes")
    assert "second operator" in answer.json()["hint"]
    other = colleague(desk)
    answer = await desk.call("operator", "POST", f"{path}/paid", paid)
    assert (answer.json()["reason"], "Another operator" in answer.json()["hint"]) == (
        "FourEyes",
        True,
    )
    assert (await desk.ok("colleague", "POST", f"{path}/paid", paid))["released_by"] == other
    again = await desk.ok("operator", "POST", f"{path}/paid", paid)  # it is paid: nothing happens
    assert again["released_by"] == other
    assert desk.world.sound()


async def test_who_is_alone_may_be_allowed_to_and_it_is_noted(desk: Desk) -> None:
    await close_all(desk)
    path = await approved(desk)
    rule, paid = "/v1/payout-rule", {"bank_reference": "ICBC-1"}
    for who in ("buyer", "provider"):
        assert await desk.refused(who, "GET", rule) == "RoleTooLow"
        allow = {"alone": True, "reason": "me"}
        assert await desk.refused(who, "PUT", rule, allow) == "RoleTooLow"
    found = await desk.ok("operator", "GET", rule)
    assert (found["alone"], found["in_force"], found["operators"]) == (False, True, 1)
    assert (await desk.call("operator", "PUT", rule, {"alone": True})).status_code == 422
    allow = {"alone": True, "reason": "no second officer until May"}
    found = await desk.ok("operator", "PUT", rule, allow)
    assert (found["alone"], found["in_force"]) == (True, False)
    log = desk.world.database.read_now(
        lambda c: [one for one in audit_log(c, system_principal()) if one.action == "payout.rule"]
    )
    assert [one.detail["reason"] for one in log] == [allow["reason"]]
    assert (await desk.ok("operator", "POST", f"{path}/paid", paid))["state"] == "paid"


async def test_with_a_second_operator_the_allowance_is_over(desk: Desk) -> None:
    await close_all(desk)
    await desk.ok("operator", "PUT", "/v1/payout-rule", {"alone": True, "reason": "alone"})
    path = await approved(desk)
    colleague(desk)
    found = await desk.ok("operator", "GET", "/v1/payout-rule")
    assert (found["alone"], found["in_force"], found["operators"]) == (True, True, 2)
    assert await desk.refused("operator", "POST", f"{path}/paid", {"bank_reference": "1"}) == (
        "FourEyes"
    )
    allow = {"alone": True, "reason": "still"}
    assert await desk.refused("operator", "PUT", "/v1/payout-rule", allow) == "SecondOfficer"
    back = await desk.ok("operator", "PUT", "/v1/payout-rule", {"alone": False, "reason": "two"})
    assert (back["alone"], back["in_force"]) == (False, True)


async def test_an_invoice_from_the_buyer_to_its_red_letter(desk: Desk) -> None:
    buyer = "/v1/organisations/buyer/invoice-buyer"
    request = {"project": desk.project, "month": "2026-01"}
    assert await desk.ok("buyer", "GET", buyer) is None
    assert await desk.refused("buyer", "POST", "/v1/invoices", request) == "BuyerUnknown"
    wrong = await desk.call("buyer", "PUT", buyer, {**BUYER, "code": "91350100M000100Y44"})
    assert (wrong.json()["reason"], wrong.json()["field"]) == ("InvalidCreditCode", "code")
    assert await desk.refused("stranger", "PUT", buyer, BUYER) == "OrganisationNotFound"
    await desk.ok("buyer", "PUT", buyer, BUYER)
    assert await desk.refused("buyer", "POST", "/v1/invoices", request) == "MonthNotClosed"
    await close_all(desk)
    may = await desk.ok("buyer", "GET", f"/v1/projects/{desk.project}/invoiceable?month=2026-01")
    assert may["left"]["yuan"] == "21.60"
    made = await desk.ok("buyer", "POST", "/v1/invoices", request)
    assert (made["gross"], made["net"], made["tax"]) == ("21.60", "20.38", "1.22")
    assert made["capitals"] == "贰拾壹元陆角整"
    path = f"/v1/invoices/{made['id']}"
    assert await desk.refused("stranger", "GET", path) == "InvoiceNotFound"
    issued = {"number": "24312000000012345678", "issued_on": "2026-02-02"}
    assert await desk.refused("buyer", "POST", f"{path}/issue", issued) == "RoleTooLow"
    bad = await desk.call("operator", "POST", f"{path}/issue", {**issued, "number": "x"})
    assert bad.json()["field"] == "number"
    await desk.ok("operator", "POST", f"{path}/issue", issued)
    red = await desk.ok("buyer", "POST", f"{path}/reverse", {"reason": "stopped"})
    assert (red["gross"], red["reverses"]) == ("-21.60", made["id"])
    number = {"number": "24312000000012345679"}
    await desk.ok("operator", "POST", f"/v1/invoices/{red['id']}/issue", number)
    assert (await desk.ok("buyer", "GET", path))["state"] == "reversed"
    data = await desk.ok("buyer", "GET", f"/v1/invoices/{red['id']}/data.json")
    assert data["红字"]["原发票号码"] == issued["number"]
    xml = await desk.call("buyer", "GET", f"{path}/data.xml")
    assert "<价税合计大写>贰拾壹元陆角整</价税合计大写>" in xml.text
    states = [one["state"] for one in (await desk.ok("buyer", "GET", "/v1/invoices"))["items"]]
    assert states == ["issued", "reversed"]


async def test_a_dispute_from_its_opening_to_the_money(desk: Desk) -> None:
    entries = await desk.ok("buyer", "GET", f"/v1/projects/{desk.project}/entries?month=2026-01")
    charge = next(one for one in entries["items"] if one["kind"] == "charge")
    body = {"subject": charge["entry_id"], "reason": "faulty", "text": "the card was lost"}
    assert await desk.refused("stranger", "POST", "/v1/disputes", body) == "EntryNotFound"
    assert await desk.refused("provider", "POST", "/v1/disputes", body) == "EntryNotFound"
    odd = {**body, "subject_kind": "contract"}
    assert await desk.refused("buyer", "POST", "/v1/disputes", odd) == "ContractNotFound"
    for field, value in (("amount", {"yuan": "NaN"}), ("amount", {"yuan": "99"})):
        answer = await desk.call("buyer", "POST", "/v1/disputes", {**body, field: value})
        assert (answer.status_code, answer.json()["field"]) == (422, "amount")
    made = await desk.ok("buyer", "POST", "/v1/disputes", {**body, "amount": {"yuan": "1.20"}})
    path = f"/v1/disputes/{made['id']}"
    said = {"text": "it was there"}
    assert await desk.refused("stranger", "GET", path) == "DisputeNotFound"
    assert await desk.refused("buyer", "POST", f"{path}/answer", said) == "DisputeNotFound"
    assert await desk.refused("provider", "POST", f"{path}/withdraw", said) == "DisputeNotFound"
    decision = {"upheld": True, "text": "credited"}
    assert await desk.refused("buyer", "POST", f"{path}/decide", decision) == "RoleTooLow"
    assert await desk.refused("operator", "POST", f"{path}/decide", decision) == "NotYetAnswered"
    await desk.ok("provider", "POST", f"{path}/answer", said)
    open_ones = await desk.ok("provider", "GET", "/v1/disputes?open_only=true")
    assert [one["state"] for one in open_ones["items"]] == ["answered"]
    done = await desk.ok("operator", "POST", f"{path}/decide", decision)
    assert (done["state"], done["awarded"]["yuan"]) == ("upheld", "1.20")
    assert [one["state"] for one in done["history"]] == ["opened", "answered", "upheld"]
    account = await desk.ok("buyer", "GET", f"/v1/projects/{desk.project}/account")
    assert account["balance"]["micro_yuan"] == 100_000_000 - 21_600_000 + 1_200_000
    assert desk.world.sound()


async def rows_of(desk: Desk, who: str, path: str) -> list[dict[str, str]]:
    answer = await desk.call(who, "GET", path)
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))


async def test_exports_sum_to_what_was_booked(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes_focus, "PAGE", 2)
    february_ms = desk.clock.at_ms
    desk.clock.at_ms = HOUR_0 + 4 * MS_PER_DAY
    (entry, *_) = desk.world.database.read_now(
        lambda c: ledger.account_lines(
            c,
            ledger.project_account(c, desk.project).id,  # type: ignore[union-attr]
            HOUR_0,
            february_ms,
            without=(EntryKind.TOP_UP,),
        )
    )
    desk.world.write(lambda tx: ledger.reverse(tx, entry.entry_id, reason="坏卡"))
    desk.clock.at_ms = february_ms
    month = "focus.csv?month=2026-01"
    statement = await desk.ok(
        "buyer", "GET", f"/v1/projects/{desk.project}/statement?month=2026-01"
    )
    rows = await rows_of(desk, "buyer", f"/v1/projects/{desk.project}/{month}")
    assert len(rows) == 6 + 1
    total = sum(Decimal(row["BilledCost"]) for row in rows)
    charged, adjusted = (Decimal(statement[name]["yuan"]) for name in ("charged", "adjusted"))
    assert total == charged - adjusted == Decimal("18.00")
    assert rows[-1]["x_Description"] == "坏卡"
    assert await rows_of(desk, "buyer", f"/v1/organisations/buyer/{month}") == rows
    told = await rows_of(desk, "provider", f"/v1/organisations/provider/{month}&as_provider=true")
    revenue = await desk.ok("provider", "GET", "/v1/organisations/provider/revenue?month=2026-01")
    earned = sum(Decimal(one["amount"]["yuan"]) for one in revenue["items"])
    assert sum(Decimal(row["BilledCost"]) for row in told) == earned
    assert not any(row["x_JobId"] or desk.project in row.values() for row in told)
    hidden = await desk.call("stranger", "GET", f"/v1/projects/{desk.project}/{month}")
    assert hidden.status_code == 404
