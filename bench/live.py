"""The grid of real processes that the tests have, with the settings that an operator has."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from components.ports import reserve_ports
from rig import LiveGrid

__all__ = ["Live", "cpu_seconds", "reserve_ports"]


class Live(LiveGrid):
    """Nothing is hurried."""

    HURRY: ClassVar[dict[str, Any]] = {}


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
