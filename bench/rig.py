"""A real control plane and real agents for benches: separate processes on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import yaml

from suanwang.bootstrap import first_start, make_context
from suanwang.platform.settings import Settings
from suanwang.tenancy import access
from suanwang.tenancy.model import system_principal

SERVE = """
import sys, uvicorn, msgspec
from suanwang.bootstrap import make_app
from suanwang.platform.settings import Settings
from suanwang.tenancy import access
from suanwang.tenancy.model import system_principal
settings = msgspec.json.decode(sys.argv[1].encode(), type=Settings)
uvicorn.run(make_app(settings), host=settings.host, port=settings.port, log_level="warning",
            access_log=False)
"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Rig:
    """Start with `with Rig(folder) as rig`; everything ends with it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.settings = Settings(
            state=str(folder / "server"),
            port=free_port(),
            rate_limit_per_s=0,
            initial_credit_yuan=1_000_000,
            **settings,
        )
        self.processes: list[subprocess.Popen[bytes]] = []
        self.token = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.port}"

    def __enter__(self) -> Rig:
        self.token = asyncio.run(self._first())
        text = msgspec.json.encode(self.settings).decode()
        self.server = self._spawn([sys.executable, "-c", SERVE, text], "server.log")
        self._until_ready()
        return self

    async def _first(self) -> str:
        """A token of the operator, on a new database or one that was filled before."""
        context = make_context(self.settings)
        made = await first_start(context)
        operator = replace(
            system_principal(made.organisation_id), user_id=made.admin_user_id, user_name="admin"
        )
        new = await context.database.write(
            lambda tx: access.issue_token(tx, operator, name=f"bench-{time.time_ns()}")
        )
        await context.database.close()
        return new.secret

    def _spawn(self, argv: list[str], log: str) -> subprocess.Popen[bytes]:
        with (self.folder / log).open("wb") as file:
            process = subprocess.Popen(
                argv, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )
        self.processes.append(process)
        return process

    def _until_ready(self) -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                urllib.request.urlopen(f"{self.url}/readyz", timeout=2)
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError((self.folder / "server.log").read_text())

    def add_site(self, name: str, pools: list[dict[str, Any]], **site: Any) -> None:
        invited = self.call("POST", "/v1/sites", {"name": name, "region": "henan", **site})
        config = self.folder / f"{name}.yaml"
        state = str(self.folder / name)
        config.write_text(yaml.safe_dump({"server": self.url, "state": state, "pools": pools}))
        argv = [sys.executable, "-m", "suanwang.agent", "--config", str(config)]
        self.agent = self._spawn([*argv, "--token", invited["enrolment_token"]], f"{name}.log")
        while not self.call("GET", f"/v1/sites/{name}")["reachable"]:
            if self.agent.poll() is not None:
                raise RuntimeError((self.folder / f"{name}.log").read_text())
            time.sleep(0.1)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            f"{self.url}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self.token}",
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=120) as response:
            return json.loads(response.read())

    def __exit__(self, *_: object) -> None:
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
