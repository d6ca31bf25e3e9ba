"""No route tells or does anything across organisations. Walks every route of the application.

West's admin calls each route with the ids of East's objects. He must be refused, exactly as if
the object did not exist, and no answer may hold a name or an id of East's that he did not send
himself. A new route is covered by itself; a new kind of path parameter must be added to
`Worlds.foreign`, else the test fails and says so.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from http_examples import LATER, SOON, Route, request_for, routes_of
from route_sets import (
    FOR_ALL_TO_READ,
    MARKET,
    OWN_NAMESPACE,
    PUBLIC,
    SCOPES,
    SEEN_BY_ALL,
    SELLER_NAMED,
    TAGS_WITHOUT_SCOPE,
)
from suanwang.bootstrap import first_start, make_context
from suanwang.edge.api.app import create_app
from suanwang.edge.api.context import Context
from suanwang.platform.database import Tx
from suanwang.platform.schema import metadata
from suanwang.platform.settings import Settings
from suanwang.tenancy import access, people, service
from suanwang.tenancy.model import OrganisationKind, Role, system_principal
from suanwang.trade.ledger import service as ledger
from suanwang.trade.policy import service as policy
from suanwang.trade.policy.checking import year_of
from tenancy_world import PASSWORD
from trading_possessions import SELLER, claim, keep_books, trade

SYSTEM = system_principal()
KINDS = (OrganisationKind.CONSUMER, OrganisationKind.PROVIDER)
BLOB = b"what nobody else may read of "

OPEN: set[tuple[str, str]] = set()
"""Known to tell a foreign object from none by the wording of the refusal. Only ever shrinks."""

OPEN_SCOPES: set[tuple[str, str]] = set()
"""Known to answer tokens without their scope. Only ever shrinks."""


@dataclass(frozen=True)
class Worlds:
    """Two organisations' ids by the name of the parameter that takes them."""

    own: Mapping[str, str]
    foreign: Mapping[str, str]
    absent: Mapping[str, str]
    """Of the form of foreign ones, and nobody's."""
    markers: tuple[str, ...]
    """What no answer to West may hold."""
    token: str
    unscoped: Mapping[str, str]
    """Tag → West's token without that tag's scopes."""
    organisation_id: str


@pytest.fixture
async def context(tmp_path: Path) -> AsyncIterator[Context]:
    made = make_context(Settings(state=str(tmp_path), rate_limit_per_s=0, seller=SELLER))
    await first_start(made, PASSWORD)
    yield made
    await made.database.close()


@pytest.fixture
def app(context: Context) -> FastAPI:
    return create_app(context)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://suan.test") as made:
        yield made


def _organisation(tx: Tx, name: str) -> tuple[dict[str, str], str]:
    """Ids by parameter name, and an admin's token."""
    owner = service.create_organisation(
        tx, SYSTEM, name=name, display_name=f"{name} display", kinds=KINDS
    )
    project = service.create_project(
        tx,
        SYSTEM,
        name=f"{name}-project",
        display_name=f"{name} secret plan",
        organisation_id=owner.id,
    )
    admin = people.create_user(
        tx, SYSTEM, login=f"{name}.admin", role=Role.ADMIN, organisation_id=owner.id
    )
    user = people.create_user(tx, SYSTEM, login=f"{name}.user", organisation_id=owner.id)
    principal = access.principal_of(tx.conn, admin)
    token = access.issue_token(tx, principal, name=f"{name} token")
    ids = {
        "organisation_id": owner.id,
        "project_id": project.id,
        "user_id": user.id,
        "token_id": token.token.id,
    }
    (ids["entry"],) = ledger.top_up(tx, ids["project_id"], 1_000_000, key="paid").posted.values()
    return ids, token.secret


async def _possessions(
    context: Context, client: httpx.AsyncClient, token: str, ids: dict[str, str]
) -> None:
    """A job, a site and a blob, made over HTTP as their owner would."""
    headers = {"Authorization": f"Bearer {token}"}
    name = ids["organisation"] = ids["name_of_organisation"]
    job = {"command": "true", "project": ids["project_id"], "name": f"{name}-job"}
    made = await client.post("/v1/jobs", json=job, headers=headers)
    assert made.status_code == 201, made.text
    ids["job_id"] = made.json()["id"]
    site = {"name": f"{name}-site", "region": "cn-north", "kind": "general"}
    made = await client.post("/v1/sites", json=site, headers=headers)
    assert made.status_code == 201, made.text
    ids["name"] = made.json()["name"]
    ids["site"] = ids["site_id"] = made.json()["id"]
    ids["unit_class"], ids["bench"] = "core", f"bench-of-{name}"
    content = BLOB + name.encode()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    made = await client.put(f"/v1/blobs/{digest}", content=content, headers=headers)
    assert made.status_code == 201, made.text
    ids["digest"] = digest
    await _talks(client, headers, ids)
    ids["programme"] = "henan"
    profile = {**PROFILE, "name": name}
    made = await client.put(f"/v1/organisations/{name}/profile", json=profile, headers=headers)
    assert made.status_code == 200, made.text
    await context.database.write(partial(_verified, organisation_id=ids["organisation_id"]))
    asked = {"amount": {"yuan": "100"}, "provider": name, "project": ids["project_id"]}
    made = await client.post("/v1/programmes/henan/applications", json=asked, headers=headers)
    assert made.status_code == 201, made.text
    ids["application"] = made.json()["id"]


def _verified(tx: Tx, organisation_id: str) -> None:
    """By the operator."""
    found = policy.profile(tx.conn, organisation_id)
    assert found is not None
    policy.put_profile(tx, found[0], verified_by="system")


async def _talks(client: httpx.AsyncClient, headers: dict[str, str], ids: dict[str, str]) -> None:
    """What is said to the operator's organisation alone: an enquiry and a deal."""
    product = {"unit_class": "core", "zone": "cn-north"}
    wanted = {"project": ids["project_id"], "starts_at": LATER, "hours": 1}
    price = {"micro_yuan": 1_000}
    enquiry = {"products": [product], "lots": 1, "ceiling": price, "invited": ["operator"]}
    made = await client.post(
        "/v1/quotations",
        json={**wanted, **enquiry, "deadline": SOON},
        headers=headers,
    )
    assert made.status_code == 201, made.text
    ids["enquiry"] = made.json()["id"]
    ids["quote"] = f"quo_{ids['enquiry'][4:]}"
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    deal = {"side": "buy", "to": "operator", "product": product, "lots": 1, "price": price}
    made = await client.post(
        "/v1/deals", json={**wanted, **deal, "valid_until": until}, headers=headers
    )
    assert made.status_code == 201, made.text
    ids["deal"] = made.json()["id"]


PROFILE = {
    "uscc": "91350100M000100Y43",
    "region": "henan/zhengzhou",
    "kind": "university",
    "facility": {"kind": "supercomputing"},
}


def _granted(tx: Tx, application_id: str) -> str:
    policy.open_budget(tx, "henan", year_of(tx.now_ms), None)
    return policy.grant(tx, application_id, "system").id


ALIASES = {
    "organisation": "organisation_id",
    "project": "project_id",
    "user": "user_id",
    "job": "job_id",
    "target": "job_id",
    "pool": "site_id",
    "from_site": "site_id",
    "to_site": "site_id",
    "depends_on": "job_id",
    "workdir": "digest",
    "digests": "digest",
}


def _by_name(ids: dict[str, str]) -> dict[str, str]:
    return ids | {alias: ids[name] for alias, name in ALIASES.items()}


@pytest.fixture
async def worlds(context: Context, client: httpx.AsyncClient) -> Worlds:
    def prepare(tx: Tx) -> list[tuple[dict[str, str], str]]:
        return [_organisation(tx, "east"), _organisation(tx, "west")]

    (east, east_token), (west, west_token) = await context.database.write(prepare)
    for name, ids, token in (("east", east, east_token), ("west", west, west_token)):
        ids["name_of_organisation"] = name
        await _possessions(context, client, token, ids)
        granted = partial(_granted, application_id=ids["application"])
        ids["voucher"] = await context.database.write(granted)
        await trade(context, client, token, ids)
    await keep_books(context, east, west)
    for ids, token in ((east, east_token), (west, west_token)):
        await claim(client, token, ids, context.clock.now_ms())
    absent = {
        name: (
            f"sha256:{'f' * 64}"
            if name == "digest"
            else "1999-12-31"
            if name == "day"
            else f"{value[:4]}{'0' * (len(value) - 4)}"
            if "_" in value
            else f"no-{value}"
        )
        for name, value in east.items()
    }

    def narrow(tx: Tx) -> dict[str, str]:
        principal = access.know_token(tx.conn, west_token, tx.now_ms).principal
        return {
            tag: access.issue_token(
                tx, principal, name=tag, scopes=principal.scopes - scopes
            ).secret
            for tag, scopes in SCOPES.items()
        }

    unscoped = await context.database.write(narrow)
    public = (
        "name",
        "site",
        "site_id",
        "name_of_organisation",
        "organisation",
        "unit_class",
        "programme",
        "day",
        "instrument",
        "listing",
        "round",
    )
    shown = {value for name, value in east.items() if name not in public}
    return Worlds(
        own=_by_name(west),
        foreign=_by_name(east),
        absent=_by_name(absent),
        markers=(
            *sorted(shown),
            "east-project",
            "east display",
            "east secret plan",
            "east.admin",
            "east.user",
            "east-job",
            "east taxpayer",
            f"{BLOB.decode()}east",
        ),
        token=west_token,
        unscoped=unscoped,
        organisation_id=east["organisation_id"],
    )


# --- the walks -------------------------------------------------------------------------------


async def _call(
    client: httpx.AsyncClient, route: Route, request: dict[str, Any], token: str | None
) -> httpx.Response:
    headers = dict(request["headers"])
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return await client.request(route.method, **{**request, "headers": headers})


def _leaks(
    route: Route, answer: httpx.Response, request: dict[str, Any], worlds: Worlds
) -> list[str]:
    sent = json.dumps([request["url"], request["params"], request.get("json")])
    text = answer.text + repr(answer.headers)
    if route.key in SELLER_NAMED:
        sent += worlds.organisation_id
    return [marker for marker in worlds.markers if marker in text and marker not in sent]


def _of(route: Route, ids: Mapping[str, str]) -> Mapping[str, str]:
    """An order of the call auction is another thing than one of a book, by the same name."""
    return {**ids, "order": ids["bid"]} if route.path.startswith("/v1/auctions/") else ids


def _mixtures(route: Route, worlds: Worlds) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """(with foreign ids, the same with absent ones): each parameter alone, and all together."""
    names = route.parameters
    own, others, absent = (_of(route, ids) for ids in (worlds.own, worlds.foreign, worlds.absent))
    for foreign in itertools.product((True, False), repeat=len(names)):
        if any(foreign):
            chosen = dict(zip(names, foreign, strict=True))
            yield (
                {one: (others if chosen[one] else own)[one] for one in names},
                {one: (absent if chosen[one] else own)[one] for one in names},
            )


def _anonymous(answer: httpx.Response, ids: Mapping[str, str]) -> str:
    text = answer.text
    for value in sorted(set(ids.values()), key=len, reverse=True):
        text = text.replace(value, "…")
    return f"{answer.status_code} {text}"


def _report(failures: list[str]) -> None:
    assert not failures, "\n" + "\n".join(failures)


async def test_every_path_parameter_is_known(app: FastAPI, worlds: Worlds) -> None:
    unknown = {
        f"{route.method} {route.path}: say in `_possessions` what a foreign {{{name}}} is"
        for route in routes_of(app)
        for name in route.parameters
        if name not in worlds.foreign
    }
    _report(sorted(unknown))


async def test_foreign_objects_do_not_exist(
    app: FastAPI, client: httpx.AsyncClient, worlds: Worlds, context: Context
) -> None:
    whole, failures = app.openapi(), []
    before = await context.database.read(lambda conn: _rows_of(conn, worlds))
    for route in routes_of(app):
        if not route.parameters or route.key in MARKET | FOR_ALL_TO_READ | PUBLIC:
            continue
        for with_foreign, with_absent in _mixtures(route, worlds):
            request = request_for(route, whole, worlds.own, with_foreign)
            answer = await _call(client, route, request, worlds.token)
            shown = f"{route.method} {request['url']} → {answer.status_code} {answer.text[:200]}"
            # an agent's routes do not know users at all
            refused = (401,) if route.path.startswith("/agent/") else (403, 404)
            if answer.status_code not in refused and route.key not in OWN_NAMESPACE:
                failures.append(f"not refused: {shown}")
            if leaks := _leaks(route, answer, request, worlds):
                failures.append(f"leaks {leaks}: {shown}")
            request = request_for(route, whole, worlds.own, with_absent)
            nothing = await _call(client, route, request, worlds.token)
            differs = _anonymous(answer, with_foreign) != _anonymous(nothing, with_absent)
            own = _of(route, worlds.own)
            strange = {one for one, value in with_foreign.items() if value != own[one]}
            if differs is not (route.key in OPEN) and not strange & SEEN_BY_ALL:
                failures.append(
                    f"no longer differs, take it out of OPEN: {shown}"
                    if route.key in OPEN
                    else f"differs from what is not there: {shown} / {nothing.status_code} "
                    f"{nothing.text[:200]}"
                )
    _report(failures)
    assert await context.database.read(lambda conn: _rows_of(conn, worlds)) == before


def _rows_of(conn: sa.Connection, worlds: Worlds) -> list[str]:
    """Every row of every table that mentions East's organisation."""
    found = []
    for table in metadata.sorted_tables:
        for row in conn.execute(sa.select(table)):
            text = repr(tuple(row))
            if worlds.organisation_id in text:
                found.append(f"{table.name} {text}")
    return sorted(found)


async def test_lists_and_bodies_reach_no_foreign_object(
    app: FastAPI, client: httpx.AsyncClient, worlds: Worlds
) -> None:
    whole, failures = app.openapi(), []
    for route in routes_of(app):
        if route.path.startswith("/agent/") or route.key in MARKET:
            continue
        own_path = {name: _of(route, worlds.own).get(name, "x") for name in route.parameters}
        plain = request_for(route, whole, {}, own_path)
        pointed = request_for(route, whole, worlds.foreign, own_path)
        by_name = {"organisation": worlds.foreign["name_of_organisation"]}
        named = request_for(route, whole, by_name, own_path)
        reads = route.method in ("GET", "HEAD")
        for request in (plain, pointed, named) if reads else (pointed,):
            if route.key in {("DELETE", "/v1/session"), ("DELETE", "/v1/tokens/{token_id}")}:
                continue  # would sign ourselves out
            if route.path.endswith("/events"):
                continue  # streams for ever; it has no other parameter
            answer = await _call(client, route, request, worlds.token)
            points = pointed != plain and request is pointed
            points = points and route.key not in OWN_NAMESPACE | PUBLIC
            shown = f"{route.method} {request['url']} → {answer.status_code} {answer.text[:200]}"
            if leaks := _leaks(route, answer, request, worlds):
                failures.append(f"leaks {leaks}: {shown}")
            if points and answer.status_code < 300 and not _is_empty(answer):
                failures.append(f"took a foreign object: {shown}")
            if answer.status_code >= 500:
                failures.append(f"failed: {shown}")
    _report(failures)


def _is_empty(answer: httpx.Response) -> bool:
    """A filter by a foreign object may find nothing instead of refusing."""
    try:
        told = answer.json()
        return bool((told if isinstance(told, list) else told.get("items")) == [])
    except ValueError:
        return False


async def test_nothing_is_done_without_a_credential(
    app: FastAPI, client: httpx.AsyncClient, worlds: Worlds
) -> None:
    whole, failures = app.openapi(), []
    for route in routes_of(app):
        if route.key in PUBLIC or (route.method == "HEAD" and ("GET", route.path) in PUBLIC):
            continue
        path_ids = {name: _of(route, worlds.foreign).get(name, "x") for name in route.parameters}
        request = request_for(route, whole, worlds.foreign, path_ids)
        agent = route.path.startswith("/agent/")
        for token in (None, worlds.token) if agent else (None,):
            answer = await _call(client, route, request, token)
            if answer.status_code != 401:
                shown = f"{answer.status_code} {answer.text[:200]}"
                failures.append(f"{route.method} {route.path} → {shown}")
    _report(failures)


async def test_nothing_is_done_with_a_token_for_something_else(
    app: FastAPI, client: httpx.AsyncClient, worlds: Worlds
) -> None:
    whole, failures, answered = app.openapi(), [], set()
    for route in routes_of(app):
        if route.tag in TAGS_WITHOUT_SCOPE or route.key in PUBLIC or not route.operation:
            continue
        if route.tag not in worlds.unscoped:
            failures.append(f"{route.method} {route.path}: say in SCOPES what {route.tag!r} takes")
            continue
        path_ids = {name: _of(route, worlds.own)[name] for name in route.parameters}
        for ids in (worlds.own, {}):
            request = request_for(route, whole, ids, path_ids)
            answer = await _call(client, route, request, worlds.unscoped[route.tag])
            if answer.status_code == 403:
                continue
            answered.add(route.key)
            if route.key not in OPEN_SCOPES:
                shown = f"{answer.status_code} {answer.text[:200]}"
                failures.append(f"{route.method} {request['url']} → {shown}")
    _report(failures)
    assert answered == OPEN_SCOPES, "take out of OPEN_SCOPES what is refused now"
