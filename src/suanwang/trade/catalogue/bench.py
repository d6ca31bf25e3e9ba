"""Results of the micro-benchmark: read out of a run's output, checked, and believed or not. Pure.

What a good signature proves, and what it does not, is in `docs/mechanisms/catalogue.md`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from suanwang.trade.catalogue.cards import find, split_class
from suanwang.trade.catalogue.model import CORE, MEMORY, Measurement, Precision, Ticket
from suanwang.trade.catalogue.program import canonical
from suanwang.trade.catalogue.rules import ABOVE_PEAK_PERCENT, highest_credible

PROGRAM = Path(__file__).parent / "program.py"
MAX_OUTPUT = 256 * 1024
"""The result is looked for in so much of the output's end."""
MAX_SHOWN = 120
CORE_LIMITS = {"FP64": 250_000, "FP32": 500_000, MEMORY: 100_000}
"""More than one core of any processor on sale does."""
CLOCK_SLACK_MS = 5_000
"""Starts and ends are placed by when they were heard."""
INTERPRETED = "python"
"""Backend whose products say nothing of the machine; its copying of memory does."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reason` is empty where the measurements are believed."""

    measurements: tuple[Measurement, ...] = ()
    reason: str = ""
    detail: str = ""


def refused(reason: str, detail: str) -> Verdict:
    return Verdict((), reason, detail)


@cache
def program_text() -> str:
    return PROGRAM.read_text(encoding="utf-8")


@cache
def program_version() -> str:
    """Of the text that is shipped: results of different texts are told apart."""
    return hashlib.sha256(program_text().encode()).hexdigest()[:12]


def find_result(output: bytes) -> dict[str, Any] | None:
    """The last line that is a result; a site's own greetings may stand around it."""
    for line in reversed(output[-MAX_OUTPUT:].decode("utf-8", "replace").splitlines()):
        if line.startswith("{") and '"suan_bench"' in line:
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict) and found.get("suan_bench") == 1:
                return found
    return None


def is_signed(result: Mapping[str, Any], key: str) -> bool:
    told = {name: value for name, value in result.items() if name != "mac"}
    mac = hmac.new(key.encode(), canonical(told).encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(mac.encode(), str(result.get("mac", "")).encode())


def judge(ticket: Ticket, key: str, output: bytes, ran_ms: int, now_ms: int) -> Verdict:
    """`ran_ms`: how long the run lasted, as the control plane saw it."""
    result = find_result(output)
    if result is None:
        return refused("NoResult", "The run printed no result.")
    if not is_signed(result, key):
        return refused("BadSignature", "The result is not signed with this ticket's key.")
    if result.get("ticket") != ticket.ticket_id or result.get("units") != ticket.units:
        return refused("OtherTicket", "The result belongs to another run.")
    figures, device = result.get("figures"), str(result.get("device", ""))[:MAX_SHOWN]
    if not isinstance(figures, dict) or not figures:
        return refused("NoStack", "No software there reaches the cards: torch is needed.")
    if any(type(value) is not int or value <= 0 for value in figures.values()):
        return refused("NotAFigure", "A figure is not a positive whole number.")
    lasted = result.get("measured_ms")
    if type(lasted) is not int or not 0 < lasted <= ran_ms + CLOCK_SLACK_MS:
        return refused("TimeDiffers", f"It claims {lasted} ms of a run of {ran_ms} ms.")
    other = _other_card(ticket.unit_class, device)
    if other:
        return refused("OtherCard", f"The pool is of {ticket.unit_class}, the card is {other}.")
    return _believed(ticket, figures, str(result.get("backend"))[:40], device, now_ms)


def _other_card(unit_class: str, device: str) -> str:
    """What the card is, where that is known and not what the pool says."""
    known, reported = split_class(unit_class)[0], find(device)
    return reported.slug if known and reported and reported.slug != known.slug else ""


def _believed(
    ticket: Ticket, figures: Mapping[str, int], backend: str, device: str, now_ms: int
) -> Verdict:
    found = []
    for what, total in sorted(figures.items()):
        if what != MEMORY and (what not in set(Precision) or backend == INTERPRETED):
            continue
        each = total // ticket.units
        limit = limit_of(ticket.unit_class, what)
        if limit is not None and each > limit:
            detail = f"{what}: {each} M/s of one unit, {limit} is the most that is credible."
            return refused("AbovePeak", detail)
        found.append(
            Measurement(
                ticket_id=ticket.ticket_id,
                job_id=ticket.job_id,
                site_id=ticket.site_id,
                pool_id=ticket.pool_id,
                unit_class=ticket.unit_class,
                precision=what,
                mega=each,
                backend=backend,
                device=device,
                program=ticket.program,
                at_ms=now_ms,
            )
        )
    return Verdict(tuple(found))


def limit_of(unit_class: str, what: str) -> int | None:
    """What one unit cannot exceed; None where nothing is known."""
    if unit_class == CORE:
        return CORE_LIMITS.get(what)
    card, gb = split_class(unit_class)
    if card is None:
        return None
    if what != MEMORY:
        return highest_credible(card, Precision(what))
    speeds = [one.gb_s for memory in card.memory if memory.gb == gb for one in memory.bandwidths]
    return max(speeds) * 1_000 * ABOVE_PEAK_PERCENT // 100 if speeds else None
