"""The candidate table: every pool with price, wait and cost, the chosen one ticked, or why not."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from suanwang.edge.cli import figures, tables
from suanwang.edge.cli.words import say

if TYPE_CHECKING:
    from suanwang.edge.client.client import Client
    from suanwang.edge.client.views import Candidate

MOST = 12
BUSY = "NoFreeCapacityNow"
_IDENTITY = re.compile(r"\b(?:site|pool)_[0-9a-z]{18}\b")


def names_in(client: Client, texts: Iterable[str]) -> dict[str, str]:
    """Names of the sites and pools that the texts mention by id."""
    if not any(_IDENTITY.search(text) for text in texts):
        return {}
    names = {}
    for offer in client.offers():
        names[offer["site_id"]] = offer["site"]
        names[offer["pool_id"]] = f"{offer['site']}/{offer['pool']}"
    return names


def named(text: str, names: Mapping[str, str]) -> str:
    """With names for ids, and nothing that could steer the terminal."""
    return _IDENTITY.sub(lambda found: names.get(found.group(), found.group()), tables.shown(text))


def show_candidates(client: Client, found: list[Candidate], to: TextIO | None = None) -> None:
    names = names_in(client, [row.get("detail") or "" for row in found])
    headings = [
        say(h) for h in ("", "SITE", "POOL", "CARDS", "YUAN/H", "WAIT", "COST AT MOST", "WHY NOT")
    ]
    rows = [_row(row, names) for row in found[:MOST]]
    tables.show(headings, rows, right=(4, 5, 6), to=to)
    if len(found) > MOST:
        print(say("… and {n} more pools", n=len(found) - MOST), file=to or sys.stdout)


def _row(row: Candidate, names: Mapping[str, str]) -> list[str]:
    place = [
        "✔" if row["chosen"] else "",
        row["site"] or "–",
        row["pool"],
        row["accelerator"] or "–",
    ]
    price = row.get("rate_yuan_per_hour", "")
    if row["reason"] not in (None, BUSY):
        return [*place, price, "", "", _why(row, names)]
    wait, cost = figures.duration(row["expected_wait_s"]), row["cost_at_most_yuan"]
    return [*place, price, wait, cost, _why(row, names) if row["reason"] else ""]


def _why(row: Candidate | Any, names: Mapping[str, str]) -> str:
    detail = named(row.get("detail") or "", names)
    return f"{row['reason']}: {detail}" if detail else str(row["reason"])
