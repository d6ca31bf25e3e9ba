"""From a prepared run to the order the warden gets: commands, environment, logs, limits."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from suanwang.agent.drivers.process import sandbox
from suanwang.agent.drivers.process.link import Tag
from suanwang.agent.drivers.process.pools import Refused, cards_of_members
from suanwang.agent.port import PreparedRun
from suanwang.protocol.messages import FailureClass

_PORTS = (20_000, 32_000)
"""Below the range from which systems take the ports of outgoing connections."""
_VISIBLE = {
    "nvidia": ("CUDA_VISIBLE_DEVICES",),
    "ascend": ("ASCEND_RT_VISIBLE_DEVICES", "ASCEND_VISIBLE_DEVICES"),
    "amd": ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"),
    "hygon": ("HIP_VISIBLE_DEVICES",),
    "cambricon": ("MLU_VISIBLE_DEVICES",),
    "mthreads": ("MUSA_VISIBLE_DEVICES",),
    "metax": ("MACA_VISIBLE_DEVICES",),
    "iluvatar": ("CUDA_VISIBLE_DEVICES",),
}
_ALL_VISIBLE = tuple(dict.fromkeys(name for names in _VISIBLE.values() for name in names))
_DEFAULT_PIDS = 4096
_FAILED = FailureClass.START_FAILED


@dataclass(frozen=True, slots=True)
class Confinement:
    """What holds a pool's runs in."""

    bubblewrap: str
    """Its path; "" = not used."""
    limits: bool
    state: Path
    """The agent's state folder, hidden from sandboxed runs."""
    options: Mapping[str, str]
    vendor: str = ""
    card_files: Mapping[int, int] = field(default_factory=dict)
    """See pools.CardModel.files."""


def build(run: PreparedRun, tag: Tag, confinement: Confinement) -> dict[str, Any]:
    """Raises Refused when the program is not there or the pool's options forbid the run."""
    # The warden has a folder of its own, in which relative paths would mean something else.
    run = PreparedRun(run.spec, Path(os.path.abspath(run.folder)))
    spec = run.spec
    if not spec.command:
        raise Refused("the command is empty", _FAILED)
    base = _environment(run)
    program = find_program(spec.command[0], base.get("PATH", os.defpath), run.work)
    if spec.members > 1 and confinement.options.get("network") == "none":
        raise Refused("the pool's runs have no network, and several members need one to meet")
    peers = ",".join(f"127.0.0.1:{port}" for port in free_ports(spec.members))
    given = cards_of_members(tag, spec.members)
    members = []
    for index in range(spec.members):
        env = {**base, "SUAN_MEMBER": str(index), "SUAN_PEERS": peers}
        _show_cards(env, given[index], confinement.vendor)
        suffix = f".{index}" if index else ""
        members.append(
            {
                **_command(run, program, confinement, given[index]),
                "env": env,
                "stdout": str(run.folder / f"stdout{suffix}.log"),
                "stderr": str(run.folder / f"stderr{suffix}.log"),
            }
        )
    return {
        "lease": spec.lease_id,
        "tag": tag,
        "work": str(run.work),
        "nested": bool(confinement.bubblewrap),
        "grace_s": spec.grace_s,
        "max_runtime_s": spec.max_runtime_s,
        "stop_on_client_after_s": spec.stop_on_client_after_s,
        "limits": _limits(run, confinement),
        "members": members,
    }


def _command(
    run: PreparedRun, program: str, confinement: Confinement, cards: Sequence[int]
) -> dict[str, Any]:
    if not confinement.bubblewrap:
        return {"program": program, "argv": run.spec.command}
    words = sandbox.command(
        confinement.bubblewrap,
        run.work,
        [confinement.state, run.folder.parent],
        confinement.options,
        vendor=confinement.vendor,
        cards=[confinement.card_files.get(card, card) for card in cards],
    )
    return {"program": confinement.bubblewrap, "argv": [*words, *run.spec.command]}


def _environment(run: PreparedRun) -> dict[str, str]:
    """Nothing of the agent's own environment but the search path; ours last, so it stands."""
    spec = run.spec
    env = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(run.work),
        "LANG": "C.UTF-8",
        **spec.env,
        **spec.secrets,
        "SUAN_JOB_ID": spec.job_id,
        "SUAN_TASK_ID": spec.task_id,
        "SUAN_LEASE_ID": spec.lease_id,
        "SUAN_EPOCH": str(spec.epoch),
        "SUAN_MEMBERS": str(spec.members),
    }
    if spec.array_index is not None:
        env["SUAN_ARRAY_INDEX"] = str(spec.array_index)
        env["SUAN_ARRAY_COUNT"] = str(spec.array_count or 0)
    return env


def _show_cards(env: dict[str, str], cards: Sequence[int], vendor: str) -> None:
    """Which cards the member may use, in the words of the vendor's runtime; of all, if unknown."""
    listed = ",".join(map(str, cards))
    env["SUAN_ACCELERATORS"] = listed
    if not cards:
        return
    names = _VISIBLE.get(vendor, _ALL_VISIBLE)
    env.update(dict.fromkeys(names, listed))
    if "CUDA_VISIBLE_DEVICES" in names:
        # CUDA counts from its fastest card unless told to count as everybody else does
        env["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"


def _limits(run: PreparedRun, confinement: Confinement) -> dict[str, int] | None:
    """One group holds all members of the run that are on this machine."""
    if not confinement.limits:
        return None
    need, members = run.spec.member_quantity, run.spec.members
    return {
        "cpu_milli": need.cpu_milli * members,
        "memory_bytes": (need.memory_mib * members) << 20,
        "pids": int(confinement.options.get("pids", _DEFAULT_PIDS)) * members,
    }


def find_program(name: str, search_path: str, work: Path) -> str:
    """The file a shell in the work folder would run. Raises Refused."""
    if "/" in name:
        path = os.path.join(work, name)
        if not os.path.exists(path):
            raise Refused(f"{name}: no such program", _FAILED)
        if os.path.isdir(path) or not os.access(path, os.X_OK):
            raise Refused(f"{name}: not executable", _FAILED)
        return path
    for folder in search_path.split(os.pathsep):
        path = os.path.join(work, folder, name)
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    raise Refused(f"{name}: no such program in the search path {search_path}", _FAILED)


def free_ports(count: int) -> list[int]:
    """Loopback ports nobody listens on now; none for a run of one."""
    if count < 2:
        return []
    held: list[socket.socket] = []
    try:
        first, last = _PORTS
        start = random.randrange(first, last)
        for step in range(last - first):
            port = first + (start - first + step) % (last - first)
            probe = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                probe.close()
                continue
            held.append(probe)
            if len(held) == count:
                return [taken.getsockname()[1] for taken in held]
        raise Refused(f"there are no {count} free ports on the loopback interface", _FAILED)
    finally:
        for taken in held:
            taken.close()
