"""The runs in the warden's care: start, stop, deadlines, and what their processes left behind.

A run is its members' first processes and everything below them. When the last first process has
ended the run is *draining*: whatever it left behind (daemons come to the warden, which is their
subreaper) is killed, and only when nothing is left is the end written down and then told.
"""

from __future__ import annotations

import heapq
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from suanwang.agent.drivers.process.warden import leftovers, procfs, records
from suanwang.agent.drivers.process.warden.groups import Groups
from suanwang.agent.drivers.process.warden.run import Run, explain, polite_targets, spawn

_RECHECK_MS = 50
_STALE_LIMIT = 2_000
"""Deadlines of ended runs are thrown out when there are more than so many."""
_NO_GRACE_MS = 2_000
"""A failed gang's other members get this long at most."""


class Ward:
    """`changed` is called with a run whenever there is news of it that the agent should have."""

    def __init__(self, mark: str, groups: Groups | None, changed: Callable[[Run], None]) -> None:
        self._mark = mark
        self._groups = groups
        self._changed = changed
        self._deadlines: list[tuple[int, int, str, Run]] = []
        """(instant, sequence, kind, run); looked at again when due, so stale ones do no harm"""
        self._sequence = 0
        self._roots: dict[int, Run] = {}
        """first processes not yet ended"""
        self._sessions: dict[int, Run] = {}
        """first processes of all runs not yet ended: the ids of their sessions too"""
        self._draining: dict[str, Run] = {}
        self._boot = procfs.boot_id()
        self._home = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.runs: dict[str, Run] = {}
        self.contact_ms: int | None = None

    @property
    def busy(self) -> bool:
        return bool(self._roots or self._draining)

    # -- start -------------------------------------------------------------------------------

    def start(self, order: dict[str, Any]) -> Run:
        """Start all members or none; a lease already known is only looked at."""
        lease = order["lease"]
        known = self.runs.get(lease)
        if known is not None:
            return known
        run = Run(lease, order.get("tag"))
        try:
            record = records.Record(lease, {"tag": run.tag, "boot": self._boot})
        except (OSError, ValueError) as error:
            why = f"cannot keep a record of the run: {error}"
            run.refuse("start_failed", why, procfs.now_ms())
            return run
        self.runs[lease] = run
        try:
            trouble = self._spawn_all(run, order)
            if not trouble:
                record.processes(run.members, run.started_at_ms or 0)
        finally:
            record.close()
        if trouble:
            self._abandon(run, trouble)
        else:
            self._set_deadlines(run, order)
        return run

    def _spawn_all(self, run: Run, order: dict[str, Any]) -> str:
        """Returns the reason when a member could not be made ("" when all were)."""
        work, mark = order["work"], {leftovers.MARK: self._mark}
        run.nested = bool(order.get("nested"))
        run.stderr = [member["stderr"] for member in order["members"]]
        run.grace_ms = int(order["grace_s"] * 1000)
        run.started_at_ms = procfs.now_ms()
        if order.get("limits") is not None and self._groups is not None:
            try:
                run.group = self._groups.create(order["limits"])
            except OSError as error:
                return f"cannot make control groups for the run: {error}"
        for index, member in enumerate(order["members"]):
            try:
                pid = spawn(member, work, run.group, mark, self._home)
            except (OSError, ValueError) as error:
                return explain(error, member, work)
            run.live[pid] = index
            run.members.append((pid, procfs.start_ticks(pid)))
            self._roots[pid] = self._sessions[pid] = run
        return ""

    def _abandon(self, run: Run, trouble: str) -> None:
        """Undo a start that failed half way: no member stays."""
        run.stopping, run.blame = "start_failed", trouble
        if run.live:
            self._draining[run.lease] = run
            self._kill(run)
        else:
            run.started_at_ms = None
            self._conclude(run, tell=False)

    def _set_deadlines(self, run: Run, order: dict[str, Any]) -> None:
        start = run.started_at_ms or 0
        self._at(start + int(order["max_runtime_s"] * 1000), "timeout", run)
        if order.get("stop_on_client_after_s") is not None:
            run.contact_after_ms = int(order["stop_on_client_after_s"] * 1000)
            heard = start if self.contact_ms is None else self.contact_ms
            self._at(heard + run.contact_after_ms, "contact", run)

    # -- stop --------------------------------------------------------------------------------

    def stop(self, lease: str, grace_ms: int, failure: str, why: str) -> None:
        run = self.runs.get(lease)
        if run is not None and run.ended_at_ms is None:
            self._stop(run, grace_ms, failure, why)

    def stop_all(self, failure: str, why: str) -> None:
        for run in list(self.runs.values()):
            self.stop(run.lease, run.grace_ms, failure, why)

    def _stop(self, run: Run, grace_ms: int, failure: str, why: str) -> None:
        """The first cause names the end; a later call can only shorten the grace."""
        kill_at = procfs.now_ms() + grace_ms
        if run.kill_at_ms is None or kill_at < run.kill_at_ms:
            run.kill_at_ms = kill_at
            self._at(kill_at, "kill", run)
        if run.stopping or not run.live:
            # Without a live member it has ended by itself and only its leftovers are dealt with.
            return
        run.stopping, run.blame = failure, why
        targets = polite_targets(run) + procfs.descendants(self._orphans_of(run))
        procfs.signal_all(targets, signal.SIGTERM)
        procfs.signal_all(targets, signal.SIGCONT)

    def _kill(self, run: Run) -> None:
        procfs.signal_all(self._tree(run), signal.SIGKILL)
        self._at(procfs.now_ms() + _RECHECK_MS, "kill", run)

    def _tree(self, run: Run) -> list[int]:
        found = procfs.descendants([*run.live, *self._orphans_of(run)])
        if run.group is not None:
            found = list(dict.fromkeys([*found, *run.group.pids()]))
        return found

    def _orphans_of(self, run: Run) -> list[int]:
        return self._owned_orphans().get(run.lease, [])

    def _owned_orphans(self) -> dict[str, list[int]]:
        orphans = leftovers.orphans(self._roots)
        if not orphans:
            return {}
        return leftovers.attribute(orphans, self._mark, self._sessions)

    # -- deadlines ---------------------------------------------------------------------------

    def contact(self, at_ms: int) -> None:
        heard = min(at_ms, procfs.now_ms())
        if self.contact_ms is None or heard > self.contact_ms:
            self.contact_ms = heard

    def wait_ms(self, now: int) -> int | None:
        """How long until something is due; None when nothing is."""
        return max(0, self._deadlines[0][0] - now) if self._deadlines else None

    def due(self, now: int) -> None:
        """Act on every deadline that has come."""
        while self._deadlines and self._deadlines[0][0] <= now:
            _, _, kind, run = heapq.heappop(self._deadlines)
            if run.ended_at_ms is not None:
                continue
            if kind == "timeout":
                limit = (now - (run.started_at_ms or now)) // 1000
                self._stop(
                    run, run.grace_ms, "timeout", f"stopped after {limit} s, its max_runtime"
                )
            elif kind == "contact":
                self._check_contact(run, now)
            elif kind == "drain":
                self._drain()
            elif run.kill_at_ms is None or run.kill_at_ms <= now:
                self._kill(run)

    def _check_contact(self, run: Run, now: int) -> None:
        after = run.contact_after_ms or 0
        heard = self.contact_ms if self.contact_ms is not None else run.started_at_ms or 0
        if heard + after <= now:
            why = f"no contact with the control plane for {after // 1000} s"
            self._stop(run, run.grace_ms, "lease_expired", why)
        else:
            self._at(heard + after, "contact", run)

    def _at(self, at_ms: int, kind: str, run: Run) -> None:
        self._sequence += 1
        heapq.heappush(self._deadlines, (at_ms, self._sequence, kind, run))
        if len(self._deadlines) > _STALE_LIMIT + 4 * len(self._sessions):
            self._deadlines = [entry for entry in self._deadlines if entry[3].ended_at_ms is None]
            heapq.heapify(self._deadlines)

    # -- ends --------------------------------------------------------------------------------

    def reap(self) -> None:
        """Bury the dead, then deal with what they left."""
        while True:
            try:
                dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                break
            if dead is None:
                break
            self._bury(dead.si_pid)
        if self._draining:
            self._drain()

    def _bury(self, pid: int) -> None:
        run = self._roots.pop(pid, None)
        first = run is not None
        if run is None:
            # An orphan. Its session tells whose, as long as it is not buried.
            found = procfs.stat(pid)
            run = self._sessions.get(found.session) if found is not None else None
        _, status, usage = os.wait4(pid, 0)
        if run is None:
            return
        run.cpu_us += int((usage.ru_utime + usage.ru_stime) * 1_000_000)
        run.max_rss_kib = max(run.max_rss_kib, usage.ru_maxrss)
        if not first:
            return
        index = run.live.pop(pid)
        failed = run.member_ended(status)
        if not run.live:
            self._draining[run.lease] = run
        elif failed:
            run.culprit = index
            self._stop(run, min(run.grace_ms, _NO_GRACE_MS), "member", "")

    def _drain(self) -> None:
        """End every draining run of which nothing is left; kill what is left of the others."""
        waiting = [run for run in self._draining.values() if not run.live]
        owned = self._owned_orphans()
        now = procfs.now_ms()
        for run in waiting:
            left = owned.get(run.lease, [])
            if run.group is not None:
                left = list(dict.fromkeys([*left, *run.group.pids()]))
            if not left:
                self._conclude(run)
            elif not run.stopping or run.stopping == "member" or (run.kill_at_ms or 0) <= now:
                procfs.signal_all(procfs.descendants(left), signal.SIGKILL)
                self._at(now + _RECHECK_MS, "drain", run)

    def _conclude(self, run: Run, *, tell: bool = True) -> None:
        self._draining.pop(run.lease, None)
        for pid, _ in run.members:
            self._sessions.pop(pid, None)
        run.conclude(procfs.now_ms())
        if run.group is not None and self._groups is not None:
            self._groups.remove(run.group)
            run.group = None
        _write_end(run)
        if tell:
            self._changed(run)

    def forget(self, lease: str) -> None:
        run = self.runs.get(lease)
        if run is not None and run.ended_at_ms is not None:
            del self.runs[lease]
            records.remove(lease)

    # -- an earlier warden's runs ------------------------------------------------------------

    def restore(self) -> None:
        """Take over the records of an earlier warden; what it left running is killed first."""
        found = records.load()
        open_ones = {lease: lines for lease, lines in found.items() if "end" not in lines}
        same_boot = [
            lines
            for lines in open_ones.values()
            if lines.get("intent", {}).get("boot") == self._boot
        ]
        leftovers.sweep(self._mark, same_boot, self._groups)
        if self._groups is not None:
            self._groups.clear()
        for lease, lines in found.items():
            if "intent" not in lines:
                # Killed before the intent was written: nothing was begun.
                records.remove(lease)
                continue
            run = self.runs[lease] = Run(lease, lines["intent"]["tag"])
            run.members = [(pid, ticks) for pid, ticks in lines.get("processes", [])]
            if "end" in lines:
                self._restore_end(run, lines["end"], lines["intent"]["boot"])
            else:
                self._restore_lost(run, lines)

    def _restore_end(self, run: Run, end: dict[str, Any], boot: str | None) -> None:
        now = procfs.now_ms()
        run.started_at_ms, run.ended_at_ms = end["started_at_ms"], end["ended_at_ms"]
        if boot != self._boot:
            run.ended_at_ms = now
            run.started_at_ms = now - end["duration_ms"]
        run.code, run.failure, run.detail = end["exit_code"], end["failure"], end["detail"]
        run.cpu_us, run.max_rss_kib = end["cpu_ms"] * 1000, end["max_rss_mib"] * 1024

    def _restore_lost(self, run: Run, lines: dict[str, Any]) -> None:
        run.ended_at_ms = procfs.now_ms()
        if lines["intent"]["boot"] == self._boot:
            run.started_at_ms = lines.get("started_at_ms")
            run.failure = "vanished"
            run.detail = "the process that watched over it was killed; what it left was killed too"
        else:
            run.failure, run.detail = "node_failure", "the machine restarted"
        _write_end(run)


def _write_end(run: Run) -> None:
    """A full disk must not cost the other runs their warden: memory then has to do."""
    try:
        records.append_end(run.lease, run.view())
    except OSError as error:
        print(f"{run.lease}: cannot write down its end: {error}", file=sys.stderr, flush=True)
