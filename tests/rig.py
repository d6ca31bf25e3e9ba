"""A real control plane and real agents as processes, to be killed, cut off and started again.

The benches measure the same grid (`bench/live.py`). Jobs of the tests tell what happens to them
by appending lines to a file of their own: the only witness of what truly ran, when, and under
which lease.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import sqlalchemy as sa
import yaml

from components.ports import reserve_ports
from suanwang.bootstrap import first_start, make_context
from suanwang.platform.migrations import load_tables
from suanwang.platform.settings import Settings
from suanwang.sim.auditor import audit_always, unsettled
from suanwang.tenancy import access
from suanwang.tenancy.model import system_principal
from suanwang.trade.billing import reports
from suanwang.trade.billing.store import usage

FINAL = ("succeeded", "failed", "cancelled", "refused")
PATIENCE_S = 90.0
SERVE = """
import sys, uvicorn, msgspec
from suanwang.bootstrap import make_app
from suanwang.platform.settings import Settings
settings = msgspec.json.decode(sys.argv[1].encode(), type=Settings)
uvicorn.run(make_app(settings), host=settings.host, port=settings.port, log_level="warning",
            access_log=False)
"""


def until(condition: Callable[[], Any], what: str = "", *, limit_s: float = PATIENCE_S) -> Any:
    """Polls, bounded; what the condition gave."""
    end = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {limit_s:g} s: {what or condition}"
        time.sleep(0.1)
    return found


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


@dataclass
class Line:
    """What a run wrote: a word, the machine's time in ms, and its lease."""

    word: str
    at_ms: int
    lease: str


def lines_of(path: Path) -> list[Line]:
    if not path.exists():
        return []
    rows = [row.split() for row in path.read_text().splitlines()]
    return [Line(row[0], int(row[1]) // 1_000_000, row[2]) for row in rows if len(row) == 3]


def telling(path: Path, then: str = "") -> str:
    """A script that says `start`, does something, and says `end`."""
    say = f'say() {{ echo "$1 $(date +%s%N) $SUAN_LEASE_ID" >>{path}; }}'
    return f"{say}\nsay start\n{then}\nsay end\n"


def beating(path: Path, finish: Path) -> str:
    """A script that says `beat` until the file `finish` is there."""
    return telling(path, f"while [ ! -e {finish} ]; do say beat; sleep 0.1; done")


def one_pool(cpus: float = 2, nodes: int = 1) -> dict[str, Any]:
    pool = {"name": "cpu", "cpus": cpus, "nodes": nodes, "memory_gib": 4, "disk_gib": 10}
    return {**pool, "isolation": "none", "limits": "none", "prices": {"core_hour": 1.0}}


class LiveSite:
    """A site's agent as a process; its runs and their warden outlive it."""

    def __init__(
        self, grid: LiveGrid, name: str, pools: list[dict[str, Any]], via: str, **config: Any
    ) -> None:
        self.grid = grid
        self.name = name
        self.state = grid.folder / name
        self.log = grid.folder / f"{name}.log"
        self.prefix: list[str] = []
        self.config = grid.folder / f"{name}.yaml"
        body = {"server": via, "state": str(self.state), "pools": pools, **config}
        self.config.write_text(yaml.safe_dump(body))
        self.agent: subprocess.Popen[bytes] | None = None

    def enrol(self) -> str:
        invited = self.grid.call("POST", "/v1/sites", {"name": self.name, "region": "henan"})
        return str(invited["enrolment_token"])

    def start(self, token: str = "", *, argv: Sequence[str] = ()) -> LiveSite:
        command = list(argv) or [sys.executable, "-m", "suanwang.agent"]
        command = [*self.prefix, *command, "--config", str(self.config)]
        self.agent = self.grid.spawn([*command, *(["--token", token] if token else [])], self.log)
        return self

    def ready(self) -> LiveSite:
        until(self._reachable, f"{self.name} is reachable")
        return self

    def _reachable(self) -> bool:
        assert self.agent is not None
        if self.agent.poll() is not None:
            raise AssertionError(self.log.read_text())
        return bool(self.view()["reachable"]) and bool(self.view()["pools"])

    def view(self) -> Any:
        return self.grid.call("GET", f"/v1/sites/{self.name}")

    def kill(self, number: int = signal.SIGKILL) -> None:
        assert self.agent is not None
        kill(self.agent.pid, number)
        self.agent.wait(PATIENCE_S)

    @property
    def warden_pids(self) -> list[int]:
        """The processes of the warden, not of its runs; the keeper first."""
        mark = os.fsencode(self.state / "process")
        return [pid for pid, words in _processes() if mark in words]

    def run_pids(self) -> list[int]:
        """Every process below a run's folder."""
        below = os.fsencode(self.state / "runs")
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit() and os.fsencode(os.readlink(entry / "cwd")).startswith(
                    below
                ):
                    found.append(int(entry.name))
        return sorted(found)


def _processes() -> Iterable[tuple[int, list[bytes]]]:
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit():
                yield int(entry.name), (entry / "cmdline").read_bytes().split(b"\0")


class LiveGrid:
    """`with LiveGrid(folder) as grid`: everything that it started ends with it."""

    HURRY: ClassVar[dict[str, Any]] = {
        "contact_every_ms": 2_000,
        "sweep_every_ms": 300,
        "preemption": False,
    }
    """So that a test does not wait for what an operator would not notice."""

    def __init__(self, folder: Path, *, host: str = "127.0.0.1", **settings: Any) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        given: dict[str, Any] = {
            "state": str(folder / "server"),
            "host": host,
            "port": reserve_ports(1, host)[0],
            "rate_limit_per_s": 0,
            "initial_credit_yuan": 1_000_000,
            **self.HURRY,
        }
        self.settings = Settings(**{**given, **settings})
        self.token = ""
        self.sites: list[LiveSite] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self.server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{self.settings.host}:{self.settings.port}"

    @property
    def address(self) -> tuple[str, int]:
        return self.settings.host, self.settings.port

    def __enter__(self) -> LiveGrid:
        self.token = asyncio.run(self._first())
        self.start_server()
        return self

    async def _first(self) -> str:
        """A token of the operator, on a new database or one that was filled before."""
        context = make_context(self.settings)
        made = await first_start(context)
        operator = replace(
            system_principal(made.organisation_id), user_id=made.admin_user_id, user_name="admin"
        )
        new = await context.database.write(
            lambda tx: access.issue_token(tx, operator, name=f"live-{time.time_ns()}")
        )
        await context.database.close()
        return new.secret

    def spawn(self, argv: list[str], log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as file:
            process = subprocess.Popen(
                argv, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )
        self._processes.append(process)
        return process

    def start_server(self) -> None:
        text = msgspec.json.encode(self.settings).decode()
        log = self.folder / "server.log"
        self.server = self.spawn([sys.executable, "-c", SERVE, text], log)
        until(self._answers, "the server answers")

    def _answers(self) -> bool:
        assert self.server is not None
        if self.server.poll() is not None:
            raise AssertionError((self.folder / "server.log").read_text())
        try:
            urllib.request.urlopen(f"{self.url}/readyz", timeout=2).close()
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except (OSError, http.client.HTTPException):
            return False
        return True

    def kill_server(self) -> None:
        assert self.server is not None
        kill(self.server.pid)
        self.server.wait(PATIENCE_S)

    def site(
        self, name: str, *, cpus: float = 2, nodes: int = 1, via: str = "", ready: bool = True
    ) -> LiveSite:
        """Enrolled, its agent running; `via` is the way to the server, if not the straight one."""
        return self.site_of(name, [one_pool(cpus, nodes)], via=via, ready=ready)

    def site_of(
        self, name: str, pools: list[dict[str, Any]], *, via: str = "", ready: bool = True
    ) -> LiveSite:
        """A site with these pools, as its agent's configuration says them."""
        made = LiveSite(self, name, pools, via or self.url)
        self.sites.append(made)
        made.start(made.enrol())
        return made.ready() if ready else made

    # --- users ----------------------------------------------------------------------------

    def call(self, method: str, path: str, body: Any = None, *, key: str | None = None) -> Any:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        if key is not None:
            headers["Idempotency-Key"] = key
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.url}{path}", method=method, data=data, headers=headers
        )
        with urllib.request.urlopen(request, timeout=120) as response:
            return json.loads(response.read())

    def insist(self, method: str, path: str, body: Any = None, *, key: str | None = None) -> Any:
        """As a client does: again until there is an answer."""

        def attempt() -> Any:
            try:
                return [self.call(method, path, body, key=key)]
            except urllib.error.HTTPError as error:
                if error.code < 500:
                    raise
                error.close()
            except (OSError, http.client.HTTPException):
                pass  # the server died before it answered, or in the middle of its answer
            return None

        return until(attempt, f"{method} {path}")[0]

    def submit(self, script: str, **fields: Any) -> str:
        spec = {"script": script, "max_runtime": 600, "resources": {"cpus": 1, "memory": "64MiB"}}
        key = f"{random.SystemRandom().getrandbits(64):x}"
        made = self.insist("POST", "/v1/jobs", {**spec, **fields}, key=key)
        return str(made["id"])

    def job(self, job_id: str) -> Any:
        return self.insist("GET", f"/v1/jobs/{job_id}")

    def state(self, job_id: str) -> str:
        return str(self.job(job_id)["state"])

    def leases(self, job_id: str) -> list[Any]:
        return [lease for task in self.job(job_id)["task_list"] for lease in task["leases"]]

    def until_state(self, job_id: str, *states: str, limit_s: float = PATIENCE_S) -> str:
        wanted = states or FINAL
        return str(
            until(
                lambda: (state := self.state(job_id)) in wanted and state,
                f"{job_id} is {' or '.join(wanted)}",
                limit_s=limit_s,
            )
        )

    def cancel(self, job_id: str) -> None:
        self.insist("POST", f"/v1/jobs/{job_id}/cancel")

    # --- the books ------------------------------------------------------------------------

    def read(self, query: Callable[[sa.Connection], Any]) -> Any:
        """Straight from the database's file, past the server."""
        load_tables()
        engine = sa.create_engine(self.settings.database_url)
        try:
            with engine.connect() as connection:
                return query(connection)
        finally:
            engine.dispose()

    def check_books(self) -> None:
        """Nothing is left open or held, each lease is charged once, the ledger follows."""
        until(lambda: not self.read(unsettled), f"all is settled: {self.read(unsettled)}")
        assert self.read(audit_always) == []
        assert self.read(reports.verify) == []
        assert self.read(_charged_twice) == []

    # --- the end --------------------------------------------------------------------------

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        for site in self.sites:
            for pid in [*site.warden_pids, *site.run_pids()]:
                kill(pid)


def _charged_twice(connection: sa.Connection) -> list[Any]:
    query = (
        sa.select(usage.c.lease_id, sa.func.count())
        .where(usage.c.final)
        .group_by(usage.c.lease_id)
        .having(sa.func.count() > 1)
    )
    return list(connection.execute(query))
