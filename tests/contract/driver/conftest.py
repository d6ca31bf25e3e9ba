"""The drivers under contract. `case` is a DriverCase; see driver_case.py for how to add one."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from driver_case import DriverCase

from components.lacking import needs
from components.slurm import missing_programs

_CASES = [  # (module, its options)
    pytest.param(("process", {}), id="process"),
    pytest.param(
        ("process", {"isolation": "auto", "limits": "auto"}),
        id="process-confined",
        marks=needs(shutil.which("bwrap"), "no bubblewrap"),
    ),
    pytest.param(
        ("slurm", {}),
        id="slurm",
        marks=[
            pytest.mark.slurm,
            needs(not missing_programs(), "no Slurm"),
            pytest.mark.xdist_group("slurm-contract"),
        ],
    ),
]


@pytest.fixture(params=_CASES)
async def case(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[DriverCase]:
    name, options = request.param
    module = importlib.import_module(f"case_{name}")
    made: DriverCase = await module.make(tmp_path, **options)
    try:
        yield made
    finally:
        await made.dispose()
