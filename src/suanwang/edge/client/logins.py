"""Where the user is signed in: one small file, mode 0600, that all commands share.

The file is YAML by name and written as JSON, which YAML contains: reading JSON costs a tenth of
the time, and whoever edits it by hand may write it as YAML.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from suanwang.kernel.errors import InvalidInput, Unauthenticated

DEFAULT_SERVER = "http://127.0.0.1:8100"


class Login(NamedTuple):
    """A server and how to be known there."""

    server: str
    token: str = ""
    project: str = ""
    """Whose money is spent when a command names no project."""
    ca_file: str = ""


def config_path(environ: Mapping[str, str] | None = None) -> Path:
    """SUAN_CONFIG, or suanwang/config.yaml in the user's configuration folder."""
    environ = os.environ if environ is None else environ
    if named := environ.get("SUAN_CONFIG"):
        return Path(named).expanduser()
    base = environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "suanwang" / "config.yaml"


def current(
    server: str | None = None,
    token: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Login:
    """What is given, else SUAN_SERVER and SUAN_TOKEN, else the file. Raises Unauthenticated."""
    environ = os.environ if environ is None else environ
    known, chosen = read(config_path(environ))
    wanted = (server or environ.get("SUAN_SERVER") or chosen).rstrip("/")
    secret = token or environ.get("SUAN_TOKEN")
    found = known.get(wanted)
    project = environ.get("SUAN_PROJECT") or (found.project if found else "")
    ca_file = environ.get("SUAN_CA_FILE") or (found.ca_file if found else "")
    if secret:
        return Login(wanted or DEFAULT_SERVER, secret, project, ca_file)
    if found is None:
        where = f" at {wanted}" if wanted else ""
        raise Unauthenticated(
            "NotSignedIn",
            f"You are not signed in{where}.",
            hint="Run `suan login --server URL`, or start a platform of your own: `suan up`.",
        )
    return Login(wanted, found.token, project, ca_file)


def read(path: Path) -> tuple[dict[str, Login], str]:
    """(logins by server, the current server or '')."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}, ""
    except OSError as error:
        raise _unreadable(path, error) from error
    data = _parsed(path, text)
    try:
        logins = {
            str(server).rstrip("/"): Login(str(server).rstrip("/"), **values)
            for server, values in dict(data.get("logins") or {}).items()
        }
        return logins, str(data.get("current") or "").rstrip("/")
    except (TypeError, AttributeError, ValueError) as error:
        raise _unreadable(path, error) from error


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except ValueError:
        pass
    import yaml

    try:
        return dict(yaml.safe_load(text) or {})
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise _unreadable(path, error) from error


def save(path: Path, login: Login) -> None:
    """Add or replace one login and make it the current one."""
    logins, _ = read(path)
    logins[login.server] = login
    _write(path, logins, login.server)


def forget(path: Path, server: str) -> None:
    logins, chosen = read(path)
    logins.pop(server, None)
    left = next(iter(logins), "")
    _write(path, logins, left if chosen == server else chosen)


def _write(path: Path, logins: Mapping[str, Login], chosen: str) -> None:
    plain = {}
    for server, login in logins.items():
        values = {name: value for name, value in login._asdict().items() if value}
        values.pop("server")
        plain[server] = values
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({"current": chosen, "logins": plain}, file, indent=2, ensure_ascii=False)
        file.write("\n")
    os.replace(fresh, path)


def _unreadable(path: Path, error: Exception) -> InvalidInput:
    return InvalidInput(
        "ConfigUnreadable",
        f"{path} cannot be read: {error}.",
        hint="Mend it, or remove it and run `suan login`.",
    )
