"""How specifications are read: only `true` and `false` are truth values, as in YAML 1.2.

PyYAML reads YAML 1.1, where `on`, `off`, `yes` and `no` are, too: `retries: {on: [exit]}` would
name a field `True`.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

_BOOL = "tag:yaml.org,2002:bool"
_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class SpecLoader(_BASE):  # type: ignore[misc]
    """PyYAML's safe loader with fewer truth values."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, form) for tag, form in forms if tag != _BOOL]
        for first, forms in _BASE.yaml_implicit_resolvers.items()
    }


SpecLoader.add_implicit_resolver(
    _BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
