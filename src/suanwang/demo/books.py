"""Does the money add up? Charges, ledger, statement and the provider's revenue, one by one."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from suanwang.demo.platform import Running, project_id
from suanwang.demo.play import Act
from suanwang.demo.stage import PARTIES, Party

PATIENCE_S = 20.0
LOOK_S = 0.2
PROVIDER = "operator"


@dataclass(frozen=True, slots=True)
class Position:
    """A project's money at an instant."""

    balance: int
    held: int
    charged: int


@dataclass(frozen=True, slots=True)
class Charge:
    """A job's line in its project's statement."""

    micro_yuan: int = 0
    core_s: float = 0.0
    gib_s: float = 0.0
    card_s: float = 0.0


@dataclass(slots=True)
class Books:
    """What the ledger says, and what is wrong with it (nothing, one hopes)."""

    by_job: dict[str, Charge] = field(default_factory=dict)
    total: int = 0
    troubles: list[str] = field(default_factory=list)
    equal: int = 0
    """How many figures were compared and found equal."""


class Accounts:
    """The projects' positions before the first job, and the books after the last one."""

    def __init__(self, running: Running) -> None:
        self._api = running.client(running.operator).api
        self._ids = {party.name: project_id(self._api, party) for party in PARTIES}
        self._before = {party.name: self._position(party) for party in PARTIES}
        self._earned_before = self._revenue()

    def close(self, acts: Sequence[Act]) -> Books:
        """Charges are booked a moment after a job's end: asked again until all holds are gone."""
        until = time.monotonic() + PATIENCE_S
        while True:
            books = self._books(acts)
            if not books.troubles or time.monotonic() > until:
                return books
            time.sleep(LOOK_S)

    def _books(self, acts: Sequence[Act]) -> Books:
        books = Books()
        for party in PARTIES:
            now = self._position(party)
            lines = self._lines(party)
            ours = [a for a in acts if a.case.party is party and a.job_id]
            found = {a.job_id: lines.get(a.job_id, Charge()) for a in ours}
            books.by_job |= found
            charges = sum(one.micro_yuan for one in found.values())
            before = self._before[party.name]
            books.total += charges
            same(books, f"{party.name}: held for jobs", now.held, 0)
            same(books, f"{party.name}: charges, balance", charges, before.balance - now.balance)
            same(books, f"{party.name}: charges, statement", charges, now.charged - before.charged)
            for act in ours:
                if any(one["started_at"] for one in act.leases) and not found[act.job_id].core_s:
                    books.troubles.append(f"{act.case.name} ran and was not metered")
        same(books, "revenue of the sites", self._revenue() - self._earned_before, books.total)
        return books

    def _position(self, party: Party) -> Position:
        project = self._ids[party.name]
        account = self._api.get(f"/v1/projects/{project}/account")
        statement = self._api.get(f"/v1/projects/{project}/statement")
        return Position(
            account["balance"]["micro_yuan"],
            account["held"]["micro_yuan"],
            statement["charged"]["micro_yuan"],
        )

    def _lines(self, party: Party) -> dict[str, Charge]:
        path = f"/v1/projects/{self._ids[party.name]}/statement"
        lines: dict[str, Charge] = {}
        cursor = None
        while True:
            page = self._api.get(path, {"by": "job", "limit": 200, "cursor": cursor})
            lines |= {line["key"]: charge_of(line) for line in page["lines"]}
            cursor = page["next_cursor"]
            if not cursor:
                return lines

    def _revenue(self) -> int:
        path = f"/v1/organisations/{PROVIDER}/revenue"
        return sum(line["amount"]["micro_yuan"] for line in self._api.pages(path, {"by": "site"}))


def charge_of(line: Mapping[str, Any]) -> Charge:
    used = line["quantities"]
    return Charge(
        line["amount"]["micro_yuan"],
        used["core_milli_seconds"] / 1_000,
        used["memory_mib_seconds"] / 1_024,
        used["accelerator_milli_seconds"] / 1_000,
    )


def same(books: Books, what: str, found: int, wanted: int) -> None:
    if found == wanted:
        books.equal += 1
    else:
        books.troubles.append(f"{what}: {found} and {wanted} micro-yuan differ")
