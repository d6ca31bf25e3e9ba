"""What the portal's tests drive: a served control plane and real agents.

`Plane` serves `make_app` on a free port. `spawn_agent` starts a real agent process with the
process driver. `Stage` runs real agent hosts over a driver whose machines are pretended, so that
pages can be looked at with a grid of three cities and dozens of jobs in every state.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
import yaml
from fastapi import FastAPI

from components.ports import reserve_ports
from suanwang.agent.host import AgentHost
from suanwang.agent.link import HttpLink, open_http
from suanwang.agent.port import Observation, PreparedRun
from suanwang.agent.records import FolderRecords
from suanwang.bootstrap import first_start, make_app
from suanwang.edge.api.context import Context
from suanwang.platform.database import Tx
from suanwang.platform.settings import Oidc, Settings
from suanwang.protocol.messages import (
    AcceleratorReport,
    EnrolRequest,
    FailureClass,
    InputFile,
    Meters,
    NodeReport,
    OutputFile,
    OutputRecord,
    Phase,
    PoolReport,
    PriceReport,
    Quantity,
)

T = TypeVar("T")
PASSWORD = "four unrelated words here"
LOGIN = "admin"
PATIENCE_S = 90.0
"""For a machine that has much else to do."""


class Plane:
    """One control plane behind uvicorn, in a thread of its own."""

    def __init__(self, state: Path, oidc: Oidc | None = None) -> None:
        [port] = reserve_ports(1)
        self.settings = Settings(state=str(state), port=port, public_url="", oidc=oidc or Oidc())
        self.app: FastAPI = make_app(self.settings)
        self.context: Context = self.app.state.context
        with ThreadPoolExecutor(1) as aside:  # a browser's driver runs a loop in this thread
            self.token = aside.submit(asyncio.run, self._first()).result() or ""
        config = uvicorn.Config(
            self.app, port=port, log_level="warning", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        wait_until(lambda: self._server.started)

    async def _first(self) -> str | None:
        return (await first_start(self.context, PASSWORD)).token

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.port}"

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The API, with the operator's token."""
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self.token}",
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def write(self, use_case: Callable[[Tx], T]) -> T:
        """A use case in the platform's own database, beside its server."""
        with ThreadPoolExecutor(1) as aside:
            return aside.submit(asyncio.run, self.context.database.write(use_case)).result()

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=PATIENCE_S)


def wait_until(condition: Callable[[], Any], timeout_s: float = PATIENCE_S) -> Any:
    """The condition's first true value."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


@contextlib.contextmanager
def spawn_agent(plane: Plane, folder: Path, name: str = "local") -> Iterator[str]:
    """A real agent of this machine, enrolled as a site; its name."""
    made = plane.call(
        "POST",
        "/v1/sites",
        {"name": name, "region": "henan", "city": "郑州", "latitude": 34.75, "longitude": 113.62},
    )
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "server": plane.url,
        "state": str(folder / "state"),
        "pools": [
            {
                "name": "cpu",
                "cpus": 4,
                "memory_gib": 4,
                "isolation": "none",
                "limits": "none",
                "prices": {"core_hour": 3600.0, "memory_gib_hour": 0.5},
            }
        ],
    }
    path = folder / "agent.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    program = (
        "import asyncio, sys; from pathlib import Path;"
        "from suanwang.agent.config import load_config; from suanwang.agent.main import serve;"
        "asyncio.run(serve(load_config(Path(sys.argv[1])), sys.argv[2]))"
    )
    command = [sys.executable, "-c", program, str(path), made["enrolment_token"]]
    with (folder / "agent.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ.copy())
    try:
        wait_until(lambda: plane.call("GET", f"/v1/sites/{name}").get("pools"))
        yield name
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE_S)


@dataclass(frozen=True)
class City:
    """A site of the stage."""

    name: str
    display_name: str
    city: str
    region: str
    kind: str
    latitude: float
    longitude: float
    pools: tuple[PoolReport, ...]
    tariff: tuple[int, ...]


def _nodes(prefix: str, count: int, cores: int, gib: int, cards: int = 0) -> list[NodeReport]:
    size = Quantity(cores * 1000, gib * 1024, 1024 * 1024, cards * 1000)
    return [NodeReport(f"{prefix}{i:02d}", size) for i in range(1, count + 1)]


def _tariff(low: int, mid: int, high: int) -> tuple[int, ...]:
    """Valley at night, peaks before noon and in the evening; micro-yuan per kWh."""
    return tuple(
        low if h < 7 or h == 23 else high if h in (10, 11, 18, 19, 20) else mid for h in range(24)
    )


CITIES = (
    City(
        "zhengzhou-1",
        "国家超级计算郑州中心",
        "郑州",
        "henan",
        "supercomputing",
        34.75,
        113.62,
        (
            PoolReport(
                "cpu",
                "slurm",
                "x86_64",
                "supercomputing",
                _nodes("cn", 16, 64, 256),
                interconnect="InfiniBand HDR",
                isolation="cgroup v2",
                max_runtime_s=7 * 86_400,
                prices=PriceReport(60_000, 8_000, 0),
            ),
            PoolReport(
                "dcu",
                "slurm",
                "x86_64",
                "ai",
                _nodes("dcu", 6, 32, 256, 4),
                AcceleratorReport("DCU-Z100", "Hygon", 32 * 1024, 24_500),
                interconnect="InfiniBand HDR",
                isolation="cgroup v2",
                prices=PriceReport(60_000, 8_000, 3_200_000),
            ),
        ),
        _tariff(310_000, 620_000, 980_000),
    ),
    City(
        "qingyang-1",
        "庆阳“东数西算”智算中心（绿电直供）",
        "庆阳",
        "gansu",
        "ai",
        35.71,
        107.64,
        (
            PoolReport(
                "a800",
                "slurm",
                "x86_64",
                "ai",
                _nodes("gpu", 12, 112, 1024, 8),
                AcceleratorReport("A800", "NVIDIA", 80 * 1024, 312_000),
                interconnect="RoCE 4×200G",
                isolation="cgroup v2, bubblewrap",
                prices=PriceReport(50_000, 6_000, 5_800_000),
            ),
            PoolReport(
                "ascend",
                "slurm",
                "aarch64",
                "ai",
                _nodes("npu", 8, 192, 1024, 8),
                AcceleratorReport("Ascend-910B", "Huawei", 64 * 1024, 313_000),
                interconnect="HCCS",
                isolation="cgroup v2",
                prices=PriceReport(45_000, 6_000, 4_600_000),
            ),
        ),
        _tariff(210_000, 380_000, 560_000),
    ),
    City(
        "hami-1",
        "Hami Wind and Solar Compute Park",
        "哈密",
        "xinjiang",
        "general",
        42.83,
        93.51,
        (
            PoolReport(
                "general",
                "process",
                "x86_64",
                "general",
                _nodes("hm", 10, 48, 192),
                interconnect="25GbE",
                isolation="bubblewrap",
                prices=PriceReport(32_000, 4_000, 0),
            ),
        ),
        _tariff(160_000, 260_000, 390_000),
    ),
)


class NoContent:
    """Pretended runs have no inputs and keep no outputs."""

    async def fetch(self, lease_id: str, inputs: list[InputFile], work: Path) -> None: ...

    async def collect(
        self, lease_id: str, outputs: list[OutputFile], work: Path, succeeded: bool
    ) -> tuple[OutputRecord, ...]:
        return ()


class PretendDriver:
    """An engine whose machines do not exist: a run takes the seconds that it asks for."""

    name = "pretend"
    outlives_machine = False

    def __init__(self, pools: Sequence[PoolReport], now_ms: Callable[[], int]) -> None:
        self._pools = list(pools)
        self._now = now_ms
        self._runs: dict[str, tuple[Observation, float, int]] = {}
        self._changed: set[str] = set()

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def inventory(self) -> list[PoolReport]:
        return self._pools

    async def start(self, runs: Sequence[PreparedRun]) -> list[Observation]:
        for run in runs:
            lease = run.spec.lease_id
            lasts = float(run.spec.env.get("LASTS_S", "2"))
            code = int(run.spec.env.get("ENDS_WITH", "0"))
            text = run.spec.env.get("SAYS", f"{run.spec.job_name}: running on {run.spec.pool}\n")
            run.stdout.write_text(text, encoding="utf-8")
            if code:
                run.stderr.write_text("Traceback (most recent call last):\n  …\n", encoding="utf-8")
            nodes = tuple(name for name, _ in run.spec.nodes)
            seen = Observation(lease, Phase.RUNNING, self._now(), engine_id="4711", nodes=nodes)
            self._runs[lease] = (seen, self._now() + lasts * 1000, code)
            self._changed.add(lease)
        return [self._runs[run.spec.lease_id][0] for run in runs]

    def _end(self, lease: str, code: int, failure: FailureClass) -> None:
        seen, ends, _ = self._runs[lease]
        lasted = self._now() - (seen.started_at_ms or 0)
        ended = Observation(
            lease,
            Phase.ENDED,
            seen.started_at_ms,
            self._now(),
            code,
            failure,
            engine_id=seen.engine_id,
            nodes=seen.nodes,
            meters=Meters(lasted, lasted * 3, 1830),
        )
        self._runs[lease] = (ended, ends, code)
        self._changed.add(lease)

    async def stop(self, lease_id: str, grace_s: int, failure: FailureClass) -> None:
        if lease_id in self._runs and self._runs[lease_id][0].phase is not Phase.ENDED:
            self._end(lease_id, 143, failure)

    async def observe(self) -> list[Observation]:
        return [seen for seen, _, _ in self._runs.values()]

    async def changes(self, timeout_s: float) -> list[Observation]:
        await asyncio.sleep(min(timeout_s, 0.2))
        for lease, (seen, ends, code) in list(self._runs.items()):
            if seen.phase is not Phase.ENDED and self._now() >= ends:
                self._end(lease, code, FailureClass.EXIT if code else FailureClass.NONE)
        changed, self._changed = self._changed, set()
        return [self._runs[lease][0] for lease in sorted(changed) if lease in self._runs]

    async def contact(self, at_ms: int) -> None: ...

    async def forget(self, lease_id: str) -> None:
        self._runs.pop(lease_id, None)


class Stage:
    """Agent hosts of the three cities, in a thread of their own."""

    def __init__(self, plane: Plane, folder: Path, cities: Sequence[City] = CITIES) -> None:
        self._plane = plane
        self._folder = folder
        self._cities = cities
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._tasks: list[Any] = []

    def open(self) -> None:
        self._thread.start()
        for city in self._cities:
            made = self._plane.call(
                "POST",
                "/v1/sites",
                {
                    "name": city.name,
                    "display_name": city.display_name,
                    "city": city.city,
                    "region": city.region,
                    "kind": city.kind,
                    "latitude": city.latitude,
                    "longitude": city.longitude,
                    "tariff": list(city.tariff),
                },
            )
            self._run(self._serve(city, made["enrolment_token"]))
        names = [city.name for city in self._cities]
        for name in names:
            wait_until(lambda name=name: self._plane.call("GET", f"/v1/sites/{name}")["pools"])

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def _serve(self, city: City, token: str) -> None:
        state = self._folder / city.name
        state.mkdir(parents=True)

        def now_ms() -> int:
            return time.monotonic_ns() // 1_000_000

        records = FolderRecords(state, NoContent())
        async with open_http(self._plane.url, "", "") as http:
            link = HttpLink(http)
            reply = await link.enrol(EnrolRequest(token, records.instance_id, "0.1.0"))
        async with open_http(self._plane.url, reply.credential, "") as http:
            driver = PretendDriver(city.pools, now_ms)
            await AgentHost(
                link=HttpLink(http),
                drivers={pool.name: driver for pool in city.pools},
                records=records,
                monotonic_ms=now_ms,
                jitter=random.Random(1).random,
                version="0.1.0",
            ).run()

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        wait_until(lambda: all(task.done() for task in self._tasks))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=PATIENCE_S)


def job(name: str, command: str = "true", **more: Any) -> dict[str, Any]:
    return {"name": name, "command": command, **more}
