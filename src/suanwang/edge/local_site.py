"""The site that `suan up --local-site` brings along: this machine, served by an agent of its own.

The agent is a child process with its state below the platform's; it is enrolled through the
use cases of sites, started again if it dies, and told to leave when the server ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from pathlib import Path

import yaml
from fastapi import FastAPI

from suanwang.edge.api.context import Context
from suanwang.grid.sites import service as sites
from suanwang.grid.sites.model import is_reachable
from suanwang.grid.sites.service import SiteDescription
from suanwang.kernel.errors import NotFound
from suanwang.platform.database import Tx
from suanwang.platform.settings import Settings
from suanwang.tenancy import service as tenancy
from suanwang.tenancy.model import system_principal

log = logging.getLogger("suanwang.server")
NAME = "local"
REGION = "local"
TOKEN_VARIABLE = "SUAN_ENROLMENT_TOKEN"
STOP_S = 5.0
AGAIN_S = 1.0
AGAIN_MOST_S = 30.0
PRICES = {"core_hour": 0.06, "memory_gib_hour": 0.01, "accelerator_hour": 4.0}
"""Yuan; there so that a newcomer sees money move. The agent's file may be edited afterwards."""


class LocalSite:
    """This machine as a site named `local`."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        self._context: Context = app.state.context
        self._settings = settings
        self._folder = Path(settings.state).absolute() / "agents" / NAME
        self.log_path = self._folder / "agent.log"
        self._child: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Enrol it unless that was done before, then keep its agent running."""
        self._folder.mkdir(parents=True, exist_ok=True)
        token = await self._token()
        self._write_config()
        await self._spawn(token)
        self._watch = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        child = self._child
        if child is None or child.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        try:
            await asyncio.wait_for(child.wait(), STOP_S)
        except TimeoutError:
            child.kill()
            await child.wait()

    async def is_reachable(self) -> bool:
        now_ms = self._context.clock.now_ms()
        site = await self._context.database.read(lambda conn: sites.find_site(conn, NAME))
        pools = await self._context.database.read(
            lambda conn: sites.pools_of_site(conn, site.site_id)
        )
        return is_reachable(site, now_ms) and bool(pools)

    async def _token(self) -> str | None:
        """A one-time token; None if the agent has a credential from before."""
        enrolled = (self._folder / "credential").exists()
        random = self._context.random

        def use_case(tx: Tx) -> str | None:
            try:
                site = sites.find_site(tx.conn, NAME)
            except NotFound:
                provider = tenancy.organisation_of(tx.conn, system_principal(), "operator")
                description = SiteDescription(NAME, REGION, display_name="This machine")
                return sites.invite(tx, provider.id, description, random)[1]
            return None if enrolled else sites.reinvite(tx, site.site_id, random)

        return await self._context.database.write(use_case)

    def _write_config(self) -> None:
        """Only the address is kept true; what the operator changed stays."""
        path = self._folder / "agent.yaml"
        known = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
        pools = [{"name": "machine", "driver": "process", "prices": PRICES}]
        host = self._settings.host.replace("0.0.0.0", "127.0.0.1")
        address = f"http://{host}:{self._settings.port}"
        config = {"pools": pools, **known, "server": address, "state": str(self._folder)}
        path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")

    async def _spawn(self, token: str | None) -> None:
        config = str(self._folder / "agent.yaml")
        words = ["agent", "--config", config, "--with-parent", str(os.getpid())]
        environment = dict(os.environ)
        if token is not None:  # not among the words: anyone may read those
            environment[TOKEN_VARIABLE] = token
        with self.log_path.open("ab") as out:
            self._child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "suanwang.edge.cli.main",
                *words,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,  # Ctrl-C in the terminal is ours to pass on
            )

    async def _keep(self) -> None:
        pause_s = AGAIN_S
        while self._child is not None:
            code = await self._child.wait()
            log.warning("the local site's agent ended (%s); see %s", code, self.log_path)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, AGAIN_MOST_S)
            await self._spawn(await self._token())
