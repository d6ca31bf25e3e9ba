"""List and show under 32 connections with 100,000 jobs stored; wrk drives, one core each.

    python bench/api.py [--jobs 100000] [--seconds 5]

The peer's figure is published (dstack 0.22: 280 to 330 requests/s for its lists on such a
machine); the limit is /healthz of the same server, which touches neither tokens nor database.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import sqlalchemy as sa

from live import Live
from suanwang.bootstrap import first_start, make_context
from suanwang.grid.jobs import submission
from suanwang.grid.jobs.spec import JobSpec
from suanwang.platform.settings import Settings

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
    await context.database.close()
    return ids[len(ids) // 2]


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
        with grid:
            paths = {
                "list_20": "/v1/jobs?limit=20",
                "list_50": "/v1/jobs?limit=50",
                "show": f"/v1/jobs/{middle}",
                "limit": "/healthz",
            }
            figures = {}
            for name, path in paths.items():
                rate, p99 = requests_per_s(grid.url + path, grid.token, args.seconds)
                figures[name] = round(rate)
                print(f"{name}: {rate:.0f} requests/s, p99 {p99:.1f} ms")
    finally:
        shutil.rmtree(base, ignore_errors=True)
    result = {
        "bench": "api",
        "jobs": args.jobs,
        **{f"{name}_per_s": rate for name, rate in figures.items()},
        "list_ratio_to_peer": round(figures["list_20"] / PEER_PER_S, 1),
        "show_ratio_to_peer": round(figures["show"] / PEER_PER_S, 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
