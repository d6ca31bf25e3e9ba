"""No space left: for the server's state, and for an agent's."""

from __future__ import annotations

import urllib.error
from pathlib import Path
from typing import Any

import pytest

from components.small_disk import small_disk
from rig import LiveGrid, beating, lines_of, telling, until


def submit_until_refused(grid: LiveGrid, spec: dict[str, Any]) -> None:
    """What the database has set aside for itself is used up first."""
    for _ in range(200):
        grid.call("POST", "/v1/jobs", spec | {"name": "x" * 100, "array": 50})


def test_a_server_without_disk_refuses_in_words_and_goes_on_afterwards(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 24) as disk:
        state = str(tmp_path / "disk" / "server")
        with LiveGrid(tmp_path / "grid", state=state) as grid:
            grid.site("near", nodes=2)
            log, finish = tmp_path / "log", tmp_path / "finish"
            job = grid.submit(beating(log, finish))
            until(lambda: lines_of(log))
            disk.fill()
            spec = {"script": telling(tmp_path / "more") + "#" * 60_000}
            with pytest.raises(urllib.error.HTTPError) as caught:
                submit_until_refused(grid, spec)
            assert caught.value.code == 503
            assert b"disk space" in caught.value.read()
            finish.touch()
            until(lambda: any(line.word == "end" for line in lines_of(log)))
            disk.free()
            assert grid.until_state(job) == "succeeded"
            assert len({line.lease for line in lines_of(log)}) == 1
            after = grid.submit(telling(tmp_path / "after"), priority=5)
            assert grid.until_state(after) == "succeeded"
            for item in grid.call("GET", "/v1/jobs?limit=200")["items"]:
                grid.cancel(item["id"])
            grid.check_books()


def test_an_agent_without_disk_keeps_its_runs_and_its_contact(tmp_path: Path) -> None:
    with LiveGrid(tmp_path / "grid") as grid, small_disk(tmp_path / "grid" / "near", 8) as disk:
        site = grid.site("near", nodes=4)
        log, finish = tmp_path / "log", tmp_path / "finish"
        job = grid.submit(beating(log, finish))
        until(lambda: lines_of(log))
        disk.fill()
        new = grid.submit(telling(tmp_path / "new"))
        until(
            lambda: any(lease["outcome"] == "failed" for lease in grid.leases(new)),
            "what cannot be taken over is given back",
        )
        grid.kill_server()
        grid.start_server()
        until(lambda: site.view()["reachable"], "the agent reconciles though it cannot write")
        finish.touch()
        assert grid.until_state(job) == "succeeded"
        disk.free()
        assert grid.until_state(new) == "succeeded"
        assert len({line.lease for line in lines_of(log)}) == 1
        assert [line.word for line in lines_of(tmp_path / "new")] == ["start", "end"]
        assert site.agent is not None
        assert site.agent.poll() is None
        grid.check_books()
