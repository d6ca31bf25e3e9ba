"""Delivery hours as people write and read them: Asia/Shanghai, unless a zone is said."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta, timezone

from suanwang.edge.cli.words import say
from suanwang.kernel.errors import InvalidInput

SHANGHAI = timezone(timedelta(hours=8))
SECONDS = 3_600
_AHEAD = re.compile(r"\+(\d{1,4})h?")


def starts_at(text: str) -> str:
    """RFC 3339 of '2026-12-01 16:00', '2026-12-01', '+3h' (full hours from the next one on), or of
    an instant with its zone. Raises InvalidInput."""
    if found := _AHEAD.fullmatch(text):
        next_hour = int(time.time()) // SECONDS + max(1, int(found.group(1)))
        return datetime.fromtimestamp(next_hour * SECONDS, SHANGHAI).isoformat()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(
            "UsageWrong",
            say("{given} is no instant.", given=text),
            hint=say("Write 2026-12-01 16:00 (Asia/Shanghai), or +3h for three hours ahead."),
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=SHANGHAI)).isoformat()


def period(starts: str | None, hours: int) -> str:
    """'12-01 16:00 +24h'"""
    if starts is None:
        return ""
    return f"{datetime.fromisoformat(starts).astimezone(SHANGHAI):%m-%d %H:%M} +{hours}h"
