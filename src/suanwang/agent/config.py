"""The agent's configuration file (YAML), checked with the field named in every complaint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import yaml

from suanwang.kernel.errors import InvalidInput


class AcceleratorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cards of a pool's nodes, when declared and not found by a library."""

    model: str
    count: int
    vendor: str = ""
    memory_gib: int = 0
    fp16_tflops: float = 0.0


class PricesConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """List price in yuan per hour."""

    core_hour: float = 0.0
    memory_gib_hour: float = 0.0
    accelerator_hour: float = 0.0


class PoolConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One pool: for `process` a share of this machine, for `slurm` a partition."""

    name: str
    driver: str = "process"
    kind: str = "general"
    nodes: int = 1
    """process: the machine is offered as this many equal nodes."""
    cpus: float | None = None
    """process: cores per node; default: the machine's."""
    memory_gib: float | None = None
    disk_gib: float | None = None
    accelerator: AcceleratorConfig | None = None
    interconnect: str = ""
    max_runtime_s: int | None = None
    prices: PricesConfig | None = None
    isolation: str = "auto"
    """process: auto, none, bubblewrap."""
    limits: str = "auto"
    """process: auto, none, cgroup."""
    options: dict[str, str] = {}
    """slurm: partition, account, qos, constraint, bin (folder of commands), conf (slurm.conf)."""


class AgentConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    server: str
    state: str
    """Folder of records and runs; on a Slurm site it is shared with the nodes."""
    pools: list[PoolConfig]
    site: str = ""
    ca_file: str = ""
    cache_gib: float = 20.0
    """Inputs kept at the site for later runs."""
    credential_days: float = 30.0
    """The agent asks for a new credential so often; 0: never."""


def load_config(path: Path) -> AgentConfig:
    """Raises InvalidInput naming the field."""
    try:
        data: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        return msgspec.convert(data, AgentConfig)
    except FileNotFoundError as error:
        raise InvalidInput(
            "ConfigMissing", f"There is no file {path}.", hint="See `suan agent --help`."
        ) from error
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise InvalidInput(
            "ConfigInvalid", f"{path}: {error}", hint="Mend the file and start the agent again."
        ) from error
