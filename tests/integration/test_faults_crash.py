"""kill -9 of everything that can be killed: the server, the agent, a run, the warden."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rig import LiveGrid, beating, kill, lines_of, telling, until

pytestmark = pytest.mark.xdist_group("faults-crash")


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGrid]:
    with LiveGrid(tmp_path_factory.mktemp("crash")) as found:
        yield found


def each_ran_once(grid: LiveGrid, folder: Path, jobs: dict[str, str]) -> None:
    """Every job succeeded, and its file has one start and one end."""
    for name, job_id in jobs.items():
        assert grid.until_state(job_id) == "succeeded", grid.job(job_id)["task_list"]
        assert [line.word for line in lines_of(folder / name)] == ["start", "end"]


def words(folder: Path) -> Counter[str]:
    """What all runs have said together."""
    return Counter(line.word for path in folder.iterdir() for line in lines_of(path))


def test_a_server_killed_in_the_middle_of_sixty_jobs(tmp_path: Path) -> None:
    with LiveGrid(tmp_path) as grid:
        grid.site("near", nodes=4)
        seen = tmp_path / "seen"
        seen.mkdir()
        jobs: dict[str, str] = {}

        def submit() -> None:
            for number in range(60):
                script = telling(seen / f"j{number}", "sleep 0.2")
                jobs[f"j{number}"] = grid.submit(script, name=f"j{number}")

        client = ThreadPoolExecutor(1)
        submitting = client.submit(submit)
        moments = (
            lambda: words(seen)["start"] >= 8,
            lambda: len(jobs) >= 24,
            lambda: words(seen)["end"] >= 24,
        )
        for moment in moments:
            until(moment)
            grid.kill_server()
            grid.start_server()
        submitting.result()
        client.shutdown()
        each_ran_once(grid, seen, jobs)
        assert Counter(len(grid.leases(job)) for job in jobs.values()) == {1: 60}
        grid.check_books()


def test_an_agent_killed_again_and_again(grid: LiveGrid, tmp_path: Path) -> None:
    site = grid.site("restless", nodes=2)
    jobs = {
        f"j{number}": grid.submit(
            telling(tmp_path / f"j{number}", "sleep 1"), constraints={"sites": ["restless"]}
        )
        for number in range(12)
    }
    for goal in (1, 4, 6, 9):
        until(lambda goal=goal: words(tmp_path)["start"] >= goal)
        site.kill()
        site.start()
        site.ready()
    each_ran_once(grid, tmp_path, jobs)
    site.kill(15)


def test_runs_outlive_an_upgrade_and_keep_their_exit_codes(grid: LiveGrid, tmp_path: Path) -> None:
    site = grid.site("upgraded", nodes=2)
    here = {"constraints": {"sites": ["upgraded"]}}
    finish = tmp_path / "finish"
    seven = grid.submit(beating(tmp_path / "seven", finish) + "exit 7", **here)
    zero = grid.submit(telling(tmp_path / "zero", "sleep 1"), **here)
    until(lambda: lines_of(tmp_path / "seven") and lines_of(tmp_path / "zero"))
    site.kill(15)
    until(lambda: any(line.word == "end" for line in lines_of(tmp_path / "zero")))
    site.start().ready()
    finish.touch()
    assert grid.until_state(zero) == "succeeded"
    assert grid.until_state(seven) == "failed"
    assert grid.job(seven)["task_list"][0]["exit_code"] == 7
    assert len({line.lease for line in lines_of(tmp_path / "seven")}) == 1
    site.kill(15)


def test_a_killed_run_is_told_as_killed_and_tried_again_if_asked(
    grid: LiveGrid, tmp_path: Path
) -> None:
    site = grid.site("shot", nodes=2)
    here = {"constraints": {"sites": ["shot"]}}
    finish = tmp_path / "finish"
    once = grid.submit(beating(tmp_path / "once", finish), **here)
    until(lambda: lines_of(tmp_path / "once"))
    for pid in site.run_pids():
        kill(pid)
    assert grid.until_state(once) == "failed"
    assert grid.job(once)["task_list"][0]["failure"] == "signal"
    again = grid.submit(beating(tmp_path / "again", finish), retries={"max": 1}, **here)
    until(lambda: lines_of(tmp_path / "again"))
    for pid in site.run_pids():
        kill(pid)
    until(lambda: len({line.lease for line in lines_of(tmp_path / "again")}) == 2)
    finish.touch()
    assert grid.until_state(again) == "succeeded"
    site.kill(15)


def test_a_killed_warden_takes_its_runs_along_and_they_begin_anew(
    grid: LiveGrid, tmp_path: Path
) -> None:
    """Nobody can vouch for a run whose warden is gone: what it left is ended before a retry."""
    site = grid.site("orphaned")
    finish = tmp_path / "finish"
    job = grid.submit(beating(tmp_path / "log", finish), constraints={"sites": ["orphaned"]})
    until(lambda: lines_of(tmp_path / "log"))
    for pid in site.warden_pids:
        kill(pid)
    until(lambda: len({line.lease for line in lines_of(tmp_path / "log")}) == 2)
    finish.touch()
    assert grid.until_state(job) == "succeeded"
    never_two_at_once(tmp_path / "log")
    site.kill(15)


def never_two_at_once(path: Path) -> None:
    """All that one lease wrote lies before all that the next one wrote."""
    order = [line.lease for line in sorted(lines_of(path), key=lambda line: line.at_ms)]
    changes = [lease for n, lease in enumerate(order) if n == 0 or order[n - 1] != lease]
    assert len(changes) == len(set(changes)), changes


def test_the_books_are_right_after_all_of_it(grid: LiveGrid) -> None:
    grid.check_books()
