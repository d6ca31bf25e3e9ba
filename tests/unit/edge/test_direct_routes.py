"""Whatever is called directly answers as FastAPI's own way does, and routes are found as there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Body, Depends, FastAPI, Header, Query, Request
from fastapi.routing import APIRoute
from starlette.responses import JSONResponse, Response

from suanwang.edge.api import problems, routes_jobs
from suanwang.edge.api.application import Application
from suanwang.edge.api.direct import DirectRoute
from suanwang.edge.api.paging import Paging
from suanwang.edge.api.security import SecurityMiddleware
from suanwang.kernel.errors import Forbidden


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


asked: list[str] = []


async def caller(request: Request) -> str:
    asked.append(request.url.path)
    name = request.headers.get("authorization", "")
    if name == "nobody":
        raise Forbidden("Nobody", "Nobody may.", hint="Be somebody.")
    return name


async def greeted(name: Annotated[str, Depends(caller)], greeting: str = "hello") -> str:
    return f"{greeting} {name}"


Name = Annotated[str, Depends(caller)]


def routes(kind: type[APIRoute]) -> APIRouter:
    router = APIRouter(prefix="/v1", route_class=kind)

    @router.get("/things")
    async def things(
        name: Name,
        page: Paging,
        hello: Annotated[str, Depends(greeted)],
        colour: Annotated[list[Colour] | None, Query()] = None,
        at_most: Annotated[int | None, Query(alias="max", ge=1)] = None,
        deep: bool = False,
    ) -> Response:
        told = [name, page.after, page.limit, hello, colour, at_most, deep]
        return JSONResponse(told)

    @router.get("/things/new")
    async def new() -> Response:
        return JSONResponse("new")

    @router.get("/things/{thing}")
    async def thing(thing: str, name: Name, size: float) -> Response:
        return JSONResponse([thing, name, size])

    @router.get("/things/{thing}/parts/{part}")
    async def part(thing: str, part: int) -> Response:
        return JSONResponse([thing, part])

    @router.post("/things", status_code=201)
    async def make(body: Annotated[dict[str, Any], Body()], name: Name) -> Response:
        return JSONResponse([body, name], 201)

    @router.delete("/things/{thing}")
    async def remove(thing: str, name: Name, by: Annotated[str, Header()] = "") -> Response:
        return JSONResponse([thing, name, by])

    @router.get("/{anything:path}/end")
    async def anything(anything: str) -> Response:
        return JSONResponse(anything)

    return router


@pytest.fixture
async def both() -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    """(ours, FastAPI's own), with the same routes."""
    apps = [Application(), FastAPI()]
    for app, kind in zip(apps, (DirectRoute, APIRoute), strict=True):
        problems.install(app)
        app.routes.extend(routes(kind).routes)
    clients = [
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") for app in apps
    ]
    async with clients[0] as ours, clients[1] as theirs:
        yield ours, theirs


REQUESTS = [
    ("GET", "/v1/things"),
    ("GET", "/v1/things?limit=7&cursor=YWJj&colour=red&colour=blue&max=3&deep=1"),
    ("GET", "/v1/things?colour=green"),
    ("GET", "/v1/things?max=0"),
    ("GET", "/v1/things?max="),
    ("GET", "/v1/things?limit=1&limit=2"),
    ("GET", "/v1/things?limit=501"),
    ("GET", "/v1/things?cursor=%21"),
    ("GET", "/v1/things?deep=perhaps"),
    ("GET", "/v1/things?greeting=%E4%BD%A0%E5%A5%BD+there&unknown=1"),
    ("GET", "/v1/things?greeting"),
    ("GET", "/v1/things/"),
    ("GET", "/v1/things/new"),
    ("GET", "/v1/things/old"),
    ("GET", "/v1/things/old?size=1.5"),
    ("GET", "/v1/things/a%20b?size=2"),
    ("GET", "/v1/things/old?size=big"),
    ("GET", "/v1/things/old/parts/3"),
    ("GET", "/v1/things/old/parts/three"),
    ("GET", "/v1/a/b/c/end"),
    ("GET", "/v1"),
    ("GET", "/"),
    ("GET", ""),
    ("GET", "/v2/things"),
    ("GET", "//v1/things"),
    ("POST", "/v1/things"),
    ("DELETE", "/v1/things/old"),
    ("DELETE", "/v1/things"),
    ("PUT", "/v1/things"),
    ("OPTIONS", "/v1/things"),
    ("HEAD", "/v1/things/new"),
    ("GET", "/openapi.json"),
]


@pytest.mark.parametrize("name", ["ming", "nobody"])
@pytest.mark.parametrize(("method", "path"), REQUESTS)
async def test_both_ways_answer_alike(
    both: tuple[httpx.AsyncClient, httpx.AsyncClient], method: str, path: str, name: str
) -> None:
    headers = {"authorization": name}
    body = {"a": 1} if method == "POST" else None
    ours, theirs = [
        await client.request(method, path, headers=headers, json=body) for client in both
    ]
    assert (ours.status_code, ours.content, ours.headers) == (
        theirs.status_code,
        theirs.content,
        theirs.headers,
    )


async def test_each_function_is_asked_once(
    both: tuple[httpx.AsyncClient, httpx.AsyncClient],
) -> None:
    asked.clear()
    await both[0].get("/v1/things?limit=3")
    assert asked == ["/v1/things"]


def test_only_simple_signatures_are_called_directly() -> None:
    found = {
        (route.path, *sorted(route.methods)): route.is_direct
        for route in routes(DirectRoute).routes
        if isinstance(route, DirectRoute) and route.methods
    }
    assert found == {
        ("/v1/things", "GET"): True,
        ("/v1/things/new", "GET"): True,
        ("/v1/things/{thing}", "GET"): True,
        ("/v1/things/{thing}/parts/{part}", "GET"): True,
        ("/v1/things", "POST"): False,
        ("/v1/things/{thing}", "DELETE"): False,
        ("/v1/{anything:path}/end", "GET"): True,
    }


def test_what_is_asked_most_is_called_directly() -> None:
    found = {
        route.path
        for route in routes_jobs.router.routes
        if isinstance(route, DirectRoute) and route.is_direct
    }
    assert {"/v1/jobs", "/v1/jobs/{job_id}", "/v1/jobs/{job_id}/tasks"} <= found


async def test_overridden_dependencies_are_heeded() -> None:
    app = Application()
    app.directory.route_class = DirectRoute

    @app.get("/me")
    async def me(name: Name) -> Response:
        return JSONResponse(name)

    async def somebody() -> str:
        return "somebody"

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        assert (await client.get("/me")).json() == ""
        app.dependency_overrides[caller] = somebody
        assert (await client.get("/me")).json() == "somebody"


@pytest.mark.parametrize("kind", [DirectRoute, APIRoute])
async def test_an_unforeseen_error_is_answered_within_our_own_layers(kind: type[APIRoute]) -> None:
    """Its hint asks for the X-Request-Id of the answer, so the answer has one."""
    app = Application()
    app.directory.route_class = kind
    problems.install(app)
    app.add_middleware(SecurityMiddleware)

    @app.get("/broken")
    async def broken() -> Response:
        raise RuntimeError("nobody thought of this")

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        answer = await client.get("/broken")
    assert (answer.status_code, answer.json()["reason"]) == (500, "InternalError")
    assert answer.headers["x-request-id"]
    assert answer.headers["x-content-type-options"] == "nosniff"
