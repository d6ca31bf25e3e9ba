"""After a restart: what the engines know of runs, and what nobody else knows of."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from suanwang.agent.port import Driver, Observation
from suanwang.kernel.errors import TransientError
from suanwang.protocol.messages import FailureClass, Phase

log = logging.getLogger("suanwang.agent")
PAUSE_S = 1.0
DISMISSAL_GRACE_S = 10


async def known_to(driver: Driver) -> list[Observation]:
    """All the driver's runs; waits for an engine that is down, because guessing loses work."""
    while True:
        try:
            return await driver.observe()
        except TransientError as error:
            log.warning("driver %s: %s; waiting for it", driver.name, error)
            await asyncio.sleep(PAUSE_S)


async def dismiss(driver: Driver, lease_id: str, ordered_anew: Callable[[], bool]) -> None:
    """End a run that the engine knows and our records do not: the state folder was damaged.

    Nobody could report it, and its task is soon begun elsewhere. Ordered anew, it is let be.
    Raises TransientError; doing it again goes on from there.
    """
    log.error("%s: no record of run %s, which it knows; ending it", driver.name, lease_id)
    while not ordered_anew():
        known = {seen.lease_id: seen.phase for seen in await driver.observe()}
        if known.get(lease_id, Phase.ENDED) is Phase.ENDED:
            await driver.forget(lease_id)
            return
        await driver.stop(lease_id, DISMISSAL_GRACE_S, FailureClass.STOPPED)
        await asyncio.sleep(PAUSE_S)
