"""The SDK has a word for every route of the market, and each says what the route takes and gives.

So that a new route, field, state or answer cannot be forgotten: the word for it is missed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Required, get_args, get_origin, get_type_hints, is_typeddict

import pytest

from sdk_words import Sent, Word, choices, literals, names_known, words
from suanwang.bootstrap import make_app
from suanwang.platform.settings import Settings

TAGS = {"market", "catalogue", "billing", "settlement", "rehearsal"}
UNSPOKEN: dict[tuple[str, str], str] = {}
"""Routes that need no word, each with its reason."""
LEFT_UNSAID = {
    "market.buy": (".source",),  # a buyer has none
    "auctions.replace": (".project", ".key"),  # they stay those of the bid that it replaces
}
WORDS = words()
Schema = Mapping[str, Any]


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Schema:
    folder: Path = tmp_path_factory.mktemp("openapi")
    found: Schema = make_app(Settings(state=str(folder))).openapi()
    return found


def resolved(schema: Schema, spec: Schema) -> Schema:
    """Without references, and without null where that is only one of two."""
    while True:
        if "$ref" in schema:
            schema = spec["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        elif rest := [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]:
            if len(rest) > 1:
                return schema
            schema = {**rest[0], **{k: v for k, v in schema.items() if k == "default"}}
        else:
            return schema


def route_of(sent: Sent, spec: Schema) -> tuple[str, Schema]:
    """The template with the fewest parameters that the path fits, and its operation."""
    fitting = [
        path
        for path in spec["paths"]
        if re.fullmatch(re.sub(r"{\w+}", "[^/]+", path), sent.path)
        and sent.method.lower() in spec["paths"][path]
    ]
    assert fitting, f"nothing answers {sent.method} {sent.path}"
    path = min(fitting, key=lambda one: one.count("{"))
    return path, spec["paths"][path][sent.method.lower()]


def body_schema(operation: Schema, spec: Schema) -> Schema:
    content = operation.get("requestBody", {}).get("content", {})
    return resolved(content.get("application/json", {}).get("schema", {}), spec)


def query_schemas(operation: Schema, spec: Schema) -> dict[str, Schema]:
    return {
        one["name"]: resolved(one["schema"], spec)
        for one in operation.get("parameters", ())
        if one["in"] == "query" and one["name"] != "cursor"
    }


def strangers(body: Any, schema: Schema, spec: Schema, at: str = "") -> Iterator[str]:
    """Fields that the route does not take."""
    schema = resolved(schema, spec)
    if isinstance(body, list):
        for one in body:
            yield from strangers(one, schema.get("items", {}), spec, f"{at}[]")
    properties = schema.get("properties")
    if not isinstance(body, dict) or properties is None or schema.get("additionalProperties"):
        return
    for name, value in body.items():
        if name in properties:
            yield from strangers(value, properties[name], spec, f"{at}.{name}")
        else:
            yield f"{at}.{name}"


def unsaid(body: Any, schema: Schema, spec: Schema, at: str = "") -> Iterator[str]:
    """Fields that the route takes and the word has no way to give."""
    schema = resolved(schema, spec)
    if isinstance(body, list) and body:
        yield from unsaid(body[0], schema.get("items", {}), spec, f"{at}[]")
    for name, inner in schema.get("properties", {}).items():
        if set(schema["properties"]) == {"micro_yuan", "yuan"}:
            continue  # an amount is one of them
        if not isinstance(body, dict) or name not in body:
            yield f"{at}.{name}"
        else:
            yield from unsaid(body[name], inner, spec, f"{at}.{name}")


def test_every_route_has_a_word(spec: Schema) -> None:
    spoken = {(one.method, route_of(one, spec)[0]) for word in WORDS for one in word.sent}
    routes = {
        (method.upper(), path)
        for path, operations in spec["paths"].items()
        for method, operation in operations.items()
        if TAGS & set(operation.get("tags", ()))
    }
    assert len(routes) > 110
    assert sorted(routes - spoken - set(UNSPOKEN)) == []
    assert set(UNSPOKEN) <= routes - spoken, "a route has a word by now, or is gone"


@pytest.mark.parametrize("word", WORDS, ids=str)
def test_a_word_sends_what_its_route_takes_and_can_send_all_of_it(word: Word, spec: Schema) -> None:
    whole, least = word.sent
    path, operation = route_of(whole, spec)
    assert route_of(least, spec)[0] == path, "one word, one route"
    body, query = body_schema(operation, spec), query_schemas(operation, spec)
    for sent in word.sent:
        assert set(sent.query) <= set(query)
        assert list(strangers(sent.body, body, spec)) == []
    assert sorted(set(query) - set(whole.query)) == []
    assert list(unsaid(whole.body, body, spec)) == list(LEFT_UNSAID.get(str(word), ()))


@pytest.mark.parametrize("word", WORDS, ids=str)
def test_a_word_knows_the_routes_states_and_defaults(word: Word, spec: Schema) -> None:
    _, operation = route_of(word.sent[0], spec)
    known = {**query_schemas(operation, spec), **body_schema(operation, spec).get("properties", {})}
    for name, hint in word.parameters.items():
        schema = resolved(known.get(name, {}), spec)
        if "enum" in schema:
            assert literals(hint) == set(schema["enum"]), f"{word}({name})"
        default = word.signature.parameters[name].default
        if "default" in schema and default not in (None, (), ...):
            assert default == schema["default"], f"{word}({name})"


def differing(hint: Any, schema: Schema, spec: Schema, at: str) -> Iterator[str]:
    """Where an annotation and the schema of an answer do not say the same."""
    may_be_null = any(one.get("type") == "null" for one in schema.get("anyOf", ()))
    if may_be_null != (type(None) in choices(hint)):
        yield f"{at} {'may' if may_be_null else 'is never'} null"
    (inner,) = (one for one in choices(hint) if one is not type(None))
    schema = resolved(schema, spec)
    kinds = {"string": str, "integer": int, "number": float, "boolean": bool}
    if "enum" in schema:
        same = literals(inner) == set(schema["enum"])
    elif schema.get("type") == "array":
        same = get_origin(inner) is list
        if same:
            yield from differing(get_args(inner)[0], schema["items"], spec, f"{at}[]")
    elif "properties" in schema:
        same = is_typeddict(inner)
        if same:
            yield from _fields(inner, schema, spec, at)
    elif schema.get("type") == "object":
        same = get_origin(inner) is dict
        of = schema.get("additionalProperties")
        if same and isinstance(of, Mapping):
            yield from differing(get_args(inner)[1], of, spec, f"{at}{{}}")
    else:
        same = inner is kinds[schema["type"]]
    if not same:
        yield f"{at}: {inner} for {schema}"


def _fields(shape: Any, schema: Schema, spec: Schema, at: str) -> Iterator[str]:
    hints = get_type_hints(shape, names_known())
    for name in sorted(set(hints) ^ set(schema["properties"])):
        yield f"{at}.{name} is {'gone' if name in hints else 'missing'}"
    for name in sorted(set(hints) & set(schema["properties"])):
        hint = hints[name]
        hint = get_args(hint)[0] if get_origin(hint) is Required else hint
        yield from differing(hint, schema["properties"][name], spec, f"{at}.{name}")


@pytest.mark.parametrize("word", WORDS, ids=str)
def test_a_word_says_what_comes_back(word: Word, spec: Schema) -> None:
    _, operation = route_of(word.sent[0], spec)
    responses = operation["responses"]
    content = (responses.get("200") or responses.get("201") or {}).get("content", {})
    schema = content.get("application/json", {}).get("schema")
    hint = word.hints["return"]
    if schema is None:
        assert hint in (type(None), bytes, Iterator[bytes])
        return
    if (
        not schema
    ):  # catalogue: its shapes are held against real answers, in tests/e2e/test_sdk_market.py
        assert word.noun == "catalogue"
        return
    page = resolved(schema, spec)
    if set(page.get("properties", ())) == {"items", "next_cursor"}:
        assert get_origin(hint) in (Iterator, list)
        schema, hint = page["properties"]["items"]["items"], get_args(hint)[0]
    assert list(differing(hint, schema, spec, str(word))) == []
