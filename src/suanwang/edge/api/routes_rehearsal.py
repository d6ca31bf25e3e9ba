"""Rehearsal: a platform whose clock the operator puts forward (`suan up --rehearsal`)."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, Field

from suanwang.edge.api.auth import Caller
from suanwang.edge.api.routes_market import Ctx
from suanwang.edge.api.views import instant
from suanwang.grid.jobs import reading
from suanwang.grid.jobs.reconciler import ROUND_SIGNAL, site_signal
from suanwang.grid.sites import service as sites
from suanwang.kernel.errors import Conflict, InvalidInput
from suanwang.kernel.time import MS_PER_DAY
from suanwang.platform.clock import RehearsalClock
from suanwang.platform.database import Tx
from suanwang.tenancy.audit import audit
from suanwang.tenancy.model import Action
from suanwang.tenancy.rules import require_may

router = APIRouter(prefix="/v1/rehearsal", tags=["rehearsal"])
FARTHEST_MS = 400 * MS_PER_DAY


class RehearsalView(BaseModel):
    rehearsal: bool
    now: str | None


class AdvanceRequest(BaseModel):
    to: datetime = Field(examples=["2026-12-01T08:00:10Z"])


@router.get("")
async def get_rehearsal(context: Ctx) -> RehearsalView:
    """Whether this platform is one for rehearsals, and what time it has."""
    return RehearsalView(rehearsal=context.settings.rehearsal, now=instant(context.clock.now_ms()))


@router.post("/clock")
async def advance_clock(body: AdvanceRequest, principal: Caller, context: Ctx) -> RehearsalView:
    """Put the clock forward. Nothing may run meanwhile: its agent would seem silent for so long."""
    require_may(principal, Action.STEER_PLATFORM, principal.organisation_id)
    clock = context.clock
    if not isinstance(clock, RehearsalClock):
        raise Conflict(
            "NoRehearsal",
            "This platform keeps real time.",
            hint="Rehearse on one that was started with `suan up --rehearsal`.",
        )
    now_ms = clock.now_ms()
    to_ms = int(body.to.timestamp() * 1_000) if body.to.tzinfo is not None else -1
    if not now_ms < to_ms <= now_ms + FARTHEST_MS:
        raise InvalidInput(
            "InvalidInstant",
            f"It is {instant(now_ms)} here; the clock goes forward only, 400 days at most.",
            hint="Give a later instant with its time zone.",
            field="to",
        )
    running = await context.database.read(reading.open_leases)
    if running:
        raise Conflict(
            "RunsOpen",
            f"{running} runs are open; they would be lost.",
            hint="Wait for them to end, or cancel them.",
        )

    def use_case(tx: Tx) -> list[str]:
        sites.leap(tx, to_ms - tx.now_ms)
        audit(tx, principal, "clock.advance", "platform", "clock", {"to": instant(to_ms)})
        return [site.site_id for site in sites.sites(tx.conn)]

    heard = await context.database.write(use_case)
    clock.advance_to(to_ms)
    for site_id in heard:
        context.signals.notify(site_signal(site_id))  # agents ask anew, at the new time
    context.signals.notify(ROUND_SIGNAL)
    return RehearsalView(rehearsal=True, now=instant(clock.now_ms()))
