"""Run a site's agent: enrol once, then serve until told to stop."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import random
import signal
from pathlib import Path
from typing import IO

import httpx

import suanwang
from suanwang.agent.cache import SiteCache
from suanwang.agent.config import AgentConfig
from suanwang.agent.content import LeaseContent
from suanwang.agent.drivers.process.driver import ProcessDriver
from suanwang.agent.drivers.slurm.driver import SlurmDriver
from suanwang.agent.host import AgentHost
from suanwang.agent.link import HttpLink, open_http
from suanwang.agent.machine import Machine
from suanwang.agent.port import Driver
from suanwang.agent.records import FolderRecords, identity, write_atomically
from suanwang.kernel.errors import Conflict, InvalidInput, SuanwangError, Unauthenticated
from suanwang.kernel.time import MS_PER_DAY, MS_PER_SECOND
from suanwang.protocol.messages import EnrolRequest

log = logging.getLogger("suanwang.agent")
GIB = 1024**3
RENEWAL_LOOK_S = 3_600.0


def make_drivers(config: AgentConfig, state: Path, machine: Machine) -> dict[str, Driver]:
    """Pool name → the driver that serves it; pools of one kind share a driver."""
    kinds: dict[str, Driver] = {}
    for pool in config.pools:
        if pool.driver in kinds:
            continue
        if pool.driver == "process":
            kinds["process"] = ProcessDriver(state, config.pools, machine)
        elif pool.driver == "slurm":
            kinds["slurm"] = SlurmDriver(state, config.pools, machine)
        else:
            raise InvalidInput(
                "UnknownDriver",
                f"Pool {pool.name} names the driver {pool.driver!r}.",
                hint="This agent has: process, slurm.",
                field="driver",
            )
    return {pool.name: kinds[pool.driver] for pool in config.pools}


def lock_state(state: Path) -> IO[str]:
    """One agent to a state folder: a second one would take the first one's runs for lost."""
    file = (state / "lock").open("a", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise Conflict(
            "StateInUse",
            f"Another agent works in {state}.",
            hint="Stop it first, or give this one a state folder and a site of its own.",
        ) from None
    return file


async def credential_of(config: AgentConfig, state: Path, token: str | None) -> str:
    """The stored credential; a one-time token, if given, is traded for a new one first."""
    path = state / "credential"
    if token:
        async with open_http(config.server, "", config.ca_file) as http:
            request = EnrolRequest(token, identity(state), suanwang.__version__)
            reply = await HttpLink(http).enrol(request)
        write_atomically(path, reply.credential.encode())
        log.info("enrolled as site %s", reply.site_name)
    if not path.exists():
        raise Unauthenticated(
            "NotEnrolled",
            "This agent has no credential yet.",
            hint="Start it once with --token and the one-time token of `suan site enrol`.",
        )
    return path.read_text(encoding="utf-8").strip()


async def renew_credential(
    path: Path, http: httpx.AsyncClient, days: float, machine: Machine
) -> None:
    """Trade the credential for a new one whenever it is so old. Runs until cancelled.

    The platform takes the old one until the new one was used, so neither a lost answer nor a
    crash on the way locks the agent out.
    """
    every_s = days * MS_PER_DAY / MS_PER_SECOND
    while days > 0:
        try:
            if machine.wall_ms() / MS_PER_SECOND - path.stat().st_mtime >= every_s:
                reply = await HttpLink(http).rotate()
                write_atomically(path, reply.credential.encode())
                http.headers["Authorization"] = f"Bearer {reply.credential}"
                log.info("the credential was renewed")
        except (SuanwangError, OSError) as error:
            log.warning("the credential could not be renewed: %s", error)
        await machine.sleep(min(max(every_s / 10, 1.0), RENEWAL_LOOK_S))


async def serve(config: AgentConfig, token: str | None = None) -> None:
    """Serve until cancelled or signalled."""
    state = Path(config.state)
    state.mkdir(parents=True, exist_ok=True)
    with lock_state(state):
        await _serve(config, state, token)


async def _serve(config: AgentConfig, state: Path, token: str | None) -> None:
    machine = Machine()
    credential = await credential_of(config, state, token)
    async with open_http(config.server, credential, config.ca_file) as http:
        cache = SiteCache(state / "cache", round(config.cache_gib * GIB), machine.wall_ms)
        records = FolderRecords(state, LeaseContent(http, cache, machine.monotonic_ms))
        host = AgentHost(
            link=HttpLink(http),
            drivers=make_drivers(config, state, machine),
            records=records,
            monotonic_ms=machine.monotonic_ms,
            jitter=random.random,
            version=suanwang.__version__,
        )
        task = asyncio.ensure_future(host.run())
        renewal = asyncio.ensure_future(
            renew_credential(state / "credential", http, config.credential_days, machine)
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            log.info("the agent leaves; what runs goes on")
        finally:
            renewal.cancel()
