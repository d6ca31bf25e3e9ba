"""What the tests of the process driver on the real machine share."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from components.lacking import lacking, needs
from suanwang.agent.drivers.process.driver import ProcessDriver

sys.path.insert(0, str(Path(__file__).parent.parent / "contract" / "driver"))

from case_process import abandon, end_warden, keeper_pid, make, warden_pid
from driver_case import DriverCase, alive, files_holding, processes_of, until_file, until_gone

__all__ = [
    "UP",
    "DriverCase",
    "Maker",
    "alive",
    "cases",
    "end_warden",
    "files_holding",
    "group_folders",
    "groups_of",
    "keeper_pid",
    "limited",
    "make",
    "needs_bubblewrap",
    "plain_case",
    "processes_of",
    "state_of",
    "until_file",
    "until_gone",
    "warden_pid",
]

Maker = Callable[..., Awaitable[DriverCase]]
UP = "echo up >up; exec sleep 600"

needs_bubblewrap = needs(shutil.which("bwrap"), "no bubblewrap")


@asynccontextmanager
async def cases(folder: Path) -> AsyncIterator[Maker]:
    """Make process cases with the options given; all are taken down afterwards."""
    made: list[DriverCase] = []

    async def build(**options: str) -> DriverCase:
        case = await make(folder / str(len(made)), **options)
        made.append(case)
        return case

    try:
        yield build
    finally:
        for case in made:
            await case.dispose()


def state_of(case: DriverCase) -> Path:
    return case.folder.parent


def plain_case(driver: ProcessDriver, state: Path) -> DriverCase:
    """For a driver the test opens, reopens and closes itself."""

    async def never() -> Any:
        raise AssertionError

    return DriverCase(driver, "p", state / "runs", never, abandon, never)


async def limited(open_case: Maker, **options: str) -> DriverCase:
    case = await open_case(limits="auto", **options)
    [pool] = await case.driver.inventory()
    if "no limits" in pool.isolation:
        lacking("no cgroup that this user may write")
    return case


def groups_of(case: DriverCase) -> list[Path]:
    """The runs' groups, in every hierarchy."""
    return [
        Path(entry.path)
        for top in group_folders(case)
        for entry in os.scandir(top)
        if entry.is_dir() and "-" in entry.name
    ]


def group_folders(case: DriverCase) -> list[Path]:
    """The agent's own folder in each hierarchy. Others' come and go while one looks."""
    mark = (state_of(case) / "process" / "warden.id").read_text()
    return [
        Path(folder) / name
        for folder, names, _ in os.walk("/sys/fs/cgroup")
        for name in names
        if name.startswith(f"suanwang-{mark[:12]}")
    ]
