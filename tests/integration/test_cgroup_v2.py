"""Version 2 control groups, on a kernel of its own: Debian's user-mode Linux over this file system.

The machine of the tests mostly has version 1, or version 2 without controllers. User-mode Linux
boots in a second as a plain process, sees these very files, and has cpu, memory and pids in one
tree. Inside run the ordinary tests of the driver, in a group as a service manager gives it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

KERNEL = shutil.which("linux.uml") or ""
HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(not KERNEL or os.getuid() != 0, reason="no user-mode Linux, or not root"),
]

INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mkdir -p /dev/shm
for folder in /dev/shm /run /tmp; do mount -t tmpfs tmpfs $folder; done
mount -t cgroup2 none /sys/fs/cgroup
ip link set lo up
cd {repository}
export PATH={path} HOME=/root LANG=C.UTF-8
{script}
sync
echo o >/proc/sysrq-trigger
sleep 60
"""
"""Its /tmp is its own and ends with it."""

SERVICE = """
echo "+cpu +memory +pids" >/sys/fs/cgroup/cgroup.subtree_control
mkdir /sys/fs/cgroup/agent.service
{more}
echo $$ >{group}/cgroup.procs
"""


def in_uml(folder: Path, script: str, *, memory_mib: int = 2600, limit_s: float = 900.0) -> str:
    """What the script printed, run as the first process of a kernel of its own."""
    init = folder / "init"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
    init.write_text(INIT.format(repository=REPOSITORY, path=path, script=script))
    init.chmod(0o755)
    words = [f"mem={memory_mib}M", "rootfstype=hostfs", "rootflags=/", "rw", f"init={init}"]
    done = subprocess.run(
        [KERNEL, *words, "con=null", "con0=fd:0,fd:1", "quiet"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=limit_s,
        check=False,
    )
    return done.stdout


def in_service(more: str = "", group: str = "/sys/fs/cgroup/agent.service") -> str:
    return SERVICE.format(more=more, group=group)


def test_limits_and_groups_of_version_2(tmp_path: Path) -> None:
    words = (
        "-q -n 0 -p no:cacheprovider --basetemp /tmp/inside -k 'memory or share or bomb or group'"
    )
    tests = "tests/integration/test_process_driver_confinement.py"
    said = in_uml(tmp_path, f"{in_service()}\npython -m pytest {words} {tests}; echo rc=$?")
    assert "rc=0" in said.split(), said[-6000:]
    assert "skipped" not in said
    assert "Memory cgroup out of memory" in said, "the kernel's own words"


DISCOVER = """
cat >/tmp/discover.py <<'END'
from pathlib import Path
from suanwang.agent.drivers.process.warden import groups
found = groups.discover("suanwang-test")
given = Path("/sys/fs/cgroup/agent.service")
print("words", found.words if found else None)
print("folders", *sorted(path.name for path in given.iterdir() if path.is_dir()))
print("own", Path("/proc/self/cgroup").read_text().strip())
if found:
    found.close()
END
python /tmp/discover.py
python /tmp/discover.py
"""
SUBGROUP = """
mkdir /sys/fs/cgroup/agent.service/main
python -c 'import os; os.setxattr("/sys/fs/cgroup/agent.service", "user.delegate", b"1")'
"""


@pytest.mark.parametrize(
    ("more", "lives_in", "leaf"),
    [
        pytest.param("", "", "suanwang-agents", id="in the group itself"),
        pytest.param(SUBGROUP, "/main", "main", id="in a subgroup, as DelegateSubgroup= does"),
    ],
)
def test_a_group_that_was_given_is_found_again_by_the_next_warden(
    tmp_path: Path, more: str, lives_in: str, leaf: str
) -> None:
    service = in_service(more, f"/sys/fs/cgroup/agent.service{lives_in}")
    said = in_uml(tmp_path, service + DISCOVER, memory_mib=512, limit_s=240)
    lines = said.splitlines()
    assert lines.count("words cgroup v2 limits (cpu, memory, pids)") == 2, said[-3000:]
    assert lines.count(f"own 0::/agent.service/{leaf}") == 2, said[-3000:]
    assert lines.count(f"folders {leaf} suanwang-test") == 2, said[-3000:]
