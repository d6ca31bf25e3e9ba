"""The jobs of the demo: whose they are, how they are to end, how their answers are checked."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from suanwang.demo import answers
from suanwang.demo.answers import Evidence
from suanwang.demo.stage import FIRM, UNIVERSITY, Party

FOLDER = Path(__file__).parent / "workload"
ANGLES = tuple(range(15, 75, 5))
SEEDS = tuple(range(1, 7))
PRIMES = {100_000: 9_592, 500_000: 41_538, 1_000_000: 78_498, 2_000_000: 148_933}
"""How many primes there are below, by the published tables of the prime counting function."""

Check = Callable[[Evidence], str]
"""What was found, in a few words. Raises Wrong."""


@dataclass(frozen=True, slots=True)
class Case:
    """One job. `group` has the checks that need the answers of several jobs."""

    name: str
    party: Party
    spec: dict[str, Any]
    check: Check = answers.nothing
    expected: str = "succeeded"
    refusal: str = ""
    """The reason that must be named when it is to be refused."""
    group: str = ""
    cancelled: bool = False
    after: str = ""
    """Submitted when the job of this name has ended, with its output as input."""
    secret: str = field(default="", repr=False)


def specification(name: str) -> dict[str, Any]:
    """A shipped workload file; also what `suan run` takes."""
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    spec: dict[str, Any] = yaml.safe_load(text)
    return spec


def varied(name: str, suffix: str = "", **env: Any) -> dict[str, Any]:
    spec = copy.deepcopy(specification(name))
    spec["name"] += suffix
    if env:
        spec["env"] = {**spec.get("env", {}), **env}
    return spec


def cases() -> list[Case]:
    """In the order in which they are submitted."""
    return list(_university()) + list(_firm())


def _university() -> Iterator[Case]:
    for angle in ANGLES:
        spec = varied("sweep", f"-{angle}", ANGLE=angle)
        yield Case(spec["name"], UNIVERSITY, spec, answers.flight(angle), group="sweep")
    for seed in SEEDS:
        spec = varied("pi", f"-{seed}", SEED=seed)
        yield Case(spec["name"], UNIVERSITY, spec, answers.one_pi, group="pi")
    yield Case("train-spirals", UNIVERSITY, varied("train"), answers.trained(bound=0.05))
    yield Case("survey", UNIVERSITY, varied("survey"), answers.surveyed(mib=16))
    yield Case("digest", UNIVERSITY, varied("digest"), answers.digested, after="survey")
    key = secrets.token_hex(16)
    sealed = {**varied("sealed"), "secrets": {"API_KEY": key}}
    yield Case("sealed", UNIVERSITY, sealed, answers.sealed(key), secret=key)
    yield Case("nightly", UNIVERSITY, varied("nightly"), answers.one_pi)
    too_big = varied("too-big")
    yield Case("too-big", UNIVERSITY, too_big, expected="refused", refusal="TooBigForAnyNode")
    urgent = answers.counted(1_229)
    yield Case("urgent", UNIVERSITY, varied("urgent"), urgent, group="urgent")


def _firm() -> Iterator[Case]:
    yield Case("endless", FIRM, varied("endless"), expected="cancelled", cancelled=True)
    for limit, known in PRIMES.items():
        spec = varied("primes", f"-{limit}", LIMIT=limit)
        yield Case(spec["name"], FIRM, spec, answers.counted(known))
    yield Case("gang", FIRM, varied("gang"), answers.agreed(sum(range(1_000_000))))
    yield Case("slices", FIRM, varied("slices"), answers.merged(20, PRIMES[2_000_000]))
    yield Case("flaky", FIRM, varied("flaky"), answers.retried(attempts=2))
    yield Case("cards", FIRM, varied("cards"), answers.saw_cards(2))
    over_cap = varied("over-cap")
    yield Case("over-cap", FIRM, over_cap, expected="refused", refusal="OverPriceCap")
