"""The clock of a platform for rehearsals (`suan up --rehearsal`)."""

from __future__ import annotations

from typing import TypedDict

from suanwang.edge.client.nouns import Instant, Noun


class RehearsalClock(TypedDict):
    rehearsal: bool
    """False: this platform keeps real time."""
    now: str | None


class Rehearsal(Noun):
    """`client.rehearsal`"""

    def clock(self) -> RehearsalClock:
        found: RehearsalClock = self._api.get("/v1/rehearsal")
        return found

    def advance(self, to: Instant) -> RehearsalClock:
        """Put it forward. Raises Conflict: RunsOpen while work runs, NoRehearsal elsewhere."""
        found: RehearsalClock = self._api.post("/v1/rehearsal/clock", {"to": to})
        return found
