"""What the micro-benchmark would print: results of made-up runs, signed as the program does."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from suanwang.trade.catalogue.model import Ticket
from suanwang.trade.catalogue.program import canonical


def signed_line(key: str, **told: Any) -> bytes:
    result = {"suan_bench": 1, "skipped": {}, "measured_ms": 21_000, **told}
    mac = hmac.new(key.encode(), canonical(result).encode(), hashlib.sha256).hexdigest()
    return canonical({**result, "mac": mac}).encode() + b"\n"


def result_line(ticket: Ticket, key: str, figures: Mapping[str, int]) -> bytes:
    """Of this ticket's run."""
    return signed_line(
        key,
        ticket=ticket.ticket_id,
        units=ticket.units,
        backend="numpy" if ticket.unit_class == "core" else "torch.cuda",
        device="",
        memory_mib=0,
        figures=dict(figures),
    )
