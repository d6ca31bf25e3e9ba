"""Which class a pool's cards belong to. Pure."""

from __future__ import annotations

import re

MIB_PER_GIB = 1_024
_OTHER = re.compile(r"[^a-z0-9.]+")


def class_of(model: str, memory_mib: int = 0) -> str:
    """A stable name of the model and its memory: `a100-80g`."""
    name = _OTHER.sub("-", model.casefold()).strip("-") or "unknown"
    gib = memory_mib // MIB_PER_GIB
    return f"{name}-{gib}g" if gib and not name.endswith(f"-{gib}g") else name
