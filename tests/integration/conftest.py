"""A site in front of each kind of Slurm, and cases of the process driver."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from process_cases import Maker, cases

from components.lacking import lacking
from components.slurm import Layout, missing_programs, shared_cluster
from components.slurm_site import SlurmSite

BARE = pytest.param(Layout(), id="bare", marks=pytest.mark.xdist_group("slurm-bare"))
ACCOUNTING = pytest.param(
    Layout(accounting=True), id="accounting", marks=pytest.mark.xdist_group("slurm-accounting")
)


@pytest.fixture(autouse=True)
def has_slurm(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("slurm") and (missing := missing_programs()):
        lacking(f"no Slurm: {', '.join(missing)}")


@asynccontextmanager
async def _in_front_of(layout: Layout, folder: Path) -> AsyncIterator[SlurmSite]:
    if missing := missing_programs(accounting=layout.accounting):
        lacking(f"no Slurm: {', '.join(missing)}")
    made = SlurmSite(shared_cluster(layout), folder)
    await made.open()
    yield made
    await made.driver.close()
    made.cluster.empty()
    made.cluster.heal()


@pytest.fixture(params=[BARE, ACCOUNTING])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SlurmSite]:
    async with _in_front_of(request.param, tmp_path) as made:
        yield made


@pytest.fixture(params=[ACCOUNTING])
async def accounting_site(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[SlurmSite]:
    """One that knows accounts and their limits."""
    async with _in_front_of(request.param, tmp_path) as made:
        yield made


@pytest.fixture
async def open_case(tmp_path: Path) -> AsyncIterator[Maker]:
    async with cases(tmp_path) as maker:
        yield maker
