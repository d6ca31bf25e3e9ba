"""Every word of the SDK's nouns, spoken to nobody: what it would send, and what it says it gives.

A word is called twice, with all that it takes and with only what it must be given; its requests
are held against the OpenAPI document of the application.
"""

from __future__ import annotations

import importlib
import inspect
import json
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict
from urllib.parse import parse_qs, urlsplit

import suanwang.edge.client.client as client_module
from suanwang.edge.client.client import Client
from suanwang.edge.client.http import Api

HERE = Path(client_module.__file__).parent
INSTANT = "2199-01-01T00:00:00Z"
MAPPINGS: dict[str, Any] = {
    "lines": {1: "1.00"},
    "terms": dict.fromkeys(
        ("credit_percent", "deposit_percent", "cancel_hours", "cancel_percent"), 1
    ),
    "evidence": {"contract": "x"},
    "document": {"side": "buy", "curve": [{"product": "x@y", "lots": 1, "price": "1"}]},
    "party": dict.fromkeys(
        ("name", "code", "address", "phone", "bank", "bank_account", "email"), "x"
    ),
    "profile": {
        **dict.fromkeys(("name", "uscc", "region", "kind", "size", "sector"), "x"),
        **dict.fromkeys(("founded", "dishonest_on"), "2199-01-01"),
        "affiliates": ["x"],
        "qualifications": ["x"],
        "facility": {"kind": "ai", "pflops": 1, "racks": 1, "metering_logs": True},
    },
}
"""What a word takes as it is: by the parameter's name."""


@dataclass(frozen=True)
class Sent:
    method: str
    path: str
    query: Mapping[str, list[str]]
    body: Any


class _Nothing:
    """An answer that has of everything as little as may be."""

    status = 200
    headers: Mapping[str, str] = {}

    def read(self, amount: int = -1) -> bytes:
        return json.dumps({"items": [], "lines": [], "next_cursor": None}).encode()

    def read_some(self, amount: int) -> bytes:
        return b""

    def close(self) -> None:
        pass


class Recorder(Api):
    """Writes down what would go out."""

    def __init__(self) -> None:
        super().__init__("http://nowhere.invalid")
        self.sent: list[Sent] = []

    def call(self, method: str, path: str, *, body: bytes | None = None, **_: Any) -> Any:
        parts = urlsplit(path)
        told = None if body is None else json.loads(body)
        self.sent.append(Sent(method, parts.path, parse_qs(parts.query), told))
        return _Nothing()

    def stream(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        self.read(path, query)
        return _Nothing()


def names_known() -> dict[str, Any]:
    """What annotations of the client may name; the shapes are imported for type checkers only."""
    found: dict[str, Any] = {}
    for path in sorted(HERE.glob("views*.py")):
        module = importlib.import_module(f"suanwang.edge.client.{path.stem}")
        shapes = {n: v for n, v in vars(module).items() if is_typeddict(v)}
        again = {n for n in shapes if n in found and found[n] is not shapes[n]}
        assert not again, f"two shapes of one name: {again}"
        found |= shapes
    return found


@dataclass
class Word:
    """`client.<noun>.<name>`"""

    noun: str
    name: str
    kind: type
    hints: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.noun}.{self.name}"

    @property
    def signature(self) -> inspect.Signature:
        return inspect.signature(getattr(self.kind, self.name))

    @cached_property
    def sent(self) -> list[Sent]:
        """With everything, then with as little as may be."""
        everything = {name: sample(hint, name) for name, hint in self.parameters.items()}
        must = {
            name: everything[name]
            for name, one in self.signature.parameters.items()
            if one.default is one.empty and name != "self"
        }
        return [self._spoken(everything), self._spoken(must)]

    @property
    def parameters(self) -> dict[str, Any]:
        return {name: hint for name, hint in self.hints.items() if name != "return"}

    def _spoken(self, arguments: Mapping[str, Any]) -> Sent:
        recorder = Recorder()
        answer = getattr(self.kind(recorder), self.name)(**arguments)
        if isinstance(answer, Iterator):
            assert list(answer) == []
        assert len(recorder.sent) == 1, f"{self} is {len(recorder.sent)} calls"
        return recorder.sent[0]


def words() -> list[Word]:
    """Of all nouns that hang on the client, in the order of their names."""
    known = names_known()
    found = []
    for noun, value in sorted(vars(Client).items()):
        if not isinstance(value, cached_property):
            continue
        module = importlib.import_module(f"suanwang.edge.client.{noun}")
        kind = getattr(module, noun.capitalize())
        for name, method in sorted(vars(kind).items()):
            if name.startswith("_") or not inspect.isfunction(method):
                continue
            hints = get_type_hints(method, {**known, **vars(module)})
            found.append(Word(noun, name, kind, hints))
    return found


def choices(hint: Any) -> tuple[Any, ...]:
    """Members of a union; of anything else, itself alone."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def literals(hint: Any) -> set[str]:
    """The texts that are allowed; empty where any is."""
    return {text for one in choices(hint) if get_origin(one) is Literal for text in get_args(one)}


def sample(hint: Any, name: str = "") -> Any:
    """A value that the annotation allows, and never the default."""
    if name in MAPPINGS:
        return MAPPINGS[name]
    of = [one for one in choices(hint) if one not in (type(None), types.EllipsisType)]
    first = of[0]
    if is_typeddict(first):
        hints = get_type_hints(first, {**names_known(), **vars(inspect.getmodule(first) or types)})
        return {key: sample(kind, key) for key, kind in hints.items()}
    if get_origin(first) is Literal:
        return get_args(first)[-1]
    if first in (str, int, bool):
        return {str: "x", int: 1, bool: True}[first]
    if str in of:  # an instant or a day beside its text
        return INSTANT
    items = [one for one in get_args(first) if one is not Ellipsis]
    assert len(items) == 1, f"{name}: {hint}"
    return [sample(items[0])]
