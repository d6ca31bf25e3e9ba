"""The submit form: simple fields and the specification's YAML, each made from the other. Pure.

The fields know a part of the specification only. What the YAML says beyond them stays as it is.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

import yaml

from suanwang.edge.spec_yaml import SpecLoader
from suanwang.kernel.errors import InvalidInput

FIELDS = {
    "name": "name",
    "project": "project",
    "command": "command",
    "cpus": "resources.cpus",
    "memory": "resources.memory",
    "cards": "resources.accelerators.count",
    "model": "resources.accelerators.model",
    "count": "count",
    "array": "array",
    "max_runtime": "max_runtime",
    "max_price": "max_price",
    "region": "constraints.regions",
    "outputs": "outputs",
    "priority": "priority",
    "preemptible": "preemptible",
}
"""Field of the form → path in the specification, which is how errors find their field."""

START: dict[str, Any] = {
    "name": "hello",
    "command": "echo hello from $(hostname)",
    "resources": {"cpus": 1, "memory": "512MiB"},
    "max_runtime": "10m",
}
_NUMBERS = ("cpus", "cards", "count", "array", "priority")
MAX_YAML = 200_000


def parse(text: str) -> dict[str, Any]:
    """The YAML as a mapping; raises InvalidInput with the line that cannot be read."""
    if len(text) > MAX_YAML:
        raise InvalidInput("SpecTooLong", "The specification is too long.", field="spec")
    try:
        found = yaml.load(text, SpecLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        what = getattr(error, "problem", None) or "not YAML"
        raise InvalidInput(
            "SpecUnreadable",
            f"The specification cannot be read: {what}{where}.",
            hint="Mend that line.",
            field="spec",
        ) from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InvalidInput(
            "SpecUnreadable",
            "The specification is not a list of fields with values.",
            hint="Begin with: name: hello",
            field="spec",
        )
    return {str(key): value for key, value in found.items()}


def text_of(spec: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(spec), allow_unicode=True, sort_keys=False, width=88)


def _part(spec: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = spec.get(name)
    return dict(found) if isinstance(found, dict) else {}


def _cards(resources: Mapping[str, Any]) -> dict[str, Any]:
    """Short forms ('A800:4', 4) written out."""
    found = resources.get("accelerators")
    if isinstance(found, dict):
        return dict(found)
    if isinstance(found, str):
        model, _, count = found.partition(":")
        return {"model": model, "count": count or "1"}
    return {} if found is None else {"count": found}


def _words(value: Any) -> str:
    if value is None:
        return ""
    return ", ".join(str(one) for one in value) if isinstance(value, list) else str(value)


def fields_of(spec: Mapping[str, Any]) -> dict[str, str]:
    """What the simple fields show of a specification."""
    resources, constraints = _part(spec, "resources"), _part(spec, "constraints")
    cards = _cards(resources)
    outputs = spec.get("outputs")
    paths = [
        one.get("path", "") if isinstance(one, dict) else one
        for one in (outputs.values() if isinstance(outputs, dict) else ())
    ]
    values = {
        **{name: spec.get(name) for name in ("name", "project", "command", "count", "array")},
        **{name: spec.get(name) for name in ("max_runtime", "max_price", "priority")},
        "cpus": resources.get("cpus"),
        "memory": resources.get("memory"),
        "cards": cards.get("count"),
        "model": cards.get("model"),
        "region": constraints.get("regions"),
        "outputs": paths,
        "preemptible": "true" if spec.get("preemptible") else "",
    }
    return {name: _words(value) for name, value in values.items()}


def _put(target: dict[str, Any], name: str, text: str) -> None:
    """A number as a number if it is one; an empty field takes the entry away."""
    text = text.strip()
    if not text:
        target.pop(name, None)
        return
    if name in _NUMBERS:
        try:
            number = float(text)
            target[name] = int(number) if number.is_integer() else number
            return
        except (ValueError, OverflowError):
            pass  # refused by the specification, at its field
    target[name] = text


def _list(text: str) -> list[str]:
    return [one.strip() for one in text.replace("，", ",").split(",") if one.strip()]


def merged(spec: Mapping[str, Any], fields: Mapping[str, str]) -> dict[str, Any]:
    """The specification with the simple fields written into it."""
    made = dict(spec)
    for name in ("name", "project", "count", "array", "max_runtime", "max_price", "priority"):
        _put(made, name, fields.get(name, ""))
    if not (made.get("script") or made.get("argv")):
        _put(made, "command", fields.get("command", ""))
    if fields.get("preemptible") == "true":
        made["preemptible"] = True
    else:
        made.pop("preemptible", None)
    _resources(made, fields)
    constraints = _part(made, "constraints")
    _replace(constraints, "regions", _list(fields.get("region", "")))
    _replace(made, "constraints", constraints)
    paths = _list(fields.get("outputs", ""))
    if paths != _list(fields_of(spec)["outputs"]):
        names = [posixpath.basename(path.rstrip("/")) or path for path in paths]
        _replace(made, "outputs", dict(zip(names, paths, strict=True)))
    return made


def _resources(made: dict[str, Any], fields: Mapping[str, str]) -> None:
    resources = _part(made, "resources")
    if "any_of" in resources:
        return  # the fields cannot say this
    _put(resources, "cpus", fields.get("cpus", ""))
    _put(resources, "memory", fields.get("memory", ""))
    cards = _cards(resources)
    _put(cards, "cards", fields.get("cards", ""))
    _replace(cards, "count", cards.pop("cards", None))
    _replace(cards, "model", _list(fields.get("model", "")))
    wanted = cards if cards.get("count") else None
    _replace(resources, "accelerators", wanted)
    _replace(made, "resources", resources)


def _replace(target: dict[str, Any], name: str, value: Any) -> None:
    if value in (None, "", [], {}):
        target.pop(name, None)
    else:
        target[name] = value


def field_of(where: str) -> str:
    """The form's field for a place in the specification; `spec` (the YAML) if it has none."""
    best = "spec"
    for name, path in FIELDS.items():
        if where == path or where.startswith(f"{path}.") or path.startswith(f"{where}."):
            best = name
            if where == path:
                break
    return best
