"""Every route of an application, and for each a valid request made from its OpenAPI schema."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from suanwang.protocol import VERSION

_THEN = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
SOON = (_THEN + timedelta(days=30)).isoformat()
LATER = (_THEN + timedelta(days=60)).isoformat()
"""A full hour, as deliveries begin with."""
FIELDS: dict[str, dict[str, Any]] = {
    "JobSpec": {"command": "true"},
    "TopUp": {"amount": {"micro_yuan": 1_000_000}, "payment_reference": "x-1"},
    "AdjustmentRequest": {"amount": {"micro_yuan": 1_000_000}, "reference": "x-1", "reason": "x"},
    "LinkRequest": {"price_per_gib": {"micro_yuan": 1_000_000}, "ms_per_gib": 1},
    "EnquiryRequest": {
        "products": [{"unit_class": "core", "zone": "x"}],
        "starts_at": LATER,
        "deadline": SOON,
        "hours": 1,
        "lots": 1,
        "ceiling": {"micro_yuan": 1_000},
    },
    "QuoteRequest": {"source": "pool_x", "price": {"micro_yuan": 1_000}},
    **{
        name: {
            "starts_at": LATER,
            "hours": 1,
            "lots": 1,
            "price": {"micro_yuan": 1_000},
            "valid_until": SOON,
            **more,
        }
        for name, more in (
            ("DealRequest", {"side": "buy", "to": "nobody"}),
            ("CounterRequest", {"number": 1}),
        )
    },
    "AnswerRequest": {"number": 1},
    "AcceptRequest": {"number": 1},
    "CreditLimit": {"credit_limit": {"micro_yuan": 1_000_000}},
    "FundingGiven": {"amount": {"micro_yuan": 1_000_000}},
    "WhatIfGiven": {"from_day": "2026-01-01", "until_day": "2026-02-01"},
    "ApplicationGiven": {"contract": "x"},
    "LinkGiven": {"lots": 1},
    "ListingRequest": {"lots": 1, "price": {"micro_yuan": 1_000}},
    "Decision": {"amount": {"micro_yuan": 1_000}},
    "DisputeRequest": {"amount": {"micro_yuan": 1_000}},
    "PayoutRun": {"minimum": {"micro_yuan": 1_000}},
    "BidRequest": {
        "side": "buy",
        "curve": [{"product": "a100-80g@henan", "hours": [8, 20], "lots": 1, "price": "1"}],
    },
}
"""By the schema's name: what a valid body needs that the schema alone does not say."""


@dataclass(frozen=True)
class Route:
    method: str
    path: str
    operation: Mapping[str, Any]

    @property
    def key(self) -> tuple[str, str]:
        return self.method, self.path

    @property
    def parameters(self) -> list[str]:
        return re.findall(r"{(\w+)(?::\w+)?}", self.path)

    @property
    def tag(self) -> str:
        return str((self.operation.get("tags") or ["none"])[0])


def routes_of(app: FastAPI) -> list[Route]:
    paths = app.openapi()["paths"]
    found = []
    for route in iter_route_contexts(app.routes):
        path = getattr(route, "path", None)
        for method in sorted(getattr(route, "methods", None) or ()):
            if path is None or method == "OPTIONS" or path.startswith("/static"):
                continue
            if method == "HEAD" and (path, "get") in {(p, m) for p in paths for m in paths[p]}:
                operation = paths[path]["get"]
            else:
                operation = paths.get(path, {}).get(method.lower(), {})
            found.append(Route(method, path, operation))
    assert len(found) > 40
    return found


def _resolve(schema: Mapping[str, Any], whole: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        known = {**whole["components"]["schemas"][name], "known_as": name}
        schema = {**known, **_without_ref(schema)}
    return schema


def _without_ref(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != "$ref"}


def example(
    schema: Mapping[str, Any], whole: Mapping[str, Any], ids: Mapping[str, str], name: str = ""
) -> Any:
    """The least value that the schema allows, with ids where a field's name asks for one."""
    schema = _resolve(schema, whole)
    if name in ids and name != "name" and schema.get("type") != "array":
        return ids[name]
    for key in ("const", "default"):
        if schema.get(key) is not None:
            return schema[key]
    if schema.get("examples"):
        return schema["examples"][0]
    if "enum" in schema:
        return schema["enum"][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            options = [_resolve(one, whole) for one in schema[key]]
            chosen = next((one for one in options if one.get("type") != "null"), options[0])
            return example(chosen, whole, ids, name)
    return _of_type(schema, whole, ids, name)


def _of_type(
    schema: Mapping[str, Any], whole: Mapping[str, Any], ids: Mapping[str, str], name: str
) -> Any:
    match schema.get("type"):
        case "object":
            wanted = set(schema.get("required", ()))
            made = {
                field: example(inner, whole, ids, field)
                for field, inner in schema.get("properties", {}).items()
                if field in wanted or field in ids
            }
            return made | FIELDS.get(str(schema.get("known_as")), {})
        case "array":
            least = max(1, schema.get("minItems", 0))
            return [example(schema["items"], whole, ids, name)] * least
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return False
        case "null":
            return None
        case _:
            return "x" * max(8, schema.get("minLength", 0))


def request_for(
    route: Route, whole: Mapping[str, Any], ids: Mapping[str, str], path_ids: Mapping[str, str]
) -> dict[str, Any]:
    """Keyword arguments for httpx: URL, query, headers and body with those ids."""
    url = re.sub(r"{(\w+)(?::\w+)?}", lambda found: path_ids[found[1]], route.path)
    query: dict[str, Any] = {}
    headers = {"Suanwang-Protocol": str(VERSION)} if route.path.startswith("/agent/") else {}
    for parameter in route.operation.get("parameters", ()):
        name, place = parameter["name"], parameter["in"]
        if place == "query" and (parameter.get("required") or name in ids):
            query[name] = example(parameter.get("schema", {}), whole, ids, name)
        elif place == "header" and parameter.get("required"):
            headers[name] = str(example(parameter.get("schema", {}), whole, {}, name))
    made: dict[str, Any] = {"url": url, "params": query, "headers": headers}
    content = route.operation.get("requestBody", {}).get("content", {})
    if "application/json" in content:
        made["json"] = example(content["application/json"]["schema"], whole, ids)
    elif content:
        made["content"] = b""
    return made
