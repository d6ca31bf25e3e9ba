"""The real focus-validator reads what we export and finds nothing wrong with it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from components.lacking import lacking

SCRIPT = Path(__file__).parents[2] / "scripts/focus_conformance.py"


@pytest.fixture(scope="module")
def conformance() -> ModuleType:
    spec = importlib.util.spec_from_file_location("focus_conformance", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.heavy
def test_the_validator_finds_no_failure(conformance: ModuleType) -> None:
    packages = conformance.install()
    if packages is None:
        lacking("no Python 3.12 or newer for focus-validator")
    known = conformance.rules(packages)
    exports = conformance.exports()
    for name, text in exports.items():
        verdicts = conformance.validate(packages, text)
        assert conformance.failures(verdicts, known) == [], name
        assert sum(one.outcome == "passed" for one in verdicts) > 250
    head, *rows = exports["project"].splitlines()
    wrong = "\n".join([head.replace("BilledCost,", "BilledCosts,"), *rows])
    verdicts = conformance.validate(packages, wrong)
    assert "BilledCost-C-001-M" in {one.rule for one in conformance.failures(verdicts, known)}
