"""One run as the warden keeps it, and how its processes are made."""

from __future__ import annotations

import errno
import os
import signal
from typing import Any

from suanwang.agent.drivers.process.warden import procfs
from suanwang.agent.drivers.process.warden.groups import ENTER_COMPLAINT, ENTER_FAILED, Group

MAX_SIGNAL = 64
_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOG_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND


class Run:
    """State only moves forward: running → (stopping) → ended."""

    __slots__ = (
        "blame",
        "code",
        "contact_after_ms",
        "cpu_us",
        "culprit",
        "detail",
        "ended_at_ms",
        "failure",
        "grace_ms",
        "group",
        "kill_at_ms",
        "lease",
        "live",
        "max_rss_kib",
        "members",
        "nested",
        "signalled",
        "started_at_ms",
        "stderr",
        "stopping",
        "tag",
    )

    def __init__(self, lease: str, tag: Any) -> None:
        self.lease = lease
        self.tag = tag
        self.started_at_ms: int | None = None
        self.ended_at_ms: int | None = None
        self.code: int | None = None
        self.signalled = 0
        self.failure = "none"
        self.detail = ""
        self.live: dict[int, int] = {}
        """pid → member, for the first process of each member still running"""
        self.members: list[tuple[int, int]] = []
        """(pid, start ticks) of the first process of each member"""
        self.stderr: list[str] = []
        """each member's file, where a wrapper that could not start the program says so"""
        self.nested = False
        """behind a sandbox that reports a signal as 128 + number"""
        self.group: Group | None = None
        self.stopping = ""
        """what the end shall be called, once a stop was begun; "member" after a member failed"""
        self.blame = ""
        """the sentence that goes with it"""
        self.culprit: int | None = None
        """the member whose failure stopped the others"""
        self.grace_ms = 0
        self.kill_at_ms: int | None = None
        self.contact_after_ms: int | None = None
        self.cpu_us = 0
        self.max_rss_kib = 0

    def refuse(self, failure: str, detail: str, at_ms: int) -> None:
        """End it before any process was made."""
        self.failure, self.detail, self.ended_at_ms = failure, detail, at_ms

    def member_ended(self, status: int) -> bool:
        """Book a member's wait status; True when it is the first to fail of its own accord."""
        code = os.waitstatus_to_exitcode(status)
        number = -code if code < 0 else 0
        if self.nested and 128 < code <= 128 + MAX_SIGNAL:
            number = code - 128
        if number:
            code = 128 + number
        if self.code is None or (self.code == 0 and not self.stopping):
            self.code, self.signalled = code, number
        return code != 0 and not self.stopping

    def conclude(self, at_ms: int) -> None:
        """All processes are gone: name the end."""
        if self.stopping and self.stopping != "member":
            self.failure, self.detail = self.stopping, self.blame
            if self.failure == "start_failed":
                self.code = None
        elif self.code and self.group is not None and self.group.out_of_memory():
            self.failure, self.detail = "out_of_memory", "the kernel killed it at its memory limit"
        elif complaint := self._wrapper_complaint():
            self.failure, self.detail, self.code = "start_failed", complaint, None
        elif self.signalled:
            self.failure, self.detail = "signal", f"killed by {_signal_name(self.signalled)}"
        elif self.code:
            self.failure = "exit"
        if self.culprit is not None:
            also = f"member {self.culprit} failed; the others were stopped"
            self.detail = f"{self.detail}; {also}" if self.detail else also
        self.ended_at_ms = at_ms

    def _wrapper_complaint(self) -> str:
        """The sandbox's or the group shell's own last word, if it was all that was ever said."""
        member = self.culprit or 0
        wrapped = (self.nested and self.code == 1) or (self.group and self.code == ENTER_FAILED)
        if not wrapped or member >= len(self.stderr):
            return ""
        lines = procfs.read(self.stderr[member]).strip().splitlines()
        alone = len(lines) == 1 and lines[0].startswith(("bwrap: ", ENTER_COMPLAINT))
        return lines[0] if alone else ""

    def view(self) -> dict[str, Any]:
        """What the agent is told, and what the record keeps of the end."""
        end, start = self.ended_at_ms, self.started_at_ms
        ended = end is not None
        return {
            "lease": self.lease,
            "phase": "ended" if ended else "running",
            "started_at_ms": start,
            "ended_at_ms": end,
            "exit_code": self.code if ended else None,
            "failure": self.failure,
            "detail": self.detail,
            "pid": self.members[0][0] if self.members else 0,
            "tag": self.tag,
            "duration_ms": end - start if end is not None and start is not None else 0,
            "cpu_ms": self.cpu_us // 1000,
            "max_rss_mib": -(-self.max_rss_kib // 1024),
        }


def spawn(
    member: dict[str, Any], work: str, group: Group | None, mark: dict[str, str], home: int
) -> int:
    """Make a member's first process, leader of a session of its own. Raises OSError.

    posix_spawn cannot change the folder, and the warden has one thread and no use for a folder
    of its own: it goes there itself and comes back to `home`.
    """
    argv = member["argv"] if group is None else group.wrap(member["argv"])
    path = argv[0] if group is not None else member["program"]
    try:
        os.chdir(work)
        return os.posix_spawn(
            path,
            argv,
            {**member["env"], **mark},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, member["stdout"], _LOG_FLAGS, 0o644),
                (os.POSIX_SPAWN_OPEN, 2, member["stderr"], _LOG_FLAGS, 0o644),
            ],
            setsid=True,
            setsigdef=_DEFAULT_SIGNALS,
            setsigmask=(),
        )
    finally:
        os.fchdir(home)


def explain(error: OSError | ValueError, member: dict[str, Any], work: str) -> str:
    """A sentence about why a program could not be started."""
    program = member["program"]
    if isinstance(error, ValueError):
        return f"{program}: {error} in its arguments or environment"
    if not os.path.isdir(work):
        return f"the working directory {work} is not there"
    if error.errno == errno.ENOEXEC:
        return f"{program}: not a program for this machine (no #! line, or another architecture)"
    if error.errno == errno.ENOENT and os.path.exists(program):
        return f"{program}: its interpreter (#! line or loader) is not there"
    return f"{program}: {error.strerror}"


def _signal_name(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"


def polite_targets(run: Run) -> list[int]:
    """Who gets the polite signal: all but the sandbox itself, which would end at once."""
    roots = list(run.live)
    found = procfs.descendants(roots)
    if run.group is not None:
        found = list(dict.fromkeys([*found, *run.group.pids()]))
    if not run.nested:
        return found
    walls = dict.fromkeys(roots)
    for root in roots:
        walls.update(dict.fromkeys(procfs.children(root)))
    return [pid for pid in found if pid not in walls]
