"""The warden's small parts: /proc, records, the folders of control groups, naming an end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import suanwang
from suanwang.agent.drivers.process.warden import groups, procfs, records
from suanwang.agent.drivers.process.warden.run import Run, explain


def test_the_warden_needs_nothing_but_the_standard_library() -> None:
    source = Path(suanwang.__file__).parent.parent
    code = (
        f"import sys; sys.path.insert(0, {str(source)!r}); "
        "import suanwang.agent.drivers.process.warden.keeper; "
        "print([m for m in sys.modules if 'msgspec' in m or 'asyncio' in m])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_process_name_may_hold_anything() -> None:
    fields = ["S", "12", "34", "56", *["0"] * 15, "987654", "rest of the line"]
    stat = procfs.Stat("77 (a) R 1 (b)) " + " ".join(fields))
    assert (stat.state, stat.parent, stat.session, stat.start_ticks) == ("S", 12, 56, 987654)


def test_this_process_is_found() -> None:
    me = procfs.stat(os.getpid())
    assert me is not None
    assert me.parent == os.getppid()
    assert procfs.start_ticks(os.getpid()) > 0
    child = subprocess.Popen(["sleep", "600"], env={"MARK": "x=y"})
    try:
        assert child.pid in procfs.descendants([os.getpid()])
        assert procfs.environment(child.pid).get("MARK") in ("x=y", None)
        assert procfs.signal_all([child.pid], 9) == 1
    finally:
        child.kill()
        child.wait()
    assert procfs.signal_all([child.pid], 9) == 0
    assert procfs.stat(child.pid) is None


def test_records_are_read_back_and_a_torn_line_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkdir(records.FOLDER)
    record = records.Record("a", {"boot": "b"})
    record.processes([(1, 2)], 3)
    record.close()
    records.append_end("a", {"exit_code": 0})
    with open("records/a.jsonl", "a", encoding="utf-8") as file:
        file.write('{"end": {"exit_c')
    assert records.load() == {
        "a": {
            "intent": {"boot": "b"},
            "processes": [[1, 2]],
            "started_at_ms": 3,
            "end": {"exit_code": 0},
        }
    }
    records.remove("a")
    records.remove("a")
    assert records.load() == {}


@pytest.mark.parametrize("lease", ["", "a/b", ".hidden", "x" * 300, "nul\0"])
def test_a_lease_that_is_no_file_name_is_refused(lease: str) -> None:
    with pytest.raises(ValueError, match="lease id"):
        records.file_name(lease)


V1 = """\
30 29 0:26 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw
36 30 0:32 / /sys/fs/cgroup/cpu,cpuacct rw shared:15 - cgroup cgroup rw,cpu,cpuacct
37 30 0:33 /docker/abc /sys/fs/cgroup/memory rw shared:16 - cgroup cgroup rw,memory
"""


def test_hierarchies_are_found_in_mountinfo() -> None:
    assert groups._mounts(V1) == {
        "": ("/sys/fs/cgroup/unified", "/"),
        "rw": ("/sys/fs/cgroup/cpu,cpuacct", "/"),
        "cpu": ("/sys/fs/cgroup/cpu,cpuacct", "/"),
        "cpuacct": ("/sys/fs/cgroup/cpu,cpuacct", "/"),
        "memory": ("/sys/fs/cgroup/memory", "/docker/abc"),
    }
    own = groups._own_paths("4:memory:/docker/abc/x\n2:cpu,cpuacct:/\n0::/user.slice\n")
    assert own == {"memory": "/docker/abc/x", "cpu": "/", "cpuacct": "/", "": "/user.slice"}


def test_our_own_group_is_found_below_the_mount(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    mount = str(tmp_path)
    assert groups._below(mount, "/docker/abc", "/docker/abc/x") == f"{mount}/x"
    assert groups._below(mount, "/", "/x") == f"{mount}/x"
    assert groups._below(mount, "/docker/abc", "/elsewhere") == mount
    assert groups._below(mount, "/", "/not-visible") == mount


def _ended(*statuses: int, **fields: Any) -> dict[str, Any]:
    """Wait statuses in order of the members' ends → the view of the end."""
    run = Run("l", None)
    for name, value in fields.items():
        setattr(run, name, value)
    run.started_at_ms = 100
    for index, status in enumerate(statuses):
        if run.member_ended(status) and index + 1 < len(statuses):
            run.stopping, run.culprit = "member", index
    run.conclude(350)
    return run.view()


@pytest.mark.parametrize(
    ("statuses", "fields", "failure", "code"),
    [
        ([0], {}, "none", 0),
        ([3 << 8], {}, "exit", 3),
        ([9], {}, "signal", 137),
        ([137 << 8], {}, "exit", 137),
        ([137 << 8], {"nested": True}, "signal", 137),
        ([255 << 8], {"nested": True}, "exit", 255),
        ([15], {"stopping": "stopped"}, "stopped", 143),
        ([0], {"stopping": "timeout"}, "timeout", 0),
        ([9], {"stopping": "start_failed"}, "start_failed", None),
        ([0, 7 << 8, 15], {}, "exit", 7),
        ([11, 15, 15], {}, "signal", 139),
        ([0, 0, 2 << 8], {}, "exit", 2),
    ],
)
def test_an_end_is_named(
    statuses: list[int], fields: dict[str, Any], failure: str, code: int | None
) -> None:
    view = _ended(*statuses, **fields)
    assert (view["phase"], view["failure"], view["exit_code"]) == ("ended", failure, code)
    assert view["duration_ms"] == 250


def test_a_wrappers_complaint_is_a_failed_start(tmp_path: Path) -> None:
    log = tmp_path / "stderr.log"
    for text, failure in (
        ("bwrap: Can't find source path /x: No such file or directory\n", "start_failed"),
        ("bwrap: one\nand more of its own\n", "exit"),
        ("", "exit"),
    ):
        log.write_text(text)
        view = _ended(1 << 8, nested=True, stderr=[str(log)])
        assert view["failure"] == failure, text


def test_why_a_program_did_not_start_is_said(tmp_path: Path) -> None:
    there = tmp_path / "script"
    there.write_text("#!/gone\n")
    member = {"program": str(there)}
    work = str(tmp_path)
    assert "interpreter" in explain(FileNotFoundError(2, "No such file"), member, work)
    assert "not a program for this machine" in explain(OSError(8, "Exec format"), member, work)
    assert "working directory" in explain(OSError(2, ""), member, f"{work}/gone")
    assert "embedded null" in explain(ValueError("embedded null byte"), member, work)
