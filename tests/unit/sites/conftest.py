"""A grid in memory; the test plays the agents."""

from __future__ import annotations

import pytest

from grid_world import GridWorld, PlayedSite
from manual_clock import ManualClock
from suanwang.platform.database import InlineDatabase
from suanwang.platform.migrations import load_tables

load_tables()


@pytest.fixture
def world(inline_database: InlineDatabase, clock: ManualClock) -> GridWorld:
    return GridWorld(inline_database, clock)


@pytest.fixture
def site(world: GridWorld) -> PlayedSite:
    return world.site()
