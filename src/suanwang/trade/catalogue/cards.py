"""The catalogue of accelerators, read from `accelerators/`, and the class of what a site reports.

A class is `<model>-<memory>g`: the model's slug and the nominal gigabytes of its version. What
the catalogue does not know gets a class of its own name, without figures.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml

from suanwang.kernel.errors import NotFound, require
from suanwang.trade.catalogue.model import (
    CORE,
    MEGA_PER_TERA,
    Accelerator,
    Bandwidth,
    Basis,
    Confidence,
    Figure,
    Memory,
    Precision,
    Source,
)

FOLDER = Path(__file__).parent / "accelerators"
SOURCES = "sources.yaml"
MIB_PER_GIB = 1024
MEMORY_TOLERANCE_PERCENT = 15
"""Drivers report less than what is sold: binary units, and what error correction takes."""
MAX_SLUG = 40

_WORDS = re.compile(r"[a-z0-9]+|[一-鿿]+")
_MEMORY_WORD = re.compile(r"\d+(?:g|gb|gib)")
_MAKERS = ("nvidia", "amd", "huawei", "hygon", "cambricon", "kunlunxin", "metax", "mthreads")
_OTHER_MAKERS = ("iluvatar", "biren", "birentech")
_MARKS = ("tesla", "geforce", "instinct", "corex", "vgpu", "gpu", "npu", "dcu", "oam")
_NOISE = frozenset((*_MAKERS, *_OTHER_MAKERS, *_MARKS))
"""Makers and forms that some programs write beside the model, others not."""
_CLASS = re.compile(r"(.+)-(\d+)g")


@dataclass(frozen=True)
class Cards:
    """All models, by slug and by every name."""

    models: tuple[Accelerator, ...]

    @cached_property
    def by_slug(self) -> Mapping[str, Accelerator]:
        return {one.slug: one for one in self.models}

    @cached_property
    def by_name(self) -> Mapping[str, Accelerator]:
        found: dict[str, Accelerator] = {}
        for one in self.models:
            for name in (one.slug, one.name, *one.names):
                key = plain_name(name)
                known = found.setdefault(key, one)
                require(known is one, "NameTwice", f"{name} is {known.slug} and {one.slug}")
        return found


def plain_name(text: str) -> str:
    """A model's name without maker, memory and marks: `NVIDIA A100-SXM4-80GB` → `a100sxm4`.

    Of a Kubernetes resource what follows the maker's domain counts.
    """
    words = _WORDS.findall(text.lower().rpartition("/")[2])
    told = [word for word in words if word not in _NOISE and not _MEMORY_WORD.fullmatch(word)]
    return "".join(told) or "".join(words)


@cache
def cards() -> Cards:
    sources = {
        key: Source(key, one["title"], one["address"], one["date"])
        for key, one in _read(FOLDER / SOURCES).items()
    }
    models: list[Accelerator] = []
    for file in sorted(FOLDER.glob("*.yaml")):
        if file.name != SOURCES:
            loaded = _read(file)
            models.extend(_accelerator(loaded, one, sources) for one in loaded["models"])
    return Cards(tuple(sorted(models, key=lambda one: (one.vendor, one.slug))))


def _read(file: Path) -> dict[str, Any]:
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loaded: dict[str, Any] = yaml.load(file.read_text(encoding="utf-8"), loader)
    return loaded


def _accelerator(
    vendor: Mapping[str, Any], one: Mapping[str, Any], sources: Mapping[str, Source]
) -> Accelerator:
    def bandwidth(gb_s: int, source: str, note: str = "") -> Bandwidth:
        return Bandwidth(gb_s, sources[source], note)

    def figure(
        precision: str, basis: str, tera: float, source: str, confidence: str, note: str = ""
    ) -> Figure:
        return Figure(
            Precision(precision),
            Basis(basis),
            round(tera * MEGA_PER_TERA),
            sources[source],
            Confidence(confidence),
            note,
        )

    return Accelerator(
        slug=one["slug"],
        name=one["name"],
        vendor=vendor["vendor"],
        stack=vendor["stack"],
        domestic=vendor["domestic"],
        names=tuple(one["names"]),
        memory=tuple(
            Memory(
                memory["gb"],
                tuple(bandwidth(*item) for item in memory["bandwidth"]),
                memory.get("half", False),
            )
            for memory in one["memory"]
        ),
        figures=tuple(figure(*item) for item in one["figures"]),
    )


def find(model: str) -> Accelerator | None:
    """By any of its names, as drivers, Slurm, Kubernetes or people write them."""
    return cards().by_name.get(plain_name(model))


def class_of(model: str | None, memory_mib: int = 0) -> str:
    """The class of what a pool reports; `core` for a pool without cards.

    A version is the nearest by memory; where neither the site nor the name says how much, the
    smallest.
    """
    if not model or not plain_name(model):
        return CORE
    known = find(model)
    if known is None:
        return _own_class(model, memory_mib)
    memory_mib = memory_mib or _memory_named(model)
    sizes = sorted(memory.gb for memory in known.memory)
    if not memory_mib:
        return f"{known.slug}-{sizes[0]}g"
    gib = memory_mib / MIB_PER_GIB
    nearest = min(sizes, key=lambda gb: (abs(gb - gib), gb))
    is_near = abs(nearest - gib) * 100 <= nearest * MEMORY_TOLERANCE_PERCENT
    return f"{known.slug}-{nearest if is_near else round(gib)}g"


def _memory_named(model: str) -> int:
    """MiB that the name itself tells (`a100_80g`), 0 where it does not."""
    words = [word for word in _WORDS.findall(model.lower()) if _MEMORY_WORD.fullmatch(word)]
    return int(re.sub(r"\D", "", words[0])) * MIB_PER_GIB if words else 0


def _own_class(model: str, memory_mib: int) -> str:
    """Of letters, digits and dashes; never one that a known model could have."""
    slug = "-".join(re.findall(r"[a-z0-9]+", model.lower()))[:MAX_SLUG].strip("-")
    slug = slug or "card-" + "".join(f"{ord(letter):x}" for letter in plain_name(model))[:16]
    if slug in cards().by_slug or slug == CORE or _CLASS.fullmatch(slug):
        slug += "-other"
    return f"{slug}-{round(memory_mib / MIB_PER_GIB)}g" if memory_mib else slug


def split_class(unit_class: str) -> tuple[Accelerator | None, int | None]:
    """The model and the gigabytes of a class; None where the catalogue knows nothing.

    Of a version that is half a card the model's figures are halved.
    """
    match = _CLASS.fullmatch(unit_class)
    if match is None:
        return None, None
    card, gb = cards().by_slug.get(match[1]), int(match[2])
    is_half = card is not None and any(m.half for m in card.memory if m.gb == gb)
    return _half(card) if card and is_half else card, gb


@cache
def _half(card: Accelerator) -> Accelerator:
    return replace(card, figures=tuple(_halved(one) for one in card.figures))


def _halved(figure: Figure) -> Figure:
    note = f"half of {figure.mega / MEGA_PER_TERA:g}, one die of two"
    return replace(figure, mega=figure.mega // 2, note=note)


def classes() -> list[str]:
    """Every class of the catalogue, by vendor and model."""
    return [f"{one.slug}-{memory.gb}g" for one in cards().models for memory in one.memory]


def require_class(text: str) -> str:
    """A class by its own name or by a card's name (its smallest version). Raises NotFound."""
    if text == CORE or split_class(text)[0] is not None:
        return text
    if find(text) is None:
        raise NotFound(
            "ClassNotFound",
            f"The catalogue has no class {text!r}.",
            hint="`suan catalogue ls` lists them.",
        )
    return class_of(text)
