"""From `suan up` to ready, the idle server's memory, and how long `suan ls` takes.

The claims: ready in less than 3 s on an empty folder, less than 200 MB idle, `suan ls` in less
than 0.3 s. Measured beside them in the same run: the interpreter alone, which no command can
beat, and the interpreter with the libraries that any server of this kind loads. The peers'
figures are those measured on the reference machine (2 cores, 24 GiB, SQLite): SkyPilot 0.14.1
and dstack 0.22.5.

    python bench/startup.py [--starts 3] [--calls 20]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SUAN = (sys.executable, "-m", "suanwang.edge.cli.main")
LIBRARIES = "import alembic, fastapi, numpy, sqlalchemy, uvicorn"
PEERS = {
    "SkyPilot": {"ready_s": 7.3, "idle_mb": 360.0, "list_s": 3.9},
    "dstack": {"ready_s": 9.7, "idle_mb": 255.0, "list_s": 1.3},
}
LIMITS = {"ready_s": 3.0, "idle_mb": 200.0, "list_s": 0.3}
JOBS = 25
"""In the list that is asked for."""
SETTLE_S = 3.0


def wall_s(words: Sequence[str], environment: dict[str, str]) -> float:
    start_s = time.perf_counter()
    subprocess.run(words, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start_s


def resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("the process has no memory")


class Server:
    """`suan up` in a folder, until `stop`."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        start_s = time.perf_counter()
        words = [*SUAN, "up", "--port", "0", "--state", str(folder / "state"), "--json"]
        self.process = subprocess.Popen(
            words, env=environment, stdout=subprocess.PIPE, text=True, cwd=folder
        )
        assert self.process.stdout is not None
        self.told: dict[str, Any] = json.loads(self.process.stdout.readline())
        self.ready_s = time.perf_counter() - start_s
        times = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").split()[13:15]
        self.cpu_s = sum(map(int, times)) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def environment_for(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SUAN_")}
    return {**kept, "SUAN_CONFIG": str(folder / "config.yaml"), "SUAN_LANG": "en"}


def starts(times: int, root: Path) -> list[tuple[float, float]]:
    """Each on an empty folder, migrations, first user and all: (seconds to ready, of processor)."""
    found = []
    for number in range(times):
        folder = root / str(number)
        folder.mkdir()
        server = Server(folder, environment_for(folder))
        found.append((server.ready_s, server.cpu_s))
        server.stop()
    return found


def measure(times: int, calls: int, root: Path) -> dict[str, Any]:
    environment = environment_for(root)
    bare = [wall_s([sys.executable, "-c", "pass"], environment) for _ in range(calls)]
    libraries = [wall_s([sys.executable, "-c", LIBRARIES], environment) for _ in range(times)]
    ready = starts(times, root)
    server = Server(root, environment)
    try:
        for number in range(JOBS):
            words = [*SUAN, "run", "--json", "--name", f"job {number}", "--", "true"]
            subprocess.run(words, env=environment, stdout=subprocess.DEVNULL, check=True)
        listed = [wall_s([*SUAN, "ls"], environment) for _ in range(calls)]
        time.sleep(SETTLE_S)
        idle = resident_mb(server.process.pid)
    finally:
        server.stop()
    return {
        "ready_s": min(ready)[0],
        "ready_median_s": statistics.median(wall for wall, _ in ready),
        "ready_cpu_s": min(cpu for _, cpu in ready),
        "idle_mb": idle,
        "list_s": min(listed),
        "list_median_s": statistics.median(listed),
        "interpreter_s": min(bare),
        "libraries_s": min(libraries),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--calls", type=int, default=20)
    args = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="suan-startup-"))
    try:
        found = measure(args.starts, args.calls, root)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(
        f"ready on an empty folder   {found['ready_s']:.2f} s, {found['ready_cpu_s']:.2f} s of "
        f"processor; loading the libraries alone takes {found['libraries_s']:.2f} s"
    )
    print(f"idle server                {found['idle_mb']:.0f} MB")
    print(
        f"suan ls                    {found['list_s']:.3f} s; the interpreter alone takes "
        f"{found['interpreter_s']:.3f} s"
    )
    ratios = {
        peer: {name: round(value / found[name], 1) for name, value in figures.items()}
        for peer, figures in PEERS.items()
    }
    for peer, by in ratios.items():
        print(
            f"{peer} as published: {by['ready_s']}x as long to ready, {by['idle_mb']}x the memory, "
            f"{by['list_s']}x as long to list"
        )
    kept = {name: found[name] < limit for name, limit in LIMITS.items()}
    figures = {name: round(value, 3) for name, value in found.items()}
    line = {
        "bench": "startup",
        **figures,
        "within_limits": kept,
        "peers_over_ours": ratios,
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
    }
    print(json.dumps(line))
    if not all(kept.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
