"""Programmes as documents: YAML, decoded strictly; those that ship lie in `programmes/`."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import yaml

from suanwang.kernel.errors import InvalidInput
from suanwang.kernel.money import MAX_AMOUNT, MICRO_PER_YUAN
from suanwang.trade.policy.model import Benefit, BenefitKind, Mode, Programme, Rate

FOLDER = Path(__file__).parent / "programmes"
MAX_DOCUMENT = 64 * 1024
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_ID = re.compile(r"[a-z][a-z0-9-]{1,22}[a-z0-9]")
_FUNDER = re.compile(r"[a-z][a-z0-9]{0,11}")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>[^`]+)`")
_PLACE = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")


def read(text: str) -> Programme:
    """A document in YAML (or JSON, which is YAML). Raises InvalidInput that names the field."""
    if len(text.encode()) > MAX_DOCUMENT:
        raise _wrong("A programme has at most 64 KiB.", "document")
    try:
        raw = yaml.load(text, Loader=_LOADER)
    except (yaml.YAMLError, ValueError) as error:
        raise _wrong(f"This is not YAML: {str(error).splitlines()[0]}.", "document") from None
    return of_mapping(raw)


def of_mapping(raw: Any) -> Programme:
    try:
        programme = msgspec.convert(raw, Programme)
    except msgspec.ValidationError as error:
        raise _translated(str(error)) from None
    check(programme)
    return programme


def _translated(text: str) -> InvalidInput:
    place = _PLACE.search(text)
    path = place["path"] if place else ""
    if unknown := _UNKNOWN.search(text):
        field = f"{path}.{unknown['field']}".lstrip(".")
        return _wrong(f"A programme has no field {field}.", field)
    return _wrong(f"{_PLACE.sub('', text)}.", path or "document")


def _wrong(message: str, field: str) -> InvalidInput:
    return InvalidInput(
        "InvalidProgramme",
        message,
        hint="docs/mechanisms/policy-programmes.md lists the fields.",
        field=field,
    )


def check(programme: Programme) -> None:
    """What the types alone do not say."""
    if not _ID.fullmatch(programme.id):
        raise _wrong("An id is 3 to 24 lower-case letters, digits and hyphens.", "id")
    if programme.version < 1:
        raise _wrong("Versions count from 1.", "version")
    ids = [one.id for one in programme.funders]
    if not ids or len(set(ids)) < len(ids) or not all(map(_FUNDER.fullmatch, ids)):
        raise _wrong("Funders have short ids of their own, and there is one at least.", "funders")
    if any(one.share < 1 for one in programme.funders):
        raise _wrong("A funder's share is 1 or more.", "funders.share")
    items = [item for benefit in programme.benefits for item in benefit.items]
    if not items or len(set(items)) < len(items):
        raise _wrong("Every item is in exactly one benefit.", "benefits.items")
    for number, benefit in enumerate(programme.benefits):
        _check_benefit(benefit, f"benefits[{number}]", programme.mode)
    if not 0 <= programme.stacking.combined_percent <= 100:
        raise _wrong("A share is 0 to 100 percent.", "stacking.combined_percent")
    amounts = [programme.pool.year_yuan, programme.pool.total_yuan]
    if any(one is not None and not 0 < one <= _MOST_YUAN for one in amounts):
        raise _wrong("A pool is more than nothing.", "pool")


_MOST_YUAN = MAX_AMOUNT // MICRO_PER_YUAN


def _check_benefit(benefit: Benefit, where: str, mode: Mode) -> None:
    is_share = benefit.kind is BenefitKind.SHARE
    if is_share and (benefit.base is None or not benefit.rates):
        raise _wrong("A share is of a base and has rates.", f"{where}.base")
    if not is_share and (benefit.rates or mode is not Mode.REFUND):
        raise _wrong("Only a share has rates, or works at a charge.", f"{where}.rates")
    for number, rate in enumerate(benefit.rates):
        _check_rate(rate, f"{where}.rates[{number}]")
    caps = benefit.caps
    limits = (caps.entity_year_yuan, caps.contract_yuan, caps.project_yuan, caps.entity_years)
    amounts = (
        *limits,
        benefit.unit_yuan,
        benefit.line_yuan,
        *(caps.entity_year_between_yuan or ()),
    )
    if any(one is not None and not 0 < one <= _MOST_YUAN for one in amounts):
        raise _wrong("A cap is more than nothing.", f"{where}.caps")


def _check_rate(rate: Rate, where: str) -> None:
    bounds = (rate.percent, rate.at_least, rate.at_most)
    if any(one is not None and not 0 <= one <= 100 for one in bounds):
        raise _wrong("A share is 0 to 100 percent.", f"{where}.percent")
    if rate.percent is not None and (rate.at_least, rate.at_most) != (None, None):
        raise _wrong("A rate is exact or within bounds, not both.", f"{where}.at_most")
    if (rate.at_least or 0) > (100 if rate.at_most is None else rate.at_most):
        raise _wrong("The lower bound is above the upper one.", f"{where}.at_least")


def shipped_ids() -> frozenset[str]:
    """By the names of their files, without reading them."""
    return frozenset(file.stem for file in FOLDER.glob("*.yaml"))


@cache
def shipped() -> tuple[Programme, ...]:
    """In order of id. Raises InvalidInput for a file that is wrong."""
    files = sorted(FOLDER.glob("*.yaml"))
    found = [read(file.read_text(encoding="utf-8")) for file in files]
    return tuple(sorted(found, key=lambda one: (one.id, one.version)))
