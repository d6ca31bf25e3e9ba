"""A town of organisations in memory, its people as principals, and clients of its app."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI

from suanwang.kernel.time import Clock
from suanwang.platform.database import InlineDatabase
from suanwang.tenancy import access, passwords, people
from suanwang.tenancy.model import Principal, User
from tenancy_world import AppContext, As, Town, build_town, make_app

QUICK = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)


@pytest.fixture(autouse=True)
def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same algorithm at a thousandth of the cost; `test_passwords.py` keeps the real one."""
    monkeypatch.setattr(passwords, "_hasher", QUICK)
    passwords._decoy.cache_clear()


@pytest.fixture
def town(inline_database: InlineDatabase) -> Town:
    return inline_database.write_now(build_town)


@pytest.fixture
def principal_as(inline_database: InlineDatabase) -> As:
    """The principal of a user now, as after signing in."""

    def get(user: User | str) -> Principal:
        return inline_database.read_now(
            lambda conn: access.principal_of(
                conn, people.user(conn, user if isinstance(user, str) else user.id)
            )
        )

    return get


@pytest.fixture
def app(inline_database: InlineDatabase, clock: Clock, town: Town) -> FastAPI:
    return make_app(AppContext(inline_database, clock))


@pytest.fixture
async def new_client(app: FastAPI) -> AsyncIterator[Callable[..., httpx.AsyncClient]]:
    """Clients of the app, each with its own cookies; `token=` signs them in."""
    made: list[httpx.AsyncClient] = []

    def make(token: str | None = None, base: str = "http://suan.test", **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app, **more), base_url=base, headers=headers
        )
        made.append(client)
        return client

    yield make
    for client in made:
        await client.aclose()
