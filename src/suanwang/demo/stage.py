"""What the demo plays on: three sites of the Zheng-Qing-Ha testbed and two organisations."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FLAT_HENAN, FLAT_GANSU, FLAT_XINJIANG = 620_000, 480_000, 360_000
"""Micro-yuan per kWh in flat hours: levels made up for the demo, to be unlike each other."""


def tariff(flat: int, peak: range | list[int], valley: list[int], up: int, down: int) -> list[int]:
    """24 prices; the hours follow the provinces' time-of-use tables of 2024, `up` and `down` are
    per cent of the flat price."""
    rates = dict.fromkeys(range(24), flat)
    rates |= dict.fromkeys(peak, flat * up // 100) | dict.fromkeys(valley, flat * down // 100)
    return [rates[hour] for hour in range(24)]


def pool(
    name: str, kind: str, nodes: int, cpus: float, memory: float, **more: Any
) -> dict[str, Any]:
    """A share of this machine, offered as `nodes` equal nodes."""
    shape = {"name": name, "kind": kind, "nodes": nodes, "cpus": cpus, "memory_gib": memory}
    return {"driver": "process", "disk_gib": 1, **shape, **more}


def prices(core: float, memory: float, card: float = 0.0) -> dict[str, float]:
    return {"core_hour": core, "memory_gib_hour": memory, "accelerator_hour": card}


@dataclass(frozen=True, slots=True)
class Site:
    """`about` is what the platform is told when the site is invited, `pools` the agent's part."""

    name: str
    about: dict[str, Any]
    pools: list[dict[str, Any]]


SITES = (
    Site(
        "zhengzhou",
        {
            "display_name": "Zhengzhou supercomputing (demo)",
            "region": "henan",
            "city": "Zhengzhou",
            "kind": "supercomputing",
            "latitude": 34.75,
            "longitude": 113.62,
            "tariff": tariff(
                FLAT_HENAN, range(16, 24), [0, 1, 2, 3, 4, 5, 11, 12, 13], up=169, down=45
            ),
        },
        [
            pool("thin", "supercomputing", 2, 2, 2, prices=prices(0.12, 0.02)),
            pool(
                *("cards", "ai", 1, 2, 4),
                accelerator={"model": "A100", "vendor": "nvidia", "count": 4, "memory_gib": 80},
                prices=prices(0.12, 0.02, 8.5),
            ),
        ],
    ),
    Site(
        "qingyang",
        {
            "display_name": "Qingyang AI computing (demo)",
            "region": "gansu",
            "city": "Qingyang",
            "kind": "ai",
            "latitude": 35.71,
            "longitude": 107.64,
            "tariff": tariff(
                *(FLAT_GANSU, [6, 7, 18, 19, 20, 21, 22], [10, 11, 12, 13, 14, 15]),
                up=150,
                down=50,
            ),
        },
        [
            pool(
                *("ascend", "ai", 3, 1, 1),
                accelerator={"model": "910B", "vendor": "ascend", "count": 2, "memory_gib": 64},
                prices=prices(0.08, 0.015, 5.2),
            )
        ],
    ),
    Site(
        "hami",
        {
            "display_name": "Hami general computing (demo)",
            "region": "xinjiang",
            "city": "Hami",
            "kind": "general",
            "latitude": 42.83,
            "longitude": 93.51,
            "tariff": tariff(
                *(FLAT_XINJIANG, [8, 9, 10, 19, 20, 21, 22, 23], [4, 5, 6, 7, 13, 14, 15, 16]),
                up=150,
                down=50,
            ),
        },
        [pool("wind", "general", 2, 2, 2, prices=prices(0.05, 0.01))],
    ),
)


@dataclass(frozen=True, slots=True)
class Party:
    """An organisation with one project, one user and money paid in advance."""

    name: str
    display_name: str
    project: str
    login: str
    yuan: str
    kinds: tuple[str, ...] = ("consumer",)
    names: dict[str, str] = field(default_factory=dict)


UNIVERSITY = Party("songshan", "Songshan University (demo)", "physics", "li.hua", "100")
FIRM = Party("huanghe", "Huanghe Design Ltd (demo)", "turbines", "wang.wei", "200")
PARTIES = (UNIVERSITY, FIRM)


def isolation() -> tuple[str, str]:
    """(what the pools are told, why); a sandbox hides the system's scratch folders."""
    hidden = tuple(os.path.realpath(path) for path in ("/tmp", "/var/tmp", "/run"))
    for place in (sys.prefix, sys.base_prefix):
        if os.path.realpath(place).startswith(tuple(f"{path}/" for path in hidden)):
            return "none", f"Python is in {place}, which sandboxed runs cannot see"
    return "auto", ""


def agent_config(site: Site, server: str, state: Path, isolate: str) -> dict[str, Any]:
    pools = [{**one, "isolation": isolate} for one in site.pools]
    return {"server": server, "state": str(state), "cache_gib": 1, "pools": pools}


def environment() -> dict[str, str]:
    """For the processes: the platform's own Python comes first, nothing of ours leaks in."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("SUAN_")}
    folder = os.path.dirname(os.path.abspath(sys.executable))
    return {
        **kept,
        "PATH": f"{folder}{os.pathsep}{kept.get('PATH', os.defpath)}",
        "TMPDIR": kept.get("TMPDIR", tempfile.gettempdir()),
        "PYTHONUNBUFFERED": "1",
    }
