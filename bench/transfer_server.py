"""The server's end of the transfer bench: the blob routes, open to everybody.

python bench/transfer_server.py FOLDER        prints its port
"""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request
from sqlalchemy.engine import Connection

from suanwang.edge.api import problems, routes_blobs
from suanwang.edge.api.auth import current_principal
from suanwang.edge.api.routes_agent_blobs import AgentBlobRoutes
from suanwang.grid.data.depot import Depot
from suanwang.platform.blobs_folder import FolderBlobs
from suanwang.platform.clock import SystemClock, SystemRandom
from suanwang.platform.database import SqliteDatabase
from suanwang.platform.schema import metadata
from suanwang.tenancy.model import ALL_SCOPES, Principal, Role


class AnyLease:
    def owner_of_lease(self, conn: Connection, site_id: str, lease_id: str) -> str:
        return "org"

    def may_read(self, conn: Connection, site_id: str, digest: str) -> bool:
        return True


async def anybody(request: Request) -> Principal:
    return Principal("user", "user", "org", Role.MEMBER, (), ALL_SCOPES, "token")


async def any_site(request: Request) -> str:
    return "site"


class Server(uvicorn.Server):
    """Tells its port once it listens."""

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        await super().startup()
        print(self.servers[0].sockets[0].getsockname()[1], flush=True)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    database = SqliteDatabase(f"sqlite:///{folder / 'suan.db'}", SystemClock(), SystemRandom())
    metadata.create_all(database.engine)
    app = FastAPI()
    problems.install(app)
    app.state.depot = Depot(database, FolderBlobs(folder / "blobs"))
    app.include_router(routes_blobs.router)
    app.routes.extend(AgentBlobRoutes(app.state.depot, any_site, AnyLease()).routes())
    app.dependency_overrides[current_principal] = anybody
    Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off")).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
