"""Tests that share a cluster, a browser or a platform run in one worker."""

from __future__ import annotations

import pytest


def test_the_runner_keeps_groups_together(request: pytest.FixtureRequest) -> None:
    """It marks their tests with `@group`. One that stops doing so says nothing, and each worker
    then starts everything anew."""
    if not request.config.getoption("loadgroup", False):
        pytest.skip("one process, or no --dist loadgroup")
    grouped = [item for item in request.session.items if item.get_closest_marker("xdist_group")]
    assert [item.nodeid for item in grouped if "@" not in item.nodeid.rpartition("]")[2]] == []
