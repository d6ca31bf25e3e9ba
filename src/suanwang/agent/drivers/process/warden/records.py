"""What the warden writes down about runs: one file of JSON lines per lease, only ever appended to.

Lines, in order: `intent` (before the first process is made, so that a lease is never started
twice), `processes` (pid and start time of each member, to find them again without being fooled by a
reused pid), `end`. One write call per line: a killed warden leaves whole lines, and a torn last
line after a power cut is ignored. Environment and command are never written: they may be secret.
"""

from __future__ import annotations

import json
import os
from typing import Any

FOLDER = "records"
_SUFFIX = ".jsonl"
_encode = json.JSONEncoder(separators=(",", ":")).encode


def file_name(lease: str) -> str:
    """Raises ValueError when the lease id cannot be a file name."""
    if not lease or "/" in lease or "\0" in lease or lease.startswith(".") or len(lease) > 200:
        raise ValueError("a lease id must be a plain file name of at most 200 characters")
    return f"{FOLDER}/{lease}{_SUFFIX}"


class Record:
    """An open record, from the intent until the processes are known."""

    __slots__ = ("_fd",)

    def __init__(self, lease: str, intent: dict[str, Any]) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC | os.O_CLOEXEC
        self._fd = os.open(file_name(lease), flags, 0o600)
        os.write(self._fd, _line({"intent": intent}))

    def processes(self, members: list[tuple[int, int]], started_at_ms: int) -> None:
        os.write(self._fd, _line({"processes": members, "started_at_ms": started_at_ms}))

    def close(self) -> None:
        os.close(self._fd)


def append_end(lease: str, end: dict[str, Any]) -> None:
    """Raises OSError when it cannot be written."""
    fd = os.open(file_name(lease), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, _line({"end": end}))
    finally:
        os.close(fd)


def remove(lease: str) -> None:
    try:
        os.unlink(file_name(lease))
    except FileNotFoundError:
        pass


def load() -> dict[str, dict[str, Any]]:
    """lease → its lines joined into one dictionary."""
    found: dict[str, dict[str, Any]] = {}
    for name in sorted(os.listdir(FOLDER)):
        if not name.endswith(_SUFFIX):
            continue
        joined: dict[str, Any] = {}
        with open(f"{FOLDER}/{name}", encoding="utf-8") as lines:
            for line in lines:
                try:
                    joined.update(json.loads(line))
                except ValueError:
                    break
        found[name.removesuffix(_SUFFIX)] = joined
    return found


def _line(value: dict[str, Any]) -> bytes:
    return _encode(value).encode() + b"\n"
