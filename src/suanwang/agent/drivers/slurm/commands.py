"""Builders of the command lines that the driver gives to Slurm. Pure.

`sbatch` is started with an empty environment: with Slurm's default of handing the submitter's
whole environment to the job, the agent's own would travel along, and a variable such as
SBATCH_ACCOUNT would change the job. Secrets reach `sbatch` on standard input and go on as
SUAN_SECRET_n, so no name that a tenant chose (LD_PRELOAD, SLURM_CONF) acts on the login node.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from suanwang.agent.config import PoolConfig
from suanwang.kernel.errors import InvalidInput
from suanwang.protocol.messages import RunSpec

SQUEUE_FIELDS = ("%F", "%K", "%T", "%S", "%r", "%N", "%j", "%k")
PENDING_FIELDS = ("%P", "%C", "%l", "%r", "%K", "%k")
SACCT_FIELDS = ("JobID", "State", "ExitCode", "Start", "End", "NodeList", "JobName")

HINTS = ("account", "qos", "constraint", "reservation")
"""Words of RunSpec.engine that become options of sbatch, unless the operator narrows them."""

OPTIONS = {
    *("partition", "account", "qos", "constraint", "reservation", "bin", "conf", "hints"),
    *("gres", "gres_type", "pin_nodes", "exclusive", "extra", "path", "setup", "arrays"),
    *("poll_s", "vanish_s"),
}
"""Every option a pool of this driver may have."""

_TRANSIENT = (
    "unable to contact slurm controller",
    "socket timed out",
    "temporarily unable",
    "connection refused",
    "connection timed out",
    "backup controller in standby",
    "zero bytes were transmitted",
    "communication connection failure",
    "resource temporarily unavailable",
    "unable to establish",
    "controller is in standby",
    "slurmdbd",
    "authentication error",
)
_LIMITS = ("maxsubmit", "too many jobs", "job count limit", "maximum number of jobs")
_YES = ("1", "true", "yes", "on")
_CHUNK = 200


@dataclass(frozen=True, slots=True)
class Slurm:
    """Where the commands and the configuration of one Slurm are, and what is asked of it."""

    bin: str = ""
    conf: str = ""

    def argv(self, program: str, *words: str) -> list[str]:
        """A query: instants as seconds since 1970, messages in English."""
        env = {"LC_ALL": "C", "SLURM_TIME_FORMAT": "%s"}
        if self.conf:
            env["SLURM_CONF"] = self.conf
        return ["env", *(f"{k}={v}" for k, v in env.items()), self.program(program), *words]

    def program(self, name: str) -> str:
        return f"{self.bin.rstrip('/')}/{name}" if self.bin else name

    def squeue(self, user: str) -> list[str]:
        """All jobs of one user that the controller still knows, ended ones too."""
        words = ["--noheader", "--array", "--states=all", f"--user={user}"]
        return self.argv("squeue", *words, f"--format={'|'.join(SQUEUE_FIELDS)}")

    def pending(self, partitions: Sequence[str]) -> list[str]:
        """Everybody's waiting jobs in these partitions."""
        words = ["--noheader", "--states=PENDING", f"--partition={','.join(partitions)}"]
        return self.argv("squeue", *words, f"--format={'|'.join(PENDING_FIELDS)}")

    def sacct(self, job_ids: Iterable[str]) -> list[str]:
        words = ["-X", "--noheader", "--parsable2", f"--format={','.join(SACCT_FIELDS)}"]
        return self.argv("sacct", *words, f"--jobs={','.join(job_ids)}")

    def show_job(self, job_id: str) -> list[str]:
        return self.argv("scontrol", "--oneliner", "show", "job", job_id)

    def show_nodes(self) -> list[str]:
        return self.argv("scontrol", "--oneliner", "--details", "show", "node")

    def show_partitions(self) -> list[str]:
        return self.argv("scontrol", "--oneliner", "show", "partition")

    def show_config(self) -> list[str]:
        return self.argv("scontrol", "show", "config")

    def cancel_pending(self, ids: Sequence[str]) -> list[list[str]]:
        return [self.argv("scancel", "--state=PENDING", *part) for part in _chunks(ids)]

    def terminate(self, ids: Sequence[str]) -> list[list[str]]:
        """The polite signal, to the batch script alone: it passes it on and keeps the record."""
        words = ("--batch", "--signal=TERM")
        return [self.argv("scancel", *words, *part) for part in _chunks(ids)]

    def cancel(self, ids: Sequence[str]) -> list[list[str]]:
        """Slurm's own end: TERM to everything, KILL after the site's KillWait."""
        return [self.argv("scancel", *part) for part in _chunks(ids)]

    def sbatch(
        self, words: Sequence[str], secrets: Mapping[str, str], base_env: Mapping[str, str]
    ) -> tuple[list[str], str]:
        """(argv, standard input) of a submission whose job gets `base_env` and the secrets."""
        env = {**base_env, "LANG": "C.UTF-8"}
        if self.conf:
            env["SLURM_CONF"] = self.conf
        lines = [
            f"export SUAN_SECRET_{number}={shlex.quote(f'{name}={value}')}"
            for number, (name, value) in enumerate(sorted(secrets.items()), start=1)
        ]
        clean = ["env", "-i", *(f"{name}={value}" for name, value in env.items())]
        shell = ["/bin/sh", "-c", '. /dev/stdin; exec "$@"', "sh"]
        return [*clean, *shell, self.program("sbatch"), *words], "\n".join([*lines, ":", ""])


def check_options(pool: PoolConfig) -> None:
    """Raises InvalidInput naming an option this driver does not know."""
    for name in pool.options:
        if name not in OPTIONS:
            raise InvalidInput(
                "UnknownOption",
                f"Pool {pool.name}: there is no option {name!r}.",
                hint=f"Options of a Slurm pool: {', '.join(sorted(OPTIONS))}.",
                field=f"pools.{pool.name}.options.{name}",
            )


def partition_of(pool: PoolConfig) -> str:
    return pool.options.get("partition") or pool.name


def enabled(pool: PoolConfig, option: str, default: str = "no") -> bool:
    return pool.options.get(option, default).lower() in _YES


def resource_words(spec: RunSpec, pool: PoolConfig, limit_s: int | None) -> list[str]:
    """Options of sbatch that state what a run needs; equal words may share one array job.

    `limit_s` is the partition's MaxTime: the margin for the grace must not exceed it.
    """
    words = [
        f"--partition={partition_of(pool)}",
        f"--time={_minutes(spec, limit_s)}",
        "--no-requeue",
        *_placement_words(spec, pool),
        *_quantity_words(spec, pool),
    ]
    allowed = [hint.strip() for hint in pool.options.get("hints", ",".join(HINTS)).split(",")]
    for name in HINTS:
        value = spec.engine.get(name, "") if name in allowed else ""
        value = value or pool.options.get(name, "")
        if value:
            words.append(f"--{name}={value}")
    if enabled(pool, "exclusive"):
        words.append("--exclusive")
    return words + shlex.split(pool.options.get("extra", ""))


def submission_words(
    name: str, comment: str, resources: Sequence[str], count: int, output: str, error: str
) -> list[str]:
    """The rest of a submission's options; `count` > 1 makes it an array job."""
    array = [f"--array=0-{count - 1}"] if count > 1 else []
    return [
        "--parsable",
        "--export=ALL",
        f"--job-name={name}",
        f"--comment={comment}",
        "--open-mode=append",
        f"--output={output}",
        f"--error={error}",
        *array,
        *resources,
    ]


def cards(spec: RunSpec) -> int:
    """Whole cards of one member: Slurm hands out no fractions."""
    return -(-spec.member_quantity.accelerator_milli // 1000)


def cpus(spec: RunSpec) -> int:
    return max(1, -(-spec.member_quantity.cpu_milli // 1000))


def card_request(spec: RunSpec, pool: PoolConfig, count: int) -> str:
    """ "gpu:2" or "gpu:a100:2"."""
    kind = spec.engine.get("gres_type") or pool.options.get("gres_type", "")
    name = pool.options.get("gres", "gpu")
    return f"{name}:{kind}:{count}" if kind else f"{name}:{count}"


def transient(returncode: int, stderr: str) -> bool:
    """Whether the same submission may work later (or may even have worked: look it up first)."""
    text = stderr.lower()
    return returncode in (124, 126, 127) or any(words in text for words in _TRANSIENT)


def over_limit(stderr: str) -> bool:
    """Refused for now, for sure: so many jobs may not be in the queue at once."""
    text = stderr.lower()
    return any(words in text for words in _LIMITS)


def reason_of(stderr: str) -> str:
    """What Slurm said, as one line for a person."""
    lines = [
        line.split("error: ", 1)[-1].strip()
        for line in stderr.splitlines()
        if line.strip() and "PMIx" not in line
    ]
    return "; ".join(dict.fromkeys(lines))[:500]


def _minutes(spec: RunSpec, limit_s: int | None) -> int:
    """Slurm counts whole minutes; the exact limit is kept by the batch script."""
    wanted = -(-(spec.max_runtime_s + spec.grace_s) // 60)
    least = -(-spec.max_runtime_s // 60)
    return wanted if limit_s is None else max(least, min(wanted, limit_s // 60))


def _placement_words(spec: RunSpec, pool: PoolConfig) -> list[str]:
    pinned = spec.nodes if enabled(pool, "pin_nodes") else []
    words = [f"--ntasks={spec.members}", f"--cpus-per-task={cpus(spec)}"]
    if pinned:
        words += [
            f"--nodelist={','.join(node for node, _ in pinned)}",
            f"--nodes={len(pinned)}",
            f"--ntasks-per-node={max(members for _, members in pinned)}",
        ]
    elif spec.members == 1:
        words.append("--nodes=1")
    return words


def _quantity_words(spec: RunSpec, pool: PoolConfig) -> list[str]:
    """Memory and cards per member, wherever Slurm puts the members."""
    words = []
    memory = spec.member_quantity.memory_mib
    if memory and spec.members == 1:
        words.append(f"--mem={memory}M")
    elif memory:
        words.append(f"--mem-per-cpu={-(-memory // cpus(spec))}M")
    count = cards(spec)
    if count and spec.members == 1:
        words.append(f"--gres={card_request(spec, pool, count)}")
    elif count:
        words += _gang_cards(spec, pool, count)
    return words


def _gang_cards(spec: RunSpec, pool: PoolConfig, count: int) -> list[str]:
    if pool.options.get("gres", "gpu") == "gpu":
        kind, _, _ = card_request(spec, pool, count).removeprefix("gpu:").rpartition(":")
        return [f"--gpus-per-task={kind}:{count}" if kind else f"--gpus-per-task={count}"]
    # other cards (dcu, npu) can only be asked for by node: one member on each
    return [
        f"--nodes={spec.members}",
        "--ntasks-per-node=1",
        f"--gres={card_request(spec, pool, count)}",
    ]


def _chunks(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[at : at + _CHUNK] for at in range(0, len(ids), _CHUNK)]
