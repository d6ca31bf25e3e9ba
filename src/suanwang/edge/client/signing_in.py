"""Signing a program in by a browser: begin, show the code, poll until its user has decided."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from suanwang.edge.client.http import Api
from suanwang.kernel.errors import TransientError, Unavailable

SESSION = "/v1/session"
TRIES_LEFT_S = 30.0
"""A server that does not answer is asked again for so long."""


class Begun(NamedTuple):
    """What the user is shown, and what the program keeps to itself."""

    device_code: str
    user_code: str
    address: str
    address_with_code: str
    expires_in_s: int
    interval_s: int


def ways(api: Api) -> Mapping[str, Any]:
    """How one may sign in there."""
    found: dict[str, Any] = api.get(f"{SESSION}/ways")
    return found


def begin(api: Api, machine: str, scopes: Sequence[str] | None, days: int) -> Begun:
    body = {"machine": machine, "scopes": list(scopes) if scopes else None, "days": days}
    answer = api.post(f"{SESSION}/device", body)
    return Begun(
        answer["device_code"],
        answer["user_code"],
        answer["verification_uri"],
        answer["verification_uri_complete"],
        answer["expires_in"],
        answer["interval"],
    )


def token_of(
    api: Api,
    begun: Begun,
    *,
    pause: Callable[[float], None] = time.sleep,
    now_s: Callable[[], float] = time.monotonic,
) -> str:
    """The token, once its user has confirmed. Raises the refusal, or that it took too long."""
    until_s = now_s() + begun.expires_in_s
    interval_s: float = begun.interval_s
    body = {"device_code": begun.device_code}
    while now_s() < until_s:
        pause(interval_s)
        try:
            answer = api.post(f"{SESSION}/device/token", body)
        except TransientError:
            interval_s = min(interval_s * 2, TRIES_LEFT_S)  # RFC 8628, section 3.5
            continue
        if answer["token"]:
            return str(answer["token"]["secret"])
        interval_s = answer["interval"]
    raise Unavailable(
        "LoginExpired",
        "Nobody has confirmed the sign-in in time.",
        hint="Run `suan login` again.",
    )


def can_open_browser(environ: Mapping[str, str] | None = None) -> bool:
    """Whether a window would appear before the one who typed the command."""
    environ = os.environ if environ is None else environ
    if environ.get("BROWSER"):
        return True
    if environ.get("SSH_CONNECTION") or environ.get("SSH_TTY"):
        return False
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def open_browser(address: str) -> bool:
    """False if there is none. What the browser prints is not shown: stdout is for results."""
    import webbrowser

    try:
        return webbrowser.open(address)
    except webbrowser.Error:
        return False
