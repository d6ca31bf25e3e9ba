"""What a party does on the exchange: calls of the public API, and waiting for what follows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from suanwang.demo.platform import Running, project_id
from suanwang.demo.stage import Party
from suanwang.edge.client.http import Api
from suanwang.kernel.errors import Unavailable

PATIENCE_S = 120.0
LOOK_S = 0.3


def wait_for(holds: Callable[[], Any], what: str) -> Any:
    """Its first true value. Raises Unavailable after two minutes."""
    until = time.monotonic() + PATIENCE_S
    while not (found := holds()):
        if time.monotonic() > until:
            raise Unavailable("DemoWaited", f"It did not happen: {what}.", hint="See the logs.")
        time.sleep(LOOK_S)
    return found


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def text_of(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Desk:
    """One party at work."""

    party: Party
    api: Api
    project_id: str

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return self.api.post(path, body or {})

    def trade(self, path: str, body: dict[str, Any]) -> Any:
        return self.post(path, {"project": self.project_id, **body})

    def contract(self, contract_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api.get(f"/v1/contracts/{contract_id}")
        return found


@dataclass(frozen=True, slots=True)
class Hall:
    """All of them, the operator, and the clock."""

    desks: dict[str, Desk]
    operator: Api

    @classmethod
    def of(cls, running: Running, parties: tuple[Party, ...]) -> Hall:
        operator = running.client(running.operator).api
        desks = {}
        for party in parties:
            client = running.client(running.users[party.name], party.project)
            desks[party.name] = Desk(party, client.api, project_id(operator, party))
        return cls(desks, operator)

    def __getitem__(self, party: Party) -> Desk:
        return self.desks[party.name]

    def now(self) -> datetime:
        return moment(self.operator.get("/v1/rehearsal")["now"])

    def advance(self, to: datetime) -> None:
        """Put the clock forward, once nothing runs any more."""
        wait_for(self._is_idle, "every run has ended")
        self.operator.post("/v1/rehearsal/clock", {"to": text_of(to)})
        wait_for(self._is_heard, "the sites are heard again")

    def _is_idle(self) -> bool:
        found = [one for desk in self.desks.values() for one in desk.api.get("/v1/jobs")["items"]]
        return all(one["state"] not in ("queued", "leased", "running") for one in found)

    def _is_heard(self) -> bool:
        sites = self.operator.get("/v1/sites")["items"]
        return len([one for one in sites if one["reachable"]]) >= len(sites) - 1

    def pool(self, site: str, name: str) -> str:
        """Its id."""
        found = self.operator.get(f"/v1/sites/{site}")["pools"]
        return str(next(one["id"] for one in found if one["name"] == name))


HOUR = timedelta(hours=1)
