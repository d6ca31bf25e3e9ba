"""The demo's own processes: each known by pid and start time, so that only they are ever ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

RECORD = "processes.json"
PATIENCE_S = 8.0
LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Member:
    """A process that was started here. `ticks` is its start, by the kernel's clock."""

    name: str
    pid: int
    ticks: int


class Household:
    """Starts processes that outlive the demo and ends them, with what they left behind."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._record = folder / RECORD
        self._children: list[subprocess.Popen[bytes]] = []

    def members(self) -> list[Member]:
        """Those recorded that are still alive."""
        try:
            listed = json.loads(self._record.read_text(encoding="utf-8"))
            recorded = [Member(**one) for one in listed]
        except (OSError, ValueError, TypeError):
            return []
        return [one for one in recorded if ticks_of(one.pid) == one.ticks]

    def start(self, name: str, argv: Sequence[str], environment: Mapping[str, str]) -> int:
        """Its pid. Output goes to logs/NAME.out and logs/NAME.log, readable by the owner only."""
        logs = self._folder / "logs"
        logs.mkdir(mode=0o700, exist_ok=True)
        with (logs / f"{name}.out").open("wb") as out, (logs / f"{name}.log").open("wb") as log:
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                env=dict(environment),
                start_new_session=True,  # Ctrl-C in the terminal is the demo's to pass on
            )
        self._children.append(child)
        listed = [*self.members(), Member(name, child.pid, ticks_of(child.pid))]
        fresh = self._record.with_suffix(".new")
        fresh.write_text(json.dumps([asdict(one) for one in listed]), encoding="utf-8")
        fresh.replace(self._record)
        return child.pid

    def is_alive(self, pid: int) -> bool:
        self._reap()
        return any(one.pid == pid for one in self.members())

    def log_of(self, name: str) -> str:
        """The last lines of what it complained about."""
        try:
            text = (self._folder / "logs" / f"{name}.log").read_text(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.strip().splitlines()[-12:])

    def end_all(self) -> int:
        """How many processes were ended: agents, then the platform, then what runs left behind."""
        count = 0
        for one in reversed(self.members()):  # the platform was started first
            _signal(one.pid, signal.SIGTERM)
            count += 1
        _until(lambda: self._gone(self.members()))
        for one in self.members():
            _signal(one.pid, signal.SIGKILL)
        count += self._end_leftovers()
        self._record.unlink(missing_ok=True)
        return count

    def _end_leftovers(self) -> int:
        """Wardens outlive their agents on purpose; they work in folders below ours."""
        left = list(working_below(self._folder))
        for pid in left:
            _signal(pid, signal.SIGTERM)
        _until(lambda: not list(working_below(self._folder)))
        for pid in working_below(self._folder):
            _signal(pid, signal.SIGKILL)
        _until(lambda: not list(working_below(self._folder)))
        return len(left)

    def _gone(self, members: Sequence[Member]) -> bool:
        self._reap()
        return not any(ticks_of(one.pid) == one.ticks for one in members)

    def _reap(self) -> None:
        self._children = [child for child in self._children if child.poll() is None]


def working_below(folder: Path) -> Iterator[int]:
    """Processes whose working directory is inside; none where there is no /proc."""
    root = os.path.realpath(folder)
    for entry in os.scandir("/proc") if os.path.isdir("/proc") else ():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                at = os.readlink(f"/proc/{entry.name}/cwd").removesuffix(" (deleted)")
            except OSError:
                continue  # gone, or another user's
            if at.startswith(f"{root}/"):
                yield int(entry.name)


def ticks_of(pid: int) -> int:
    """When a process began; 0 if there is none (a zombie counts as none)."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not holds() and time.monotonic() < until:
        time.sleep(LOOK_S)
