"""What `suan up` runs: the control plane of one process behind uvicorn, ready when it says so."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import uvicorn
from fastapi import FastAPI

from suanwang.bootstrap import make_app
from suanwang.edge.local_site import LocalSite
from suanwang.kernel.errors import InvalidInput
from suanwang.platform.settings import Settings, load_settings
from suanwang.tenancy.model import Bootstrap

log = logging.getLogger("suanwang.server")
GRACE_S = 2
"""Open long polls and streams are cut after so long; their clients come back by themselves."""

FIRST_HEARD_S = 20.0


@dataclass(frozen=True, slots=True)
class Ready:
    """What is told once the server answers. `first` is set on the first start only."""

    address: str
    settings: Settings
    first: Bootstrap | None


class _Server(uvicorn.Server):
    """Signals are taken by `run`, so that the local site's agent is stopped as well."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def settings_of(
    file: Path | None,
    state: str | None,
    host: str | None,
    port: int | None,
    rehearsal: bool | None = None,
) -> Settings:
    """Defaults, then the file, then SUAN_* variables, then what the command line says."""
    return load_settings(file, state=state, host=host, port=port, rehearsal=rehearsal)


def listen(settings: Settings) -> tuple[socket.socket, Settings]:
    """The open socket; port 0 becomes the one that the system gave."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((settings.host, settings.port))
    except OSError as error:
        opened.close()
        raise InvalidInput(
            "AddressTaken",
            f"Nothing can listen at {settings.host}:{settings.port}: {error.strerror}.",
            hint="Is `suan up` running there already? Choose another with --port.",
            field="port",
        ) from error
    opened.listen(2048)
    opened.set_inheritable(False)
    return opened, msgspec.structs.replace(settings, port=opened.getsockname()[1])


def run(settings: Settings, *, local_site: bool, on_ready: Callable[[Ready], None]) -> None:
    """Serve until SIGINT or SIGTERM. A second signal does not wait for open connections."""
    opened, settings = listen(settings)
    made: list[Bootstrap] = []
    app = make_app(settings, on_first_start=made.append)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    server = _Server(config)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(server, opened, app, settings, made, local_site, on_ready))


async def _serve(
    server: _Server,
    opened: socket.socket,
    app: FastAPI,
    settings: Settings,
    made: list[Bootstrap],
    local_site: bool,
    on_ready: Callable[[Ready], None],
) -> None:
    told_to_stop = asyncio.Event()

    def stop() -> None:
        server.force_exit = told_to_stop.is_set()
        told_to_stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    serving = asyncio.create_task(server.serve(sockets=[opened]))
    ending = asyncio.create_task(told_to_stop.wait())
    site = LocalSite(app, settings) if local_site else None
    try:
        await _until(lambda: server.started, serving)
        if server.started and site is not None:
            await site.start()
            await _first_heard(site, serving)
        # what is loaded now lives as long as the process: no collection need look through it again
        gc.freeze()
        gc.enable()
        if server.started and not told_to_stop.is_set():
            first = made[0] if made and made[0].created else None
            on_ready(Ready(settings.base_url, settings, first))
        await asyncio.wait((serving, ending), return_when=asyncio.FIRST_COMPLETED)
    finally:
        ending.cancel()
        if site is not None:
            await site.stop()  # first, or its long polls would be cut
        # polls of other agents are cut; their agents come back by themselves
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        server.should_exit = True
    await serving


async def _first_heard(site: LocalSite, serving: asyncio.Task[None]) -> None:
    try:
        await asyncio.wait_for(_until(site.is_reachable, serving), FIRST_HEARD_S)
    except TimeoutError:
        log.warning("the local site's agent has not come yet; see %s", site.log_path)


async def _until(
    holds: Callable[[], bool] | Callable[[], Awaitable[bool]], serving: asyncio.Task[None]
) -> None:
    """Look every few milliseconds until it holds or the server has ended."""
    while not serving.done():
        answer = holds()
        if answer if isinstance(answer, bool) else await answer:
            return
        await asyncio.sleep(0.02)
