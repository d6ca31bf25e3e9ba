"""Settings of the control plane: defaults, then `suanwang.yaml`, then SUAN_* variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml

from suanwang.kernel.errors import InvalidInput

Days = Annotated[int, msgspec.Meta(ge=0)]


class Oidc(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Login through an OpenID Connect issuer; off while `issuer` is empty."""

    issuer: str = ""
    client_id: str = ""
    client_secret: str = ""
    organisation: str = ""
    """Organisation of whoever logs in, unless `organisation_claim` names it."""
    organisation_claim: str = ""
    provision: bool = False
    """Create users on their first login."""
    label: str = "OIDC"


class Seller(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who invoices: the platform's company, as the tax office knows it."""

    name: str = ""
    code: str = ""
    """统一社会信用代码."""
    address: str = ""
    phone: str = ""
    bank: str = ""
    bank_account: str = ""
    tax_percent: Annotated[int, msgspec.Meta(ge=0, le=13)] = 6
    """Of services of information technology to general taxpayers."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything an operator may set."""

    state: str = ".suan"
    """Folder of database, blobs and keys in the embedded deployment."""
    database: str = ""
    """SQLAlchemy URL; default: SQLite in the state folder."""
    blobs: str = ""
    """folder:///path or s3://bucket/prefix?endpoint=…; default: a folder in the state folder."""
    host: str = "127.0.0.1"
    port: int = 8100
    public_url: str = ""
    """As browsers reach it; decides https cookies and OIDC redirects."""
    language: str = "zh"
    fee_percent: int = 0
    """The platform's share of a charge."""
    initial_credit_yuan: float = 10_000.0
    """Credit limit of the first project, so that a newcomer can run something."""
    preemption: bool = True
    round_every_ms: int = 1_000
    round_gap_ms: int = 40
    """At least so long between two rounds."""
    sweep_every_ms: int = 1_000
    contact_every_ms: int = 10_000
    contract_look_every_s: int = 60
    """How often is looked whether the capacity of running contracts is there."""
    max_body_mib: int = 10
    max_log_mib: int = 16
    """Of a run's output kept by the control plane, per stream."""
    max_blob_gib: int = 64
    storage_quota_gib: int = 1_024
    """Of an organisation's blobs, unless it has a figure of its own."""
    blob_retention_days: int = 30
    """A blob that nothing named for so long is dropped; at least two days."""
    output_retention_days: Days = 90
    """Of what runs wrote to stdout and stderr, after their end; 0 keeps it for ever."""
    job_retention_days: Days = 400
    """Of tasks, attempts, output and specification of a job, after its end; 0 for ever."""
    audit_retention_days: Days = 1_095
    """Of the audit log; 0 for ever."""
    garbage_every_s: int = 3_600
    """How often blobs that nothing names are looked for."""
    rate_limit_per_s: float = 200.0
    rate_limit_burst: int = 1_000
    arrears_grace_s: int = 3_600
    rehearsal: bool = False
    """The operator may put the clock forward; never where real money is at stake."""
    close_after_hours: Annotated[int, msgspec.Meta(ge=0, le=720)] = 6
    """After midnight in Asia/Shanghai: then the day before is closed by itself; 0: by hand only."""
    seller: Seller = Seller()
    oidc: Oidc = Oidc()
    telemetry: bool = True

    @property
    def database_url(self) -> str:
        if self.database:
            return self.database
        return f"sqlite:///{Path(self.state).absolute() / 'suanwang.db'}"

    @property
    def blobs_url(self) -> str:
        return self.blobs or f"folder://{Path(self.state).absolute() / 'blobs'}"

    @property
    def base_url(self) -> str:
        return self.public_url or f"http://{self.host}:{self.port}"


def load_settings(
    path: Path | None = None, environ: Mapping[str, str] | None = None, **overrides: Any
) -> Settings:
    """Raises InvalidInput naming the file and the field."""
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, yaml.YAMLError) as error:
            raise InvalidInput(
                "SettingsUnreadable", f"{path}: {error}", hint="Mend or remove the file."
            ) from error
    environment = os.environ if environ is None else environ
    for name in Settings.__struct_fields__:
        text = environment.get(f"SUAN_{name.upper()}")
        if text is not None and name not in ("oidc", "seller"):
            values[name] = text
    values.update({key: value for key, value in overrides.items() if value is not None})
    try:
        settings: Settings = msgspec.convert(values, Settings, strict=False)
        return settings
    except msgspec.ValidationError as error:
        raise InvalidInput(
            "SettingsInvalid", f"Settings: {error}", hint="See docs/guides/operator.md."
        ) from error
