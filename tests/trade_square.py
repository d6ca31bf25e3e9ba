"""The market behind the real application, without a socket: HTTP calls of people with tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from suanwang.platform.database import Tx
from suanwang.tenancy import access, people
from suanwang.trade.contracts.model import Party
from trade_world import Bazaar


def iso(hour: int) -> str:
    """A UTC hour as the API writes and takes it."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(hours=hour)
    return moment.strftime("%Y-%m-%dT%H:00:00Z")


@dataclass
class Square:
    """A bazaar, its HTTP client, and the tokens of those who trade there, by name."""

    bazaar: Bazaar
    client: httpx.AsyncClient
    parties: dict[str, Party] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)

    async def settle_in(self, name: str, yuan: int = 10_000) -> Party:
        party = await self.bazaar.party(name, yuan)

        def use_case(tx: Tx) -> str:
            user = people.user(tx.conn, party.user_id)
            principal = access.principal_of(tx.conn, user)
            return access.issue_token(tx, principal, name="test", days=1).secret

        self.parties[name] = party
        self.tokens[name] = await self.bazaar.write(use_case)
        return party

    async def call(self, who: str, method: str, path: str, body: Any = None) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.tokens[who]}"} if who else {}
        return await self.client.request(method, path, json=body, headers=headers)

    async def get(self, who: str, path: str) -> Any:
        answer = await self.call(who, "GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, who: str, path: str, body: Any = None) -> Any:
        answer = await self.call(who, "POST", path, body)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    async def refused(self, who: str, path: str, body: Any) -> tuple[int, str, str | None]:
        """(status, reason, field) of a call that must not succeed."""
        answer = await self.call(who, "POST", path, body)
        assert answer.status_code >= 400, answer.text
        told = answer.json()
        assert told["detail"]
        return answer.status_code, told["reason"], told.get("field")
