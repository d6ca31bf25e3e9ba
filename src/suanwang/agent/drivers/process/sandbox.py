"""Isolation by bubblewrap: the command line that puts a run behind it, and whether it works."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from suanwang.agent.port import Host

PROGRAM = "bwrap"
_HIDDEN = ("/tmp", "/var/tmp", "/run")
"""Others' scratch files, and the sockets of the machine's own services."""
_PRIVATE = (".ssh", ".gnupg", ".aws", ".kube", ".docker", ".config")
"""Credentials in the home of the user the agent runs as."""
_DEVICES = {
    "nvidia": ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia{card}"),
    "ascend": (
        "/dev/davinci_manager",
        "/dev/devmm_svm",
        "/dev/hisi_hdc",
        "/dev/davinci{card}",
    ),
    "amd": ("/dev/kfd", "/dev/dri"),
    "hygon": ("/dev/kfd", "/dev/dri", "/dev/mkfd"),
    "cambricon": ("/dev/cambricon_ctl", "/dev/cambricon_dev{card}"),
}


def command(
    program: str,
    work: Path,
    records: Sequence[Path],
    options: Mapping[str, str],
    *,
    vendor: str = "",
    cards: Sequence[int] = (),
) -> list[str]:
    """The words before the run's own command.

    The system is read-only; the run's work folder alone is writable and keeps its path, while
    `records`, the folders of the agent and of other runs around it, are hidden. `cards` are the
    numbers in the names of the device files.
    """
    words = [program, "--die-with-parent", "--cap-drop", "ALL"]
    words += ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    if options.get("network") == "none":
        words.append("--unshare-net")
    words += ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    hidden = [*_HIDDEN, *(os.path.expanduser(f"~/{name}") for name in _PRIVATE)]
    hidden += options.get("hide", "").split(",")
    for folder in dict.fromkeys(path for path in hidden if path and os.path.isdir(path)):
        words += ["--tmpfs", os.path.realpath(folder)]
    resolver = os.path.realpath("/etc/resolv.conf")
    if resolver.startswith("/run/") and os.path.isfile(resolver):
        words += ["--ro-bind", resolver, resolver]
    for folder in dict.fromkeys(map(os.path.realpath, records)):
        words += ["--tmpfs", folder]
    inside = os.path.realpath(work)
    words += ["--bind", inside, inside]
    for pattern in _DEVICES.get(vendor, ()) if cards else ():
        for device in dict.fromkeys(pattern.format(card=card) for card in cards):
            if os.path.exists(device):
                words += ["--dev-bind", device, device]
    return [*words, "--chdir", inside, "--"]


async def trial(host: Host) -> str:
    """ "" when bubblewrap works here, else why it does not."""
    words = [PROGRAM, "--die-with-parent", "--unshare-pid", "--ro-bind", "/", "/"]
    done = await host.run([*words, "--proc", "/proc", "--dev", "/dev", "true"], timeout_s=10.0)
    if done.returncode == 127:
        return "bubblewrap not installed"
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it fails"]
        return f"bubblewrap does not work here ({lines[0]})"
    return ""
