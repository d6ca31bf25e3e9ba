"""5,000 x /bin/true as separate jobs: submit → lease → process → usage → charge, beside HyperQueue.

    python bench/end_to_end.py [--jobs 5000] [--rounds 3]

Ours: one server process (SQLite, every step committed to disk) and one agent process; the clock
runs from the first byte of the submission until the last job is charged in the ledger. The peer:
HyperQueue's LocalCluster (server and worker) with 5,000 tasks, no journal. The limit: a bare
posix_spawn and wait loop. Rounds are interleaved; the median ratio counts.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import sqlalchemy as sa

from live import Live, cpu_seconds


def ours(jobs: int, folder: Path) -> tuple[float, dict[str, float]]:
    pool = {
        "name": "cpu",
        "cpus": 64,
        "memory_gib": 64,
        "isolation": "none",
        "limits": "none",
        "prices": {"core_hour": 0.1},
    }
    with Live(folder) as grid:
        site = grid.site_of("bench", [pool])
        assert grid.server is not None
        assert site.agent is not None
        spec = {"name": "true", "argv": ["/bin/true"], "max_runtime": 60}
        spec["resources"] = {"cpus": 1, "memory": "16MiB"}
        server, agent = cpu_seconds(grid.server.pid), cpu_seconds(site.agent.pid)
        started = time.perf_counter()
        grid.call("POST", "/v1/jobs/batch", {"jobs": [spec] * jobs})
        submitted = time.perf_counter() - started
        wait_charged(Path(grid.settings.state) / "suanwang.db", jobs)
        seconds = time.perf_counter() - started
        usage = {
            "submit_s": round(submitted, 3),
            "server_cpu_us_per_job": 1e6 * (cpu_seconds(grid.server.pid) - server) / jobs,
            "agent_cpu_us_per_job": 1e6 * (cpu_seconds(site.agent.pid) - agent) / jobs,
        }
        check(grid, jobs)
    return seconds, usage


def wait_charged(database: Path, jobs: int) -> None:
    """Every job has its charge; asked of the file, so that the server is not slowed by it."""
    engine = sa.create_engine(f"sqlite:///file:{database}?mode=ro&uri=true")
    while True:
        with engine.connect() as conn:
            if conn.execute(sa.text("SELECT count(*) FROM charges")).scalar() == jobs:
                return
        time.sleep(0.05)


def check(grid: Live, jobs: int) -> None:
    """Nothing is held, and each job paid for a second of a core at 0.1 yuan an hour.

    That is 27.8 micro-yuan, booked as 28; a run shorter than a millisecond has no length and
    costs nothing.
    """
    account = grid.call("GET", "/v1/projects/default/account")
    assert account["held"]["micro_yuan"] == 0, account
    amounts = grid.read(
        lambda conn: conn.execute(sa.text("SELECT amount FROM charges")).scalars().all()
    )
    assert len(amounts) == jobs
    assert set(amounts) <= {0, 28}, set(amounts)
    assert account["balance"]["micro_yuan"] == -sum(amounts), account
    assert sum(amounts) > 27 * jobs, "most runs have a length"


def hyperqueue(jobs: int, folder: Path) -> float:
    from hyperqueue import Job, LocalCluster
    from hyperqueue.cluster import WorkerConfig

    folder.mkdir(parents=True)
    with LocalCluster() as cluster:
        cluster.start_worker(WorkerConfig(cores=os.cpu_count() or 2))
        client = cluster.client()
        work = Job(default_workdir=folder)
        for _ in range(jobs):
            work.program(["/bin/true"], stdout=None, stderr=None)
        started = time.perf_counter()
        client.wait_for_jobs([client.submit(work)])
        return time.perf_counter() - started


def bare_spawn(jobs: int) -> float:
    started = time.perf_counter()
    for _ in range(jobs):
        os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="suan-bench-"))
    rows = []
    try:
        for number in range(args.rounds):
            seconds, usage = ours(args.jobs, base / f"ours{number}")
            peer = hyperqueue(args.jobs, base / f"hq{number}")
            limit = bare_spawn(args.jobs)
            rows.append((seconds, peer, limit, usage))
            rates = [round(args.jobs / value, 1) for value in (seconds, peer, limit)]
            print(f"round {number}: ours {rates[0]}/s, HyperQueue {rates[1]}/s, spawn {rates[2]}/s")
            print(f"  {usage}")
    finally:
        shutil.rmtree(base, ignore_errors=True)
    result = {
        "bench": "end_to_end",
        "jobs": args.jobs,
        "ours_per_s": round(statistics.median(args.jobs / row[0] for row in rows), 1),
        "hyperqueue_per_s": round(statistics.median(args.jobs / row[1] for row in rows), 1),
        "bare_spawn_per_s": round(statistics.median(args.jobs / row[2] for row in rows), 1),
        "ratio_to_hyperqueue": round(statistics.median(row[1] / row[0] for row in rows), 3),
        "ratio_to_limit": round(statistics.median(row[2] / row[0] for row in rows), 3),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
