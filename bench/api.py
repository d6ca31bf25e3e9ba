"""List and show under 32 connections with 100,000 jobs stored, each with the run that ended it;
wrk drives, one core each.

    python bench/api.py [--jobs 100000] [--seconds 5]

The peer's figure is published (dstack 0.22: 280 to 330 requests/s for its lists on such a
machine). Measured beside them in the same run, because a busy machine changes all of them alike:
/healthz of the same server, which touches neither tokens nor database, and a bare FastAPI
application with one route. The processor time of the server for each request tells what a core
of its own would give.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from live import Live, cpu_seconds, reserve_ports
from suanwang.bootstrap import first_start, make_context
from suanwang.grid.jobs import submission
from suanwang.grid.jobs.spec import JobSpec
from suanwang.grid.jobs.tables import leases, tasks
from suanwang.platform.settings import Settings
from suanwang.protocol.messages import Meters

PEER_PER_S = 330


async def fill(settings: Settings, jobs: int) -> str:
    """Finished jobs; returns the id of one in the middle."""
    context = make_context(settings)
    made = await first_start(context)
    owner = submission.Owner(made.organisation_id, made.project_id, made.admin_user_id)
    spec = JobSpec(name="stored", argv=["/bin/true"])
    ids: list[str] = []
    for start in range(0, jobs, 10_000):
        count = min(10_000, jobs - start)
        ids += await context.database.write(
            lambda tx, n=count: submission.submit(tx, [owner] * n, [spec] * n, context.secrets.seal)
        )
    finished = "UPDATE jobs SET state='succeeded', queued=0, succeeded=1, ended_at_ms=created_at_ms"
    await context.database.write(lambda tx: tx.conn.execute(sa.text(finished)))
    ended = "UPDATE tasks SET state='succeeded', ended_at_ms=queued_at_ms, exit_code=0"
    await context.database.write(lambda tx: tx.conn.execute(sa.text(ended)))
    await context.database.write(lambda tx: tx.conn.execute(runs()))
    await context.database.close()
    return ids[len(ids) // 2]


def runs() -> sa.Insert:
    """One ended lease for each task."""
    name = sa.func.replace(tasks.c.id, "task_", "lease_")
    of_task = {"id": name, "task_id": tasks.c.id, "epoch": 1, "members": 1, "state": "ended"}
    of_task |= {"outcome": "succeeded", "failure": "none", "exit_code": 0, "nodes": ["node-1"]}
    of_task |= {"site_id": "site_bench", "pool_id": "pool_bench", "node_members": [("node-1", 1)]}
    of_task |= {"score": {"time": 0.5, "price": 0.5}, "meters": Meters(), "outputs": []}
    columns = []
    for column in leases.c:
        value = of_task.get(column.name)
        if value is None and column.name in tasks.c and column.name != "lease_id":
            value = tasks.c[column.name]
        elif value is None and column.name.endswith("_at_ms") and column.name != "lost_at_ms":
            value = tasks.c.queued_at_ms
        elif value is None and not column.nullable:
            value = "" if isinstance(column.type, sa.String) else 0
        if not isinstance(value, sa.ColumnElement):
            value = sa.literal(value, type_=column.type)
        columns.append(value)
    return sa.insert(leases).from_select([column.name for column in leases.c], sa.select(*columns))


BARE = """
import sys, uvicorn
from fastapi import FastAPI
app = FastAPI()
@app.get("/healthz")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
"""


@contextlib.contextmanager
def bare() -> Iterator[tuple[str, int]]:
    """(address, process id) of an application that does nothing."""
    [port] = reserve_ports(1)
    process = subprocess.Popen([sys.executable, "-c", BARE, str(port)])
    try:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait()


def cost_us(pid: int, before_s: float, requests: float) -> float:
    return (cpu_seconds(pid) - before_s) / requests * 1e6


def requests_per_s(url: str, token: str, seconds: int) -> tuple[float, float]:
    """(requests a second, 99th percentile in ms); raises if any answer was not 200."""
    header = f"Authorization: Bearer {token}"
    argv = ["wrk", "-t1", "-c32", f"-d{seconds}s", "--latency", "-H", header, url]
    text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text:
        raise RuntimeError(text)
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))  # type: ignore[union-attr]
    found = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    scale = {"us": 0.001, "ms": 1.0, "s": 1000.0}
    return rate, float(found.group(1)) * scale[found.group(2)] if found else 0.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--seconds", type=int, default=5)
    args = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="suan-bench-api-"))
    grid = Live(base)
    try:
        middle = asyncio.run(fill(grid.settings, args.jobs))
        with grid, bare() as (bare_url, bare_pid):
            assert grid.server is not None
            ours = grid.server.pid
            asked = {
                "list_20": (ours, f"{grid.url}/v1/jobs?limit=20"),
                "list_50": (ours, f"{grid.url}/v1/jobs?limit=50"),
                "show": (ours, f"{grid.url}/v1/jobs/{middle}"),
                "limit": (ours, f"{grid.url}/healthz"),
                "bare": (bare_pid, f"{bare_url}/healthz"),
            }
            figures: dict[str, int] = {}
            costs: dict[str, int] = {}
            for name, (pid, url) in asked.items():
                before_s = cpu_seconds(pid)
                rate, p99 = requests_per_s(url, grid.token, args.seconds)
                figures[name] = round(rate)
                costs[name] = round(cost_us(pid, before_s, rate * args.seconds))
                print(
                    f"{name}: {rate:.0f} requests/s, p99 {p99:.1f} ms, "
                    f"{costs[name]} us of the server's processor each"
                )
    finally:
        shutil.rmtree(base, ignore_errors=True)
    result = {
        "bench": "api",
        "jobs": args.jobs,
        **{f"{name}_per_s": rate for name, rate in figures.items()},
        **{f"{name}_processor_us": cost for name, cost in costs.items()},
        "load": os.getloadavg()[0],
        "list_ratio_to_peer": round(figures["list_20"] / PEER_PER_S, 1),
        "show_ratio_to_peer": round(figures["show"] / PEER_PER_S, 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
