"""What a test needs and this machine lacks: skipped with the reason, but in CI a failure."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

CI = os.environ.get("CI") == "true"


def lacking(reason: str) -> NoReturn:
    if CI:
        pytest.fail(f"CI runs every test: {reason}")
    pytest.skip(reason)


def needs(present: object, reason: str) -> pytest.MarkDecorator:
    """As `skipif`. In CI the test runs all the same, and fails at what it lacks."""
    return pytest.mark.skipif(not present and not CI, reason=reason)
