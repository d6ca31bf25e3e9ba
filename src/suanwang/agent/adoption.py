"""After a restart: what the engines know of runs, and what nobody else knows of."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection

from suanwang.agent.port import Driver, Observation
from suanwang.kernel.errors import TransientError
from suanwang.protocol.messages import FailureClass, Phase

log = logging.getLogger("suanwang.agent")
PAUSE_S = 1.0
LOOKS = 60


async def known_to(driver: Driver) -> list[Observation]:
    """All the driver's runs; waits for an engine that is down, because guessing loses work."""
    while True:
        try:
            return await driver.observe()
        except TransientError as error:
            log.warning("driver %s: %s; waiting for it", driver.name, error)
            await asyncio.sleep(PAUSE_S)


async def end_strangers(
    driver: Driver, seen: Collection[Observation], recorded: Collection[str]
) -> None:
    """End the runs that an engine has and its agent has no record of: the agent's disk was lost.

    Nobody can report them, so to the control plane they are gone: their room is given to others
    and nothing of them is charged. Hence at once, and before the agent says that it knows
    nothing. What will not end within a minute is told.
    """
    strangers = {one.lease_id for one in seen if one.lease_id not in recorded}
    left = [one.lease_id for one in seen if _runs(one, strangers)]
    for _ in range(LOOKS):
        if not left:
            break
        log.warning("driver %s: ending what no record is left of: %s", driver.name, left)
        try:
            for lease_id in left:
                await driver.stop(lease_id, 0, FailureClass.STOPPED)
            await driver.changes(PAUSE_S)
            left = [one.lease_id for one in await driver.observe() if _runs(one, strangers)]
        except TransientError as error:
            log.warning("driver %s: %s", driver.name, error)
            await asyncio.sleep(PAUSE_S)
    if left:
        log.error("driver %s: still running without a record: %s", driver.name, left)
    for lease_id in sorted(strangers.difference(left)):
        await driver.forget(lease_id)


def _runs(one: Observation, strangers: Collection[str]) -> bool:
    return one.lease_id in strangers and one.phase is not Phase.ENDED
