"""The text that runs on the nodes: one batch script for all runs, one small file per run.

The batch script (`batch.sh`, beside this file) is the same for every lease, so what Slurm
spools, shows and archives of it holds nothing of a tenant's. What to run is written to
`specs/<lease>.sh` in the driver's state folder. Secrets are in neither.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from pathlib import Path

from suanwang.agent.config import PoolConfig
from suanwang.agent.drivers.slurm import commands
from suanwang.protocol.messages import RunSpec

_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")


def batch_text() -> str:
    return Path(__file__).with_name("batch.sh").read_text(encoding="utf-8")


def batch_name(text: str) -> str:
    """A name that changes with the text: runs submitted by an older agent keep their script."""
    return f"batch.{hashlib.sha256(text.encode()).hexdigest()[:12]}.sh"


def proper_name(name: str) -> bool:
    """Whether a shell can export a variable of this name."""
    return _NAME.match(name) is not None


def spec_text(spec: RunSpec, pool: PoolConfig, folder: Path, batch: Path) -> str:
    """Shell assignments that `batch.sh` reads; every value is quoted."""
    stop_after = spec.stop_on_client_after_s
    odd = [f"{name}={value}" for name, value in spec.env.items() if not proper_name(name)]
    command = ["env", *odd, *spec.command] if odd else spec.command
    values = {
        "RUN": str(folder),
        "JOB": spec.job_id,
        "TASK": spec.task_id,
        "MEMBERS": str(spec.members),
        "CPUS": str(commands.cpus(spec)),
        "LIMIT_MS": str(spec.max_runtime_s * 1000),
        "GRACE_S": str(spec.grace_s),
        "STOP_AFTER_MS": "" if stop_after is None else str(stop_after * 1000),
        "ARRAY_INDEX": "" if spec.array_index is None else str(spec.array_index),
        "ARRAY_COUNT": str(spec.array_count or 0),
        "SETUP": pool.options.get("setup", ""),
        "BATCH": str(batch),
        "SRUN_WORDS": _srun_words(spec, pool),
    }
    lines = [f"{name}={shlex.quote(value)}" for name, value in values.items()]
    lines.append(f"COMMAND=({' '.join(shlex.quote(word) for word in command)})")
    exports = [f"export SUAN_EPOCH={spec.epoch}"]
    exports += [
        f"export {name}={shlex.quote(value)}"
        for name, value in spec.env.items()
        if proper_name(name)
    ]
    return "\n".join([*lines, "environment() {", ":", *exports, "}", ""])


def _srun_words(spec: RunSpec, pool: PoolConfig) -> str:
    """Each member of a gang shall see its own cards."""
    count = commands.cards(spec)
    if not count or spec.members == 1 or pool.options.get("gres", "gpu") != "gpu":
        return ""
    return f"--gpus-per-task={count}"
