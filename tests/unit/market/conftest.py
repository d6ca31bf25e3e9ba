"""The market behind the real application, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from manual_clock import ManualClock
from suanwang.bootstrap import first_start, make_context
from suanwang.edge.api.app import create_app
from suanwang.edge.portal.pages import install
from suanwang.platform.settings import load_settings
from talks_world import Talks
from trade_square import Square


@pytest.fixture
async def square(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Square]:
    context = make_context(load_settings(environ={}, state=str(tmp_path)), clock)
    started = await first_start(context)
    app = create_app(context)
    install(app)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://suan.test") as client:
        bazaar = Talks(context.database, clock, context.books, context.outbox, box=context.secrets)
        yield Square(bazaar, client, tokens={"operator": started.token or ""})
    await context.database.close()
