"""One line on stderr for every failure, and the exit code that a script can rely on.

0  done                            5  the server cannot be reached, or is busy: try later
1  the server refused              6  the thing is in another state, or a limit is reached
2  the command or a value is wrong 7  the wait timed out
3  there is no such thing        130  interrupted
4  not signed in, or not allowed
"""

from __future__ import annotations

import sys

from suanwang.edge.cli.words import about, say
from suanwang.kernel.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    LimitExceeded,
    NotFound,
    SuanwangError,
    TransientError,
    Unauthenticated,
)

REFUSED = 1
WRONG = 2
ABSENT = 3
NOT_ALLOWED = 4
UNREACHABLE = 5
IN_THE_WAY = 6
TIMED_OUT = 7
INTERRUPTED = 130

_CODES: tuple[tuple[type[SuanwangError], int], ...] = (
    (InvalidInput, WRONG),
    (NotFound, ABSENT),
    (Unauthenticated, NOT_ALLOWED),
    (Forbidden, NOT_ALLOWED),
    (Conflict, IN_THE_WAY),
    (LimitExceeded, IN_THE_WAY),
    (TransientError, UNREACHABLE),
)


def exit_code(error: SuanwangError) -> int:
    if error.reason == "WaitTimedOut":
        return TIMED_OUT
    return next((code for kind, code in _CODES if isinstance(error, kind)), REFUSED)


def one_line(error: SuanwangError) -> str:
    """What is wrong, then what to do: a sentence each."""
    message = say(error.message)
    if error.hint and message and message[-1] not in ".!?:。！？：…":
        message += "."
    parts = [part for part in (message, say(error.hint) if error.hint else "") if part]
    topic = about(error.reason)
    text = " ".join(" ".join(parts).split())
    return f"{topic}：" * bool(topic) + "".join(c if c.isprintable() else " " for c in text)


def tell(text: str) -> None:
    """On stderr: a failure, or news beside the results."""
    print(text, file=sys.stderr, flush=True)


def tell_failure(text: str) -> None:
    tell(f"suan: {text}")
