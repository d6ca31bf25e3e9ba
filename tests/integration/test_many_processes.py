"""Three processes of the control plane over one PostgreSQL, an agent, and things that die."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from components.front import Front
from components.lacking import lacking
from components.ports import reserve_ports
from components.postgres import PostgresServer, binaries
from rig import SERVE, LiveGrid, beating, kill, lines_of, telling, until
from suanwang.platform.leader import leaderships
from suanwang.platform.settings import Settings

pytestmark = [pytest.mark.postgres, pytest.mark.xdist_group("many-processes")]


@pytest.fixture(params=["wheel", pytest.param("debian", marks=pytest.mark.heavy)])
def server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    found = binaries().get(request.param)
    if found is None:
        lacking(f"no PostgreSQL of kind {request.param}")
    with PostgresServer(found) as made:
        yield made


class ManyProcesses(LiveGrid):
    """As LiveGrid, with several servers behind a front that users and agents speak to."""

    def __init__(self, folder: Path, database: str, count: int = 3) -> None:
        super().__init__(folder, database=database)
        self.ports = reserve_ports(count)
        self.servers: dict[int, Any] = {}
        self.users: list[threading.Thread] = []
        self.front = Front([("127.0.0.1", port) for port in self.ports], seed=7)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.front.port}"

    def start_server(self) -> None:
        for port in self.ports:
            self.start_process(port)
        until(self._answers, "a server answers")

    def start_process(self, port: int) -> None:
        values = msgspec.structs.asdict(self.settings) | {"port": port}
        text = msgspec.json.encode(Settings(**values)).decode()
        argv = [sys.executable, "-c", SERVE, text]
        self.server = self.servers[port] = self.spawn(argv, self.folder / "server.log")

    def leader(self) -> int | None:
        """The leader's process id, once somebody leads."""
        row = self.read(lambda conn: conn.execute(sa.select(leaderships)).first())
        if row is None or not row.holder:
            return None
        pid = int(row.holder.split(":")[1])
        return pid if any(one.pid == pid for one in self.servers.values()) else None

    def kill_pid(self, pid: int) -> int:
        """Kill -9; the port that it had."""
        (port,) = [port for port, one in self.servers.items() if one.pid == pid]
        kill(pid)
        self.servers[port].wait(30)
        return port

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self.front.close()


HELD = 4
"""So many jobs run until they are let go, through all that happens meanwhile."""


def _jobs(grid: ManyProcesses, seen: Path, count: int) -> dict[str, str]:
    """Submitted by four users at the same time; each run writes a file of its own."""
    seen.mkdir()
    jobs: dict[str, str] = {}

    def submit(numbers: range) -> None:
        for number in numbers:
            name = f"j{number}"
            held = number < HELD
            script = beating(seen / name, grid.folder / "go") if held else telling(seen / name)
            jobs[name] = grid.submit(script, name=name)

    grid.users = [
        threading.Thread(target=submit, args=(range(i, count, 4),), daemon=True) for i in range(4)
    ]
    for user in grid.users:
        user.start()
    begun = [seen / f"j{number}" for number in range(HELD)]
    until(lambda: all(path.exists() for path in begun), "work has begun", limit_s=240)
    return jobs


def _each_ran_once(grid: ManyProcesses, seen: Path, jobs: dict[str, str], count: int) -> None:
    (grid.folder / "go").touch()
    for user in grid.users:
        user.join()
    assert len(jobs) == count
    for name, job_id in jobs.items():
        assert grid.until_state(job_id, limit_s=240) == "succeeded", grid.job(job_id)
        words = [line.word for line in lines_of(seen / name) if line.word != "beat"]
        assert words == ["start", "end"], name
    grid.check_books()


def _begun(seen: Path, count: int) -> None:
    until(lambda: len(list(seen.iterdir())) >= count, f"{count} runs have begun", limit_s=240)


@pytest.mark.parametrize("count", [24, pytest.param(300, marks=pytest.mark.heavy)])
def test_jobs_through_three_processes_while_the_leader_and_another_die(
    server: PostgresServer, tmp_path: Path, count: int
) -> None:
    with ManyProcesses(tmp_path, server.url) as grid:
        grid.site("near", cpus=8, nodes=2)
        seen = tmp_path / "seen"
        jobs = _jobs(grid, seen, count)
        _begun(seen, count // 6)
        first = until(grid.leader, "somebody leads")
        grid.kill_pid(first)
        second = until(lambda: (pid := grid.leader()) not in (None, first) and pid, "a successor")
        _begun(seen, count // 3)
        other = random.Random(5).choice(
            [one.pid for one in grid.servers.values() if one.poll() is None and one.pid != second]
        )
        port = grid.kill_pid(other)
        grid.start_process(port)
        _each_ran_once(grid, seen, jobs, count)


@pytest.mark.parametrize("count", [12, pytest.param(120, marks=pytest.mark.heavy)])
def test_the_database_restarted_hard_under_load_loses_nothing(
    server: PostgresServer, tmp_path: Path, count: int
) -> None:
    with ManyProcesses(tmp_path, server.url, count=2) as grid:
        grid.site("near", cpus=8, nodes=2)
        seen = tmp_path / "seen"
        jobs = _jobs(grid, seen, count)
        for part in (6, 3, 2):
            _begun(seen, count // part)
            server.restart()
        _each_ran_once(grid, seen, jobs, count)
