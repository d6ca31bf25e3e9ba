"""The routes of money through a real application: what is told, who may do what."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from billing_world import HOUR_0, PRICES, World, usage_of
from suanwang.edge.api.money import exact_yuan
from suanwang.edge.api.routes_billing import billing_router
from suanwang.edge.api.routes_ledger import router as ledger_router
from suanwang.edge.api.security import SecuritySettings
from suanwang.kernel.errors import SuanwangError
from suanwang.kernel.money import parse_yuan
from suanwang.platform.database import InlineDatabase, Tx
from suanwang.tenancy import access, people, service
from suanwang.tenancy.audit import audit_log
from suanwang.tenancy.model import OrganisationKind, Role, Scope, system_principal
from suanwang.trade.billing import service as billing


@dataclass
class Site:
    """What the routes are given, and the tokens of those who call them."""

    client: httpx.AsyncClient
    world: World
    project_id: str
    organisation_id: str
    tokens: dict[str, str]

    async def call(self, who: str, method: str, path: str, body: Any = None) -> httpx.Response:
        return await self.client.request(
            method, path, json=body, headers={"authorization": f"Bearer {self.tokens[who]}"}
        )

    async def get(self, path: str, who: str = "viewer") -> Any:
        answer = await self.call(who, "GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()


def people_of(tx: Tx) -> tuple[str, str, dict[str, str]]:
    """A consumer with an admin and a viewer, a stranger elsewhere, and the operator."""
    operator = access.bootstrap_platform(tx)
    system = system_principal()
    tokens = {"operator": operator.token or ""}
    kinds = (OrganisationKind.CONSUMER, OrganisationKind.PROVIDER)
    mine = service.create_organisation(tx, system, name="lab", display_name="Lab", kinds=kinds)
    other = service.create_organisation(tx, system, name="other", display_name="Other", kinds=kinds)
    project = service.create_project(tx, system, name="work", organisation_id=mine.id)
    for login, role, organisation in (
        ("lab-admin", Role.ADMIN, mine),
        ("lab-viewer", Role.VIEWER, mine),
        ("stranger", Role.ADMIN, other),
    ):
        user = people.create_user(
            tx,
            system,
            login=login,
            display_name=login,
            role=role,
            password_hash=None,
            organisation_id=organisation.id,
        )
        if organisation is mine:
            people.set_membership(tx, system, project.id, user.id, Role.VIEWER)
        principal = access.principal_of(tx.conn, user)
        tokens[login.removeprefix("lab-")] = access.issue_token(
            tx, principal, name="test", days=1
        ).secret
        if login == "lab-viewer":
            tokens["jobs only"] = access.issue_token(
                tx, principal, name="narrow", days=1, scopes=[Scope.JOBS_READ]
            ).secret
    return project.id, mine.id, tokens


@pytest.fixture
async def site(inline_database: InlineDatabase, clock: Any) -> AsyncIterator[Site]:
    @dataclass
    class Context:
        database: InlineDatabase
        clock: Any
        security: SecuritySettings

    app = FastAPI()
    app.state.context = Context(inline_database, clock, SecuritySettings())
    app.include_router(billing_router())
    app.include_router(ledger_router)

    @app.exception_handler(SuanwangError)
    async def refuse(_request: Request, error: SuanwangError) -> JSONResponse:
        return JSONResponse({"reason": error.reason}, error.status)

    project_id, organisation_id, tokens = inline_database.write_now(people_of)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield Site(client, World(inline_database), project_id, organisation_id, tokens)


def top_up(reference: str = "pay-1", yuan: str = "12.50") -> dict[str, Any]:
    return {"amount": {"yuan": yuan}, "payment_reference": reference}


async def test_account_statement_and_usage_tell_the_same_figures(site: Site) -> None:
    path = f"/v1/projects/{site.project_id}"
    assert (await site.call("operator", "POST", f"{path}/top-up", top_up())).status_code == 200
    run = site.world.run(project_id=site.project_id, provider_organisation_id=site.organisation_id)
    await site.world.settle(usage_of(run, HOUR_0, HOUR_0 + 5_000))
    account = await site.get(f"{path}/account")
    assert account["balance"] == {"micro_yuan": 12_495_000, "yuan": "12.495"}
    assert account["in_arrears"] is False
    statement = await site.get(f"{path}/statement?month=2026-01&by=pool")
    assert statement["charged"]["micro_yuan"] == 5_000
    assert (statement["from"], statement["until"]) == (
        "2025-12-31T16:00:00.000Z",
        "2026-01-31T16:00:00.000Z",
    )
    assert statement["topped_up"]["micro_yuan"] == 12_500_000
    assert [line["amount"]["micro_yuan"] for line in statement["lines"]] == [5_000]
    assert [movement["kind"] for movement in statement["movements"]] == ["top_up"]
    usage = await site.get(f"{path}/usage?by=job")
    assert usage["items"][0]["quantities"]["billable_seconds"] == 5
    span = f"from_ms={HOUR_0}&until_ms={HOUR_0 + 1}"
    assert len((await site.get(f"{path}/usage?{span}"))["items"]) == 1
    assert (await site.call("viewer", "GET", f"{path}/usage?from_ms=1")).status_code == 422
    revenue = await site.get(f"/v1/organisations/{site.organisation_id}/revenue", "admin")
    assert [line["key"] for line in revenue["items"]] == ["pol_1"]


async def test_statement_is_paged(site: Site) -> None:
    for number in range(3):
        run = site.world.run(
            project_id=site.project_id, job_id=f"job_{number}", lease_id=f"lea_{number}"
        )
        await site.world.settle(usage_of(run, HOUR_0, HOUR_0 + 1_000))
    path = f"/v1/projects/{site.project_id}/statement?limit=2"
    first = await site.get(path)
    assert [line["key"] for line in first["lines"]] == ["job_0", "job_1"]
    second = await site.get(f"{path}&cursor={first['next_cursor']}")
    assert [line["key"] for line in second["lines"]] == ["job_2"]
    assert second["next_cursor"] is None


async def test_impatient_payer_is_credited_once(site: Site) -> None:
    path = f"/v1/projects/{site.project_id}/top-up"
    answers = [await site.call("operator", "POST", path, top_up()) for _ in range(3)]
    assert [answer.json()["repeated"] for answer in answers] == [False, True, True]
    assert answers[-1].json()["account"]["balance"]["yuan"] == "12.50"
    other = await site.call("operator", "POST", path, top_up(yuan="13"))
    assert (other.status_code, other.json()["reason"]) == (409, "KeyReused")


@pytest.mark.parametrize(
    ("who", "method", "path", "body", "status"),
    [
        ("stranger", "GET", "/v1/projects/{project}/account", None, 404),
        ("stranger", "GET", "/v1/projects/{project}/statement", None, 404),
        ("stranger", "GET", "/v1/organisations/lab/revenue", None, 404),
        ("viewer", "GET", "/v1/organisations/lab/revenue", None, 403),
        ("jobs only", "GET", "/v1/projects/{project}/account", None, 403),
        ("admin", "POST", "/v1/projects/{project}/top-up", top_up(), 403),
        ("stranger", "POST", "/v1/projects/{project}/top-up", top_up(), 404),
        ("viewer", "POST", "/v1/pools/pol_1/prices", {}, 403),
        ("operator", "POST", "/v1/projects/{project}/top-up", top_up(yuan="-1"), 422),
        ("operator", "POST", "/v1/projects/{project}/top-up", top_up(yuan="1e99"), 422),
        ("operator", "POST", "/v1/projects/{project}/top-up", top_up(reference=""), 422),
        ("operator", "GET", "/v1/projects/prj_nothing/account", None, 404),
        ("viewer", "GET", "/v1/projects/{project}/statement?month=2026-13", None, 422),
        ("viewer", "GET", "/v1/projects/{project}/statement?by=day&cursor=eA", None, 422),
        ("admin", "GET", "/v1/organisations/lab/revenue?by=user", None, 422),
    ],
)
async def test_refusals(
    site: Site, who: str, method: str, path: str, body: Any, status: int
) -> None:
    answer = await site.call(who, method, path.format(project=site.project_id), body)
    assert answer.status_code == status, answer.text


async def test_credit_is_raised_by_the_operator_and_lowered_by_the_admin_too(site: Site) -> None:
    path = f"/v1/projects/{site.project_id}/credit-limit"

    async def put(who: str, yuan: str) -> int:
        body = {"credit_limit": {"yuan": yuan}}
        return (await site.call(who, "POST", path, body)).status_code

    assert await put("admin", "1") == 403
    assert await put("operator", "100") == 200
    assert await put("admin", "40") == 200
    assert await put("admin", "41") == 403
    account = await site.get(f"/v1/projects/{site.project_id}/account")
    assert account["available"]["yuan"] == "40.00"


async def test_prices_are_published_listed_and_kept(site: Site) -> None:
    body = {"core_hour": {"yuan": "0.08"}, "accelerator_hour": {"micro_yuan": 4_000_000}}
    first = (await site.call("operator", "POST", "/v1/pools/pol_1/prices", body)).json()
    again = (await site.call("operator", "POST", "/v1/pools/pol_1/prices", body)).json()
    assert first["id"] == again["id"]
    assert (first["version"], first["core_hour"]["yuan"]) == (2, "0.08")
    site.world.write(lambda tx: billing.publish_prices(tx, "pol_2", PRICES))
    page = await site.get("/v1/prices?limit=1")
    assert [one["id"] for one in page["items"]] == [first["id"]]
    rest = await site.get(f"/v1/prices?limit=1&cursor={page['next_cursor']}")
    assert [one["pool_id"] for one in rest["items"]] == ["pol_2"]
    assert rest["next_cursor"] is None
    named = await site.get("/v1/prices?pool=pol_2")
    assert [one["pool_id"] for one in named["items"]] == ["pol_2"]
    history = await site.get("/v1/pools/pol_1/prices?limit=1")
    assert [one["version"] for one in history["items"]] == [2]
    older = await site.get(f"/v1/pools/pol_1/prices?limit=1&cursor={history['next_cursor']}")
    assert [one["version"] for one in older["items"]] == [1]


@pytest.mark.parametrize(
    ("micro_yuan", "text"),
    [(0, "0.00"), (14, "0.000014"), (-14, "-0.000014"), (1_234_567_890_000, "1234567.89")],
)
def test_yuan_text_is_exact(micro_yuan: int, text: str) -> None:
    assert exact_yuan(micro_yuan) == text
    assert parse_yuan(text) == micro_yuan


async def test_a_charge_is_reversed_once_by_the_operator_alone(site: Site) -> None:
    path = f"/v1/projects/{site.project_id}"
    await site.call("operator", "POST", f"{path}/top-up", top_up())
    run = site.world.run(project_id=site.project_id, provider_organisation_id=site.organisation_id)
    await site.world.settle(usage_of(run, HOUR_0, HOUR_0 + 5_000))
    entries = (await site.get(f"{path}/entries?month=2026-01"))["items"]
    assert {one["kind"]: one["amount"]["micro_yuan"] for one in entries} == {
        "top_up": 12_500_000,
        "charge": -5_000,
    }
    charge = next(one for one in entries if one["kind"] == "charge")
    assert charge["reference"].startswith("charge:")
    undo = f"/v1/ledger/entries/{charge['entry_id']}/reverse"
    for who in ("admin", "stranger", "viewer"):
        refused = await site.call(who, "POST", undo, {"reason": "x"})
        assert refused.status_code == 403, who
    done = (await site.call("operator", "POST", undo, {"reason": "the node was broken"})).json()
    again = (await site.call("operator", "POST", undo, {"reason": "the node was broken"})).json()
    assert (done["repeated"], again["repeated"]) == (False, True)
    assert again["entry_id"] == done["entry_id"]
    twice = f"/v1/ledger/entries/{done['entry_id']}/reverse"
    answer = await site.call("operator", "POST", twice, {"reason": "x"})
    assert (answer.status_code, answer.json()["reason"]) == (409, "ReversalOfReversal")

    assert (await site.get(f"{path}/account"))["balance"]["micro_yuan"] == 12_500_000
    statement = await site.get(f"{path}/statement?month=2026-01")
    assert statement["adjusted"]["micro_yuan"] == 5_000
    assert statement["charged"]["micro_yuan"] == 5_000
    marked = (await site.get(f"{path}/entries?month=2026-01"))["items"]
    assert {one["entry_id"]: one["reversed_by"] for one in marked}[charge["entry_id"]] == (
        done["entry_id"]
    )
    log = site.world.database.read_now(lambda conn: audit_log(conn, system_principal(), limit=500))
    told = [one for one in log if one.action == "entry.reverse"]
    assert [(one.target_id, one.organisation_id) for one in told] == [
        (charge["entry_id"], site.organisation_id)
    ]


async def test_an_adjustment_is_borne_by_the_platform_and_the_books_balance(site: Site) -> None:
    path = f"/v1/projects/{site.project_id}"
    body = {"amount": {"yuan": "-1.25"}, "reference": "case-7", "reason": "counted twice"}
    assert (await site.call("admin", "POST", f"{path}/adjust", body)).status_code == 403
    for repeated in (False, True):
        done = (await site.call("operator", "POST", f"{path}/adjust", body)).json()
        assert done["repeated"] is repeated
    other = {**body, "amount": {"yuan": "5"}}
    assert (await site.call("operator", "POST", f"{path}/adjust", other)).status_code == 409
    nothing = {**body, "amount": {"yuan": "0"}, "reference": "case-8"}
    assert (await site.call("operator", "POST", f"{path}/adjust", nothing)).status_code == 422
    assert (await site.get(f"{path}/account"))["balance"]["yuan"] == "-1.25"

    trial = await site.get("/v1/ledger/trial-balance?verify=true", "operator")
    balances = {one["kind"]: one["balance"]["micro_yuan"] for one in trial["lines"]}
    assert balances == {"fees": 1_250_000, "prepaid": -1_250_000}
    assert (trial["sums"]["CNY"]["micro_yuan"], trial["discrepancies"]) == (0, [])
    assert (await site.call("admin", "GET", "/v1/ledger/trial-balance")).status_code == 403


async def test_entries_come_in_pages_and_none_twice(site: Site) -> None:
    path = f"/v1/projects/{site.project_id}"
    for number in range(7):
        await site.call("operator", "POST", f"{path}/top-up", top_up(f"pay-{number}", "1"))
    seen, cursor = [], ""
    while True:
        more = f"&cursor={cursor}" if cursor else ""
        page = await site.get(f"{path}/entries?limit=3{more}")
        seen += [one["entry_id"] for one in page["items"]]
        cursor = page["next_cursor"]
        if not cursor:
            break
    assert len(seen) == len(set(seen)) == 7
    wrong = await site.call("viewer", "GET", f"{path}/entries?cursor=Zm9v")
    assert (wrong.status_code, wrong.json()["reason"]) == (422, "InvalidCursor")
