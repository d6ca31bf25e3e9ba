"""What the warden is asked to do: program, environment, logs, limits, sandbox words."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from suanwang.agent.drivers.process import orders, sandbox
from suanwang.agent.drivers.process.link import Tag
from suanwang.agent.drivers.process.orders import Confinement
from suanwang.agent.drivers.process.pools import Refused
from suanwang.agent.port import PreparedRun
from suanwang.protocol.messages import FailureClass, Quantity, RunSpec


def _run(folder: Path, **fields: Any) -> PreparedRun:
    (folder / "work").mkdir(exist_ok=True)
    given: dict[str, Any] = {
        "lease_id": "l",
        "epoch": 1,
        "task_id": "t",
        "job_id": "j",
        "job_name": "n",
        "pool": "p",
        "command": ["sh", "-c", "exit"],
        "member_quantity": Quantity(1500, 64),
    }
    return PreparedRun(RunSpec(**(given | fields)), folder)


def _bare(folder: Path, **fields: Any) -> Confinement:
    given: dict[str, Any] = {"bubblewrap": "", "limits": False, "state": folder, "options": {}}
    return Confinement(**(given | fields))


def test_nothing_of_the_agents_environment_leaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_CREDENTIAL", "secret")
    run = _run(tmp_path, env={"A": "1", "SUAN_LEASE_ID": "forged"}, secrets={"B": "2"})
    [member] = orders.build(run, Tag("p"), _bare(tmp_path))["members"]
    env = member["env"]
    assert "AGENT_CREDENTIAL" not in env
    assert (env["A"], env["B"], env["SUAN_LEASE_ID"]) == ("1", "2", "l")
    assert env["HOME"] == str(tmp_path / "work")
    assert "SUAN_ARRAY_INDEX" not in env
    assert env["SUAN_PEERS"] == ""


def test_a_gang_has_a_log_and_a_port_for_each_member(tmp_path: Path) -> None:
    run = _run(tmp_path, members=3)
    members = orders.build(run, Tag("p"), _bare(tmp_path))["members"]
    assert [Path(m["stdout"]).name for m in members] == [
        "stdout.log",
        "stdout.1.log",
        "stdout.2.log",
    ]
    assert [m["env"]["SUAN_MEMBER"] for m in members] == ["0", "1", "2"]
    peers = {m["env"]["SUAN_PEERS"] for m in members}
    assert len(peers) == 1
    assert len(set(peers.pop().split(","))) == 3


def test_limits_hold_all_members_together(tmp_path: Path) -> None:
    run = _run(tmp_path, members=2)
    assert orders.build(run, Tag("p"), _bare(tmp_path))["limits"] is None
    limited = _bare(tmp_path, limits=True, options={"pids": "10"})
    assert orders.build(run, Tag("p"), limited)["limits"] == {
        "cpu_milli": 3000,
        "memory_bytes": 128 << 20,
        "pids": 20,
    }


@pytest.mark.parametrize(
    ("vendor", "name"),
    [
        ("nvidia", "CUDA_VISIBLE_DEVICES"),
        ("ascend", "ASCEND_RT_VISIBLE_DEVICES"),
        ("amd", "HIP_VISIBLE_DEVICES"),
        ("", "ASCEND_RT_VISIBLE_DEVICES"),
    ],
)
def test_cards_are_shown_in_the_vendors_words(tmp_path: Path, vendor: str, name: str) -> None:
    tag = Tag("p", [("p-0", 1)], cards={"p-0": [(2, 1000), (5, 1000)]})
    [member] = orders.build(_run(tmp_path), tag, _bare(tmp_path, vendor=vendor))["members"]
    assert member["env"][name] == "2,5"
    assert member["env"]["SUAN_ACCELERATORS"] == "2,5"
    counted = "PCI_BUS_ID" if vendor in ("nvidia", "") else None
    assert member["env"].get("CUDA_DEVICE_ORDER") == counted
    [member] = orders.build(_run(tmp_path), Tag("p"), _bare(tmp_path, vendor=vendor))["members"]
    assert name not in member["env"]


def test_a_sandbox_gets_the_files_of_its_cards_by_their_own_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine of the test has no cards: files of the same names are."""
    for number in range(4):
        (tmp_path / f"nvidia{number}").touch()
    monkeypatch.setitem(sandbox._DEVICES, "nvidia", (f"{tmp_path}/nvidia{{card}}",))
    tag = Tag("p", [("p-0", 1)], cards={"p-0": [(0, 1000), (1, 1000)]})
    walled = _bare(tmp_path, vendor="nvidia", bubblewrap="/usr/bin/bwrap", card_files={1: 3})
    [member] = orders.build(_run(tmp_path), tag, walled)["members"]
    words = member["argv"]
    bound = [words[i + 1] for i, word in enumerate(words) if word == "--dev-bind"]
    assert bound == [f"{tmp_path}/nvidia0", f"{tmp_path}/nvidia3"]
    assert member["env"]["CUDA_VISIBLE_DEVICES"] == "0,1"


def test_programs_are_found_as_a_shell_would(tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / "bin").mkdir(parents=True)
    program, plain = work / "bin" / "tool", work / "plain"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    plain.write_text("")
    assert orders.find_program("tool", "/nowhere:bin", work) == str(program)
    assert orders.find_program("bin/tool", "", work) == f"{work}/bin/tool"
    for name, words in (
        ("./plain", "not executable"),
        ("./bin", "not executable"),
        ("./gone", "no such program"),
        ("tool", "no such program in the search path /nowhere"),
    ):
        with pytest.raises(Refused, match=words) as refusal:
            orders.find_program(name, "/nowhere", work)
        assert refusal.value.failure is FailureClass.START_FAILED


def test_free_ports_are_free_and_different() -> None:
    ports = orders.free_ports(20)
    assert len(set(ports)) == 20
    with socket.create_server(("127.0.0.1", ports[0])):
        pass
    assert orders.free_ports(1) == []


def test_the_sandbox_binds_the_work_folder_after_hiding_what_is_around_it(tmp_path: Path) -> None:
    work = tmp_path / "state" / "runs" / "l" / "work"
    work.mkdir(parents=True)
    words = sandbox.command("/usr/bin/bwrap", work, [tmp_path / "state", work.parent.parent], {})
    hidden = [words[i + 1] for i, word in enumerate(words) if word == "--tmpfs"]
    assert str(tmp_path / "state") in hidden
    assert words.index("--bind") > max(i for i, word in enumerate(words) if word == "--tmpfs")
    assert words[words.index("--bind") :] == [
        "--bind",
        *[str(work)] * 2,
        "--chdir",
        str(work),
        "--",
    ]
    assert "--unshare-net" not in words
    alone = sandbox.command("/usr/bin/bwrap", work, [], {"network": "none", "hide": "/etc,/gone"})
    assert "--unshare-net" in alone
    assert "/etc" in alone
    assert "/gone" not in alone
