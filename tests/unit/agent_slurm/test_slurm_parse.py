"""The parsers against what Slurm 22.05.8 really printed, and against odd things."""

from __future__ import annotations

from pathlib import Path

import pytest

from suanwang.agent.drivers.slurm import parse

RECORDED = Path(__file__).with_name("recorded")


def recorded(name: str) -> str:
    return (RECORDED / f"{name}.txt").read_text()


def test_squeue_tells_elements_single_jobs_and_other_peoples_names_apart() -> None:
    jobs = {(job.job_id, job.index): job for job in parse.squeue(recorded("squeue"))}
    assert jobs["20", 4].state == "PENDING"
    assert jobs["20", 0].nodes == "n1"
    assert jobs["20", 0].start_s == 1795461502
    assert jobs["20", 0].engine_id == "20_0"
    gang = jobs["21", None]
    assert (gang.name, gang.comment) == ("lse_gang", "suan/abc/lse_gang/2")
    assert (gang.reason, gang.engine_id) == ("Priority", "21")
    assert jobs["22", None].name == "odd name"


def test_lines_that_are_cut_or_odd_are_left_out() -> None:
    assert parse.squeue("1|N/A|RUN\n\nslurm_load_jobs error: no\nx|N/A|RUNNING|1|None|n1|a|b") == []
    assert parse.sacct("12.batch|COMPLETED|0:0|1|2|n1|batch\n12_[4-9]|PENDING|0:0||||a") == []


def test_sacct_knows_ends_that_the_queue_forgot() -> None:
    jobs = {(job.job_id, job.index): job for job in parse.sacct(recorded("sacct"))}
    cancelled = jobs["20", 1]
    assert cancelled.state == "CANCELLED by 0"
    assert cancelled.end_s == 1795461503
    killed = jobs["18", None]
    assert (killed.state, killed.exit_code) == ("FAILED", 137), "0:9 is a signal"


def test_scontrol_shows_an_arrays_unstarted_rest_as_one_line() -> None:
    jobs = {job.index: job for job in parse.scontrol_jobs(recorded("jobs"))}
    assert set(jobs) == {-1, 0, 1, 2, 3}
    assert {job.job_id for job in jobs.values()} == {"20"}
    assert jobs[1].state == "CANCELLED"
    assert jobs[0].restarts == 0


def test_waiting_arrays_count_their_elements() -> None:
    waiting = parse.pending(recorded("pending"))
    assert [(line.cpus, line.elements) for line in waiting] == [(4, 2), (2, 1), (1, 1)]
    assert waiting[0].partitions == ("main",)
    assert waiting[0].limit_s is None


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("", []),
        ("n1", ["n1"]),
        ("n[1-3,7]", ["n1", "n2", "n3", "n7"]),
        ("cn[008-011],login", ["cn008", "cn009", "cn010", "cn011", "login"]),
        ("r[1-2]n[01-02]-ib", ["r1n01-ib", "r1n02-ib", "r2n01-ib", "r2n02-ib"]),
    ],
)
def test_host_lists(text: str, hosts: list[str]) -> None:
    assert parse.host_list(text) == hosts


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("UNLIMITED", None),
        ("INVALID", None),
        ("30:00", 1800),
        ("01:00:00", 3600),
        ("3-12:00:00", 302_400),
        ("2-00", 172_800),
        ("15", 900),
    ],
)
def test_durations(text: str, seconds: int | None) -> None:
    assert parse.duration_s(text) == seconds


@pytest.mark.parametrize(
    ("text", "name", "found"),
    [
        ("(null)", "gpu", (0, "")),
        ("gpu:2", "gpu", (2, "")),
        ("gpu:a100:4(S:0-1)", "gpu", (4, "a100")),
        ("gpu:a100:2(IDX:0,1),gpu:v100:2,nic:1", "gpu", (4, "a100")),
        ("npu:ascend910b:8", "npu", (8, "ascend910b")),
        ("dcu", "dcu", (1, "")),
    ],
)
def test_generic_resources(text: str, name: str, found: tuple[int, str]) -> None:
    assert parse.gres(text, name) == found


def test_the_job_id_is_found_among_banners() -> None:
    assert parse.submitted("Welcome!\n4711\n") == "4711"
    assert parse.submitted("4711;cluster2") == "4711"
    assert parse.submitted("sbatch: error") is None
