"""Control groups: one per run, under one folder per agent in each mounted hierarchy.

Version 1 (a hierarchy per controller) and version 2 (one tree) differ in file names only, once the
folders are found. A process is put into its groups by a one-line shell that then becomes the
program, so that nothing of the run is ever outside them.
"""

from __future__ import annotations

import errno
import os
from typing import Any

from suanwang.agent.drivers.process.warden import procfs

CONTROLLERS = ("cpu", "memory", "pids")
_PERIOD_US = 100_000
_SPARES = 16
_CARRIED_BYTES = 2 << 20
LEAF = "suanwang-agents"
"""Version 2 wants processes in leaves only: where those go that were in the group given to us."""
_MOVES = 20
ENTER_COMPLAINT = "suanwang: cannot put the run under its limits"
ENTER_FAILED = 125


class Group:
    """The groups of one run: a folder in each hierarchy, all of the same name."""

    __slots__ = ("events", "folders", "killed_before", "memory")

    def __init__(self, folders: list[str], memory: str, events: str) -> None:
        """`memory`: the memory controller's folder ("" without one), `events` its file of kills."""
        self.folders = folders
        self.memory = memory
        self.events = events
        self.killed_before = 0

    def wrap(self, argv: list[str]) -> list[str]:
        """The command behind a shell that enters the groups and then becomes the command."""
        enter = " && ".join(f"echo 0 >{folder}/cgroup.procs" for folder in self.folders)
        script = f'{enter} || {{ echo "{ENTER_COMPLAINT}" >&2; exit {ENTER_FAILED}; }}; exec "$@"'
        return ["/bin/sh", "-c", script, "sh", *argv]

    def folder_of(self, top: str) -> str:
        return next(folder for folder in self.folders if folder.startswith(f"{top}/"))

    def pids(self) -> list[int]:
        return [int(pid) for pid in procfs.read(f"{self.folders[-1]}/cgroup.procs").split()]

    def out_of_memory(self) -> bool:
        """Did the kernel kill a process of this run for its memory?"""
        return self._killed() > self.killed_before

    def usable_again(self, usage_file: str) -> bool:
        """Empty, and next to nothing is charged to it that the next run would have to carry."""
        if self.pids():
            return False
        self.killed_before = self._killed()
        usage = procfs.read(f"{self.memory}/{usage_file}") if self.memory else "0"
        return usage.strip().isdigit() and int(usage) <= _CARRIED_BYTES

    def _killed(self) -> int:
        for line in procfs.read(f"{self.memory}/{self.events}").splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
        return 0


class Groups:
    """The agent's folder in each hierarchy; makes and removes the runs' groups."""

    def __init__(self, version: int, roots: dict[str, str], name: str) -> None:
        """`roots`: controller → the folder below which ours is made (all the same in version 2)."""
        self.version = version
        self.controllers = [c for c in CONTROLLERS if c in roots]
        self._tops = {c: f"{roots[c]}/{name}" for c in self.controllers}
        self._next = 0
        self._trash: list[str] = []
        self._spare: list[Group] = []

    @property
    def words(self) -> str:
        return f"cgroup v{self.version} limits ({', '.join(self.controllers)})"

    def open(self) -> None:
        """Make the agent's folders. Raises OSError when the hierarchy is not ours to write."""
        for top in dict.fromkeys(self._tops.values()):
            os.makedirs(top, exist_ok=True)
            if self.version == 2:
                _enable(top, self.controllers)

    def leftovers(self) -> list[int]:
        """Pids in groups of an earlier warden."""
        return [
            int(pid)
            for folder in self._subfolders()
            for pid in procfs.read(f"{folder}/cgroup.procs").split()
        ]

    def create(self, limits: dict[str, Any]) -> Group:
        """`limits`: cpu_milli, memory_bytes, pids; a missing or zero entry is no limit.

        Making a group costs the kernel several times what setting its limits does: those of
        ended runs are used again.
        """
        group = self._spare.pop() if self._spare else self._make()
        try:
            for controller in self.controllers:
                self._write_limits(controller, group.folder_of(self._tops[controller]), limits)
        except OSError:
            self._trash.extend(group.folders)
            raise
        return group

    def _make(self) -> Group:
        self._next += 1
        name = f"{os.getpid()}-{self._next}"
        folders: list[str] = []
        try:
            for top in dict.fromkeys(self._tops.values()):
                folder = f"{top}/{name}"
                os.mkdir(folder)
                folders.append(folder)
        except OSError:
            self._trash.extend(folders)
            raise
        memory = self._tops.get("memory")
        events = "memory.oom_control" if self.version == 1 else "memory.events"
        return Group(folders, f"{memory}/{name}" if memory else "", events)

    def remove(self, group: Group) -> None:
        usage = "memory.usage_in_bytes" if self.version == 1 else "memory.current"
        if len(self._spare) < _SPARES and group.usable_again(usage):
            self._spare.append(group)
            return
        self._trash.extend(group.folders)
        self.sweep()

    def sweep(self) -> None:
        """Remove what could not be removed before: a group is busy until its dead are buried."""
        self._trash = [folder for folder in self._trash if not _rmdir(folder)]

    def clear(self) -> None:
        """Remove the groups of an earlier warden."""
        for folder in self._subfolders():
            _rmdir(folder)

    def close(self) -> None:
        self.clear()
        for top in dict.fromkeys(self._tops.values()):
            _rmdir(top)

    def _subfolders(self) -> list[str]:
        found: list[str] = []
        for top in dict.fromkeys(self._tops.values()):
            if os.path.isdir(top):
                found.extend(entry.path for entry in os.scandir(top) if entry.is_dir())
        return sorted(found)

    def _write_limits(self, controller: str, folder: str, limits: dict[str, Any]) -> None:
        first = self.version == 1
        none = "-1" if first else "max"
        if controller == "cpu":
            share = limits.get("cpu_milli", 0) * _PERIOD_US // 1000
            quota = str(max(share, 1000)) if share else none
            if first:
                _write(f"{folder}/cpu.cfs_quota_us", quota)
            else:
                _write(f"{folder}/cpu.max", f"{quota} {_PERIOD_US}")
        elif controller == "memory":
            memory = str(limits.get("memory_bytes", 0) or none)
            if first:
                _write_memory_v1(folder, memory)
            else:
                _write(f"{folder}/memory.max", memory)
                _try_write(f"{folder}/memory.swap.max", none if memory == none else "0")
        elif controller == "pids":
            _write(f"{folder}/pids.max", str(limits.get("pids") or "max"))


def discover(name: str) -> Groups | None:
    """The hierarchies this process may write, version 1 first; None when there are none."""
    mounts = _mounts(procfs.read("/proc/self/mountinfo"))
    own = _own_paths(procfs.read("/proc/self/cgroup"))
    roots = {
        controller: _below(*mounts[controller], own.get(controller, "/"))
        for controller in CONTROLLERS
        if controller in mounts
    }
    version = 1
    if not roots and "" in mounts:
        root = _given(*mounts[""], own.get("", "/"))
        offered = procfs.read(f"{root}/cgroup.controllers").split()
        roots = {controller: root for controller in CONTROLLERS if controller in offered}
        version = 2
        if roots and not _delegate(root, list(roots)):
            return None
    if not roots:
        return None
    groups = Groups(version, roots, name)
    try:
        groups.open()
    except OSError:
        groups.close()
        return None
    return groups


def _mounts(mountinfo: str) -> dict[str, tuple[str, str]]:
    """controller ("" for version 2) → (mount point, path in the hierarchy mounted there)."""
    found: dict[str, tuple[str, str]] = {}
    for line in mountinfo.splitlines():
        front, _, back = line.partition(" - ")
        fields, kind = front.split(" "), back.split(" ")
        if kind[0] == "cgroup2":
            found.setdefault("", (fields[4], fields[3]))
        elif kind[0] == "cgroup":
            for controller in kind[2].split(","):
                found.setdefault(controller, (fields[4], fields[3]))
    return found


def _own_paths(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        found.update(dict.fromkeys(controllers.split(","), path))
    return found


def _below(mount: str, mounted: str, own: str) -> str:
    """Our own group's folder, or the mount point where a container hides it."""
    relative = own.removeprefix(mounted.rstrip("/")) if own.startswith(mounted) else ""
    folder = f"{mount}/{relative.strip('/')}".rstrip("/")
    return folder if os.path.isdir(folder) else mount


def _given(mount: str, mounted: str, own: str) -> str:
    """The group that is ours to divide, whichever leaf of it we live in.

    That leaf is our own (an earlier warden made it), or systemd's `DelegateSubgroup=`: it marks
    what it has handed over.
    """
    folder = _below(mount, mounted, own.removesuffix(f"/{LEAF}") or "/")
    above = os.path.dirname(folder)
    return above if folder != mount and _handed_over(above) else folder


def _handed_over(folder: str) -> bool:
    try:
        return os.getxattr(folder, "user.delegate") == b"1"
    except OSError:
        return False


def _delegate(root: str, controllers: list[str]) -> bool:
    """Switch controllers on for the groups below, if need be after moving everybody to the leaf."""
    leaf = f"{root}/{LEAF}"
    try:
        for _ in range(_MOVES):
            if _try_enable(root, controllers):
                return True
            os.makedirs(leaf, exist_ok=True)
            for pid in procfs.read(f"{root}/cgroup.procs").split():
                _move(pid, leaf)  # who forks meanwhile is met in the next round
    except OSError:
        pass
    return False


def _move(pid: str, folder: str) -> None:
    try:
        _write(f"{folder}/cgroup.procs", pid)
    except OSError as error:
        if error.errno != errno.ESRCH:
            raise


def _enable(folder: str, controllers: list[str]) -> None:
    wanted = " ".join(f"+{controller}" for controller in controllers)
    _write(f"{folder}/cgroup.subtree_control", wanted)


def _try_enable(folder: str, controllers: list[str]) -> bool:
    try:
        _enable(folder, controllers)
    except OSError:
        return False
    return True


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _try_write(path: str, text: str) -> bool:
    try:
        _write(path, text)
    except OSError:
        return False
    return True


def _write_memory_v1(folder: str, memory: str) -> None:
    """With swap, never more than without: which of the two goes first depends on the direction."""
    files = (f"{folder}/memory.limit_in_bytes", f"{folder}/memory.memsw.limit_in_bytes")
    if not _try_write(files[0], memory):
        _try_write(files[1], memory)
        _write(files[0], memory)
    _try_write(files[1], memory)


def _rmdir(path: str) -> bool:
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
