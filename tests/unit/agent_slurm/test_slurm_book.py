"""The driver's files after a power cut: what was not flushed may be empty."""

from __future__ import annotations

from pathlib import Path

from suanwang.agent.drivers.slurm.book import Book, Entry, Stop, Submission
from suanwang.agent.port import Observation
from suanwang.protocol.messages import FailureClass, Phase


def book(folder: Path) -> Book:
    made = Book(folder / "slurm")
    made.open()
    return made


def submission(name: str) -> Submission:
    return Submission(name, "main", 1, {0: Entry(name, 1, f"/runs/{name}")}, job_id="7")


def test_an_empty_record_is_no_record(tmp_path: Path) -> None:
    made = book(tmp_path)
    made.write_stop("lse_1", Stop(FailureClass.STOPPED, 5, 1))
    made.write_end(Observation("lse_1", Phase.ENDED, failure=FailureClass.PREEMPTED_BY_SITE))
    assert made.stop_of("lse_1") is not None
    assert made.end_of("lse_1") is not None
    for kind in ("stop", "end"):
        (tmp_path / "slurm" / "records" / f"lse_1.{kind}").write_bytes(b"")
    assert made.stop_of("lse_1") is None
    assert made.end_of("lse_1") is None


def test_an_end_of_a_class_that_only_a_newer_agent_knows_is_judged_anew(tmp_path: Path) -> None:
    made = book(tmp_path)
    made.write_end(Observation("lse_1", Phase.ENDED, failure=FailureClass.EXIT))
    path = tmp_path / "slurm" / "records" / "lse_1.end"
    path.write_text(path.read_text().replace('"exit"', '"eaten_by_cat"'))
    assert made.end_of("lse_1") is None


def test_one_unreadable_submission_does_not_cost_the_others(tmp_path: Path) -> None:
    made = book(tmp_path)
    for name in ("lse_1", "lse_2"):
        made.write_submission(submission(name), {name: "COMMAND=(true)"})
    bad = tmp_path / "slurm" / "submissions" / "lse_1.json"
    bad.write_bytes(b"")
    again = Book(tmp_path / "slurm")
    assert [found.name for found in again.open()] == ["lse_2"]
    assert not bad.exists()
    assert bad.with_suffix(".unreadable").exists(), "kept for whoever looks into it"
    assert [found.name for found in Book(tmp_path / "slurm").open()] == ["lse_2"]


def test_what_a_crash_left_half_written_is_removed(tmp_path: Path) -> None:
    made = book(tmp_path)
    made.write_submission(submission("lse_1"), {"lse_1": "COMMAND=(true)"})
    records = tmp_path / "slurm" / "records"
    (records / ".lse_1.stop.4711").write_text("{")
    made.open()
    assert list(records.iterdir()) == []
