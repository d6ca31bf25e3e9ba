"""What a run costs: a bare posix_spawn-and-wait loop beside the process driver, start to ended.

    python bench/spawn.py [--runs 2000] [--rounds 3] [--batch 50]

Both run /bin/true with the same locale. The bare loop is the limit: it makes a process, waits for
it, and does nothing else. "bare x2" is two such loops side by side, which is what two cores can
make at most. The driver answers for everything between `start` and the observation of the end:
records on disk, sockets, the agent's event loop, forgetting. Rounds alternate, the best of each
counts, and the last line is JSON. Rates suffer from whatever else the machine does; processor
time per run does less.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from suanwang.agent.config import PoolConfig
from suanwang.agent.drivers.process.driver import ProcessDriver
from suanwang.agent.machine import Machine
from suanwang.agent.port import PreparedRun
from suanwang.protocol.messages import FailureClass, Phase, Quantity, RunSpec

Figure = tuple[float, float]
_BARE = """
import os, sys, time
n, started = int(sys.argv[1]), time.perf_counter()
for _ in range(n):
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {"LANG": "C.UTF-8"}), 0)
print(n / (time.perf_counter() - started))
"""


def bare(runs: int, side_by_side: int = 1) -> Figure:
    """Processes per second, all loops together, and the processor time of one in µs."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    argv = [sys.executable, "-I", "-S", "-c", _BARE, str(runs)]
    loops = [subprocess.Popen(argv, stdout=subprocess.PIPE) for _ in range(side_by_side)]
    rate = sum(float(loop.communicate()[0]) for loop in loops)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return rate, spent * 1e6 / (runs * side_by_side)


async def driver(runs: int, batch: int, isolation: str, limits: str) -> Figure:
    """Runs per second from the first `start` to the last end, forgotten; processor time of one.

    The processor time is that of the agent, the warden and the runs themselves, in µs.
    """
    folder = Path(tempfile.mkdtemp(prefix="suan-bench-"))
    pool = PoolConfig(name="p", isolation=isolation, limits=limits)
    made = ProcessDriver(folder / "state", [pool], Machine(), linger_s=0.0)
    await made.open()
    prepared = [_prepare(folder, index) for index in range(runs)]
    before = time.process_time() + _tree_seconds(made._link.warden_pid)
    started = time.perf_counter()
    feeding = asyncio.ensure_future(_feed(made, prepared, batch))
    ended = 0
    while ended < runs:
        for seen in await made.changes(10.0):
            if seen.phase is Phase.ENDED:
                assert seen.failure is FailureClass.NONE, seen
                ended += 1
                await made.forget(seen.lease_id)
    await feeding
    took = time.perf_counter() - started
    spent = time.process_time() + _tree_seconds(made._link.warden_pid) - before
    await made.close()
    shutil.rmtree(folder, ignore_errors=True)
    return runs / took, spent * 1e6 / runs


def _tree_seconds(pid: int) -> float:
    """Processor time of a process and of all its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


async def _feed(made: ProcessDriver, prepared: list[PreparedRun], batch: int) -> None:
    """Two batches under way at any time, as an agent with a backlog of orders would."""
    queue = [prepared[at : at + batch] for at in range(0, len(prepared), batch)]

    async def feed() -> None:
        while queue:
            await made.start(queue.pop(0))

    await asyncio.gather(feed(), feed())


def _prepare(folder: Path, index: int) -> PreparedRun:
    home = folder / "state" / "runs" / f"r{index}"
    (home / "work").mkdir(parents=True)
    spec = RunSpec(
        lease_id=f"r{index}",
        epoch=1,
        task_id="t",
        job_id="j",
        job_name="bench",
        pool="p",
        command=["/bin/true"],
        member_quantity=Quantity(cpu_milli=100, memory_mib=64),
    )
    return PreparedRun(spec, home)


def main() -> None:
    parser = argparse.ArgumentParser(description="Spawn cost: bare loop, driver.")
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=50)
    given = parser.parse_args()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    best: dict[str, float] = {}
    cost: dict[str, float] = {}
    kinds = {"plain": ("none", "none"), "limits": ("none", "cgroup")}
    if shutil.which("bwrap"):
        kinds |= {"sandbox": ("bubblewrap", "none"), "sandbox+limits": ("bubblewrap", "cgroup")}
    for _ in range(given.rounds):
        figures = {"bare": bare(given.runs), "bare x2": bare(given.runs, 2)}
        for name, (isolation, limits) in kinds.items():
            count = given.runs if isolation == "none" else given.runs // 4
            figures[name] = asyncio.run(driver(count, given.batch, isolation, limits))
        for name, (rate, spent) in figures.items():
            best[name] = max(best.get(name, 0.0), rate)
            cost[name] = min(cost.get(name, spent), spent)
            print(f"{name:>16} {rate:8.0f} /s {spent:8.0f} us of processor time each", flush=True)
    result = {
        "bench": "spawn",
        "per_second": {name: round(figure) for name, figure in best.items()},
        "cpu_us_each": {name: round(figure) for name, figure in cost.items()},
        "plain_of_bare": round(best["plain"] / best["bare"], 3),
        "plain_cpu_of_bare": round(cost["plain"] / cost["bare"], 2),
        "cores": len(os.sched_getaffinity(0)),
        "load": [round(x, 1) for x in os.getloadavg()],
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
