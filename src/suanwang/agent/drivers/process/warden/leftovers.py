"""Processes that outlived what started them: whose they are, and how an earlier warden's are ended.

An orphan that came to the warden is a run's when its environment carries the run's lease, or when
its session is that of the run's first process. One that has shed both is nobody's in
particular; it is left alone while a run older than itself lives, and belongs to the last of them.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from suanwang.agent.drivers.process.warden import procfs
from suanwang.agent.drivers.process.warden.groups import Groups
from suanwang.agent.drivers.process.warden.run import Run

MARK = "SUAN_WARDEN"
"""In every run's environment: which warden's it is, so that a sweep can find what is left."""
LEASE = "SUAN_LEASE_ID"
_SWEEP_S = 10.0


def orphans(roots: Collection[int]) -> list[int]:
    """Children of this process that it did not make itself, unburied ones included."""
    return [pid for pid in procfs.own_children() if pid not in roots]


def attribute(pids: Iterable[int], mark: str, sessions: Mapping[int, Run]) -> dict[str, list[int]]:
    """lease → the orphans that are its. `sessions`: first process → its run, for all not ended."""
    by_lease = {run.lease: run for run in sessions.values()}
    owned: dict[str, list[int]] = {}
    for pid in pids:
        found = procfs.stat(pid)
        if found is None:
            continue
        run = sessions.get(found.session)
        if run is None and found.state not in "ZX":
            values = procfs.environment(pid)
            if values.get(MARK) == mark:
                run = by_lease.get(values.get(LEASE, ""))
            else:
                run = _only_elder(list(by_lease.values()), found.start_ticks)
        if run is not None:
            owned.setdefault(run.lease, []).append(pid)
    return owned


def _only_elder(runs: list[Run], ticks: int) -> Run | None:
    elders = [run for run in runs if run.members and run.members[0][1] <= ticks]
    return elders[0] if len(elders) == 1 else None


def kill_own_descendants() -> None:
    """Kill and bury everything below this process, until nothing is left."""
    while True:
        procfs.signal_all(procfs.descendants(procfs.own_children()), signal.SIGKILL)
        try:
            while os.waitpid(-1, 0)[0]:
                if procfs.signal_all(procfs.own_children(), signal.SIGKILL):
                    break
        except ChildProcessError:
            return


def sweep(mark: str, lost: list[dict[str, Any]], groups: Groups | None) -> None:
    """Kill what an earlier warden's runs left: by mark, recorded process, session and group."""
    deadline = time.monotonic() + _SWEEP_S
    while left := _find(mark, lost, groups):
        procfs.signal_all(procfs.descendants(left), signal.SIGKILL)
        if time.monotonic() > deadline:
            return
        time.sleep(0.01)


def _find(mark: str, lost: list[dict[str, Any]], groups: Groups | None) -> list[int]:
    members = [(pid, ticks) for lines in lost for pid, ticks in lines.get("processes", [])]
    roots = {pid for pid, ticks in members if ticks and procfs.start_ticks(pid) == ticks}
    sessions = {pid for pid, ticks in members if procfs.start_ticks(pid) in (0, ticks)}
    found = set(groups.leftovers() if groups is not None else [])
    me = os.getpid()
    for pid in procfs.all_pids():
        stat = procfs.stat(pid)
        if stat is None or stat.state in "ZX" or pid == me:
            continue
        marked = procfs.environment(pid).get(MARK) == mark
        if marked or pid in roots or (stat.session in sessions and stat.session != pid):
            found.add(pid)
    return sorted(found)
