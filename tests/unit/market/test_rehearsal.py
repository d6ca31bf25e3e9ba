"""A rehearsal's clock goes forward, for the operator only, and not over what runs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from manual_clock import ManualClock
from suanwang.bootstrap import first_start, make_context
from suanwang.edge.api.app import create_app
from suanwang.kernel.errors import InvalidInput
from suanwang.platform.clock import RehearsalClock
from suanwang.platform.settings import load_settings
from trade_square import Square


async def test_the_operator_puts_the_clock_forward(tmp_path: Path) -> None:
    settings = load_settings(environ={}, state=str(tmp_path), rehearsal=True)
    context = make_context(settings)
    started = await first_start(context)
    transport = httpx.ASGITransport(create_app(context))
    headers = {"authorization": f"Bearer {started.token}"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://suan.test", headers=headers
    ) as client:
        now_ms = context.clock.now_ms()
        assert (await client.get("/v1/rehearsal")).json()["rehearsal"]
        to = {"to": "2030-01-01T00:00:00Z"}
        far = await client.post("/v1/rehearsal/clock", json=to)
        assert (far.status_code, far.json()["field"]) == (422, "to")
        day_s = 86_400
        soon = {"to": _iso(now_ms // 1_000 + day_s)}
        assert (await client.post("/v1/rehearsal/clock", json=soon)).status_code == 200
        assert context.clock.now_ms() >= now_ms - 1_000 + day_s * 1_000
        assert (await client.post("/v1/rehearsal/clock", json=soon)).status_code == 422
        nobody = await client.post("/v1/rehearsal/clock", json=soon, headers={"authorization": ""})
        assert nobody.status_code == 401
    await context.database.close()
    again = RehearsalClock(tmp_path / "rehearsal.json", ManualClock(0))
    assert again.now_ms() > (day_s - 3_600) * 1_000  # less what the calls above took


def _iso(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat()


async def test_real_time_is_not_put_forward(square: Square) -> None:
    body = {"to": "2030-01-01T00:00:00Z"}
    assert (await square.refused("operator", "/v1/rehearsal/clock", body))[1] == "NoRehearsal"


def test_a_rehearsal_is_one_process(tmp_path: Path) -> None:
    settings = load_settings(
        environ={}, state=str(tmp_path), rehearsal=True, database="postgresql+psycopg://nowhere/x"
    )
    with pytest.raises(InvalidInput, match="one process"):
        make_context(settings)
