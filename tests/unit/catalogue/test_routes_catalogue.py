"""The catalogue and offers over HTTP, through a whole application without a server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from suanwang.bootstrap import first_start, make_context
from suanwang.edge.api.app import create_app
from suanwang.edge.api.context import Context
from suanwang.grid.sites import service as sites
from suanwang.grid.sites.service import SiteDescription
from suanwang.platform.database import Tx
from suanwang.platform.settings import Settings
from suanwang.protocol.messages import (
    AcceleratorReport,
    EnrolRequest,
    NodeReport,
    PoolReport,
    PriceReport,
    Quantity,
    ReconcileRequest,
)
from suanwang.trade.catalogue import service as catalogue
from suanwang.trade.catalogue.bench import Verdict
from suanwang.trade.catalogue.model import Measurement, Ticket

YUAN = 1_000_000


def pool(name: str, model: str, memory_mib: int, yuan: int) -> PoolReport:
    node = NodeReport("n0", Quantity(32_000, 131_072, 10_000, 8_000 if model else 0))
    return PoolReport(
        name=name,
        driver="test",
        architecture="x86_64",
        kind="ai",
        nodes=[node],
        accelerator=AcceleratorReport(model, "", memory_mib, 0) if model else None,
        prices=PriceReport(core_hour=60_000, accelerator_hour=yuan * YUAN),
    )


POOLS = [
    pool("a800", "NVIDIA A800-SXM4-80GB", 81_920, 6),
    pool("ascend", "Ascend910B3", 65_536, 5),
    pool("odd", "Quantum X1", 24_576, 1),
    pool("cpu", "", 0, 0),
]


@pytest.fixture
async def context(tmp_path: Path) -> AsyncIterator[Context]:
    made = make_context(Settings(state=str(tmp_path), rate_limit_per_s=0))
    yield made
    await made.database.close()


@pytest.fixture
async def client(context: Context) -> AsyncIterator[httpx.AsyncClient]:
    """Signed in as the operator of a grid with one site."""
    operator = await first_start(context)

    def enrol(tx: Tx) -> str:
        description = SiteDescription("zhengzhou", "henan")
        site, token = sites.invite(tx, operator.organisation_id, description, context.random)
        sites.enrol(tx, EnrolRequest(token, "i"), context.random)
        return site.site_id

    site_id = await context.database.write(enrol)
    request = ReconcileRequest(instance_id="i", agent_version="1", sequence=1, pools=POOLS)
    await context.desk.reconcile(site_id, request)
    headers = {"Authorization": f"Bearer {operator.token}"}
    transport = httpx.ASGITransport(create_app(context))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://suan.test", headers=headers
    ) as made:
        yield made


async def told(client: httpx.AsyncClient, path: str, **params: str) -> Any:
    answer = await client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_one_walk_through_the_catalogue(context: Context, client: httpx.AsyncClient) -> None:
    everything = (await told(client, "/v1/catalogue/accelerators"))["items"]
    by_class = {one["class"]: one for one in everything}
    assert {"core", "h100-80g", "ascend-910b3-64g", "quantum-x1-24g"} <= set(by_class)
    assert by_class["a800-80g"]["offered_by"] == ["zhengzhou"]
    assert by_class["a800-80g"]["unit_price_from"]["micro_yuan"] == 1_923_077
    assert by_class["quantum-x1-24g"].get("figures") is None
    c500 = await told(client, "/v1/catalogue/accelerators/C500")
    assert c500["class"] == "metax-c500-64g"
    assert c500["peak"]["FP16"]["sources_differ"]
    assert {one["source"]["title"] for one in c500["figures"]}
    asked = "gpu.domestic:yes offers>0"
    found = (await told(client, "/v1/catalogue/accelerators", q=asked))["items"]
    assert [one["class"] for one in found] == ["ascend-910b3-64g"]

    body = {"pool": "zhengzhou/a800"}
    made = await client.post("/v1/benches", json=body)
    assert made.status_code == 201, made.text
    ticket: Ticket = await context.database.read(
        lambda conn: catalogue.ticket(conn, made.json()["id"])
    )
    assert made.json()["state"] == "open"
    measured = Measurement(
        ticket.ticket_id,
        ticket.job_id,
        ticket.site_id,
        ticket.pool_id,
        ticket.unit_class,
        "FP16",
        240_000_000,
        "torch.cuda",
        "NVIDIA A800-SXM4-80GB",
        ticket.program,
        5,
    )
    await context.database.write(
        lambda tx: catalogue.close(tx, ticket.ticket_id, Verdict((measured,)))
    )
    a800 = await told(client, "/v1/catalogue/accelerators/a800-80g")
    assert a800["measured"][0]["value"] == 240
    assert (a800["measured"][0]["site"], a800["measured"][0]["pool"]) == ("zhengzhou", "a800")
    [offer] = a800["offers"]
    assert offer["unit_price"]["by_measured"]["micro_yuan"] == 2_500_000
    assert a800["unit_price_from"]["micro_yuan"] == 2_500_000, "what was measured is believed"
    shown = await told(client, f"/v1/benches/{ticket.ticket_id}")
    assert shown["state"] == "taken"
    assert shown["results"][0]["unit"] == "TFLOPS"
    assert (await told(client, "/v1/benches"))["items"] == [shown]
    assert (await client.get("/v1/benches/bench_0")).status_code == 404


async def test_offers_by_a_query_and_queries_that_are_wrong(client: httpx.AsyncClient) -> None:
    async def pools(q: str) -> list[str]:
        return [one["pool"] for one in (await told(client, "/v1/offers", q=q))["items"]]

    assert await pools("") == ["a800", "ascend", "cpu", "odd"]
    assert await pools("gpu.memory>=64 zone:henan price<30 sort:price") == ["ascend", "a800"]
    assert await pools("domestic:yes") == ["ascend"]
    assert await pools("gpu:no") == ["cpu"]
    assert await pools("free.cards>=8 sort:-price") == ["a800", "ascend", "odd"]
    assert await pools("gpu.fp16>=300 class:a800") == ["a800"]
    assert await pools("quantum") == ["odd"]
    assert await pools("zone:gansu") == []
    for path in ("/v1/offers", "/v1/catalogue/accelerators"):
        answer = await client.get(path, params={"q": "gpu.memry>=64"})
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert (problem["reason"], problem["field"]) == ("UnknownField", "q")
        assert problem["detail"].startswith("Character 1: ")
        assert problem["hint"] == "Did you mean gpu.memory?"


WRONG: tuple[tuple[dict[str, Any], int, str | None], ...] = (
    ({"pool": "zhengzhou"}, 422, "pool"),
    ({"pool": "zhengzhou/none"}, 404, None),
    ({"pool": "zhengzhou/cpu", "cores": 0}, 422, "cores"),
    ({"pool": "zhengzhou/cpu", "cores": 1e9}, 422, "cores"),
    ({"pool": "zhengzhou/cpu", "speed": 9}, 422, "speed"),
    ({"pool": "zhengzhou/cpu", "project": "no"}, 404, None),
)


async def test_a_wrong_benchmark_is_refused(client: httpx.AsyncClient) -> None:
    for body, status, field in WRONG:
        answer = await client.post("/v1/benches", json=body)
        assert answer.status_code == status, answer.text
        assert answer.json().get("field") == field, body
    assert (await told(client, "/v1/benches"))["items"] == []
