"""What /proc says about processes, and the clock that all of them share."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable


def now_ms() -> int:
    """CLOCK_BOOTTIME: never steps, counts suspended time, the same in every process."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def read(path: str) -> str:
    """The file's text; "" if it cannot be read (the process may be gone)."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return ""
    try:
        pieces = []
        while piece := os.read(fd, 65536):
            pieces.append(piece)
        return b"".join(pieces).decode("utf-8", "surrogateescape")
    except OSError:
        return ""
    finally:
        os.close(fd)


def boot_id() -> str:
    """Changes when the machine restarts; instants and pids of another boot mean nothing."""
    return read("/proc/sys/kernel/random/boot_id").strip()


class Stat:
    """The fields of /proc/PID/stat that tell who a process is."""

    __slots__ = ("parent", "session", "start_ticks", "state")

    def __init__(self, text: str) -> None:
        # The name, in brackets, may hold anything: fields begin after the last bracket.
        fields = text[text.rindex(")") + 2 :].split(" ", 20)
        self.state = fields[0]
        self.parent = int(fields[1])
        self.session = int(fields[3])
        self.start_ticks = int(fields[19])


def stat(pid: int) -> Stat | None:
    text = read(f"/proc/{pid}/stat")
    return Stat(text) if text else None


def start_ticks(pid: int) -> int:
    """With the pid, names a process for as long as the machine is up; 0 if it is gone."""
    found = stat(pid)
    return found.start_ticks if found else 0


def children(pid: int) -> list[int]:
    """Direct children, of all threads of the process."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    return [
        int(child)
        for thread in threads
        for child in read(f"/proc/{pid}/task/{thread}/children").split()
    ]


def own_children() -> list[int]:
    """Direct children of the calling process, which must have one thread."""
    pid = os.getpid()
    return [int(child) for child in read(f"/proc/{pid}/task/{pid}/children").split()]


def descendants(roots: Iterable[int]) -> list[int]:
    """The roots and everything below them, parents first."""
    found: dict[int, None] = dict.fromkeys(roots)
    waiting = list(found)
    while waiting:
        for child in children(waiting.pop()):
            if child not in found:
                found[child] = None
                waiting.append(child)
    return list(found)


def environment(pid: int) -> dict[str, str]:
    """The environment the process was started with; {} if it may not be read."""
    pairs = (entry.partition("=") for entry in read(f"/proc/{pid}/environ").split("\0"))
    return {name: value for name, found, value in pairs if found}


def all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def signal_all(pids: Iterable[int], number: int) -> int:
    """Signal each; returns how many were there. Zombies count as gone."""
    reached = 0
    for pid in pids:
        found = stat(pid)
        if found is None or found.state in "ZX":
            continue
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            continue
        try:
            # The handle pins the process; the second look makes sure it is the one meant.
            if start_ticks(pid) == found.start_ticks:
                signal.pidfd_send_signal(handle, number)
                reached += 1
        except OSError:
            pass
        finally:
            os.close(handle)
    return reached
