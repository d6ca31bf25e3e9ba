"""The job specification as users write it (YAML or JSON), checked strictly at the edge.

Unknown fields are refused with the nearest known one named. The model is the source of the
JSON schema that the API publishes.
"""

from __future__ import annotations

import difflib
import posixpath
import re
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    field_validator,
    model_validator,
)

from suanwang.grid.jobs.quantities import parse_mib, parse_seconds
from suanwang.kernel.money import format_yuan, parse_yuan
from suanwang.protocol.messages import FailureClass

MAX_ARRAY = 100_000
MAX_MEMBERS = 10_000
MAX_ENV = 1_000
MAX_TEXT = 65_536
MAX_FILES = 1_000
MAX_PROGRAM_BYTES = 1_500_000
"""argv and environment together; Linux takes 2 MiB, some of it is ours and the engine's."""
MIN_STOP_S = 15
"""Agents are heard every ten seconds: a shorter limit would stop healthy work."""
LOSS_MARGIN_S = 10
"""Between the end of the grace at a silent site and the start of a replacement."""
RETRY_REASONS = [reason.value for reason in FailureClass if reason is not FailureClass.NONE]
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _relative_path(value: str) -> str:
    """A path that stays inside the working directory."""
    path = posixpath.normpath(value)
    outside = path.startswith("/") or path.split("/")[0] == ".."
    if outside or "\\" in value or "\0" in value or not value:
        raise ValueError(f"{value!r} must be a relative path inside the working directory")
    return path


def _digest(value: str) -> str:
    if not _DIGEST.fullmatch(value):
        raise ValueError(f"{value!r} is not a blob digest (sha256: and 64 hexadecimal digits)")
    return value


def _runnable(value: str) -> str:
    if "\0" in value:
        raise ValueError("a program's words cannot contain a NUL character")
    return value


def _shown(value: str) -> str:
    """A name that stays on its line in lists and cannot steer a terminal."""
    if not value.isprintable():
        raise ValueError(f"{value[:60]!r} has characters that cannot be shown")
    return value


def _known_reasons(value: list[str]) -> list[str]:
    for reason in value:
        if reason not in RETRY_REASONS:
            near = difflib.get_close_matches(reason, RETRY_REASONS, n=1)
            guess = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(RETRY_REASONS)}"
            raise ValueError(f"unknown reason {reason[:60]!r}; {guess}")
    return value


# written back with their units: a specification that is shown can be submitted again
Mib = Annotated[int, BeforeValidator(parse_mib), PlainSerializer(lambda v: f"{v}MiB")]
Seconds = Annotated[int, BeforeValidator(parse_seconds), PlainSerializer(lambda v: f"{v}s")]
Yuan = Annotated[
    int,
    BeforeValidator(lambda v: parse_yuan(v, field="max_price")),
    Field(ge=0),
    PlainSerializer(lambda v: format_yuan(v, decimals=6).replace(",", "")),
]
Texts = Annotated[list[str], BeforeValidator(_listed)]
Reasons = Annotated[Texts, AfterValidator(_known_reasons)]
Word = Annotated[str, AfterValidator(_runnable)]
EnvValue = Annotated[str, BeforeValidator(_text), AfterValidator(_runnable)]
Name = Annotated[str, Field(min_length=1, max_length=120), AfterValidator(_shown)]
Path = Annotated[str, Field(max_length=1024), AfterValidator(_relative_path)]
Digest = Annotated[str, AfterValidator(_digest)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", str_max_length=MAX_TEXT, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _name_unknown_fields(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = list(cls.model_fields)
        for key in data:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1)
                guess = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
                raise ValueError(f"unknown field {str(key)[:60]!r}; {guess}")
        return data


class Accelerators(Strict):
    """Cards, by model or by class of card."""

    count: float = Field(default=1, gt=0, le=1024)
    """Whole cards, or a share of one (0.5)."""
    model: Texts = []
    min_memory: Mib | None = None
    """Per card."""
    min_fp16_tflops: float | None = Field(default=None, ge=0)
    """Per card, dense."""


class Resources(Strict):
    """Of one member."""

    cpus: float = Field(default=1, ge=0, le=100_000)
    memory: Mib = 512
    disk: Mib = 0
    accelerators: Accelerators | None = None
    any_of: list[Resources] = Field(default=[], max_length=16)
    """Alternatives; when given, the other fields must be absent."""

    @field_validator("accelerators", mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        """`A100:4` and `4` are short for {model: A100, count: 4} and {count: 4}."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            return {"count": value}
        if isinstance(value, str):
            model, _, count = value.partition(":")
            return {"model": [model], "count": float(count or 1)}
        return value

    @model_validator(mode="after")
    def _either_or(self) -> Self:
        if self.any_of and self.model_fields_set - {"any_of"}:
            raise ValueError("give either any_of or the resources themselves, not both")
        if any(alternative.any_of for alternative in self.any_of):
            raise ValueError("any_of cannot be nested")
        return self

    @property
    def alternatives(self) -> list[Resources]:
        return self.any_of or [self]


class Retries(Strict):
    """When to try a failed task again. Losses by the site are retried on their own account."""

    max: int = Field(default=0, ge=0, le=100)
    exit_codes: list[int] = Field(default=[], max_length=256)
    """Only these codes; any non-zero code if empty."""
    on: Annotated[Texts, AfterValidator(_known_reasons)] = [
        "exit",
        "signal",
        "out_of_memory",
        "timeout",
    ]
    backoff: Seconds = 1
    """Doubles with each attempt, up to an hour."""


class Constraints(Strict):
    regions: Texts = []
    data_residency: Texts = []
    """Regions that the inputs may not leave."""
    architectures: Texts = []
    site_kinds: Texts = []
    sites: Texts = []
    excluded_sites: Texts = []
    pools: Texts = []
    """Written SITE/POOL."""


class Partition(Strict):
    """What happens to a run whose site is not heard (Nomad's vocabulary)."""

    lost_after: Seconds = 60
    """Grows with the grace and stop_on_client_after unless it is given."""
    stop_on_client_after: Seconds | None = 40
    """The site stops it by itself after so long; null = it runs on, unseen."""
    replace: bool = True
    reconcile: Literal["keep_original", "keep_replacement", "best_score", "longest_running"] = (
        "keep_original"
    )

    @field_validator("stop_on_client_after")
    @classmethod
    def _heard_in_time(cls, value: int | None) -> int | None:
        if value is not None and value < MIN_STOP_S:
            raise ValueError(f"give at least {MIN_STOP_S} s: sites are heard every ten seconds")
        return value


class InputBlob(Strict):
    """Content placed before the start, and what planning should know of it."""

    path: Path
    digest: Digest
    tree: bool = False


class OutputPath(Strict):
    path: Path
    required: bool = True


class JobSpec(Strict):
    """One demand. The shell runs `command` and `script`; `argv` is run as it is."""

    name: Name = "job"
    project: str | None = Field(default=None, max_length=120)
    command: Word | None = None
    argv: list[Word] | None = Field(default=None, min_length=1, max_length=1024)
    script: Word | None = None
    resources: Resources = Field(default_factory=Resources)
    count: int = Field(default=1, ge=1, le=MAX_MEMBERS)
    array: int | None = Field(default=None, ge=1, le=MAX_ARRAY)
    env: dict[str, EnvValue] = {}
    secrets: dict[str, EnvValue] = {}
    workdir: Digest | None = None
    """Digest of an uploaded tree; the command line fills it in from a folder's name."""
    inputs: dict[Name, InputBlob] = Field(default={}, max_length=MAX_FILES)
    outputs: dict[Name, OutputPath] = Field(default={}, max_length=MAX_FILES)
    max_price: Yuan | None = None
    """Yuan per hour for the whole task."""
    max_runtime: Seconds = 3600
    deadline: datetime | None = None
    priority: int = Field(default=0, ge=-100, le=100)
    preemptible: bool = False
    retries: Retries = Field(default_factory=Retries)
    constraints: Constraints = Field(default_factory=Constraints)
    partition: Partition = Field(default_factory=Partition)
    contract: Annotated[str, Field(max_length=40)] | None = None
    """Only on this contract; `none`: on no contract's capacity."""
    depends_on: Texts = []
    on_impossible: Literal["refuse", "wait"] = "refuse"
    """What to do when no enrolled pool could ever run it."""
    grace: Seconds = 10
    engine: dict[str, str] = Field(default={}, max_length=32)
    """Hints for the site's own engine: account, qos …"""

    @field_validator("outputs", mode="before")
    @classmethod
    def _short_outputs(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {k: {"path": v} if isinstance(v, str) else v for k, v in value.items()}
        return value

    @field_validator("env", "secrets")
    @classmethod
    def _env_names(cls, value: dict[str, str]) -> dict[str, str]:
        if len(value) > MAX_ENV:
            raise ValueError(f"at most {MAX_ENV} variables")
        for name in value:
            if not _ENV_NAME.fullmatch(name):
                raise ValueError(f"{name[:60]!r} is not a variable name")
            if name.startswith("SUAN_"):
                raise ValueError(f"{name[:60]!r}: names beginning with SUAN_ are the platform's")
        return value

    @field_validator("deadline")
    @classmethod
    def _aware(cls, value: datetime | None) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("give the deadline with its zone, such as 2026-12-01T18:00:00+08:00")
        return value

    @model_validator(mode="after")
    def _one_program(self) -> Self:
        given = [f for f in ("command", "argv", "script") if getattr(self, f) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of command, argv or script")
        if self.max_runtime < 1:
            raise ValueError("max_runtime must be at least a second")
        if len(self.depends_on) > 1000:
            raise ValueError("at most 1000 dependencies")
        words = [*self.argv_of(), *self.env, *self.env.values()]
        words += [*self.secrets, *self.secrets.values()]
        size = sum(len(word.encode("utf-8", "replace")) + 1 for word in words)
        if size > MAX_PROGRAM_BYTES:
            raise ValueError(
                f"program and environment take {size} bytes, at most {MAX_PROGRAM_BYTES} fit; "
                "hand large values over as files"
            )
        return self

    @model_validator(mode="after")
    def _fenced_in_time(self) -> Self:
        """A silent site's run is over, its grace included, before a replacement may begin."""
        limits = self.partition
        if limits.stop_on_client_after is None:
            return self
        least = limits.stop_on_client_after + self.grace + LOSS_MARGIN_S
        if limits.lost_after >= least:
            return self
        if "lost_after" in limits.model_fields_set:
            raise ValueError(
                f"partition: lost_after must be at least {least} s: stop_on_client_after "
                f"({limits.stop_on_client_after} s), the grace ({self.grace} s) and "
                f"{LOSS_MARGIN_S} s more"
            )
        self.partition = limits.model_copy(update={"lost_after": least})
        return self

    def argv_of(self) -> list[str]:
        if self.argv is not None:
            return list(self.argv)
        return ["/bin/sh", "-c", self.command or self.script or ""]
