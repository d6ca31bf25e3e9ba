"""Bad moments: a restart during an upload, a cancel in every phase, a drain during a run."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from components.cuttable_relay import CuttableRelay
from rig import LiveGrid, beating, lines_of, telling, until
from suanwang.edge.client.client import Client
from suanwang.kernel.errors import TransientError

pytestmark = pytest.mark.xdist_group("faults-moments")
MIB = 1 << 20


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGrid]:
    with LiveGrid(tmp_path_factory.mktemp("moments")) as found:
        yield found
        found.check_books()


def at(site: str) -> dict[str, object]:
    return {"constraints": {"sites": [site]}}


def test_a_server_restarted_during_an_upload(grid: LiveGrid, tmp_path: Path) -> None:
    grid.site("fed", nodes=2)
    work = tmp_path / "work"
    work.mkdir()
    body = random.Random(9).randbytes(20 * MIB)
    (work / "data.bin").write_bytes(body)
    found: list[str] = []
    with (
        closing(CuttableRelay(grid.address, delay_s=(0.001, 0.004))) as relay,
        Client(server=relay.url, token=grid.token) as client,
    ):

        def attempt() -> bool:
            """As its own hint says: the same command again goes on where it stopped."""
            with suppress(TransientError):
                found.append(client.upload_folder(work))
            return bool(found)

        sender = threading.Thread(target=lambda: until(attempt, "the upload"))
        sender.start()
        until(lambda: relay.carried > 12 * MIB or not sender.is_alive())
        assert not found, "it was over before the server could be killed"
        grid.kill_server()
        grid.start_server()
        sender.join()
        assert relay.carried < 30 * MIB, "it began anew"
    assert found, "the upload was given up"
    job = grid.submit(
        f"sha256sum data.bin >{tmp_path / 'sum'}",
        workdir=found[0],
        resources={"cpus": 1, "memory": "64MiB", "disk": "64MiB"},
        **at("fed"),
    )
    assert grid.until_state(job) == "succeeded"
    assert (tmp_path / "sum").read_text().split()[0] == hashlib.sha256(body).hexdigest()


def test_cancelled_while_it_waits_for_another(grid: LiveGrid, tmp_path: Path) -> None:
    grid.site("first", nodes=2)
    finish = tmp_path / "finish"
    needed = grid.submit(beating(tmp_path / "needed", finish), **at("first"))
    job = grid.submit(telling(tmp_path / "log"), depends_on=[needed], **at("first"))
    last = grid.submit(telling(tmp_path / "last"), depends_on=[job], **at("first"))
    assert grid.state(job) == "waiting"
    grid.cancel(job)
    assert grid.state(job) == "cancelled"
    assert grid.until_state(last) == "cancelled"
    finish.touch()
    assert grid.until_state(needed) == "succeeded"
    assert lines_of(tmp_path / "log") == lines_of(tmp_path / "last") == []


def test_cancelled_in_the_queue_and_while_running(grid: LiveGrid, tmp_path: Path) -> None:
    grid.site("narrow", cpus=1)
    finish = tmp_path / "never"
    running = grid.submit(beating(tmp_path / "running", finish), grace=2, **at("narrow"))
    until(lambda: lines_of(tmp_path / "running"))
    queued = grid.submit(telling(tmp_path / "queued"), **at("narrow"))
    grid.cancel(queued)
    assert grid.state(queued) == "cancelled"
    grid.cancel(running)
    assert grid.until_state(running) == "cancelled"
    [lease] = grid.leases(running)
    assert lease["outcome"] == "cancelled"
    grid.cancel(running)
    assert grid.state(running) == "cancelled"
    assert lines_of(tmp_path / "queued") == []


def test_cancelled_before_its_site_has_heard_of_it(grid: LiveGrid, tmp_path: Path) -> None:
    site = grid.site("deaf")
    site.kill()
    job = grid.submit(telling(tmp_path / "log"), **at("deaf"))
    grid.until_state(job, "leased")
    grid.cancel(job)
    assert grid.state(job) == "leased"
    site.start()
    assert grid.until_state(job) == "cancelled"
    assert lines_of(tmp_path / "log") == []


def test_cancelled_though_it_ignores_the_signal(grid: LiveGrid, tmp_path: Path) -> None:
    grid.site("stubborn")
    script = "trap '' TERM\n" + beating(tmp_path / "log", tmp_path / "never")
    job = grid.submit(script, grace=1, **at("stubborn"))
    until(lambda: lines_of(tmp_path / "log"))
    grid.cancel(job)
    assert grid.until_state(job) == "cancelled"
    count = len(lines_of(tmp_path / "log"))
    again = grid.submit("true", **at("stubborn"))
    assert grid.until_state(again) == "succeeded"
    assert len(lines_of(tmp_path / "log")) == count


def test_cancelled_after_its_end_changes_nothing(grid: LiveGrid, tmp_path: Path) -> None:
    grid.site("done")
    job = grid.submit(telling(tmp_path / "log"), **at("done"))
    assert grid.until_state(job) == "succeeded"
    grid.cancel(job)
    assert grid.state(job) == "succeeded"


def test_an_array_cancelled_half_way(grid: LiveGrid, tmp_path: Path) -> None:
    grid.site("wide", cpus=1, nodes=2)
    script = telling(tmp_path / "log", '[ "$SUAN_ARRAY_INDEX" -lt 2 ] || sleep 600')
    job = grid.submit(script, array=8, grace=1, **at("wide"))
    until(lambda: grid.job(job)["tasks"]["succeeded"] == 2)
    until(lambda: grid.job(job)["tasks"]["running"] > 0)
    grid.cancel(job)
    assert grid.until_state(job) == "cancelled"
    tasks = grid.job(job)["tasks"]
    assert (tasks["succeeded"], tasks["cancelled"]) == (2, 6)


def test_a_drain_lets_runs_end_and_starts_nothing(grid: LiveGrid, tmp_path: Path) -> None:
    grid.site("drained", nodes=2)
    finish = tmp_path / "finish"
    running = grid.submit(beating(tmp_path / "running", finish), **at("drained"))
    until(lambda: lines_of(tmp_path / "running"))
    grid.call("POST", "/v1/sites/drained/drain")
    waiting = grid.submit(telling(tmp_path / "waiting"), **at("drained"))
    finish.touch()
    assert grid.until_state(running) == "succeeded"
    assert grid.state(waiting) == "queued"
    grid.call("POST", "/v1/sites/drained/resume")
    assert grid.until_state(waiting) == "succeeded"
