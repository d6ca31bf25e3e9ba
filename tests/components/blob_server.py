"""A real HTTP server of the blob routes over a real store, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from sqlalchemy.engine import Connection
from starlette.requests import Request

from suanwang.edge.api import problems, routes_blobs
from suanwang.edge.api.auth import current_principal
from suanwang.edge.api.routes_agent_blobs import AgentBlobRoutes
from suanwang.grid.data.depot import Depot
from suanwang.grid.data.model import Limits
from suanwang.kernel.errors import Forbidden, Unauthenticated
from suanwang.platform.blobs import BlobStore
from suanwang.platform.blobs_folder import FolderBlobs
from suanwang.platform.clock import SystemClock, SystemRandom
from suanwang.platform.database import SqliteDatabase
from suanwang.tenancy.model import ALL_SCOPES, Principal, Role
from tables import fill


@dataclass
class Leases:
    """Stands for the jobs context: which leases are open, of whom, naming what."""

    owners: dict[tuple[str, str], str] = field(default_factory=dict)
    """(site, lease) → organisation."""
    named: dict[str, set[str]] = field(default_factory=dict)
    """Site → digests that its open leases name."""

    def owner_of_lease(self, conn: Connection, site_id: str, lease_id: str) -> str:
        try:
            return self.owners[(site_id, lease_id)]
        except KeyError:
            raise Forbidden("LeaseUnknown", "No such lease is open at this site.") from None

    def may_read(self, conn: Connection, site_id: str, digest: str) -> bool:
        return digest in self.named.get(site_id, set())


@dataclass
class BlobServer:
    """Tokens: `user-ORGANISATION` and `site-SITE`."""

    url: str
    database: SqliteDatabase
    blobs: BlobStore
    depot: Depot
    leases: Leases


async def _principal(request: Request) -> Principal:
    name = request.headers.get("authorization", "").removeprefix("Bearer user-")
    if not name or " " in name:
        raise Unauthenticated("NotSignedIn", "Who are you?")
    return Principal("user_1", "ming", name, Role.MEMBER, ("p",), ALL_SCOPES, "token")


async def _site(request: Request) -> str:
    name = request.headers.get("authorization", "").removeprefix("Bearer site-")
    if not name or " " in name:
        raise Unauthenticated("CredentialMissing", "Which site are you?")
    return name


@contextmanager
def blob_server(
    folder: Path, *, limits: Limits | None = None, blobs: BlobStore | None = None
) -> Iterator[BlobServer]:
    """The server listens on a free port of 127.0.0.1 until the end of the block."""
    database = SqliteDatabase(f"sqlite:///{folder / 'suan.db'}", SystemClock(), SystemRandom())
    fill(database.engine)
    store = blobs or FolderBlobs(folder / "store", durable=False, threads=4)
    depot = Depot(database, store, limits)
    leases = Leases()
    app = FastAPI()
    problems.install(app)
    app.state.depot = depot
    app.include_router(routes_blobs.router)
    app.routes.extend(AgentBlobRoutes(depot, _site, leases).routes())
    app.dependency_overrides[current_principal] = _principal
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    started = threading.Event()
    startup = server.startup

    async def note_start(sockets: list[object] | None = None) -> None:
        await startup()
        started.set()

    server.startup = note_start  # type: ignore[method-assign,assignment]
    thread.start()
    assert started.wait(90), "the server did not start"
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield BlobServer(f"http://127.0.0.1:{port}", database, store, depot, leases)
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(10)
        asyncio.run(database.close())
