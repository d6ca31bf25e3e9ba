"""The agent's state folder: one agent in it, and what is written there when the disk is full."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent_world import run_spec
from suanwang.agent import records as agent_records
from suanwang.agent.main import lock_state
from suanwang.agent.records import FolderRecords
from suanwang.kernel.errors import Conflict


def test_a_second_agent_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    """Each would have reported the other's runs as gone."""
    first = lock_state(tmp_path)
    with pytest.raises(Conflict) as caught:
        lock_state(tmp_path)
    assert caught.value.reason == "StateInUse"
    first.close()
    lock_state(tmp_path).close()


def opened(folder: Path) -> FolderRecords:
    transfer: Any = None
    return FolderRecords(folder, transfer)


def test_the_sequence_grows_across_restarts(tmp_path: Path) -> None:
    first = opened(tmp_path)
    assert [first.next_sequence(), first.next_sequence()] == [1, 2]
    assert opened(tmp_path).next_sequence() == 3


def test_the_sequence_grows_while_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = opened(tmp_path)
    found.next_sequence()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(agent_records, "write_atomically", full)
    assert [found.next_sequence(), found.next_sequence()] == [2, 3]
    monkeypatch.undo()
    assert found.next_sequence() == 4
    assert opened(tmp_path).next_sequence() == 5


def test_secrets_stay_off_the_disk_and_half_made_runs_are_swept(tmp_path: Path) -> None:
    found = opened(tmp_path)
    run = found.take(run_spec(secrets={"TOKEN": "hush"}))
    assert run.spec.secrets == {"TOKEN": "hush"}
    assert b"hush" not in b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    (tmp_path / "runs" / "lease_half").mkdir()
    [kept] = opened(tmp_path).load()
    assert kept.spec == run_spec()
    assert not (tmp_path / "runs" / "lease_half").exists()


@pytest.mark.parametrize("count", [2, agent_records.FLUSHED_ONE_BY_ONE + 1])
async def test_orders_outlive_a_power_cut_once_they_are_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """File, its folder and the folder of all runs; many at once by their file system."""
    flushed: list[str] = []

    def noted(real: Callable[[int], None]) -> Callable[[int], None]:
        def flush(descriptor: int) -> None:
            flushed.append(os.readlink(f"/proc/self/fd/{descriptor}"))
            real(descriptor)

        return flush

    found = opened(tmp_path)
    runs = [found.take(run_spec(f"lease_{i}")) for i in range(count)]
    monkeypatch.setattr(os, "fsync", noted(os.fsync))
    monkeypatch.setattr(agent_records, "sync_file_system", noted(agent_records.sync_file_system))
    await found.flush(runs)
    every = [str(p) for run in runs for p in (run.folder / "order.msgpack", run.folder)]
    assert flushed == ([*every, str(tmp_path / "runs")] if count == 2 else [str(tmp_path / "runs")])
    assert len(opened(tmp_path).load()) == count


def test_a_file_that_is_written_at_once_is_in_its_folder_after_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    real = os.fsync

    def noted(descriptor: int) -> None:
        flushed.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    agent_records.write_atomically(tmp_path / "credential", b"x")
    assert flushed == [str(tmp_path / "credential.new"), str(tmp_path)]


def test_output_is_read_in_pieces(tmp_path: Path) -> None:
    found = opened(tmp_path)
    run = found.take(run_spec())
    run.stdout.write_bytes(b"abc")
    run.stderr.write_bytes(b"")
    [chunk] = found.read_logs("lease_a", {"stdout": 1})
    assert (chunk.stream, chunk.offset, chunk.data) == ("stdout", 1, b"bc")
    assert found.read_logs("lease_a", {"stdout": 3}) == []
    found.forget("lease_a")
    assert found.read_logs("lease_a", {}) == []
