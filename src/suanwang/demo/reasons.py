"""Why a job ran where it ran, told from the plan that was asked for before it was submitted."""

from __future__ import annotations

from collections import Counter
from typing import Any

from suanwang.demo.play import Act

ROOM_ONLY = (None, "NoFreeCapacityNow")


def why_there(act: Act) -> str:
    """A few words for the table."""
    if act.state == "refused":
        return refusal_of(act)
    placed = [(one["site"], one["pool"]) for one in act.leases]
    if not placed:
        return "-"
    able = [c for c in act.plan["candidates"] if c["reason"] in ROOM_ONLY and c.get("score")]
    if len(act.tasks) > 1:
        return _spread(placed, able)
    there = next((c for c in able if (c["site"], c["pool"]) == placed[-1]), None)
    if there is None:
        return "it had room"
    if len(able) == 1:
        return f"only one with {_speciality(act, there)}"
    cheapest = min(able, key=lambda c: int(c["score"]["money"]))
    if there is cheapest:
        return "cheapest"
    if there["score"]["transfer"] < cheapest["score"]["transfer"]:
        saved = cheapest["score"]["transfer"] / 1_000_000
        return f"data there (moving: ¥{saved:.4f})"
    return f"{_cheaper(there, able)} full"


def refusal_of(act: Act) -> str:
    """The named reason, as `explain` gives it."""
    return str(act.job.get("refusal") or next((t["detail"] for t in act.tasks), "") or "?")


def _spread(placed: list[tuple[str, str]], able: list[dict[str, Any]]) -> str:
    """An array lies on several sites: how many tasks on each, the cheapest first."""
    order = [c["site"] for c in sorted(able, key=lambda c: int(c["score"]["money"]))]
    counts = Counter(site for site, _ in placed)
    parts = [f"{site} {counts[site]}" for site in dict.fromkeys(order) if counts[site]]
    return ", ".join(parts) + " (cheapest first)" if len(parts) > 1 else "cheapest"


def _cheaper(there: dict[str, Any], able: list[dict[str, Any]]) -> str:
    money = int(there["score"]["money"])
    names = [c["site"] for c in able if int(c["score"]["money"]) < money]
    return ", ".join(dict.fromkeys(names)) or "others"


def _speciality(act: Act, there: dict[str, Any]) -> str:
    spec = act.case.spec
    cards = spec["resources"].get("accelerators")
    if cards:
        return str(cards).replace(":", " x ")
    kinds = (spec.get("constraints") or {}).get("site_kinds")
    return str(kinds) if kinds else "room for it"
