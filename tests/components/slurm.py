"""A private, real Slurm on one machine: munge, slurmctld, N slurmds and, if asked, accounting.

Everything lies in one temporary folder and listens on free loopback ports; nothing of the
machine's own Slurm or munge is touched. No systemd and no cgroups are needed. As a script it
brings a cluster up for a demonstration and takes it down again on Ctrl-C:

    python tests/components/slurm.py --nodes 3 --accounting
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import getpass
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from components.ports import reserve_ports

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "srun")
ACCOUNTING_PROGRAMS = ("slurmdbd", "sacctmgr", "mariadbd", "mariadb-install-db", "mysql")
_UP = ("idle", "mixed", "allocated", "completing")
_SBIN = "/usr/sbin:/sbin:/usr/local/sbin"


class SlurmMissing(Exception):
    """A program that a private Slurm needs is not installed."""


def missing_programs(*, accounting: bool = False) -> list[str]:
    """What would have to be installed before `bring_up` can work."""
    path = f"{os.environ.get('PATH', '')}:{_SBIN}"
    wanted = PROGRAMS + (ACCOUNTING_PROGRAMS if accounting else ())
    return [name for name in wanted if shutil.which(name, path=path) is None]


@dataclass(frozen=True)
class Layout:
    """What the cluster shall look like."""

    nodes: int = 3
    cpus: int = 4
    memory_mib: int = 2_000
    gpus: int = 2
    accounting: bool = False
    cgroups: bool = False
    """Memory limits by task/cgroup; needs a writable memory controller."""
    min_job_age_s: int = 300
    kill_wait_s: int = 2
    preemption_grace_s: int = 0
    """What the partition `spot` leaves a preempted job between SIGTERM and SIGKILL."""


@dataclass
class SlurmCluster:
    """The running cluster: how to reach it and how to hurt it."""

    folder: Path
    layout: Layout
    ports: list[int]
    nodes: list[str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def conf(self) -> Path:
        return self.folder / "slurm.conf"

    @property
    def env(self) -> dict[str, str]:
        return {
            **os.environ,
            "SLURM_CONF": str(self.conf),
            "PATH": f"{os.environ.get('PATH', '')}:{_SBIN}",
        }

    def run(self, *argv: str, timeout_s: float = 60.0, check: bool = True) -> str:
        """Run one of Slurm's commands; its standard output."""
        done = subprocess.run(
            argv, env=self.env, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")
        return done.stdout

    def jobs(self) -> list[str]:
        """Ids of all jobs that are not over."""
        return self.run("squeue", "-h", "-o", "%i").split()

    def empty(self, timeout_s: float = 90.0) -> None:
        """Cancel every job and wait until the queue is empty."""
        self.run("scancel", "--user", getpass.getuser(), check=False)
        until = time.monotonic() + timeout_s
        while left := self.jobs():
            if time.monotonic() > until:
                raise RuntimeError(f"jobs that do not end: {left}")
            time.sleep(0.1)

    def start_daemon(self, name: str, argv: Sequence[str]) -> None:
        """Start a daemon in the foreground, its output in a file: it would inherit ours."""
        with (self.folder / "log" / f"{name}.out").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.env,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    def end_daemon(self, name: str, signal_number: int = signal.SIGTERM) -> None:
        process = self.processes.pop(name, None)
        if process is None:
            return
        process.send_signal(signal_number)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def start_controller(self) -> None:
        self.start_daemon("slurmctld", ["slurmctld", "-D", "-f", str(self.conf)])

    def kill_controller(self) -> None:
        self.end_daemon("slurmctld", signal.SIGKILL)

    def wait_for_state_saved(self, timeout_s: float = 90.0) -> None:
        """Until slurmctld has written down what it knows now: it does so some seconds later."""
        state, now = self.folder / "state" / "job_state", time.time()
        until = time.monotonic() + timeout_s
        while not state.exists() or state.stat().st_mtime <= now:
            if time.monotonic() > until:
                raise RuntimeError("slurmctld does not save its state")
            time.sleep(0.1)

    def start_node(self, name: str) -> None:
        self.start_daemon(name, ["slurmd", "-D", "-N", name, "-f", str(self.conf)])

    def heal(self) -> None:
        """Bring nodes back that trouble has drained or taken down, and wait for them."""
        for line in self.run("sinfo", "-h", "-N", "-o", "%N %T").splitlines():
            name, state = line.split()
            if state.rstrip("*") not in _UP:
                self.run("scontrol", "update", f"NodeName={name}", "State=RESUME", check=False)
        self.wait_for_nodes()

    def wait_for_nodes(self, timeout_s: float = 90.0) -> None:
        """Until every node can take work."""
        until = time.monotonic() + timeout_s
        states: list[str] = []
        while time.monotonic() < until:
            out = self.run("sinfo", "-h", "-N", "-o", "%N %T", check=False)
            states = sorted(set(out.splitlines()))
            up = {line.split()[0] for line in states if line.split()[1] in _UP}
            if len(up) == self.layout.nodes:
                return
            time.sleep(0.1)
        raise RuntimeError(f"nodes did not come up: {states}; see {self.folder}/log")

    def stop(self) -> None:
        """End all jobs, then every process that belongs to this cluster, then the folder."""
        with contextlib.suppress(Exception):
            self.empty(timeout_s=8)
        for name in reversed(list(self.processes)):
            self.end_daemon(name)
        for pid in _processes_of(self.conf):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for node in self.nodes if self.layout.cgroups else []:
            for group in Path("/sys/fs/cgroup").glob(f"*/slurm_{node}"):
                _remove_group(group)
        shutil.rmtree(self.folder, ignore_errors=True)


def cgroups_work() -> bool:
    """Whether Slurm could limit memory here: a writable memory controller of version 1."""
    return os.access("/sys/fs/cgroup/memory/cgroup.procs", os.W_OK)


def _remove_group(group: Path) -> None:
    for child in [path for path in group.iterdir() if path.is_dir()]:
        _remove_group(child)
    with contextlib.suppress(OSError):
        group.rmdir()


def bring_up(layout: Layout | None = None) -> SlurmCluster:
    """A cluster whose nodes are idle; raises SlurmMissing when programs are not installed."""
    layout = layout or Layout()
    missing = missing_programs(accounting=layout.accounting)
    if missing:
        raise SlurmMissing(f"not installed: {', '.join(missing)}")
    # not below pytest's own temporary folder: the database's user could not enter that
    folder = Path(tempfile.mkdtemp(prefix="suan-slurm-"))
    folder.chmod(0o755)
    for name in ("state", "log", "spool", "run"):
        (folder / name).mkdir()
    # control groups are named after nodes, and all clusters of a machine share them
    prefix = f"n{os.getpid()}x" if layout.cgroups else "n"
    nodes = [f"{prefix}{number}" for number in range(1, layout.nodes + 1)]
    cluster = SlurmCluster(folder, layout, reserve_ports(3 + layout.nodes), nodes)
    try:
        _start_munge(cluster)
        _write_configuration(cluster)
        if layout.accounting:
            _start_accounting(cluster)
        cluster.start_controller()
        for name in cluster.nodes:
            cluster.start_node(name)
        cluster.wait_for_nodes()
    except BaseException:
        cluster.stop()
        raise
    return cluster


_shared: dict[Layout, SlurmCluster] = {}


def shared_cluster(layout: Layout | None = None) -> SlurmCluster:
    """One cluster of a layout for all tests of this process, until `stop_shared`."""
    layout = layout or Layout()
    if layout not in _shared:
        _shared[layout] = bring_up(layout)
    return _shared[layout]


def stop_shared() -> None:
    while _shared:
        _shared.popitem()[1].stop()


@contextlib.contextmanager
def slurm_cluster(layout: Layout | None = None) -> Iterator[SlurmCluster]:
    cluster = bring_up(layout)
    try:
        yield cluster
    finally:
        cluster.stop()


def _die_with_parent() -> None:
    """Strictly: with the thread that started it. Bring clusters up from the main thread."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _processes_of(conf: Path) -> list[int]:
    """Processes started with this cluster's configuration in their environment, not ourselves."""
    mark = f"SLURM_CONF={conf}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def _start_munge(cluster: SlurmCluster) -> None:
    """A munged of our own, with its own key and socket."""
    folder = cluster.folder / "munge"
    folder.mkdir()
    folder.chmod(0o755)
    key = folder / "key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    flags = [
        f"--socket={folder}/socket",
        f"--key-file={key}",
        f"--log-file={folder}/log",
        f"--pid-file={folder}/pid",
        f"--seed-file={folder}/seed",
        "--num-threads=2",
        "--foreground",
        "--force",
    ]
    cluster.start_daemon("munged", ["munged", *flags])
    _await(lambda: (folder / "socket").exists(), "munged", 90)


def _write_configuration(cluster: SlurmCluster) -> None:
    folder, layout = cluster.folder, cluster.layout
    host = socket.gethostname().split(".")[0]
    user = getpass.getuser()
    accounting = (
        "AccountingStorageType=accounting_storage/slurmdbd\n"
        "AccountingStorageHost=127.0.0.1\n"
        f"AccountingStoragePort={cluster.ports[1]}\n"
        f"AccountingStoragePass={folder}/munge/socket\n"
        "AccountingStorageTRES=gres/gpu\n"
        "AccountingStorageEnforce=associations,limits,qos"
        if layout.accounting
        else "AccountingStorageType=accounting_storage/none"
    )
    nodes = "\n".join(
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={layout.cpus} "
        f"RealMemory={layout.memory_mib} Gres=gpu:{layout.gpus} State=UNKNOWN"
        for name, port in zip(cluster.nodes, cluster.ports[3:], strict=True)
    )
    cards = folder / "card"
    for number in range(layout.gpus):
        _make_card(folder / f"card{number}")
    gres = f"Name=gpu File={cards}[0-{layout.gpus - 1}]\n" if layout.gpus else ""
    (folder / "gres.conf").write_text(gres)
    constrain = "CgroupPlugin=cgroup/v1\nCgroupMountpoint=/sys/fs/cgroup\nConstrainRAMSpace=yes\n"
    (folder / "cgroup.conf").write_text(
        f"CgroupAutomount=no\n{constrain if layout.cgroups else ''}"
    )
    cluster.conf.write_text(f"""ClusterName=suan
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={cluster.ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin={"task/cgroup" if layout.cgroups else "task/none"}
MpiDefault=none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
{"" if layout.cgroups else "JobAcctGatherParams=OverMemoryKill"}
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=60
MessageTimeout=5
KillWait={layout.kill_wait_s}
MinJobAge={layout.min_job_age_s}
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=2,sched_min_interval=100000
PriorityType=priority/basic
{accounting}
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=spot Nodes=ALL MaxTime=60 State=UP PriorityTier=1 PreemptMode=REQUEUE \
GraceTime={layout.preemption_grace_s}
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
""")


def _make_card(path: Path) -> None:
    """Slurm names cards to a job only if they are devices; the null device will do."""
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        path.touch()


def _start_accounting(cluster: SlurmCluster) -> None:
    """MariaDB and slurmdbd, then the cluster, one account, the user and a QoS `scavenger`."""
    folder, dbd_port, sql_port = cluster.folder, cluster.ports[1], cluster.ports[2]
    # Its own folder for temporary tables: a starting server clears the one it is given of every
    # such file, and in a shared one those are another's that is just being made.
    data, temporary = folder / "mysql", folder / "mysql-tmp"
    as_root = os.getuid() == 0
    user = "mysql" if as_root else getpass.getuser()
    for made in (data, temporary):
        made.mkdir()
        if as_root:
            shutil.chown(made, "mysql", "mysql")
    where = [f"--user={user}", f"--datadir={data}", f"--tmpdir={temporary}"]
    cluster.run(
        "mariadb-install-db",
        "--no-defaults",
        *where,
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
    )
    flags = [
        "--no-defaults",
        *where,
        f"--socket={data}/socket",
        f"--port={sql_port}",
        "--bind-address=127.0.0.1",
        f"--pid-file={data}/pid",
        "--innodb-buffer-pool-size=64M",
        "--innodb-flush-log-at-trx-commit=0",
    ]
    cluster.start_daemon("mariadbd", ["mariadbd", *flags])
    password = secrets.token_hex(8)
    statements = "create database slurm_acct_db;" + "".join(
        f"create user 'slurm'@'{host}' identified by '{password}';"
        f"grant all on slurm_acct_db.* to 'slurm'@'{host}';"
        for host in ("127.0.0.1", "localhost")
    )
    sql = ["mysql", "--no-defaults", "-u", "root", "-S", f"{data}/socket"]
    _await(lambda: _succeeds(cluster, [*sql, "-e", "select 1"]), "mariadbd", 90)
    cluster.run(*sql, "-e", statements)
    conf = folder / "slurmdbd.conf"
    conf.write_text(f"""AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={dbd_port}
SlurmUser={getpass.getuser()}
LogFile={folder}/log/slurmdbd.log
PidFile={folder}/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={sql_port}
StorageUser=slurm
StoragePass={password}
StorageLoc=slurm_acct_db
""")
    conf.chmod(0o600)
    cluster.start_daemon("slurmdbd", ["slurmdbd", "-D"])
    _await(lambda: _succeeds(cluster, ["sacctmgr", "-n", "show", "cluster"]), "slurmdbd", 90)
    _add_accounts(cluster)


def _add_accounts(cluster: SlurmCluster) -> None:
    for words in (
        "cluster suan",
        "account research Description=research Organization=suan",
        f"user {getpass.getuser()} Account=research",
        "qos scavenger",
    ):
        cluster.run("sacctmgr", "-i", "add", *words.split())
    cluster.run(
        "sacctmgr", "-i", "modify", "user", getpass.getuser(), "set", "qos+=normal,scavenger"
    )


def _succeeds(cluster: SlurmCluster, argv: Sequence[str]) -> bool:
    try:
        done = subprocess.run(argv, env=cluster.env, capture_output=True, timeout=30, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _await(ready: object, what: str, timeout_s: float) -> None:
    until = time.monotonic() + timeout_s
    while not (callable(ready) and ready()):
        if time.monotonic() > until:
            raise RuntimeError(f"{what} did not come up within {timeout_s} s")
        time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--cpus", type=int, default=4)
    parser.add_argument("--memory-mib", type=int, default=2_000)
    parser.add_argument("--gpus", type=int, default=2)
    parser.add_argument("--accounting", action="store_true")
    parser.add_argument("--cgroups", action="store_true")
    options = parser.parse_args()
    began = time.monotonic()
    with slurm_cluster(Layout(**vars(options))) as cluster:
        print(f"up in {time.monotonic() - began:.1f} s\nexport SLURM_CONF={cluster.conf}")
        print("Ctrl-C ends it.", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            signal.pause()


if __name__ == "__main__":
    main()
