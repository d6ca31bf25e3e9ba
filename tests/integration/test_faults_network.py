"""The network between agent and server: cut for longer than a lease, slow, and joined again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Protocol

import pytest

from components.cuttable_relay import CuttableRelay
from components.netns import cable, need_namespaces
from rig import LiveGrid, LiveSite, beating, lines_of, one_pool, telling, until

FENCED = {"stop_on_client_after": 15, "lost_after": 31}
UNFENCED = {"stop_on_client_after": None, "lost_after": 6}


class Way(Protocol):
    """Between a site and the server."""

    def cut(self) -> None: ...

    def join(self) -> None: ...


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as found:
        yield found


def over_relay(stack: ExitStack, folder: Path) -> tuple[LiveGrid, LiveSite, Way]:
    grid = stack.enter_context(LiveGrid(folder))
    relay = stack.enter_context(closing(CuttableRelay(grid.address)))
    return grid, grid.site("far", cpus=1, via=relay.url), relay


def over_cable(stack: ExitStack, folder: Path) -> tuple[LiveGrid, LiveSite, Way]:
    """The agent and its runs live in a namespace of their own."""
    line = stack.enter_context(cable())
    grid = stack.enter_context(LiveGrid(folder, host=line.here))
    site = LiveSite(grid, "far", [one_pool(cpus=1)], grid.url)
    site.prefix = line.prefix
    grid.sites.append(site)
    site.start(site.enrol()).ready()
    return grid, site, line


def begun(grid: LiveGrid, log: Path, finish: Path, **partition: object) -> str:
    job = grid.submit(beating(log, finish), partition=partition, grace=1)
    until(lambda: any(line.word == "beat" for line in lines_of(log)), "it beats")
    return job


def spans(log: Path) -> list[tuple[str, int, int]]:
    """(lease, first word, last word) in order of their beginnings."""
    found: dict[str, list[int]] = {}
    for line in lines_of(log):
        found.setdefault(line.lease, []).append(line.at_ms)
    return sorted(((k, min(v), max(v)) for k, v in found.items()), key=lambda span: span[1])


@pytest.mark.parametrize("way", ["relay", "cable"])
def test_a_fenced_run_is_stopped_by_its_site_before_its_replacement_begins(
    tmp_path: Path, stack: ExitStack, way: str
) -> None:
    if way == "cable":
        need_namespaces()
    grid, _, line = (over_relay if way == "relay" else over_cable)(stack, tmp_path)
    log, finish = tmp_path / "log", tmp_path / "finish"
    job = begun(grid, log, finish, **FENCED)
    grid.site("near", cpus=1)
    line.cut()
    until(lambda: len(spans(log)) == 2, "the replacement begins")
    first, second = spans(log)
    assert first[2] < second[1], "both ran at once"
    line.join()
    finish.touch()
    assert grid.until_state(job) == "succeeded"
    outcomes = {lease["id"]: lease["outcome"] for lease in grid.leases(job)}
    assert outcomes == {first[0]: "lost", second[0]: "succeeded"}
    assert [span[0] for span in spans(log)] == [first[0], second[0]]
    grid.check_books()


def test_a_short_cut_harms_nothing(tmp_path: Path, stack: ExitStack) -> None:
    grid, site, line = over_relay(stack, tmp_path)
    log, finish = tmp_path / "log", tmp_path / "finish"
    job = begun(grid, log, finish, **FENCED)
    done = grid.submit(telling(tmp_path / "other"))
    for _ in range(3):
        seen = len(lines_of(log))
        line.cut()
        until(lambda seen=seen: len(lines_of(log)) > seen + 10)
        line.join()
        until(lambda: site.view()["reachable"])
    finish.touch()
    assert grid.until_state(job) == "succeeded"
    assert grid.until_state(done) == "succeeded"
    assert len(spans(log)) == 1
    grid.check_books()


@pytest.mark.parametrize(
    ("reconcile", "kept"),
    [("keep_original", 0), ("longest_running", 0), ("keep_replacement", 1)],
)
def test_an_unfenced_run_meets_its_replacement_and_the_job_says_who_is_kept(
    tmp_path: Path, stack: ExitStack, reconcile: str, kept: int
) -> None:
    grid, _, line = over_relay(stack, tmp_path)
    log, finish = tmp_path / "log", tmp_path / "finish"
    job = begun(grid, log, finish, reconcile=reconcile, **UNFENCED)
    grid.site("near", cpus=1)
    line.cut()
    until(lambda: len(spans(log)) == 2, "the replacement begins")
    line.join()
    until(lambda: any(lease["state"] == "ended" for lease in grid.leases(job)), "one is left")
    ended = [lease["outcome"] for lease in grid.leases(job)]
    assert ended[1 - kept] == "superseded"
    finish.touch()
    assert grid.until_state(job) == "succeeded"
    assert [lease["outcome"] for lease in grid.leases(job)][kept] == "succeeded"
    assert len(spans(log)) == 2
    grid.check_books()


def test_a_result_that_comes_home_after_the_cut_is_the_jobs_result(
    tmp_path: Path, stack: ExitStack
) -> None:
    """The original ended while nobody heard of it; its replacement still runs."""
    grid, _, line = over_relay(stack, tmp_path)
    log, stay, go = tmp_path / "log", tmp_path / "stay", tmp_path / "go"
    wait = f"while [ ! -e {go} ]; do sleep 0.1; done"
    script = telling(log, f"[ -e {stay} ] && sleep 600; touch {stay}; {wait}")
    job = grid.submit(script, partition=UNFENCED, grace=1)
    until(lambda: lines_of(log))
    grid.site("near", cpus=1)
    line.cut()
    until(lambda: len(spans(log)) == 2, "the replacement begins")
    go.touch()
    until(lambda: any(word.word == "end" for word in lines_of(log)), "the original has ended")
    line.join()
    assert grid.until_state(job) == "succeeded"
    until(lambda: all(lease["state"] == "ended" for lease in grid.leases(job)))
    assert [lease["outcome"] for lease in grid.leases(job)] == ["succeeded", "superseded"]
    grid.check_books()


def test_a_slow_line_changes_nothing_but_time(tmp_path: Path, stack: ExitStack) -> None:
    grid = stack.enter_context(LiveGrid(tmp_path))
    slow = CuttableRelay(grid.address, delay_s=(0.02, 0.2))
    stack.enter_context(closing(slow))
    grid.site("far", nodes=4, via=slow.url)
    jobs = {
        f"j{n}": grid.submit(telling(tmp_path / f"j{n}", f"echo out {n}; sleep 0.3"))
        for n in range(12)
    }
    for name, job in jobs.items():
        assert grid.until_state(job) == "succeeded"
        assert [line.word for line in lines_of(tmp_path / name)] == ["start", "end"]
    assert slow.carried > 0
    grid.check_books()
