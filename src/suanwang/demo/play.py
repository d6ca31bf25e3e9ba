"""Submitting the workload and following it to its end, as any user's program would."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from suanwang.demo import cases as workload
from suanwang.demo.cases import Case
from suanwang.demo.platform import Running
from suanwang.demo.stage import PARTIES
from suanwang.edge.client.client import Client
from suanwang.edge.client.views import FINAL_STATES
from suanwang.kernel.errors import Unavailable

LOOK_S = 0.3
PATIENCE_S = 150.0
HOUR_MS = 3_600_000


@dataclass(slots=True)
class Act:
    """A case that was submitted: what planning said before, what is known of it now."""

    case: Case
    job_id: str = ""
    plan: dict[str, Any] = field(default_factory=dict)
    job: dict[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> str:
        return str(self.job.get("state", "waiting"))

    @property
    def ended(self) -> bool:
        return self.state in FINAL_STATES

    @property
    def tasks(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.job.get("task_list") or []
        return found

    @property
    def leases(self) -> list[dict[str, Any]]:
        return [lease for task in self.tasks for lease in task["leases"]]

    @property
    def wait_ms(self) -> int | None:
        """From its submission to its first start."""
        starts = [ms_of(one["started_at"]) for one in self.leases if one["started_at"]]
        return max(0, min(starts) - ms_of(self.job["created_at"])) if starts else None

    @property
    def run_ms(self) -> int:
        """Of all attempts and tasks together."""
        return sum(one["meters"]["duration_ms"] for one in self.leases)

    def cost_micro_yuan(self, now_ms: int) -> int:
        """So far, by the leases' rates: a guess until the ledger has it."""
        return sum(
            one["rate"]["micro_yuan"] * _lasted_ms(one, now_ms) // HOUR_MS for one in self.leases
        )


@dataclass(frozen=True, slots=True)
class Score:
    """What a site has to show at an instant."""

    name: str
    busy_cores: float
    cores: float
    running: list[str]
    done: int


class Play:
    """All acts, with a client for each party."""

    def __init__(self, running: Running) -> None:
        self._clients = {
            party.name: running.client(running.users[party.name], party.project)
            for party in PARTIES
        }
        self._operator = running.client(running.operator)
        self._plans: dict[str, dict[str, Any]] = {}
        self._sent: dict[tuple[str, str], str] = {}
        self.acts = [Act(case) for case in workload.cases()]

    def client_of(self, act: Act) -> Client:
        return self._clients[act.case.party.name]

    def submit(self) -> None:
        """Everything that does not wait for another's output; one call for each party."""
        for party in PARTIES:
            acts = [a for a in self.acts if a.case.party is party and not a.case.after]
            specs = [self._prepared(act, act.case.spec) for act in acts]
            ids = self._clients[party.name].submit_prepared(specs, key=f"demo-{time.time_ns()}")
            for act, job_id in zip(acts, ids, strict=True):
                act.job_id = job_id

    def follow(self) -> Iterator[list[Act]]:
        """Those that changed since the last look, until all have ended. Raises Unavailable."""
        until = time.monotonic() + PATIENCE_S
        while True:
            changed = self._look()
            self._intervene()
            yield changed
            if all(act.ended for act in self.acts):
                return
            if time.monotonic() > until:
                left = [f"{a.case.name} ({a.state})" for a in self.acts if not a.ended]
                raise Unavailable(
                    "DemoTooSlow",
                    f"Not ended after {PATIENCE_S:g} s: {', '.join(left)}.",
                    hint="Is this machine very busy? Logs are in the demo's folder.",
                )
            time.sleep(LOOK_S)

    def scores(self) -> list[Score]:
        """Sites by name, with what runs there."""
        sites: dict[str, list[float]] = {}
        for offer in self._operator.offers():
            cores = sites.setdefault(offer["site"], [0.0, 0.0])
            cores[0] += (offer["capacity"]["cpu_milli"] - offer["free"]["cpu_milli"]) / 1000
            cores[1] += offer["capacity"]["cpu_milli"] / 1000
        leases = [(act.case.name, one) for act in self.acts for one in act.leases]
        return [
            Score(
                name,
                busy,
                cores,
                sorted(job for job, one in leases if one["site"] == name and _runs(one)),
                sum(one["site"] == name and one["outcome"] is not None for _, one in leases),
            )
            for name, (busy, cores) in sorted(sites.items())
        ]

    def _prepared(self, act: Act, spec: dict[str, Any]) -> dict[str, Any]:
        """With the folder of programs sent (once for each party) and its plan asked for."""
        client = self.client_of(act)
        folder = spec.get("workdir")
        place = (act.case.party.name, str(folder))
        ready = dict(spec)
        if place in self._sent:
            ready["workdir"] = self._sent[place]
        ready = client.prepared(ready, workload.FOLDER)
        if folder:
            self._sent[place] = ready["workdir"]
        asked = repr([(k, v) for k, v in sorted(ready.items()) if k not in ("name", "env")])
        if asked not in self._plans:
            self._plans[asked] = dict(client.plan(ready))
        act.plan = self._plans[asked]
        return ready

    def _look(self) -> list[Act]:
        changed = []
        for client in self._clients.values():
            listed = {job["id"]: job for job in client.jobs(limit=500)}
            for act in self.acts:
                seen = listed.get(act.job_id)
                if seen is None or act.ended or self.client_of(act) is not client:
                    continue
                if seen != {name: act.job.get(name) for name in seen}:
                    act.job = dict(client.job(act.job_id))
                    changed.append(act)
        return changed

    def _intervene(self) -> None:
        """What people do while their jobs run: go on with an output, cancel."""
        for act in self.acts:
            if act.case.cancelled and act.state == "running":
                self.client_of(act).cancel(act.job_id)
            if act.case.after and not act.job_id:
                first = next(one for one in self.acts if one.case.name == act.case.after)
                if first.state == "succeeded":
                    self._continue(act, first)
                elif first.ended:
                    act.job = {"state": "refused", "task_list": [], "tasks": {}}

    def _continue(self, act: Act, first: Act) -> None:
        """The second step: depends on the first, and takes its output as input."""
        output = first.leases[-1]["outputs"][0]
        field_bin = {"path": "field.bin", "digest": output["digest"]}
        spec = {**act.case.spec, "depends_on": [first.job_id], "inputs": {"field": field_bin}}
        client = self.client_of(act)
        act.job_id = client.submit_prepared([self._prepared(act, spec)])[0]


def ms_of(instant: str) -> int:
    return round(datetime.fromisoformat(instant).timestamp() * 1000)


def _runs(lease: dict[str, Any]) -> bool:
    return lease["started_at"] is not None and lease["ended_at"] is None


def _lasted_ms(lease: dict[str, Any], now_ms: int) -> int:
    if lease["started_at"] is None:
        return 0
    until = ms_of(lease["ended_at"]) if lease["ended_at"] else now_ms
    return max(0, until - ms_of(lease["started_at"]))
